"""The one rule that chooses a field of a secret, and puts one back."""

from __future__ import annotations

import json
from typing import Any

from astro_token.errors import (
    AstroTokenError,
    InvalidTokenError,
    SecretNotFoundError,
    UnsupportedOperationError,
    result,
)
from astro_token.secret import SecretValue

__all__ = ["choose", "put", "same"]

DEFAULT_FIELD = "token"


def choose(value: SecretValue, field: str | None) -> SecretValue:
    """
    The part of a secret that a reference means.

    Of a JSON object: the named field; else `token`; else the only one.
    Of anything else: the whole, where no field is named.

    Raises:
        SecretNotFoundError: there is no such field, or there are several and none is named.
        InvalidTokenError: the field is no text.
    """
    return result(_choose(value, field))


def put(current: SecretValue | None, field: str | None, value: SecretValue) -> SecretValue:
    """
    The secret with one field replaced, and the others as they were.

    Raises:
        SecretNotFoundError: it has several fields and none is named, or one is named and it has none.
        UnsupportedOperationError: the value is no text, which is all that a field can hold.
    """
    return result(_put(current, field, value))


# As in `token.py`: what holds a part of the value returns its error and does not raise it.


def _choose(value: SecretValue, field: str | None) -> SecretValue | AstroTokenError:
    fields = _object(value)
    if fields is None:
        if field is None:
            return value
        return _no_fields()
    name = _name(fields, field)
    if isinstance(name, AstroTokenError):
        return name
    chosen = fields[name]
    if not isinstance(chosen, str):
        return InvalidTokenError(
            "the field that the reference means is no text",
            hint="name another field after # in the reference",
        )
    return SecretValue(chosen.encode("utf-8", errors="surrogatepass"), value.version)


def _put(current: SecretValue | None, field: str | None, value: SecretValue) -> SecretValue | AstroTokenError:
    fields = _object(current) if current is not None else None
    if fields is None:
        if field is None:
            return value
        if current is not None and current.reveal():
            return _no_fields()  # what is there would be lost
        fields = {}
    name = field if field is not None or not fields else _name(fields, None)
    if isinstance(name, AstroTokenError):
        return name
    try:
        fields[name or DEFAULT_FIELD] = value.reveal().decode()
    except UnicodeDecodeError:
        return UnsupportedOperationError(
            "a field holds text, and this ciphertext is none",
            hint="leave #field out of the reference, so that the ciphertext has a secret of its own",
        )
    return SecretValue(json.dumps(fields, ensure_ascii=False).encode("utf-8", errors="surrogatepass"))


def same(first: SecretValue, second: SecretValue) -> bool:
    """True if both are one secret; a service that keeps a map may order and space its JSON anew."""
    fields = _object(first)
    return first == second or (fields is not None and fields == _object(second))


def _no_fields() -> SecretNotFoundError:
    return SecretNotFoundError(
        "the secret has no fields: it is no JSON object",
        hint="leave #field out of the reference, or store a JSON object",
    )


def _name(fields: dict[str, Any], field: str | None) -> str | SecretNotFoundError:
    if field is not None:
        if field in fields:
            return field
        return SecretNotFoundError(
            f"the secret has no field {field}", hint="correct the part of the reference after #"
        )
    if DEFAULT_FIELD in fields:
        return DEFAULT_FIELD
    if len(fields) == 1:
        return next(iter(fields))
    return SecretNotFoundError(
        "the secret has several fields, or none, and the reference names none",
        hint="name the field after # in the reference, as in vault:secret/astro/prod#token",
    )


def _object(value: SecretValue) -> dict[str, Any] | None:
    """The value as a JSON object, or None where it is something else."""
    data = value.reveal().removeprefix(b"\xef\xbb\xbf").strip()
    if not data.startswith(b"{"):
        return None
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
