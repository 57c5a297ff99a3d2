"""Checks of a text before a format renders it."""

from __future__ import annotations

import re

from astro_token.errors import OutputError

__all__ = ["carry", "carry_line", "refuse"]

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def carry(consumer: str, text: str) -> str:
    """
    Return the text if an environment can hold it and UTF-8 can encode it.

    Raises:
        OutputError: it contains NUL or a lone surrogate.
    """
    if "\0" in text:
        raise refuse(consumer, "it contains a NUL character")
    if _SURROGATE.search(text):
        raise refuse(consumer, "it contains half a character")
    return text


def carry_line(consumer: str, text: str, without: tuple[str, ...] = ()) -> str:
    """
    Return the text if it is one line of printable ASCII, on which consumers without quotes or escapes agree.

    Args:
        without: what this consumer would interpret.

    Raises:
        OutputError: it is not.
    """
    if not _LINE.fullmatch(text):
        raise refuse(consumer, "it is not one line of printable ASCII without blanks around it")
    if any(part in text for part in without):
        raise refuse(consumer, f"it contains one of {' '.join(without)}")
    return text


def refuse(consumer: str, reason: str) -> OutputError:
    return OutputError(
        f"{consumer} cannot carry this value: {reason}", hint="use exec, which carries any value"
    )
