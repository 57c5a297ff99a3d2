"""No value reaches a child, a log, a report or a description, whichever command manages tokens, and fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import appearances, make_token
from tests.cli.token_life import VaultStore, after_requests, id_of
from tests.servers.astro_api import DEPLOYMENT
from tests.servers.faults import refused_port, reset

if TYPE_CHECKING:
    from tests.cli.token_life import TokenLife
    from tests.conftest import Result

CREATE = ("create", "--role", "DEPLOYMENT_ADMIN", "--deployment", DEPLOYMENT)
COMMANDS = ("create", "rotate", "revoke", "audit")


class Commands:
    """Runs commands in a job, with every message. `life` searches what they print and leave in files."""

    def __init__(self, life: TokenLife) -> None:
        self.life = life
        self.codes: dict[str, set[int]] = {name: set() for name in COMMANDS}
        self.texts: list[str] = []
        life.program.environ |= {
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(life.program.work / "summary.md"),
        }

    def __call__(self, code: int, *arguments: str, **env: str) -> Result:
        result = self.life("--log-level", "debug", *arguments, env=env)
        assert (code, True) == (result.code, "debug: " in result.stderr), result.stderr
        self.codes[arguments[0]].add(code)
        # Only its own arguments: it started no child.
        assert 1 == len([line for line in result.argv.splitlines() if line.strip()]), result.argv
        self.texts += [result.stdout, result.stderr]
        return result


@pytest.mark.parametrize("life", ["vault"], indirect=True)
def test_no_value_is_shown_or_described(life: TokenLife) -> None:
    run, api, no_service = Commands(life), life.api, f"http://127.0.0.1:{refused_port()}"
    life.project(deployment=DEPLOYMENT, role="DEPLOYMENT_ADMIN")
    run(0, *CREATE, life.ref)
    run(73, *CREATE, life.ref)
    run(75, *CREATE, life.store.ref("other"), "--timeout", "1", ASTRO_TOKEN_API_URL=no_service)
    run(77, *CREATE, life.store.ref("third"), MANAGES=make_token())
    first = life.current()
    run(0, "rotate", "prod")
    both = (first, life.current())
    run(0, "rotate", "--finish", "prod")
    audits = {name: run(0, "audit", "--format", name).stdout for name in ("table", "json", "csv", "html")}
    run(0, "audit", "--format", "markdown")
    run(65, "audit", "--strict")
    run(75, "audit", "--timeout", "1", ASTRO_TOKEN_API_URL=no_service)
    run(73, "revoke", "prod")
    run(75, "revoke", "prod", "--force", "--timeout", "1", ASTRO_TOKEN_API_URL=no_service)
    record = json.loads(life.store.record("prod") or "")
    life.store.write_record("prod", json.dumps({**record, "note": both[1]}))
    run(81, "rotate", "prod")
    life.store.write_record("prod", json.dumps(record))
    run(0, "rotate", "--finish", "--grace", "0s", "prod")
    lost = [lambda connection, _: reset(connection)] * 3
    after_requests(api, "POST", lambda: lost.pop() if lost else None)
    run(0, "rotate", "--grace", "0s", "prod")  # after three created tokens whose responses were lost
    run(75, "rotate", "--timeout", "1", "prod", ASTRO_TOKEN_API_URL=no_service)
    stray = life.issue("stray")
    run(0, "revoke", "--id", id_of(stray))
    assert {0, 73, 75, 77} == run.codes["create"]
    assert ({0, 75, 81}, {0, 73, 75}, {0, 65, 75}) == tuple(run.codes[name] for name in COMMANDS[1:])
    # Identifiers are shown, so that the search did look at the reports.
    assert all(id_of(both[0]) in text for text in audits.values())

    described = [json.dumps(api.tokens), *(f"{request.target} {request.body!r}" for request in api.requests)]
    assert isinstance(life.store, VaultStore)
    described += [life.store.metadata(name) for name in ("prod", "prod-rotation")]
    values = {*life.program.canaries}
    assert {life.admin, *both} < values
    texts = (*described, *run.texts)
    assert [] == [form for text in texts for value in values for form in appearances(value, text)]
