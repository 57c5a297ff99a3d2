"""A backend is its folder and one line: everything else learns of it from its record."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.installed import extra_hint

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = """
from astro_token.secrets.schemes import Scheme

SCHEMES = {
    "safe": Scheme(
        backend="astro_token_backends.safe.client:Safe",
        description="a safe",
        form="DRAWER",
        example="safe:left?key=1",
        grammar=("[a-z]+",),
        options={"key": "[0-9]"},
        extra="safe",
        sdk="safe_sdk",
        distributions=("safe-sdk",),
        loggers=("safe_sdk",),
        credentials=("SAFE_COMBINATION", "ASTRO_TOKEN_SAFE_COMBINATION"),
        settings=("SAFE_ADDRESS",),
        prefixes=("SAFE_",),
    )
}
"""
CLIENT = """
import os

from astro_token.secret import SecretValue


class Safe:
    def __init__(self):
        import safe_sdk

    def read(self, ref, *, timeout):
        return SecretValue(os.environ["SAFE_TOKEN"].encode())
"""
SDK = """
import logging
logging.getLogger("safe_sdk.wire").setLevel(logging.DEBUG)
"""


class Copy:
    """A copy of the backends with a further one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "path"
        package = self.path / "astro_token_backends"
        shutil.copytree(
            ROOT / "backends" / "astro_token_backends",
            package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (package / "safe").mkdir()
        (package / "safe" / "__init__.py").write_text(FOLDER)
        (package / "safe" / "client.py").write_text(CLIENT)
        table = package / "__init__.py"
        table.write_text(table.read_text().replace("MODULES = {\n", 'MODULES = {\n    "safe": ("safe",),\n'))
        self.home = folder / "work"
        self.home.mkdir()

    def install_sdk(self) -> None:
        (self.path / "safe_sdk.py").write_text(SDK)

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(self.path)}
        return subprocess.run(
            [sys.executable, *arguments],
            env={**environ, **variables},
            cwd=self.home,
            capture_output=True,
            text=True,
        )

    def program(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "astro_token", *arguments, **variables)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_its_grammar_is_that_of_references_and_its_name_is_reserved(copy: Copy) -> None:
    code = """
from astro_token import SecretRef
from astro_token.errors import InvalidRefError
from astro_token.secrets.schemes import RESERVED
print(SecretRef.parse("safe:left?key=1"), "safe" in RESERVED)
for text in ("safe:Left", "safe:left?key=x", "safe:left?lock=1"):
    try:
        SecretRef.parse(text)
    except InvalidRefError as error:
        print(error.message, "-", error.hint)
"""
    done = copy.python("-c", code)
    form = "the form is DRAWER, for example safe:left?key=1"
    assert [
        "safe:left?key=1 True",
        f"not a reference of safe: its name is malformed - {form}",
        f"not a reference of safe: its option key is malformed - {form}",
        "not a reference of safe: it has an unknown option - safe takes key",
    ] == done.stdout.splitlines(), done.stderr


def test_it_is_listed_with_its_extra(copy: Copy) -> None:
    row = {
        "scheme": "safe",
        "what": "a safe",
        "form": "DRAWER",
        "example": "safe:left?key=1",
        "options": ["key"],
        "can": ["read"],
        "extra": "safe",
    }
    for installed in (False, True):
        done = copy.program("backends", "--format", "json")
        assert {**row, "installed": installed} == json.loads(done.stdout)["backends"][0]
        copy.install_sdk()


def test_without_its_sdk_the_extra_is_named(copy: Copy) -> None:
    done = copy.program("check", "safe:left")
    assert (78, True) == (done.returncode, f"hint: {extra_hint('safe')}\n" in done.stderr)


def test_its_loggers_are_silenced(copy: Copy) -> None:
    copy.install_sdk()
    code = """
import logging
from astro_token.secrets.registry import open_backend
open_backend("safe")
child = logging.getLogger("safe_sdk.wire")
print(child.isEnabledFor(logging.CRITICAL), child.parent.propagate)
"""
    done = copy.python("-c", code)
    assert "False False\n" == done.stdout, done.stderr


def test_exec_withholds_its_credentials(copy: Copy, canary: str) -> None:
    shown = "import os; print(*sorted(name for name in os.environ if 'SAFE' in name))"
    variables = dict.fromkeys(("SAFE_ADDRESS", "SAFE_COMBINATION", "ASTRO_TOKEN_SAFE_COMBINATION"), "x")
    # Also if the token is from another backend.
    done = copy.program(
        "exec", "env:TOKEN", "--", sys.executable, "-c", shown, TOKEN=canary, **variables
    )  # fmt: skip
    assert "SAFE_ADDRESS\n" == done.stdout, done.stderr


def test_doctor_shows_its_variables_and_its_version(copy: Copy, canary: str) -> None:
    copy.install_sdk()
    misspelt = {"SAFE_ADDRES": "x", "ASTRO_TOKEN_SAFE_COMBINATIO": "x"}
    unreachable = {"ASTRO_TOKEN_API_URL": "http://127.0.0.1:9"}
    done = copy.program(
        *("doctor", "--format", "json", "safe:left"),
        **{"SAFE_TOKEN": canary, "SAFE_COMBINATION": "x", **misspelt, **unreachable},
    )
    links = [link for link in json.loads(done.stdout)["links"] if link["link"] == "variables"]
    texts = [link["found"] for link in links]
    assert {"SAFE_ADDRES", "SAFE_COMBINATION", "SAFE_TOKEN"} <= set(texts[0].split(", "))
    hints = [link["hint"] for link in links if link.get("hint")]
    meant = ("ASTRO_TOKEN_SAFE_COMBINATION", "SAFE_ADDRESS")
    assert [f"rename it, if {name} is meant" for name in meant] == hints
