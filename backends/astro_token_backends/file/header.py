"""
Header of an age file: its format and its recipients.

pyrage decrypts files, but neither lists their recipients nor describes a defect.
The format: https://c2sp.org/age
"""

from __future__ import annotations

from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import Counter

__all__ = ["AgeHeader", "age_bytes", "read_header"]

_MAGIC = b"age-encryption.org/v1"
_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END = b"-----END AGE ENCRYPTED FILE-----"
_SMALLEST_PAYLOAD = 16 + 16  # the nonce, and the tag of an empty last chunk


class AgeHeader(Record):
    """
    Header of an age file.

    Attributes:
        armoured: the file is text.
        complete: the file is not truncated, as far as this shows without a key.
        stanzas: the number of recipients by kind; empty if the header is damaged.
            An SSH key is named by its tag; an X25519 key cannot be distinguished from another one.
    """

    armoured: bool
    complete: bool
    stanzas: Counter[str]

    @property
    def passphrase(self) -> bool:
        return "scrypt" in self.stanzas


def age_bytes(data: bytes) -> bytes:
    """Remove what editors and copying put in front of an armoured file."""
    stripped = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    return stripped if _like(stripped, _BEGIN) else data


def read_header(data: bytes) -> AgeHeader | None:
    """
    Read the header of an age file; None for anything else.

    A damaged age file counts as one: otherwise its content would be returned as a plain secret.
    """
    data = age_bytes(data)
    if _like(data, _BEGIN):
        complete = data.rstrip().endswith(_END)
        return AgeHeader(armoured=True, complete=complete, stanzas=_stanzas(_unarmoured(data)))
    if _like(data, _MAGIC):
        _, _, rest = data.partition(b"\n---")
        _, _, payload = rest.partition(b"\n")
        return AgeHeader(armoured=False, complete=len(payload) >= _SMALLEST_PAYLOAD, stanzas=_stanzas(data))
    return None


def _like(data: bytes, marker: bytes) -> bool:
    start = data[: len(marker)]
    return bool(start) and 2 * sum(map(int.__eq__, start, marker)) > len(start)


def _unarmoured(data: bytes) -> bytes:
    import base64
    import binascii

    body = b"".join(line.strip() for line in data.splitlines()[1:] if not line.startswith(b"-----"))
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        return b""


def _stanzas(data: bytes) -> Counter[str]:
    from collections import Counter

    header, _, _ = data.partition(b"\n---")
    stanzas: Counter[str] = Counter()
    for line in header.splitlines():
        kind, *arguments = line.decode("ascii", "replace").removeprefix("-> ").split(" ")
        if line.startswith(b"-> ") and not kind.endswith("-grease"):
            stanzas[" ".join([kind, *arguments[:1]]) if kind.startswith("ssh-") else kind] += 1
    return stanzas
