"""The document of `check --format json` is what its schema says, and every code is in one table."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

import astro_token
from astro_token import errors
from astro_token.astro_api.records import (
    DeploymentRecord,
    OrganizationRecord,
    Role,
    TokenRecord,
    WorkspaceRecord,
)
from astro_token.cli.findings import describe_preflight, describe_token
from astro_token.deploy import PreflightReport
from astro_token.errors import AstroTokenError, PolicyError
from astro_token.policy.codes import DEPLOY, ONLINE
from astro_token.policy.rules import OFFLINE, Verdict
from astro_token.record import replace as replace_token
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import make_token
from astro_token.token import SCOPES, AstroToken
from astro_token.tokens.online import ApiRequest, Online
from astro_token.tokens.read_many import TokenReport
from tests.cli.deploy_project import make
from tests.conftest import ROOT
from tests.servers.astro_api import DEPLOYMENT, Grant, role, token_record
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.cli.conftest import Planted
    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi

    Write = Callable[[str, str], Path]

SCHEMA = json.loads((Path(astro_token.__file__).parent / "schemas" / "check.json").read_text())
CHECK = Draft202012Validator(SCHEMA)
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
SETTINGS = TokenSettings(SecretRef("env", "X"), name="prod")
TOKEN = AstroToken(
    SecretValue(b"x", "7"), "workspace", "o1", "w1", None, "t1", NOW - timedelta(days=1), None, NOW
)
KINDS = [
    getattr(errors, name) for name in errors.__all__ if name.endswith("Error") and name != "CommandError"
]


def of(finding: TokenReport, deploy: PreflightReport | None = None) -> dict[str, Any]:
    return {
        "tokens": [describe_token(finding, NOW)],
        **({"deploy": describe_preflight(deploy)} if deploy else {}),
    }


def verdicts(codes: Mapping[str, str]) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(code, level, "what is wrong", "what to do")  # type: ignore[arg-type]
        for code, level in codes.items()
    )


# -- the schema -------------------------------------------------------------------------------------


def objects(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def test_the_schema_is_one_and_leaves_nothing_open() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    found = list(objects(SCHEMA))
    assert len(found) >= 9
    for one in found:
        assert one["additionalProperties"] is False
        optional = set(one["properties"]) - set(one["required"])
        assert optional == ({"deploy"} if one is SCHEMA else set())


def test_it_names_the_codes_the_errors_and_the_statuses_that_there_are() -> None:
    defined = SCHEMA["$defs"]
    assert [*OFFLINE, *ONLINE] == defined["verdict"]["properties"]["code"]["enum"]
    assert [*DEPLOY] == defined["deploy"]["properties"]["verdicts"]["items"]["properties"]["code"]["enum"]
    assert {kind.__name__ for kind in KINDS} == set(defined["error"]["properties"]["type"]["enum"])
    assert {kind.exit_code for kind in KINDS} == set(defined["error"]["properties"]["exit_code"]["enum"])
    statuses = {one.exit_code for one in DEPLOY.values()}
    assert {0, *statuses} == set(defined["deploy"]["properties"]["exit_code"]["enum"])


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("tokens.0", {"token": "x"}),
        ("tokens.0", {"status": "fine"}),
        ("tokens.0", {"expires": "tomorrow"}),
        ("tokens.0", {"expires_in": "3"}),
        ("tokens.0", {"organization": "two words"}),
        ("tokens.0.verdicts.0", {"code": "made-up"}),
        ("tokens.0.verdicts.0", {"code": "no-dags"}),
        ("tokens.0.verdicts.0", {"level": "off"}),
        ("tokens.0.verdicts.0", {"message": "two\nlines"}),
        ("tokens.0.verdicts.0", {"answer": "x"}),
        ("deploy", {"exit_code": 1}),
        ("deploy.verdicts.0", {"code": "expired"}),
        ("", {"version": 1}),
    ],
)
def test_it_notices_what_is_no_such_document(place: str, change: dict[str, Any]) -> None:
    finding = TokenReport(SETTINGS, TOKEN, verdicts({"expired": "error"}))
    document = of(finding, PreflightReport(Path(), verdicts({"no-dags": "error"})))
    CHECK.validate(document)
    part: Any = document
    for key in place.split(".") if place else []:
        part = part[int(key) if key.isdecimal() else key]
    part |= change
    with pytest.raises(ValidationError):
        CHECK.validate(document)


def test_it_allows_every_verdict_at_every_level_that_it_can_have() -> None:
    tokens = {code: one.level for code, one in {**OFFLINE, **ONLINE}.items()}
    for levels in (tokens, {"no-expiry": "error"}):
        CHECK.validate(of(TokenReport(SETTINGS, TOKEN, verdicts(levels))))
    project = {code: one.level for code, one in DEPLOY.items()}
    for level in ("warning", "error"):
        found = verdicts(dict.fromkeys(project, level))
        CHECK.validate(of(TokenReport(SETTINGS, TOKEN), PreflightReport(Path("a b"), found)))
    CHECK.validate(of(TokenReport(SETTINGS, TOKEN), PreflightReport(Path(), ())))


@pytest.mark.parametrize("kind", KINDS)
def test_it_allows_every_error(kind: type[AstroTokenError]) -> None:
    for settings, hint in itertools.product((None, SETTINGS), (None, "what to do")):
        CHECK.validate(of(TokenReport(settings, error=kind("what failed", hint=hint))))


def test_it_allows_what_astro_may_say_and_leave_out() -> None:
    roles = (
        Role("DAG_VIEWER", "dag", None),
        Role(None, None, None),
        Role("WORKSPACE_OWNER", "workspace", "w1"),
    )
    full = Online(
        TOKEN,
        (),
        accepted=True,
        record=TokenRecord("workspace", "direct-access", roles, NOW, NOW, NOW, NOW),
        organization=OrganizationRecord("o1", "hosted"),
        workspace=WorkspaceRecord("w1"),
        deployment=DeploymentRecord("d1", "w1", ci_cd_enforced=True, status="healthy"),
        ahead=-3.5,
        requests=tuple(ApiRequest(kind, 200, "r1") for kind in ("organizations", "token", "deployment")),
    )
    bare = replace_token(
        full,
        accepted=None,
        record=TokenRecord(None, None, ()),
        organization=OrganizationRecord("o1", None),
        deployment=DeploymentRecord("d1", "w1", ci_cd_enforced=False, status=None),
        ahead=None,
        requests=(ApiRequest("workspace", 503, None),),
        error=PolicyError("what failed"),
    )
    for online in (full, bare, Online(TOKEN, ())):
        CHECK.validate(of(TokenReport(SETTINGS, TOKEN, online=online)))


@pytest.mark.parametrize("of_online", [False, True])
def test_an_error_of_somebody_elses_backend_is_told_in_its_words(of_online: bool) -> None:
    class OfTheirs(errors.AccessDeniedError):
        pass

    error = OfTheirs("two\nlines\r", hint="")
    online = Online(TOKEN, (), error=error) if of_online else None
    document = of(
        TokenReport(SETTINGS, replace_token(TOKEN, secret=SecretValue(b"x", "")), (), error, online)
    )
    CHECK.validate(document)
    found = document["tokens"][0]
    assert ("AccessDeniedError", "two?lines?", None) == tuple(
        (found["online"] or found)["error"][member] for member in ("type", "message", "hint")
    )
    CHECK.validate(of(TokenReport(SETTINGS, error=OfTheirs(""))))


def test_a_folder_with_a_line_end_in_its_name_is_no_second_line() -> None:
    verdict = Verdict("no-dags", "error", "a\nb has none", "see a\nb")
    found = PreflightReport(Path("a\nb"), (verdict,))
    CHECK.validate(of(TokenReport(SETTINGS, TOKEN), found))
    assert "a?b has none" == describe_preflight(found)["verdicts"][0]["message"]


def said(program: Program, *arguments: str, **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(program("check", "--format", "json", *arguments, **options).stdout)
    CHECK.validate(document)
    return document


def test_no_reference_in_it_is_a_command_of_a_ci_system(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token())
    ref = "planted:prod##vso[task.complete result=Failed]####[error]x"
    result = program("check", "--format", "json", ref)
    assert (False, ref) == ("##" in result.stdout, json.loads(result.stdout)["tokens"][0]["ref"])


def test_what_the_program_says_offline(program: Program, planted: Planted, write: Write) -> None:
    for name, token in {
        "good": make_token(deployment="cldep1"),
        "old": make_token(expires_in=-5, issued_ago=1000 * 86400)[:-300],
        "bare": make_token(workspace=None, expires_in=None, iat=None, apiTokenId=None),
        "nonsense": "nonsense",
    }.items():
        planted.store(name, token)
    names = ("good", "old", "bare", "nonsense", "lost", "denied")
    tables = "".join(
        f'[tokens.{name}]\nref = "planted:{name}"\norganization = "o"\nworkspace = "w"\n' for name in names
    )
    write("astro-token.toml", f'[policy]\nmax_scope = "deployment"\nmax_age = "90d"\n{tables}')
    found = said(program, "--all")["tokens"]
    assert ["failed"] * 6 == [one["status"] for one in found]
    assert {"expired", "too-old", "signature-cut", "age-unproven", "no-expiry"} <= {
        verdict["code"] for one in found for verdict in one["verdicts"]
    }
    for others in (["planted:good"], []):
        found = said(program, "usr:x", *others)["tokens"]
        assert (None, 78) == (found[0]["ref"], found[0]["error"]["exit_code"])


def test_what_the_program_says_online(program: Program, planted: Planted, astro_api: AstroApi) -> None:
    program.environ["ASTRO_TOKEN_API_URL"] = astro_api.url
    ident = "cltk00000000000000000"
    tokens = {
        "full": astro_api.issue(token_id=ident, deployment=DEPLOYMENT, grant=Grant(reads_tokens=True)),
        "plain": astro_api.issue(),
        "gone": make_token(),
    }
    record = token_record(
        ident, "DEPLOYMENT", role("DEPLOYMENT_ADMIN", DEPLOYMENT, "DEPLOYMENT"), role("mine", "x", "DAG")
    )
    astro_api.tokens[ident] = record
    for name, token in tokens.items():
        planted.store(name, token)
    found = said(program, "--online", "planted:full", "planted:plain", "planted:gone")["tokens"]
    assert [True, True, False] == [one["online"]["accepted"] for one in found]
    assert found[0]["online"]["token"]["roles"]
    astro_api.faults = [Answer(200, b"<html></html>", content_type="text/html")]
    assert said(program, "--online", "planted:plain")["tokens"][0]["online"]["error"]["exit_code"] == 76


def test_what_the_program_says_of_a_project(program: Program, canary: str, tmp_path: Path) -> None:
    project = make(program, canary, tmp_path)
    environ = {"PATH": str(project.bin), "TOKEN": canary}
    assert "ok" == said(program, "--deploy", "env:TOKEN", env=environ)["deploy"]["status"]
    (project.folder / "dags" / "etl.py").unlink()
    (project.bin / "docker").unlink()
    assert "failed" == said(program, "--deploy", "usr:x", env=environ)["deploy"]["status"]
    found = said(program, "--deploy", "env:TOKEN", env=environ)["deploy"]
    assert ["error", "error", "warning"] == [verdict["level"] for verdict in found["verdicts"]]


# -- the documentation ------------------------------------------------------------------------------


def rows(document: str, columns: int) -> list[list[str]]:
    """The cells of each row that begins with a code."""
    text = (ROOT / "docs" / document).read_text()
    found = re.findall(r"^\| `[a-z-]+` \|.*\|$", text, re.MULTILINE)
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found]
    return [row for row in cells if len(row) == columns]


def test_every_verdict_is_in_one_table_with_its_level_and_nothing_else_is() -> None:
    table = rows("check.md", 5)
    documented = [(code.strip("`"), found, level) for code, found, level, _, _ in table]
    unproven = {f"{scope}-unproven": f"warning, error if `{scope}`" for scope in SCOPES}
    required = {"no-expiry": "warning, error if `require_expiry`", **unproven}
    exported = {False: "", True: ", error if exported"}
    by_policy = {
        "unnamed-deployment": "warning, error if `deployment`",
        "other-registry": "warning, error if `registries`",
        "other-astro": "warning, error if `cli_lock`",
    }
    expected = [
        *((code, "offline", required.get(code, one.level)) for code, one in OFFLINE.items()),
        *((code, "online", one.level) for code, one in ONLINE.items()),
        *(
            (code, "deploy", by_policy.get(code, one.level + exported[bool(one.exported)]))
            for code, one in DEPLOY.items()
        ),
    ]
    assert expected == documented
    assert len(expected) == len({code for code, _, _ in expected}), "a code means one thing"
    assert all(so and do for _, _, _, so, do in table)


def test_what_a_deploys_codes_mean_is_said_in_the_same_words_in_both_tables() -> None:
    here = {code: so for code, found, _, so, _ in rows("check.md", 5) if found == "deploy"}
    assert {code: so for code, _, _, so, _ in rows("check-deploy.md", 5)} == here


def test_every_member_is_documented() -> None:
    text = (ROOT / "docs" / "check.md").read_text().partition("\n## JSON\n")[2]
    named = set(re.findall(r"`([a-z_.]+)`", text))
    members = {name for one in objects(SCHEMA) for name in one["properties"]}
    assert set() == members - {part for name in named for part in name.split(".")}
