"""The batch lines of the format `cmd`, in the cmd.exe of Wine."""

from __future__ import annotations

import os
import shutil
import string
import subprocess
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import render
from astro_token.formats.rendering import Variables
from astro_token.testing import make_token

if TYPE_CHECKING:
    from pathlib import Path


def wine() -> str | None:
    return shutil.which("wine64", path=f"{os.environ['PATH']}{os.pathsep}/usr/lib/wine") or shutil.which(
        "wine"
    )


@pytest.mark.long
def test_cmd_reads_back_the_value(tmp_path: Path) -> None:
    """By `call`: Wine's `for` does not run a line of its text, as that of Windows does."""
    program = wine()
    if program is None:
        pytest.skip("Wine is not installed")
    punctuation = "".join(sorted(set(string.punctuation) - set("\"%!^&|<>()'`,;*?")))
    values = [make_token(), "a", "a" * 2000, f"A1{punctuation}Z9"]
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "WINEPREFIX": str(tmp_path / "prefix"),
        "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml=", "OLD": "x",
    }  # fmt: skip
    for value in values:
        text = render("cmd", Variables({"ASTRO_API_TOKEN": value}, ("OLD",))).text
        (tmp_path / "lines.bat").write_bytes(text.encode())
        script = "@echo off\r\ncall lines.bat\r\necho [%ASTRO_API_TOKEN%] [%OLD%]\r\n"
        (tmp_path / "main.bat").write_bytes(script.encode())
        command = [program, "cmd", "/c", "main.bat"]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert f"[{value}] []" == done.stdout.strip()
