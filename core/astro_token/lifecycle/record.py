"""
The rotation record as a secret: JSON next to the value, under the same permission.

    {"format": 1,
     "intent": {"title": "deploy~6b1f…", "owner": "…", "until": "2026-11-30T08:00:30Z"},
     "pending": {"id": "cl…", "value": "…"},
     "previous": {"id": "cl…", "value": "…"}, "promoted": "…", "revoke_after": "…"}

Absent fields are None. Between rotations the record is `{"format": 1}`.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    ConfigError,
    InvalidRefError,
    InvalidTokenError,
    RotationError,
    UnsupportedOperationError,
    result,
)
from astro_token.lifecycle.effects import Intent, RotationRecord, Slot
from astro_token.record import replace
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend, require
from astro_token.secrets.schemes import BUILTIN
from astro_token.token import AstroToken, is_identifier
from astro_token.tokens.write import refuse_pinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.transport.deadline import Deadline

__all__ = ["RENEW_RECORD", "decode_record", "encode_record", "record_ref"]

_FORMAT = 1
_LONGEST_TEXT = 512
_LONGEST_FILE_NAME = 233  # bytes: that of its temporary file is longer, and at most 255
# Some services keep the name of a deleted secret for weeks.
RENEW_RECORD = (
    'then delete the rotation record if it is a file or in Vault, else replace its content by {"format": 1}'
)
_NO_RECORD = "does not support create and rotate"


def record_ref(ref: SecretRef, deadline: Deadline) -> SecretRef:
    """
    Name the secret that holds the record of a value: a secret of its own, next to it.

    Raises:
        BackendError: a plugin failed, or named a secret that cannot hold the record.
        InvalidRefError: the reference is pinned to a version.
        UnsupportedOperationError: the scheme has no record, or its name would not be valid.
    """
    refuse_pinned(ref)
    value, scheme = ref.without_field(), BUILTIN.get(ref.scheme)
    if scheme is None:
        backend = require(open_backend(ref.scheme), "rotation_record", ref.scheme, _NO_RECORD)
        named = deadline.once(lambda _: backend.rotation_record(value))
        if not isinstance(named, SecretRef) or not _holds_record(named, value):
            raise BackendError(
                f"the plugin for {ref.scheme} names no secret of its own for the record of rotations",
                hint="report it to the plugin's authors",
            )
        return named
    suffix = scheme.rotation_suffix
    if suffix is None:
        require(None, "rotation_record", ref.scheme, _NO_RECORD)
    added = re.fullmatch(scheme.added_end, value.name) if scheme.added_end else None
    name = f"{added[1] if added else value.name}{suffix}"
    try:
        if scheme.local and len(os.fsencode(os.path.basename(name))) > _LONGEST_FILE_NAME:  # noqa: PTH119 (text)
            raise InvalidRefError("the name is too long")
        return replace(value, name=name)
    except InvalidRefError:
        failure = UnsupportedOperationError(
            f"{ref}: with {suffix} at its end, the name of its rotation record is not valid",
            hint="store the token under a shorter name",
        )
    raise failure


def _holds_record(named: SecretRef, value: SecretRef) -> bool:
    return named.scheme == value.scheme and named != value and named.field is None and not named.pinned


def encode_record(record: RotationRecord, *, room: int = 0) -> SecretValue:
    """
    Args:
        room: bytes that the record will need later. They are filled with spaces, so that a service
            which cannot store them refuses the record before a token exists.
    """
    content: dict[str, Any] = {"format": _FORMAT}
    if record.intent is not None:
        content["intent"] = {**vars(record.intent), "until": _time_text(record.intent.until)}
    for name in ("pending", "previous"):
        slot = getattr(record, name)
        if slot is not None:
            content[name] = {"id": slot.id, "value": slot.value.reveal().decode("ascii")}
    for name in ("promoted", "revoke_after"):
        seconds = getattr(record, name)
        if seconds is not None:
            content[name] = _time_text(seconds)
    text = json.dumps(content)
    return SecretValue(f"{text[0]}{' ' * room}{text[1:]}".encode())


def decode_record(secret: SecretValue) -> RotationRecord:
    """
    Decode a record.

    Raises:
        ConfigError: a newer version of astro-token wrote it.
        RotationError: it is not a record; status 81, because a token in it may be lost.
    """
    return result(_decoded(secret))


def _decoded(secret: SecretValue) -> RotationRecord | AstroTokenError:
    # Errors are returned: a traceback would lead to the values in these frames.
    try:
        content = json.loads(secret.reveal())
        number = content.pop("format")
        if isinstance(number, int) and number > _FORMAT:
            return ConfigError(
                "a newer version of astro-token wrote the rotation record", hint="install the newest version"
            )
        readers: dict[str, Callable[[Any], Any]] = {
            "intent": _intent,
            "pending": _slot,
            "previous": _slot,
            "promoted": _seconds,
            "revoke_after": _seconds,
        }
        if number == _FORMAT:
            return RotationRecord(**{name: readers[name](value) for name, value in content.items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidTokenError):
        pass
    return RotationError(
        "the rotation record is not one that astro-token wrote",
        exit_code=RotationError.PERSON_NEEDED,
        hint=f"compare its tokens with `astro-token audit`, revoke those that nobody uses; {RENEW_RECORD}",
    )


def _intent(content: dict[str, Any]) -> Intent:
    title, owner, until = (content.pop(name) for name in ("title", "owner", "until"))
    if content:
        raise ValueError
    return Intent(_text(title), _text(owner), _seconds(until))


def _slot(content: dict[str, Any]) -> Slot[SecretValue]:
    ident, value = content.pop("id"), content.pop("value")
    if content or not is_identifier(ident) or not isinstance(value, str):
        raise ValueError
    secret = SecretValue(value.encode("ascii"))
    if AstroToken.parse(secret).token_id != ident:  # or another token than the verified one could be deleted
        raise ValueError
    return Slot(ident, secret)


def _text(text: object) -> str:
    if not isinstance(text, str) or not text.isprintable() or not 0 < len(text) <= _LONGEST_TEXT:
        raise ValueError
    return text


def _seconds(text: str) -> float:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError
    return time.timestamp()


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
