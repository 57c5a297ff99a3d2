"""The Astro API of the tests: that it refuses what it should."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from astro_token.secret import SecretValue
from astro_token.testing import make_token
from astro_token.token import AstroToken
from tests.servers.astro_api import (
    DEPLOYMENT,
    ORGANIZATION,
    OTHER_DEPLOYMENT,
    OTHER_WORKSPACE,
    WORKSPACE,
    AstroApi,
    Grant,
    token_record,
)
from tests.servers.faults import reset
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ORG = f"/v1/organizations/{ORGANIZATION}"
DEPLOYS = f"{ORG}/deployments/{DEPLOYMENT}/deploys"
BLOB = {"x-ms-blob-type": "BlockBlob"}


@pytest.fixture
def api() -> Iterator[AstroApi]:
    with AstroApi() as server:
        yield server


def ask(
    url: str,
    target: str,
    token: str | None = None,
    *,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str, Any]:
    """Status, type, and the content where it is JSON."""
    where = urlsplit(url)
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if isinstance(body, dict):
        sent.setdefault("Content-Type", "application/json")
    with contextlib.closing(
        http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
    ) as connection:
        connection.request(method, target, data, sent)
        answer = connection.getresponse()
        kind, text = answer.headers["Content-Type"] or "", answer.read()
        return answer.status, kind, json.loads(text) if "json" in kind else text


def test_a_token_that_was_not_issued_or_was_revoked_is_unauthorized(api: AstroApi) -> None:
    token = api.issue()
    assert 200 == ask(api.url, "/v1/organizations", token)[0]
    api.revoke(token)
    for other in (None, "", make_token(), token):
        status, kind, error = ask(api.url, "/v1/organizations", other)
        assert (401, "application/json; charset=utf-8", 401) == (status, kind, error["statusCode"])
        assert {"message", "requestId", "statusCode"} == set(error)
    assert 5 == len(api.requests)


def test_an_expired_token_is_turned_away_in_plain_text(api: AstroApi) -> None:
    answer = ask(api.url, "/v1/organizations", api.issue(expires_in=-1))
    assert (401, "text/plain", b"Jwt is expired") == answer
    assert 200 == ask(api.url, "/v1/organizations", api.issue(expires_in=None))[0]


def test_a_token_sees_its_own(api: AstroApi) -> None:
    of_one, of_all = api.issue(), api.issue(ws=None)
    for token, expected in ((of_one, {WORKSPACE}), (of_all, {WORKSPACE, OTHER_WORKSPACE})):
        assert [ORGANIZATION] == [
            o["id"] for o in ask(api.url, "/v1/organizations", token)[2]["organizations"]
        ]
        assert expected == {w["id"] for w in ask(api.url, f"{ORG}/workspaces", token)[2]["workspaces"]}
        seen = ask(api.url, f"{ORG}/deployments", token)[2]["deployments"]
        assert expected == {deployment["workspaceId"] for deployment in seen}
    assert 403 == ask(api.url, f"{ORG}/deployments/{OTHER_DEPLOYMENT}", of_one)[0]
    assert 200 == ask(api.url, f"{ORG}/deployments/{OTHER_DEPLOYMENT}", of_all)[0]
    assert 404 == ask(api.url, f"{ORG}/deployments/nothing", of_all)[0]
    assert 403 == ask(api.url, "/v1/organizations/other/workspaces", of_all)[0]


def test_lists_are_filtered_sorted_and_paged(api: AstroApi) -> None:
    token = api.issue(ws=None)
    page = ask(api.url, f"{ORG}/workspaces?limit=1&offset=1&sorts=name:asc", token)[2]
    assert ["Production"] == [workspace["name"] for workspace in page["workspaces"]]
    assert (1, 1, 2) == (page["limit"], page["offset"], page["totalCount"])
    page = ask(api.url, f"{ORG}/workspaces?sorts=name:desc", token)[2]
    assert ["Production", "Development"] == [workspace["name"] for workspace in page["workspaces"]]
    assert (20, 0) == (page["limit"], page["offset"])
    page = ask(api.url, f"{ORG}/deployments?workspaceIds={OTHER_WORKSPACE}", token)[2]
    assert [OTHER_DEPLOYMENT] == [deployment["id"] for deployment in page["deployments"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=x", "offset"),
        ("sorts=id:asc", "sorts"),
        ("made=up", "made"),
    ],
)
def test_a_parameter_that_is_not_documented_is_named(api: AstroApi, query: str, field: str) -> None:
    status, _, error = ask(api.url, f"{ORG}/workspaces?{query}", api.issue())
    assert (400, [field]) == (status, [wrong["field"] for wrong in error["fieldErrors"]])


def test_only_a_token_that_may_read_tokens_reads_them_and_none_of_them_holds_its_value(api: AstroApi) -> None:
    plain, owner = (
        api.issue(token_id="cltk1"),
        api.issue(ws=None, grant=Grant(reads_tokens=True), token_id="cltk2"),
    )
    for target in (f"{ORG}/tokens", f"{ORG}/tokens/cltk1", f"{ORG}/tokens/nothing"):
        assert 403 == ask(api.url, target, plain)[0]
    assert 404 == ask(api.url, f"{ORG}/tokens/nothing", owner)[0]
    assert 400 == ask(api.url, f"{ORG}/tokens?made=up", owner)[0]
    listed = ask(api.url, f"{ORG}/tokens?sorts=tokenStartAt:desc", owner)[2]["tokens"]
    assert [("cltk1", "WORKSPACE"), ("cltk2", "ORGANIZATION")] == [
        (one["id"], one["scope"]) for one in listed
    ]
    status, _, record = ask(api.url, f"{ORG}/tokens/cltk1", owner)
    assert (200, False) == (status, "token" in record)
    required = (
        "id",
        "name",
        "description",
        "scope",
        "kind",
        "shortToken",
        "startAt",
        "createdAt",
        "updatedAt",
    )
    assert set(required) <= set(record)
    used = record.pop("lastUsedAt")
    assert abs(datetime.fromisoformat(used).timestamp() - time.time()) < 60
    assert token_record("cltk1") == record


def test_a_workspace_and_an_organization_are_told_one_by_one(api: AstroApi) -> None:
    token = api.issue()
    assert ORGANIZATION == ask(api.url, ORG, token)[2]["id"]
    assert WORKSPACE == ask(api.url, f"{ORG}/workspaces/{WORKSPACE}", token)[2]["id"]
    assert 403 == ask(api.url, f"{ORG}/workspaces/{OTHER_WORKSPACE}", token)[0]
    assert 404 == ask(api.url, f"{ORG}/workspaces/nothing", token)[0]
    assert 403 == ask(api.url, "/v1/organizations/other", token)[0]


def test_a_token_of_one_deployment_sees_no_other(api: AstroApi) -> None:
    token = api.issue(ws=None, grant=Grant(deployments=frozenset({DEPLOYMENT})), deployment=DEPLOYMENT)
    assert 200 == ask(api.url, f"{ORG}/deployments/{DEPLOYMENT}", token)[0]
    assert 403 == ask(api.url, f"{ORG}/deployments/{OTHER_DEPLOYMENT}", token)[0]
    assert [DEPLOYMENT] == [d["id"] for d in ask(api.url, f"{ORG}/deployments", token)[2]["deployments"]]


def test_more_requests_of_one_token_than_documented_are_put_off(api: AstroApi) -> None:
    one, other = api.issue(), api.issue()
    api.rates["GET"], api.window = 3, 3600.0
    statuses = [ask(api.url, "/v1/organizations", one)[0] for _ in range(4)]
    assert [200, 200, 200, 429] == statuses
    assert 200 == ask(api.url, "/v1/organizations", other)[0]
    where = urlsplit(api.url)
    with contextlib.closing(http.client.HTTPConnection(str(where.hostname), where.port)) as connection:
        connection.request("GET", "/v1/organizations", headers={"Authorization": f"Bearer {one}"})
        answer = connection.getresponse()
        assert (429, "1") == (answer.status, answer.headers["Retry-After"])
        answer.read()
    api.window = 0.0
    assert 200 == ask(api.url, "/v1/organizations", one)[0]


def test_each_answer_has_its_request_id_and_the_time(api: AstroApi) -> None:
    api.ahead = 3600
    where = urlsplit(api.url)
    with contextlib.closing(http.client.HTTPConnection(str(where.hostname), where.port)) as connection:
        connection.request("GET", "/v1/organizations")
        answer = connection.getresponse()
        error = json.loads(answer.read())
    assert [error["requestId"]] == api.request_ids == [answer.headers["X-Request-Id"]]
    assert abs(parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time() - 3600) < 5


def test_a_caller_at_an_address_that_is_not_allowed_gets_nothing(api: AstroApi) -> None:
    token = api.issue(ws=None)
    api.blocked = True
    assert [403, 403] == [ask(api.url, target, token)[0] for target in ("/v1/organizations", ORG)]


# -- tokens -------------------------------------------------------------------------------------------

TOKENS = f"{ORG}/tokens"
NEW = {"name": "deploy", "role": "WORKSPACE_AUTHOR", "scope": "WORKSPACE", "entityId": WORKSPACE}


@pytest.fixture
def admin(api: AstroApi) -> str:
    return api.issue(ws=None, grant=Grant(manages_tokens=True), token_id="cladmin")


def post(api: AstroApi, target: str, bearer: str, body: object = None) -> tuple[int, Any]:
    status, _, content = ask(api.url, f"{TOKENS}{target}", bearer, method="POST", body=body)
    return status, content


def test_a_token_is_created_each_time_and_its_value_is_shown_once(api: AstroApi, admin: str) -> None:
    body = {**NEW, "description": "made by a test", "tokenExpiryPeriodInDays": 90}
    created = [post(api, "", admin, body) for _ in range(2)]
    assert [200, 200] == [status for status, _ in created]
    record = created[0][1]
    ident, value = record["id"], record.pop("token")
    assert ident != created[1][1]["id"]
    assert record == ask(api.url, f"{TOKENS}/{ident}", admin)[2]
    assert [{"role": "WORKSPACE_AUTHOR", "entityId": WORKSPACE, "entityType": "WORKSPACE"}] == record["roles"]
    assert 90 == record["expiryPeriodInDays"]
    assert {WORKSPACE} == {w["id"] for w in ask(api.url, f"{ORG}/workspaces", value)[2]["workspaces"]}
    assert value not in json.dumps(ask(api.url, TOKENS, admin)[2])
    claims = AstroToken.parse(SecretValue(value.encode()))
    assert (ident, WORKSPACE) == (claims.token_id, claims.workspace)
    assert claims.expires is not None
    assert abs(datetime.fromisoformat(record["endAt"]) - claims.expires).total_seconds() < 60


def test_without_a_lifetime_a_token_never_ends(api: AstroApi, admin: str) -> None:
    _, record = post(api, "", admin, NEW)
    assert {"endAt", "expiryPeriodInDays"}.isdisjoint(record)
    assert AstroToken.parse(SecretValue(record["token"].encode())).expires is None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"tokenExpiryPeriodInDays": 0}, 400),
        ({"tokenExpiryPeriodInDays": 3651}, 400),
        ({"tokenExpiryPeriodInDays": "90"}, 400),
        ({"tokenExpiryPeriodInDays": 3650}, 200),
        ({"role": "DEPLOYMENT_ADMIN"}, 400),
        ({"role": "WORKSPACE_KING"}, 400),
        ({"role": "Our Role"}, 200),
        ({"scope": "GALAXY"}, 400),
        ({"name": ""}, 400),
        ({"made": "up"}, 400),
        ({"entityId": "clnowhere"}, 404),
        ({"entityId": None}, 400),
    ],
)
def test_a_creation_is_refused_if_it_is_not_as_documented(
    api: AstroApi, admin: str, change: dict[str, Any], status: int
) -> None:
    api.custom_roles.add("Our Role")
    assert status == post(api, "", admin, {**NEW, **change})[0]
    assert (status == 200) == (len(api.tokens) == 2)


def test_only_a_token_that_may_manages_those_of_its_entities(api: AstroApi, admin: str) -> None:
    ident = post(api, "", admin, NEW)[1]["id"]
    elsewhere = Grant(workspaces=frozenset({OTHER_WORKSPACE}), manages_tokens=True)
    for grant in (Grant(), Grant(reads_tokens=True), elsewhere):
        bearer = api.issue(ws=None, grant=grant)
        assert 403 == post(api, "", bearer, NEW)[0]
        assert 403 == post(api, f"/{ident}/rotate", bearer)[0]
        assert 403 == post(api, f"/{ident}/roles", bearer, {"roles": api.tokens[ident]["roles"]})[0]
        assert 403 == ask(api.url, f"{TOKENS}/{ident}", bearer, method="DELETE")[0]
    assert ident in api.tokens
    owner = post(api, "", admin, {**NEW, "role": "WORKSPACE_OWNER"})[1]["token"]
    assert 200 == post(api, "", owner, NEW)[0]
    assert 403 == post(api, "", owner, {**NEW, "entityId": OTHER_WORKSPACE})[0]
    assert 403 == ask(api.url, TOKENS, owner)[0]
    assert 403 == ask(api.url, f"{TOKENS}?workspaceId={OTHER_WORKSPACE}", owner)[0]
    assert 3 == ask(api.url, f"{TOKENS}?workspaceId={WORKSPACE}", owner)[2]["totalCount"]


def test_roles_are_replaced_and_the_answer_is_not_the_token(api: AstroApi, admin: str) -> None:
    new = {**NEW, "role": "DEPLOYMENT_ADMIN", "scope": "DEPLOYMENT", "entityId": DEPLOYMENT}
    ident = post(api, "", admin, new)[1]["id"]
    own = {"role": "DEPLOYMENT_ACCESSOR", "entityId": DEPLOYMENT, "entityType": "DEPLOYMENT"}
    dag = {"role": "DAG_AUTHOR", "entityId": "my_dag", "entityType": "DAG", "deploymentId": DEPLOYMENT}
    status, subject = post(api, f"/{ident}/roles", admin, {"roles": [own, dag]})
    assert (200, [{"role": "DEPLOYMENT_ACCESSOR", "deploymentId": DEPLOYMENT}]) == (
        status,
        subject["deploymentRoles"],
    )
    assert {"id", "roles"}.isdisjoint(subject)
    assert [own, dag] == ask(api.url, f"{TOKENS}/{ident}", admin)[2]["roles"]
    wider = {"role": "WORKSPACE_MEMBER", "entityId": WORKSPACE, "entityType": "WORKSPACE"}
    nameless = {name: text for name, text in dag.items() if name != "deploymentId"}
    for roles in ([], [dag], [own, own], [own, wider], [own, nameless], [{**own, "role": "KING"}], "x"):
        assert 400 == post(api, f"/{ident}/roles", admin, {"roles": roles})[0]
    assert 404 == post(api, "/clnothing/roles", admin, {"roles": [own]})[0]
    assert [own, dag] == api.tokens[ident]["roles"]


def test_a_rotation_kills_the_value_before_at_once(api: AstroApi, admin: str) -> None:
    record = post(api, "", admin, NEW)[1]
    ident, before = record["id"], record["token"]
    assert 400 == post(api, f"/{ident}/rotate", admin, {})[0]
    assert 200 == ask(api.url, ORG, before)[0]
    status, rotated = post(api, f"/{ident}/rotate", admin)
    assert (200, ident, True) == (status, rotated["id"], "lastRotatedAt" in rotated)
    assert [401, 200] == [ask(api.url, ORG, value)[0] for value in (before, rotated["token"])]
    assert [rotated["token"]] == api.values(ident)
    assert 404 == post(api, "/clnothing/rotate", admin)[0]


def test_a_deleted_token_is_gone(api: AstroApi, admin: str) -> None:
    record = post(api, "", admin, NEW)[1]
    target = f"{TOKENS}/{record['id']}"
    assert (204, "", b"") == ask(api.url, target, admin, method="DELETE")
    assert [404, 404] == [ask(api.url, target, admin, method=method)[0] for method in ("DELETE", "GET")]
    assert 401 == ask(api.url, ORG, record["token"])[0]
    assert [] == api.values(record["id"])


def test_creations_and_deletions_need_time_to_be_seen(api: AstroApi, admin: str) -> None:
    api.propagation = 0.3
    record = post(api, "", admin, NEW)[1]
    assert 401 == ask(api.url, ORG, record["token"])[0]
    time.sleep(0.35)
    assert 200 == ask(api.url, ORG, record["token"])[0]
    assert 204 == ask(api.url, f"{TOKENS}/{record['id']}", admin, method="DELETE")[0]
    assert 200 == ask(api.url, ORG, record["token"])[0]
    time.sleep(0.35)
    assert 401 == ask(api.url, ORG, record["token"])[0]


def test_a_token_has_the_time_of_its_last_use(api: AstroApi, admin: str) -> None:
    record = post(api, "", admin, NEW)[1]
    target = f"{TOKENS}/{record['id']}"
    assert "lastUsedAt" not in ask(api.url, target, admin)[2]
    ask(api.url, ORG, record["token"])
    used = datetime.fromisoformat(ask(api.url, target, admin)[2]["lastUsedAt"])
    assert abs(used.timestamp() - time.time()) < 60
    assert ["lastUsedAt" in token for token in ask(api.url, TOKENS, admin)[2]["tokens"]] == [True, True]


def test_tokens_are_filtered(api: AstroApi, admin: str) -> None:
    mine, _, organizations = (
        post(api, "", admin, body)[1]["id"]
        for body in (
            NEW,
            {**NEW, "entityId": OTHER_WORKSPACE},
            {"name": "all", "role": "ORGANIZATION_MEMBER", "scope": "ORGANIZATION"},
        )
    )
    for query, expected in (
        (f"workspaceId={WORKSPACE}", [mine]),
        ("includeOnlyOrganizationTokens=true", ["cladmin", organizations]),
        ("kind=DIRECT_ACCESS", []),
    ):
        listed = ask(api.url, f"{TOKENS}?{query}", admin)[2]["tokens"]
        assert sorted(expected) == sorted(token["id"] for token in listed)


def test_a_lost_answer_is_to_a_request_that_was_done(api: AstroApi, admin: str) -> None:
    api.faults.append(api.lose_answer)
    with pytest.raises((http.client.HTTPException, OSError)):
        post(api, "", admin, NEW)
    assert ["deploy", "deploy"] == [token["name"] for token in api.tokens.values()]
    api.faults.append(reset)
    with pytest.raises((http.client.HTTPException, OSError)):
        post(api, "", admin, NEW)
    assert 2 == len(api.tokens)


# -- deploys ------------------------------------------------------------------------------------------


def test_a_deploy_goes_from_its_creation_by_the_upload_to_its_end(api: AstroApi) -> None:
    token = api.issue()
    assert 400 == ask(api.url, DEPLOYS, token, method="POST", body={"type": "MADE_UP"})[0]
    assert 400 == ask(api.url, DEPLOYS, token, method="POST", body=b'{"type": "DAG_ONLY"}')[0]
    assert 400 == ask(api.url, DEPLOYS, token, method="POST", body={})[0]
    made = ask(api.url, DEPLOYS, token, method="POST", body={"type": "DAG_ONLY"})[2]
    target, end = made["dagsUploadUrl"].removeprefix(api.url), f"{DEPLOYS}/{made['id']}/finalize"
    # The blob store has no use for our token, and must not be sent it.
    assert 400 == ask(api.url, target, token, method="PUT", body=b"x", headers=BLOB)[0]
    assert 400 == ask(api.url, target, method="PUT", body=b"x")[0]
    assert 201 == ask(api.url, target, method="PUT", body=b"x", headers=BLOB)[0]
    version, bundle = api.uploads[made["id"]]
    assert b"x" == bundle
    assert 400 == ask(api.url, end, token, method="POST", body={"dagTarballVersion": "another"})[0]
    done = ask(api.url, end, token, method="POST", body={"dagTarballVersion": version})[2]
    assert ("DEPLOYED", version) == (done["status"], done["dagTarballVersion"])
    assert 404 == ask(api.url, end.replace(made["id"], "x"), token, method="POST", body={})[0]


def test_what_is_not_there_is_not_found(api: AstroApi) -> None:
    token = api.issue()
    for method, target in (
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/organizations"),
        ("GET", "/upload/nothing"),
    ):
        assert 404 == ask(api.url, target, token, method=method)[0]
    assert ["GET /v1/nothing", "DELETE /v1/organizations", "GET /upload/nothing"] == api.lines()


def test_faults_are_taken_one_by_each_request(api: AstroApi) -> None:
    token = api.issue()
    api.faults.append(Answer(503, b"busy", content_type="text/plain"))
    assert [503, 200] == [ask(api.url, "/v1/organizations", token)[0] for _ in range(2)]
    api.faults = [None, Answer(500)]
    assert [200, 500, 200] == [ask(api.url, "/v1/organizations", token)[0] for _ in range(3)]


def test_it_can_be_used_by_hand() -> None:
    command = [sys.executable, "-m", "tests.servers.astro_api"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(8)]
        finally:
            process.terminate()
            process.communicate(timeout=60)
    exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if "export" in line)
    assert {
        *("ASTRO_DOMAIN", "ASTRO_API_TOKEN", "ASTRO_TOKEN_API_URL"),
        *("ASTRO_ADMIN_TOKEN", "ASTRO_TOKEN_ADMIN_REF"),
    } == set(exports)
    assert 0 == process.returncode
