"""
A model checker for the rotation: Astro and a secrets backend as data, and a fault at every effect.

    sweep      one run and one that recovers, with every single fault and every pair of faults
    explore    three runs at once, effect by effect in random order; new runs start while others are frozen

A fault kills the run before or after an effect, loses the response, or lets the effect fail.
Astro can also be out of reach, from an effect on.
A refusal ends the run; it may come before the effect, or after a part of it or all of it.
Afterwards undisturbed runs recover. Counted are worlds in which

    outages    the current token did not work at some moment
    lost       no recovery brought a working token back
    orphans    a token works that neither the value nor the record contains
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from astro_token.lifecycle import effects as e
from astro_token.lifecycle.protocol import LEASE_SECONDS, LEFTOVER_SECONDS, Plan, rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = e.Protocol[str]

FAULTS = ("before", "after", "lost", "failed", "refused", "denied", "damaged")
FIRST = e.Slot("t0", "s0")


@dataclass
class Token:
    title: str
    value: str
    created: float
    is_used: bool = False


@dataclass
class World:
    """
    Attributes:
        is_compared: the service has compare-and-set for the value.
        are_uses_seen: Astro shows the use of a token, so that a token in use is no leftover.
        outages: moments in which the current token did not work.
    """

    plan: Plan
    is_compared: bool = True
    are_uses_seen: bool = True
    current: e.Slot[str] | None = FIRST
    tokens: dict[str, Token] = field(default_factory=lambda: {"t0": Token("deploy", "s0", 0.0)})
    clock: float = 1.0e9
    record: e.RotationRecord = field(default_factory=e.RotationRecord)
    versions: list[int] = field(default_factory=lambda: [1, 1])
    outages: int = 0
    serial: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, owner: str) -> Run:
        numbers = itertools.count(1)
        return rotation(self.plan, owner, lambda: self.clock, lambda: f"{owner}-{next(numbers)}")

    def perform(self, effect: Any) -> Any:
        kind = type(effect)
        result = _PERFORMERS[kind](self, effect)
        if kind in _DISRUPTIVE:
            self.outages += not self.works
        return result

    def _compare_and_set(self, which: int, version: str) -> str:
        if str(self.versions[which]) != version and (which == 0 or self.is_compared):
            raise e.ConflictError
        self.versions[which] += 1
        return str(self.versions[which])

    def _ReadRecord(self, _: e.ReadRecord) -> tuple[str, e.RotationRecord]:
        return str(self.versions[0]), self.record

    def _WriteRecord(self, effect: e.WriteRecord) -> str:
        version = self._compare_and_set(0, effect.version)
        self.record = effect.record
        return version

    def _ReadValue(self, _: e.ReadValue) -> tuple[str, e.Slot[str] | None]:
        return str(self.versions[1]), self.current

    def _WriteValue(self, effect: e.WriteValue) -> None:
        self._compare_and_set(1, effect.version)
        self.current = effect.token

    def _Verify(self, effect: e.Verify) -> bool:
        is_accepted = self._accepts(effect.token)
        if is_accepted:
            self.tokens[effect.token.id].is_used = True
        return is_accepted

    def _accepts(self, slot: e.Slot[str]) -> bool:
        token = self.tokens.get(slot.id)
        return token is not None and token.value == slot.value

    def _ListTokens(self, effect: e.ListTokens) -> list[e.Listed]:
        self._authenticate(effect.bearer)
        return [
            e.Listed(ident, token.title, inf if token.is_used and self.are_uses_seen else token.created)
            for ident, token in self.tokens.items()
            if token.title.startswith(f"{self.plan.title}~")
        ]

    def _Create(self, effect: e.Create) -> e.Slot[str]:
        self._authenticate(effect.bearer)
        number = next(self.serial)
        self.tokens[f"t{number}"] = Token(effect.title, f"s{number}", self.clock)
        return e.Slot(f"t{number}", f"s{number}")

    def _IsUsed(self, _: e.IsUsed) -> bool:
        return False

    def _Delete(self, effect: e.Delete) -> None:
        self._authenticate(effect.bearer)
        self.tokens.pop(effect.id, None)

    def _authenticate(self, bearer: e.Slot[str] | None) -> None:
        if bearer is not None and not self._accepts(bearer):
            raise e.DeniedError

    def delete_pending(self) -> None:
        """Somebody deletes the pending token in Astro's web page."""
        pending = self.record.pending
        if pending is not None and (self.current is None or pending.id != self.current.id):
            self.tokens.pop(pending.id, None)
            self.outages += not self.works

    @property
    def works(self) -> bool:
        return self.current is None or self._accepts(self.current)

    @property
    def orphans(self) -> set[str]:
        kept = {slot.id for slot in (self.current, self.record.previous) if slot}
        return self.tokens.keys() - kept - (set() if self.plan.keeps_previous else {FIRST.id})


_PERFORMERS: dict[type[Any], Callable[[World, Any], Any]] = {
    e.ReadRecord: World._ReadRecord,
    e.WriteRecord: World._WriteRecord,
    e.ReadValue: World._ReadValue,
    e.WriteValue: World._WriteValue,
    e.Verify: World._Verify,
    e.ListTokens: World._ListTokens,
    e.Create: World._Create,
    e.IsUsed: lambda world, effect: world._IsUsed(effect),
    e.Delete: World._Delete,
}
_OF_ASTRO = frozenset({e.Verify, e.ListTokens, e.Create, e.IsUsed, e.Delete})
_DISRUPTIVE = frozenset({e.WriteValue, e.Delete})  # no other effect can end the current token's validity


def alone(world: World, run: Run, faults: dict[int, str]) -> tuple[int, str]:
    """
    Perform a run with faults at numbered effects. Return the number of effects, and the outcome.

    After the fault `down`, Astro is out of reach.
    """
    count, is_down = 0, False
    try:
        effect = next(run)
        while True:
            fault = faults.get(count, "")
            count += 1
            is_down |= fault == "down"
            if fault == "before":
                run.close()
                return count, "killed"
            error: Exception | None = None
            result = None
            if is_down and type(effect) in _OF_ASTRO:
                error = e.ConflictError()
            elif fault in {"failed", "refused", "denied"}:
                refused = e.RefusedError(Exception(fault), is_denied=fault == "denied")
                error = e.UnknownOutcomeError() if fault == "failed" else refused
            else:
                try:
                    result = world.perform(effect)
                except (e.ConflictError, e.DeniedError) as failure:
                    error = failure
            if fault == "after":
                run.close()
                return count, "killed"
            if fault in {"lost", "damaged"}:
                error = e.UnknownOutcomeError() if fault == "lost" else e.RefusedError(Exception(fault))
            effect = run.throw(error) if error else run.send(result)
    except StopIteration as end:
        return count, end.value
    except e.RefusedError:
        return count, "refused"


def recover(world: World, runs: int) -> None:
    """Run undisturbed, much later, until a whole rotation has ended."""
    for number in range(runs):
        world.clock += LEASE_SECONDS + LEFTOVER_SECONDS + world.plan.grace + 1
        was_open = world.record != e.RotationRecord()
        outcome = alone(world, world.run(f"R{number}"), {})[1]
        if outcome == "done" and not was_open:
            return


def judge(world: World, totals: Counter[str]) -> None:
    totals["worlds"] += 1
    totals["outages"] += world.outages > 0
    totals["lost"] += world.current is None or not world.works
    totals["orphans"] += bool(world.orphans)


def sweep(make: Callable[[], World], *, pairs: bool = True) -> Counter[str]:
    """Count the worlds that went wrong, over all single faults and all pairs."""
    world = make()
    effects = alone(world, world.run("A"), {})[0]
    first = [{at: fault} for at in range(effects) for fault in FAULTS]
    second: list[dict[int, str]] = [{at: fault} for at in range(effects + 4) for fault in FAULTS]
    totals: Counter[str] = Counter()
    for one, two in itertools.product(first, [{}, *second] if pairs else [{}]):
        world = make()
        alone(world, world.run("A"), one)
        world.clock += LEASE_SECONDS + 1
        if two:
            alone(world, world.run("B"), two)
        recover(world, 4)
        judge(world, totals)
    return totals


def explore(
    make: Callable[[], World],
    schedules: int,
    *,
    seed: int,
    pause: float,
    runs: int = 3,
    deletions: float = 0.0,
    downs: float = 0.0,
) -> Counter[str]:
    """
    Count the worlds that went wrong, over random schedules.

    Args:
        pause: the probability, at each effect, of a pause beyond every lease.
        deletions: the probability that a person deletes the pending token.
        downs: the probability that a run cannot reach Astro any more, or can again.
    """
    chance = random.Random(seed)  # noqa: S311 (schedules)
    totals: Counter[str] = Counter()
    for _ in range(schedules):
        world = make()
        _disturbed(world, chance, pause=pause, runs=runs, deletions=deletions, downs=downs)
        recover(world, 6)
        judge(world, totals)
    return totals


def _disturbed(
    world: World, chance: random.Random, *, pause: float, runs: int, deletions: float, downs: float
) -> None:
    running: dict[str, list[Any]] = {name: [run := world.run(name), next(run)] for name in "ABCDEFGH"[:runs]}
    # Some runs are frozen for the length of others: each has a speed of its own.
    speed = {name: 10 ** chance.uniform(-2.5, 0) for name in running}
    kill, later = chance.random() * 0.1, itertools.count()
    down: set[str] = set()
    while running:
        names = list(running)
        name = chance.choices(names, [speed[each] for each in names])[0]
        if chance.random() < 0.02:
            speed[name] = 10 ** chance.uniform(-2.5, 0)
        run, effect = running[name]
        if chance.random() < pause:
            world.clock += LEASE_SECONDS + 1
        if chance.random() < deletions and not isinstance(effect, e.WriteValue):
            world.delete_pending()
        fault = chance.random()
        if fault < kill:
            run.close()
            del running[name]
            continue
        error: Exception | None = None
        result = None
        if downs and chance.random() < downs:
            down ^= {name}
        try:
            if name in down and type(effect) in _OF_ASTRO:
                raise e.ConflictError
            result = world.perform(effect)
        except (e.ConflictError, e.DeniedError) as failure:
            error = failure
        if fault < 2 * kill:
            run.close()
            del running[name]
            continue
        if fault < 3 * kill:
            error = e.UnknownOutcomeError()
        elif fault < 3.5 * kill:
            error = e.RefusedError(Exception("damaged"))
        try:
            running[name][1] = run.throw(error) if error else run.send(result)
        except (StopIteration, e.RefusedError):
            del running[name]
            number = next(later)
            if number < (4 if runs > 1 else 2):  # the next scheduled run starts while others are frozen
                run = world.run(f"N{number}")
                running[f"N{number}"], speed[f"N{number}"] = [run, next(run)], 1.0
