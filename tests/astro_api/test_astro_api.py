"""The client of the Astro API: where it goes, what it takes for an answer, and what it lets out of one."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import tracemalloc
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.astro_api import ApiResponse, AstroApi
from astro_token.astro_api.address import api_address
from astro_token.astro_api.rate import Rate
from astro_token.astro_api.records import Body
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    result,
    sanitized,
)
from astro_token.secret import SecretValue
from astro_token.testing import appearances, reachable_text
from astro_token.transport.deadline import Deadline
from astro_token.version import __version__
from tests.rows import each_row
from tests.servers.astro_api import ORGANIZATION, Grant, token_record
from tests.servers.astro_api import AstroApi as Server
from tests.servers.faults import BlackHole, ConnectProxy, Egress, FaultServer, refused_port
from tests.servers.http1 import Answer
from tests.timing import Clock, within

if TYPE_CHECKING:
    from tests.servers.certificates import Certificates
    from tests.servers.faults import Mode

PATH = "organizations?limit=100&offset=0"
GOOD = json.dumps({"organizations": [], "limit": 100, "offset": 0, "totalCount": 0}).encode()
PATIENCE = 0.4


@pytest.fixture
def bearer(canary: str) -> SecretValue:
    return SecretValue(canary.encode())


def ask(url: str, bearer: SecretValue, *, seconds: float = 5.0, **environ: str) -> ApiResponse:
    return result(outcome(url, bearer, seconds, environ))


def outcome(
    url: str, bearer: SecretValue, seconds: float, environ: dict[str, str]
) -> ApiResponse | AstroTokenError:
    """As it is always asked: within a deadline, and by what does not raise, for a request may go on."""
    with AstroApi({"ASTRO_TOKEN_API_URL": url, **environ}) as api:
        try:
            return Deadline(seconds).once(lambda left: api.get(PATH, bearer, timeout=left))
        except AstroTokenError as error:
            return sanitized(error)


def failure(url: str, bearer: SecretValue, *, seconds: float = 5.0, **environ: str) -> AstroTokenError:
    """What is raised, from which nothing leads to the token or to an exception of the network."""
    with pytest.raises(AstroTokenError) as raised:
        ask(url, bearer, seconds=seconds, **environ)
    error = raised.value
    reached = reachable_text(error)  # before the token is in a local of this frame
    assert (None, None) == (error.__cause__, error.__context__)
    assert [] == appearances(bearer.reveal().decode(), reached)
    return error


# -- where to -----------------------------------------------------------------------------------------


@each_row(
    ("environ", "address"),
    [
        ({}, "https://api.astronomer.io/v1"),
        ({"ASTRO_DOMAIN": ""}, "https://api.astronomer.io/v1"),
        ({"ASTRO_DOMAIN": "astronomer.io"}, "https://api.astronomer.io/v1"),
        ({"ASTRO_DOMAIN": "cloud.astronomer.io"}, "https://api.astronomer.io/v1"),
        ({"ASTRO_DOMAIN": "https://cloud.astronomer.io/"}, "https://api.astronomer.io/v1"),
        ({"ASTRO_DOMAIN": "astronomer-stage.io"}, "https://api.astronomer-stage.io/v1"),
        ({"ASTRO_DOMAIN": "pr12345.astronomer-dev.io"}, "https://pr12345.api.astronomer-dev.io/v1"),
        ({"ASTRO_TOKEN_API_URL": "https://api.example.com"}, "https://api.example.com/v1"),
        ({"ASTRO_TOKEN_API_URL": "https://api.example.com/v1/"}, "https://api.example.com/v1"),
        ({"ASTRO_TOKEN_API_URL": "https://example.com:8443/astro/"}, "https://example.com:8443/astro/v1"),
        ({"ASTRO_TOKEN_API_URL": "http://127.0.0.1:8888"}, "http://127.0.0.1:8888/v1"),
        ({"ASTRO_TOKEN_API_URL": "http://[::1]:8888"}, "http://[::1]:8888/v1"),
        (
            {"ASTRO_TOKEN_API_URL": "https://one.example", "ASTRO_DOMAIN": "localhost"},
            "https://one.example/v1",
        ),
    ],
)
def test_the_address_is_that_of_the_setting_or_of_the_domain(environ: dict[str, str], address: str) -> None:
    assert address == api_address(environ)


@each_row(
    "environ",
    [
        {"ASTRO_TOKEN_API_URL": "http://api.astronomer.io"},
        {"ASTRO_TOKEN_API_URL": "http://127.0.0.1.example.com"},
        {"ASTRO_TOKEN_API_URL": "https://user:pass@api.example.com"},
        {"ASTRO_TOKEN_API_URL": "https://api.example.com?x=y"},
        {"ASTRO_TOKEN_API_URL": "https://api.example.com/#x"},
        {"ASTRO_TOKEN_API_URL": "ftp://api.example.com"},
        {"ASTRO_TOKEN_API_URL": "api.example.com"},
        {"ASTRO_DOMAIN": "astronmer.io"},
        {"ASTRO_DOMAIN": "astronomer.io.example.com"},
        {"ASTRO_DOMAIN": "evil-astronomer.io"},
        {"ASTRO_DOMAIN": "astronomer.io@example.com"},
        {"ASTRO_DOMAIN": "http://astronomer.io"},
        {"ASTRO_DOMAIN": "localhost"},
        {"ASTRO_DOMAIN": "houston.example.com"},
    ],
)
def test_an_address_that_may_not_get_the_token_is_refused_and_not_repeated(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as raised:
        AstroApi(environ)
    assert not [text for text in environ.values() if text in raised.value.message]
    assert next(iter(environ)) in raised.value.message


def test_a_proxy_with_a_password_is_not_repeated_in_the_complaint_about_it(bearer: SecretValue) -> None:
    error = failure("https://api.example.com", bearer, HTTPS_PROXY="http://user:hunter2@[::")
    assert (ConfigError, False) == (type(error), "hunter2" in f"{error.message} {error.hint} {error.args}")


# -- what is sent -------------------------------------------------------------------------------------


def test_the_token_is_the_bearer_and_nothing_else_is_sent(bearer: SecretValue) -> None:
    with FaultServer(200, GOOD) as server:
        assert 200 == ask(server.url, bearer).status
    request = server.requests[0]
    assert ("GET", f"/v1/{PATH}", b"") == (request.method, request.target, request.body)
    assert bearer.reveal().decode() == request.bearer
    headers = dict(request.headers)
    assert re.fullmatch(r"[a-z0-9]+-\w+", headers.pop("x-client-os-identifier"))
    assert {
        "host": server.url.removeprefix("http://"),
        "authorization": f"Bearer {bearer.reveal().decode()}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"astro-token/{__version__}",
        "x-api-version": "1.0",
        "x-astro-client-identifier": "script",
        "x-astro-client-version": __version__,
    } == headers


def test_a_cookie_of_one_tokens_answer_is_not_sent_with_anothers_request(bearer: SecretValue) -> None:
    with FaultServer(200, GOOD, headers={"Set-Cookie": "session=1; Path=/"}) as server:
        with AstroApi({"ASTRO_TOKEN_API_URL": server.url}) as api:
            for token in (bearer, SecretValue(b"a.b.c")):
                api.get(PATH, token, timeout=5)
    assert [None, None] == [request.headers.get("cookie") for request in server.requests]
    assert 1 == server.connections


def test_variables_and_netrc_lead_nowhere(
    bearer: SecretValue, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "home" / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    (tmp_path / "home" / ".netrc").chmod(0o600)
    with Egress() as egress, FaultServer(200, GOOD) as server:
        for name, value in {**egress.proxies(), "SSLKEYLOGFILE": str(tmp_path / "keys")}.items():
            monkeypatch.setenv(name, value)
        told = outcome(server.url, bearer, 5, egress.proxies())
        assert isinstance(told, ApiResponse)
        assert bearer.reveal().decode() == server.requests[0].bearer
    assert 0 == egress.count
    assert not (tmp_path / "keys").exists()


def test_nothing_is_logged_of_a_response(bearer: SecretValue, caplog: pytest.LogCaptureFixture) -> None:
    with (
        FaultServer(200, GOOD, headers={"X-ApiResponse": "to-nobody"}) as server,
        caplog.at_level(logging.DEBUG),
    ):
        with AstroApi({"ASTRO_TOKEN_API_URL": server.url}) as api:
            api.get(PATH, bearer, timeout=5)
    assert [] == caplog.records


# -- whom it trusts -----------------------------------------------------------------------------------


def test_tls_is_trusted_by_our_own_setting_alone(bearer: SecretValue, certificates: Certificates) -> None:
    with FaultServer(200, GOOD, tls=certificates.server.context()) as server:
        assert IntegrityError is type(failure(server.url, bearer))
        assert 200 == ask(server.url, bearer, ASTRO_TOKEN_CA_BUNDLE=str(certificates.ca_file)).status
    assert (1, 1) == (server.count, server.tls_failures)


@pytest.mark.parametrize("kind", ["expired", "wrong_host", "self_signed", "unknown_ca", "not_yet_valid"])
def test_a_bad_certificate_gets_no_token(kind: str, bearer: SecretValue, certificates: Certificates) -> None:
    with FaultServer(200, GOOD, tls=getattr(certificates, kind).context()) as server:
        error = failure(server.url, bearer, ASTRO_TOKEN_CA_BUNDLE=str(certificates.ca_file))
    assert (IntegrityError, 0) == (type(error), server.count)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("handshake-plain", IntegrityError),
        ("handshake-eof", BackendUnavailableError),
        ("handshake-reset", BackendUnavailableError),
        ("handshake-hang", BackendUnavailableError),
    ],
)
def test_a_handshake_that_fails_is_told_by_its_cause(
    mode: str, kind: type, bearer: SecretValue, certificates: Certificates
) -> None:
    with FaultServer(mode, GOOD, tls=certificates.server.context()) as server:
        environ = {"ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file)}
        seconds = PATIENCE if "hang" in mode else 10
        assert kind is type(failure(server.url, bearer, seconds=seconds, **environ))


def test_a_proxy_is_a_tunnel_that_sees_no_token(bearer: SecretValue, certificates: Certificates) -> None:
    host = "api.astronomer.io"
    with FaultServer(200, GOOD, tls=certificates.issue("astro", host).context()) as server:
        with ConnectProxy(routes={host: server.port}) as proxy:
            told = ask("", bearer, HTTPS_PROXY=proxy.url, ASTRO_TOKEN_CA_BUNDLE=str(certificates.ca_file))
    seen = proxy.saw(bearer.reveal().decode())
    assert (200, [f"{host}:443"], False) == (told.status, proxy.targets, seen)


@pytest.mark.parametrize(
    ("status", "words"), [(407, "requires a user"), (403, "refuses to connect to Astro's API")]
)
def test_a_proxy_that_refuses_is_a_configuration(status: int, words: str, bearer: SecretValue) -> None:
    with ConnectProxy(status=status) as proxy:
        error = failure("https://api.example.com", bearer, HTTPS_PROXY=proxy.url)
    assert (ConfigError, True) == (type(error), words in error.message)


def test_a_proxy_in_trouble_is_tried_again_later(bearer: SecretValue) -> None:
    with ConnectProxy(status=502) as proxy:
        assert BackendUnavailableError is type(
            failure("https://api.example.com", bearer, HTTPS_PROXY=proxy.url)
        )


# -- what it takes for an answer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((status, BackendUnavailableError) for status in (408, 425, 429, 500, 502, 503, 504)),
        *((status, BackendDownError) for status in (501, 505, 511)),
        *((status, IntegrityError) for status in (201, 204, 301, 302, 303, 307, 308, 405, 418)),
        *(
            (Answer(status, b"<html></html>", content_type="text/html"), IntegrityError)
            for status in (200, 400, 404)
        ),
        *(
            (Answer(status, b"<html></html>", content_type="text/html"), AccessDeniedError)
            for status in (401, 403)
        ),
        (Answer.json({}, 404), IntegrityError),
        (Answer.json({"statusCode": 400, "requestId": "x"}, 404), IntegrityError),
        ("reset", BackendUnavailableError),
        ("reset-head", BackendUnavailableError),
        ("reset-body", BackendUnavailableError),
        ("close", BackendUnavailableError),
        ("hang", BackendUnavailableError),
        ("drip-head", BackendUnavailableError),
        ("drip-body", BackendUnavailableError),
        ("short-body", IntegrityError),
        ("cut-json", IntegrityError),
        ("empty", IntegrityError),
        ("not-json", IntegrityError),
        ("wrong-charset", IntegrityError),
        ("wrong-type", IntegrityError),
        ("json-array", IntegrityError),
        ("json-null", IntegrityError),
        ("json-int", IntegrityError),
        ("json-nested", IntegrityError),
        ("huge", IntegrityError),
        ("gzip-bomb", IntegrityError),
    ],
    ids=lambda value: f"{value.status} {value.content_type}" if isinstance(value, Answer) else None,
)
def test_a_fault_is_an_error_of_its_kind_after_one_request(
    mode: Mode, kind: type, bearer: SecretValue
) -> None:
    with FaultServer(mode, GOOD, drip=0.05, size=1 << 27) as server:
        seconds = PATIENCE if "drip" in str(mode) or mode == "hang" else 10
        with within(seconds):
            error = failure(server.url, bearer, seconds=seconds)
    assert (kind, 1) == (type(error), server.count)


def test_a_dripping_body_ends_with_the_attempt(bearer: SecretValue) -> None:
    with FaultServer("drip-body", GOOD, drip=0.05) as server:
        with within(PATIENCE, at_least=PATIENCE):
            failure(server.url, bearer, seconds=PATIENCE)


@pytest.mark.parametrize("mode", ["huge", "gzip-bomb"])
def test_a_huge_body_takes_no_memory(mode: str, bearer: SecretValue) -> None:
    with FaultServer(mode, GOOD, size=1 << 28) as server:
        failure(server.url, bearer)  # what is loaded at first is not counted
        tracemalloc.start()
        try:
            failure(server.url, bearer)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 * 1024 * 1024 + (1 << 21)  # the server is in this process


@pytest.mark.parametrize("where", ["/v1/elsewhere", "other"])
def test_a_redirect_is_not_followed(where: str, bearer: SecretValue) -> None:
    with Egress() as egress:
        target = where if where != "other" else f"{egress.url}/v1/{PATH}"
        with FaultServer(307, GOOD, redirect=target) as server:
            failure(server.url, bearer)
        assert 1 == server.count
    assert 0 == egress.count


def test_nobody_there_and_nobody_known_are_told_apart(bearer: SecretValue) -> None:
    assert BackendUnavailableError is type(failure(f"http://127.0.0.1:{refused_port()}", bearer))
    assert BackendDownError is type(failure("https://astro.invalid", bearer))
    with BlackHole() as hole:
        assert BackendUnavailableError is type(failure(hole.url, bearer, seconds=PATIENCE))


@pytest.mark.parametrize("said", ["7", formatdate(7, usegmt=True)])
def test_how_long_to_wait_is_passed_on(said: str, bearer: SecretValue) -> None:
    headers = {"Retry-After": said, "Date": formatdate(0, usegmt=True)}
    with FaultServer(429, headers=headers) as server:
        error = failure(server.url, bearer)
    assert isinstance(error, BackendUnavailableError)
    assert 7 == error.retry_after


def test_the_documented_refusals_are_answers(bearer: SecretValue) -> None:
    with Server() as server:
        assert 401 == ask(server.url, bearer).status
        other = SecretValue(server.issue().encode())
        with AstroApi({"ASTRO_TOKEN_API_URL": server.url}) as api:
            paths = ("organizations/other/workspaces/x", f"organizations/{ORGANIZATION}/workspaces/x")
            told = [api.get(path, other, timeout=5) for path in (*paths, f"{PATH}&made=up", PATH)]
    assert [403, 404, 400, 200] == [answer.status for answer in told]
    assert [{}, {}, {}] == [answer.content for answer in told[:3]]
    assert server.request_ids[1:] == [answer.request_id for answer in told]
    assert all(abs(answer.ahead or 99) < 3 for answer in told)


# -- what it lets out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "body", "shown"),
    [
        ("a-1", "b-2", "a-1"),
        (None, "b-2", "b-2"),
        ("x" * 65, "b-2", "b-2"),
        ("a b", None, None),
        ("::error::x", None, None),
        ("", None, None),
        (None, 7, None),
    ],
)
def test_a_request_id_is_shown_only_if_it_is_a_plain_one(
    header: str | None, body: object, shown: str | None, bearer: SecretValue
) -> None:
    content = {"message": "secret text", "statusCode": 404, "requestId": body}
    headers = {} if header is None else {"X-Request-Id": header}
    with FaultServer(Answer.json(content, 404, headers)) as server:
        assert shown == ask(server.url, bearer).request_id
    with FaultServer(Answer.json({**content, "statusCode": 503}, 503, headers)) as server:
        error = failure(server.url, bearer)
    assert (shown is not None, False) == (f"request {shown}" in str(error.hint), "secret" in str(error.hint))


def test_a_request_id_that_is_a_part_of_the_token_is_not_shown(bearer: SecretValue) -> None:
    part = bearer.reveal().decode().split(".")[1][:40]
    for said in (part, f"x{part}", f"{part}x", f"Bearer-{part}", part[:8]):
        with FaultServer(Answer.json({}, 503, {"X-Request-Id": said})) as server:
            assert "request" not in str(failure(server.url, bearer).hint)


def test_a_cached_answer_says_nothing_of_the_clock(bearer: SecretValue) -> None:
    old = formatdate(time.time() - 9000, usegmt=True)
    for headers, told in (({"Date": old}, True), ({"Date": old, "Age": "9000"}, False), ({}, False)):
        with FaultServer(Answer(200, GOOD, headers)) as server:
            ahead = ask(server.url, bearer).ahead
        assert told is (ahead is not None)
    with FaultServer(Answer(200, GOOD, {"Date": "yesterday"})) as server:
        assert ask(server.url, bearer).ahead is None


TOKEN = token_record("cltk1", "WORKSPACE", {"role": "R", "entityId": "ws1", "entityType": "WORKSPACE"})


def test_a_token_is_read_as_far_as_it_is_understood(bearer: SecretValue) -> None:
    roles = [
        {"role": "WORKSPACE_OWNER", "entityId": "ws1", "entityType": "WORKSPACE"},
        {"role": "our own role", "entityId": "dep1", "entityType": "DEPLOYMENT"},
        {"role": "DAG_VIEWER", "entityId": "a dag/with any name", "entityType": "DAG"},
        {"role": "X", "entityId": "y", "entityType": "SOMETHING_NEW"},
    ]
    record = Body({**TOKEN, "roles": roles, "scope": "SOMETHING_NEW"}, bearer).token("cltk1")
    assert [
        ("WORKSPACE_OWNER", "workspace", "ws1"),
        (None, "deployment", "dep1"),
        ("DAG_VIEWER", "dag", None),
        (None, "something-new", None),
    ] == [(role.role, role.kind, role.entity) for role in record.roles]
    assert (None, "standard", 2026) == (record.scope, record.kind, record.created and record.created.year)
    assert (None, None) == (record.expires, record.last_used)
    assert () == Body({**TOKEN, "roles": None}, bearer).token("cltk1").roles


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "another"},
        {"id": None},
        {"roles": "WORKSPACE_OWNER"},
        {"roles": [7]},
        {"roles": [{}] * 1001},
        {"roles": [{"role": "X", "entityId": "a b", "entityType": "WORKSPACE"}]},
        {"roles": [{"role": "X", "entityId": 7, "entityType": "WORKSPACE"}]},
        {"endAt": 7},
        {"endAt": "soon"},
        {"endAt": "2026-99-99T00:00:00Z"},
        {"endAt": "2026-01-01T00:00:00"},
        {"lastUsedAt": ["2026-01-01T00:00:00Z"]},
    ],
)
def test_a_token_of_another_form_is_a_damaged_answer(changes: dict[str, Any], bearer: SecretValue) -> None:
    with pytest.raises(IntegrityError, match="does not have the documented form"):
        Body({**TOKEN, **changes}, bearer).token("cltk1")


def test_a_product_that_is_none_is_told_from_one_that_is_not_known(bearer: SecretValue) -> None:
    for said, product in (("HOSTED", "hosted"), (None, None), ("", None), ("Hosted", "other"), (7, "other")):
        content = {"organizations": [{"id": "org1", "product": said}], "totalCount": 1}
        assert product == Body(content, bearer).organizations()[0][0].product


@pytest.mark.parametrize(
    "content",
    [
        {"organizations": None, "totalCount": 0},
        {"organizations": {}, "totalCount": 0},
        {"organizations": [7], "totalCount": 1},
        {"organizations": [{"id": "::error::"}], "totalCount": 1},
        {"organizations": [{"id": None}], "totalCount": 1},
        {"organizations": []},
        {"organizations": [], "totalCount": True},
        {"organizations": [], "totalCount": "0"},
    ],
)
def test_organizations_of_another_form_are_a_damaged_answer(
    content: dict[str, Any], bearer: SecretValue
) -> None:
    with pytest.raises(IntegrityError):
        Body(content, bearer).organizations()


@pytest.mark.parametrize(
    "content",
    [
        {"id": "dep2", "workspaceId": "ws1", "isCicdEnforced": True},
        {"id": "dep1", "workspaceId": "a\nb", "isCicdEnforced": True},
        {"id": "dep1", "isCicdEnforced": True},
        {"id": "dep1", "workspaceId": "ws1", "isCicdEnforced": "true"},
        {"id": "dep1", "workspaceId": "ws1"},
    ],
)
def test_a_deployment_of_another_form_is_a_damaged_answer(
    content: dict[str, Any], bearer: SecretValue
) -> None:
    with pytest.raises(IntegrityError):
        Body(content, bearer).deployment("dep1")


def test_a_part_of_the_token_is_no_identifier(bearer: SecretValue) -> None:
    token = bearer.reveal().decode()
    signature = token.rpartition(".")[2]
    for part in (token[20:60], signature[:8], f"x{signature[:8]}", f"clws.{signature[:60]}.x"):
        with pytest.raises(IntegrityError):
            Body({"id": "dep1", "workspaceId": part, "isCicdEnforced": True}, bearer).deployment("dep1")


# -- how often ----------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the rate."""
    clock = Clock()
    monkeypatch.setattr(sys.modules[Rate.__module__], "time", clock)
    return clock


def take(rate: Rate, bearer: SecretValue, *, seconds: float = 5.0, lasting: float = 0.0) -> None:
    with rate.turn(bearer, seconds):
        sys.modules[Rate.__module__].time.now += lasting


def test_a_token_waits_for_its_turn_and_for_no_other(bearer: SecretValue, clock: Clock) -> None:
    rate = Rate(3)
    other = SecretValue(b"a.b.c")
    for _ in range(3):
        take(rate, bearer)
        take(rate, other)
    assert [] == clock.waits
    take(rate, bearer)
    assert [pytest.approx(1.01)] == clock.waits


def test_a_turn_counts_from_the_response(bearer: SecretValue, clock: Clock) -> None:
    """The request can have reached Astro at any time before."""
    rate = Rate(2)
    take(rate, bearer, lasting=0.5)
    take(rate, bearer, lasting=0.25)
    take(rate, bearer)
    assert [pytest.approx(1.01 - 0.25)] == clock.waits


def test_a_turn_is_free_again_after_a_failure(bearer: SecretValue, clock: Clock) -> None:
    rate = Rate(1)
    with pytest.raises(ZeroDivisionError), rate.turn(bearer, 5):
        raise ZeroDivisionError
    take(rate, bearer)
    assert [pytest.approx(1.01)] == clock.waits


def test_without_a_free_turn_a_request_waits_for_a_response(bearer: SecretValue) -> None:
    rate = Rate(1)
    began, taken = threading.Event(), threading.Event()

    def later() -> None:
        began.set()
        with rate.turn(bearer, 60):
            taken.set()

    with rate.turn(bearer, 5):
        with pytest.raises(BackendUnavailableError), rate.turn(bearer, 0.05):
            pass
        thread = threading.Thread(target=later)
        thread.start()
        assert began.wait(60)
        assert not taken.is_set()
    assert taken.wait(60)
    thread.join()


def test_the_turns_of_tokens_that_were_used_long_ago_are_forgotten(clock: Clock) -> None:
    rate = Rate()
    for number in range(1000):
        take(rate, SecretValue(f"a.{number}.c".encode()), lasting=0.1)
    assert len(rate._tokens) <= 101
    assert [] == clock.waits


def test_many_threads_of_one_token_keep_within_the_documented_rate(bearer: SecretValue, clock: Clock) -> None:
    with Server() as server:
        documented, server.window = server.rates["GET"], 0.0
        token = SecretValue(server.accept(bearer.reveal().decode(), Grant()).encode())
        statuses: list[int] = []
        with AstroApi({"ASTRO_TOKEN_API_URL": server.url}) as api:
            threads = [
                threading.Thread(target=lambda: statuses.append(api.get(PATH, token, timeout=5).status))
                for _ in range(documented + 5)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert [200] * (documented + 5) == statuses
    turns = sorted([0.0] * (len(statuses) - len(clock.waits)) + clock.waits)
    assert clock.waits
    assert [] == [
        (first, next_) for first, next_ in zip(turns, turns[documented:], strict=False) if next_ - first < 1
    ]


def test_what_one_thread_was_asked_to_wait_another_waits_too(bearer: SecretValue, clock: Clock) -> None:
    with FaultServer(
        lambda number: 429 if number == 1 else 200, GOOD, headers={"Retry-After": "1"}
    ) as server:
        with AstroApi({"ASTRO_TOKEN_API_URL": server.url}) as api:
            with pytest.raises(BackendUnavailableError):
                api.get(PATH, bearer, timeout=5)
            assert 200 == api.get(PATH, bearer, timeout=5).status
    assert (2, [1.0]) == (server.count, clock.waits)


def test_a_turn_that_comes_too_late_is_not_waited_for(bearer: SecretValue, clock: Clock) -> None:
    rate = Rate()
    rate.postpone(bearer, 3600)
    with pytest.raises(BackendUnavailableError) as raised:
        take(rate, bearer)
    assert [] == clock.waits
    assert 3500 < (raised.value.retry_after or 0) <= 3600
