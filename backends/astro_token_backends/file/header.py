"""
The outside of an age file: how it is written down, and for whom.

pyrage opens files, but does not tell for whom they are, and says little of what is wrong with one.
The format: https://c2sp.org/age
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from dataclasses import dataclass

__all__ = ["AgeHeader", "age_bytes", "read_header"]

_MAGIC = b"age-encryption.org/v1"
_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END = b"-----END AGE ENCRYPTED FILE-----"
_SMALLEST_PAYLOAD = 16 + 16  # the nonce, and the tag of a last chunk that is empty


@dataclass(frozen=True, slots=True)
class AgeHeader:
    """
    Attributes:
        armoured: written down as text.
        whole: not cut short, as far as can be seen without a key.
        stanzas: for whom it is, by kind and number; none where it is damaged.
            An SSH key is named by its tag; an X25519 key cannot be told from another one.
    """

    armoured: bool
    whole: bool
    stanzas: Counter[str]

    @property
    def passphrase(self) -> bool:
        return "scrypt" in self.stanzas


def age_bytes(data: bytes) -> bytes:
    """The file without what editors and copying put in front of an armoured one."""
    stripped = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    return stripped if _like(stripped, _BEGIN) else data


def read_header(data: bytes) -> AgeHeader | None:
    """
    The header of an age file, None of anything else.

    A file that was an age file before it was damaged is one:
    taken for a plain one, its content would pass for a secret.
    """
    data = age_bytes(data)
    if _like(data, _BEGIN):
        whole = data.rstrip().endswith(_END)
        return AgeHeader(armoured=True, whole=whole, stanzas=_stanzas(_unarmoured(data)))
    if _like(data, _MAGIC):
        _, _, rest = data.partition(b"\n---")
        _, _, payload = rest.partition(b"\n")
        return AgeHeader(armoured=False, whole=len(payload) >= _SMALLEST_PAYLOAD, stanzas=_stanzas(data))
    return None


def _like(data: bytes, marker: bytes) -> bool:
    start = data[: len(marker)]
    return bool(start) and 2 * sum(map(int.__eq__, start, marker)) > len(start)


def _unarmoured(data: bytes) -> bytes:
    body = b"".join(line.strip() for line in data.splitlines()[1:] if not line.startswith(b"-----"))
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        return b""


def _stanzas(data: bytes) -> Counter[str]:
    header, _, _ = data.partition(b"\n---")
    found: Counter[str] = Counter()
    for line in header.splitlines():
        kind, *arguments = line.decode("ascii", "replace").removeprefix("-> ").split(" ")
        if line.startswith(b"-> ") and not kind.endswith("-grease"):
            found[" ".join([kind, *arguments[:1]]) if kind.startswith("ssh-") else kind] += 1
    return found
