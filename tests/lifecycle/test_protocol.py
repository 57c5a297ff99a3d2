"""The rotation's protocol against the model, with every fault, and the model against broken protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from astro_token.lifecycle import protocol
from astro_token.lifecycle.effects import (
    ConflictError,
    Create,
    Delete,
    Intent,
    RotationRecord,
    Slot,
    UnknownOutcomeError,
    Verify,
    WriteRecord,
    WriteValue,
)
from astro_token.lifecycle.protocol import Plan
from astro_token.lifecycle.transitions import TRANSITIONS, State, next_step, state_of
from astro_token.record import replace
from tests.lifecycle.model import FIRST, Token, World, alone, explore, recover, sweep
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.lifecycle.effects import Protocol

PLAN = Plan("deploy", 0.0)
PLANS = {
    "an admin's credential": PLAN,
    "the token itself": replace(PLAN, is_own_bearer=True),
    "with a grace period": replace(PLAN, grace=3600.0),
}
NOW = 1.0e9
OWN, FOREIGN = Intent("deploy~1", "A", NOW + 1), Intent("deploy~1", "B", NOW + 1)
EXPIRED = replace(FOREIGN, until=NOW)
NEW = Slot("t1", "s1")


def counted(totals: Any) -> dict[str, int]:
    return {name: totals[name] for name in ("outages", "lost", "orphans")}


NONE = {"outages": 0, "lost": 0, "orphans": 0}


def empty() -> World:
    return World(PLAN, current=None, tokens={})


# -- the table ---------------------------------------------------------------------------------------------


@each_row(
    ("record", "current", "step"),
    [
        (RotationRecord(), FIRST, "begin"),
        (RotationRecord(), None, "begin"),
        (RotationRecord(intent=FOREIGN, pending=NEW), FIRST, "busy"),
        (RotationRecord(intent=EXPIRED), FIRST, "take_over"),
        (RotationRecord(pending=NEW), FIRST, "take_over"),
        (RotationRecord(previous=FIRST), NEW, "take_over"),
        (RotationRecord(intent=OWN), FIRST, "discard"),
        (RotationRecord(intent=OWN, pending=NEW), FIRST, "promote"),
        (RotationRecord(intent=OWN, pending=NEW), None, "promote"),
        (RotationRecord(intent=OWN, pending=NEW, previous=FIRST), FIRST, "promote"),
        (RotationRecord(intent=OWN, pending=NEW, previous=FIRST), NEW, "note_promotion"),
        (RotationRecord(intent=OWN, pending=NEW, previous=FIRST), Slot("t2", "s2"), "alarm"),
        (RotationRecord(intent=OWN, pending=NEW, previous=FIRST), None, "alarm"),
        (RotationRecord(intent=OWN, previous=FIRST), NEW, "revoke"),
        (RotationRecord(intent=OWN, previous=FIRST), FIRST, "note_return"),
    ],
)
def test_the_next_step(record: RotationRecord, current: Slot[str] | None, step: str) -> None:
    assert step == next_step(state_of(record, current, owner="A", now=NOW))


def test_every_state_has_a_step_and_every_row_is_needed() -> None:
    states = [
        State(intent, pending, previous, current)
        for intent in ("none", "own", "foreign", "expired")
        for pending in (False, True)
        for previous in (False, True)
        for current in ("pending", "previous", "other", "none")
    ]
    used = {next(row for row in TRANSITIONS if row.accepts(state)) for state in states}
    assert set(TRANSITIONS) == used


# -- undisturbed -------------------------------------------------------------------------------------------


def test_a_rotation_ends_with_the_new_token_alone() -> None:
    world = World(PLAN)
    assert "done" == alone(world, world.run("A"), {})[1]
    assert (NEW, {"t1"}, RotationRecord()) == (world.current, set(world.tokens), world.record)
    assert world.tokens["t1"].title == "deploy~A-1"


def test_the_previous_token_is_kept_for_the_grace_period() -> None:
    world = World(replace(PLAN, grace=3600.0))
    assert "grace" == alone(world, world.run("A"), {})[1]
    assert (NEW, FIRST, {"t0", "t1"}) == (world.current, world.record.previous, set(world.tokens))
    world.clock += 3599
    assert "grace" == alone(world, world.run("B"), {})[1]
    world.plan = replace(world.plan, grace=0.0)  # counts for the next rotation
    assert "grace" == alone(world, world.run("C"), {})[1]
    world.clock += 1
    assert "done" == alone(world, world.run("D"), {})[1]
    assert ({"t1"}, RotationRecord()) == (set(world.tokens), world.record)


def test_another_grace_period_ends_the_recorded_one() -> None:
    world = World(replace(PLAN, grace=3600.0))
    alone(world, world.run("A"), {})
    world.clock += 31
    world.plan = replace(PLAN, ends_grace=True)
    assert "done" == alone(world, world.run("B"), {})[1]


def test_a_run_that_begins_nothing_finishes_what_is_open() -> None:
    finish = replace(PLAN, begins=False)
    world = World(finish)
    assert "idle" == alone(world, world.run("A"), {})[1]
    assert {"t0"} == set(world.tokens)
    world.plan = PLAN
    alone(world, world.run("B"), {5: "after"})  # the token is created, and nobody has its value
    assert 2 == len(world.tokens)
    world.plan, world.clock = finish, world.clock + 31
    assert "idle" == alone(world, world.run("C"), {})[1]
    assert ({"t0"}, RotationRecord()) == (set(world.tokens), world.record)


def test_a_previous_token_that_is_used_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(PLAN)
    monkeypatch.setattr(World, "_IsUsed", lambda _, effect: effect.since == world.record.promoted)
    assert "used" == alone(world, world.run("A"), {})[1]
    assert {"t0", "t1"} == set(world.tokens)


def test_a_run_waits_for_the_lease_of_another() -> None:
    world = World(PLAN)
    alone(world, world.run("A"), {4: "before"})
    assert "busy" == alone(world, world.run("B"), {})[1]
    world.clock += 31
    assert "done" == alone(world, world.run("B"), {})[1]


def until(world: World, run: Protocol[str], kind: type[Any]) -> Any:
    """Perform a run up to an effect of a kind, and return that effect."""
    effect = next(run)
    while not isinstance(effect, kind):
        effect = run.send(world.perform(effect))
    return effect


def ended(world: World, run: Protocol[str], effect: Any) -> str:
    """Perform the rest of a run, and return its outcome."""
    while True:
        try:
            try:
                result = world.perform(effect)
            except ConflictError as conflict:
                effect = run.throw(conflict)
            else:
                effect = run.send(result)
        except StopIteration as end:
            return str(end.value)


@pytest.mark.parametrize("failure", [ConflictError, UnknownOutcomeError])
def test_a_created_token_is_deleted_if_another_run_has_taken_the_record_over(
    failure: type[Exception],
) -> None:
    world = World(PLAN)
    late = world.run("B")
    effect = until(world, late, Create)
    world.clock += 31
    assert "done" == alone(world, world.run("A"), {})[1]
    late.send(world.perform(effect))
    assert "busy" == ended(world, late, late.throw(failure()))
    assert world.current is not None
    assert {world.current.id} == set(world.tokens)


def test_a_rotation_that_another_run_has_finished_is_done() -> None:
    world = World(PLAN)
    late = world.run("B")
    effect = until(world, late, Delete)
    world.clock += 31
    assert "done" == alone(world, world.run("A"), {})[1]
    assert "done" == ended(world, late, effect)
    assert {"t1"} == set(world.tokens)


def test_a_token_that_another_run_has_rotated_is_not_rotated_again() -> None:
    world = World(PLAN)
    late = world.run("B")
    effect = until(world, late, WriteRecord)
    assert "done" == alone(world, world.run("A"), {})[1]
    with pytest.raises(ConflictError):
        world.perform(effect)
    assert ("busy", {"t1"}) == (ended(world, late, late.throw(ConflictError())), set(world.tokens))
    world.plan = replace(PLAN, replaces="t0")
    assert "busy" == alone(world, world.run("C"), {})[1]


def test_a_rotation_goes_back_if_the_new_token_is_deleted() -> None:
    world = World(replace(PLAN, grace=3600.0))
    alone(world, world.run("A"), {})
    del world.tokens["t1"]
    world.clock += 31
    world.plan = replace(world.plan, begins=False)
    assert "idle" == alone(world, world.run("B"), {})[1]
    assert (FIRST, RotationRecord()) == (world.current, world.record)


def test_a_person_is_needed_if_neither_token_works() -> None:
    world = World(replace(PLAN, grace=3600.0))
    alone(world, world.run("A"), {})
    world.tokens.clear()
    world.clock += 31
    assert "alarm" == alone(world, world.run("B"), {})[1]


def test_a_first_token_is_stored() -> None:
    world = empty()
    assert "done" == alone(world, world.run("A"), {})[1]
    assert (NEW, {"t1"}, RotationRecord()) == (world.current, set(world.tokens), world.record)


def test_a_created_token_leaves_the_one_before_it() -> None:
    world = World(replace(PLAN, keeps_previous=False))
    assert "done" == alone(world, world.run("A"), {})[1]
    assert (NEW, {"t0", "t1"}, RotationRecord()) == (world.current, set(world.tokens), world.record)


@pytest.mark.parametrize("fault", ["refused", "damaged"])
def test_a_refusal_ends_the_lease_so_that_the_next_run_need_not_wait(fault: str) -> None:
    for at in range(alone(World(PLAN), World(PLAN).run("A"), {})[0]):
        world = World(PLAN)
        assert "refused" == alone(world, world.run("A"), {at: fault})[1]
        intent = world.record.intent
        assert intent is None or intent.until <= world.clock
        assert "done" == alone(world, world.run("B"), {})[1]
        assert (1, set()) == (len(world.tokens), world.orphans)


def test_without_astro_the_lease_ends_with_the_run() -> None:
    for at in range(alone(World(PLAN), World(PLAN).run("A"), {})[0]):
        world = World(PLAN)
        alone(world, world.run("A"), {at: "down"})
        intent = world.record.intent
        assert intent is None or intent.until <= world.clock
        assert "done" == alone(world, world.run("B"), {})[1]
        assert (1, set(), 0) == (len(world.tokens), world.orphans, world.outages)


def test_a_lease_lasts_while_a_creation_may_be_on_its_way() -> None:
    world = World(PLAN)
    assert "unfinished" == alone(world, world.run("A"), {5: "failed", 6: "down"})[1]
    assert world.record.intent.until > world.clock
    assert "busy" == alone(world, world.run("B"), {})[1]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_created_token_that_cannot_be_stored_is_deleted(keeps: bool) -> None:
    """A definite denial of the value. With a previous token, the rotation stays open."""
    plan, effects = replace(PLAN, keeps_previous=keeps), list[type]()
    world = World(plan)
    perform = world.perform

    def noted(effect: Any) -> Any:
        effects.append(type(effect))
        return perform(effect)

    world.perform = noted  # type: ignore[method-assign]
    alone(world, world.run("A"), {})
    world = World(plan)
    assert "refused" == alone(world, world.run("A"), {effects.index(WriteValue): "denied"})[1]
    left = {"t0", "t1"} if keeps else {"t0"}
    assert (left, keeps) == (set(world.tokens), world.record.pending is not None)
    assert keeps or RotationRecord() == world.record
    world.clock += 31
    assert "done" == alone(world, world.run("B"), {})[1]


@pytest.mark.parametrize("fault", ["damaged", "denied"])
def test_a_creation_that_is_refused_leaves_nothing(fault: str) -> None:
    world = World(PLAN)
    assert "refused" == alone(world, world.run("A"), {5: fault})[1]
    assert ({"t0"}, RotationRecord()) == (set(world.tokens), world.record)


# -- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", PLANS)
def test_schedules_lose_nothing(plan: str) -> None:
    for pause in (0.03, 0.3):
        assert counted(explore(lambda: World(PLANS[plan]), 150, seed=1, pause=pause)) == NONE


def test_schedules_without_astro_lose_nothing() -> None:
    for pause in (0.03, 0.3):
        assert counted(explore(lambda: World(PLAN), 150, seed=1, pause=pause, downs=0.05)) == NONE


def test_single_faults_lose_nothing() -> None:
    assert counted(sweep(lambda: World(PLAN), pairs=False)) == NONE
    assert counted(sweep(empty, pairs=False)) == NONE


def test_one_rotator_at_a_time_needs_no_compare_and_set_on_the_value() -> None:
    totals = explore(lambda: World(PLAN, is_compared=False), 150, seed=1, pause=0.0, runs=1)
    assert counted(totals) == NONE


def test_a_deleted_token_is_not_the_end() -> None:
    totals = explore(lambda: World(PLAN), 150, seed=1, pause=0.1, deletions=0.05)
    assert (0, 0) == (totals["lost"], totals["orphans"])


@pytest.mark.long
@pytest.mark.parametrize("plan", PLANS)
def test_all_pairs_of_faults(plan: str) -> None:
    totals = sweep(lambda: World(PLANS[plan]))
    print(plan, dict(totals))
    assert counted(totals) == NONE
    assert totals["worlds"] > 6000


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("are_uses_seen", [True, False])
@pytest.mark.parametrize("pause", [0.03, 0.3])
@pytest.mark.parametrize("plan", PLANS)
def test_a_million_schedules(plan: str, pause: float, are_uses_seen: bool) -> None:
    def make() -> World:
        return World(PLANS[plan], are_uses_seen=are_uses_seen)

    totals = explore(make, 84_000, seed=2 + are_uses_seen, pause=pause)
    print(plan, pause, are_uses_seen, dict(totals))
    assert counted(totals) == NONE
    assert 84_000 == totals["worlds"]


# -- controls: a checker that catches nothing proves nothing ---------------------------------------------


@pytest.fixture
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    rule: Callable[[pytest.MonkeyPatch], None] = request.param
    rule(monkeypatch)


def without_fence(patch: pytest.MonkeyPatch) -> None:
    def expired_is_own(*arguments: Any, **named: Any) -> State:
        state = state_of(*arguments, **named)
        return replace(state, intent="own") if state.intent == "expired" else state

    patch.setattr(protocol, "state_of", expired_is_own)
    patch.setattr(protocol._Run, "take_over", protocol._Run.read_value)


def without_exact_titles(patch: pytest.MonkeyPatch) -> None:
    def discard(run: Any) -> Protocol[str]:
        yield from run.take_over()
        yield from protocol._collect(run, lambda _: True)
        yield from run.write(intent=None)
        return ""

    patch.setitem(protocol._STEPS, "discard", discard)


def without_age(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(protocol, "LEFTOVER_SECONDS", -1.0)


def without_return(patch: pytest.MonkeyPatch) -> None:
    def revoke(run: Any) -> Protocol[str]:
        if not (yield Verify(run.current)):
            return "alarm"
        yield Delete(run.bearer, run.record.previous.id)
        yield from run.write(intent=None, previous=None)
        return "done"

    patch.setitem(protocol._STEPS, "revoke", revoke)


@pytest.mark.parametrize("broken", [without_fence], indirect=True)
@pytest.mark.usefixtures("broken")
def test_a_protocol_without_a_fence_is_caught() -> None:
    assert 0 < sum(counted(explore(lambda: World(PLAN), 400, seed=1, pause=0.3)).values())


@pytest.mark.parametrize("broken", [without_return], indirect=True)
@pytest.mark.usefixtures("broken")
def test_a_protocol_that_does_not_go_back_is_caught() -> None:
    assert 0 < explore(lambda: World(PLAN), 300, seed=1, pause=0.1, deletions=0.05)["lost"]


@pytest.mark.long
@pytest.mark.parametrize("broken", [without_exact_titles, without_age], indirect=True)
@pytest.mark.usefixtures("broken")
def test_a_protocol_with_a_rule_left_out_is_caught() -> None:
    def make() -> World:
        return World(PLAN, are_uses_seen=False)

    assert 0 < sum(counted(explore(make, 20_000, seed=1, pause=0.3)).values())


@pytest.mark.long
def test_rotators_at_once_need_compare_and_set_on_the_value() -> None:
    totals = explore(lambda: World(PLAN, is_compared=False), 20_000, seed=1, pause=0.3)
    assert 0 < sum(counted(totals).values())


def test_recovery_does_not_hide_an_orphan() -> None:
    world = World(replace(PLAN, is_collecting=False))
    world.tokens["t9"] = Token("deploy~Z-1", "s9", world.clock)
    recover(world, 2)
    assert {"t9"} == world.orphans
