"""What Astro says of a token, joined with its own claims: each verdict, and how often Astro is asked."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import astro_token
from astro_token.astro_api import AstroApi
from astro_token.astro_api.records import Role
from astro_token.errors import BackendUnavailableError, IntegrityError, InvalidTokenError, PolicyError
from astro_token.policy.rules import Expectations, Policy, enforce, judge
from astro_token.record import replace
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.token import AstroToken
from astro_token.tokens.online import Online, consult
from astro_token.tokens.read_many import verify_all
from astro_token.tokens.roles import too_wide
from astro_token.transport.deadline import Deadline
from tests.rows import each_row
from tests.servers.astro_api import (
    DEPLOYMENT,
    ORGANIZATION,
    OTHER_DEPLOYMENT,
    OTHER_WORKSPACE,
    WORKSPACE,
    Grant,
    organization,
    role,
    token_record,
)
from tests.servers.http1 import Answer
from tests.timing import within

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.astro_api import AstroApi as Server

ORGANIZATIONS = "GET /v1/organizations?limit=100&offset=0"
ORG = f"GET /v1/organizations/{ORGANIZATION}"
OWNER = Grant(reads_tokens=True)
IDENT = "cltk00000000000000000"


def asked(
    server: Server,
    text: str,
    expected: Expectations | None = None,
    policy: Policy | None = None,
    *,
    seconds: float = 5,
) -> Online:
    token = AstroToken.parse(SecretValue(text.encode()))
    settings = TokenSettings(
        SecretRef("env", "X"), expected=expected or Expectations(), policy=policy or Policy()
    )
    offline = judge(token, settings.policy, settings.expected)
    with AstroApi({"ASTRO_TOKEN_API_URL": server.url}) as api:
        online = consult(token, offline, settings, api, Deadline(seconds))
    assert len(online.requests) <= 3
    return online


def codes(online: Online) -> list[str]:
    assert online.error is None
    return [verdict.code for verdict in online.verdicts]


def to_workspace(name: str = WORKSPACE, **more: Any) -> Expectations:
    return Expectations(workspace=name, **more)


def to_deployment(name: str = DEPLOYMENT, **more: Any) -> Expectations:
    return Expectations(deployment=name, **more)


# -- how often ----------------------------------------------------------------------------------------


def test_a_token_of_a_workspace_is_asked_about_with_three_requests(astro_api: Server) -> None:
    token = astro_api.issue(token_id=IDENT)
    online = asked(astro_api, token)
    assert ([], True) == (codes(online), online.accepted)
    assert [ORGANIZATIONS, f"{ORG}/tokens/{IDENT}", f"{ORG}/workspaces/{WORKSPACE}"] == astro_api.lines()
    assert [("organizations", 200), ("token", 403), ("workspace", 200)] == [
        (one.kind, one.status) for one in online.requests
    ]
    assert astro_api.request_ids == [one.request_id for one in online.requests]


def test_a_deployment_is_asked_for_in_the_place_of_its_workspace(astro_api: Server) -> None:
    token = astro_api.issue(deployment=DEPLOYMENT, apiTokenId=None)
    expected = Expectations(ORGANIZATION, WORKSPACE, DEPLOYMENT)
    online = asked(astro_api, token, expected)
    assert ([], WORKSPACE) == (codes(online), online.workspace_id)
    assert [ORGANIZATIONS, f"{ORG}/deployments/{DEPLOYMENT}"] == astro_api.lines()


def test_a_token_of_an_organization_without_expectations_takes_two(astro_api: Server) -> None:
    online = asked(astro_api, astro_api.issue(ws=None))
    assert ([], ORGANIZATION, None) == (
        codes(online),
        online.organization and online.organization.id,
        online.workspace_id,
    )
    assert 2 == len(astro_api.requests)


def test_one_connection_serves_all_questions_and_each_has_the_token(astro_api: Server) -> None:
    token = astro_api.issue()
    asked(astro_api, token)
    assert {token} == {request.bearer for request in astro_api.requests}


# -- accepted or not ----------------------------------------------------------------------------------


def test_a_revoked_token_is_found_with_one_request(astro_api: Server) -> None:
    token = astro_api.issue()
    astro_api.revoke(token)
    online = asked(astro_api, token)
    assert (["revoked"], False, 1) == (codes(online), online.accepted, len(astro_api.requests))
    assert f"request {astro_api.request_ids[0]}" in online.verdicts[0].hint
    with pytest.raises(InvalidTokenError):
        enforce(online.verdicts)


@pytest.mark.parametrize("answered", [1, 2])
def test_a_token_that_is_revoked_between_two_questions_is_revoked(astro_api: Server, answered: int) -> None:
    token = astro_api.issue()
    refusal = Answer(401, b"Jwt verification fails", content_type="text/plain")
    astro_api.faults += [*[None] * answered, refusal]
    online = asked(astro_api, token)
    assert (["revoked"], False) == (codes(online), online.accepted)
    assert answered + 1 == len(astro_api.requests)


def test_an_expired_token_is_expired_and_not_revoked_too(astro_api: Server) -> None:
    online = asked(astro_api, astro_api.issue(expires_in=-5))
    assert (["expired"], False, 1) == (codes(online), online.accepted, len(astro_api.requests))


def test_a_token_that_only_our_clock_calls_expired_is_told_from_one_that_is(
    astro_api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This clock an hour late in relation to Astro's cannot be had, so Astro's goes an hour early.
    astro_api.ahead = -7200
    token = astro_api.issue(expires_in=60)
    text = AstroToken.parse(SecretValue(token.encode()))
    settings = TokenSettings(SecretRef("env", "X"))
    offline = judge(text, Policy(), Expectations(), now=datetime.now(UTC) + timedelta(hours=2))
    with AstroApi({"ASTRO_TOKEN_API_URL": astro_api.url}) as api:
        online = consult(text, offline, settings, api, Deadline(5))
    assert (["expired", "clock-skew"], True) == (codes(online), online.accepted)
    assert 1 == len(astro_api.requests)


@pytest.mark.parametrize(
    ("expires_in", "policy", "found"),
    [
        (3600, Policy(), ["expired", "clock-skew"]),
        (3600, Policy(min_validity=timedelta(hours=3)), ["expired", "clock-skew"]),
        (7300, Policy(min_validity=timedelta(hours=1)), ["expires-too-soon", "clock-skew"]),
        (7300, Policy(warn_validity=timedelta(days=1)), ["expires-soon", "clock-skew"]),
        (
            7300,
            Policy(min_validity=timedelta(hours=1), warn_validity=timedelta(days=1)),
            ["expires-too-soon", "clock-skew"],
        ),
        (7300, Policy(min_validity=timedelta(hours=3)), ["expires-too-soon", "clock-skew"]),
        (7300, Policy(), ["clock-skew"]),
        (7190, Policy(), ["clock-skew"]),
    ],
)
def test_a_clock_that_is_behind_hides_no_expiry(
    astro_api: Server, expires_in: float, policy: Policy, found: list[str]
) -> None:
    astro_api.ahead = 7200
    token = astro_api.issue(expires_in=expires_in)
    if expires_in == 3600:
        astro_api.revoke(token)
    assert found == codes(asked(astro_api, token, policy=policy))


def test_a_revoked_token_is_revoked_whatever_the_clock(astro_api: Server) -> None:
    astro_api.ahead = 7200
    token = astro_api.issue(expires_in=86400)
    astro_api.revoke(token)
    assert ["revoked", "clock-skew"] == codes(asked(astro_api, token))


@pytest.mark.parametrize("status", [400, 404])
def test_what_knows_no_organizations_is_not_astro_and_accepts_nothing(astro_api: Server, status: int) -> None:
    content = {"message": "no such route", "requestId": "r1", "statusCode": status}
    astro_api.faults = [Answer.json(content, status)]
    online = asked(astro_api, astro_api.issue(ws=None), to_deployment())
    assert (IntegrityError, None, 1) == (type(online.error), online.accepted, len(astro_api.requests))
    assert f"request {astro_api.request_ids[0]}" in str(online.error and online.error.hint)


def test_a_token_that_may_do_nothing_is_forbidden(astro_api: Server) -> None:
    astro_api.blocked = True
    online = asked(astro_api, astro_api.issue(), to_deployment())
    assert (["forbidden"], None) == (codes(online), online.accepted)
    assert f"request {astro_api.request_ids[-1]}" in online.verdicts[0].hint
    with pytest.raises(PolicyError, match="refuses every request"):
        enforce(online.verdicts)


def test_a_token_that_may_not_list_organizations_is_accepted_by_what_it_may(astro_api: Server) -> None:
    token = make_token(organization=None, workspace=WORKSPACE)
    grant = Grant(workspaces=frozenset({WORKSPACE}), lists_organizations=False)
    online = asked(
        astro_api, astro_api.accept(token, grant), Expectations(ORGANIZATION, WORKSPACE, DEPLOYMENT)
    )
    assert ([], True) == (codes(online), online.accepted)


# -- how old ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"createdAt": "2020-01-02T03:04:05Z"}, ["too-old"]),
        ({"createdAt": "2020-01-02T03:04:05Z", "lastRotatedAt": "RECENT"}, []),
        ({"createdAt": "RECENT", "lastRotatedAt": "2020-01-02T03:04:05Z"}, []),
        ({"createdAt": "2020-01-02T03:04:05Z", "lastRotatedAt": "2021-01-02T03:04:05Z"}, ["too-old"]),
        ({"createdAt": None, "lastRotatedAt": None}, []),
    ],
)
def test_astros_later_word_on_creation_and_rotation_is_the_age(
    astro_api: Server, record: dict[str, str | None], found: list[str]
) -> None:
    recent = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    dates = {name: recent if text == "RECENT" else text for name, text in record.items()}
    token = astro_api.issue(token_id=IDENT, grant=Grant(reads_tokens=True))
    astro_api.tokens[IDENT] = token_record(
        IDENT, "WORKSPACE", role("WORKSPACE_AUTHOR", WORKSPACE, "WORKSPACE"), **dates
    )
    assert found == codes(asked(astro_api, token, policy=Policy(max_age=timedelta(days=90))))


def test_a_token_that_may_not_read_itself_is_as_old_as_it_says(astro_api: Server) -> None:
    policy = Policy(max_age=timedelta(days=90))
    assert ["too-old"] == codes(asked(astro_api, astro_api.issue(issued_ago=91 * 86400), policy=policy))
    assert ["age-unproven"] == codes(asked(astro_api, astro_api.issue(iat=None), policy=policy))


# -- what it is for -----------------------------------------------------------------------------------


def test_an_organization_that_is_not_shown_is_missing_and_the_last_question(astro_api: Server) -> None:
    another = {"organizations": [organization("clorganization0000000009")], "totalCount": 1}
    astro_api.faults = [Answer.json(another)]
    online = asked(astro_api, astro_api.issue())
    assert (["organization-missing"], 1) == (codes(online), len(astro_api.requests))
    assert ORGANIZATION in online.verdicts[0].message


def test_no_organization_at_all_is_said_to_break_the_cli(astro_api: Server) -> None:
    astro_api.organizations = []
    online = asked(astro_api, astro_api.issue())
    assert ["organization-missing"] == codes(online)
    assert "no organization to the token: the Astro CLI crashes" in online.verdicts[0].message


def test_organizations_on_further_pages_are_not_missed(astro_api: Server) -> None:
    page = {"organizations": [organization("clorg1")], "limit": 100, "offset": 0, "totalCount": 101}
    astro_api.faults = [Answer.json(page)]
    online = asked(astro_api, astro_api.issue())
    assert ([], None, 3) == (codes(online), online.organization, len(astro_api.requests))


def test_an_organization_without_a_product_is_warned_of(astro_api: Server) -> None:
    astro_api.organizations = [organization(product=None)]
    online = asked(astro_api, astro_api.issue())
    assert ["organization-unready"] == codes(online)
    enforce(online.verdicts)


@pytest.mark.parametrize(
    ("expected", "grant", "found"),
    [
        (to_workspace(), Grant(), []),
        (to_workspace("clgone"), Grant(), ["workspace-missing"]),
        (to_workspace(OTHER_WORKSPACE), Grant(workspaces=frozenset({WORKSPACE})), ["workspace-forbidden"]),
        (to_deployment(), Grant(), []),
        (to_deployment("clgone"), Grant(), ["deployment-missing"]),
        (to_deployment(OTHER_DEPLOYMENT), Grant(workspaces=frozenset({WORKSPACE})), ["deployment-forbidden"]),
        (to_deployment(workspace=WORKSPACE), Grant(), []),
        (to_deployment(workspace=OTHER_WORKSPACE), Grant(), ["deployment-elsewhere"]),
    ],
)
def test_what_a_token_of_an_organization_sees_decides(
    astro_api: Server, expected: Expectations, grant: Grant, found: list[str]
) -> None:
    online = asked(astro_api, astro_api.issue(ws=None, grant=grant), expected)
    # What was only unproven by the claims is settled where Astro shows it.
    assert found == [code for code in codes(online) if not code.endswith("-unproven")]
    assert (found == []) is (online.verdicts == ())


@pytest.mark.parametrize(
    ("ws", "found"),
    [
        (None, ["deployment-elsewhere", "workspace-unproven"]),
        (WORKSPACE, ["wrong-workspace", "deployment-elsewhere"]),
    ],
)
def test_the_workspace_of_the_project_is_compared_whatever_the_claims_say(
    astro_api: Server, ws: str | None, found: list[str]
) -> None:
    expected = to_deployment(workspace=OTHER_WORKSPACE)
    assert found == codes(asked(astro_api, astro_api.issue(ws=ws, grant=Grant()), expected))


def test_a_workspace_that_the_token_is_for_and_may_not_look_at_is_unverified(astro_api: Server) -> None:
    grant = Grant(workspaces=frozenset())
    online = asked(astro_api, astro_api.issue(grant=grant))
    assert ["unverified"] == codes(online)
    enforce(online.verdicts)


def test_a_token_that_is_not_known_by_its_id_is_warned_of(astro_api: Server) -> None:
    token = astro_api.issue(grant=OWNER, token_id=IDENT)
    del astro_api.tokens[IDENT]
    online = asked(astro_api, token)
    assert ["token-missing"] == codes(online)
    assert IDENT in online.verdicts[0].message


def test_an_identifier_that_astro_finds_malformed_is_missing(astro_api: Server) -> None:
    astro_api.faults = [
        None,
        None,
        Answer.json({"message": "bad", "requestId": "r", "statusCode": 400}, 400),
    ]
    # And nothing is said of a deployment that the token does not prove: there is none to prove.
    assert ["deployment-missing"] == codes(asked(astro_api, astro_api.issue(), to_deployment()))


# -- what it may --------------------------------------------------------------------------------------


def test_the_scope_is_astros_and_not_the_claims(astro_api: Server) -> None:
    """A token that names its workspace only can be one of a deployment, and one of an organization."""
    token = astro_api.issue(grant=OWNER, token_id=IDENT)
    allowed = Policy(max_scope="deployment")
    assert ["scope-too-wide"] == codes(asked(astro_api, token, policy=allowed))
    astro_api.tokens[IDENT]["scope"] = "DEPLOYMENT"
    online = asked(astro_api, token, policy=allowed)
    assert ([], "deployment") == (codes(online), online.token.scope)
    astro_api.tokens[IDENT]["scope"] = "ORGANIZATION"
    assert ["scope-too-wide"] == codes(asked(astro_api, token, policy=Policy(max_scope="workspace")))
    astro_api.tokens[IDENT]["scope"] = "GALAXY"
    assert "workspace" == asked(astro_api, token).token.scope


def test_the_expiry_is_the_earlier_of_both(astro_api: Server) -> None:
    soon = (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds").replace("+00:00", "Z")
    policy = Policy(warn_validity=timedelta(days=7), require_expiry=True)
    token = astro_api.issue(grant=OWNER, token_id=IDENT, expires_in=86400 * 30)
    assert [] == codes(asked(astro_api, token, policy=policy))
    astro_api.tokens[IDENT]["endAt"] = soon
    assert ["expires-soon"] == codes(asked(astro_api, token, policy=policy))
    eternal = astro_api.issue(grant=OWNER, token_id="cltk9", expires_in=None)
    assert ["no-expiry"] == codes(asked(astro_api, eternal, policy=policy))
    astro_api.tokens["cltk9"]["endAt"] = soon
    assert ["expires-soon"] == codes(asked(astro_api, eternal, policy=policy))


WS_OWNER = Role("WORKSPACE_OWNER", "workspace", "ws1")
WS_AUTHOR = Role("WORKSPACE_AUTHOR", "workspace", "ws1")
WS_OPERATOR = Role("WORKSPACE_OPERATOR", "workspace", "ws1")
DEP_ADMIN = Role("DEPLOYMENT_ADMIN", "deployment", "dep1")
ORG_MEMBER = Role("ORGANIZATION_MEMBER", "organization", "org1")
ORG_OWNER = Role("ORGANIZATION_OWNER", "organization", "org1")
ANY, FOR_WS, FOR_DEP = Expectations(), Expectations("org1", "ws1"), Expectations("org1", "ws1", "dep1")


@each_row(
    ("roles", "expected", "policy", "wide"),
    [
        ([], ANY, Policy(), False),
        ([DEP_ADMIN], FOR_DEP, Policy(), False),
        ([WS_AUTHOR], FOR_WS, Policy(), False),
        ([WS_OPERATOR, ORG_MEMBER], FOR_WS, Policy(), False),
        ([WS_OWNER], FOR_WS, Policy(), True),
        ([WS_OWNER], ANY, Policy(), True),
        ([ORG_OWNER], ANY, Policy(), True),
        ([replace(ORG_OWNER, role="ORGANIZATION_BILLING_ADMIN")], ANY, Policy(), True),
        ([replace(ORG_OWNER, role=None)], ANY, Policy(), True),
        ([WS_AUTHOR], FOR_DEP, Policy(), True),
        ([WS_AUTHOR], FOR_DEP, Policy(max_scope="workspace"), False),
        ([WS_AUTHOR], ANY, Policy(max_scope="deployment"), True),
        ([replace(WS_AUTHOR, role="WORKSPACE_MEMBER"), DEP_ADMIN], FOR_DEP, Policy(), False),
        ([WS_AUTHOR, replace(WS_AUTHOR, entity="ws2")], FOR_WS, Policy(), True),
        ([DEP_ADMIN, replace(DEP_ADMIN, entity="dep2")], FOR_DEP, Policy(), True),
        ([replace(DEP_ADMIN, role=None)], FOR_DEP, Policy(), False),
        ([Role("DAG_AUTHOR", "dag", None), Role(None, None, None)], FOR_DEP, Policy(), False),
        # These may only read.
        ([replace(ORG_OWNER, role="ORGANIZATION_OBSERVE_MEMBER"), DEP_ADMIN], FOR_DEP, Policy(), False),
        ([replace(DEP_ADMIN, role="DEPLOYMENT_ACCESSOR", entity="dep2")], FOR_DEP, Policy(), False),
        ([replace(ORG_OWNER, role="ORGANIZATION_OBSERVE_ADMIN")], ANY, Policy(), True),
        # A custom role may have any name.
        ([replace(DEP_ADMIN, role="DEPLOYMENT_DATA_OWNER")], FOR_DEP, Policy(), False),
        ([replace(DEP_ADMIN, role=None, entity="dep2")], FOR_DEP, Policy(), True),
    ],
)
def test_a_role_is_too_wide_if_a_deploy_needs_less(
    roles: list[Role], expected: Expectations, policy: Policy, wide: bool
) -> None:
    assert wide is (too_wide(tuple(roles), policy, expected) is not None)


@pytest.mark.parametrize("name", ["deployer", "Deployer of ETL", "DEPLOYMENT_DEPLOYER", "é\n", "x" * 300])
def test_a_custom_role_of_the_expected_deployment_is_accepted(astro_api: Server, name: str) -> None:
    token = astro_api.issue(grant=OWNER, token_id=IDENT, deployment=DEPLOYMENT)
    astro_api.tokens[IDENT]["roles"] = [role(name, DEPLOYMENT, "DEPLOYMENT")]
    assert [] == codes(asked(astro_api, token, to_deployment()))


def test_the_least_role_is_a_custom_one_with_three_permissions(astro_api: Server) -> None:
    token = astro_api.issue(grant=OWNER, token_id=IDENT)
    astro_api.tokens[IDENT]["roles"] = [role("WORKSPACE_OWNER", WORKSPACE, "WORKSPACE")]
    (verdict,) = asked(astro_api, token).verdicts
    assert (
        "use a custom role of one deployment with the permissions deployment.get, deployment.deploys.get and "
        "deployment.deploys.create, or DEPLOYMENT_ADMIN of the deployment, "
        "or WORKSPACE_AUTHOR of its workspace"
    ) == verdict.hint


@pytest.mark.parametrize(
    ("kind", "found"), [("STANDARD", []), ("DIRECT_ACCESS", ["direct-access"]), ("FUTURE", []), (None, [])]
)
def test_a_direct_access_token_cannot_deploy(astro_api: Server, kind: str | None, found: list[str]) -> None:
    token = astro_api.issue(grant=OWNER, token_id=IDENT, deployment=DEPLOYMENT, kind=kind)
    online = asked(astro_api, token, to_deployment())
    assert found == codes(online)
    if found:
        with pytest.raises(PolicyError, match="a direct-access token, which is for the Airflow API of a"):
            enforce(online.verdicts)
        assert f"request {astro_api.request_ids[-1]}" in online.verdicts[0].hint


def test_the_first_role_that_is_too_wide_is_named_and_the_others_counted(astro_api: Server) -> None:
    token = astro_api.issue(grant=OWNER, token_id=IDENT)
    astro_api.tokens[IDENT] = token_record(
        IDENT,
        "WORKSPACE",
        role("WORKSPACE_MEMBER", WORKSPACE, "WORKSPACE"),
        role("WORKSPACE_OWNER", WORKSPACE, "WORKSPACE"),
        role("WORKSPACE_AUTHOR", OTHER_WORKSPACE, "WORKSPACE"),
    )
    online = asked(astro_api, token, to_workspace())
    assert ["role-too-wide"] == codes(online)
    words = (
        f"the token has the role WORKSPACE_OWNER of the workspace {WORKSPACE} and 1 more, which is wider than"
    )
    assert online.verdicts[0].message.startswith(words)
    enforce(online.verdicts)


@pytest.mark.parametrize("enforced", [True, False])
def test_whether_the_deployment_enforces_ci_cd_is_told(astro_api: Server, enforced: bool) -> None:
    astro_api.deployments[0]["isCicdEnforced"] = enforced
    online = asked(astro_api, astro_api.issue(), to_deployment())
    assert ([], enforced) == (codes(online), online.deployment and online.deployment.ci_cd_enforced)


# -- clocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, None),
        (100, None),
        (-100, None),
        (200, "about 3 minutes behind Astro's"),
        (-200, "about 3 minutes ahead of Astro's"),
        (7300, "about 2 hours behind Astro's"),
        (-86400 * 3, "about 3 days ahead of Astro's"),
    ],
)
def test_clocks_that_differ_are_warned_of(astro_api: Server, ahead: float, words: str | None) -> None:
    astro_api.ahead = ahead
    online = asked(astro_api, astro_api.issue(expires_in=86400))
    assert ([f"this machine's clock is {words}"] if words else []) == [v.message for v in online.verdicts]
    assert abs((online.ahead or 0) - ahead) < 3


# -- what keeps from asking ---------------------------------------------------------------------------


def test_a_failure_keeps_what_was_found_before_it(astro_api: Server) -> None:
    astro_api.organizations = [organization(product=None)]
    astro_api.faults = [None, Answer(200, b"<html></html>", content_type="text/html")]
    online = asked(astro_api, astro_api.issue(expires_in=None))
    assert (IntegrityError, True) == (type(online.error), online.accepted)
    assert ["no-expiry", "organization-unready"] == [verdict.code for verdict in online.verdicts]
    assert 2 == len(astro_api.requests)


def test_a_busy_service_is_asked_again_and_no_longer_than_the_deadline(astro_api: Server) -> None:
    busy = Answer(429, b"slow down", {"Retry-After": "0"}, "text/plain")
    astro_api.faults = [busy, None, busy]
    assert [] == codes(asked(astro_api, astro_api.issue(), seconds=20))
    assert 5 == len(astro_api.requests)
    astro_api.faults = [dataclasses.replace(busy, headers={"Retry-After": "60"})]
    with within(0):
        online = asked(astro_api, astro_api.issue(), seconds=20)
    assert (BackendUnavailableError, None, 6) == (
        type(online.error),
        online.accepted,
        len(astro_api.requests),
    )


def test_what_cannot_succeed_is_asked_once(astro_api: Server) -> None:
    astro_api.faults = [Answer(418)]
    assert IntegrityError is type(asked(astro_api, astro_api.issue()).error)
    assert 1 == len(astro_api.requests)


def test_nothing_leads_from_a_failure_to_the_token(astro_api: Server) -> None:
    token = astro_api.issue()
    astro_api.faults = [Answer(200, token.encode() * 3)]
    error = asked(astro_api, token).error
    assert error is not None
    assert [] == appearances(token, reachable_text(error))


@pytest.mark.parametrize("where", ["organizations", "workspaceId", "role", "product", "name"])
def test_an_answer_that_repeats_the_token_shows_none_of_it(astro_api: Server, where: str) -> None:
    token = astro_api.issue(grant=OWNER, token_id=IDENT)
    part = token.split(".")[2][:100]
    if where == "organizations":
        astro_api.faults = [
            Answer.json({"organizations": [{"id": part, "product": "HOSTED"}], "totalCount": 1})
        ]
    elif where == "workspaceId":
        fields = {"id": DEPLOYMENT, "workspaceId": part, "isCicdEnforced": True}
        astro_api.faults = [None, None, Answer.json(fields)]
    elif where == "role":
        astro_api.tokens[IDENT]["roles"] = [role(part, part, "WORKSPACE")]
    else:
        astro_api.organizations[0][where] = token
    online = asked(astro_api, token, to_deployment())
    shown = repr((online.verdicts, online.record, online.organization, online.deployment, online.requests))
    assert part[:20] not in shown + repr(online.error)


# -- many, and those who use the library --------------------------------------------------------------


def test_two_hundred_tokens_are_asked_about_within_the_rate(
    astro_api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, tokens = [], []
    for number in range(200):
        tokens.append(astro_api.issue())
        monkeypatch.setenv(f"T{number}", tokens[-1])
        wanted.append(TokenSettings(SecretRef("env", f"T{number}"), policy=Policy(online=number == 7)))
    monkeypatch.setenv("ASTRO_TOKEN_API_URL", astro_api.url)
    steps: list[None] = []
    found = verify_all(wanted, done=lambda: steps.append(None))
    assert {("ok", True)} == {(one.status, one.online and one.online.accepted) for one in found}
    assert (200, 600) == (len(steps), len(astro_api.requests))
    assert 600 == sum(len(one.online.requests) for one in found if one.online)
    assert set(tokens) == {request.bearer for request in astro_api.requests}


def test_one_token_under_many_names_keeps_within_the_rate(
    astro_api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen workers would ask 25 times in a second, were they not to share its turns."""
    monkeypatch.setenv("T", astro_api.issue(apiTokenId=None))
    monkeypatch.setenv("ASTRO_TOKEN_API_URL", astro_api.url)
    found = verify_all([TokenSettings(SecretRef("env", "T"))] * 20, online=True)
    assert {"ok"} == {one.status for one in found}
    assert 40 == len(astro_api.requests)


def test_one_failure_hides_no_other_and_the_gravest_is_kept(
    astro_api: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRO_TOKEN_API_URL", astro_api.url)
    monkeypatch.setenv("GOOD", astro_api.issue())
    monkeypatch.setenv("GONE", make_token())
    monkeypatch.setenv("OLD", make_token(expires_in=-5))
    wanted = [TokenSettings(SecretRef("env", name), timeout=5) for name in ("GOOD", "GONE", "OLD", "NONE")]
    assert [0, 65, 65, 66] == [one.exit_code for one in verify_all(wanted, online=True)]
    astro_api.faults = [Answer(418)]
    damaged = verify_all(wanted[2:3], online=True)[0]
    assert (76, ["expired"]) == (damaged.exit_code, [verdict.code for verdict in damaged.verdicts])


def test_policy_makes_the_library_ask_too(
    astro_api: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    token = astro_api.issue()
    monkeypatch.setenv("T", token)
    monkeypatch.setenv("ASTRO_TOKEN_API_URL", astro_api.url)
    astro_token.read_token("env:T")
    assert [] == astro_api.requests
    monkeypatch.setenv("ASTRO_TOKEN_POLICY_ONLINE", "true")
    astro_token.read_token("env:T")
    assert 3 == len(astro_api.requests)
    astro_api.revoke(token)
    with pytest.raises(InvalidTokenError, match=r"^env:T: Astro does not accept the token"):
        astro_token.read_token("env:T")
    astro_api.faults = [Answer(301)]
    with pytest.raises(IntegrityError, match=r"^env:T: Astro's API answered with a redirect") as raised:
        astro_token.read_token("env:T")
    reached = reachable_text(raised.value.with_traceback(None))
    assert [] == appearances(token, reached)
