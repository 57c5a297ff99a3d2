"""The subjects of each service, made ready in the servers of the session."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import botocore.session
import google_crc32c
from google.cloud.kms_v1 import types as kms
from google.cloud.parametermanager_v1 import types as pm
from google.cloud.secretmanager_v1 import types as sm
from jwcrypto import jwe, jwk

from astro_token.testing import make_token
from tests.backends.test_airflow import CLASSES
from tests.matrix.subjects import FRONT, OTHER, Subject, unique

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers.azure import AzureServer
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer
    from tests.servers.ministack import MiniStack
    from tests.servers.openbao import OpenBao

__all__ = ["aws", "azure", "gcp", "vault"]

_JOB = "repo:acme/dags:ref:refs/heads/main"
_LATE = 4_102_444_800  # the end of a token that lasts as long as any run


def _chain(read: Subject) -> Subject:
    """The subject as the first reference of a chain, whose second one is a good token."""
    other = make_token()
    return dataclasses.replace(
        read,
        name=f"{read.name.partition(' ')[0]} chain",
        call="chain",
        variables={**read.variables, OTHER: other},
        secrets=(*read.secrets, other),
    )


def _airflow(read: Subject, service: str, name: str, kwargs: Mapping[str, str]) -> Subject:
    """The service as the secrets backend of Airflow, which has the variable with the default prefix."""
    given = {
        "AIRFLOW__SECRETS__BACKEND": CLASSES[service],
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(kwargs),
    }
    return dataclasses.replace(
        read,
        name=f"airflow {service}",
        scheme="airflow",
        ref=f"airflow:variable/{name}",
        variables={**read.variables, **given},
    )


def vault(bao: OpenBao) -> list[Subject]:
    canary, name, mount, role = make_token(), unique(), unique(), unique()
    bao.api("POST", f"secret/data/{name}", {"data": {"token": canary}})
    bao.api("POST", f"sys/mounts/{mount}", {"type": "transit"})
    bao.api("POST", f"{mount}/keys/{name}")
    bao.api("POST", f"sys/auth/{mount}", {"type": "approle"})
    bao.api("PUT", f"sys/policies/acl/{name}", {"policy": 'path "secret/*" { capabilities = ["read"] }'})
    bao.api("POST", f"auth/{mount}/role/{role}", {"token_policies": name, "token_ttl": "30m"})
    role_id = bao.api("GET", f"auth/{mount}/role/{role}/role-id")["data"]["role_id"]
    secret_id = bao.api("POST", f"auth/{mount}/role/{role}/secret-id", {})["data"]["secret_id"]
    token = bao.api("POST", "auth/token/create", {"policies": ["root"]})["auth"]["client_token"]
    given = {"VAULT_ADDR": f"https://{FRONT}", "VAULT_TOKEN": token}
    job = {
        "VAULT_ADDR": f"https://{FRONT}",
        "VAULT_ROLE_ID": role_id,
        "VAULT_SECRET_ID": secret_id,
        "ASTRO_TOKEN_VAULT_MOUNT": mount,
    }
    read = Subject(
        "vault read", "vault", "read", f"vault:secret/{name}?kv=2", bao.address, canary, given, (token,)
    )
    login = dataclasses.replace(read, name="vault login", variables=job, secrets=(secret_id,))
    question = dataclasses.replace(read, name="vault question", ref=f"vault:secret/{name}")
    key = dataclasses.replace(read, scheme="vault-transit", ref=f"vault-transit:{mount}/{name}")
    bao.api("POST", f"secret/data/variables/{name}", {"data": {"value": canary}})
    kwargs = {"url": f"https://{FRONT}", "token": token}
    return [
        read,
        _chain(read),
        _airflow(read, "vault", name, kwargs),
        dataclasses.replace(question, name="vault read, later", later=True),
        dataclasses.replace(
            read, name="vault write", call="write", ref=f"vault:secret/{name}-written?kv=2", canary=canary
        ),
        dataclasses.replace(read, name="vault describe", call="describe"),
        question,
        login,
        dataclasses.replace(login, name="vault after login", later=True, renews=True),
        dataclasses.replace(key, name="vault-transit question", call="encrypt"),
        dataclasses.replace(key, name="vault-transit decrypt", call="decrypt", later=True),
        dataclasses.replace(key, name="vault-transit encrypt", call="encrypt", later=True),
    ]


def aws(ministack: MiniStack, issuer: Issuer) -> list[Subject]:
    canary, name = make_token(), unique()

    def admin(service: str) -> Any:
        return botocore.session.Session().create_client(
            service,
            endpoint_url=ministack.endpoint,
            region_name=ministack.region,
            aws_access_key_id=ministack.access_key,
            aws_secret_access_key=ministack.secret_key,
        )

    admin("secretsmanager").create_secret(Name=name, SecretString=canary)
    admin("ssm").put_parameter(Name=f"/{name}", Value=canary, Type="SecureString")
    key = admin("kms").create_key()["KeyMetadata"]["KeyId"]
    given = {**ministack.environment(), "AWS_ENDPOINT_URL": f"https://{FRONT}"}
    read = Subject(
        "aws read",
        "aws",
        "read",
        f"aws:{name}",
        ministack.endpoint,
        canary,
        given,
        (ministack.secret_key,),
    )
    parameter = dataclasses.replace(read, scheme="aws-ssm", ref=f"aws-ssm:/{name}")
    encrypted = dataclasses.replace(read, scheme="aws-kms", ref=f"aws-kms:{key}")
    host = issuer.name.partition("://")[2]
    role = ministack.role(
        {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::000000000000:oidc-provider/{host}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": _JOB}},
        },
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"},
    )
    identity = issuer.mint({"aud": "sts.amazonaws.com", "sub": _JOB, "exp": _LATE})
    job = {name: value for name, value in given.items() if "KEY" not in name}
    job |= {"ASTRO_TOKEN_ID_TOKEN": identity, "AWS_ROLE_ARN": role}
    login = dataclasses.replace(read, name="aws login", variables=job, secrets=(identity,))
    admin("secretsmanager").create_secret(Name=f"airflow/variables/{name}", SecretString=canary)
    admin("ssm").put_parameter(Name=f"/airflow/variables/{name}", Value=canary, Type="SecureString")
    return [
        read,
        _chain(read),
        _airflow(read, "aws", name, {}),
        _airflow(parameter, "aws-ssm", name, {}),
        dataclasses.replace(read, name="aws write", call="write"),
        dataclasses.replace(read, name="aws describe", call="describe"),
        dataclasses.replace(parameter, name="aws-ssm read"),
        dataclasses.replace(parameter, name="aws-ssm write", call="write"),
        dataclasses.replace(parameter, name="aws-ssm write, later", call="write", later=True),
        dataclasses.replace(parameter, name="aws-ssm describe", call="describe"),
        dataclasses.replace(encrypted, name="aws-kms decrypt", call="decrypt"),
        dataclasses.replace(encrypted, name="aws-kms encrypt", call="encrypt"),
        login,
        dataclasses.replace(login, name="aws after login", later=True),
    ]


def gcp(server: GcpServer, login: GcpLogin, issuer: Issuer, folder: Path) -> list[Subject]:
    canary, name = make_token(), unique()
    full = f"projects/p1/secrets/{name}"
    version = server.put(full, canary.encode())
    key = server.keys.create(f"projects/p1/locations/europe-west1/keyRings/r/cryptoKeys/{name}")
    account = server.identities.service_account()
    file = account.write(folder / f"{name}.json")
    private = "".join(json.loads(file.read_text())["private_key"].splitlines()[1:-1])
    given = {
        "ASTRO_TOKEN_GCP_ENDPOINT": FRONT,
        "ASTRO_TOKEN_GCP_KMS_ENDPOINT": FRONT,
        "ASTRO_TOKEN_GCP_PM_ENDPOINT": FRONT,
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
        "NO_GCE_CHECK": "true",
    }
    payload = sm.SecretPayload(data=canary.encode(), data_crc32c=google_crc32c.value(canary.encode()))
    accessed = sm.AccessSecretVersionResponse(name=f"{full}/versions/{version}", payload=payload)
    described = sm.SecretVersion(
        name=f"{full}/versions/{version}",
        state=sm.SecretVersion.State.ENABLED,
        client_specified_payload_checksum=True,
    )
    decrypted = kms.DecryptResponse(
        plaintext=canary.encode(), plaintext_crc32c=google_crc32c.value(canary.encode())
    )
    encrypted = kms.EncryptResponse(
        name=f"{key}/cryptoKeyVersions/1",
        ciphertext=canary.encode(),
        ciphertext_crc32c=google_crc32c.value(canary.encode()),
        verified_plaintext_crc32c=True,
    )
    read = Subject(
        "gcp read",
        "gcp",
        "read",
        f"gcp:p1/{name}",
        server.endpoint,
        canary,
        given,
        (private,),
        grpc=True,
        answer=type(accessed).serialize(accessed),
    )
    of_airflow = f"{full.rpartition('/')[0]}/airflow-variables-{name}"
    version_of_airflow = server.put(of_airflow, canary.encode())
    accessed_by_airflow = sm.AccessSecretVersionResponse(
        name=f"{of_airflow}/versions/{version_of_airflow}", payload=payload
    )
    parameter = f"projects/p1/locations/global/parameters/{name}"
    server.parameters.put(parameter, "v1", canary.encode())
    rendered = pm.RenderParameterVersionResponse(
        parameter_version=f"{parameter}/versions/v1", rendered_payload=canary.encode()
    )
    shown = pm.ParameterVersion(name=f"{parameter}/versions/v1")
    keys = dataclasses.replace(read, scheme="gcp-kms", ref=f"gcp-kms:{key}")
    subject = "repo:acme/dags"
    provider = login.trust(issuer, subject=subject, accounts=(account.email,))
    identity = issuer.mint({"aud": f"https:{provider}", "sub": subject, "exp": _LATE})
    job = {
        "ASTRO_TOKEN_GCP_ENDPOINT": server.endpoint,
        "ASTRO_TOKEN_GCP_STS_ENDPOINT": FRONT,
        "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER": provider,
        "ASTRO_TOKEN_ID_TOKEN": identity,
        "NO_GCE_CHECK": "true",
    }
    exchange = dataclasses.replace(
        read,
        name="gcp login",
        variables=job,
        secrets=(identity,),
        grpc=False,
        upstream=login.url,
        others=(server.endpoint,),
    )
    acting = {
        **job,
        "ASTRO_TOKEN_GCP_STS_ENDPOINT": f"127.0.0.1:{login.port}",
        "ASTRO_TOKEN_GCP_IAM_ENDPOINT": FRONT,
        "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT": account.email,
    }
    return [
        read,
        _chain(read),
        dataclasses.replace(
            _airflow(read, "gcp", name, {"project_id": "p1"}),
            answer=type(accessed_by_airflow).serialize(accessed_by_airflow),
        ),
        dataclasses.replace(
            read, name="gcp write", call="write", answer=type(described).serialize(described)
        ),
        dataclasses.replace(
            read,
            name="gcp describe",
            call="describe",
            answer=type(described).serialize(described),
            requests=2,
        ),
        dataclasses.replace(
            read,
            name="gcp-pm read",
            scheme="gcp-pm",
            ref=f"gcp-pm:p1/{name}?version=v1",
            answer=type(rendered).serialize(rendered),
        ),
        dataclasses.replace(
            read,
            name="gcp-pm describe",
            call="describe",
            scheme="gcp-pm",
            ref=f"gcp-pm:p1/{name}?version=v1",
            answer=type(shown).serialize(shown),
        ),
        dataclasses.replace(
            keys, name="gcp-kms decrypt", call="decrypt", answer=type(decrypted).serialize(decrypted)
        ),
        dataclasses.replace(
            keys, name="gcp-kms encrypt", call="encrypt", answer=type(encrypted).serialize(encrypted)
        ),
        exchange,
        dataclasses.replace(exchange, name="gcp impersonation", variables=acting),
    ]


def azure(server: AzureServer) -> list[Subject]:
    canary, name = make_token(), unique()
    server.put(name, canary)
    key = jwk.JWK.from_pyca(server.put_key(name).private.public_key())
    # One that does not name its key: by the port in that name it would be another vault's in each cell.
    box = jwe.JWE(canary.encode(), json.dumps({"alg": "RSA-OAEP-256", "enc": "A256GCM"}))
    box.add_recipient(key)
    given = {
        "ASTRO_TOKEN_AZURE_HOSTS": FRONT,
        "AZURE_AUTHORITY_HOST": server.url,
        "AZURE_TENANT_ID": server.tenant,
        "AZURE_CLIENT_ID": server.client_id,
        "AZURE_CLIENT_SECRET": server.client_secret,
    }
    challenge = Subject(
        "azure challenge",
        "azure",
        "read",
        f"azure:https://{FRONT}/secrets/{name}",
        server.url,
        canary,
        given,
        (server.client_secret,),
    )
    read = dataclasses.replace(challenge, name="azure read", later=True)
    keys = dataclasses.replace(read, scheme="azure-keys", ref=f"azure-keys:https://{FRONT}/keys/{name}")
    itself = f"127.0.0.1:{server.port}"
    login = {**given, "ASTRO_TOKEN_AZURE_HOSTS": itself, "AZURE_AUTHORITY_HOST": f"https://{FRONT}"}
    server.put(f"airflow-variables-{name}", canary)
    return [
        challenge,
        read,
        _chain(read),
        _airflow(read, "azure", name, {"vault_url": f"https://{FRONT}"}),
        dataclasses.replace(read, name="azure write", call="write"),
        dataclasses.replace(read, name="azure describe", call="describe"),
        dataclasses.replace(
            keys, name="azure-keys decrypt", call="decrypt", ciphertext=box.serialize(compact=True).encode()
        ),
        dataclasses.replace(keys, name="azure-keys encrypt", call="encrypt"),
        dataclasses.replace(
            challenge,
            name="azure login",
            variables=login,
            ref=f"azure:{server.url}/secrets/{name}",
        ),
    ]
