"""
`command:` meets every fault of a program, in each of our commands.

`make test` runs each fault with one command, another for each fault; `make test-long` all of them,
and every status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.testing import make_token
from tests.cli.sweep_process import Forks
from tests.matrix.local import COMMANDS, Surroundings, faulty
from tests.matrix.programs import FAULTS, STATUSES, runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def around(tmp_path: Path, canary: str) -> Iterator[Surroundings]:
    with Forks(
        "astro_token_backends.command", "astro_token.system.posix_program", "astro_token.cli.findings"
    ) as forks:
        yield Surroundings(tmp_path, forks, canary, make_token())


def test_a_program_at_fault_ends_as_it_should(around: Surroundings, tmp_path: Path, canary: str) -> None:
    made = list(runs(tmp_path / "programs", canary, FAULTS))
    cells = [(run, COMMANDS[number % len(COMMANDS)]) for number, run in enumerate(made)]
    cells.sort(key=lambda cell: cell[0].code == 75)  # those that wait, together
    assert [] == faulty(around, cells)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_command_meets_every_fault_of_a_program(
    around: Surroundings, tmp_path: Path, canary: str
) -> None:
    made = list(runs(tmp_path / "programs", canary, FAULTS))
    assert [] == faulty(around, [(run, command) for command in COMMANDS for run in made])
    made = list(runs(tmp_path / "statuses", canary, STATUSES))
    assert [] == faulty(around, [(run, "chain") for run in made])
