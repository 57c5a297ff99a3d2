"""YAML in the block form that the CLI writes itself: maps, scalars, and text of several lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ESCAPES = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
}
TYPED = re.compile(
    r"~|null|true|false|[-+]?(\d[\d_]*(\.\d*)?|\.\d+)(e[-+]?\d+)?|0[xob][\da-f_]+|[-+]?\.(inf|nan)"
    r"|\d{4}-\d\d?-\d\d?([Tt ].*)?",
    re.IGNORECASE,
)
SPACE = " \t"
OLD_BOOL = re.compile(r"y|n|yes|no|on|off", re.IGNORECASE)
KEY = re.compile(r"""("[^"]*"|'[^']*'|[^\s:#'"\[{&*!|>%@`-][^:]*?)[ \t]*:(?:[ \t]+(.*))?""")


class Plain(str):
    """A scalar that is no string to YAML (a number, a time): it is written back as it was read."""

    __slots__ = ()


def read_yaml(text: str) -> dict[str, Any]:
    lines = text.split("\n")
    tree, end = _read_block(lines, 0, 0)
    if end < len(lines):
        raise UnsupportedError(f"cannot read line {end + 1} of this YAML")
    return tree


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _blank(line: str) -> bool:
    return not line.strip(SPACE) or line.lstrip(SPACE).startswith("#") or line.rstrip(SPACE) == "---"


def _read_block(lines: Sequence[str], start: int, indent: int) -> tuple[dict[str, Any], int]:
    tree: dict[str, Any] = {}
    at = start
    while at < len(lines):
        line = lines[at]
        if _blank(line):
            at += 1
            continue
        if _indent(line) < indent:
            break
        match = KEY.fullmatch(line.strip(SPACE))
        if _indent(line) > indent or match is None:
            raise UnsupportedError(f"cannot read line {at + 1} of this YAML")
        key = str(_read_scalar(match[1])).lower()  # keys are case-insensitive to the CLI
        value = (match[2] or "").strip(SPACE)
        at += 1
        if value in {"|", "|-", "|+"}:
            tree[key], at = _read_literal(lines, at, indent, value[1:])
        elif value == "" or value.startswith("#"):
            below = next((i for i in range(at, len(lines)) if not _blank(lines[i])), len(lines))
            if below < len(lines) and _indent(lines[below]) > indent:
                tree[key], at = _read_block(lines, below, _indent(lines[below]))
            else:
                tree[key] = None
        else:
            tree[key] = _read_scalar(value)
    return tree, at


def _read_literal(lines: Sequence[str], at: int, indent: int, chomp: str) -> tuple[str, int]:
    end = at
    while end < len(lines) and (not lines[end].strip(SPACE) or _indent(lines[end]) > indent):
        end += 1
    block = list(lines[at:end])
    deep = min((_indent(line) for line in block if line.strip(SPACE)), default=0)
    text = "\n".join(line[deep:] for line in block)
    if end < len(lines):
        text += "\n"
    body = text.rstrip("\n")
    return body + {"": "\n", "-": "", "+": text[len(body) :]}[chomp], end


def _read_scalar(text: str) -> Any:
    if text.startswith('"'):
        match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?', text)
        if match is None:
            raise UnsupportedError("cannot read a quoted scalar of this YAML")
        return re.sub(r"\\(x..|u.{4}|U.{8}|.)", _unescape, match[1])
    if text.startswith("'"):
        match = re.fullmatch(r"'((?:[^']|'')*)'[ \t]*(?:#.*)?", text)
        if match is None:
            raise UnsupportedError("cannot read a quoted scalar of this YAML")
        return match[1].replace("''", "'")
    text = re.sub(r"[ \t]+#.*", "", text)
    if text == "{}":
        return {}
    if text[0] in "[]{}&*!|>%@`":
        raise UnsupportedError("cannot read a scalar of this YAML")
    if text.lower() in {"~", "null"}:
        return None
    return Plain(text) if TYPED.fullmatch(text) else text


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "xuU" else ESCAPES.get(code, code)


def write_yaml(tree: Mapping[str, Any], indent: int = 0) -> str:
    text = ""
    for key in sorted(tree):
        value = tree[key]
        if isinstance(value, dict) and value:
            text += f"{' ' * indent}{key}:\n{write_yaml(value, indent + 4)}"
        else:
            text += f"{' ' * indent}{key}: {_write_scalar(value, indent + 4)}\n"
    return text


def _write_scalar(value: Any, indent: int) -> str:
    if value is None or value == {}:
        return "null" if value is None else "{}"
    return str(value) if isinstance(value, Plain) else _write_text(value, indent)


def _write_text(value: str, indent: int) -> str:
    if value == "" or TYPED.fullmatch(value) or OLD_BOOL.fullmatch(value):
        return f'"{value}"'
    printable = not re.search("[^\n -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]", value)
    if "\n" in value and printable and value[0] not in " \n" and " \n" not in value:
        body = value.rstrip("\n")
        chomp = {0: "-", 1: ""}.get(len(value) - len(body), "+")
        lines = value.removesuffix("\n").split("\n")
        return "\n".join([f"|{chomp}", *(f"{' ' * indent}{line}" if line else "" for line in lines)])
    if not printable or "\n" in value:
        names = {v: k for k, v in ESCAPES.items()} | {'"': '"', "\\": "\\"}
        return '"' + "".join(_escape(char, names) for char in value) + '"'
    awkward = value != value.strip(" ") or value[0] in ",[]{}#&*!|>'\"%@`" or re.match(r"[-?:](\s|$)", value)
    if awkward or ": " in value or " #" in value or value.endswith(":"):
        return "'" + value.replace("'", "''") + "'"
    return value


def _escape(char: str, names: Mapping[str, str]) -> str:
    if char in names:
        return f"\\{names[char]}"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
