"""
`airflow:` meets wrong settings, wrong values and a service that is not there, in each of our commands.

The faults of its services over the network are in `test_matrix`, whose rows have `airflow` in their names.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from astro_token.testing import make_token
from tests.backends.test_airflow import CLASSES
from tests.cli.sweep_process import Forks
from tests.matrix.local import COMMANDS, Run, Surroundings, faulty
from tests.servers.faults import refused_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.openbao import OpenBao

BACKEND, KWARGS = "AIRFLOW__SECRETS__BACKEND", "AIRFLOW__SECRETS__BACKEND_KWARGS"


def settings(kwargs: object, service: str = CLASSES["vault"]) -> dict[str, str]:
    return {BACKEND: service, KWARGS: kwargs if isinstance(kwargs, str) else json.dumps(kwargs)}


def wrong_settings(good: dict[str, Any], token: str) -> Iterator[Run]:
    """Each has the token among its arguments, which no message may repeat."""
    ref = "airflow:variable/n"
    for name, kwargs in {
        "no JSON": f"{{'token': '{token}'}}",
        "half of it": json.dumps(good)[:-1],
        "a list": [token],
        "a text": json.dumps(token),
        "deep": "[" * 99_999,
        "an unknown key": {**good, "x": token},
        "a key that is a secret": {**good, token: "x"},
        "an unknown login": {**good, "auth_type": token},
        "a wrong type": {**good, "mount_point": [token]},
        "an address without https": {**good, "url": "http://vault.example"},
        "no address": {**good, "url": token},
    }.items():
        yield Run(name, ref, 78, settings(kwargs))
    yield Run("an unknown class", ref, 78, settings(good, f"my.{token}"))
    yield Run(
        "another one's class", ref, 78, settings({"token": token}, "airflow.secrets.local_filesystem.X")
    )
    yield Run("of a command", ref, 78, {BACKEND: CLASSES["vault"], f"{KWARGS}_CMD": f"echo {token}"})
    yield Run("of a secret", ref, 78, {BACKEND: CLASSES["vault"], f"{KWARGS}_SECRET": token})
    yield Run("nothing is set", ref, 78, {}, continues=True)
    yield Run("arguments only", ref, 78, {KWARGS: json.dumps(good)}, continues=True)
    yield Run("a prefix of nothing", ref, 66, settings({**good, "variables_path": None}), continues=True)
    yield Run("a refused token", ref, 77, settings({**good, "token": token}))
    yield Run("nobody listens", ref, 75, settings({**good, "url": f"http://127.0.0.1:{refused_port()}"}))


def test_airflow_at_fault_ends_as_it_should(openbao: OpenBao, tmp_path: Path, canary: str) -> None:
    base = f"airflow-{os.urandom(4).hex()}"
    good = {"url": openbao.address, "token": openbao.root_token, "connections_path": base}
    good["variables_path"] = base
    connections: dict[str, tuple[object, int]] = {
        "good": ({"conn_uri": f"http://:{canary}@h"}, 0),
        "no-uri": ({"conn_uri": canary}, 65),
        "no-password": ({"conn_type": "http", "host": canary}, 66),
        "an-object": ({"password": {"x": canary}}, 65),
        "no-token": ({"password": canary[:200]}, 65),
        "two-schemes": ({"conn_uri": f"a://u:{canary}@b://c"}, 65),
        "two-lines": ({"password": f"{canary}\n{canary}"}, 65),
    }
    for name, (value, _) in connections.items():
        openbao.api("POST", f"secret/data/{base}/{name}", {"data": value})
    openbao.api("POST", f"secret/data/{base}/other-field", {"data": {"token": canary}})
    runs = [
        *wrong_settings(good, canary),
        *(
            Run(name, f"airflow:connection/{name}", code, settings(good))
            for name, (_, code) in connections.items()
        ),
        Run("other-field", "airflow:variable/other-field", 66, settings(good), continues=True),
        Run("missing", "airflow:connection/missing", 66, settings(good), continues=True),
    ]
    with Forks("astro_token_backends.airflow.client", "astro_token_backends.vault.kv") as forks:
        around = Surroundings(tmp_path, forks, canary, make_token())
        cells = [
            (run, "chain" if run.continues else COMMANDS[number % len(COMMANDS)])
            for number, run in enumerate(runs)
        ]
        cells.sort(key=lambda cell: cell[0].code == 75)
        assert [] == faulty(around, cells)
