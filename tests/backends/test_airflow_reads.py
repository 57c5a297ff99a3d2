"""
What is read by the settings of Airflow, compared with its real secrets backends on the same servers.

Each case is a secret, read with a login: Vault is OpenBao, AWS is MiniStack, the others are our strict ones.
"""

from __future__ import annotations

import json
import os
import time
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from astro_token.errors import AstroTokenError, SecretNotFoundError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import close_backends
from astro_token_backends.airflow.client import Airflow
from tests.backends.aws.service import ACCOUNT, allow, client, trust_of
from tests.backends.test_airflow import CLASSES, environ, real_answers, require_providers
from tests.servers.jwks import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.ministack import MiniStack
    from tests.servers.openbao import OpenBao

Case = dict[str, Any]
# A login: the arguments, and the variables that it needs.
Logins = dict[str, tuple[dict[str, Any], dict[str, str]]]

VARIABLES = {
    "plain": "a-value",
    "json": '{"token": "t", "n": 1}',
    "unicode": "é 漢 😀",
    "lines": "a\nb\n",
    "blanks": "  a ",
    "long": "x" * 3000,
}
CONNECTIONS = {
    "uri": "https://me:p%2Fq%40@api.example.com:8443/s%20t?org=x&workspace=y%20z",
    "password": "http://:only@h",
    "no-password": "http://h",
    "scheme": "astro-cloud://https://me%40x:p@api.example.com/?__extra__=%7B%22org%22%3A%20%22z%22%7D",
    "postgres": "postgresql://u:p@DB.Example.com:5432/db",
    "path-host": "google-cloud-platform://%2FSome%2FPath",
    "two": "a://u:p@b://c",
    "three": "a://b://c://d",
    "json": '{"conn_type": "my-type", "login": "l", "password": "p", "host": "H", "port": 1, "schema": "s"}',
    "json-extra": '{"conn_type": "http", "password": "p", "extra": {"org": "x", "n": 1}, "port": "8443"}',
    "json-extra-text": '{"conn_type": "postgresql", "password": "p", "extra": "{\\"org\\": \\"x\\"}"}',
    "json-description": '{"conn_type": "http", "password": "p", "description": "d"}',
    "json-port": '{"conn_type": "http", "password": "p", "port": "none"}',
    "json-unknown": '{"conn_type": "http", "password": "p", "team": "t"}',
    "json-id": '{"conn_id": "x", "password": "p"}',
    "json-aliases": '{"engine": "http", "user": "u", "pass": "p", "server": "h", "database": "d"}',
    "json-words": '{"conn_type": "http", "secret": "p", "who": "u"}',
    "json-empty": "{}",
}
BROKEN = {"json-broken": '{"password": ', "blank": " "}  # not in Vault, which keeps objects
MISSING = {"missing": None}
SOME = {"plain", "unicode", "uri", "json-extra", "json-words", "missing"}


def cases(service: str, logins: Logins, secrets: dict[tuple[str, str], Any]) -> Iterator[Case]:
    """All secrets with the first login, and some with each of the others."""
    for number, (kwargs, variables) in enumerate(logins.values()):
        for kind, name in secrets:
            if not number or name.removeprefix(f"{kind}-") in SOME:
                yield {
                    "class": CLASSES[service],
                    "kwargs": kwargs,
                    "kind": kind,
                    "name": name,
                    "environ": variables,
                }


def secrets(*more: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """The secrets by kind and name."""
    every = {("variable", name): text for name, text in (VARIABLES | MISSING).items()}
    every |= {("connection", name): text for name, text in (CONNECTIONS | MISSING).items()}
    for each in more:
        every |= {("connection", name): text for name, text in each.items()}
    return every


def ours(every: list[Case], monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[list[Any]]:
    """Return what our backend reads, in the form of the real one. It logs in once, as the real one does."""
    found: list[list[Any]] = []
    for _, group in groupby(every, lambda case: (case["kwargs"], case["environ"])):
        backend = Airflow()
        for case in group:
            with monkeypatch.context() as patch:
                for name, text in {**variables, **case["environ"], **environ(case)}.items():
                    patch.setenv(name, text)
                found.append(outcome(backend, case))
        backend.close()
        close_backends()
    return found


def outcome(backend: Airflow, case: Case) -> list[Any]:
    try:
        ref = SecretRef("airflow", f"{case['kind']}/{quote(case['name'])}")
        text = backend.read(ref, timeout=60).reveal().decode()  # the machine may be busy
    except SecretNotFoundError:
        return ["nothing"]
    except AstroTokenError as error:
        return ["failed", f"{error.exit_code}: {error.message}; {error.hint}"]
    if case["kind"] == "variable":
        return ["value", text]
    return ["value", {name: part for name, part in json.loads(text).items() if name != "token"}]


def compare(every: list[Case], real: list[Any], own: list[Any], *, hidden: int = 0) -> list[object]:
    """
    List what differs.

    Args:
        hidden: cases in which the real backend hides a failure, as if there were no secret.
    """
    outcomes = [(case, theirs, mine) for case, theirs, mine in zip(every, real, own, strict=True)]
    wrong = [
        (case, theirs, mine)
        for case, theirs, mine in outcomes
        if theirs[0] != mine[0] or (mine[0] == "value" and theirs != mine)
    ]
    stricter = [each for each in wrong if (each[1][0], each[2][0]) == ("nothing", "failed")]
    kinds = {kind: sum(mine[0] == kind for _, _, mine in outcomes) for kind in ("value", "nothing", "failed")}
    print(
        f"\n{every[0]['class'].rpartition('.')[2]}: {len(every)} combinations, {kinds}, "
        f"{len(wrong) - len(stricter)} differences, {len(stricter)} stricter"
    )
    assert all(kinds.values())
    assert hidden == len(stricter)
    return [each for each in wrong if each not in stricter]


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("VAULT_", "AWS_", "GOOGLE_", "AZURE_", "AIRFLOW_", "ASTRO_TOKEN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    require_providers()


UNUSED = {"TEST_GCP_ENDPOINT": "127.0.0.1:1", "TEST_GCP_LOGIN": "https://127.0.0.1:1"}


# -- Vault --------------------------------------------------------------------------------------------


def vault_logins(openbao: OpenBao, base: str, issuer: Issuer, folder: Path) -> Logins:
    """Logins that may read, others that may not, and others that fail."""
    paths = (f"secret/data/{base}/*", f"{base}/*")
    rules = "\n".join(f'path "{path}" {{ capabilities = ["read"] }}' for path in paths)
    openbao.api("POST", f"sys/policies/acl/{base}", {"policy": rules})
    for kind in ("approle", "userpass", "jwt"):
        openbao.api("POST", f"sys/auth/{base}-{kind}", {"type": kind})
    role = {"token_policies": base, "policies": base}
    openbao.api("POST", f"auth/{base}-approle/role/r", role)
    ids = {
        "role_id": openbao.api("GET", f"auth/{base}-approle/role/r/role-id")["data"]["role_id"],
        "secret_id": openbao.api("POST", f"auth/{base}-approle/role/r/secret-id", {})["data"]["secret_id"],
    }
    openbao.api("POST", f"auth/{base}-userpass/users/ci", {"password": "p w", **role})
    openbao.api("POST", f"auth/{base}-jwt/config", {"jwt_validation_pubkeys": [issuer.public_key_pem]})
    openbao.api(
        "POST",
        f"auth/{base}-jwt/role/r",
        {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["bao"], **role},
    )
    now = int(time.time())
    jwt = issuer.mint({"sub": "job", "aud": "bao", "iat": now, "exp": now + 3600})
    token = openbao.api("POST", "auth/token/create", {"policies": [base]})["auth"]["client_token"]
    denied = openbao.api("POST", "auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
    (folder / "token").write_text(f"{token}\n")
    (folder / "jwt").write_text(jwt)
    of = {
        kind: {"auth_type": kind, "auth_mount_point": f"{base}-{kind}"}
        for kind in ("approle", "userpass", "jwt")
    }
    common: dict[str, Any] = {"url": openbao.address, "connections_path": base, "variables_path": base}
    logins: Logins = {
        "token": ({"token": token}, {"VAULT_TOKEN": denied, "VAULT_NAMESPACE": "none"}),
        "token_path": ({"token_path": str(folder / "token"), "token": denied, "timeout": 20}, {}),
        "VAULT_TOKEN": ({}, {"VAULT_TOKEN": token}),
        "no token": ({}, {}),
        "denied": ({"token": denied}, {}),
        "wrong": ({"token": "hvs.none"}, {"VAULT_TOKEN": token}),
        "approle": (of["approle"] | ids, {"VAULT_SECRET_ID": "x", "VAULT_WRAPPED_SECRET_ID": "x"}),
        "approle without its secret": (
            of["approle"] | {"role_id": ids["role_id"]},
            {"VAULT_SECRET_ID": ids["secret_id"]},
        ),
        "approle elsewhere": (of["approle"] | ids | {"auth_mount_point": "none"}, {"VAULT_TOKEN": token}),
        "userpass": (of["userpass"] | {"username": "ci", "password": "p w", "verify": True}, {}),
        "jwt": (of["jwt"] | {"jwt_role": "r", "jwt_token": jwt}, {"ASTRO_TOKEN_VAULT_AUDIENCE": "x"}),
        "jwt_token_path": (of["jwt"] | {"jwt_role": "r", "jwt_token_path": str(folder / "jwt")}, {}),
        "radius": ({"auth_type": "radius", "radius_host": "h", "radius_secret": "s"}, {}),
    }
    return {name: (common | kwargs, variables) for name, (kwargs, variables) in logins.items()}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [1, 2])
def test_vault(version: int, openbao: OpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = f"airflow-{os.urandom(4).hex()}"
    if version == 1:
        openbao.api("POST", f"sys/mounts/{base}", {"type": "kv", "options": {"version": "1"}})
    stored = secrets(
        {"fields-empty": {"conn_uri": "", "password": "p"}, "fields-json": {"conn_uri": '{"password": "p"}'}}
    )
    stored["variable", "empty"] = {"value": ""}
    stored["variable", "none"] = {"other": "x"}
    for (kind, name), content in stored.items():
        if content is None:
            continue
        if isinstance(content, str):
            is_object = kind == "connection" and content.startswith("{")
            key = "value" if kind == "variable" else "conn_uri"
            content = json.loads(content) if is_object else {key: content}  # noqa: PLW2901
        prefix = f"{base}/{base}" if version == 1 else f"secret/data/{base}"
        path = f"{prefix}/{kind}-{name}"
        if content:
            openbao.api("POST", path, content if version == 1 else {"data": content})
    with Issuer() as issuer:
        logins = vault_logins(openbao, base, issuer, tmp_path)
    for kwargs, _ in logins.values():
        kwargs.update({"mount_point": base, "kv_engine_version": 1} if version == 1 else {})
    names = {(kind, f"{kind}-{name}"): content for (kind, name), content in stored.items()}
    every = list(cases("vault", logins, names))
    real = real_answers("values", every, tmp_path, **UNUSED)
    assert [] == compare(every, real, ours(every, monkeypatch))


# -- AWS ----------------------------------------------------------------------------------------------


def aws_logins(server: MiniStack, issuer: Issuer, folder: Path) -> tuple[Logins, dict[str, str]]:
    """The logins, and the variables of all."""
    read = allow("secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt")
    reader, nobody, assumer = server.user(read), server.user(), server.user(allow("sts:AssumeRole"))
    trust: dict[str, object] = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    condition = {"Condition": {"StringEquals": {"sts:ExternalId": "team-7"}}}
    role, guarded = server.role(trust, read), server.role(trust | condition, read)
    federated = server.role(trust_of(issuer, "sts.amazonaws.com", "job"), read)
    now = int(time.time())
    claims = {"sub": "job", "aud": "sts.amazonaws.com", "iat": now, "exp": now + 3600}
    (folder / "identity").write_text(issuer.mint(claims))
    profiles = {"default": nobody, "deploy": reader, "assume": assumer}
    (folder / "credentials").write_text(
        "".join(
            f"[{name}]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
            for name, (access, secret) in profiles.items()
        )
    )

    def keys(pair: tuple[str, str]) -> dict[str, Any]:
        return {"aws_access_key_id": pair[0], "aws_secret_access_key": pair[1]}

    def variables(pair: tuple[str, str]) -> dict[str, str]:
        return {name.upper(): text for name, text in keys(pair).items()}

    web = {
        "assume_role_method": "assume_role_with_web_identity",
        "assume_role_with_web_identity_federation": "file",
    }
    file = {"assume_role_with_web_identity_token_file": str(folder / "identity")}
    sts = {"service_config": {"sts": {"endpoint_url": server.endpoint}}}
    logins: Logins = {
        "keys": (keys(reader), variables(nobody)),
        "keys in session_kwargs": ({"session_kwargs": keys(reader), "verify": True}, variables(nobody)),
        "half of the keys": ({"aws_access_key_id": reader[0]}, variables(reader)),
        "wrong keys": (keys((reader[0], "x" * 40)), variables(reader)),
        "denied": (keys(nobody), variables(reader)),
        "environment": ({"config_kwargs": {"retries": {"max_attempts": 1}}}, variables(reader)),
        "default profile": ({"profile_name": None}, {}),
        "profile": ({"profile_name": "deploy"}, variables(nobody)),
        "no profile": ({"profile_name": "none"}, variables(reader)),
        "role": (keys(assumer) | {"role_arn": role} | sts, {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}),
        "role of a profile": ({"profile_name": "assume", "role_arn": role}, {}),
        "role with an id": (
            keys(assumer)
            | {
                "role_arn": guarded,
                "assume_role_kwargs": {
                    "ExternalId": "team-7",
                    "RoleSessionName": "airflow",
                    "DurationSeconds": 900,
                },
            },
            {},
        ),
        "role without the id": (keys(assumer) | {"role_arn": guarded}, {}),
        "web identity": (web | file | {"role_arn": federated}, variables(nobody)),
        "web identity of the environment": (
            web | {"role_arn": federated},
            {"AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "identity")},
        ),
        "no web identity": (web | {"role_arn": federated}, {}),
        "another region": (keys(reader) | {"region_name": "us-east-1"}, {}),
    }
    common = {"endpoint_url": server.endpoint}
    words = {"extra_conn_words": {"password": ["secret"], "user": ["who"]}}
    made = {name: (common | kwargs, given) for name, (kwargs, given) in logins.items()}
    made["words"] = (common | keys(reader) | words, {})
    return made, {
        "AWS_DEFAULT_REGION": server.region,
        "AWS_ENDPOINT_URL_STS": server.endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", ["aws", "aws-ssm"])
def test_aws(
    service: str, ministack: MiniStack, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = f"airflow-{os.urandom(4).hex()}"
    stored = secrets(BROKEN)
    logins, variables = aws_logins(ministack, issuer, tmp_path)
    if service == "aws-ssm":
        del logins["words"]
    for (kind, name), text in stored.items():
        if text is None:
            continue
        made = client(ministack, "secretsmanager" if service == "aws" else "ssm")
        if service == "aws":
            made.create_secret(Name=f"{base}/{kind}/{name}", SecretString=text)
        else:
            made.put_parameter(Name=f"/{base}/{kind}/{name}", Value=text, Type="SecureString")
    for kwargs, _ in logins.values():
        start = "" if service == "aws" else "/"
        kwargs.update({f"{kind}s_prefix": f"{start}{base}/{kind}" for kind in ("variable", "connection")})
    every = list(cases(service, logins, stored))
    real = real_answers("values", every, tmp_path, **UNUSED, **variables)
    assert [] == compare(every, real, ours(every, monkeypatch, **variables))


# -- Google Cloud -------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(600)
def test_gcp(
    gcp_server: GcpServer,
    gcp_login: GcpLogin,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    base, stored = f"airflow-{os.urandom(4).hex()}", secrets(BROKEN)
    identities = gcp_server.identities
    reader, nobody = identities.service_account("reader"), identities.service_account("nobody")
    target, delegate = identities.service_account("target"), identities.service_account("delegate")
    gcp_server.restrict(nobody.email)
    gcp_login.allow(nobody.email, target.email)
    token_uri = f"{gcp_login.url}/token"
    key, other = (
        each.write(tmp_path / f"{each.email}.json", token_uri=token_uri) for each in (reader, nobody)
    )
    content = json.loads(key.read_text())
    escaped = content | {"private_key": content["private_key"].replace("\n", "\\n")}
    without = {name: text for name, text in escaped.items() if name != "type"}
    (tmp_path / "damaged.json").write_text("{}")
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(other)}
    logins: Logins = {
        "key": ({"gcp_key_path": str(key)}, environment),
        "key with a project": ({"gcp_key_path": str(key), "project_id": "p1"}, environment),
        "key in the arguments": (
            {"gcp_keyfile_dict": without},
            environment,
        ),
        "configuration": ({"gcp_credential_config_file": str(key)}, environment),
        "configuration as a text": ({"gcp_credential_config_file": key.read_text()}, environment),
        "configuration as an object": (
            {"gcp_credential_config_file": content, "project_id": "p1"},
            environment,
        ),
        "environment": ({}, {"GOOGLE_APPLICATION_CREDENTIALS": str(key)}),
        "two keys": ({"gcp_key_path": str(key), "gcp_keyfile_dict": content}, environment),
        "damaged": ({"gcp_key_path": str(tmp_path / "damaged.json"), "project_id": "p1"}, environment),
        "denied": ({"gcp_key_path": str(other)}, {}),
        "account": ({"gcp_key_path": str(other), "impersonation_chain": target.email}, {}),
        "accounts": ({"impersonation_chain": [target.email]}, environment),
        "another's account": ({"impersonation_chain": delegate.email}, environment),
        "another project": ({"gcp_key_path": str(key), "project_id": "p2"}, {}),
    }
    for (kind, name), text in stored.items():
        if text is not None:
            gcp_server.put(f"projects/p1/secrets/{base}-{kind}-{name}", text.encode())
    for kwargs, _ in logins.values():
        kwargs.update({f"{kind}s_prefix": f"{base}-{kind}" for kind in ("variable", "connection")})
    every = list(cases("gcp", logins, stored))
    real = real_answers(
        "values",
        every,
        tmp_path,
        TEST_GCP_ENDPOINT=gcp_server.endpoint,
        TEST_GCP_LOGIN=gcp_login.url,
        GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(certificates.ca_file),
        REQUESTS_CA_BUNDLE=str(certificates.ca_file),
        NO_GCE_CHECK="true",
    )
    variables = {
        "ASTRO_TOKEN_GCP_ENDPOINT": gcp_server.endpoint,
        "ASTRO_TOKEN_GCP_IAM_ENDPOINT": f"127.0.0.1:{gcp_login.port}",
        "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
        "NO_GCE_CHECK": "true",
    }
    own = ours(every, monkeypatch, **variables)
    # The real backend reports a denial as a missing secret, so that Airflow reads the next source.
    assert [] == compare(every, real, own, hidden=len(SOME) + 1)


# -- Azure --------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(600)
def test_azure(
    azure_server: AzureServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base, stored = f"airflow-{os.urandom(4).hex()}", secrets(BROKEN)
    stored["variable", "empty"] = ""
    stored["connection", "empty"] = ""
    server = azure_server
    application = {
        "tenant_id": server.tenant,
        "client_id": server.client_id,
        "client_secret": server.client_secret,
    }
    wrong = {f"AZURE_{name.upper()}": "x" for name in application}
    right = {f"AZURE_{name.upper()}": text for name, text in application.items()}
    machine = {"managed_identity_client_id": server.machine_id, "workload_identity_tenant_id": server.tenant}
    app_service = {"IDENTITY_ENDPOINT": server.identity_endpoint, "IDENTITY_HEADER": server.identity_header}
    logins: Logins = {
        "application": (application, wrong),
        "wrong secret": (application | {"client_secret": "x"}, right),
        "a part of it": ({"tenant_id": "x", "client_id": "y"}, right),
        "environment": ({}, right),
        "identity": (machine, app_service),
        "identity and a part": (machine | {"tenant_id": "x"}, app_service),
        "identity after the environment": (
            machine | {"managed_identity_client_id": "x"},
            right | app_service,
        ),
        "another identity": (machine | {"managed_identity_client_id": "x"}, app_service),
        "half of the identity": ({"managed_identity_client_id": "x"}, app_service),
    }
    for (kind, name), text in stored.items():
        if text is not None:
            server.put(f"{base}-{kind}-{name}", text)
    for kwargs, _ in logins.values():
        kwargs.update({f"{kind}s_prefix": f"{base}-{kind}" for kind in ("variable", "connection")})
        kwargs.update(vault_url=server.url)
    every = list(cases("azure", logins, stored))
    shared = {"AZURE_AUTHORITY_HOST": server.url, "REQUESTS_CA_BUNDLE": str(certificates.ca_file)}
    real = real_answers("values", every, tmp_path, **UNUSED, **shared)
    variables = {**shared, "ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{server.port}"}
    assert [] == compare(every, real, ours(every, monkeypatch, **variables))
