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
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, ConfigError, RotationError, result
from astro_token.lifecycle.effects import Intent, RotationRecord, Slot
from astro_token.secret import SecretValue
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decode_record", "encode_record"]

_FORMAT = 1
_LONGEST_TEXT = 512


def encode_record(record: RotationRecord) -> SecretValue:
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
    return SecretValue(json.dumps(content).encode())


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
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return RotationError(
        "the rotation record is not one that astro-token wrote",
        exit_code=RotationError.PERSON_NEEDED,
        hint="compare its tokens with `astro-token audit`, revoke those that nobody uses, then delete it",
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
    return Slot(ident, SecretValue(value.encode("ascii")))


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
