"""Files and other data that programs read."""

from __future__ import annotations

import re

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry, carry_line, refuse

__all__ = ["docker", "dotenv", "json", "nushell", "systemd", "value"]

_LONGEST_LINE = 60_000  # docker stops reading at a longer line


def dotenv(variables: Variables) -> Rendering:
    """
    A .env file. Each program that reads them has its own rules: only text that all of them read alike.

    A text of letters, digits and `. _ + / -`, such as a token, is bare. Any other is in single quotes, in
    which some programs interpret a backslash, some expand `$`, and some do neither.
    """
    lines = []
    for name, text in variables.assigned.items():
        carry_line("a .env file", text, ("'", "\\", "$", "`"))
        lines.append(f"{name}={text}\n" if re.fullmatch(r"[A-Za-z0-9._+/-]+", text) else f"{name}='{text}'\n")
    return Rendering(
        "".join(lines),
        then="keep it out of the repository, and load it by a reader of .env files, or: set -a; . ./FILE",
    )


def docker(variables: Variables) -> Rendering:
    """
    The file of `docker run --env-file`, also of podman: all that follows the `=` is the value, also quotes.

    Compose reads its files as .env files: use `dotenv` for it. A token looks the same in both.
    """
    lines = [f"{name}={carry_line('an env-file', text)}\n" for name, text in variables.assigned.items()]
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise refuse("an env-file", "it is too long")
    return Rendering("".join(lines), then="docker run --env-file FILE …; docker inspect shows the value")


def systemd(variables: Variables) -> Rendering:
    """
    The file of systemd's `EnvironmentFile=`.

    A credential is better if the program can read one: `--format value`, and `LoadCredential=astro:FILE`.
    """
    return Rendering(
        "".join(f'{name}="{_escaped(text)}"\n' for name, text in variables.assigned.items()),
        then="EnvironmentFile=FILE; better LoadCredential=astro:FILE with --format value",
    )


def _escaped(text: str) -> str:
    carry("systemd", text)
    # systemd does not accept a text with a noncharacter as UTF-8, and drops it.
    if any(0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE for code in map(ord, text)):  # noqa: PLR2004
        raise refuse("systemd", "it contains a noncharacter")
    return re.sub(r'([\\"$`])', r"\\\1", text)


def json(variables: Variables) -> Rendering:
    """A JSON object, in ASCII, so that the consumer's encoding does not matter."""
    from json import dumps

    text = dumps({name: carry("JSON", text) for name, text in variables.assigned.items()})
    return Rendering(f"{text}\n", then="the names are the keys")


def nushell(variables: Variables) -> Rendering:
    """JSON, because nushell cannot evaluate a text by design; its own commands load a record."""
    source = f"open --raw {variables.file}" if variables.file else variables.call
    return Rendering(json(variables).text, then=f"load it: {source} | from json | load-env")


def value(variables: Variables) -> Rendering:
    """The bare value without a line end, for programs that read a secret from a file or a pipe."""
    text = "".join(carry("a file", text) for text in variables.set.values())
    return Rendering(text, then="it is the value alone, without a line end")
