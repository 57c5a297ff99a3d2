"""What is told of the login before it is made, and that making it beforehand spares the read's."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import BackendUnavailableError, ConfigError
from astro_token.secrets.schemes import BUILTIN
from astro_token.testing import appearances
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit
from tests.backends.clouds import logged, source_failure, told
from tests.backends.vault import service
from tests.backends.vault.service import SECONDS, failure, ref
from tests.rows import each_row
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.vault.conftest import Connect
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao
    from tests.servers.wire import Wire

SECRET = "vault:secret/source?kv=2"
APPROLE = {"VAULT_ROLE_ID": "role-id-of-the-test", "VAULT_SECRET_ID": "secret-id-of-the-test"}


def source(**environ: str) -> str:
    backend = KeyValue(VaultClient({"VAULT_ADDR": "http://127.0.0.1:1", **environ}))
    text = backend.credential_source(ref(SECRET), timeout=SECONDS)
    assert [] == [name for name in HELD & environ.keys() if environ[name] in text]
    return text


HELD = {*BUILTIN["vault"].credentials, "ASTRO_TOKEN_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}


def test_after_the_login_alone_a_read_does_not_log_in_again(
    bao: OpenBao, connect: Connect, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    service.store(bao, "source", token="x")
    role = service.approle(bao)
    vault = connect(VAULT_ADDR=f"{wire.url}/", **role)
    caplog.set_level(logging.DEBUG)
    assert (wire.url, "approle: VAULT_ROLE_ID, VAULT_SECRET_ID") == told(vault, SECRET)
    assert ["POST /v1/auth/approle/login"] == wire.lines()
    vault.read(ref(SECRET), timeout=SECONDS)
    assert ["POST /v1/auth/approle/login", "GET /v1/secret/data/source"] == wire.lines()
    lines = [line for line in logged(caplog).splitlines() if line.startswith("logging in to Vault")]
    assert 1 == len(lines)
    assert f"at {wire.url} with approle: VAULT_ROLE_ID, VAULT_SECRET_ID" in lines[0]
    assert [] == [name for name, value in role.items() if appearances(value, logged(caplog))]


def test_the_source_is_told_without_a_request(wire: Wire) -> None:
    vault = KeyValue(VaultClient({"VAULT_ADDR": wire.url, **APPROLE}))
    vault.credential_source(ref(SECRET), timeout=SECONDS)
    vault.route(ref(SECRET))
    assert [] == wire.lines()


def test_a_given_token_is_nothing_to_log_in_with(wire: Wire) -> None:
    vault = KeyValue(VaultClient({"VAULT_ADDR": wire.url, "VAULT_TOKEN": "worthless"}))
    assert (wire.url, "token: VAULT_TOKEN") == told(vault, SECRET)
    assert [] == wire.lines()


def test_secrets_and_keys_share_the_login(bao: OpenBao, wire: Wire) -> None:
    connection = VaultClient({"VAULT_ADDR": wire.url, **service.approle(bao)})
    assert told(KeyValue(connection), SECRET) == told(Transit(connection), "vault-transit:k")
    assert 1 == wire.count
    connection.close()


def test_a_login_that_is_refused_is_told_as_by_a_read(bao: OpenBao) -> None:
    vault = KeyValue(VaultClient({"VAULT_ADDR": bao.address, **APPROLE}))
    assert "approle: VAULT_ROLE_ID, VAULT_SECRET_ID" == vault.credential_source(ref(SECRET), timeout=SECONDS)
    error = failure(lambda: vault.log_in(ref(SECRET), timeout=SECONDS))
    assert (77, "Vault refuses the login by approle") == (error.exit_code, error.message)


@each_row(
    ("environ", "expected"),
    [
        ({"VAULT_ROLE_ID": "the-role-id"}, "approle: VAULT_ROLE_ID, no secret id"),
        (
            {**APPROLE, "VAULT_WRAPPED_SECRET_ID": "wrapping"},
            "approle: VAULT_ROLE_ID, VAULT_WRAPPED_SECRET_ID",
        ),
        (
            {
                "ASTRO_TOKEN_VAULT_AUTH": "userpass",
                "ASTRO_TOKEN_VAULT_MOUNT": "team/ci",
                "VAULT_USERNAME": "jane",
                "VAULT_PASSWORD": "secret",
            },
            "userpass at auth/team/ci: VAULT_USERNAME, VAULT_PASSWORD",
        ),
        (
            {"ASTRO_TOKEN_VAULT_AUTH": "ldap", "VAULT_USERNAME": "jane", "VAULT_PASSWORD": "secret"},
            "ldap: VAULT_USERNAME, VAULT_PASSWORD",
        ),
        (
            {
                "ASTRO_TOKEN_VAULT_AUTH": "cert",
                "VAULT_CLIENT_CERT": "/c.pem",
                "VAULT_CLIENT_KEY": "/k.pem",
            },
            "cert: VAULT_CLIENT_CERT, VAULT_CLIENT_KEY, no role",
        ),
    ],
)
def test_each_method_names_what_it_takes_and_no_value(environ: dict[str, str], expected: str) -> None:
    assert expected == source(**environ)


def test_the_file_of_vault_login(tmp_path: Path) -> None:
    (tmp_path / ".vault-token").write_text("s.worthless\n")
    environ = {"HOME": str(tmp_path), "ASTRO_TOKEN_VAULT_AUTH": "token"}
    backend = KeyValue(VaultClient({"VAULT_ADDR": "http://127.0.0.1:1", **environ}))
    told = backend.credential_source(ref(SECRET), timeout=SECONDS)
    assert f"token: {tmp_path}/.vault-token" == told


def test_a_path_that_could_write_to_the_terminal_is_shown_escaped(tmp_path: Path) -> None:
    file = tmp_path / "to\x1b[2Jken"
    file.write_text("x.y.z")
    environ = {"ASTRO_TOKEN_VAULT_AUTH": "kubernetes", "ASTRO_TOKEN_VAULT_ROLE": "deploy"}
    told = source(**environ, ASTRO_TOKEN_KUBERNETES_TOKEN_FILE=str(file))
    assert f"kubernetes: the service account's token in {tmp_path}/to\\x1b[2Jken, role deploy" == told


def test_the_identity_of_a_job_names_its_system(issuer: Issuer) -> None:
    with CiIdentity(issuer) as server:
        environ = {**server.environment("github"), "ASTRO_TOKEN_VAULT_ROLE": "ci"}
        told = source(**environ, ASTRO_TOKEN_VAULT_AUDIENCE="vault")
        assert told.startswith(
            f"jwt: the identity of GitHub Actions, role ci, iss {issuer.name}, aud vault, sub "
        )
        assert 1 == len(server.requests)
    token = issuer.mint({"sub": "job", "environment": "prod", "actor": "someone"})
    claims = f"iss {issuer.name}, sub job, environment prod"
    assert f"jwt: the identity token of ASTRO_TOKEN_ID_TOKEN, role ci, {claims}" == source(
        ASTRO_TOKEN_ID_TOKEN=token, ASTRO_TOKEN_VAULT_ROLE="ci"
    )


LOGIN = Answer.json({"auth": {"client_token": "t", "lease_duration": 60, "renewable": False}})


def test_the_identity_that_was_requested_for_the_source_serves_for_the_login(issuer: Issuer) -> None:
    with CiIdentity(issuer) as server, FaultServer(lambda _: LOGIN) as vault:
        environ = {**server.environment("github"), "ASTRO_TOKEN_VAULT_ROLE": "ci", "VAULT_ADDR": vault.url}
        for seconds in (SECONDS, SECONDS - 1, SECONDS + 2):
            server.requests.clear()
            backend = KeyValue(VaultClient(environ))
            backend.credential_source(ref(SECRET), timeout=SECONDS)
            backend.log_in(ref(SECRET), timeout=seconds)
            assert 1 == len(server.requests)
        backend.log_in(ref(SECRET), timeout=SECONDS)
        assert (1, 3) == (len(server.requests), vault.count)


@pytest.mark.parametrize(("minutes", "requests"), [(0, 1), (2, 2)])
def test_the_next_attempt_logs_in_with_the_same_identity_while_it_is_new(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, minutes: int, requests: int
) -> None:
    with CiIdentity(issuer) as server, FaultServer(lambda number: 503 if number == 1 else LOGIN) as vault:
        environ = {**server.environment("github"), "ASTRO_TOKEN_VAULT_ROLE": "ci", "VAULT_ADDR": vault.url}
        backend = KeyValue(VaultClient(environ))
        with pytest.raises(BackendUnavailableError):
            backend.log_in(ref(SECRET), timeout=SECONDS)
        now = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: now() + 60 * minutes)
        backend.log_in(ref(SECRET), timeout=SECONDS)
        assert (requests, 2) == (len(server.requests), vault.count)
        assert all(request.body for request in vault.requests)


def test_an_identity_that_is_refused_is_not_sent_again(issuer: Issuer) -> None:
    with CiIdentity(issuer) as server, FaultServer(lambda number: 403 if number == 1 else LOGIN) as vault:
        environ = {**server.environment("github"), "ASTRO_TOKEN_VAULT_ROLE": "ci", "VAULT_ADDR": vault.url}
        backend = KeyValue(VaultClient(environ))
        assert 77 == failure(lambda: backend.log_in(ref(SECRET), timeout=SECONDS)).exit_code
        backend.log_in(ref(SECRET), timeout=SECONDS)
        assert (2, 2) == (len(server.requests), vault.count)


@each_row(
    "environ",
    [
        {},
        {"ASTRO_TOKEN_VAULT_AUTH": "approle"},
        {"ASTRO_TOKEN_VAULT_AUTH": "userpass", "VAULT_USERNAME": "jane"},
        {"ASTRO_TOKEN_VAULT_ROLE": "ci", "GITHUB_ACTIONS": "true"},
        {"ASTRO_TOKEN_VAULT_AUTH": "token", "HOME": "/nonexistent"},
    ],
)
def test_without_a_credential_the_error_is_that_of_the_read(environ: dict[str, str]) -> None:
    backend = KeyValue(VaultClient({"VAULT_ADDR": "http://127.0.0.1:1", **environ}))
    assert 77 == source_failure(backend, SECRET).exit_code


@pytest.mark.parametrize("address", ["", "http://vault.example.com", "https://user:pass@vault.example.com"])
def test_an_address_that_is_refused_is_an_error_of_the_settings(address: str) -> None:
    backend = KeyValue(VaultClient({"VAULT_ADDR": address, "VAULT_TOKEN": "t"}))
    error = failure(lambda: backend.route(ref(SECRET)))
    assert isinstance(error, ConfigError)
    assert "pass" not in error.message + str(error.hint)


def test_the_route_keeps_the_port() -> None:
    backend = KeyValue(VaultClient({"VAULT_ADDR": "https://vault.example.com:8200/team/"}))
    assert "https://vault.example.com:8200" == backend.route(ref(SECRET)).address.origin


# -- roles without the policy `default` ---------------------------------------------------------------


def logins(wire: Wire) -> int:
    return len([line for line in wire.lines() if line == "POST /v1/auth/approle/login"])


def test_a_role_that_may_not_look_itself_up_logs_in_anew_only_once_for_its_denials(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    service.store(bao, "source", token="x")
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao, token_no_default_policy=True))

    def denied() -> Any:
        error = failure(lambda: vault.read(ref("vault:kv1/a/b?kv=1"), timeout=SECONDS))
        return error.exit_code, "capabilities" in str(error.hint)

    vault.read(ref(SECRET), timeout=SECONDS)
    assert 1 == logins(wire)
    for _ in range(4):
        assert (77, True) == denied()
    assert 2 == logins(wire)
    vault.read(ref(SECRET), timeout=SECONDS)
    assert 2 == logins(wire)
    wire.forget()
    assert (77, True) == denied()
    assert ["GET /v1/kv1/a/b"] == wire.lines(), "a denial that is believed takes one request"


def test_a_login_that_is_used_up_is_made_anew_each_time_also_without_that_policy(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    service.store(bao, "source", token="x")
    role = service.approle(bao, token_no_default_policy=True, token_num_uses=1)
    vault = connect(VAULT_ADDR=wire.url, **role)
    for number in range(1, 4):
        vault.read(ref(SECRET), timeout=SECONDS)
        assert number == logins(wire)


def test_both_vault_schemes_have_all_three_abilities() -> None:
    for scheme in ("vault", "vault-transit"):
        made: Any = {"vault": KeyValue, "vault-transit": Transit}[scheme]
        assert BUILTIN[scheme].backend.endswith(made.__name__)
        assert all(callable(getattr(made, name)) for name in ("route", "credential_source", "log_in"))
