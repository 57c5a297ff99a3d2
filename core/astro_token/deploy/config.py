"""
The settings of a `config.yaml` of the Astro CLI: the home's or a project's.

The CLI writes block maps of single values, and only these are read: no YAML library is needed,
and nothing in an untrusted file (anchors, tags, merges) can make work.
What stands there in another form is not guessed at; `whole` then says that not all was read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from astro_token.system.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Settings", "settings_of", "text_of"]

_MAX_BYTES = 256 * 1024
_LINE = re.compile(r"""( *)("[^"\\]*"|'[^']*'|[A-Za-z0-9_][A-Za-z0-9_.-]*)[ \t]*:(?:[ \t]+(.*))?""")
_QUOTED = re.compile(r"""(?:"([^"\\]*)"|'([^']*)')[ \t]*(?:#.*)?""")
_SEVERAL_LINES = frozenset({"|", "|-", "|+", ">", ">-", ">+"})
_NOTHING = frozenset({"", "~", "null", "{}", "[]"})
# Said to be there, and not kept: these hold secrets.
_SECRET = ("token", "refreshtoken", "postgres.password")


class Settings(NamedTuple):
    """
    Attributes:
        values: by their dotted names in lower case, such as `cloud.api.protocol`; empty ones are left out.
        whole: whether every line was understood.
    """

    values: Mapping[str, str]
    whole: bool


def text_of(path: Path, limit: int = _MAX_BYTES) -> str | None:
    """The text of a file; None where there is none that can be read, or it is too long."""
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    return None if len(data) > limit else data.decode("utf-8", errors="replace").removeprefix("\ufeff")


def settings_of(text: str) -> Settings:
    values: dict[str, str] = {}
    whole = True
    above: list[tuple[int, str]] = []  # the keys that the line is under, with their indents
    block = -1  # the indent of a key whose value is a text of several lines
    for line in text.splitlines():
        bare = line.strip()
        indent = len(line) - len(line.lstrip(" "))
        if not bare or (block >= 0 and indent > block):
            continue
        block = -1
        if bare.startswith("#") or line in {"---", "..."}:
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            whole = False
            continue
        while above and above[-1][0] >= indent:
            above.pop()
        key = match[2].strip("\"'").lower()
        name = f"{above[-1][1]}.{key}" if above else key
        above.append((indent, name))
        value = _value(match[3] or "")
        if value is None:
            whole = False
        elif value in _SEVERAL_LINES:
            block = indent
        if value:
            values[name] = "…" if name.endswith(_SECRET) else value
    return Settings(values, whole)


def _value(text: str) -> str | None:
    """A single value; None for what is none."""
    text = text.strip()
    if match := _QUOTED.fullmatch(text):
        return match[1] or match[2] or ""
    if text.startswith("#"):
        return ""
    text = re.split(r"[ \t]#", text, maxsplit=1)[0].rstrip()
    if text in _NOTHING:
        return ""
    if text in _SEVERAL_LINES:
        return text
    return None if text[0] in "\"'[]{}&*!|>%@`?-," or ": " in text else text
