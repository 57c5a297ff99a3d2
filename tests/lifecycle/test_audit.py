"""The findings of an audit, one by one, without a server."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from astro_token.astro_api.records import ListedToken, Pieces, Role, TokenRecord
from astro_token.errors import SecretNotFoundError
from astro_token.lifecycle.audit import Audit, Configuration, audit, shown_title
from astro_token.lifecycle.terraform import Terraform, read_terraform
from astro_token.lifecycle.title import title_base
from astro_token.policy.codes import AUDIT
from astro_token.policy.rules import CODES, Policy
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from tests.rows import each_row

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ORGANIZATION = "clorg1"
AUTHOR = Role("WORKSPACE_AUTHOR", "workspace", "clws1")
OWNER = Role("WORKSPACE_OWNER", "workspace", "clws1")
ORG_OWNER = Role("ORGANIZATION_OWNER", "organization", ORGANIZATION)
ORG_MEMBER = Role("ORGANIZATION_MEMBER", "organization", ORGANIZATION)
UNIQUE = str(uuid.UUID(int=7))
NOTHING = Pieces([])


def days(count: float) -> datetime:
    return NOW + timedelta(days=count)


def token(ident: str = "t1", title: str = "deploy", *, description: str = "", **fields: Any) -> ListedToken:
    """A token without any finding, but for the changes."""
    good = {
        "scope": "workspace",
        "kind": "standard",
        "roles": (AUTHOR,),
        "created": days(-10),
        "last_used": days(-1),
        "expires": days(60),
    }
    return ListedToken(ident, title, TokenRecord(**{**good, **fields}), description)


def test_terraforms_files_are_read_in_bounded_time(tmp_path: Path) -> None:
    text = 'resource "astro_api_token" "ci" {\n' + "\n" * 60_000 + "name" + " " * 60_000
    (tmp_path / "main.tf").write_text(text + '\n}\nresource "astro_api_token"' + "\n" * 60_000)
    for number in range(9):
        (tmp_path / f"{number}.tfstate").write_bytes(b"#" * 8 * 1024 * 1024)
    start = time.process_time()
    assert Terraform() == read_terraform(tmp_path)
    assert time.process_time() - start < 2


def test_terraforms_files_are_evidence(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "infra").mkdir()
    (tmp_path / ".hidden").mkdir()
    resource = 'resource "astro_api_token" "ci" {{\n  description = "x"\n  name        = "{}"\n}}\n'
    other = 'resource "astro_team" "ci" {\n  name = "team"\n}\n'
    text = other + resource.format("deploy") + other + resource.format("${var.name}-x")
    (tmp_path / "infra" / "main.tf").write_text(text)
    (tmp_path / ".hidden" / "main.tf").write_text(resource.format("hidden"))
    attributes = {"id": "t9", "name": "in state", "token": make_token()}
    resources = [
        {"mode": "managed", "type": "astro_api_token", "instances": [{"attributes": attributes}, 7]},
        {"mode": "managed", "type": "astro_team", "instances": [{"attributes": {"name": "team"}}]},
        {"mode": "data", "type": "astro_api_token", "instances": [{"attributes": {"name": "data"}}]},
        None,
    ]
    (tmp_path / "terraform.tfstate").write_text(json.dumps({"resources": resources}))
    (tmp_path / "broken.tfstate").write_text("[" * 100_000)
    (tmp_path / "large.tf").write_text(resource.format("large") + "#" * 1024 * 1024)
    (tmp_path / "link.tf").symlink_to(tmp_path / ".hidden" / "main.tf")
    terraform = read_terraform(tmp_path / "infra")
    assert Terraform(frozenset({"deploy", "in state"}), frozenset({"t9"})) == terraform

    tokens = [token("t1"), token("t2", "other"), token("t9", "renamed")]
    outcome = audit(
        ORGANIZATION,
        tokens,
        held("t1", "t2", "t9"),
        policy=Policy(),
        now=NOW,
        pieces=NOTHING,
        terraform=terraform,
    )
    reported = {
        each.id for each in outcome.tokens for verdict in each.verdicts if verdict.code == "terraform"
    }
    assert {"t1", "t9"} == reported


def held(*idents: str | None, **fields: Any) -> list[Configuration]:
    return [Configuration(f"c-{ident}", f"env:{ident}", ident, ORGANIZATION, **fields) for ident in idents]


def run(
    tokens: list[ListedToken], configurations: list[Configuration], policy: Policy | None = None
) -> Audit:
    return audit(ORGANIZATION, tokens, configurations, policy=policy or Policy(), now=NOW, pieces=NOTHING)


def codes(
    tokens: list[ListedToken], configurations: list[Configuration], **policy: Any
) -> dict[str, set[str]]:
    outcome = run(tokens, configurations, Policy(**policy))
    return {item.id: {verdict.code for verdict in item.verdicts} for item in outcome.tokens}


def codes_of(policy: dict[str, Any] | None = None, **fields: Any) -> set[str]:
    """The codes of a configured token."""
    return codes([token(**fields)], held("t1"), **(policy or {}))["t1"]


@each_row(
    ("fields", "policy", "expected"),
    [
        ({}, {}, set()),
        # expiry
        ({"expires": None}, {}, {"no-expiry"}),
        ({"expires": days(13)}, {}, {"expires-soon"}),
        ({"expires": days(15)}, {}, set()),
        ({"expires": days(15)}, {"warn_validity": timedelta(days=20)}, {"expires-soon"}),
        ({"expires": days(13)}, {"warn_validity": timedelta(days=10)}, set()),
        ({"expires": days(1)}, {"min_validity": timedelta(days=2)}, {"expires-too-soon"}),
        # an expired token can do nothing
        ({"expires": days(-1), "last_used": None, "roles": (OWNER,), "title": "terraform"}, {}, {"expired"}),
        # age
        ({"created": days(-91)}, {}, {"not-rotated"}),
        ({"created": days(-89)}, {}, set()),
        ({"created": days(-400), "rotated": days(-91)}, {}, {"not-rotated"}),
        ({"created": days(-400), "rotated": days(-89)}, {}, set()),
        ({"created": days(-31)}, {"max_age": timedelta(days=30)}, {"too-old"}),
        ({"created": days(-100)}, {"max_age": timedelta(days=120)}, set()),
        # use
        ({"last_used": days(-91), "created": days(-100), "rotated": days(-1)}, {}, {"unused"}),
        ({"last_used": days(-89), "created": days(-100), "rotated": days(-1)}, {}, set()),
        ({"last_used": None, "created": days(-8)}, {}, {"unused"}),
        ({"last_used": None, "created": days(-6)}, {}, set()),
        # width
        ({"scope": "organization", "roles": (ORG_MEMBER,)}, {}, {"organization-scope"}),
        ({"scope": "organization", "roles": (ORG_MEMBER,)}, {"max_scope": "organization"}, set()),
        ({"scope": "organization", "roles": (ORG_MEMBER,)}, {"max_scope": "workspace"}, {"scope-too-wide"}),
        ({"scope": "organization", "roles": (ORG_OWNER,)}, {}, {"organization-scope", "role-too-wide"}),
        ({"scope": None}, {"max_scope": "workspace"}, {"scope-too-wide"}),
        ({"roles": (OWNER,)}, {}, {"role-too-wide"}),
        ({}, {"max_scope": "deployment"}, {"scope-too-wide", "role-too-wide"}),
        ({"kind": "direct-access"}, {}, {"direct-access"}),
        # origin
        ({"title": "Terraform-CI"}, {}, {"terraform"}),
        ({"description": "managed by terraform"}, {}, {"terraform"}),
        # identifiers that one project must use are not those of the organization
        ({}, {"organization": "other", "workspace": "clws9", "deployment": "cldep9"}, set()),
    ],
)
def test_each_rule(fields: dict[str, Any], policy: dict[str, Any], expected: set[str]) -> None:
    assert expected == codes_of(policy, **fields)


def test_levels_are_those_of_the_table_and_of_policy() -> None:
    (found,) = run([token(expires=None)], held("t1"), Policy(require_expiry=True)).tokens
    assert [("no-expiry", "error")] == [(verdict.code, verdict.level) for verdict in found.verdicts]
    (found,) = run([token(expires=None, created=days(-99))], held("t1")).tokens
    assert {("no-expiry", "warning"), ("not-rotated", AUDIT["not-rotated"].level)} == {
        (verdict.code, verdict.level) for verdict in found.verdicts
    }
    assert all(verdict.hint and "`" not in verdict.hint for verdict in found.verdicts)


def test_a_token_that_no_configuration_holds() -> None:
    tokens = [token("t1"), token("t2", "other")]
    assert {"t1": set(), "t2": {"unconfigured"}} == codes(tokens, held("t1"))
    # Nothing is configured here, or one is not known: then it may be the one.
    error = SecretNotFoundError("gone", hint="x")
    for configurations in ([], held("t1", None), [*held("t1"), Configuration("c", "env:x", error=error)]):
        assert {"t1": set(), "t2": set()} == codes(tokens, configurations)
        assert not run(tokens, configurations).is_complete
    # A record that cannot be read may hold others.
    assert {"t1": set(), "t2": set()} == codes(tokens, held("t1", error=error))


def test_a_leftover_of_an_interrupted_rotation() -> None:
    left = f"deploy~{UNIQUE}"
    for title, age, expected in (
        (left, 1.1, {"leftover"}),
        (left, 0.9, {"unconfigured"}),
        (f"{left}x", 1.1, {"unconfigured"}),
        ("deploy~2", 1.1, {"unconfigured"}),
    ):
        tokens = [token("t1", "prod"), token("t2", title, created=days(-age))]
        assert expected == codes(tokens, held("t1"))["t2"], title
    # A rotation that goes on holds two more.
    tokens = [token("t1", f"deploy~{uuid.uuid4()}"), token("t2", left), token("t3", f"deploy~{uuid.uuid4()}")]
    assert {"t1": set(), "t2": set(), "t3": set()} == codes(
        tokens, held("t1", rotating=frozenset({"t2", "t3"}))
    )
    # Without its record it is a leftover, and not a duplicate of the current one.
    assert {"t1": set(), "t2": {"leftover"}, "t3": {"leftover"}} == codes(tokens, held("t1"))


def test_duplicates() -> None:
    same = [token("t1", f"Deploy~{UNIQUE}"), token("t2", "deploy ")]
    assert {"t1": {"duplicate"}, "t2": {"duplicate"}} == codes(same, held("t1", "t2"))
    for other in (
        token("t2", "deploy-2"),
        token("t2", scope="deployment"),
        token("t2", kind="other"),
        token("t2", roles=(AUTHOR, Role("DAG_AUTHOR", "dag", None))),
    ):
        assert "duplicate" not in codes([token("t1"), other], held("t1", "t2"))["t2"]
    roles = (AUTHOR, Role("DAG_AUTHOR", "dag", None))
    assert {"duplicate"} == codes(
        [token("t1", roles=roles), token("t2", roles=roles[::-1])], held("t1", "t2")
    )["t2"]


def test_the_credential_of_the_audit_needs_its_role_and_must_expire() -> None:
    wide = token(scope="organization", roles=(ORG_OWNER,), expires=None)
    admin = Configuration("--admin", "env:A", "t1", ORGANIZATION, is_admin=True)
    for policy in ({}, {"max_scope": "workspace"}):
        assert {"t1": {"no-expiry"}} == codes([wide], [admin], **policy)
    assert not run([wide], [admin]).is_complete  # it is not a configuration of a project


@each_row(
    ("configuration", "expected"),
    [
        (Configuration("c", "env:X", "t1", ORGANIZATION), set()),
        (Configuration("c", "env:X", "t1"), set()),
        (Configuration("c", "env:X", "t9", ORGANIZATION), {"token-unknown"}),
        (Configuration("c", "env:X", "t9", "clorg2"), {"other-organization"}),
        (Configuration("c", "env:X"), {"not-compared"}),
        (Configuration("c", None, error=SecretNotFoundError("gone", hint="x")), {"not-compared"}),
        (
            Configuration("c", "env:X", "t9", error=SecretNotFoundError("gone", hint="x")),
            {"not-compared", "token-unknown"},
        ),
    ],
)
def test_configured_tokens(configuration: Configuration, expected: set[str]) -> None:
    (outcome,) = run([token()], [configuration]).configurations
    assert expected == {verdict.code for verdict in outcome.verdicts}


def test_the_worst_come_first() -> None:
    tokens = [
        token("fine"),
        token("never", "a", expires=None),
        token("soon", "b", expires=days(2)),
        token("dead", "c", expires=days(-3)),
        token("wide", "d", scope="organization", roles=(ORG_MEMBER,)),
    ]
    outcome = run(tokens, [], Policy(max_scope="workspace"))
    assert ["dead", "wide", "soon", "never", "fine"] == [item.id for item in outcome.tokens]
    assert ("error", {"error": 2, "warning": 2, "ok": 1}) == (outcome.status, dict(outcome.statuses))
    assert {"expired": 1, "scope-too-wide": 1, "expires-soon": 1, "no-expiry": 1} == dict(outcome.codes)
    assert set(outcome.codes) <= CODES.keys()
    assert "ok" == run([], []).status


# -- titles ------------------------------------------------------------------------------------------


@each_row("title", ["deploy", "Zürich, nightly", "日本語", "a" * 64, f"{'a' * 64}~{UNIQUE}"])
def test_a_title_is_shown(title: str) -> None:
    assert title == shown_title(title, NOTHING)


@each_row(
    "title",
    [
        "",
        " ",
        "a" * 65,
        f"{'a' * 65}~{UNIQUE}",
        "two\nlines",
        "bell\x07",
        "\u202etxt.exe",
        "a\u200bb",
        "\ud800",
    ],
)
def test_a_title_that_could_deceive_is_not(title: str) -> None:
    assert shown_title(title, NOTHING) is None


def test_a_title_with_a_piece_of_a_token_is_not_shown(canary: str) -> None:
    other = make_token()
    pieces = Pieces([SecretValue(canary.encode()), SecretValue(other.encode())])
    for value in (canary, other):
        for start in range(0, len(value) - 30, 17):
            for length in (8, 30):
                assert shown_title(f"my {value[start : start + length]}", pieces) is None
    assert shown_title(make_token()[:60], NOTHING) is None  # looks like a token
    assert "deploy-etl" == shown_title("deploy-etl", pieces)


def test_the_base_of_a_title() -> None:
    assert "deploy" == title_base(f"deploy~{UNIQUE}")
    assert "a~b" == title_base(f"a~b~{UNIQUE}")
    for title in ("deploy", "deploy~", f"deploy~{UNIQUE}0", f"deploy-{UNIQUE}"):
        assert title == title_base(title)
