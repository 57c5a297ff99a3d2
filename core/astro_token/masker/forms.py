"""The encodings of a secret value in an output."""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SHORTEST", "forms", "texts_to_hide"]

# Shorter ones would mask harmless words all over a log.
SHORTEST = 8


def forms(value: bytes) -> frozenset[bytes]:
    """
    List the value, its lines and the two secret parts of a JWT, each unchanged and in every encoding.

    A JWT's header names an algorithm and a key, and is the same in many tokens: it is not masked alone.
    Base64 is cut to the characters that depend on the value alone,
    so that it matches at any offset of the encoded text.
    """
    encoded = {form for part in _parts(value) for form in _encoded(part)}
    return frozenset(form for form in encoded if len(form) >= SHORTEST)


def texts_to_hide(values: tuple[str, ...]) -> list[str]:
    """
    List the texts that a log has to hide: values of any length and their forms, the longest first.

    Blank ones are left out. Systems that derive some of the forms get them all the same: their replacements
    do not derive ours.
    """
    visible = [value for value in values if value.strip()]
    derived = {form for value in visible for form in forms(value.encode())}
    ordered = [form.decode() for form in sorted(derived, key=lambda form: (-len(form), form))]
    return [text for text in dict.fromkeys([*visible, *ordered]) if text.strip()]


def _parts(value: bytes) -> Iterator[bytes]:
    for text in (value, *(line.strip() for line in value.splitlines())):
        yield text
        segments = text.split(b".")
        if len(segments) == 3:  # noqa: PLR2004 (header, claims, signature)
            yield from segments[1:]


def _encoded(part: bytes) -> Iterator[bytes]:
    yield part
    yield part.hex().encode()
    yield part.hex().upper().encode()
    for before in range(3):
        standard = _base64(part, before)
        yield standard
        yield standard.translate(bytes.maketrans(b"+/", b"-_"))
    for safe in ("", "/"):  # in a path, slashes are not encoded
        percent = quote(part, safe=safe)
        yield percent.encode()
        yield re.sub("%..", lambda escape: escape[0].lower(), percent).encode()
    text = part.decode("utf-8", "replace")
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


def _base64(part: bytes, before: int) -> bytes:
    """Encode the part after a number of other bytes, modulo 3, and keep its own characters."""
    own = slice((0, 2, 3)[before], 8 * (before + len(part)) // 6)
    return b2a_base64(bytes(before) + part, newline=False)[own]
