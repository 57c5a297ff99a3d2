"""
Everything that can go wrong between here and Vault: the exit status, the time that it takes,
and that neither the credential nor the value is in what is left.

The numbers are those of the list that all backends are measured against. Not in it: 36, which only AWS has.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AstroTokenError, BackendError, BackendUnavailableError
from astro_token.secret import SecretValue
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.transport.deadline import Deadline
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit
from tests.backends.vault.service import ROOT, failure, ref
from tests.servers.faults import BlackHole, ConnectProxy, FaultServer, refused_port
from tests.servers.http1 import Answer
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.certificates import Certificates
    from tests.servers.faults import Mode

SECONDS = 0.3
READ = "vault:secret/a?kv=2"
# What the canary is in: the value of every answer, whole or damaged, and the reason of every refusal.
CANARY = make_token()
VALUE = {"data": {"data": {"token": CANARY}, "metadata": {"version": 1}}}
BODY = json.dumps(VALUE).encode()


def refusal(status: int, *errors: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer.json({"errors": [*errors, f"your token was {CANARY}"]}, status, named)


def date(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


@dataclass
class Fault:
    """
    Attributes:
        code: the exit status, 0 where it is got over.
        mode: of a `FaultServer`, which is asked in the clear; `BODY` is its body.
        make: makes something else to ask, and says what the environment is then.
        kind: how the server speaks TLS, by the name of its certificate.
        quick: an answer has to come sooner than at the deadline.
        attempts: the most that may be made. A part of a second has a few by chance; without pauses, hundreds.
    """

    code: int
    mode: Mode | None = None
    make: Callable[[ExitStack, Certificates, pytest.MonkeyPatch], dict[str, str]] | None = None
    kind: str | None = None
    quick: bool = False
    attempts: int = 20
    options: dict[str, Any] = field(default_factory=dict)


def at(address: str) -> Callable[..., dict[str, str]]:
    return lambda *_: {"VAULT_ADDR": address}


def opened(thing: Callable[[], AbstractContextManager[Any]]) -> Callable[..., dict[str, str]]:
    return lambda stack, *_: {"VAULT_ADDR": stack.enter_context(thing()).url}


def unresolved(number: int) -> Callable[..., dict[str, str]]:
    def make(_: object, __: object, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        def getaddrinfo(*_: object, **__: object) -> None:
            raise socket.gaierror(number, "as the resolver says it")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return {"VAULT_ADDR": "https://vault.example"}

    return make


def proxied(status: int) -> Callable[..., dict[str, str]]:
    def make(stack: ExitStack, *_: object) -> dict[str, str]:
        proxy = stack.enter_context(ConnectProxy(status=status))
        return {"VAULT_ADDR": "https://vault.example", "HTTPS_PROXY": proxy.url}

    return make


def then_fine(fault: Mode, times: int) -> Mode:
    return lambda number: fault if number <= times else Answer.json(VALUE)


SEALED = refusal(503, "Vault is sealed")
FAULTS: dict[str, Fault] = {
    "01 refused": Fault(75, make=at(f"http://127.0.0.1:{refused_port()}")),
    "02 SYN black hole": Fault(75, make=opened(BlackHole)),
    "02 connects and no more": Fault(75, make=opened(lambda: BlackHole(connect=True))),
    "03 NXDOMAIN": Fault(69, make=unresolved(socket.EAI_NONAME), quick=True),
    "04 EAI_AGAIN": Fault(75, make=unresolved(socket.EAI_AGAIN)),
    "05 reset before": Fault(75, "reset"),
    "05 closed before": Fault(75, "close"),
    "06 reset in the header": Fault(75, "reset-head"),
    "07 reset in the body": Fault(75, "reset-body"),
    "08 short body": Fault(76, "short-body", attempts=1),
    "09 cut JSON": Fault(76, "cut-json", attempts=1),
    "10 empty 200": Fault(76, "empty", attempts=1),
    "10 204": Fault(76, 204, attempts=1),
    "11 HTML 200": Fault(76, "html", attempts=1),
    "11 plain text": Fault(76, "not-json", attempts=1),
    "12 wrong charset": Fault(76, "wrong-charset", attempts=1),
    "12 wrong type": Fault(76, "wrong-type", attempts=1),
    "13 array": Fault(76, "json-array", attempts=1),
    "13 null": Fault(76, "json-null", attempts=1),
    "13 int": Fault(76, "json-int", attempts=1),
    "13 nested": Fault(76, "json-nested", attempts=1),
    "13 another object": Fault(76, Answer.json({"secret": CANARY}), attempts=1),
    "13 data is no map": Fault(76, Answer.json({"data": {"data": CANARY, "metadata": {}}}), attempts=1),
    "13 no version": Fault(76, Answer.json({"data": {"data": {"token": CANARY}}}), attempts=1),
    "14 huge body": Fault(76, "huge", attempts=1, options={"size": 1 << 26}),
    "15 gzip bomb": Fault(76, "gzip-bomb", attempts=1, options={"size": 1 << 26}),
    "16 slow header": Fault(75, "drip-head", options={"drip": 0.05}),
    "17 dripping body": Fault(75, "drip-body", options={"drip": 0.05}),
    "18 silence": Fault(75, "hang"),
    "19 redirect, same host": Fault(76, 302, attempts=1, options={"redirect": "/v1/elsewhere"}),
    "20 redirect, other host": Fault(76, 307, attempts=1, options={"redirect": "https://vault.example/"}),
    "21 redirect to http": Fault(
        76, 301, kind="server", attempts=1, options={"redirect": "http://127.0.0.1:1/"}
    ),
    "22 redirect loop": Fault(76, 308, attempts=1, options={"redirect": "/v1/secret/data/a"}),
    "23 429, short Retry-After": Fault(75, refusal(429, Retry_After="0")),
    "23 429, then fine": Fault(0, then_fine(refusal(429, Retry_After="0"), 2), attempts=3),
    "24 429, huge Retry-After": Fault(75, refusal(429, Retry_After="999999999"), quick=True, attempts=1),
    "24 429, a date far off": Fault(75, refusal(429, Retry_After=date(3600)), quick=True, attempts=1),
    "24 429, a date gone by": Fault(75, refusal(429, Retry_After=date(-3600))),
    "24 429, garbage": Fault(75, refusal(429, Retry_After="soon; 1e999")),
    "24 429, negative": Fault(75, refusal(429, Retry_After="-5")),
    "25 500 twice, then fine": Fault(0, then_fine(refusal(500), 2), attempts=3),
    "25 500 for ever": Fault(75, refusal(500)),
    "26 502": Fault(75, 502),
    "26 504": Fault(75, 504),
    "26 502 in HTML": Fault(75, Answer(502, b"<html>", content_type="text/html")),
    "27 503 sealed": Fault(69, SEALED, quick=True, attempts=1),
    "27 503 of a proxy": Fault(75, Answer(503, b"sealed", content_type="text/plain")),
    "27 503 of something else": Fault(75, refusal(503, "no upstream")),
    "28 standby 429": Fault(75, refusal(429)),
    "28 standby 473": Fault(75, refusal(473)),
    "28 standby 472": Fault(75, refusal(472)),
    "29 412 twice, then fine": Fault(0, then_fine(refusal(412), 2), attempts=3),
    "30 501": Fault(69, refusal(501), quick=True, attempts=1),
    "31 401": Fault(77, refusal(401), quick=True, attempts=1),
    "32 403": Fault(77, refusal(403), quick=True, attempts=1),
    "32 403 in HTML": Fault(77, Answer(403, b"<html>", content_type="text/html"), attempts=1),
    "32 405": Fault(77, refusal(405), quick=True, attempts=1),
    "32 405 in HTML": Fault(76, Answer(405, b"<html>", content_type="text/html"), attempts=1),
    "32 408": Fault(75, refusal(408, Retry_After="0")),
    "32 408 in HTML": Fault(75, Answer(408, b"<html>", {"Retry-After": "0"}, "text/html")),
    "33 404": Fault(66, refusal(404), quick=True, attempts=1),
    "33 404 of a gateway": Fault(76, Answer.json({"message": "no Route matched"}, 404), attempts=1),
    "33 404 in HTML": Fault(76, Answer(404, b"<html>", content_type="text/html"), attempts=1),
    "34 deleted version": Fault(
        66,
        Answer.json({"data": {"data": None, "metadata": {"version": 2, "deletion_time": CANARY}}}, 404),
        attempts=1,
    ),
    "35 400": Fault(70, refusal(400, "check-and-set parameter did not match"), attempts=1),
    "35 400 of a gateway": Fault(76, Answer.json({"message": CANARY}, 400), attempts=1),
    "35 400 in HTML": Fault(76, Answer(400, b"<html>", content_type="text/html"), attempts=1),
    "35 418": Fault(70, refusal(418), attempts=1),
    "35 418 in HTML": Fault(76, Answer(418, b"<html>", content_type="text/html"), attempts=1),
    "35 413 of a gateway": Fault(76, Answer.json({"message": CANARY}, 413), attempts=1),
    "37 expired credential": Fault(77, refusal(403, "permission denied"), attempts=1),
    "38 its clock is ten minutes fast": Fault(
        75, refusal(429, Retry_After=date(660), Date=date(600)), quick=True, attempts=1
    ),
    "38 its clock is ten minutes slow": Fault(
        75, refusal(429, Retry_After=date(-540), Date=date(-600)), quick=True, attempts=1
    ),
    "39 self-signed": Fault(76, 200, kind="self_signed", attempts=0),
    "39 another authority": Fault(76, 200, kind="unknown_ca", attempts=0),
    "40 expired certificate": Fault(76, 200, kind="expired", attempts=0),
    "40 not yet valid": Fault(76, 200, kind="not_yet_valid", attempts=0),
    "41 wrong host": Fault(76, 200, kind="wrong_host", attempts=0),
    "42 EOF in the handshake": Fault(75, "handshake-eof", attempts=0),
    "42 closed before, in TLS": Fault(75, "close", kind="server"),
    "42 reset before, in TLS": Fault(75, "reset", kind="server"),
    "42 broken off in the body, in TLS": Fault(75, "short-body", kind="server"),
    "42 short body, in TLS": Fault(76, "short-body-ended", kind="server", attempts=1),
    "42 reset in the handshake": Fault(75, "handshake-reset", attempts=0),
    "42 silence in the handshake": Fault(75, "handshake-hang", attempts=0),
    "42 no TLS at all": Fault(76, "handshake-plain", attempts=0),
    "43 proxy 407": Fault(78, make=proxied(407), quick=True),
    "43 proxy 403": Fault(78, make=proxied(403), quick=True),
    "43 proxy 502": Fault(75, make=proxied(502)),
    "43 a 407 that is not a proxy's": Fault(78, refusal(407), attempts=1),
}


@pytest.fixture
def stack() -> Any:
    with ExitStack() as stack:
        yield stack


@dataclass
class Met:
    environ: dict[str, str]
    server: FaultServer | None


def meet(fault: Fault, stack: ExitStack, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Met:
    trusted = {"VAULT_CACERT": str(certificates.ca_file)}
    if fault.make:
        return Met({**trusted, **fault.make(stack, certificates, monkeypatch)}, None)
    mode = fault.mode
    assert mode is not None
    tls = getattr(certificates, fault.kind).context() if fault.kind else None
    given = mode if isinstance(mode, str | int) or callable(mode) else lambda _: mode
    server = stack.enter_context(FaultServer(given, BODY, tls=tls, **fault.options))
    return Met({**trusted, "VAULT_ADDR": server.url}, server)


@pytest.fixture
def logged() -> Any:
    lines: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {record.args} {record.exc_info}")

    root, recorder = logging.getLogger(), Recorder(0)
    level = root.level
    root.addHandler(recorder)
    root.setLevel(0)
    yield lines
    root.removeHandler(recorder)
    root.setLevel(level)


def attempted(
    call: Callable[[float], SecretValue], seconds: float
) -> tuple[SecretValue | None, AstroTokenError | None]:
    try:
        return Deadline(seconds).retry(call), None
    except AstroTokenError as error:
        return None, error


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_time_with_its_status_and_without_a_secret(
    name: str,
    stack: ExitStack,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[str],
) -> None:
    fault = FAULTS[name]
    met = meet(fault, stack, certificates, monkeypatch)
    backend = KeyValue(VaultClient({**met.environ, "VAULT_TOKEN": CANARY}))
    # What ends by itself gets more time than a busy machine takes.
    seconds = SECONDS if fault.code == 75 and not fault.quick else 20.0
    with within(SECONDS):
        value, error = attempted(lambda left: backend.read(ref(READ), timeout=left), seconds)
    assert fault.code == (error.exit_code if error else 0)
    if error:
        assert error.hint
        assert "\n" not in error.message + error.hint
        assert error.message.count(READ) <= 1
    else:
        assert value is not None
        assert CANARY.encode() in value.reveal()
    text = reachable_text(error.with_traceback(None)) if error else ""
    assert appearances(CANARY, text + "\n".join(logged)) == []
    if met.server is not None:
        assert met.server.count <= fault.attempts


# -- the same, in every other request -----------------------------------------------------------------

# What hangs or drips is over when the deadline is, which is shown above: here each call is made directly,
# so that the frames of the backend are still there to be searched.
QUICK = {
    name: fault
    for name, fault in FAULTS.items()
    if fault.mode not in ("drip-head", "drip-body", "hang", "handshake-hang")
    and not name.startswith(("02", "04"))
    and fault.code != 0
}
APPROLE = {"VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": CANARY}
GIVEN = {"VAULT_TOKEN": CANARY}
OF_VALUE = SecretValue(CANARY.encode())
STAGES: dict[str, tuple[dict[str, str], Callable[[VaultClient], object]]] = {
    "login": (APPROLE, lambda c: KeyValue(c).read(ref(READ), timeout=2)),
    "unwrap": (
        {"VAULT_ROLE_ID": "r", "VAULT_WRAPPED_SECRET_ID": CANARY},
        lambda c: KeyValue(c).read(ref(READ), timeout=2),
    ),
    "question": (GIVEN, lambda c: KeyValue(c).read(ref("vault:secret/a"), timeout=2)),
    "read": (GIVEN, lambda c: KeyValue(c).read(ref(READ), timeout=2)),
    "read KV 1": (GIVEN, lambda c: KeyValue(c).read(ref("vault:secret/a?kv=1"), timeout=2)),
    "describe": (GIVEN, lambda c: KeyValue(c).describe(ref(READ), timeout=2)),
    "write": (GIVEN, lambda c: KeyValue(c).write(ref(READ), OF_VALUE, expected_version="1", timeout=2)),
    "write KV 1": (
        GIVEN,
        lambda c: KeyValue(c).write(ref("vault:secret/a?kv=1"), OF_VALUE, expected_version=None, timeout=2),
    ),
    "decrypt": (GIVEN, lambda c: Transit(c).decrypt(ref("vault-transit:k"), b"vault:v1:abcd", timeout=2)),
    "encrypt": (GIVEN, lambda c: Transit(c).encrypt(ref("vault-transit:k"), OF_VALUE, timeout=2)),
}
# Where the same answer means something else.
OTHERWISE: dict[tuple[str, str], int] = {
    ("login", "33 404"): 77,
    ("login", "34 deleted version"): 77,
    ("login", "35 400"): 77,
    ("unwrap", "33 404"): 77,
    ("unwrap", "34 deleted version"): 77,
    ("unwrap", "35 400"): 77,
    ("write", "35 400"): 75,
    ("decrypt", "35 400"): 65,
    ("encrypt", "35 400"): 65,
    # A wrapping token that wraps something else was made by somebody else.
    ("unwrap", "13 another object"): 77,
    ("unwrap", "13 data is no map"): 77,
    ("unwrap", "13 no version"): 77,
    ("unwrap", "10 204"): 77,
    # KV 1 keeps any map, and answers a write with nothing.
    ("read KV 1", "13 data is no map"): 0,
    ("read KV 1", "13 no version"): 0,
    ("write KV 1", "10 204"): 0,
    ("write KV 1", "13 another object"): 0,
    ("write KV 1", "13 data is no map"): 0,
    ("write KV 1", "13 no version"): 0,
}


@pytest.mark.long  # 800 of them; `tests/matrix` has the same for each backend
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", QUICK)
def test_a_fault_in_any_request_has_its_status_and_leaves_no_secret_in_a_frame(
    name: str, stage: str, stack: ExitStack, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = QUICK[name]
    met = meet(fault, stack, certificates, monkeypatch)
    credential, call = STAGES[stage]
    connection = VaultClient({**met.environ, **credential})
    expected = OTHERWISE.get((stage, name), fault.code)
    if expected == 0:
        call(connection)
    else:
        error = failure(lambda: call(connection))
        assert expected == error.exit_code
        assert appearances(CANARY, reachable_text(error)) == []
    if met.server is not None:
        assert met.server.count <= 1


# -- what the service says about when to come back ----------------------------------------------------


def test_retry_after_reaches_the_retries() -> None:
    with FaultServer(lambda _: refusal(429, Retry_After="7")) as server:
        backend = KeyValue(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t"}))
        error = failure(lambda: backend.read(ref(READ), timeout=20))
        assert isinstance(error, BackendUnavailableError)
        assert error.retry_after == 7.0


def test_without_time_nothing_is_sent() -> None:
    with FaultServer(200, BODY) as server:
        backend = KeyValue(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t"}))
        error = failure(lambda: backend.read(ref(READ), timeout=0.0))
        assert type(error) is BackendUnavailableError
        assert server.count == 0


def test_without_descriptors_it_is_a_matter_of_this_process() -> None:
    program = f"""
import resource
from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef
from astro_token_backends.vault.kv import KeyValue
import astro_token_backends.vault.adapter, astro_token.transport.connection, encodings.idna
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    KeyValue().read(SecretRef.parse({READ!r}), timeout=2)
except AstroTokenError as error:
    print(error.exit_code)
"""
    with FaultServer(200, BODY) as server:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONPATH": "core:backends", "VAULT_ADDR": server.url, "VAULT_TOKEN": "t"},
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert (b"74\n", b"") == (done.stdout, done.stderr)


def test_what_nobody_foresaw_is_named_by_its_type_only() -> None:
    class Odd(dict[str, str]):
        def get(self, *_: object) -> Any:
            raise LookupError(CANARY)

    error = failure(lambda: KeyValue(VaultClient(Odd())).read(ref(READ), timeout=2))
    assert type(error) is BackendError
    assert "LookupError" in error.message
    assert appearances(CANARY, reachable_text(error)) == []


def test_the_scan_finds_what_an_unhardened_client_leaves_behind() -> None:
    """The negative control of all of the above."""
    import hvac

    with FaultServer(lambda _: refusal(403)) as server:
        client = hvac.Client(url=server.url, token="t")
        with pytest.raises(hvac.exceptions.Forbidden) as caught:
            client.secrets.kv.v2.read_secret_version("a", raise_on_deleted_version=True)
        assert appearances(CANARY, reachable_text(caught.value)) != []
