"""The tokens of an organization: requests, refusals, pages that move, rates, and no value in any text."""

from __future__ import annotations

import itertools
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.astro_api import AstroApi
from astro_token.astro_api.tokens import NewRole, NewToken, Tokens
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    sanitized,
)
from astro_token.secret import SecretValue
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.transport.deadline import Deadline
from tests.rows import each_row
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, WORKSPACE, Grant, token_record
from tests.servers.faults import FaultServer, reset
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.astro_api import AstroApi as Server
    from tests.servers.faults import Mode

AUTHOR = NewRole("WORKSPACE_AUTHOR", "workspace", WORKSPACE)
PLANNED = NewToken("deploy~1", "workspace", (AUTHOR,), 90, "of a test")


@pytest.fixture
def admin(astro_api: Server) -> str:
    return astro_api.issue(ws=None, grant=Grant(manages_tokens=True), token_id="cladmin")


@contextmanager
def tokens_at(
    url: str, bearer: str, *, seconds: float = 30.0, attempts: int | None = None
) -> Iterator[Tokens]:
    with AstroApi({"ASTRO_TOKEN_API_URL": url}) as api:
        yield Tokens(api, ORGANIZATION, SecretValue(bearer.encode()), Deadline(seconds, attempts=attempts))


@pytest.fixture
def tokens(astro_api: Server, admin: str) -> Iterator[Tokens]:
    with tokens_at(astro_api.url, admin) as opened:
        yield opened


def text_of(value: SecretValue) -> str:
    return value.reveal().decode()


# -- each request -------------------------------------------------------------------------------------


def test_a_token_goes_from_its_creation_to_its_deletion(tokens: Tokens, astro_api: Server) -> None:
    created = tokens.create(PLANNED)
    kept = astro_api.tokens[created.id]
    assert ("deploy~1", "of a test", 90) == (kept["name"], kept["description"], kept["expiryPeriodInDays"])
    assert [text_of(created.value)] == astro_api.values(created.id)
    record = tokens.get(created.id)
    assert record is not None
    assert ("workspace", "standard") == (record.scope, record.kind)
    assert [("WORKSPACE_AUTHOR", "workspace", WORKSPACE)] == [
        (r.role, r.kind, r.entity) for r in record.roles
    ]
    assert record.expires is not None
    assert tokens.accepts(created.id, created.value)
    tokens.delete(created.id)
    assert not tokens.accepts(created.id, created.value)
    assert tokens.get(created.id) is None
    tokens.delete(created.id)
    assert {"cladmin"} == set(astro_api.tokens)


def test_a_token_of_each_scope_is_sent_as_documented(tokens: Tokens, astro_api: Server) -> None:
    roles = {
        "organization": NewRole("ORGANIZATION_MEMBER", "organization", ORGANIZATION),
        "workspace": AUTHOR,
        "deployment": NewRole("DEPLOYMENT_ADMIN", "deployment", DEPLOYMENT),
    }
    for scope, role in roles.items():
        planned = NewToken("x", scope, (role,), None)  # type: ignore[arg-type]
        created = tokens.create(planned)
        kept = astro_api.tokens[created.id]
        assert (scope.upper(), role.entity) == (kept["scope"], kept["roles"][0]["entityId"])
        assert "endAt" not in kept
        assert created.id in {listed.id for listed in tokens.list(**planned.filters)}


def test_all_roles_are_set(tokens: Tokens, astro_api: Server) -> None:
    roles = (
        NewRole("DEPLOYMENT_ACCESSOR", "deployment", DEPLOYMENT),
        NewRole("DAG_AUTHOR", "dag", "my_dag", DEPLOYMENT),
        NewRole("DAG_VIEWER", "dag-tag", "finance", DEPLOYMENT),
    )
    created = tokens.create(NewToken("x", "deployment", roles, 1))
    tokens.set_roles(created.id, roles)
    assert [
        {"role": "DEPLOYMENT_ACCESSOR", "entityType": "DEPLOYMENT", "entityId": DEPLOYMENT},
        {"role": "DAG_AUTHOR", "entityType": "DAG", "entityId": "my_dag", "deploymentId": DEPLOYMENT},
        {"role": "DAG_VIEWER", "entityType": "DAG_TAG", "entityId": "finance", "deploymentId": DEPLOYMENT},
    ] == astro_api.tokens[created.id]["roles"]
    record = tokens.get(created.id)
    assert record is not None
    assert ["deployment", "dag", "dag-tag"] == [role.kind for role in record.roles]


def test_a_token_that_may_not_read_itself_is_accepted(tokens: Tokens, astro_api: Server) -> None:
    created = tokens.create(PLANNED)
    assert 403 == _status(astro_api, created.id, text_of(created.value))
    assert tokens.accepts(created.id, created.value)
    assert not tokens.accepts(created.id, SecretValue(make_token(token_id=created.id).encode()))
    assert not tokens.accepts("clanother", SecretValue(make_token(token_id="clanother").encode()))


def _status(server: Server, ident: str, bearer: str) -> int:
    with AstroApi({"ASTRO_TOKEN_API_URL": server.url}) as api:
        return api.get(
            f"organizations/{ORGANIZATION}/tokens/{ident}", SecretValue(bearer.encode()), timeout=10
        ).status


def test_another_bearer_manages_the_same_tokens(tokens: Tokens) -> None:
    owner = tokens.create(
        NewToken("own", "workspace", (NewRole("WORKSPACE_OWNER", "workspace", WORKSPACE),), 1)
    )
    own = tokens.of(owner.value)
    created = own.create(PLANNED)
    assert {owner.id, created.id} == {listed.id for listed in own.list(**PLANNED.filters)}
    own.delete(created.id)
    assert tokens.get(created.id) is None


# -- refusals -----------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Tokens], object]] = {
    "create": lambda tokens: tokens.create(PLANNED),
    "set_roles": lambda tokens: tokens.set_roles("cltoken1", [AUTHOR]),
    "get": lambda tokens: tokens.get("cltoken1"),
    "list": lambda tokens: list(tokens.list()),
    "delete": lambda tokens: tokens.delete("cltoken1"),
}
METHODS = {"create": "POST", "set_roles": "POST", "get": "GET", "list": "GET", "delete": "DELETE"}
REFUSED = {400: ConfigError, 401: AccessDeniedError, 403: AccessDeniedError, 404: ConfigError}
IS_ABSENT = {("get", 404), ("delete", 404)}  # an answer, and not a refusal


def refusal(call: Callable[[Tokens], object], tokens: Tokens, *secrets: str) -> AstroTokenError:
    """The error of a call, which leads to none of these secrets."""
    error = outcome(call, tokens)
    assert error is not None
    reached = f"{reachable_text(error)} {error.hint} {error!r}"
    assert [] == [name for secret in secrets for name in appearances(secret, reached)]
    assert (None, None) == (error.__cause__, error.__context__)
    assert "\n" not in f"{error.message}{error.hint}"
    return error


def outcome(call: Callable[[Tokens], object], tokens: Tokens) -> AstroTokenError | None:
    try:
        call(tokens)
    except AstroTokenError as error:
        return sanitized(error)
    return None


@each_row(("name", "status"), [*itertools.product(CALLS, REFUSED)])
def test_each_refusal_is_of_its_kind_and_names_the_request_for_support(name: str, status: int) -> None:
    canary, told = make_token(), "the-service-says"
    body = {"message": told, "requestId": "req-7", "statusCode": status}
    with FaultServer(Answer.json(body, status)) as server, tokens_at(server.url, canary) as tokens:
        if (name, status) in IS_ABSENT:
            assert CALLS[name](tokens) is None
        else:
            error = refusal(CALLS[name], tokens, canary, told)
            assert (REFUSED[status], "req-7" in str(error.hint)) == (type(error), True)
    assert [METHODS[name]] == [request.method for request in server.requests]


@pytest.mark.parametrize("name", ["create", "set_roles"])
@pytest.mark.parametrize(
    ("mode", "is_known"),
    [
        (429, True),
        (500, False),
        (503, False),
        ("reset", False),
        ("close", False),
        ("lose-answer", False),
        ("hang", False),
    ],
)
def test_a_change_is_sent_once_and_its_outcome_is_known_only_after_a_429(
    name: str, mode: Mode, is_known: bool, astro_api: Server, admin: str
) -> None:
    astro_api.tokens["cltoken1"] = token_record("cltoken1")
    seconds = 0.5 if mode == "hang" else 30.0
    with FaultServer(mode, upstream=astro_api.url) as server:
        with tokens_at(server.url, admin, seconds=seconds) as tokens:
            error = refusal(CALLS[name], tokens, admin)
    assert isinstance(error, BackendUnavailableError)
    assert (is_known, 1) == (error.outcome_known, server.count)
    is_done = mode == "lose-answer"
    assert is_done == (len(server.lost) == 1)
    if name == "create":
        assert ["cladmin", "cltoken1"] + ["new"] * is_done == [
            "new" if record["name"] == PLANNED.title else ident for ident, record in astro_api.tokens.items()
        ]


@pytest.mark.parametrize("mode", [429, 500, 503, "reset", "close", "lose-answer"])
def test_a_deletion_is_repeated(mode: Mode, astro_api: Server, admin: str) -> None:
    astro_api.tokens["cltoken1"] = token_record("cltoken1")
    with FaultServer("pass", upstream=astro_api.url) as server:
        server.mode = lambda number: mode if number == 1 else "pass"
        with tokens_at(server.url, admin) as tokens:
            assert CALLS["delete"](tokens) is None
    assert (2, False) == (server.count, "cltoken1" in astro_api.tokens)


def test_a_deletion_is_repeated_for_a_short_time(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro_token.astro_api.tokens._DELETE_SECONDS", 1.5)
    with FaultServer(503) as server, tokens_at(server.url, admin) as tokens:
        started = time.monotonic()
        assert isinstance(refusal(CALLS["delete"], tokens, admin), BackendUnavailableError)
        assert time.monotonic() - started < 5


@each_row("mode", ["short-body", "cut-json", "empty", "html", "not-json", "json-array"])
def test_a_damaged_answer_to_a_creation_is_not_a_token(mode: str) -> None:
    canary = make_token()
    body = b'{"id": "cltoken1", "token": "%s"}' % canary.encode()
    with FaultServer(mode, body) as server, tokens_at(server.url, make_token()) as tokens:
        assert IntegrityError is type(refusal(CALLS["create"], tokens, canary))
    assert 1 == server.count


@pytest.mark.parametrize("name", ["get", "list"])
@pytest.mark.parametrize("mode", [429, 500, "reset", "lose-answer"])
def test_reading_is_repeated(name: str, mode: Mode, astro_api: Server, admin: str) -> None:
    modes: Callable[[int], Mode] = lambda number: mode if number < 3 else "pass"  # noqa: E731 (a mode)
    with FaultServer(modes, upstream=astro_api.url) as server, tokens_at(server.url, admin) as tokens:
        CALLS[name](tokens)
    assert 3 == server.count


def test_an_organization_that_allows_other_addresses_only_is_named_as_a_cause(
    tokens: Tokens, astro_api: Server, admin: str
) -> None:
    astro_api.blocked = True
    for call in CALLS.values():
        error = refusal(call, tokens, admin)
        assert "from this address" in str(error.hint)


@pytest.mark.parametrize(
    "planned",
    [
        NewToken("x", "workspace", (AUTHOR,), 0),
        NewToken("x", "workspace", (AUTHOR,), 3651),
        NewToken("x", "workspace", (NewRole("WORKSPACE_KING", "workspace", WORKSPACE),), 90),
        NewToken("x", "workspace", (NewRole("WORKSPACE_AUTHOR", "workspace", "clnowhere"),), 90),
        NewToken("", "workspace", (AUTHOR,), 90),
    ],
)
def test_what_astro_does_not_create_is_a_configuration(
    planned: NewToken, tokens: Tokens, astro_api: Server, admin: str
) -> None:
    assert ConfigError is type(refusal(lambda tokens: tokens.create(planned), tokens, admin))
    assert {"cladmin"} == set(astro_api.tokens)


# -- values -------------------------------------------------------------------------------------------


def test_no_value_is_in_a_text_or_a_log(tokens: Tokens, admin: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        created = tokens.create(PLANNED)
        listed = list(tokens.list())
        record = tokens.get(created.id)
        assert tokens.accepts(created.id, created.value)
    shown = f"{created} {created!r} {listed!r} {record!r} {tokens!r} {caplog.text} {PLANNED!r}"
    for secret in (text_of(created.value), admin):
        assert [] == appearances(secret, shown)
    assert "deploy~1" not in f"{listed!r}"


def test_an_identifier_that_repeats_the_bearer_is_refused(admin: str) -> None:
    body = {"id": admin[-40:], "token": make_token()}
    with FaultServer(Answer.json(body)) as server, tokens_at(server.url, admin) as tokens:
        assert IntegrityError is type(refusal(CALLS["create"], tokens, admin, str(body["token"])))


# -- pages --------------------------------------------------------------------------------------------


def filled(server: Server, count: int) -> None:
    for number in range(count):
        ident = f"cltoken{number:05d}"
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_760_000_000 + number))
        server.tokens[ident] = token_record(ident, createdAt=created)


@pytest.mark.parametrize(
    ("page", "deleted"),
    [(1000, 20), (300, 1), (300, 150)]
    + [pytest.param(*each, marks=pytest.mark.long) for each in [(1000, 1), (1000, 150), (300, 20)]],
)
def test_a_list_misses_no_token_while_the_pages_move(
    page: int, deleted: int, astro_api: Server, admin: str
) -> None:
    filled(astro_api, 2500)
    astro_api._page = page
    remaining = set(astro_api.tokens)
    first = iter(sorted(remaining))
    astro_api.rates["GET"] = 1000
    with tokens_at(astro_api.url, admin) as tokens:
        listed = []
        for number, token in enumerate(tokens.list()):
            listed.append(token.id)
            if number in {page - 1, page + page // 2}:  # before the second and the third page
                for ident in itertools.islice((i for i in first if i != "cladmin"), deleted):
                    del astro_api.tokens[ident]
                    remaining.discard(ident)
                astro_api.tokens[f"clnew{number}"] = token_record(
                    f"clnew{number}", createdAt="2026-11-30T00:00:00Z"
                )
                remaining.add(f"clnew{number}")
    assert len(listed) == len(set(listed))
    assert set() == remaining - set(listed)


def test_a_long_list_takes_few_requests(astro_api: Server, admin: str) -> None:
    filled(astro_api, 3000)
    with tokens_at(astro_api.url, admin) as tokens:
        assert 3001 == sum(1 for _ in tokens.list())
    assert astro_api.count <= 4
    assert {"sorts=createdAt:asc"} == {request.target.split("&")[2] for request in astro_api.requests}


def test_a_list_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro_token.astro_api.tokens._MOST_PAGES", 3)
    numbers = itertools.count()

    def page(_: int) -> Mode:
        body: dict[str, Any] = {"tokens": [token_record(f"cl{next(numbers)}")], "totalCount": 10**6}
        return Answer.json(body)

    with FaultServer(page) as server, tokens_at(server.url, make_token()) as tokens:
        assert IntegrityError is type(refusal(CALLS["list"], tokens))
    assert 3 == server.count


# -- rates --------------------------------------------------------------------------------------------


def test_changes_keep_to_the_rates_of_astro(astro_api: Server, admin: str) -> None:
    with tokens_at(astro_api.url, admin) as tokens:
        created = [tokens.create(PLANNED) for _ in range(12)]
        for each in created[:6]:
            tokens.delete(each.id)
    for method, most in (("POST", 10), ("DELETE", 5)):
        times = [request.time for request in astro_api.requests if request.method == method]
        assert max(sum(1 for at in times if start <= at < start + 1) for start in times) <= most
    assert 7 == len(astro_api.tokens)


def test_a_busy_astro_is_left_alone_for_as_long_as_it_requests(astro_api: Server, admin: str) -> None:
    astro_api.faults = [Answer(429, b"{}", {"Retry-After": "1"})]
    with tokens_at(astro_api.url, admin) as tokens:
        assert isinstance(refusal(CALLS["create"], tokens, admin), BackendUnavailableError)
        tokens.create(PLANNED)
    first, second = (request.time for request in astro_api.requests)
    assert second - first >= 1


def test_a_lost_creation_is_there_by_its_title(tokens: Tokens, astro_api: Server, admin: str) -> None:
    for fault, count in ((reset, 0), (astro_api.lose_answer, 1)):
        astro_api.faults = [fault]
        error = refusal(CALLS["create"], tokens, admin)
        assert (BackendUnavailableError, False) == (type(error), getattr(error, "outcome_known", None))
        assert count == sum(1 for token in tokens.list() if token.title == PLANNED.title)
