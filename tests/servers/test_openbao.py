"""The real server refuses what it should, and starts alone in its environment."""

from __future__ import annotations

import ssl
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.jwks import rsa_key
from tests.servers.openbao import OpenBao, OpenBaoError

if TYPE_CHECKING:
    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer


@pytest.fixture
def mount(openbao: OpenBao) -> str:
    name = f"kv-{uuid.uuid4().hex[:8]}"
    openbao.api("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "1"}})
    return name


def token_for(openbao: OpenBao, path: str) -> str:
    name = f"policy-{uuid.uuid4().hex[:8]}"
    openbao.api("PUT", f"sys/policies/acl/{name}", {"policy": f'path "{path}" {{ capabilities = ["read"] }}'})
    answer = openbao.api("POST", "auth/token/create", {"policies": [name]})
    return str(answer["auth"]["client_token"])


def status(openbao: OpenBao, path: str, token: str | None = None) -> int:
    try:
        openbao.api("GET", path, token=token)
    except OpenBaoError as error:
        return error.status
    return 200


def test_what_was_stored_is_read(openbao: OpenBao, mount: str) -> None:
    openbao.api("POST", f"{mount}/a", {"token": "t"})
    assert openbao.api("GET", f"{mount}/a")["data"] == {"token": "t"}
    openbao.api("POST", "secret/data/a", {"data": {"token": "t"}})
    assert openbao.api("GET", "secret/data/a")["data"]["data"] == {"token": "t"}
    assert openbao.api("LIST", mount)["data"] == {"keys": ["a"]}


@pytest.mark.parametrize("token", ["", "wrong"])
def test_no_token_and_a_wrong_one_are_refused(openbao: OpenBao, mount: str, token: str) -> None:
    assert status(openbao, f"{mount}/a", token) == 403


def test_a_policy_ends_where_it_ends(openbao: OpenBao, mount: str) -> None:
    openbao.api("POST", f"{mount}/a", {"token": "t"})
    openbao.api("POST", f"{mount}/b", {"token": "t"})
    token = token_for(openbao, f"{mount}/a")
    assert (status(openbao, f"{mount}/a", token), status(openbao, f"{mount}/b", token)) == (200, 403)


def test_what_is_not_there_is_not_found(openbao: OpenBao, mount: str) -> None:
    assert status(openbao, f"{mount}/none") == 404


def test_a_namespace_has_paths_of_its_own(openbao: OpenBao) -> None:
    name = f"team-{uuid.uuid4().hex[:8]}"
    openbao.api("POST", f"sys/namespaces/{name}")
    openbao.api("POST", "sys/mounts/kv", {"type": "kv"}, namespace=name)
    openbao.api("POST", "kv/a", {"token": "t"}, namespace=name)
    assert openbao.api("GET", "kv/a", namespace=name)["data"] == {"token": "t"}
    assert status(openbao, "kv/a") == 404


def test_a_ci_systems_token_logs_in_and_a_forged_one_does_not(openbao: OpenBao, issuer: Issuer) -> None:
    login = f"jwt-{uuid.uuid4().hex[:8]}"
    openbao.api("POST", f"sys/auth/{login}", {"type": "jwt"})
    config = {"jwks_url": issuer.jwks_url, "bound_issuer": issuer.name}
    openbao.api("POST", f"auth/{login}/config", config)
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["openbao"],
        "bound_subject": "repo:acme/dags",
        "policies": ["default"],
    }
    openbao.api("POST", f"auth/{login}/role/ci", role)

    def log_in(token: str) -> int:
        try:
            openbao.api("POST", f"auth/{login}/login", {"role": "ci", "jwt": token}, token="")
        except OpenBaoError as error:
            return error.status
        return 200

    good: dict[str, object] = {"sub": "repo:acme/dags", "aud": "openbao"}
    forged = issuer.mint(good, key=rsa_key())
    others = [{**good, "aud": "other"}, {**good, "sub": "repo:evil/dags"}, {**good, "exp": 1}]
    assert log_in(issuer.mint(good)) == 200
    assert [log_in(token) for token in [forged, *map(issuer.mint, others)]] == [400] * 4


def test_it_leaves_no_token_in_a_home(openbao: OpenBao) -> None:
    assert not (openbao._folder / ".vault-token").exists()
    assert not (Path.home() / ".vault-token").exists()


def test_its_command_line_holds_no_token(openbao: OpenBao) -> None:
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    assert not any(openbao.root_token.encode() in line for line in lines)


# -- TLS -----------------------------------------------------------------------------------------


def test_a_sealed_server_says_so_until_it_is_unsealed(openbao_tls: OpenBao) -> None:
    openbao_tls.api("POST", "sys/mounts/sealing", {"type": "kv"})
    openbao_tls.seal()
    assert status(openbao_tls, "sealing/a") == 503
    openbao_tls.unseal()
    assert status(openbao_tls, "sealing/a") == 404


def test_a_new_server_waits_to_be_initialised_and_demands_a_certificate(certificates: Certificates) -> None:
    with OpenBao(certificates, demand_client_certificate=True) as openbao:
        with pytest.raises(OpenBaoError) as raised:
            openbao.api("GET", "sys/health", token="")
        assert raised.value.status == 501
        openbao._tls = ssl.create_default_context(cafile=certificates.ca_file)
        with pytest.raises(OSError, match=r"(?i)certificate.required|reset|EOF|closed"):
            openbao.api("GET", "sys/health", token="")


def test_a_client_that_does_not_trust_the_authority_is_not_served(openbao_tls: OpenBao) -> None:
    stranger = OpenBao()
    stranger.address = openbao_tls.address
    stranger._tls = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.api("GET", "sys/health", token="")


def test_a_client_certificate_logs_in(openbao_tls: OpenBao, certificates: Certificates) -> None:
    openbao_tls.api(
        "POST", "sys/auth/certificates", {"type": "cert"}
    )  # others mount cert/ on the same server
    ca = certificates.ca_file.read_text()
    role = {"certificate": ca, "allowed_common_names": "ci", "token_policies": ["default"]}
    openbao_tls.api("POST", "auth/certificates/certs/ci", role)
    answer = openbao_tls.api("POST", "auth/certificates/login", {"name": "ci"}, token="")
    assert "default" in answer["auth"]["policies"]
    openbao_tls.api("POST", "auth/certificates/certs/ci", {**role, "allowed_common_names": "other"})
    with pytest.raises(OpenBaoError) as raised:
        openbao_tls.api("POST", "auth/certificates/login", {"name": "ci"}, token="")
    assert raised.value.status == 400
