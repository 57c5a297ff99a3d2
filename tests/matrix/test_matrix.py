"""
Every backend meets every fault, and ends with the code that callers rely on, in time and without a leak.

`make test` runs a part of it: each fault with one subject of each cloud, another for each fault.
`make test-long` runs all of it and prints the table. To look at single cells of it, name them:

    ASTRO_TOKEN_TEST_MATRIX='aws read|cut' python -m pytest -m long -s tests/matrix
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from tests.matrix import services
from tests.matrix.cell import applies, meet, prove
from tests.matrix.faults import BY_NAME, FAULTS
from tests.matrix.front import Trust
from tests.matrix.table import table

if TYPE_CHECKING:
    from tests.matrix.cell import Cell
    from tests.matrix.faults import Fault
    from tests.matrix.subjects import Subject
    from tests.servers.certificates import Certificates

CLOUDS = ("vault", "aws", "gcp", "azure")
PROCESSES = 4  # many cells wait for a deadline
# Faults that differ from others by a number only are left to the whole of it.
_LIKE_OTHERS = ("301", "303", "308", "405", "500", "504")
QUICK = [fault.name for fault in FAULTS if not fault.slow and not fault.name.startswith(_LIKE_OTHERS)]


@pytest.fixture(scope="session")
def trust(certificates: Certificates) -> Trust:
    return Trust.of(certificates)


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The subjects of a cloud, whose servers start when they are first asked for."""
    made: dict[str, list[Subject]] = {}

    def prepared(cloud: str) -> list[Subject]:
        if cloud not in made:
            have = request.getfixturevalue
            folder = tmp_path_factory.mktemp("matrix")
            made[cloud] = {
                "vault": lambda: services.vault(have("openbao")),
                "aws": lambda: services.aws(have("ministack"), have("issuer")),
                "gcp": lambda: services.gcp(have("gcp_server"), have("gcp_login"), have("issuer"), folder),
                "azure": lambda: services.azure(have("azure_server")),
            }[cloud]()
        return made[cloud]

    return prepared


# -- a part of it -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def proved(trust: Trust) -> Any:
    """What a subject does where nothing is at fault, found out once."""
    return cache(lambda subject: prove(subject, trust))


@pytest.mark.long  # each backend has the like among its own tests
@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("name", QUICK)
def test_a_fault_ends_as_it_should(cloud: str, name: str, prepared: Any, proved: Any, trust: Trust) -> None:
    fault = BY_NAME[name]
    able = [subject for subject in prepared(cloud) if applies(subject, fault)]
    if able:  # of the subjects of a cloud one, another for each fault
        subject = able[QUICK.index(name) % len(able)]
        assert meet(subject, fault, proved(subject), trust).wrong == ()


# -- all of it ----------------------------------------------------------------------------------------------


def row(subject: Subject, trust: Trust, wanted: str) -> list[Cell]:
    """All cells of a subject, in a process of its own."""
    faults = [fault for fault in FAULTS if fnmatch(f"{subject.name}|{fault.name}", wanted)]
    faults = [fault for fault in faults if applies(subject, fault)]
    if not faults:
        return []
    good = prove(subject, trust)
    met = {fault.name: meet(subject, fault, good, trust) for fault in _shuffled(faults, subject.name)}
    return [met[fault.name] for fault in faults]


def _shuffled(faults: list[Fault], seed: str) -> list[Fault]:
    """No cell may lean on the one before: the same order on every run, and another for each subject."""
    return random.Random(seed).sample(faults, len(faults))  # noqa: S311


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_backend_meets_every_fault_as_it_should(
    prepared: Any, trust: Trust, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = os.environ.get("ASTRO_TOKEN_TEST_MATRIX", "*")
    subjects = [subject for cloud in CLOUDS for subject in prepared(cloud)]
    started = time.monotonic()
    # Threads and servers of this process are not to be copied into the others.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        rows = [pool.submit(row, subject, trust, wanted) for subject in subjects]
        met = [cell for one in rows for cell in one.result(timeout=400)]
    met.sort(key=lambda cell: list(BY_NAME).index(cell.fault))
    met.sort(key=lambda cell: [subject.name for subject in subjects].index(cell.subject))
    with capsys.disabled():
        print(f"\n{table(met, time.monotonic() - started)}")
    assert met
    assert [cell for cell in met if cell.wrong] == []
