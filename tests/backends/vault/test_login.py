"""From a credential in the environment to a token, and the token given back."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import hvac
import pytest

from astro_token.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)
from astro_token.secret import SecretValue
from astro_token.testing import appearances, make_token, reachable_text
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from tests.backends.vault import service
from tests.backends.vault.service import SECONDS, failure, fields, ref, unique
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer, HttpServer, Request
from tests.servers.openbao import OpenBaoError
from tests.timing import wait_until, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backends.vault.conftest import Connect
    from tests.servers.certificates import Certificates
    from tests.servers.faults import Mode
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao
    from tests.servers.wire import Wire

SECRET = "secret/login"
LOGIN = {"auth": {"client_token": "s.made-by-login", "lease_duration": 300, "token_type": "service"}}
VALUE = {"data": {"data": {"token": "x"}, "metadata": {"version": 1}}}


@pytest.fixture(autouse=True)
def stored(bao: OpenBao) -> None:
    service.store(bao, "login", token="x")


@pytest.fixture(scope="module")
def reading(openbao: OpenBao) -> str:
    return service.policy(openbao, 'path "secret/*" { capabilities = ["read"] }')


def lives(bao: OpenBao, token: str) -> bool:
    status = 200
    try:
        bao.api("POST", "auth/token/lookup", {"token": token})
    except OpenBaoError as error:
        status = error.status
    assert status in {200, 403}
    return status == 200


def reads(vault: KeyValue) -> bool:
    return fields(vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS)) == {"token": "x"}


def denied(vault: KeyValue) -> AccessDeniedError:
    error = failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS))
    assert isinstance(error, AccessDeniedError)
    return error


# -- each method --------------------------------------------------------------------------------------


def test_a_given_token_is_used_and_not_revoked(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    token = service.token(bao, 'path "secret/*" { capabilities = ["read"] }')
    vault = connect(VAULT_ADDR=wire.url, VAULT_TOKEN=f"{token}\r\n")
    assert reads(vault)
    vault.close()
    assert [] == [line for line in wire.lines() if "/auth/" in line]
    assert lives(bao, token)


def test_the_token_of_vault_login_is_used_only_when_it_is_asked_for(
    bao: OpenBao, connect: Connect, tmp_path: Path
) -> None:
    file = tmp_path / "home" / ".vault-token"
    file.write_text(f"{bao.root_token}\n")
    home = {"HOME": str(file.parent)}
    assert "no usable credential" in denied(connect(**home)).message
    assert reads(connect(**home, ASTRO_TOKEN_VAULT_AUTH="token"))
    assert (
        "VAULT_TOKEN is not set"
        in denied(connect(HOME=str(tmp_path), ASTRO_TOKEN_VAULT_AUTH="token")).message
    )


def test_a_session_of_vault_login_that_has_ended_names_the_command_that_renews_it(
    bao: OpenBao, connect: Connect, tmp_path: Path
) -> None:
    file = tmp_path / ".vault-token"
    token = service.token(bao, 'path "secret/data/other" { capabilities = ["read"] }')
    file.write_text(token)
    programs = tmp_path / "programs"
    programs.mkdir()
    environ = {"HOME": str(tmp_path), "ASTRO_TOKEN_VAULT_AUTH": "token", "PATH": str(programs)}
    assert "log in again" not in str(denied(connect(**environ)).hint), "it is valid, and a policy denies"
    bao.api("POST", "auth/token/revoke", {"token": token})
    assert str(denied(connect(**environ)).hint).startswith(
        "log in again: vault login; if the token is valid, "
    )
    hint = str(denied(connect(**environ, CI="true")).hint)
    assert ("vault login" in hint, "ASTRO_TOKEN_VAULT_AUTH" in hint) == (False, True)
    given = {"VAULT_TOKEN": token, "HOME": str(tmp_path)}
    assert str(denied(connect(**given)).hint).startswith("set VAULT_TOKEN to a valid token; ")
    (programs / "bao").write_text("#!/bin/sh\n")
    (programs / "bao").chmod(0o700)
    assert str(denied(connect(**environ)).hint).startswith("log in again: bao login; ")


def test_approle_logs_in_and_its_token_is_revoked(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao))
    assert reads(vault)
    token = wire.requests[-1].headers["x-vault-token"]
    assert lives(bao, token)
    vault.close()
    assert not lives(bao, token)


def test_approle_without_a_secret_id_where_the_role_asks_for_none(bao: OpenBao, connect: Connect) -> None:
    role = service.approle(bao, bind_secret_id=True)
    cidr = {"bind_secret_id": False, "secret_id_bound_cidrs": ["127.0.0.0/8"]}
    bao.api("POST", f"auth/approle/role/{role['ROLE']}", cidr)
    assert reads(connect(VAULT_ROLE_ID=role["VAULT_ROLE_ID"]))


def test_a_wrong_or_used_up_secret_id_is_denied(bao: OpenBao, connect: Connect) -> None:
    role = service.approle(bao, secret_id_num_uses=1)
    assert reads(connect(**role))
    for wrong in (role, {**role, "VAULT_SECRET_ID": "wrong"}, {**role, "VAULT_ROLE_ID": "wrong"}):
        error = denied(connect(**wrong))
        assert "login by approle" in error.message
        assert "auth/approle" in (error.hint or "")


def test_jwt_logs_in_with_the_identity_of_the_ci_system(
    bao: OpenBao, connect: Connect, issuer: Issuer, reading: str
) -> None:
    bao.api("POST", "auth/jwt/config", {"jwks_url": issuer.jwks_url, "bound_issuer": issuer.name})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": reading}
    bao.api("POST", "auth/jwt/role/ci", role)
    good = {
        "ASTRO_TOKEN_ID_TOKEN": issuer.mint({"sub": "repo:acme/dags", "aud": "vault"}),
        "ASTRO_TOKEN_VAULT_ROLE": "ci",
    }
    assert reads(connect(**good))
    wrong_audience = {**good, "ASTRO_TOKEN_ID_TOKEN": issuer.mint({"sub": "a", "aud": "elsewhere"})}
    for wrong, names in (
        (
            wrong_audience,
            ("ASTRO_TOKEN_VAULT_AUDIENCE, which is not set, names one of the bound_audiences of role ci",),
        ),
        (
            {**good, "ASTRO_TOKEN_VAULT_ROLE": "none"},
            ("role none (ASTRO_TOKEN_VAULT_ROLE) exists at auth/jwt ",),
        ),
        ({**good, "ASTRO_TOKEN_VAULT_ROLE": ""} | {"ASTRO_TOKEN_VAULT_AUTH": "jwt"}, ("the default role",)),
        (
            {**good, "ASTRO_TOKEN_VAULT_ROLE": "hvs." + 24 * "x"},
            ("role <a credential> (ASTRO_TOKEN_VAULT_ROLE) exists",),
        ),
    ):
        error = denied(connect(**wrong))
        assert "login by jwt" in error.message
        assert [] == [name for name in names if name not in (error.hint or "")]
        assert appearances(wrong["ASTRO_TOKEN_ID_TOKEN"], reachable_text(error)) == []


def test_the_identity_of_the_ci_system_is_found_by_itself(
    bao: OpenBao, connect: Connect, issuer: Issuer, reading: str
) -> None:
    bao.api("POST", "auth/jwt/config", {"jwks_url": issuer.jwks_url, "bound_issuer": issuer.name})
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["openbao"],
        "token_policies": reading,
    }
    bao.api("POST", "auth/jwt/role/found", role)
    with CiIdentity(issuer) as server:
        job = {**server.environment("github"), "ASTRO_TOKEN_VAULT_ROLE": "found"}
        assert reads(connect(**job, ASTRO_TOKEN_VAULT_AUDIENCE="openbao"))
        assert len(server.requests) == 1, "one request, apart from those to Vault"
        error = denied(connect(**job, ASTRO_TOKEN_VAULT_AUDIENCE="elsewhere"))
        assert "login by jwt" in error.message
        assert "the bound_audiences of role found contain elsewhere, which" in (error.hint or "")
        assert "contain elsewhere, which ASTRO_TOKEN_VAULT_AUDIENCE requests" in (error.hint or "")
        assert not any(appearances(token, reachable_text(error)) for token in server.issued)


def test_a_job_without_an_identity_is_told_how_to_get_one(connect: Connect) -> None:
    error = denied(connect(GITHUB_ACTIONS="true", ASTRO_TOKEN_VAULT_ROLE="ci"))
    assert "needs ASTRO_TOKEN_ID_TOKEN" in error.message
    assert "id-token: write" in (error.hint or "")


@pytest.fixture
def pod(
    bao: OpenBao, issuer: Issuer, certificates: Certificates, reading: str, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """A service account's token in a file, and the part of Kubernetes that OpenBao asks about it."""
    account = {"namespace": "airflow", "serviceaccount": {"name": "deploy", "uid": "u-1"}}
    token = issuer.mint({"sub": "system:serviceaccount:airflow:deploy", "kubernetes.io": account})

    def review(request: Request) -> Answer:
        asked = json.loads(request.body)
        good = request.bearer == "reviewer" and asked["spec"]["token"] == token
        assert request.path == "/apis/authentication.k8s.io/v1/tokenreviews"
        user = {"username": "system:serviceaccount:airflow:deploy", "uid": "u-1", "groups": []}
        return Answer.json({**asked, "status": {"authenticated": good, "user": user if good else {}}}, 201)

    file = tmp_path / "token"
    file.write_text(token)
    ca = certificates.ca_file.read_text()  # it has to be there, although plain http needs none
    with HttpServer(review) as kubernetes:
        config = {
            "kubernetes_host": kubernetes.url,
            "token_reviewer_jwt": "reviewer",
            "kubernetes_ca_cert": ca,
        }
        bao.api("POST", "auth/kubernetes/config", config)
        role = {
            "bound_service_account_names": "deploy",
            "bound_service_account_namespaces": "airflow",
            "token_policies": reading,
        }
        bao.api("POST", "auth/kubernetes/role/deploy", role)
        yield {
            "ASTRO_TOKEN_VAULT_AUTH": "kubernetes",
            "ASTRO_TOKEN_VAULT_ROLE": "deploy",
            "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE": str(file),
        }


def test_kubernetes_logs_in_with_the_service_account(connect: Connect, pod: dict[str, str]) -> None:
    assert reads(connect(**pod))


def test_another_account_is_denied(
    connect: Connect, pod: dict[str, str], issuer: Issuer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(issuer.mint({"sub": "system:serviceaccount:airflow:other"}))
    assert denied(connect(**pod)).exit_code == 77


def test_outside_of_a_pod_there_is_no_service_account(connect: Connect, pod: dict[str, str]) -> None:
    del pod["ASTRO_TOKEN_KUBERNETES_TOKEN_FILE"]
    assert "no token of a service account" in denied(connect(**pod)).message


def test_userpass_logs_in(bao: OpenBao, connect: Connect, reading: str) -> None:
    password = "pä$$ word /?#%"
    bao.api("POST", "auth/userpass/users/jo.smith-1", {"password": password, "token_policies": reading})
    environ = {
        "ASTRO_TOKEN_VAULT_AUTH": "userpass",
        "VAULT_USERNAME": "jo.smith-1",
        "VAULT_PASSWORD": password,
    }
    assert reads(connect(**environ))
    error = denied(connect(**{**environ, "VAULT_PASSWORD": "wrong"}))
    assert "login by userpass" in error.message


@pytest.mark.parametrize(
    "user", ["../../sys/health", "a/b", "a?b", "a#b", "a%2fb", "..", ".", "a b", "a\nb", "é"]
)
def test_a_user_name_cannot_leave_its_path(connect: Connect, wire: Wire, user: str) -> None:
    vault = connect(
        VAULT_ADDR=wire.url, ASTRO_TOKEN_VAULT_AUTH="userpass", VAULT_USERNAME=user, VAULT_PASSWORD="x"
    )
    error = failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS))
    assert type(error) is ConfigError
    assert wire.count == 0


def test_cert_logs_in_with_the_client_certificate(openbao_tls: OpenBao, certificates: Certificates) -> None:
    mounts = openbao_tls.api("GET", "sys/mounts")["data"]
    if "kv/" not in mounts:
        openbao_tls.api("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
    openbao_tls.api("POST", "kv/login", {"token": "x"})
    openbao_tls.api("PUT", "sys/policies/acl/kv", {"policy": 'path "kv/*" { capabilities = ["read"] }'})
    openbao_tls.api("POST", "sys/auth/cert", {"type": "cert"})
    role = {
        "certificate": certificates.ca_file.read_text(),
        "token_policies": "kv",
        "allowed_common_names": "ci",
    }
    openbao_tls.api("POST", "auth/cert/certs/ci", role)
    environ = {
        "VAULT_ADDR": openbao_tls.address,
        "VAULT_CACERT": str(certificates.ca_file),
        "ASTRO_TOKEN_VAULT_AUTH": "cert",
        "VAULT_CLIENT_CERT": str(certificates.client.certificate),
        "VAULT_CLIENT_KEY": str(certificates.client.key),
    }
    for names in ({}, {"ASTRO_TOKEN_VAULT_ROLE": "ci"}):
        vault = KeyValue(VaultClient({**environ, **names}))
        assert {"token": "x"} == fields(vault.read(ref("vault:kv/login"), timeout=SECONDS))
        vault.close()
    other = certificates.issue("other-client", "other.example", common_name="other")
    stranger = {"VAULT_CLIENT_CERT": str(other.certificate), "VAULT_CLIENT_KEY": str(other.key)}
    for wrong in (stranger, {"ASTRO_TOKEN_VAULT_ROLE": "none"}, {"VAULT_CLIENT_CERT": ""}):
        vault = KeyValue(VaultClient({**environ, **wrong}))
        error = failure(lambda: vault.read(ref("vault:kv/login"), timeout=SECONDS))  # noqa: B023
        assert isinstance(error, AccessDeniedError)


def test_a_login_of_another_mount_and_in_a_namespace(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    namespace = unique("ns")
    bao.api("POST", f"sys/namespaces/{namespace}", {})
    bao.api("POST", "sys/auth/team/ci", {"type": "userpass"}, namespace=namespace)
    policy = {"policy": 'path "kv/*" { capabilities = ["read"] }'}
    bao.api("PUT", "sys/policies/acl/kv", policy, namespace=namespace)
    user = {"password": "x", "token_policies": "kv"}
    bao.api("POST", "auth/team/ci/users/jo", user, namespace=namespace)
    service.mount(bao, "1", "kv", namespace)
    bao.api("POST", "kv/a", {"token": "x"}, namespace=namespace)
    vault = connect(
        VAULT_ADDR=wire.url,
        VAULT_NAMESPACE=namespace,
        ASTRO_TOKEN_VAULT_AUTH="userpass",
        ASTRO_TOKEN_VAULT_MOUNT="team/ci/",
        VAULT_USERNAME="jo",
        VAULT_PASSWORD="x",
    )
    assert {"token": "x"} == fields(vault.read(ref("vault:kv/a"), timeout=SECONDS))
    token = wire.requests[-1].headers["x-vault-token"]
    vault.close()
    assert wire.lines()[0] == "POST /v1/auth/team/ci/login/jo"
    assert {namespace} == {request.headers["x-vault-namespace"] for request in wire.requests}
    assert not lives(bao, token)


# -- which method -------------------------------------------------------------------------------------

JWT = {"ASTRO_TOKEN_ID_TOKEN": make_token(), "ASTRO_TOKEN_VAULT_ROLE": "r"}
APPROLE = {"VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
TOKEN = {"VAULT_TOKEN": "t"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({**TOKEN, **APPROLE, **JWT}, "/v1/sys/internal/ui/mounts/secret/login"),
        ({**APPROLE, **JWT}, "/v1/auth/approle/login"),
        ({**APPROLE, **JWT, "VAULT_TOKEN": ""}, "/v1/auth/approle/login"),
        ({**APPROLE, **JWT, "VAULT_TOKEN": "\n"}, "/v1/auth/approle/login"),
        (JWT, "/v1/auth/jwt/login"),
        ({**TOKEN, **APPROLE, **JWT, "ASTRO_TOKEN_VAULT_AUTH": "approle"}, "/v1/auth/approle/login"),
        ({**TOKEN, **APPROLE, **JWT, "ASTRO_TOKEN_VAULT_AUTH": "jwt"}, "/v1/auth/jwt/login"),
        (
            {
                "ASTRO_TOKEN_ID_TOKEN": make_token(),
                "ASTRO_TOKEN_VAULT_AUTH": "jwt",
                "ASTRO_TOKEN_VAULT_MOUNT": "gitlab",
            },
            "/v1/auth/gitlab/login",
        ),
    ],
)
def test_the_method_is_the_one_asked_for_or_the_first_that_has_its_variables(
    environ: dict[str, str], expected: str
) -> None:
    with FaultServer(403) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **environ}))
        failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS))
        assert [expected] == [request.path for request in server.requests]


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [
        ({}, 77, "no usable credential"),
        ({"ASTRO_TOKEN_ID_TOKEN": "a.b.c"}, 77, "no usable credential"),
        ({"VAULT_USERNAME": "u", "VAULT_PASSWORD": "p"}, 77, "no usable credential"),
        ({"ASTRO_TOKEN_VAULT_AUTH": "approle"}, 77, "VAULT_ROLE_ID"),
        ({"ASTRO_TOKEN_VAULT_AUTH": "jwt", "ASTRO_TOKEN_VAULT_ROLE": "r"}, 77, "ASTRO_TOKEN_ID_TOKEN"),
        ({"ASTRO_TOKEN_VAULT_AUTH": "kubernetes"}, 77, "ASTRO_TOKEN_VAULT_ROLE"),
        ({"ASTRO_TOKEN_VAULT_AUTH": "userpass"}, 77, "VAULT_USERNAME"),
        ({"ASTRO_TOKEN_VAULT_AUTH": "userpass", "VAULT_USERNAME": "u"}, 77, "VAULT_PASSWORD"),
        ({"ASTRO_TOKEN_VAULT_AUTH": "cert"}, 77, "VAULT_CLIENT_CERT"),
        ({"ASTRO_TOKEN_VAULT_AUTH": "Token"}, 78, "names no login method"),
        ({"VAULT_TOKEN": "two\nlines"}, 78, "VAULT_TOKEN"),
        ({"VAULT_TOKEN": "täken"}, 78, "VAULT_TOKEN"),
        ({"VAULT_ROLE_ID": "r", "VAULT_WRAPPED_SECRET_ID": "a b"}, 78, "VAULT_WRAPPED_SECRET_ID"),
        ({**APPROLE, "ASTRO_TOKEN_VAULT_MOUNT": "../sys"}, 78, "ASTRO_TOKEN_VAULT_MOUNT"),
        ({**APPROLE, "ASTRO_TOKEN_VAULT_MOUNT": "a?b"}, 78, "ASTRO_TOKEN_VAULT_MOUNT"),
    ],
)
def test_what_is_missing_or_unusable_is_said_before_anything_is_sent(
    environ: dict[str, str], code: int, said: str
) -> None:
    with FaultServer(403) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, "HOME": "/nonexistent", **environ}))
        error = failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS))
        assert code == error.exit_code
        assert said in error.message
        assert error.hint
        assert server.connections == 0


def test_what_was_looked_for_is_listed(connect: Connect) -> None:
    error = denied(connect(HOME="/nonexistent"))
    for name in ("VAULT_TOKEN", "VAULT_ROLE_ID", "ASTRO_TOKEN_ID_TOKEN", "ASTRO_TOKEN_VAULT_AUTH"):
        assert name in (error.hint or "")


# -- a wrapped secret id ------------------------------------------------------------------------------


def wrapped(bao: OpenBao, ttl: str = "60s", **settings: Any) -> dict[str, str]:
    role = service.approle(bao, **settings)
    client = hvac.Client(url=bao.address, token=bao.root_token)
    answer = client.auth.approle.generate_secret_id(role["ROLE"], wrap_ttl=ttl)
    return {"VAULT_ROLE_ID": role["VAULT_ROLE_ID"], "VAULT_WRAPPED_SECRET_ID": answer["wrap_info"]["token"]}


def test_a_wrapped_secret_id_is_unwrapped_once_and_serves_for_later_logins(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    vault = connect(VAULT_ADDR=wire.url, **wrapped(bao))
    assert reads(vault)
    vault.close()
    assert reads(vault)
    unwraps = [line for line in wire.lines() if "unwrap" in line]
    logins = [line for line in wire.lines() if "login" in line and "auth" in line]
    assert ["POST /v1/sys/wrapping/unwrap"] == unwraps
    assert len(logins) == 2


def test_a_wrapping_token_that_was_used_raises_the_alarm(bao: OpenBao, connect: Connect) -> None:
    environ = wrapped(bao)
    assert reads(connect(**environ))
    error = denied(connect(**environ))
    assert "VAULT_WRAPPED_SECRET_ID" in error.message
    assert "stolen" in (error.hint or "")


def test_what_wraps_something_else_is_refused(bao: OpenBao, connect: Connect) -> None:
    client = hvac.Client(url=bao.address, token=bao.root_token)
    other = client.sys.wrap({"token": "x"}, ttl=60)["wrap_info"]["token"]
    error = denied(connect(VAULT_ROLE_ID="r", VAULT_WRAPPED_SECRET_ID=other))
    assert "does not wrap" in error.message


def test_a_failure_between_unwrapping_and_login_loses_nothing(bao: OpenBao) -> None:
    def mode(number: int) -> Mode:
        return 502 if number == 2 else "pass"

    with FaultServer(mode, upstream=bao.address) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **wrapped(bao)}))
        error = failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS))
        assert type(error) is BackendUnavailableError
        assert reads(vault)
        vault.close()


# -- once, again, and back ----------------------------------------------------------------------------


def test_threads_that_begin_together_log_in_once(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao))
    outcomes: list[bool] = []
    threads = [threading.Thread(target=lambda: outcomes.append(reads(vault))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert [True] * 8 == outcomes
    assert len([line for line in wire.lines() if "login" in line and "auth" in line]) == 1


def test_when_the_lease_is_over_it_logs_in_again(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao, token_ttl="4s"))
    wait_until(lambda: reads(vault) and len([line for line in wire.lines() if "approle" in line]) == 2)
    assert reads(vault)


def test_a_denial_is_no_reason_to_log_in_again(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao, token_policies=""))
    for _ in range(2):
        denied(vault)
    assert len([line for line in wire.lines() if "approle" in line]) == 1


def test_a_login_whose_token_is_used_up_is_made_once_more(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao, token_num_uses=1))
    assert reads(vault)
    assert reads(vault)
    expected = [
        "POST /v1/auth/approle/login",
        "GET /v1/sys/internal/ui/mounts/secret/login",
        "GET /v1/secret/data/login",
        "GET /v1/secret/data/login",
        "GET /v1/auth/token/lookup-self",
        "POST /v1/auth/approle/login",
        "GET /v1/secret/data/login",
    ]
    assert expected == wire.lines()


def test_a_login_whose_token_was_revoked_is_made_once_more_for_reading_and_for_writing(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao))
    assert reads(vault)
    for _ in range(2):
        bao.api("POST", "auth/token/revoke", {"token": wire.requests[-1].headers["x-vault-token"]})
        assert reads(vault)
    bao.api("POST", "auth/token/revoke", {"token": wire.requests[-1].headers["x-vault-token"]})
    written = ref(f"vault:secret/{unique()}")
    assert vault.write(written, SecretValue(b"x"), expected_version=None, timeout=SECONDS) == "1"
    assert len([line for line in wire.lines() if "approle" in line]) == 4
    vault.close()
    assert not lives(bao, wire.requests[-1].headers["x-vault-token"])


def test_threads_whose_token_was_revoked_log_in_once_together(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao))
    assert reads(vault)
    bao.api("POST", "auth/token/revoke", {"token": wire.requests[-1].headers["x-vault-token"]})
    outcomes: list[bool] = []
    threads = [threading.Thread(target=lambda: outcomes.append(reads(vault))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert [True] * 8 == outcomes
    assert len([line for line in wire.lines() if "approle" in line]) == 2


def test_a_token_that_never_lives_is_not_asked_for_for_ever(bao: OpenBao) -> None:
    def mode(number: int) -> Mode:
        return Answer.json(LOGIN) if number in {1, 4} else 403

    with FaultServer(mode) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **APPROLE}))
        error = failure(lambda: vault.read(ref(f"vault:{SECRET}?kv=2"), timeout=SECONDS))
        assert error.exit_code == 77
        assert server.count == 5


def test_a_login_is_made_once_more_for_the_whole_of_a_read() -> None:
    mounted = {"data": {"path": "secret/", "type": "kv", "options": {"version": "2"}}}
    answers: list[Mode] = [Answer.json(LOGIN), 403, 403, Answer.json(LOGIN), Answer.json(mounted), 403]

    with FaultServer(lambda number: answers[min(number, 6) - 1]) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **APPROLE}))
        error = failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS))
        assert error.exit_code == 77
        assert server.count == 6


def test_a_given_token_that_was_revoked_is_not_replaced(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    token = service.token(bao, 'path "secret/*" { capabilities = ["read"] }')
    vault = connect(VAULT_ADDR=wire.url, VAULT_TOKEN=token, **APPROLE)
    assert reads(vault)
    bao.api("POST", "auth/token/revoke", {"token": token})
    denied(vault)
    assert len(wire.requests) == 3


def test_an_expired_token_is_denied(bao: OpenBao, connect: Connect) -> None:
    token = service.token(bao, 'path "secret/*" { capabilities = ["read"] }', ttl="5m")
    vault = connect(VAULT_TOKEN=token)
    assert reads(vault)
    bao.api("POST", "auth/token/renew", {"token": token, "increment": "1s"})
    wait_until(lambda: service.expired(bao, token))
    assert "denies" in denied(vault).message


def test_a_batch_token_is_not_revoked_as_there_is_nothing_to_revoke(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao, token_type="batch"))
    assert reads(vault)
    vault.close()
    assert [] == [line for line in wire.lines() if "revoke" in line]


def test_closing_twice_revokes_once_and_a_later_read_logs_in_anew(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao))
    vault.close()
    assert wire.count == 0
    assert reads(vault)
    vault.close()
    vault.close()
    assert reads(vault)
    vault.close()
    lines = wire.lines()
    assert lines.count("POST /v1/auth/approle/login") == 2
    assert lines.count("POST /v1/auth/token/revoke-self") == 2


@pytest.mark.parametrize("mode", ["hang", "drip-head", "drip-body", "reset", "close", 500, 307, "huge"])
def test_closing_takes_no_longer_than_a_second_and_raises_nothing(mode: Mode) -> None:
    answers: list[Mode] = [Answer.json(LOGIN), Answer.json(VALUE)]

    def each(number: int) -> Mode:
        return answers[number - 1] if number <= len(answers) else mode

    with FaultServer(each, redirect="/elsewhere", drip=0.05, size=1 << 22) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **APPROLE}))
        vault.read(ref(f"vault:{SECRET}?kv=2"), timeout=SECONDS)
        with within(1):
            vault.close()
        assert server.requests[-1].path == "/v1/auth/token/revoke-self"


def test_a_login_without_an_end_ends_with_its_deadline_and_does_not_block_others() -> None:
    first = threading.Event()

    def mode(number: int) -> Mode:
        first.set()
        return "drip-head" if number == 1 else Answer.json(LOGIN if number == 2 else VALUE)

    with FaultServer(mode, drip=0.05) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **APPROLE}))
        place = ref(f"vault:{SECRET}?kv=2")
        stuck = threading.Thread(target=lambda: failure(lambda: vault.read(place, timeout=1.5)), daemon=True)
        stuck.start()
        assert first.wait(SECONDS)
        error = failure(lambda: vault.read(place, timeout=0.05))
        assert type(error) is BackendUnavailableError
        assert "earlier login" in error.message
        assert {"token": "x"} == fields(vault.read(place, timeout=SECONDS))
        stuck.join(SECONDS)
        assert not stuck.is_alive()


@pytest.mark.parametrize("closed_first", [False, True])
def test_every_login_is_revoked_if_one_was_made_while_another_took_long(closed_first: bool) -> None:
    started, go_on = threading.Event(), threading.Event()

    def mode(number: int) -> Mode:
        if number == 1:
            started.set()
            go_on.wait(SECONDS)
        return Answer.json(LOGIN if number <= 2 else VALUE)

    with FaultServer(mode) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **APPROLE}))
        place = ref(f"vault:{SECRET}?kv=2")
        slow = threading.Thread(target=lambda: vault.read(place, timeout=2 * SECONDS))
        slow.start()
        assert started.wait(SECONDS)
        failure(lambda: vault.read(place, timeout=0.05))
        assert {"token": "x"} == fields(vault.read(place, timeout=SECONDS))
        if closed_first:
            vault.close()
        go_on.set()
        slow.join(SECONDS)
        vault.close()
        paths = [request.path for request in server.requests]
        assert 2 == paths.count("/v1/auth/approle/login")
        assert 2 == paths.count("/v1/auth/token/revoke-self")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({}, IntegrityError),
        ({"auth": None}, IntegrityError),
        ({"auth": []}, IntegrityError),
        ({"auth": {"client_token": ""}}, IntegrityError),
        ({"auth": {"client_token": 7}}, IntegrityError),
        ({"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "x"}}}, AccessDeniedError),
        ({"auth": {"client_token": "a\r\nX-Evil: 1"}}, ConfigError),
    ],
)
def test_an_answer_to_the_login_that_is_none_is_refused(answer: object, kind: type) -> None:
    with FaultServer(lambda _: Answer.json(answer)) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **APPROLE}))
        error = failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS))
        assert type(error) is kind
        assert server.count == 1


@pytest.mark.parametrize("lease", [0, None, "300", -5])
def test_a_lease_without_an_end_never_ends(lease: object) -> None:
    login = {"auth": {"client_token": "s.x", "lease_duration": lease}}

    def mode(number: int) -> Mode:
        return Answer.json(login if number == 1 else VALUE)

    with FaultServer(mode) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, **APPROLE}))
        for _ in range(2):
            vault.read(ref(f"vault:{SECRET}?kv=2"), timeout=SECONDS)
        assert [1, 2] == [
            sum("login" in request.path for request in server.requests if "approle" in request.path),
            sum("secret/data" in request.path for request in server.requests),
        ]


def test_the_environment_is_read_when_it_is_first_used_and_again_after_closing(
    bao: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = KeyValue()
    assert (
        "VAULT_ADDR is not set"
        in failure(lambda: vault.read(ref(f"vault:{SECRET}"), timeout=SECONDS)).message
    )
    monkeypatch.setenv("VAULT_ADDR", bao.address)
    monkeypatch.setenv("VAULT_TOKEN", bao.root_token)
    assert reads(vault)
    monkeypatch.setenv("VAULT_TOKEN", "wrong")
    assert reads(vault)
    vault.close()
    denied(vault)
    vault.close()


def test_a_process_that_ends_gives_its_token_back(bao: OpenBao, wire: Wire) -> None:
    program = f"""
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
open_backend("vault").read(SecretRef.parse("vault:{SECRET}"), timeout=10)
"""
    role = service.approle(bao)
    del role["ROLE"]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=service.ROOT,
        env={"PYTHONPATH": "core:backends", "VAULT_ADDR": wire.url, **role},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == b""
    assert wire.lines()[-1] == "POST /v1/auth/token/revoke-self"
    assert not lives(bao, wire.requests[-1].headers["x-vault-token"])


def test_a_wire_without_its_server_is_no_answer() -> None:
    """The tool of these tests would show it, if a failing server were taken for an empty one."""
    with FaultServer("close") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
        connection.close()
