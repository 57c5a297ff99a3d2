"""
Titles of tokens: the text of the project, and the unique part that a rotation adds.

The unique part has the form of a UUID, and names the secret and the token that is replaced, as digests.
Astro keeps it, so that whoever can write a secret cannot change it.
"""

from __future__ import annotations

import re
import uuid
from hashlib import blake2b

__all__ = ["digest", "is_marked", "replaces", "title_base", "unique_part"]

_SECRET_DIGITS, _TOKEN_DIGITS = 12, 10
_UNIQUE_PART = re.compile(r"~[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def digest(text: str) -> str:
    """Return the digits that stand for a secret, or for a token by its identifier."""
    return blake2b(text.encode()).hexdigest()


def unique_part(secret: str, replaced: str | None) -> str:
    """
    Return a new unique part.

    Args:
        secret: the digest of the secret.
        replaced: the identifier of the token that is replaced.
    """
    digits = uuid.uuid4().hex
    secret = secret[:_SECRET_DIGITS]
    token = digest(replaced)[:_TOKEN_DIGITS] if replaced else ""
    return str(uuid.UUID(f"{secret}{token}{digits[len(secret + token) :]}"))


def is_marked(title: str, secret: str) -> bool:
    """True for the title of a token that was created for a secret."""
    return _digits(title).startswith(secret[:_SECRET_DIGITS])


def replaces(title: str, replaced: str) -> bool:
    """True for the title of a token that was created to replace this one, whatever the secret."""
    return _digits(title)[_SECRET_DIGITS:].startswith(digest(replaced)[:_TOKEN_DIGITS])


def _digits(title: str) -> str:
    _, tilde, unique = title.rpartition("~")
    return unique.replace("-", "") if _UNIQUE_PART.fullmatch(tilde + unique) else ""


def title_base(title: str) -> str:
    """Return the title without the unique part."""
    base, tilde, unique = title.rpartition("~")
    return base if _UNIQUE_PART.fullmatch(tilde + unique) else title
