"""Azure Key Vault: the official clients are served, and refused where the services refuse."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import ssl
import time
import urllib.parse
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import (
    ClientAssertionCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
)
from azure.keyvault.keys import KeyVaultKey
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from tests.servers import web_tokens
from tests.servers.azure import Fault
from tests.servers.azure_login import VAULT
from tests.servers.faults import ConnectProxy
from tests.servers.jwks import rsa_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer

API = {"api-version": "2026-04-01"}


@pytest.fixture
def name(azure_server: AzureServer) -> str:
    name = f"s-{uuid.uuid4().hex[:8]}"
    azure_server.put(name, "first")
    azure_server.put(name, "second")
    return name


@pytest.fixture
def ask(azure_server: AzureServer, certificates: Certificates) -> Callable[..., tuple[int, dict[str, Any]]]:
    """One request as it is: method, path, and what else is said by name."""
    tls = ssl.create_default_context(cafile=certificates.ca_file)

    def ask(
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: object = None,
        bearer: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        bearer = azure_server.issue() if bearer is None else bearer
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        data = None if body is None else json.dumps(body)
        if isinstance(body, dict) and "grant_type" in body:
            data = urllib.parse.urlencode(body)
        target = f"{path}?{urllib.parse.urlencode(API if query is None else query)}"
        connection = http.client.HTTPSConnection("127.0.0.1", azure_server.port, timeout=30, context=tls)
        with contextlib.closing(connection):
            connection.request(method, target, data, headers)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, {
                "challenge": answer.headers.get("WWW-Authenticate"),
                **(json.loads(content) if content else {}),
            }

    return ask


@pytest.fixture
def client(azure_server: AzureServer, certificates: Certificates) -> Iterator[SecretClient]:
    with official(azure_server, certificates, with_secret(azure_server, certificates)) as client:
        yield client


def once(certificates: Certificates) -> dict[str, Any]:
    return {"retry_total": 0, "connection_verify": str(certificates.ca_file)}


def with_secret(server: AzureServer, certificates: Certificates, secret: str = "") -> ClientSecretCredential:
    return ClientSecretCredential(
        server.tenant,
        server.client_id,
        secret or server.client_secret,
        authority=server.url,
        disable_instance_discovery=True,
        **once(certificates),
    )


@contextlib.contextmanager
def official(server: AzureServer, certificates: Certificates, credential: Any) -> Iterator[SecretClient]:
    with (
        credential,
        SecretClient(server.url, credential, verify_challenge_resource=False, **once(certificates)) as client,
    ):
        yield client


# -- the official clients ------------------------------------------------------------------------


def test_what_was_stored_is_read(client: SecretClient, name: str) -> None:
    assert client.get_secret(name).value == "second"
    added = client.set_secret(name, "third", tags={"a": "b"}, content_type="text/plain")
    again = client.get_secret(name, added.properties.version)
    assert (again.value, again.properties.tags) == ("third", {"a": "b"})
    assert len(list(client.list_properties_of_secret_versions(name))) == 3


def test_a_long_history_comes_in_pages(client: SecretClient, azure_server: AzureServer, name: str) -> None:
    versions = [azure_server.put(name, "x") for _ in range(30)]
    found = [properties.version for properties in client.list_properties_of_secret_versions(name)]
    assert found[2:] == versions


def test_a_deleted_secret_is_gone_but_keeps_its_name(client: SecretClient, name: str) -> None:
    client.begin_delete_secret(name)
    with pytest.raises(ResourceNotFoundError):
        client.get_secret(name)
    with pytest.raises(ResourceExistsError) as raised:
        client.set_secret(name, "again")
    error = raised.value.error
    assert error is not None
    assert (error.code, error.innererror) == ("Conflict", {"code": "ObjectIsDeletedButRecoverable"})
    client.begin_recover_deleted_secret(name)
    assert client.get_secret(name).value == "second"
    client.begin_delete_secret(name)
    client.purge_deleted_secret(name)
    client.set_secret(name, "anew")


def test_a_wrong_secret_does_not_log_in(
    azure_server: AzureServer, certificates: Certificates, name: str
) -> None:
    with official(azure_server, certificates, with_secret(azure_server, certificates, "wrong")) as client:
        with pytest.raises(HttpResponseError, match="AADSTS7000215"):
            client.get_secret(name)


def test_a_ci_systems_token_logs_in(
    azure_server: AzureServer, certificates: Certificates, issuer: Issuer, name: str
) -> None:
    subject = f"repo:acme/{name}"
    azure_server.trust(issuer, subject=subject)
    good: dict[str, object] = {"sub": subject, "aud": "api://AzureADTokenExchange"}

    def read(token: str) -> str:
        credential = ClientAssertionCredential(
            azure_server.tenant,
            azure_server.client_id,
            lambda: token,
            authority=azure_server.url,
            disable_instance_discovery=True,
            **once(certificates),
        )
        with official(azure_server, certificates, credential) as client:
            try:
                return client.get_secret(name).value or ""
            except HttpResponseError as error:
                return str(error).partition("AADSTS")[2].partition(":")[0]

    assert read(issuer.mint(good)) == "second"
    assert read(issuer.mint(good, key=rsa_key())) == "50013"
    assert read(issuer.mint({**good, "exp": 1})) == "700024"
    assert read(issuer.mint({**good, "sub": "repo:evil/dags"})) == "700213"
    assert read(issuer.mint({**good, "aud": "other"})) == "700212"
    assert read(issuer.mint({**good, "iss": "https://elsewhere.example"})) == "700211"
    assert read("no token") == "50027"


def test_an_applications_own_assertion_has_to_be_signed_by_its_certificate(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer
) -> None:
    known, unknown = rsa_key(), rsa_key()
    azure_server.directory.trust_certificate(certificate_of(known))
    path = f"/{azure_server.tenant}/oauth2/v2.0/token"

    def log_in(key: RSAPrivateKey, **changes: object) -> int | None:
        end = f"{azure_server.url}{path}"
        claims = {"iss": azure_server.client_id, "sub": azure_server.client_id, "aud": end}
        token = web_tokens.sign({**claims, "exp": int(time.time()) + 60, **changes}, key)
        form = {
            "grant_type": "client_credentials",
            "client_id": azure_server.client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": token,
            "scope": f"{VAULT}/.default",
        }
        status, answer = ask("POST", path, body=form)
        return None if status == 200 else int(answer["error_codes"][0])

    assert log_in(known) is None
    assert log_in(unknown) == 700027
    assert log_in(known, aud="https://elsewhere.example") == 700024
    assert log_in(known, exp=1) == 700024
    assert log_in(known, sub="another") == 700211


def certificate_of(key: RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1)
    ).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("kind", ["machine", "app service"])
def test_a_managed_identity_logs_in(
    azure_server: AzureServer,
    certificates: Certificates,
    name: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "machine":
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure_server.identity_url)
    else:
        monkeypatch.setenv("IDENTITY_ENDPOINT", azure_server.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", azure_server.identity_header)
    with official(azure_server, certificates, ManagedIdentityCredential()) as client:
        assert client.get_secret(name).value == "second"
    assert len(azure_server.identity_requests) >= 1


def test_a_vaults_own_name_is_served_through_a_proxy_with_every_check_on(
    azure_server: AzureServer, certificates: Certificates, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConnectProxy(
        routes={
            "team.vault.azure.net": azure_server.port,
            "login.microsoftonline.com": azure_server.port,
        }
    ) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setattr(azure_server, "authority", "https://login.microsoftonline.com")
        credential = ClientSecretCredential(
            azure_server.tenant, azure_server.client_id, azure_server.client_secret, **once(certificates)
        )
        with (
            credential,
            SecretClient("https://team.vault.azure.net", credential, **once(certificates)) as client,
        ):
            assert client.get_secret(name).value == "second"
        assert {target.partition(":")[0] for target in proxy.targets} == set(proxy.routes)


# -- what is refused -----------------------------------------------------------------------------


def test_a_request_without_a_bearer_is_told_where_to_log_in(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer, name: str
) -> None:
    status, answer = ask("GET", f"/secrets/{name}", bearer="")
    assert (status, answer["error"]["code"]) == (401, "Unauthorized")
    assert answer["challenge"] == (
        f'Bearer authorization="{azure_server.url}/{azure_server.tenant}", resource="https://vault.azure.net"'
    )


def test_a_bearer_that_is_unknown_expired_or_for_another_audience_is_refused(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer, name: str
) -> None:
    tokens = [
        "unknown",
        azure_server.issue(lifetime=0),
        azure_server.issue(audience="https://management.azure.com"),
    ]
    answers = [ask("GET", f"/secrets/{name}", bearer=token) for token in tokens]
    assert [status for status, _ in answers] == [401, 401, 401]
    assert all('error="invalid_token"' in answer["challenge"] for _, answer in answers)
    assert ask("GET", f"/secrets/{name}")[0] == 200


@pytest.mark.parametrize(
    "query", [{}, {"api-version": ""}, {"api-version": "1.0"}, {"api-version": "latest"}]
)
def test_a_missing_or_unknown_api_version_is_refused(
    ask: Callable[..., tuple[int, dict[str, Any]]], name: str, query: dict[str, str]
) -> None:
    status, answer = ask("GET", f"/secrets/{name}", query=query)
    assert (status, answer["error"]["code"]) == (400, "BadParameter")


def test_a_disabled_version_is_refused_and_no_older_one_given(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer, name: str
) -> None:
    azure_server.put(name, "third", enabled=False)
    status, answer = ask("GET", f"/secrets/{name}/")
    assert (status, answer["error"]["innererror"]) == (403, {"code": "SecretDisabled"})


def test_validity_is_told_and_left_to_the_client(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer, name: str
) -> None:
    now = int(time.time())
    expired = azure_server.put(name, "third", exp=now - 60)
    early = azure_server.put(name, "fourth", nbf=now + 60)
    assert ask("GET", f"/secrets/{name}/{expired}")[1]["attributes"]["exp"] == now - 60
    assert ask("GET", f"/secrets/{name}/{early}")[1]["attributes"]["nbf"] == now + 60


def test_what_is_not_there_is_not_found(ask: Callable[..., tuple[int, dict[str, Any]]], name: str) -> None:
    for path in ("/secrets/none", f"/secrets/{name}/{'0' * 32}", "/deletedsecrets/none"):
        status, answer = ask("GET", path)
        assert (status, answer["error"]["code"]) == (404, "SecretNotFound")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/secrets/a_b", None, 400),
        ("GET", "/secrets/..%2Fkeys", None, 400),
        ("PUT", "/secrets/new", {}, 400),
        ("PUT", "/secrets/new", {"value": 1}, 400),
        ("PUT", "/secrets/new", {"value": "x" * 25_601}, 400),
        ("PATCH", "/secrets/new", {}, 405),
    ],
)
def test_a_malformed_request_is_refused(
    ask: Callable[..., tuple[int, dict[str, Any]]], method: str, path: str, body: object, status: int
) -> None:
    assert ask(method, path, body=body)[0] == status
    assert ask("GET", "/secrets/new")[0] == 404


def test_a_right_that_was_not_granted_is_denied(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer, name: str
) -> None:
    azure_server.restrict("reader", "get")
    bearer = azure_server.issue(client="reader")
    assert ask("GET", f"/secrets/{name}", bearer=bearer)[0] == 200
    for method, path in (("PUT", f"/secrets/{name}"), ("GET", f"/secrets/{name}/versions")):
        status, answer = ask(method, path, body={"value": "x"}, bearer=bearer)
        assert (status, answer["error"]["innererror"]) == (403, {"code": "ForbiddenByRbac"})


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({}, None),
        ({"grant_type": "password"}, 70003),
        ({"client_id": "other"}, 700016),
        ({"client_secret": "wrong"}, 7000215),
        ({"scope": f"{VAULT}/user"}, 1002012),
        ({"scope": "https://elsewhere.example/.default"}, 500011),
    ],
)
def test_a_login_has_to_fit(
    ask: Callable[..., tuple[int, dict[str, Any]]],
    azure_server: AzureServer,
    changes: dict[str, str],
    number: int | None,
) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": azure_server.client_id,
        "client_secret": azure_server.client_secret,
        "scope": f"{VAULT}/.default",
        **changes,
    }
    status, answer = ask("POST", f"/{azure_server.tenant}/oauth2/v2.0/token", body=form)
    assert (status == 200, answer.get("error_codes")) == (number is None, number and [number])
    assert ask("POST", f"/{uuid.uuid4()}/oauth2/v2.0/token", body=form)[1]["error_codes"] == [90002]


def test_managed_identity_wants_its_header(azure_server: AzureServer) -> None:
    def get(path: str, query: dict[str, str], **headers: str) -> int:
        address = azure_server.identity_url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}", headers=headers)
            return connection.getresponse().status

    machine, service = "/metadata/identity/oauth2/token", "/msi/token"
    query = {"api-version": "2018-02-01", "resource": VAULT}
    assert get(machine, query, Metadata="true") == 200
    assert get(machine, query) == 400
    assert get(machine, query, Metadata="true", **{"X-Forwarded-For": "10.0.0.1"}) == 400
    assert get(machine, {"resource": VAULT}, Metadata="true") == 400
    assert get(machine, {**query, "client_id": "other"}, Metadata="true") == 400
    assert get(machine, {**query, "resource": "https://elsewhere.example"}, Metadata="true") == 400
    assert get(service, query, **{"X-IDENTITY-HEADER": "wrong"}) == 400
    assert get(service, query, **{"X-IDENTITY-HEADER": azure_server.identity_header}) == 200


# -- keys ----------------------------------------------------------------------------------------


@pytest.fixture
def key(azure_server: AzureServer, certificates: Certificates) -> Iterator[CryptographyClient]:
    """The official client, which wraps by itself with the public key and lets the vault unwrap."""
    made = azure_server.put_key("k")
    numbers = made.private.public_key().public_numbers()
    n, e = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.n, numbers.e))
    with (
        with_secret(azure_server, certificates) as credential,
        CryptographyClient(
            KeyVaultKey(f"{azure_server.url}/keys/k/{made.version}", kty="RSA", n=n, e=e),
            credential,
            verify_challenge_resource=False,
            **once(certificates),
        ) as client,
    ):
        yield client


def wrapped(ask: Callable[..., tuple[int, dict[str, Any]]], path: str, value: str, **more: Any) -> Any:
    body = {"alg": "RSA-OAEP-256", "value": value, **more}
    status, answer = ask("POST", path, body=body)
    return answer["value"] if status == 200 else (status, answer["error"].get("innererror"))


def test_a_key_wraps_and_unwraps(key: CryptographyClient) -> None:
    algorithm = KeyWrapAlgorithm.rsa_oaep_256
    box = key.wrap_key(algorithm, b"a content key").encrypted_key
    assert len(box) == 256
    assert key.unwrap_key(algorithm, box).key == b"a content key"
    with pytest.raises(HttpResponseError) as raised:
        key.unwrap_key(algorithm, bytes(256))
    assert raised.value.status_code == 400


def test_a_key_does_what_its_state_and_its_operations_allow(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer
) -> None:
    now, value = int(time.time()), web_tokens.encode(b"a content key")
    name = f"k-{uuid.uuid4().hex[:8]}"
    first = azure_server.put_key(name)
    box = wrapped(ask, f"/keys/{name}//wrapkey", value)
    assert value == wrapped(ask, f"/keys/{name}/{first.version}/unwrapkey", box)
    azure_server.put_key(name)
    assert wrapped(ask, f"/keys/{name}//unwrapkey", box) == (400, None)
    azure_server.put_key(name, operations=("unwrapKey",))
    assert wrapped(ask, f"/keys/{name}//wrapkey", value) == (403, {"code": "KeyOperationForbidden"})
    azure_server.put_key(name, exp=now - 60)
    assert wrapped(ask, f"/keys/{name}//wrapkey", value) == (403, {"code": "KeyExpired"})
    azure_server.put_key(name, nbf=now + 60)
    assert wrapped(ask, f"/keys/{name}//wrapkey", value) == (403, {"code": "KeyNotYetValid"})
    azure_server.put_key(name, enabled=False)
    assert wrapped(ask, f"/keys/{name}//unwrapkey", box) == (403, {"code": "KeyDisabled"})
    assert value == wrapped(ask, f"/keys/{name}/{first.version}/unwrapkey", box)


def test_a_malformed_request_to_a_key_is_refused(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer
) -> None:
    azure_server.put_key("k")
    assert wrapped(ask, "/keys/k//wrapkey", "AAAA", alg="RSA1_5") == (400, None)
    assert wrapped(ask, "/keys/k//wrapkey", "=") == (400, None)
    assert wrapped(ask, "/keys/none//wrapkey", "AAAA") == (404, None)
    assert wrapped(ask, f"/keys/k/{'0' * 32}/wrapkey", "AAAA") == (404, None)
    assert wrapped(ask, "/keys/k//sign", "AAAA")[0] in {403, 405}
    azure_server.restrict("reader", "unwrapkey")
    bearer = azure_server.issue(client="reader")
    status, answer = ask(
        "POST", "/keys/k//wrapkey", body={"alg": "RSA-OAEP-256", "value": "AAAA"}, bearer=bearer
    )
    assert (status, answer["error"]["innererror"]) == (403, {"code": "ForbiddenByRbac"})
    assert ask("POST", "/keys/k//wrapkey", body={}, bearer="")[0] == 401


# -- faults --------------------------------------------------------------------------------------


def test_a_fault_of_the_vault_does_not_meet_the_login(
    client: SecretClient, azure_server: AzureServer, name: str
) -> None:
    client.get_secret(name)
    azure_server.forget()
    azure_server.faults.append(Fault(429, "Throttled", headers={"Retry-After": "1"}))
    with pytest.raises(HttpResponseError) as raised:
        client.get_secret(name)
    assert (raised.value.status_code, len(azure_server.requests)) == (429, 1)
    assert client.get_secret(name).value == "second"


def test_a_fault_of_the_login_does_not_meet_the_vault(
    ask: Callable[..., tuple[int, dict[str, Any]]], azure_server: AzureServer, name: str
) -> None:
    azure_server.login_faults.append(Fault(503))
    assert ask("GET", f"/secrets/{name}")[0] == 200
    assert ask("GET", f"/{azure_server.tenant}/v2.0/.well-known/openid-configuration")[0] == 503
    assert ask("GET", f"/{azure_server.tenant}/v2.0/.well-known/openid-configuration")[0] == 200
