"""
The rotation of a token with overlap.

    begin ──> promote ──> note_promotion ──> revoke
    intent,   previous    pending            delete previous
    create,   in the      leaves the         after the grace
    stage     record,     record             period
              then the
              value

The value that consumers read is an object of its own, and the record is another one.
Both change under compare-and-set. Every run reads both and does what the table of transitions says,
so that running again continues from any point.

The tests' model shows that each of these rules is necessary:

- A run takes the record over before it deletes anything of another run, which may be paused and not dead.
- A token is deleted by its exact title, or by the beginning of the title when it is older than any pause.
- After a lost response everything is read again; nothing is assumed.
- If the new token stops working, the previous one becomes the current one again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from astro_token.lifecycle.effects import (
    ConflictError,
    Create,
    Delete,
    DeniedError,
    Intent,
    IsUsed,
    ListTokens,
    ReadRecord,
    ReadValue,
    RefusedError,
    RotationRecord,
    Slot,
    UnknownOutcomeError,
    Verify,
    WriteRecord,
    WriteValue,
)
from astro_token.lifecycle.transitions import next_step, state_of
from astro_token.record import Record, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.lifecycle.effects import Protocol

__all__ = ["LEASE_SECONDS", "LEFTOVER_SECONDS", "Outcome", "Plan", "rotation"]

LEASE_SECONDS = 30.0
LEFTOVER_SECONDS = 24 * 3600.0  # much longer than a run can be paused
USE_SECONDS = (
    24 * 3600.0
)  # a previous token that was used more recently is kept; or in the grace period, if longer
_ROUNDS = 10

Outcome = str  # done, grace, used, busy, alarm, idle, unfinished, stopped


class Plan(Record):
    """
    Attributes:
        title: of the tokens; a unique part is added to it.
        grace: seconds between the promotion and the revocation.
        begins: False if only an open rotation is finished.
        ends_grace: the recorded end of the grace period is ignored, and `grace` counts from the promotion.
        keeps_previous: False if a token is only created: the token before it is not revoked.
        is_own_bearer: the token itself manages tokens; else an admin's credential, which is not a `Slot`.
        is_collecting: leftovers of older runs are deleted.
        is_held: the grace period does not end: consumers get the new token at a time that nobody knows.
        revokes_used: the previous token is revoked although it was used after the promotion.
        replaces: identifier of the token that is to be replaced; None for the one that is read first.
        stops_before: `verify` with the new token in the record, or `promote` with the verified token there;
            a later run continues.
    """

    title: str
    grace: float
    begins: bool = True
    ends_grace: bool = False
    keeps_previous: bool = True
    is_own_bearer: bool = False
    is_collecting: bool = True
    is_held: bool = False
    revokes_used: bool = False
    replaces: str | None = None
    stops_before: str = ""


class _Run:
    """
    One run.

    Attributes:
        record, version: as they were read or written last.
        current, value_version: the same, of the value.
        expected: identifiers of the tokens that the value contains unless another run changes it.
        promoted: identifier of the token that this run has promoted.
        is_certain: no effect of this run can still happen after it.
    """

    def __init__(self, plan: Plan, owner: str, now: Callable[[], float], unique: Callable[[], str]) -> None:
        self.plan, self.owner, self.now, self.unique = plan, owner, now, unique
        self.record, self.version = RotationRecord(), ""
        self.current: Slot[Any] | None = None
        self.value_version = ""
        self.expected: set[str | None] = {plan.replaces} if plan.replaces else set()
        self.promoted: str | None = None
        self.is_certain = True

    @property
    def bearer(self) -> Slot[Any] | None:
        return self.current if self.plan.is_own_bearer else None

    def read(self) -> Protocol[None]:
        self.version, self.record = yield ReadRecord()
        yield from self.read_value()

    def read_value(self) -> Protocol[None]:
        self.value_version, self.current = yield ReadValue()
        if not self.expected:
            self.expected.add(self.current_id)

    @property
    def current_id(self) -> str | None:
        return None if self.current is None else self.current.id

    def write_value(self, token: Slot[Any]) -> Protocol[None]:
        self.expected.add(token.id)
        yield WriteValue(self.value_version, token)

    def write(self, **changes: Any) -> Protocol[None]:
        """Change fields of the record. Every write renews the lease."""
        record = replace(self.record, **changes)
        if record.intent is not None and "intent" not in changes:
            record = replace(record, intent=self.lease(record.intent.title))
        self.version = yield WriteRecord(self.version, record)
        self.record = record

    def title(self) -> str:
        return f"{self.plan.title}~{self.unique()}"

    def lease(self, title: str) -> Intent:
        return Intent(title, self.owner, self.now() + LEASE_SECONDS)

    def release(self, outcome: Outcome) -> Protocol[Outcome]:
        """End the lease of an open rotation, and return the outcome."""
        yield from self.write(intent=replace(self.record.intent, until=self.now()))
        return outcome

    def give_up(self) -> Protocol[None]:
        """
        End the lease, if it can be done, so that the next run need not wait for its end.

        A request without a response may still be on its way: then the lease ends by itself.
        """
        if not self.is_certain:
            return
        with suppress(ConflictError, UnknownOutcomeError, RefusedError):
            self.version, self.record = yield ReadRecord()
            intent = self.record.intent
            if intent is not None and intent.owner == self.owner and self.now() < intent.until:
                yield from self.write(intent=replace(intent, until=self.now()))

    def take_over(self) -> Protocol[None]:
        """Fence: from now on, a paused owner cannot change the record."""
        intent = self.record.intent
        yield from self.write(intent=self.lease(intent.title if intent else self.title()))
        yield from self.read_value()


def rotation(
    plan: Plan, owner: str, now: Callable[[], float], unique: Callable[[], str]
) -> Protocol[Outcome]:
    """
    Rotate a token, or continue a rotation from any point.

    Args:
        owner: identifies this run.
        now: returns the seconds since the epoch.
        unique: returns the unique part of a title.

    Returns:
        `done`; `grace` while the previous token is kept; `used` if it is kept because it was used after
        the promotion; `busy` if another run holds the lease; `idle` if nothing was to do;
        `stopped` as the plan says; `alarm` if a person is needed; `unfinished` after too many failures.

    Raises:
        RefusedError: thrown in by the performer of an effect.
    """
    run = _Run(plan, owner, now, unique)
    for _ in range(_ROUNDS):
        try:
            yield from run.read()
            state = state_of(run.record, run.current, owner=owner, now=now())
            step = next_step(state)
            outcome = (yield from _STEPS[step](run)) if step in _STEPS else step
        except UnknownOutcomeError:
            run.is_certain = False
            continue  # read again, never assume
        except (ConflictError, DeniedError):
            continue
        except RefusedError:
            yield from run.give_up()
            raise
        if outcome:
            return outcome
    yield from run.give_up()
    return "unfinished"


# -- the steps: each returns an outcome, or an empty text to continue with the next one -------------------


def _take_over(run: _Run) -> Protocol[Outcome]:
    yield from run.take_over()
    return ""


def _begin(run: _Run) -> Protocol[Outcome]:
    plan = run.plan
    if not plan.begins:
        return "idle"
    if run.promoted is not None and run.current_id == run.promoted:
        return "done"  # another run has finished the rotation
    if run.current_id not in run.expected:
        return "busy"  # another run has rotated the token, which need not be rotated twice
    title = run.title()
    yield from run.write(intent=run.lease(title))
    yield from run.read_value()
    may_exist = False
    try:
        if plan.is_collecting:
            yield from _collect(run, lambda listed: run.now() - listed.created > LEFTOVER_SECONDS)
        may_exist = True
        token = yield Create(run.bearer, title)
    except RefusedError as refused:
        if may_exist and not refused.is_denied:  # without its roles, or with a value that nobody has
            yield from _discard(run)
        else:
            yield from run.write(intent=None)
        raise
    try:
        yield from run.write(pending=token)
    except (ConflictError, UnknownOutcomeError, RefusedError):  # another run may have taken the record over
        yield from run.read()
        named = (run.record.pending, run.record.previous, run.current)
        if token.id not in {slot.id for slot in named if slot}:
            yield Delete(run.bearer, token.id)
        raise
    return ""


def _promote(run: _Run) -> Protocol[Outcome]:
    pending, end = run.record.pending, run.plan.stops_before
    if end == "verify":
        return (yield from run.release("stopped"))
    if not (yield Verify(pending, is_new=True)):
        return (yield from _drop_pending(run))
    if end == "promote":
        return (yield from run.release("stopped"))
    if run.record.previous is None and run.current is not None and run.plan.keeps_previous:
        now = run.now()
        yield from run.write(previous=run.current, promoted=now, revoke_after=now + run.plan.grace)
    else:
        yield from run.write()  # the lease may be over: then another run has taken over, and this fails
    run.promoted = pending.id
    try:
        yield from run.write_value(pending)
    except RefusedError as refused:
        if refused.is_denied and run.record.previous is None:
            yield from _withdraw(run)
        raise
    return ""


def _withdraw(run: _Run) -> Protocol[None]:
    """Delete a created token that cannot be stored, while no other one is to be revoked."""
    yield from run.write()  # nothing is deleted without the record
    yield Delete(run.bearer, run.record.pending.id)
    yield from run.write(pending=None, intent=None)


def _drop_pending(run: _Run) -> Protocol[Outcome]:
    pending = run.record.pending
    if run.record.previous is not None and run.current is not None:
        # A paused owner may be about to write the pending value: now its version has passed.
        # No schedule of the model has shown this to be necessary; it is a precaution.
        yield from run.write_value(run.current)
        yield from run.read()
        if run.record.pending != pending or run.record.intent is None or run.record.intent.owner != run.owner:
            return ""
    yield from run.write(pending=None, previous=None, promoted=None, revoke_after=None)
    return ""


def _note_promotion(run: _Run) -> Protocol[Outcome]:
    if run.record.previous is not None:
        yield from run.write(pending=None)
        return ""
    yield from run.write(pending=None, intent=None)
    return "done"


def _note_return(run: _Run) -> Protocol[Outcome]:
    yield from run.write(previous=None, promoted=None, revoke_after=None)
    return ""


def _revoke(run: _Run) -> Protocol[Outcome]:
    record, previous = run.record, run.record.previous
    if run.current is None or not (yield Verify(run.current)):
        if not (yield Verify(previous)):
            return "alarm"
        yield from run.write_value(previous)  # somebody deleted the new token: go back
        return ""
    promoted = record.promoted or 0.0
    end = promoted + run.plan.grace if run.plan.ends_grace else record.revoke_after or 0.0
    if run.plan.is_held or run.now() < end:
        return (yield from run.release("grace"))
    length = max(
        USE_SECONDS, run.plan.grace if run.plan.ends_grace else (record.revoke_after or 0.0) - promoted
    )
    since = max(promoted, run.now() - length)
    if not run.plan.revokes_used and (yield IsUsed(run.bearer, previous.id, since)):
        return (yield from run.release("used"))
    # Nothing is deleted without the record. The deletion itself uses the previous token, to prove its value:
    # a run that continues does not count this use.
    yield from run.write(promoted=run.now())
    yield Delete(run.bearer, previous.id)
    yield from run.write(intent=None, previous=None, promoted=None, revoke_after=None)
    return "done"


def _discard(run: _Run) -> Protocol[Outcome]:
    """Delete the token of an intent under which nothing was staged: nobody has its value."""
    yield from run.take_over()
    title = run.record.intent.title
    yield from _collect(run, lambda listed: listed.title == title)
    yield from run.write(intent=None)
    return ""


def _collect(run: _Run, is_leftover: Callable[[Any], bool]) -> Protocol[None]:
    for listed in (yield ListTokens(run.bearer)):
        if is_leftover(listed) and (run.current is None or listed.id != run.current.id):
            yield Delete(run.bearer, listed.id)


_STEPS: dict[str, Callable[[_Run], Protocol[Outcome]]] = {
    "take_over": _take_over,
    "note_promotion": _note_promotion,
    "promote": _promote,
    "note_return": _note_return,
    "revoke": _revoke,
    "discard": _discard,
    "begin": _begin,
}
