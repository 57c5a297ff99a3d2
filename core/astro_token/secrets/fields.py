"""Select a field of a secret, and merge a new value into one."""

from __future__ import annotations

from astro_token.errors import (
    AstroTokenError,
    InvalidTokenError,
    SecretNotFoundError,
    UnsupportedOperationError,
    UnusableSecretError,
    result,
)
from astro_token.secret import SecretValue
from astro_token.secrets.ref import contains_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["merge_field", "same_secret", "select_field", "token_count"]

DEFAULT_FIELD = "token"
_USUAL_FIELDS = (DEFAULT_FIELD, "ASTRO_API_TOKEN", "astro_api_token", "api_token", "value")


def select_field(value: SecretValue, field: str | None) -> SecretValue:
    """
    Select the part of a secret that a reference names.

    Of a JSON object: the named field; else `token`; else the only field.
    Of anything else: all of it, if no field is named.

    Raises:
        SecretNotFoundError: the field does not exist.
        UnusableSecretError: there are several, and none is named.
        InvalidTokenError: the field is not text.
    """
    return result(_select(value, field))


def merge_field(current: SecretValue | None, field: str | None, value: SecretValue) -> SecretValue:
    """
    Replace one field of a secret and keep the others.

    Raises:
        UnusableSecretError: it has several fields, and none is named.
        SecretNotFoundError: one is named, and it has none.
        UnsupportedOperationError: the value is not text, and a field can hold only text.
    """
    return result(_merge(current, field, value))


# Functions with a part of the value among their variables return errors, so that no traceback holds it.


def _select(value: SecretValue, field: str | None) -> SecretValue | AstroTokenError:
    fields = _object(value)
    if fields is None:
        return value if field is None else _no_fields()
    name = _name(fields, field)
    if isinstance(name, AstroTokenError):
        return name
    content = fields[name]
    if not isinstance(content, str):
        return InvalidTokenError(
            "the selected field is not text", hint="name another field after # in the reference"
        )
    return SecretValue(content.encode("utf-8", errors="surrogatepass"), value.version)


def _merge(
    current: SecretValue | None, field: str | None, value: SecretValue
) -> SecretValue | AstroTokenError:
    fields = _object(current) if current is not None else None
    if fields is None:
        if field is None:
            return value
        if current is not None and current.reveal():
            return _no_fields()  # its content would be lost
        fields = {}
    name = field if field is not None or not fields else _name(fields, None)
    if isinstance(name, AstroTokenError):
        return name
    try:
        fields[name or DEFAULT_FIELD] = value.reveal().decode()
    except UnicodeDecodeError:
        return UnsupportedOperationError(
            "a field can hold only text, and this ciphertext is binary",
            hint="remove #field from the reference, and give the ciphertext a secret of its own",
        )
    import json

    return SecretValue(json.dumps(fields, ensure_ascii=False).encode("utf-8", errors="surrogatepass"))


def same_secret(first: SecretValue, second: SecretValue) -> bool:
    """
    True if two values are equal, or have equal fields.

    Services may reorder and reformat a map, and those that keep only maps store text as the field `token`.
    """
    return first == second or _fields(first) == _fields(second)


def _fields(value: SecretValue) -> dict[str, Any]:
    fields = _object(value)
    text = value.reveal().decode("utf-8", errors="surrogateescape")
    return {DEFAULT_FIELD: text} if fields is None else fields


def token_count(value: SecretValue) -> int:
    """Count the fields that hold a token."""
    fields = _object(value) or {}
    return sum(isinstance(content, str) and contains_token(content) for content in fields.values())


def _no_fields() -> SecretNotFoundError:
    return SecretNotFoundError(
        "the secret has no fields: it is not a JSON object",
        hint="remove #field from the reference, or store a JSON object",
    )


def _name(fields: dict[str, Any], field: str | None) -> str | SecretNotFoundError:
    if field is not None:
        if field in fields:
            return field
        return SecretNotFoundError(
            f"the secret has no field {field}; it has {_count(fields)}",
            hint=f"{_suggestion(fields, field)}correct the part of the reference after #",
        )
    if DEFAULT_FIELD in fields:
        return DEFAULT_FIELD
    if len(fields) == 1:
        return next(iter(fields))
    return UnusableSecretError(
        f"the secret has {_count(fields)}, and the reference does not name a field",
        hint=_suggestion(fields)
        + "name the field after # in the reference, as in vault:secret/astro/prod#token",
    )


def _count(fields: dict[str, Any]) -> str:
    return f"{len(fields) or 'no'} field{'s' * (len(fields) != 1)}"


def _suggestion(fields: dict[str, Any], field: str = "") -> str:
    """
    Begin a hint with a field that exists.

    Only our own names and other spellings of the given one are suggested: a field's name may be a secret.
    """
    for name in (field.lower(), field.upper(), field.strip(), *_USUAL_FIELDS):
        if name and name in fields:
            return f"did you mean {name}? "
    return ""


def _object(value: SecretValue) -> dict[str, Any] | None:
    """Decode a JSON object; None for anything else."""
    data = value.reveal().removeprefix(b"\xef\xbb\xbf").strip()
    if not data.startswith(b"{"):
        return None
    import json

    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
