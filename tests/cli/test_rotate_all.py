"""`rotate --all` over many tokens: within Astro's rates, and resumed after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.cli.token_life import id_of
from tests.conftest import PROGRAM
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background
    from tests.cli.token_life import TokenLife

pytestmark = pytest.mark.parametrize("life", ["file"], indirect=True)
_MIB = 60


def many(life: TokenLife, count: int) -> list[str]:
    """Store so many tokens, and name them in the project file. Return their names."""
    names = [f"t{number}" for number in range(count)]
    for name in names:
        life.issue(name)
    tables = [f'[tokens.{name}]\nref = "{life.store.ref(name)}"\n' for name in names]
    (life.program.work / "astro-token.toml").write_text("".join(tables))
    life.program.canaries.clear()  # searching for all of them takes long; other tests do
    return names


def created(life: TokenLife) -> int:
    return sum(request.method == "POST" for request in life.api.requests)


@pytest.mark.parametrize(
    "count", [20, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_a_killed_run_is_resumed_and_rotates_nothing_twice(
    life: TokenLife, count: int, start: Callable[..., Background]
) -> None:
    names = many(life, count)
    before = {name: life.current(name) for name in names}
    killed = start("rotate", "--all")
    wait_until(lambda: created(life) >= count // 2, patience=600)
    killed.send(signal.SIGKILL)
    killed.process.wait()
    for name in names:
        record = life.rotation(name)
        if record.get("intent"):  # or the next run would wait for the end of the lease
            record["intent"]["until"] = "2026-01-01T00:00:00Z"
            life.store.write_record(name, json.dumps({"format": 1, **record}))
    with subprocess.Popen(
        [str(PROGRAM), "rotate", "--all", "--format", "json"],
        env=life.program.environment(),
        cwd=life.program.work,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        content = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert 0 == content["exit_code"] == process.returncode
    assert usage.ru_maxrss < _MIB * 1024
    outcomes = Counter(token["outcome"] for token in content["tokens"])
    print(f"{count} tokens: {dict(outcomes)}, {usage.ru_maxrss / 1024:.0f} MiB")
    assert {"rotated", "waiting"} == outcomes.keys()
    current = {name: life.current(name) for name in names}
    assert set(before.values()).isdisjoint(current.values())
    assert life.others == {id_of(value) for value in (*before.values(), *current.values())}
    assert created(life) <= count + 8  # tokens whose creation the kill interrupted
    times = [request.time for request in life.api.requests if request.method == "POST"]
    assert all(later - earlier > 0.9 for earlier, later in pairwise(times[::11]))


def test_a_signal_lets_every_begun_creation_end(life: TokenLife, start: Callable[..., Background]) -> None:
    names = many(life, 20)
    running = start("rotate", "--all")
    wait_until(lambda: created(life) >= 5)
    running.send(signal.SIGTERM)
    assert 143 == running.finish().code
    held = {id_of(life.current(name)) for name in names}
    for name in names:
        record = life.rotation(name)
        held |= {record[slot]["id"] for slot in ("pending", "previous") if slot in record}
    assert life.others == held
    assert len(life.others) < 2 * len(names)
