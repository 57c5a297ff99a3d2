"""
The table of transitions.

The next step of a rotation follows from its record and the current value alone.
So a run that continues a rotation is the same as a run that begins one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from astro_token.record import Record

if TYPE_CHECKING:
    from typing import Any

    from astro_token.lifecycle.effects import RotationRecord, Slot

__all__ = ["TRANSITIONS", "State", "Transition", "next_step", "state_of"]

_LONGEST_LEASE = 300.0  # seconds; a lease that ends later was written by a wrong clock


class State(Record):
    """
    Attributes:
        intent: `none`, `own`, `foreign` (another run holds its lease) or `expired` (its lease is over).
        pending, previous: the record contains such a token.
        current: the token that consumers read: `pending`, `previous`, `other` or `none`.
    """

    intent: str
    pending: bool
    previous: bool
    current: str


class Transition(Record):
    """
    A row: the step that follows from a state. An empty field accepts every state.

    Attributes:
        step: its name. `protocol` has a function for each; `busy` and `alarm` are outcomes.
    """

    step: str
    intent: str = ""
    pending: bool | None = None
    previous: bool | None = None
    current: str = ""

    def accepts(self, state: State) -> bool:
        return (
            self.intent in {"", state.intent}
            and self.pending in {None, state.pending}
            and self.previous in {None, state.previous}
            and self.current in {"", state.current}
        )


# The first row that accepts a state counts.
TRANSITIONS = (
    Transition("busy", intent="foreign"),
    Transition("take_over", intent="expired"),
    Transition("take_over", intent="none", pending=True),
    Transition("take_over", intent="none", previous=True),
    Transition("note_promotion", pending=True, current="pending"),
    Transition("promote", pending=True, previous=True, current="previous"),
    Transition("alarm", pending=True, previous=True),
    Transition("promote", pending=True),
    Transition("note_return", previous=True, current="previous"),
    Transition("revoke", previous=True),
    Transition("discard", intent="own"),
    Transition("begin", intent="none"),
)


def state_of(record: RotationRecord, current: Slot[Any] | None, *, owner: str, now: float) -> State:
    intent = record.intent
    ids = {"pending": record.pending, "previous": record.previous}
    held = [name for name, slot in ids.items() if slot and current and slot.id == current.id]
    return State(
        intent="none"
        if intent is None
        else "own"
        if intent.owner == owner
        else "foreign"
        if now < intent.until < now + _LONGEST_LEASE
        else "expired",
        pending=record.pending is not None,
        previous=record.previous is not None,
        current=held[0] if held else "other" if current else "none",
    )


@cache
def next_step(state: State) -> str:
    return next(row.step for row in TRANSITIONS if row.accepts(state))
