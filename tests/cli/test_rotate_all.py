"""`rotate --all` over many tokens: within Astro's rates, and resumed after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.token_life import id_of
from tests.conftest import PROGRAM
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background
    from tests.cli.token_life import TokenLife

only_file = pytest.mark.parametrize("life", ["file"], indirect=True)
_MIB = 60
_PER_SECOND = {"POST": 10, "DELETE": 5}


def many(life: TokenLife, count: int) -> list[str]:
    """Store so many tokens, and name them in the project file. Return their names."""
    names = [f"t{number}" for number in range(count)]
    for name in names:
        life.issue(name)
    # Inline tables and relative paths, because 1000 others would be longer than a project file may be.
    refs = [life.store.ref(name).replace(f"file:{life.program.folder}/", "file:../") for name in names]
    tables = [f'{name} = {{ref = "{ref}"}}\n' for name, ref in zip(names, refs, strict=True)]
    (life.program.work / "astro-token.toml").write_text("[tokens]\n" + "".join(tables))
    life.program.canaries.clear()  # searching for all of them takes long; other tests do
    return names


def peak_of(pid: int) -> float:
    """The most memory that a process has used, in MiB; 0 before and after it runs."""
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return 0.0


def created(life: TokenLife) -> int:
    return sum(request.method == "POST" for request in life.api.requests)


def measured(life: TokenLife, *arguments: str) -> tuple[dict[str, int], float]:
    """Run the program within the limits of rate and memory. Return its outcomes, and the peak in MiB."""
    life.api.requests.clear()
    output, begin = life.program.folder / "output", time.monotonic()
    with (
        output.open("w") as stdout,
        subprocess.Popen(
            [str(PROGRAM), "rotate", "--all", "--format", "json", *arguments],
            env=life.program.environment(),
            cwd=life.program.work,
            stdout=stdout,
        ) as process,
    ):
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, peak_of(process.pid))
            time.sleep(0.02)
    content = json.loads(output.read_text())
    assert 0 == content["exit_code"] == process.returncode
    assert 10 < peak < _MIB
    methods = Counter(request.method for request in life.api.requests)
    shortest = {method: shortest_window(life, method, most) for method, most in _PER_SECOND.items()}
    assert all(seconds >= 1 for seconds in shortest.values()), shortest
    outcomes = Counter(token["outcome"] for token in content["tokens"])
    print(
        f"{life.store.scheme} {' '.join(arguments)}: {dict(outcomes)}, {time.monotonic() - begin:.0f} s, "
        f"{dict(methods)}, {peak:.1f} MiB, shortest time of one request more than allowed: "
        + ", ".join(f"{method} {seconds:.2f} s" for method, seconds in shortest.items())
    )
    return outcomes, peak


def shortest_window(life: TokenLife, method: str, most: int) -> float:
    """The shortest time in which one request more than these reached Astro."""
    times = [request.time for request in life.api.requests if request.method == method]
    return min((later - earlier for earlier, later in zip(times, times[most:], strict=False)), default=inf)


@pytest.mark.parametrize(
    ("life", "count"),
    [
        ("file", 20),
        pytest.param("file", 1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
        pytest.param("vault", 1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
    indirect=["life"],
)
def test_a_killed_run_is_resumed_and_rotates_nothing_twice(
    life: TokenLife, count: int, start: Callable[..., Background]
) -> None:
    names = many(life, count)
    before = {name: life.current(name) for name in names}
    killed = start("rotate", "--all")
    # The disk has to keep up with each record.
    wait_until(lambda: created(life) >= count // 2 or killed.process.poll() is not None, patience=1800)
    assert killed.process.poll() is None
    killed.send(signal.SIGKILL)
    killed.process.wait()
    posts = created(life)
    for name in names:
        record = life.rotation(name)
        if record.get("intent"):  # or the next run would wait for the end of the lease
            record["intent"]["until"] = "2026-01-01T00:00:00Z"
            life.store.write_record(name, json.dumps({"format": 1, **record}))
    outcomes, _ = measured(life)
    assert {"rotated", "waiting"} == outcomes.keys()
    current = {name: life.current(name) for name in names}
    assert set(before.values()).isdisjoint(current.values())
    assert life.others == {id_of(value) for value in (*before.values(), *current.values())}
    assert posts + created(life) <= count + 8  # tokens whose creation the kill interrupted
    outcomes, _ = measured(life, "--finish", "--grace", "0s")
    assert {"finished": count} == outcomes
    assert current == {name: life.current(name) for name in names}
    assert life.others == {id_of(value) for value in current.values()}


@only_file
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
