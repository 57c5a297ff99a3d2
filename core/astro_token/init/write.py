"""The files that are missing, written together; those that exist stay as they are."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from astro_token.errors import OutputError
from astro_token.record import Record
from astro_token.system.files import create_all
from astro_token.system.signals import uninterrupted, with_delayed_signals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Changes", "changes", "diff", "write"]


class Changes(Record):
    """
    Attributes:
        new: texts of files to write, by path.
        present: texts for files that exist with other content.
        same: paths of files that exist with this content.
    """

    new: Mapping[str, str]
    present: Mapping[str, str]
    same: tuple[str, ...]


def changes(root: Path, texts: Mapping[str, str]) -> Changes:
    """
    Compare texts with the files of the repository.

    Raises:
        OutputError: a folder of a file is a link, or is not a folder.
    """
    new: dict[str, str] = {}
    present: dict[str, str] = {}
    same = []
    for name, text in texts.items():
        _refuse_folders(root, name)
        path = root / name
        if not os.path.lexists(path):
            new[name] = text
        elif path.is_file() and path.read_bytes() == text.encode():
            same.append(name)
        else:
            present[name] = text
    return Changes(new, present, tuple(same))


def write(root: Path, new: Mapping[str, str]) -> None:
    """
    Write all files or none.

    Raises:
        OutputError: a file exists by now.
        OSError: no space, no permission.
    """
    with with_delayed_signals(), uninterrupted():
        create_all({root / name: text.encode() for name, text in new.items()})


def diff(new: Mapping[str, str]) -> str:
    """Render new files as a unified diff, which `git apply` takes."""
    return "".join(
        f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{text.count(chr(10))} @@\n"
        + "".join(f"+{line}\n" for line in text.splitlines())
        for name, text in new.items()
    )


def _refuse_folders(root: Path, name: str) -> None:
    folder = root
    for part in name.split("/")[:-1]:
        folder = folder / part
        try:
            mode = folder.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            raise OutputError(
                f"{folder} is a link", hint="replace it by a folder: the target of a link can change"
            )
        if not stat.S_ISDIR(mode):
            raise OutputError(
                f"{folder} is not a folder", hint="rename it, because init writes a folder of that name"
            )
