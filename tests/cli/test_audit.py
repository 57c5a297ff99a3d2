"""`audit`: the real program, a strict Astro API, and configured tokens in files and variables."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

import astro_token
from astro_token.lifecycle.effects import RotationRecord, Slot
from astro_token.lifecycle.record import encode_record
from astro_token.policy.codes import AUDIT, ONLINE
from astro_token.policy.rules import OFFLINE
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from tests.conftest import PROGRAM
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, WORKSPACE, AstroApi, Grant, role, token_record
from tests.servers.astro_requests import claims_of
from tests.servers.faults import refused_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Program, Result
    from tests.servers.openbao import OpenBao

    Write = Callable[[str, str], Path]

SCHEMA = json.loads((Path(astro_token.__file__).parent / "schemas" / "audit.json").read_text())
DOCUMENT = Draft202012Validator(SCHEMA)
ADMIN, PROD, STAGING = "cltokenadmin0000000001", "cltokenprod00000000001", "cltokenstaging00000001"
LEFT = f"deploy~{uuid.UUID(int=7)}"
FORMULA, MARKUP = '=HYPERLINK("x")', "<script>|`</td>"
FORMATS = ("table", "json", "csv", "markdown", "html")


def at(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def keep(api: AstroApi, ident: str, title: str, **fields: Any) -> None:
    """A token at Astro without any finding, but for the changes."""
    roles = [role("DEPLOYMENT_ADMIN", DEPLOYMENT, "DEPLOYMENT")]
    good = {
        "createdAt": at(-10),
        "lastUsedAt": at(-1),
        "endAt": at(60),
        "scope": "DEPLOYMENT",
        "roles": roles,
    }
    api.tokens[ident] = token_record(ident) | good | {"name": title} | fields


@pytest.fixture
def api(program: Program, astro_api: AstroApi, write: Write, canary: str) -> AstroApi:
    """An organization with a credential that lists tokens, and two configured ones."""
    owner = [role("ORGANIZATION_OWNER", ORGANIZATION, "ORGANIZATION")]
    admin = astro_api.issue(ws=None, grant=Grant(reads_tokens=True), token_id=ADMIN)
    prod, staging = astro_api.issue(token_id=PROD), astro_api.issue(token_id=STAGING)
    keep(astro_api, ADMIN, "auditor", scope="ORGANIZATION", roles=owner)
    keep(astro_api, PROD, f"deploy-prod~{uuid.uuid4()}")
    keep(astro_api, STAGING, "deploy-staging")
    program.canaries[:] = [admin, prod, staging]
    program.environ |= {
        "ASTRO_TOKEN_API_URL": astro_api.url,
        "ASTRO_TOKEN_ADMIN_REF": "env:ADMIN",
        "ADMIN": admin,
        "PROD": prod,
    }
    folder = program.folder / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "staging").write_text(staging)
    (folder / "staging").chmod(0o600)
    program.environ["ASTRO_TOKEN_FILE_FOLDERS"] = str(folder)
    write(
        "astro-token.toml",
        f'[tokens.prod]\nref = "env:PROD"\n[tokens.staging]\nref = "file:{folder}/staging"\n',
    )
    return astro_api


def fill(api: AstroApi) -> None:
    """Tokens with every finding, and titles that are dangerous somewhere."""
    keep(api, "cltk01", "never ends", endAt=None)
    keep(api, "cltk02", "dead", endAt=at(-2))
    keep(api, "cltk03", "soon", endAt=at(3))
    keep(api, "cltk04", FORMULA, createdAt=at(-300), lastUsedAt=at(-200))
    keep(api, "cltk05", MARKUP, kind="DIRECT_ACCESS")
    keep(
        api,
        "cltk06",
        "wide",
        scope="ORGANIZATION",
        roles=[role("ORGANIZATION_MEMBER", ORGANIZATION, "ORGANIZATION")],
    )
    keep(api, "cltk07", "owner", scope="WORKSPACE", roles=[role("WORKSPACE_OWNER", WORKSPACE, "WORKSPACE")])
    keep(
        api, "cltk08", "twin", createdBy={"id": "u", "subjectType": "SERVICEKEY", "apiTokenName": "terraform"}
    )
    keep(api, "cltk09", "twin ")
    keep(api, "cltk10", LEFT)
    keep(api, "cltk11", "##vso[task.complete]\u202ex")
    keep(api, "cltk12", "##vso[task.complete]")


def document(result: Result) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(result.stdout)
    DOCUMENT.validate(content)
    return content


def codes(content: dict[str, Any], part: str = "tokens", key: str = "id") -> dict[str, set[str]]:
    return {item[key]: {verdict["code"] for verdict in item["verdicts"]} for item in content[part]}


def test_every_finding(program: Program, api: AstroApi) -> None:
    fill(api)
    result = program("audit", "--format", "json")
    counts = "2 with an error, 10 with a warning, 3 without a finding\n"
    assert (0, f"astro-token: 15 tokens of {ORGANIZATION}: {counts}") == (result.code, result.stderr)
    content = document(result)
    assert {
        ADMIN: set(),
        PROD: set(),
        STAGING: set(),
        "cltk01": {"no-expiry", "unconfigured"},
        "cltk02": {"expired"},
        "cltk03": {"expires-soon", "unconfigured"},
        "cltk04": {"unused", "not-rotated", "unconfigured"},
        "cltk05": {"direct-access", "unconfigured"},
        "cltk06": {"organization-scope", "unconfigured"},
        "cltk07": {"role-too-wide", "unconfigured"},
        "cltk08": {"duplicate", "terraform", "unconfigured"},
        "cltk09": {"duplicate", "unconfigured"},
        "cltk10": {"leftover"},
        "cltk11": {"unconfigured"},
        "cltk12": {"unconfigured"},
    } == codes(content)
    tokens = by_id(result)
    assert ["prod"] == tokens[PROD]["configurations"]
    assert (["--admin"], []) == (tokens[ADMIN]["configurations"], tokens["cltk01"]["configurations"])
    assert (FORMULA, MARKUP, None) == tuple(
        tokens[ident]["title"] for ident in ("cltk04", "cltk05", "cltk11")
    )
    assert {"--admin": set(), "prod": set(), "staging": set()} == codes(content, "configurations", "name")
    assert {"tokens": 15, "error": 2, "warning": 10, "ok": 3} == {
        key: value for key, value in content["summary"].items() if key != "findings"
    }
    assert {"code": "unconfigured", "count": 10} in content["summary"]["findings"]
    assert "shortToken" not in result.stdout
    assert [
        "GET /v1/organizations/clorganization0000000001/tokens?limit=1000&offset=0&sorts=createdAt:asc"
    ] == (api.lines())


def test_strict_refuses_findings_and_nothing_else(program: Program, api: AstroApi) -> None:
    result = program("audit", "--strict", "--format", "json")
    assert (0, 0) == (result.code, sum(map(len, codes(document(result)).values())))
    keep(api, "cltk01", "never ends", endAt=None)
    result = program("audit", "--strict", "--format", "json")
    lines = result.stderr.splitlines()
    assert (65, {"no-expiry", "unconfigured"}) == (result.code, codes(document(result))["cltk01"])
    assert lines[-2:] == [
        "astro-token: error: --strict does not accept findings, and there are 2",
        "astro-token: hint: act on them, or omit --strict",
    ]


def test_policy_of_the_project_and_of_the_environment(program: Program, api: AstroApi) -> None:
    keep(api, PROD, "deploy-prod", endAt=at(40), createdAt=at(-35))
    environ = {"ASTRO_TOKEN_POLICY_WARN_VALIDITY": "50d", "ASTRO_TOKEN_POLICY_MAX_AGE": "30d"}
    assert {"expires-soon", "too-old"} == codes(document(program("audit", "--format", "json", env=environ)))[
        PROD
    ]
    # No request is sent with the configured tokens, and a project's identifiers do not matter here.
    environ = {"ASTRO_TOKEN_POLICY_ONLINE": "true", "ASTRO_TOKEN_POLICY_WORKSPACE": "clws9"}
    api.requests.clear()
    assert set() == codes(document(program("audit", "--format", "json", env=environ)))[PROD]
    assert 1 == len(api.requests)


def test_configured_tokens_that_astro_does_not_have_or_nobody_can_read(
    program: Program, api: AstroApi, write: Write
) -> None:
    keep(api, "cltk01", "other")
    del api.tokens[STAGING]
    foreign = make_token(organization="clorg9")
    expired = api.issue(token_id="cltokenexpired0000001", expires_in=-60)
    keep(api, "cltokenexpired0000001", "old", endAt=at(-1))
    program.canaries += [foreign, expired]
    project = program.work / "astro-token.toml"
    text = project.read_text()
    more = '[tokens.foreign]\nref = "env:FOREIGN"\n[tokens.expired]\nref = "env:EXPIRED"\n'
    write("astro-token.toml", text + more)
    environ = {"FOREIGN": foreign, "EXPIRED": expired}
    content = document(program("audit", "--format", "json", env=environ))
    expected = {
        "--admin": set(),
        "prod": set(),
        "staging": {"token-unknown"},
        "foreign": {"other-organization"},
        "expired": set(),
    }
    assert expected == codes(content, "configurations", "name")
    assert ({"unconfigured"}, {"expired"}) == (
        codes(content)["cltk01"],
        codes(content)["cltokenexpired0000001"],
    )
    # One that cannot be read may be the one without a configuration.
    write(
        "astro-token.toml",
        f'{text}{more}[tokens.gone]\nref = "env:GONE"\n[tokens.bad]\nref = "file:/etc/x"\n',
    )
    result = program("audit", "--format", "json", env=environ)
    content = document(result)
    assert expected | {"gone": {"not-compared"}, "bad": {"not-compared"}} == codes(
        content, "configurations", "name"
    )
    assert (0, set(), False) == (result.code, codes(content)["cltk01"], content["configurations_known"])
    assert "a configured token is not known" in result.stderr.splitlines()[-1]
    gone = next(item for item in content["configurations"] if item["name"] == "gone")
    assert ("env:GONE", "warning") == (gone["ref"], gone["status"])
    assert "env:GONE" not in gone["verdicts"][0]["message"]


def test_without_a_project_the_environment_may_name_a_token(program: Program, api: AstroApi) -> None:
    (program.work / "astro-token.toml").unlink()
    result = program("audit", "--format", "json")
    assert (set(), False) == (codes(document(result))[PROD], document(result)["configurations_known"])
    assert "no token is configured here" in result.stderr
    result = program("audit", "--format", "json", env={"ASTRO_TOKEN_REF": "env:PROD"})
    assert {ADMIN: set(), PROD: set(), STAGING: {"unconfigured"}} == codes(document(result))


def test_a_rotation_record_holds_two_more_tokens(program: Program, api: AstroApi) -> None:
    values = {ident: make_token(token_id=ident) for ident in ("cltokenprevious", "cltokenpending")}
    program.canaries += values.values()
    for ident, value in values.items():
        keep(api, ident, f"deploy-staging~{uuid.uuid4()}", createdAt=at(-3))
        keep(api, f"{ident}x", value[-20:])
    keep(api, STAGING, f"deploy-staging~{uuid.uuid4()}")
    before = codes(document(program("audit", "--format", "json")))
    assert [{"leftover"}, {"leftover"}, set()] == [before[ident] for ident in (*values, STAGING)]
    previous, pending = (Slot(ident, SecretValue(value.encode())) for ident, value in values.items())
    record = program.folder / "secrets" / "staging.rotation"
    record.write_bytes(encode_record(RotationRecord(previous=previous, pending=pending)).reveal())
    record.chmod(0o600)
    result = program("audit", "--format", "json", allowed=[record])
    tokens, found = by_id(result), codes(document(result))
    assert (0, [["staging"]] * 3) == (
        result.code,
        [tokens[ident]["configurations"] for ident in (*values, STAGING)],
    )
    assert [set(), set(), set()] == [found[ident] for ident in (*values, STAGING)]
    assert [None, None] == [tokens[f"{ident}x"]["title"] for ident in values]
    # One that is damaged may hold any token.
    record.write_text("{}")
    content = document(program("audit", "--format", "json"))
    assert {"not-compared"} == codes(content, "configurations", "name")["staging"]
    assert [{"duplicate"}, {"duplicate"}] == [codes(content)[ident] for ident in values]


@pytest.mark.parametrize("title", [f"rolling~{uuid.UUID(int=9)}", "made by hand"])
def test_the_tokens_of_a_real_rotation_are_held(
    program: Program, api: AstroApi, openbao: OpenBao, write: Write, title: str
) -> None:
    admin = api.issue(ws=None, grant=Grant(manages_tokens=True))
    api.tokens[claims_of(admin)["apiTokenId"]]["name"] = "admin"
    value = api.issue(deployment=DEPLOYMENT)
    program.canaries += [admin, value]
    keep(api, claims_of(value)["apiTokenId"], title)
    api.expel(PROD)  # the title of a rotation
    del api.tokens[PROD]
    openbao.api("POST", "secret/data/audited", {"data": {"token": value}})
    openbao.api("DELETE", "secret/metadata/audited-rotation")
    write(
        "astro-token.toml", f'[tokens.audited]\nref = "vault:secret/audited"\ndeployment = "{DEPLOYMENT}"\n'
    )
    program.environ |= {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token, "ADMIN": admin}
    assert 0 == program("rotate", "audited").code
    for name in api.tokens:
        api.tokens[name] |= {"createdAt": at(-3)}
    base = title.partition("~")[0]
    rotated = [name for name, record in api.tokens.items() if record["name"].partition("~")[0] == base]
    tokens = by_id(program("audit", "--format", "json"))
    assert (2, [["audited"]] * 2) == (len(rotated), [tokens[name]["configurations"] for name in rotated])
    codes_found = {code["code"] for name in rotated for code in tokens[name]["verdicts"]}
    assert codes_found.isdisjoint({"leftover", "duplicate", "unconfigured"})


def by_id(result: Result) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in document(result)["tokens"]}


# -- the credential ------------------------------------------------------------------------------------


def refusal(result: Result) -> tuple[int, str, str]:
    lines = result.stderr.splitlines()
    assert (["", 2], True) == ([result.stdout, len(lines)], lines[1].startswith("astro-token: hint: "))
    return result.code, lines[0].removeprefix("astro-token: error: "), lines[1]


def test_the_credential_is_named_by_the_argument_or_the_environment(program: Program, api: AstroApi) -> None:
    result = program("audit", "--admin", "env:ADMIN", env={"ASTRO_TOKEN_ADMIN_REF": "env:OTHER"})
    assert 0 == result.code
    for environ in (
        {"ASTRO_TOKEN_ADMIN_REF": ""},
        {"ASTRO_TOKEN_ADMIN_REF": "", "ASTRO_TOKEN_REF": "env:ADMIN"},
    ):
        code, message, hint = refusal(program("audit", env=environ))
        assert (77, "no credential is named that may list the tokens of an organization") == (code, message)
        assert "ASTRO_TOKEN_ADMIN_REF" in hint
    # A name of the project file is not a reference.
    assert 64 == refusal(program("audit", "--admin", "prod"))[0]
    result = program("audit", "--admin", api.issue(ws=None), allowed=["argv"])
    assert 64 == refusal(result)[0]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("denied", 77, "Astro does not allow the credential that manages tokens to list tokens"),
        ("revoked", 77, "Astro does not accept the credential that manages tokens"),
        ("expired", 65, "env:ADMIN: the credential that manages tokens expired at "),
        ("nothing", 66, "env:ADMIN: "),
        ("no organization", 65, "env:ADMIN: the token names no organization, so its tokens cannot be listed"),
        ("unreachable", 75, "Astro's API"),
    ],
)
def test_a_credential_that_cannot_list_tokens(
    program: Program, api: AstroApi, change: str, code: int, message: str
) -> None:
    if change == "denied":
        program.environ["ADMIN"] = api.issue(ws=None)
    elif change == "revoked":
        api.revoke(program.environ["ADMIN"])
    elif change == "expired":
        program.environ["ADMIN"] = api.issue(ws=None, expires_in=-60)
    elif change == "nothing":
        program.environ["ADMIN"] = ""
    elif change == "no organization":
        program.environ["ADMIN"] = make_token(organization=None)
    else:
        program.environ |= {
            "ASTRO_TOKEN_API_URL": f"http://127.0.0.1:{refused_port()}",
            "ASTRO_TOKEN_TIMEOUT": "1",
        }
    program.canaries.append(program.environ["ADMIN"] or program.canaries[0])
    result = refusal(program("audit"))
    assert (code, True) == (result[0], result[1].startswith(message)), result


# -- titles and formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_no_title_shows_a_piece_of_a_token(program: Program, api: AstroApi, form: str) -> None:
    hidden: list[str] = []
    for number, value in enumerate(program.canaries):
        for part in (value.split(".")[2][:60], value.split(".")[1][-20:], value[-12:], value[:60]):
            keep(api, f"cltk{number}{len(hidden)}", part, description=value, shortToken=value[-6:])
            hidden.append(part)
    result = program("audit", "--format", form)
    assert 0 == result.code
    assert [] == [part for part in hidden if part in result.stdout + result.stderr]
    assert all(f"cltk{number // 4}{number}" in result.stdout for number in range(len(hidden)))


def test_the_table(program: Program, api: AstroApi) -> None:
    fill(api)
    result = program("audit")
    tokens, configurations, findings = (part.splitlines() for part in result.stdout.split("\n\n"))
    assert ["TITLE", "ID", "SCOPE", "EXPIRES", "LAST", "USED", "HELD", "BY", "VERDICT"] == tokens[0].split()
    assert re.match(r"dead +cltk02 +deployment +\S+, 2 days ago .* error: expired$", tokens[1])
    assert re.match(r"deploy-staging .* staging +ok$", next(line for line in tokens if STAGING in line))
    assert ["--admin", "env:ADMIN", ADMIN, "ok"] == configurations[1].split()
    assert ["direct-access", "1"] == findings[1].split()[:2]
    assert "##" not in result.stdout
    narrow = program("audit", env={"COLUMNS": "60"})
    assert re.search(r"^ROLES +DEPLOYMENT_ADMIN of cldeployment00000000001$", narrow.stdout, re.MULTILINE)


def test_csv_has_a_line_for_each_token_and_no_formula(program: Program, api: AstroApi) -> None:
    fill(api)
    for number, title in enumerate(("+1", "-1", "@x", "\t=1", " =1", '"=1', "a,b\n=1", "\uff1d1", "a; =1")):
        keep(api, f"cltkx{number}", title)
    result = program("audit", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(api.tokens) == len(rows)
    assert [] == [cell for row in rows for cell in row.values() if re.match(r"\s*[=+\-@\t\r]", cell)]
    by_id = {row["id"]: row for row in rows}
    assert f"'{FORMULA}" == by_id["cltk04"]["title"]
    # Where the comma is the decimal point, a semicolon ends a cell.
    assert ("'+1", "'-1", "'@x", "", "' =1", '"=1', "", "'\uff1d1", "a;' =1") == tuple(
        by_id[f"cltkx{n}"]["title"] for n in range(9)
    )
    assert "unused not-rotated unconfigured" == by_id["cltk04"]["findings"]
    assert ("staging", "ok", "") == tuple(
        by_id[STAGING][key] for key in ("configurations", "status", "findings")
    )
    # The name of the credential's configuration begins with a dash.
    assert "'--admin" == by_id[ADMIN]["configurations"]
    assert "##" not in result.stdout


def test_markdown_goes_to_the_summary_of_the_job(program: Program, api: AstroApi, tmp_path: Path) -> None:
    fill(api)
    summary = tmp_path / "step_summary"
    summary.touch()
    environ = {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    result = program("audit", "--format", "markdown", env=environ)
    assert (0, f"\n\n{result.stdout}") == (result.code, summary.read_text())
    assert '| `=HYPERLINK("x")` | `cltk04` |' in result.stdout
    assert "| `<script>¦'</td>` | `cltk05` |" in result.stdout
    assert (False, False) == ("deploy-staging" in result.stdout, "##vso" in result.stdout)
    for number in range(250):
        keep(api, f"cltkm{number}", "more", endAt=None)
    result = program("audit", "--format", "markdown")
    assert "62 more tokens with findings are in the other formats." == result.stdout.splitlines()[-1]


@pytest.mark.parametrize("form", ["table", "html"])
def test_the_file_is_new_and_only_ours(program: Program, api: AstroApi, form: str) -> None:
    fill(api)
    printed = program("audit", "--format", form).stdout
    result = program("audit", "--format", form, "--output", "report")
    report = program.work / "report"
    assert (0, "", 0o600) == (result.code, result.stdout, stat.S_IMODE(report.stat().st_mode))
    assert result.stderr.startswith(f"astro-token: wrote {report}\n")
    lines = [text.splitlines() for text in (printed, report.read_text())]
    assert (len(lines[0]), lines[0][0]) == (len(lines[1]), lines[1][0])
    requests = len(api.requests)
    code, message, hint = refusal(program("audit", "--format", form, "--output", "report"))
    assert (73, "report exists", True) == (code, message, "--force" in hint)
    assert requests == len(api.requests)
    report.write_text("old")
    assert 0 == program("audit", "--format", form, "--output", "report", "--force").code
    assert "old" != report.read_text()
    report.unlink()
    report.symlink_to("elsewhere")
    assert 73 == refusal(program("audit", "--format", form, "--output", "report", "--force"))[0]
    assert 64 == refusal(program("audit", "--output", ""))[0]


def test_the_schema_leaves_nothing_open() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    parts = [SCHEMA, *SCHEMA["$defs"].values()]
    assert [] == [
        part
        for part in parts
        if part["additionalProperties"] or set(part["required"]) != set(part["properties"])
    ]
    for part in ("verdict", "kind"):
        assert [*OFFLINE, *ONLINE, *AUDIT] == SCHEMA["$defs"][part]["properties"]["code"]["enum"]


def test_the_schema_notices_another_document(program: Program, api: AstroApi) -> None:
    fill(api)
    text = program("audit", "--format", "json").stdout
    for part, change in (
        ("tokens", {"shortToken": "x"}),
        ("tokens", {"title": ""}),
        ("tokens", {"expires": "tomorrow"}),
        ("tokens", {"status": "failed"}),
        ("configurations", {"value": "x"}),
    ):
        content = json.loads(text)
        content[part][0] |= change
        with pytest.raises(ValidationError):
            DOCUMENT.validate(content)


# -- scale ---------------------------------------------------------------------------------------------


# A process starts with the largest size of the one that starts it, and pytest is large.
MEASURE = """
import resource, subprocess, sys
with open(sys.argv[1], "wb") as output:
    code = subprocess.run(sys.argv[2:], stdout=output, stderr=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def measure(program: Program, form: str) -> tuple[int, float, float]:
    """The exit status, seconds and MiB of an audit."""
    began = time.monotonic()
    report = str(program.work / f"report.{form}")
    command = [sys.executable, "-ISc", MEASURE, report, str(PROGRAM), "audit", "--format", form]
    done = subprocess.run(command, env=program.environment(), capture_output=True, text=True, check=True)
    code, size = map(int, done.stdout.split())
    return code, time.monotonic() - began, size / 1024


@pytest.mark.parametrize(
    ("count", "forms"), [(200, FORMATS[1:2]), pytest.param(10_000, FORMATS, marks=pytest.mark.long)]
)
def test_an_audit_of_many_tokens_is_small(
    program: Program, api: AstroApi, monkeypatch: pytest.MonkeyPatch, count: int, forms: tuple[str, ...]
) -> None:
    monkeypatch.chdir(program.work)
    for number in range(count):
        keep(
            api, f"cltkmany{number:07d}", f"job {number}", endAt=at(number % 400), createdAt=at(-number % 200)
        )
    for form in forms:
        api.requests.clear()
        code, seconds, memory = measure(program, form)
        print(f"{form}: {count} tokens, {len(api.requests)} requests, {seconds:.1f} s, {memory:.0f} MiB")
        assert (0, True) == (code, len(api.requests) <= max(1, count // 100))
        assert (True, True) == (seconds < 10, memory < 200)
