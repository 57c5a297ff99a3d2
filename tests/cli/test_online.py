"""
`check --online` and `exec --online`: the real program, asking a strict Astro API over loopback.

What the Astro CLI says instead, by the threads of its tracker, is in test_pain_points.py.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.testing import make_token
from tests.cli.conftest import child
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM
from tests.servers.astro_api import (
    DEPLOYMENT,
    ORGANIZATION,
    WORKSPACE,
    AstroApi,
    Grant,
    organization,
    role,
    token_record,
)
from tests.servers.faults import FaultServer, refused_port
from tests.servers.http1 import Answer
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Planted
    from tests.conftest import Program
    from tests.servers.certificates import Certificates
    from tests.servers.faults import Mode

    Write = Callable[[str, str], Path]

IDENT = "cltk00000000000000000"
STANDIN = Path(__file__).parent.parent / "programs"
HTML = b"<html>Welcome to the hotel</html>"


@pytest.fixture(autouse=True)
def api(program: Program, astro_api: AstroApi) -> AstroApi:
    program.environ |= {
        "ASTRO_TOKEN_API_URL": astro_api.url,
        "STANDIN_API_URL": astro_api.url,
        "PATH": f"{STANDIN}:{os.environ['PATH']}",
    }
    return astro_api


@pytest.fixture
def store(program: Program, planted: Planted) -> Callable[[str], str]:
    """Stores a token under the reference `planted:prod`, and has it looked for everywhere else."""

    def store(token: str) -> str:
        program.canaries.append(token)
        planted.store("prod", token)
        return "planted:prod"

    return store


def checked(program: Program, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and what JSON says of the first token."""
    result = program("check", "--online", "--format", "json", *arguments)
    return result.code, json.loads(result.stdout)["tokens"][0]


def codes(found: dict[str, Any]) -> list[str]:
    return [verdict["code"] for verdict in found["verdicts"]]


# -- check --------------------------------------------------------------------------------------------


def test_nothing_is_asked_without_the_option(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    ref = store(make_token())
    assert 0 == program("check", ref).code
    assert 0 == program("exec", ref, "--", "true").code
    assert 0 == program("export", "--format", "json", ref, allowed=["stdout"]).code
    assert [] == api.requests


def test_a_direct_access_token_is_refused_before_the_command_is_started(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    token = api.issue(
        token_id=IDENT, deployment=DEPLOYMENT, grant=Grant(reads_tokens=True), kind="DIRECT_ACCESS"
    )
    ref = store(token)
    message = (
        f"{ref}: the token is a direct-access token, which is for the Airflow API of a deployment: "
        "it cannot deploy\n"
    )
    hint = (
        "astro-token: hint: create a standard token, and store it instead; for Astronomer's support: request"
    )
    ran = program.temporary / "ran"
    for command in (("check", "--online", ref), ("exec", "--online", ref, "--", "touch", str(ran))):
        result = program(*command)
        assert (65, True, True) == (
            result.code,
            f"astro-token: error: {message}" in result.stderr,
            hint in result.stderr,
        )
    assert not ran.exists()
    code, found = checked(program, ref)
    assert (65, "direct-access", ["direct-access"]) == (code, found["online"]["token"]["kind"], codes(found))


def test_a_good_token_is_accepted_and_json_tells_all_that_astro_says(
    program: Program, api: AstroApi, store: Callable[[str], str], write: Write
) -> None:
    ref = store(api.issue(token_id=IDENT, deployment=DEPLOYMENT, grant=Grant(reads_tokens=True)))
    api.tokens[IDENT] = token_record(
        IDENT,
        "DEPLOYMENT",
        role("DEPLOYMENT_ADMIN", DEPLOYMENT, "DEPLOYMENT"),
        lastUsedAt="2026-02-03T04:05:06.789Z",
        lastRotatedAt="2026-01-03T04:05:06+02:00",
        endAt="2100-01-01T00:00:00Z",
    )
    api.deployments[0]["isCicdEnforced"] = True
    write("astro-token.toml", f'[tokens.prod]\nref = "{ref}"\ndeployment = "{DEPLOYMENT}"\n')
    code, found = checked(program, "prod")
    assert (0, "ok", "deployment") == (code, found["status"], found["scope"])
    assert {
        "accepted": True,
        "token": {
            "scope": "deployment",
            "kind": "standard",
            "roles": [{"role": "DEPLOYMENT_ADMIN", "kind": "deployment", "entity": DEPLOYMENT}],
            "created": "2026-01-02T03:04:05Z",
            "rotated": "2026-01-03T02:05:06Z",
            "last_used": "2026-02-03T04:05:06Z",
            "expires": "2100-01-01T00:00:00Z",
        },
        "organization": {"id": ORGANIZATION, "product": "hosted"},
        "workspace": WORKSPACE,
        "deployment": {
            "id": DEPLOYMENT,
            "workspace": WORKSPACE,
            "ci_cd_enforced": True,
            "status": "healthy",
        },
        "clock_ahead": found["online"]["clock_ahead"],
        "requests": [
            {"asked": what, "status": 200, "request_id": request_id}
            for what, request_id in zip(
                ("organizations", "token", "deployment"), api.request_ids, strict=True
            )
        ],
        "error": None,
    } == found["online"]
    assert abs(found["online"]["clock_ahead"]) <= 2


def test_people_see_the_verdict_its_hint_and_the_request_for_support(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    token = api.issue()
    api.revoke(token)
    result = program("check", "--online", store(token))
    assert (65, "error: revoked") == (result.code, result.stdout.strip()[-14:])
    words = (
        "astro-token: error: planted:prod: Astro does not accept the token: it was revoked, rotated,"
        " or belongs to another domain\n"
        "astro-token: hint: store its successor or create a new token; check ASTRO_DOMAIN;"
        f" for Astronomer's support: request {api.request_ids[0]}\n"
    )
    assert words == result.stderr


def test_each_request_is_told_on_demand_with_its_id(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    result = program("check", "--online", "--log-level", "debug", store(api.issue()))
    lines = [line for line in result.stderr.splitlines() if "from Astro: status" in line]
    assert 3 == len(lines)
    assert [True] * 3 == [ident in line for ident, line in zip(api.request_ids, lines, strict=True)]


def test_many_tokens_are_asked_about_with_a_bar(program: Program, api: AstroApi, planted: Planted) -> None:
    names = [f"planted:t{number}" for number in range(200)]
    for name in names:
        token = api.issue()
        program.canaries.append(token)
        planted.store(name.partition(":")[2], token)
    command = [str(PROGRAM), "check", "--online", *names]
    terminal = Terminal(command, env=program.environment({"TERM": "xterm"}), cwd=program.work)
    assert 0 == terminal.finish()
    assert (600, True) == (len(api.requests), "checking" in terminal.shown)
    assert "/200" in terminal.shown
    assert not [canary for canary in program.canaries if canary in terminal.shown]


def test_people_are_told_what_astro_says(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    ref = store(api.issue(token_id=IDENT, deployment=DEPLOYMENT, grant=Grant(reads_tokens=True)))
    api.tokens[IDENT] = token_record(
        IDENT,
        "DEPLOYMENT",
        role("DEPLOYMENT_ADMIN", DEPLOYMENT, "DEPLOYMENT"),
        lastUsedAt="2026-02-03T04:05:06Z",
    )
    api.deployments[0]["isCicdEnforced"] = True
    shown = program("check", "--online", ref).stdout
    told = dict(re.split(r"  +", line, maxsplit=1) for line in shown.splitlines())
    assert ("accepts it", f"DEPLOYMENT_ADMIN of {DEPLOYMENT}", "yes") == (
        told["ASTRO"],
        told["ROLES"],
        told["CI/CD ONLY"],
    )
    assert told["LAST USED"].startswith("2026-02-03 04:05 UTC, ")
    marked = program("check", "--online", "--format", "markdown", ref).stdout
    assert f"| accepts it | `DEPLOYMENT_ADMIN of {DEPLOYMENT}` | 2026-02-03 04:05 UTC, " in marked
    api.revoke(program.canaries[-1])
    assert "does not accept it" in program("check", "--online", ref).stdout
    assert "ASTRO" not in program("check", ref).stdout


def test_the_workspace_that_astro_names_is_enough_for_a_deploy(
    program: Program, api: AstroApi, store: Callable[[str], str], write: Write
) -> None:
    """As `exec --online` hands it on."""
    ref = store(api.issue(ws=None))
    write("astro-token.toml", f'[tokens.prod]\nref = "{ref}"\ndeployment = "{DEPLOYMENT}"\n')
    found = [
        {
            one["code"]
            for one in json.loads(program("check", *more, "--deploy", "--format", "json", "prod").stdout)[
                "deploy"
            ]["verdicts"]
        }
        for more in ((), ("--online",))
    ]
    assert [True, False] == ["no-workspace" in codes for codes in found]


# -- a rule of the team -------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["project", "environment"])
def test_a_policy_makes_every_command_ask_that_hands_a_token_over(
    program: Program, api: AstroApi, store: Callable[[str], str], write: Write, by: str
) -> None:
    token = api.issue()
    ref = store(token)
    online = "true" if by == "project" else "false"
    write("astro-token.toml", f'[policy]\nonline = {online}\n[tokens.prod]\nref = "{ref}"\n')
    if by == "environment":
        program.environ["ASTRO_TOKEN_POLICY_ONLINE"] = "1"
    api.revoke(token)
    for arguments in (["check", "prod"], ["exec", "prod", "--", "true"], ["export", "prod"]):
        assert 65 == program(*arguments).code
    assert 3 == len(api.requests)


@pytest.mark.parametrize(
    ("environ", "table", "words"),
    [
        (
            {"ASTRO_TOKEN_POLICY_ONLINE": "yes"},
            "",
            "ASTRO_TOKEN_POLICY_ONLINE is not true or false",
        ),
        ({}, "[policy]\nonline = 'yes'\n", "policy.online is not true or false"),
        (
            {"ASTRO_TOKEN_API_URL": "http://api.example.com"},
            "",
            "the address in ASTRO_TOKEN_API_URL is not https",
        ),
        (
            {"ASTRO_TOKEN_API_URL": "", "ASTRO_DOMAIN": "astronmer.io"},
            "",
            "ASTRO_DOMAIN is not a domain of Astro",
        ),
        (
            {"ASTRO_TOKEN_API_URL": "", "ASTRO_TOKEN_CA_BUNDLE": "/nowhere"},
            "",
            "the file that ASTRO_TOKEN_CA_BUNDLE names cannot be read",
        ),
    ],
)
def test_a_setting_that_is_wrong_is_told_before_anything_is_read(
    program: Program,
    store: Callable[[str], str],
    planted: Planted,
    write: Write,
    environ: dict[str, str],
    table: str,
    words: str,
) -> None:
    ref = store(make_token())
    write("astro-token.toml", table)
    result = program("check", "--online", ref, env=environ)
    assert (78, True, []) == (result.code, words in result.stderr, planted.log)


# -- exec ---------------------------------------------------------------------------------------------


def test_exec_asks_before_the_command_is_started(
    program: Program, api: AstroApi, store: Callable[[str], str], tmp_path: Path
) -> None:
    token, mark = api.issue(), tmp_path / "work" / "started"
    ref = store(token)
    assert 0 == program("exec", "--online", ref, "--", "touch", str(mark)).code
    assert (True, 3) == (mark.exists(), len(api.requests))
    mark.unlink()
    api.revoke(token)
    result = program("exec", "--online", ref, "--", "touch", str(mark))
    assert (65, False, 4) == (result.code, mark.exists(), len(api.requests))
    api.faults = [Answer(301)]
    result = program("exec", "--online", ref, "--", "touch", str(mark))
    assert (76, False) == (result.code, mark.exists())
    assert "planted:prod: Astro's API answered with a redirect, which is not followed" in result.stderr


def test_exec_warns_and_goes_on(program: Program, api: AstroApi, store: Callable[[str], str]) -> None:
    api.ahead = 3600
    result = program("exec", "--online", store(api.issue()), "--", "true")
    assert (0, True) == (result.code, "clock is about 1 hour behind Astro's" in result.stderr)


# -- bad answers --------------------------------------------------------------------------------------

GOOD = json.dumps({"organizations": [organization()], "limit": 100, "offset": 0, "totalCount": 1}).encode()


@pytest.mark.parametrize(
    ("mode", "code", "requests"),
    [
        (Answer(200, HTML, content_type="text/html"), 76, 1),
        (Answer(401, HTML, content_type="text/html"), 77, 1),
        (Answer(403, HTML, content_type="text/html"), 77, 1),
        (Answer(404, HTML, content_type="text/html"), 76, 1),
        (401, 65, 1),
        (404, 76, 1),
        (302, 76, 1),
        (204, 76, 1),
        ("empty", 76, 1),
        ("json-array", 76, 1),
        ("json-null", 76, 1),
        ("json-nested", 76, 1),
        ("cut-json", 76, 1),
        ("huge", 76, 1),
        (Answer.json({"organizations": None, "totalCount": 0}), 76, 1),
        (Answer.json({"organizations": [None], "totalCount": 1}), 76, 1),
        (Answer.json({"organizations": [], "totalCount": 0}), 65, 1),
        ("hang", 75, 1),
        ("drip-head", 75, 1),
        ("drip-body", 75, 1),
        (Answer(429, b"", {"Retry-After": "3600"}), 75, 1),
        (Answer(503, b"", {"Retry-After": "3600"}), 75, 1),
        (lambda number: 503 if number < 3 else 401, 65, 3),
    ],
    ids=lambda value: f"{value.status} {value.content_type}" if isinstance(value, Answer) else None,
)
def test_a_bad_answer_is_a_verdict_or_an_error_with_its_code(
    program: Program, store: Callable[[str], str], mode: Mode, code: int, requests: int
) -> None:
    ref = store(make_token())
    with FaultServer(mode, GOOD, drip=0.05, size=1 << 28) as server:
        program.environ["ASTRO_TOKEN_API_URL"] = server.url
        seconds = 1.5 if mode == "hang" or "drip" in str(mode) else 10
        with within(seconds):
            status, found = checked(program, "--timeout", str(seconds), ref)
    assert (code, requests) == (status, server.count)
    assert code == found["error"]["exit_code"]
    assert (found["online"]["error"] is None) is (code == 65)
    assert "planted:prod: " in found["error"]["message"]
    assert code == 65 or "Astro's API" in found["error"]["message"]


def test_a_null_product_is_a_warning(program: Program, api: AstroApi, store: Callable[[str], str]) -> None:
    api.organizations = [organization(product=None)]
    code, found = checked(program, store(api.issue()))
    assert (0, "warning", ["organization-unready"]) == (code, found["status"], codes(found))


@pytest.mark.parametrize(("url", "code"), [("", 75), ("https://astro.invalid", 69)])
def test_where_nobody_answers_what_the_claims_say_is_shown_all_the_same(
    program: Program, store: Callable[[str], str], url: str, code: int
) -> None:
    program.environ["ASTRO_TOKEN_API_URL"] = url or f"http://127.0.0.1:{refused_port()}"
    status, found = checked(program, "--timeout", "2", store(make_token(expires_in=None)))
    assert (code, code, ["no-expiry"]) == (status, found["online"]["error"]["exit_code"], codes(found))
    assert (None, [], "workspace") == (
        found["online"]["accepted"],
        found["online"]["requests"],
        found["scope"],
    )


def test_a_failure_and_a_verdict_are_both_shown_and_the_worse_decides(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    api.faults = [Answer(200, HTML, content_type="text/html")]
    ref = store(make_token(expires_in=-5))
    result = program("check", "--online", ref)
    assert (76, True) == (
        result.code,
        "the response is damaged, or does not come from Astro's API" in result.stderr,
    )
    api.faults = [Answer(503, b"", {"Retry-After": "60"})]
    result = program("check", "--online", "--timeout", "2", ref)
    assert 65 == result.code
    assert ["the token expired", "Astro's API is busy, or failed"] == [
        words for words in ("the token expired", "Astro's API is busy, or failed") if words in result.stderr
    ]


def test_tls_needs_a_trusted_authority(
    program: Program, store: Callable[[str], str], certificates: Certificates
) -> None:
    with AstroApi(tls=certificates.server.context()) as server:
        ref = store(server.issue())
        program.environ["ASTRO_TOKEN_API_URL"] = server.url
        assert 76 == program("check", "--online", ref).code
        assert [] == server.requests
        program.environ["ASTRO_TOKEN_CA_BUNDLE"] = str(certificates.ca_file)
        assert 0 == program("check", "--online", ref).code
        assert 3 == len(server.requests)


def test_an_answer_that_repeats_the_token_shows_none_of_it(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    """The program's own check looks for every form of the token."""
    token = api.issue(token_id=IDENT, grant=Grant(reads_tokens=True))
    ref = store(token)
    part = token.split(".")[2][:60].replace("_", "-")
    for answer in (
        Answer.json({"organizations": [{"id": token[-100:], "product": token}], "totalCount": 1}),
        Answer(503, token.encode(), {"X-Request-Id": token, "Retry-After": "60"}, "text/plain"),
        Answer.json({"message": token, "requestId": token[-40:], "statusCode": 401}, 401),
        Answer.json({}, 301, {"Location": f"https://elsewhere.example/{token}", "X-Request-Id": part}),
    ):
        api.faults = [answer]
        assert program("check", "--online", "--timeout", "2", "--log-level", "debug", ref).code in {
            65,
            75,
            76,
        }
    api.tokens[IDENT]["roles"] = [role(token, token[-80:], "DAG")]
    api.tokens[IDENT] |= {"name": token, "description": token, "shortToken": token, "kind": token}
    assert 0 == program("check", "--online", "--format", "json", ref).code


def test_the_network_is_not_loaded_unless_it_is_needed(program: Program, store: Callable[[str], str]) -> None:
    """What --online costs is not paid without it."""
    ref = store(make_token())
    seen = program("check", ref, env={"PYTHONPROFILEIMPORTTIME": "1"}).stderr
    assert (False, True) == ("http.client" in seen, "astro_token.policy.rules" in seen)


def test_a_command_that_fails_after_the_check_ends_with_its_own_status(
    program: Program, api: AstroApi, store: Callable[[str], str]
) -> None:
    result = program("exec", "--online", store(api.issue()), "--", *child("tell"), allowed=["stdout"])
    assert (0, 3) == (result.code, len(api.requests))
    assert 7 == program("exec", "--online", "planted:prod", "--", "sh", "-c", "exit 7").code
