"""The rotation record as JSON, and records that somebody else wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from astro_token.errors import ConfigError, RotationError, worst
from astro_token.lifecycle.effects import Intent, RotationRecord, Slot
from astro_token.lifecycle.record import decode_record, encode_record
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from tests.rows import each_row

INTENT = Intent("deploy~1", "run-1", 1_795_000_000.25)
FIRST, SECOND = (make_token(token_id=ident) for ident in ("cltoken1", "cltoken2"))
FULL: dict[str, Any] = {
    "format": 1,
    "intent": {"title": "deploy~1", "owner": "run-1", "until": "2026-11-18T11:06:40.250000Z"},
    "pending": {"id": "cltoken2", "value": SECOND},
    "previous": {"id": "cltoken1", "value": FIRST},
    "promoted": "2026-11-18T11:06:40Z",
    "revoke_after": "2026-11-19T11:06:40Z",
}


def slot(ident: str, value: str) -> Slot[SecretValue]:
    return Slot(ident, SecretValue(value.encode()))


@pytest.mark.parametrize(
    "record",
    [
        RotationRecord(),
        RotationRecord(intent=INTENT),
        RotationRecord(intent=INTENT, pending=slot("cltoken2", SECOND)),
        RotationRecord(intent=INTENT, previous=slot("cltoken1", FIRST), promoted=1.5e9, revoke_after=1.6e9),
    ],
)
def test_a_record_is_read_back(record: RotationRecord) -> None:
    assert record == decode_record(encode_record(record))


def test_the_documented_form() -> None:
    record = RotationRecord(
        INTENT, slot("cltoken2", SECOND), slot("cltoken1", FIRST), 1_795_000_000, 1_795_086_400
    )
    assert json.loads(encode_record(record).reveal()) == FULL
    assert {"format": 1} == json.loads(encode_record(RotationRecord()).reveal())


def test_a_record_of_a_newer_version_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="a newer version"):
        decode_record(SecretValue(json.dumps({"format": 2, "new": 1}).encode()))


def changed(*path: str, to: Any) -> bytes:
    content = json.loads(json.dumps(FULL))
    at = content
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = to
    return json.dumps(content).encode()


@each_row(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        changed("format", to="1"),
        changed("format", to=0),
        changed("note", to="mine"),
        changed("intent", to="deploy~1"),
        changed("intent", "until", to="tomorrow"),
        changed("intent", "until", to="2026-11-18T11:06:40"),
        changed("intent", "until", to=5),
        changed("intent", "title", to=""),
        changed("intent", "title", to="a\nb"),
        changed("intent", "more", to=1),
        changed("pending", "id", to="../x"),
        changed("pending", "id", to="cltoken9"),
        changed("pending", "value", to=5),
        changed("pending", "value", to="é"),
        changed("pending", to={"id": "cltoken2"}),
        changed("promoted", to=None),
    ],
)
def test_what_is_not_a_record_needs_a_person(content: bytes) -> None:
    with pytest.raises(RotationError, match="not one that astro-token wrote") as caught:
        decode_record(SecretValue(content))
    assert 81 == caught.value.exit_code
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_the_status_of_several_failures() -> None:
    assert (81, 75, 80) == (worst([64, 81, 80]), worst([75, 80, 0]), worst([80, 0]))
