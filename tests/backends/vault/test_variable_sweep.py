"""Each variable of Vault with wrong values, with every login."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.backends.sweep import Environments, reader, variables, wrong_results
from tests.backends.vault import service
from tests.backends.vault.test_cloud_logins import (
    INSTANCE,
    account,
    entra,
    key_file,
    logins,
    machine,
    reading,
)
from tests.backends.vault.test_login import LOGIN, VALUE, pod
from tests.servers.ci_identity import CiIdentity
from tests.servers.http1 import Answer, HttpServer, Request
from tests.servers.vault_logins import Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.azure_machine import AzureMachine
    from tests.servers.certificates import Certificates
    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao
    from tests.servers.vault_logins import VaultLogins

__all__ = ["account", "entra", "logins", "machine", "pod", "reading"]

ARN = "arn:aws:iam::111122223333:role/ci"
# Of the SDKs of other clouds, and the home with the token of `vault login`.
OF_LOGINS = (
    "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AZURE_CLIENT_ID",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "GCE_METADATA_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HOME",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
)
# The name of a network's own service.
ELSEWHERE = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "GCE_METADATA_HOST")
# The name of a role is no secret, and the advice after a refusal repeats it.
SHOWN = ("ASTRO_TOKEN_VAULT_ROLE",)
# One of each kind: the rest of the sweep is long.
ORDINARY = ("VAULT_TOKEN", "VAULT_CLIENT_KEY", "ASTRO_TOKEN_VAULT_ROLE")
VARIABLES = (*variables("vault"), *OF_LOGINS)


@pytest.fixture
def environments(
    bao: OpenBao,
    logins: VaultLogins,
    issuer: Issuer,
    account: ServiceAccount,
    machine: AzureMachine,
    pod: dict[str, str],
    reading: list[str],
    certificates: Certificates,
    tmp_path: Path,
) -> Iterator[Environments]:
    base = {"VAULT_ADDR": logins.url}
    role = service.approle(bao)
    del role["ROLE"]
    bao.api("POST", "auth/jwt/config", {"jwks_url": issuer.jwks_url, "bound_issuer": issuer.name})
    bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]}
    bao.api("POST", "auth/jwt/role/ci", {**bound, "token_policies": reading})
    bao.api("POST", "auth/userpass/users/jo", {"password": " pass ", "token_policies": reading})
    logins.passwords["jo"] = " pass "
    logins.roles["ldap", "jo"] = Role(reading, {"jo"})
    logins.roles["aws", "ci"] = Role(reading, {ARN})
    logins.roles["azure", "ci"] = Role(reading, {machine.principal})
    logins.roles["gcp", "instance"] = Role(reading, {"10769150350006150715113082367"}, instances={"p1"})
    user = {"VAULT_USERNAME": "jo", "VAULT_PASSWORD": " pass "}
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / ".vault-token").write_text(f"{bao.root_token}\n")
    pair = certificates.client
    job = {"ASTRO_TOKEN_ID_TOKEN": issuer.mint({"sub": "ci", "aud": "vault"})}

    def of(method: str, role: str = "ci") -> dict[str, str]:
        return {**base, "ASTRO_TOKEN_VAULT_AUTH": method, "ASTRO_TOKEN_VAULT_ROLE": role}

    tls = certificates.server.context(client_ca=certificates.ca_file)
    with CiIdentity(issuer) as metadata, HttpServer(_with_certificate, tls=tls) as private:
        metadata.claims = dict(INSTANCE)
        yield {
            "nothing": base,
            "token": {**base, "VAULT_TOKEN": bao.root_token},
            "vault login": {**base, "ASTRO_TOKEN_VAULT_AUTH": "token", "HOME": str(tmp_path / "user")},
            "approle": {**base, **role, "ASTRO_TOKEN_VAULT_MOUNT": "approle"},
            "jwt": {**of("jwt"), **job, "ASTRO_TOKEN_VAULT_AUDIENCE": "vault"},
            "kubernetes": {**base, **pod},
            "userpass": {**base, **user, "ASTRO_TOKEN_VAULT_AUTH": "userpass"},
            "ldap": {**base, **user, "ASTRO_TOKEN_VAULT_AUTH": "ldap"},
            "cert": {
                **of("cert"),
                "VAULT_ADDR": private.url,
                "VAULT_CACERT": str(certificates.ca_file),
                "VAULT_CLIENT_CERT": str(pair.certificate),
                "VAULT_CLIENT_KEY": str(pair.key),
            },
            "aws": {**of("aws"), **logins.aws_key(ARN).environment, "AWS_REGION": "eu-west-1"},
            "gcp": {**of("gcp"), **key_file(account, tmp_path)},
            "gcp's machine": {
                **of("gcp", "instance"),
                "GCE_METADATA_HOST": f"127.0.0.1:{metadata.port}",
            },
            "azure": {**of("azure"), **machine.machine_environment},
            "azure's app": {**of("azure"), **machine.app_environment, "AZURE_CLIENT_ID": machine.client_id},
        }


def _with_certificate(request: Request) -> Answer:
    if "/login" in request.path:
        return Answer.json(LOGIN)
    return Answer.json(VALUE)


@pytest.mark.parametrize(
    "variable",
    [pytest.param(name, marks=() if name in ORDINARY else pytest.mark.long) for name in VARIABLES],
)
def test_a_wrong_value_names_its_variable(
    environments: Environments, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = reader("vault:secret/cloud-login?kv=2", monkeypatch)
    wrong = wrong_results(call, environments, variable, tmp_path, elsewhere=ELSEWHERE, shown=SHOWN)
    assert not wrong, json.dumps(wrong, indent=1)
