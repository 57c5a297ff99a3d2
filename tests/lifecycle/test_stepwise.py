"""Rotations in steps, as a scheduler drives them: the model, with every fault and random schedules."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.protocol import Plan, rotation
from astro_token.record import replace
from tests.lifecycle.model import FIRST, World, alone, explore, sweep
from tests.lifecycle.test_protocol import NEW, NONE, counted, without_fence

if TYPE_CHECKING:
    from tests.lifecycle.model import Run

PLAN = Plan("deploy", 0.0)


class Stepwise(World):
    """Each run is a whole rotation in three steps, each of which has an owner of its own."""

    def run(self, owner: str) -> Run:
        numbers = itertools.count(1)
        plan = self.plan
        plans = (
            replace(plan, stops_before="verify"),
            replace(plan, begins=False, stops_before="promote"),
            replace(plan, begins=False),
        )
        outcome = ""
        for number, each in enumerate(plans):
            outcome = yield from rotation(
                each, f"{owner}{number}", lambda: self.clock, lambda: f"{owner}-{next(numbers)}"
            )
        return outcome


@pytest.mark.parametrize("end", ["verify", "promote"])
def test_a_run_stops_with_the_new_token_in_the_record(end: str) -> None:
    world = World(replace(PLAN, stops_before=end))
    for owner in "AB":
        assert "stopped" == alone(world, world.run(owner), {})[1]
        assert (FIRST, NEW, None) == (world.current, world.record.pending, world.record.previous)
    assert world.record.intent.until <= world.clock
    world.plan = replace(PLAN, begins=False)
    assert "done" == alone(world, world.run("C"), {})[1]
    assert (NEW, {"t1"}, RotationRecord()) == (world.current, set(world.tokens), world.record)


def test_a_run_that_stops_after_verification_drops_a_token_that_does_not_work() -> None:
    world = World(replace(PLAN, stops_before="verify"))
    alone(world, world.run("A"), {})
    del world.tokens["t1"]
    world.plan = replace(PLAN, begins=False, stops_before="promote")
    assert "idle" == alone(world, world.run("B"), {})[1]
    assert (FIRST, RotationRecord()) == (world.current, world.record)


@pytest.mark.parametrize("pause", [0.03, 0.3])
def test_schedules_in_steps_lose_nothing(pause: float) -> None:
    assert counted(explore(lambda: Stepwise(PLAN), 100, seed=1, pause=pause)) == NONE


def test_single_faults_in_steps_lose_nothing() -> None:
    assert counted(sweep(lambda: Stepwise(PLAN), pairs=False)) == NONE


def test_schedules_in_steps_find_a_missing_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    without_fence(monkeypatch)
    totals = explore(lambda: Stepwise(PLAN), 400, seed=1, pause=0.3)
    assert totals["outages"] + totals["lost"] + totals["orphans"]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pause", [0.03, 0.3])
def test_many_schedules_in_steps(pause: float) -> None:
    totals = explore(lambda: Stepwise(PLAN), 50_000, seed=2, pause=pause)
    print(pause, dict(totals))
    assert counted(totals) == NONE


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_pairs_of_faults_in_steps() -> None:
    totals = sweep(lambda: Stepwise(PLAN))
    print(dict(totals))
    assert counted(totals) == NONE
