"""
What reads files of `NAME=value`: models written after the programs' own parts or documentation.

docker's ParseFile, systemd's env-file parser, GitLab Runner's reading of GITLAB_ENV, and of the programs that
read .env files the rules in which they differ.
"""

from __future__ import annotations

import re

# The code points that are no characters: systemd takes a value with one for malformed, and drops it.
NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
)


def docker(file: str) -> dict[str, str]:
    """Lines end with LF or CRLF; blanks go from the front of a line, and nothing from a value."""
    found = {}
    for number, line in enumerate(file.removesuffix("\n").split("\n")):
        line = (line.removeprefix("\ufeff") if number == 0 else line).removesuffix("\r").lstrip()  # noqa: PLW2901
        if len(line.encode()) >= 64 * 1024:
            raise ValueError("token too long")
        if line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if re.search(r"\s", name) or not name:
                raise ValueError("no valid name")
            if equals:
                found[name] = value
    return found


def gitlab(file: str) -> dict[str, str]:
    """Each line that has an end, without the blanks around it."""
    found = {}
    for line in file.split("\n")[:-1]:
        name, equals, value = line.strip().partition("=")
        if equals:
            found[name] = value.strip()
    return found


def systemd(file: str) -> dict[str, str]:
    """Quotes may follow each other; in double ones a backslash is for the four characters that need it."""
    found: dict[str, str] = {}
    place = 0
    while match := _SYSTEMD_LINE.match(file, place):
        place = match.end()
        if match["name"] is not None:
            value = _SYSTEMD_PART.sub(_systemd_part, match["value"])
            if not NONCHARACTER.search(value):
                found[match["name"]] = value
    if place != len(file):
        raise ValueError("an end is missing")
    return found


_SYSTEMD_LINE = re.compile(
    r"""[ \t]*(?:[#;](?:\\.|[^\n\r\\])*|(?P<name>[^\s=#;][^=\n\r]*?)[ \t]*=[ \t]*"""
    r"""(?P<value>(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\n\r\\"'])*?)[ \t]*|[^=\n\r]*)[\n\r]""",
    re.DOTALL,
)
_SYSTEMD_PART = re.compile(
    r"""(?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>[^']*)')[ \t]*|\\(?P<bare>.)""", re.DOTALL
)


def _systemd_part(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r'\\(?:(["\\`$])|\n)', lambda inner: inner[1] or "", match["double"])
    return match["single"] if match["single"] is not None else match["bare"].strip("\n\r")


# -- .env files --------------------------------------------------------------------------------------------


def python_dotenv(file: str) -> dict[str, str]:
    """Single quotes know a backslash before a quote or another; `${…}` is replaced everywhere."""
    found = {}
    for match in re.finditer(r"^(\w+)=(?:'((?:\\'|[^'])*)'|([^\r\n]*))[^\S\r\n]*$", file, re.MULTILINE):
        if match[2] is not None:
            value = re.sub(r"\\([\\'])", r"\1", match[2])
        else:
            value = re.sub(r"\s+#.*", "", match[3]).rstrip()
        found[match[1]] = re.sub(r"\$\{[^}]*\}", "", value)
    return found


def compose(file: str) -> dict[str, str]:
    """Single quotes are literal but for a backslash before one; a bare value is expanded."""
    found = {}
    for match in re.finditer(r"^(\w+)=(?:'((?:\\'|[^'])*)'|([^\r\n]*))[^\S\r\n]*$", file, re.MULTILINE):
        if match[2] is not None:
            found[match[1]] = match[2].replace("\\'", "'")
        else:
            value = re.sub(r"\s+#.*", "", match[3]).strip()
            found[match[1]] = re.sub(r"\$(\w+|\{[^}]*\})", "", value)
    return found


def shell_like(file: str) -> dict[str, str]:
    """As a shell: single quotes are literal and end at the next one."""
    found = {}
    for line in file.splitlines():
        match = re.fullmatch(r"(\w+)=(?:'([^']*)'|([\w.+/-]*))", line)
        if match:
            found[match[1]] = match[2] if match[2] is not None else match[3]
    return found
