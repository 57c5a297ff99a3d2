"""A hostile neighbourhood: redirects, proxies, ~/.netrc, cookies, loggers, and answers without an end."""

from __future__ import annotations

import http.client
import io
import json
import logging
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hvac
import pytest
import requests

from astro_token.errors import AstroTokenError, IntegrityError
from astro_token.secret import SecretValue
from astro_token.testing import appearances, reachable_text
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit
from tests.backends.vault import service
from tests.backends.vault.service import ROOT, SECONDS, failure, fields, ref, unique
from tests.installed import extra_hint
from tests.rows import each_row
from tests.servers.faults import Egress, FaultServer
from tests.servers.http1 import Answer
from tests.servers.listener import Listener
from tests.timing import within

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.openbao import OpenBao
    from tests.servers.wire import Wire

PLACE = "vault:secret/a?kv=2"
VALUE = {"data": {"data": {"token": "x"}, "metadata": {"version": 1}, "version": 2}}


def vault(server: FaultServer, **environ: str) -> KeyValue:
    return KeyValue(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t", **environ}))


# -- redirects ----------------------------------------------------------------------------------------


def calls(address: str, canary: str) -> dict[str, Callable[[], object]]:
    """A read, a login, a write and an encryption, each with the canary in what it sends."""

    def connection(**environ: str) -> VaultClient:
        return VaultClient({"VAULT_ADDR": address, **environ})

    token = connection(VAULT_TOKEN=canary)
    approle = connection(VAULT_ROLE_ID="r", VAULT_SECRET_ID=canary)
    given = connection(VAULT_TOKEN="t")
    value = SecretValue(canary.encode())
    return {
        "question": lambda: KeyValue(token).read(ref("vault:secret/a"), timeout=SECONDS),
        "read": lambda: KeyValue(token).read(ref(PLACE), timeout=SECONDS),
        "login": lambda: KeyValue(approle).read(ref(PLACE), timeout=SECONDS),
        "write": lambda: KeyValue(given).write(ref(PLACE), value, expected_version=None, timeout=SECONDS),
        "encrypt": lambda: Transit(given).encrypt(ref("vault-transit:k"), value, timeout=SECONDS),
    }


@each_row("call", ["question", "read", "login", "write", "encrypt"])
@each_row("where", ["same host", "other host", "other scheme", "no host"])
@each_row("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(canary: str, call: str, where: str, status: int) -> None:
    with Egress() as other, FaultServer(status) as server:
        targets = {
            "same host": "/v1/elsewhere",
            "other host": f"{other.url}/v1/secret/data/a",
            "other scheme": f"//127.0.0.1:{other.port}/v1/secret/data/a",
            "no host": "http://",
        }
        server.redirect = targets[where]
        error = failure(calls(server.url, canary)[call])
        assert type(error) is IntegrityError
        assert server.count == 1
        assert server.saw(canary)
        assert other.count == 0
        assert appearances(canary, reachable_text(error)) == []


def test_hvac_alone_would_have_carried_token_and_value_along(canary: str) -> None:
    with Egress() as other, FaultServer(307, redirect=f"{other.url}/v1/secret/data/a") as server:
        client = hvac.Client(url=server.url, token=canary)
        with pytest.raises(hvac.exceptions.Forbidden):
            client.secrets.kv.v2.create_or_update_secret("a", {"token": "the-value-of-the-secret"})
    assert other.saw(canary)
    assert other.saw("the-value-of-the-secret")


# -- the environment of others ------------------------------------------------------------------------


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, egress: Egress) -> dict[str, str]:
    """All that requests and hvac would take from their surroundings."""
    home = tmp_path / "home"
    netrc = home / ".netrc"
    netrc.write_text(
        "machine 127.0.0.1 login thief password stolen-password\ndefault login thief password stolen"
    )
    netrc.chmod(0o600)
    (home / ".vault-token").write_text("token-of-a-file")
    environ = {
        **egress.proxies(),
        "NETRC": str(netrc),
        "VAULT_TOKEN": "token-of-the-environment",
        "VAULT_ADDR": egress.url,
        "VAULT_NAMESPACE": "thief",
        "VAULT_CACERT": "/nonexistent",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


def test_nothing_is_taken_from_the_surroundings(
    bao: OpenBao, wire: Wire, hostile: dict[str, str], egress: Egress
) -> None:
    name = unique()
    service.store(bao, name, token="x")
    connection = VaultClient({"VAULT_ADDR": wire.url, "HOME": "/nonexistent", **service.approle(bao)})
    backend = KeyValue(connection)
    assert {"token": "x"} == fields(backend.read(ref(f"vault:secret/{name}"), timeout=SECONDS))
    backend.close()
    assert egress.count == 0
    assert wire.count == 4
    for stranger in ("token-of-the-environment", "token-of-a-file", "stolen", "thief", "Basic"):
        assert not wire.saw(stranger)
    assert "authorization" not in {name for request in wire.requests for name in request.headers}


def test_requests_alone_would_have_told_the_proxy_and_used_netrc(
    bao: OpenBao, hostile: dict[str, str], egress: Egress, monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    requests.get(f"{wire.url}/v1/sys/health", headers={"X-Vault-Token": "tell-everybody"}, timeout=30)
    assert egress.saw("tell-everybody")
    for name in egress.proxies():
        monkeypatch.delenv(name)
    requests.get(f"{wire.url}/v1/sys/health", timeout=30)
    assert wire.requests[0].headers["authorization"].startswith("Basic ")


def test_plain_http_uses_no_proxy_of_its_own_environment_either(bao: OpenBao, egress: Egress) -> None:
    name = unique()
    service.store(bao, name, token="x")
    environ = {"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.root_token, **egress.proxies()}
    KeyValue(VaultClient(environ)).read(ref(f"vault:secret/{name}"), timeout=SECONDS)
    assert egress.count == 0


def test_cookies_are_not_kept() -> None:
    answer = Answer.json(VALUE, headers={"Set-Cookie": "session=abc; Path=/"})
    with FaultServer(lambda _: answer) as server:
        backend = vault(server)
        for _ in range(2):
            backend.read(ref(PLACE), timeout=SECONDS)
        assert server.count == 2
        assert "cookie" not in server.requests[-1].headers


# -- logs and standard output -------------------------------------------------------------------------


@contextmanager
def everything_logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Every logger at DEBUG, and http.client printing what it sends and receives."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def test_nothing_is_logged_or_printed_of_credentials_and_values(
    bao: OpenBao, wire: Wire, canary: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, role = unique(), service.approle(bao)
    place = ref(f"vault:secret/{name}")
    with everything_logged(monkeypatch) as logged:
        backend = KeyValue(VaultClient({"VAULT_ADDR": wire.url, **role}))
        backend.write(place, SecretValue(canary.encode()), expected_version="0", timeout=SECONDS)
        backend.read(place, timeout=SECONDS)
        failure(lambda: backend.read(ref(f"vault:secret/{name}?version=9"), timeout=SECONDS))
        token = wire.requests[-1].headers["x-vault-token"]
        backend.close()
    out, err = capfd.readouterr()
    for secret in (canary, token, role["VAULT_SECRET_ID"]):
        assert appearances(secret, logged.getvalue() + out + err) == []
    assert "logging in to Vault" in logged.getvalue()


def test_hvac_alone_would_have_printed_the_token(
    bao: OpenBao, canary: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with everything_logged(monkeypatch):
        failed = hvac.Client(url=bao.address, token=canary)
        with pytest.raises(hvac.exceptions.Forbidden):
            failed.secrets.kv.v2.read_secret_version("a", raise_on_deleted_version=True)
    assert appearances(canary, capfd.readouterr().out) != []


def test_over_tls_nothing_is_printed_either(
    certificates: object, canary: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.servers.certificates import Certificates

    assert isinstance(certificates, Certificates)
    with (
        everything_logged(monkeypatch) as logged,
        FaultServer(200, json.dumps(VALUE).encode(), tls=certificates.server.context()) as server,
    ):
        vault(server, VAULT_TOKEN=canary, VAULT_CACERT=str(certificates.ca_file)).read(
            ref(PLACE), timeout=SECONDS
        )
        assert server.saw(canary)
    out, err = capfd.readouterr()
    assert appearances(canary, logged.getvalue() + out + err) == []


# -- answers without an end ---------------------------------------------------------------------------


def endless(head: bytes, block: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        for _ in range(1 << 9):  # 512 MiB, were they all wanted
            connection.sendall(block)

    return serve


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MIB = b"A" * (1 << 20)


def peak(call: Callable[[], object]) -> int:
    """The most memory in bytes that Python's own allocations took while it ran."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", ["huge", "gzip-bomb"])
def test_a_huge_or_packed_body_is_given_up_early(mode: str) -> None:
    with FaultServer(mode, size=1 << 28) as server:
        backend = vault(server)
        errors: list[AstroTokenError] = []
        used = peak(lambda: errors.append(failure(lambda: backend.read(ref(PLACE), timeout=SECONDS))))
        assert type(errors[0]) is IntegrityError
        assert used < 8 << 20
        assert server.sent < 32 << 20


@each_row(
    ("head", "block"),
    [
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", MIB),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n100000\r\n", MIB + b"\r\n100000\r\n"),
        (OK + b"\r\n", MIB),
        (OK, b"X-Endless: " + MIB[:1000] + b"\r\n"),
        (OK + b"X-Long: ", MIB),
        (b"HTTP/1.1 ", MIB),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", MIB),
    ],
    ids=["size of a chunk", "chunks", "no length", "headers", "one header", "status", "redirect"],
)
def test_no_part_of_an_answer_may_go_on_for_ever(head: bytes, block: bytes) -> None:
    with Listener(endless(head, block)) as listener:
        backend = KeyValue(
            VaultClient({"VAULT_ADDR": f"http://127.0.0.1:{listener.port}", "VAULT_TOKEN": "t"})
        )
        errors: list[AstroTokenError] = []
        with within(0):
            used = peak(lambda: errors.append(failure(lambda: backend.read(ref(PLACE), timeout=SECONDS))))
        assert errors[0].exit_code in {75, 76}
        assert used < 8 << 20


def test_a_dripping_body_ends_with_the_time_of_the_call() -> None:
    with FaultServer("drip-body", drip=0.02) as server:
        with within(0.3):
            error = failure(lambda: vault(server).read(ref(PLACE), timeout=0.3))
        assert error.exit_code == 75


def test_what_says_that_it_is_packed_is_not_read() -> None:
    packed = Answer.json(VALUE, headers={"Content-Encoding": "gzip"})
    with FaultServer(lambda _: packed) as server:
        assert type(failure(lambda: vault(server).read(ref(PLACE), timeout=SECONDS))) is IntegrityError


def test_a_value_below_the_limit_is_read_whole_however_it_is_sent(bao: OpenBao) -> None:
    name = unique()
    text = "a" * 200_000
    service.store(bao, name, token=text)  # a body of this size comes in chunks
    backend = KeyValue(VaultClient({"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.root_token}))
    assert {"token": text} == fields(backend.read(ref(f"vault:secret/{name}"), timeout=SECONDS))


# -- laziness -----------------------------------------------------------------------------------------


def python(program: str, *, without: str = "") -> str:
    block = f"import sys; sys.modules[{without!r}] = None\n" if without else "import sys\n"
    done = subprocess.run(
        [sys.executable, "-c", block + program],
        cwd=ROOT,
        env={"PYTHONPATH": "core:backends", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_loads_no_sdk_and_making_one_does() -> None:
    shown = 'print(sorted({"hvac", "requests", "urllib3"} & set(sys.modules)))\n'
    imports = "from astro_token_backends.vault import kv, transit\n"
    program = f"{imports}{shown}kv.KeyValue()\n{shown}"
    assert python(program).splitlines() == ["[]", "['hvac', 'requests', 'urllib3']"]


@pytest.mark.parametrize("package", ["hvac", "requests"])
@pytest.mark.parametrize("scheme", ["vault", "vault-transit"])
def test_what_is_not_installed_is_named_with_the_way_to_install_it(package: str, scheme: str) -> None:
    program = f"""
from astro_token.errors import MissingDependencyError
from astro_token.secrets.registry import open_backend
try:
    open_backend({scheme!r})
except MissingDependencyError as error:
    print(error.message, "|", error.hint)
"""
    said = python(program, without=package)
    assert package in said
    assert extra_hint("vault") in said
