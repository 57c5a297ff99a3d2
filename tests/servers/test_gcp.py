"""Google Secret Manager: the official client is served, and refused where the service refuses."""

from __future__ import annotations

import json
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import google_crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud.kms_v1 import KeyManagementServiceClient as KmsClient
from google.cloud.kms_v1.services.key_management_service.transports import (
    KeyManagementServiceGrpcTransport as KeysTransport,
)
from google.cloud.secretmanager_v1 import SecretManagerServiceClient as Client
from google.cloud.secretmanager_v1 import types as sm
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport as SecretsTransport,
)
from google.oauth2 import credentials as oauth2
from google.oauth2 import service_account

from tests.rows import each_row
from tests.servers import gcp_identity, web_tokens
from tests.servers.faults import FaultServer
from tests.servers.gcp import Code, Fault, GcpServer
from tests.servers.gcp_faults import RESET, Http2Server, headers, message, trailers
from tests.servers.gcp_identity import UnauthenticatedError
from tests.servers.jwks import rsa_key
from tests.timing import within

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

    from tests.servers.certificates import Certificates
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

# The SDK's classes are typed in part only.
Transport: Any = SecretsTransport
KmsTransport: Any = KeysTransport
Credentials: Any = oauth2.Credentials
AccountCredentials: Any = service_account.Credentials
ONCE: dict[str, Any] = {"retry": None, "timeout": 10}


@pytest.fixture
def connect(gcp_server: GcpServer, certificates: Certificates) -> Iterator[Callable[[Any], Any]]:
    """A client with these credentials; it trusts our authority without the process-wide variable."""
    clients: list[Any] = []

    def connect(credentials: Any) -> Any:
        tls = grpc.ssl_channel_credentials(certificates.ca_file.read_bytes())
        transport = Transport(host=gcp_server.endpoint, credentials=credentials, ssl_channel_credentials=tls)
        clients.append(Client(transport=transport))
        return clients[-1]

    yield connect
    for client in clients:
        client.transport.close()


@pytest.fixture
def client(gcp_server: GcpServer, connect: Callable[[Any], Any]) -> Any:
    return connect(Credentials(gcp_server.identities.issue()))


@pytest.fixture
def name(gcp_server: GcpServer) -> str:
    name = f"projects/p1/secrets/s-{uuid.uuid4().hex[:8]}"
    gcp_server.put(name, b"first")
    gcp_server.put(name, b"second")
    return name


def access(client: Any, name: str, version: str = "latest") -> Any:
    return client.access_secret_version(name=f"{name}/versions/{version}", **ONCE)


# -- reading and writing -------------------------------------------------------------------------


def test_the_latest_version_is_read_with_its_checksum(client: Any, name: str) -> None:
    payload = access(client, name).payload
    assert (payload.data, payload.data_crc32c) == (b"second", google_crc32c.value(b"second"))
    assert access(client, name, "1").payload.data == b"first"


def test_names_are_answered_with_the_projects_number(client: Any, name: str, gcp_server: GcpServer) -> None:
    number = gcp_server.project_number("p1")
    by_number = name.replace("p1", number)
    assert access(client, name).name == f"{by_number}/versions/2"
    assert access(client, by_number).payload.data == b"second"


def test_a_regional_secret_is_another_one(client: Any, gcp_server: GcpServer) -> None:
    name = f"projects/p1/locations/europe-west3/secrets/s-{uuid.uuid4().hex[:8]}"
    gcp_server.put(name, b"regional")
    assert access(client, name).payload.data == b"regional"
    with pytest.raises(exceptions.NotFound):
        access(client, name.replace("/locations/europe-west3", ""))


def test_a_version_is_added_and_described(client: Any, name: str) -> None:
    payload = {"data": b"third", "data_crc32c": google_crc32c.value(b"third")}
    added = client.add_secret_version(parent=name, payload=payload, **ONCE)
    assert added.name.endswith("/versions/3")
    described = client.get_secret_version(name=f"{name}/versions/3", **ONCE)
    assert (described.state.name, described.client_specified_payload_checksum) == ("ENABLED", True)
    pages = client.list_secret_versions(request={"parent": name, "page_size": 2}, **ONCE)
    assert [version.name.rpartition("/")[2] for version in pages] == ["3", "2", "1"]


def test_a_secret_is_created_once_and_deleted(client: Any) -> None:
    secret_id = f"s-{uuid.uuid4().hex[:8]}"
    secret: dict[str, Any] = {"replication": {"automatic": {}}}
    made = client.create_secret(parent="projects/p1", secret_id=secret_id, secret=secret, **ONCE)
    with pytest.raises(exceptions.AlreadyExists):
        client.create_secret(parent="projects/p1", secret_id=secret_id, secret=secret, **ONCE)
    with pytest.raises(exceptions.NotFound):
        access(client, made.name)
    client.delete_secret(name=made.name, **ONCE)
    with pytest.raises(exceptions.NotFound):
        client.get_secret(name=made.name, **ONCE)
    with pytest.raises(exceptions.InvalidArgument):
        client.create_secret(parent="projects/p1", secret_id=secret_id, secret={}, **ONCE)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [{"data": b"x", "data_crc32c": 5}, {"data": b""}, {"data": b"x" * 65537}])
def test_a_bad_payload_is_refused(client: Any, name: str, payload: dict[str, Any]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        client.add_secret_version(parent=name, payload=payload, **ONCE)
    assert access(client, name).payload.data == b"second"


def test_a_stale_etag_is_refused(client: Any, name: str) -> None:
    etag = client.get_secret(name=name, **ONCE).etag
    change = {"name": name, "etag": etag, "version_aliases": {"current": 1}}
    mask = {"paths": ["version_aliases"]}
    client.update_secret(secret=change, update_mask=mask, **ONCE)
    with pytest.raises(exceptions.FailedPrecondition):
        client.update_secret(secret=change, update_mask=mask, **ONCE)
    assert access(client, name, "current").payload.data == b"first"


def test_a_secret_whose_key_is_disabled_is_neither_read_nor_written(
    client: Any, name: str, gcp_server: GcpServer
) -> None:
    gcp_server.set_key_state(name, "DISABLED")
    with pytest.raises(exceptions.FailedPrecondition, match="not enabled"):
        access(client, name)
    with pytest.raises(exceptions.FailedPrecondition, match="not enabled"):
        client.add_secret_version(parent=name, payload={"data": b"x"}, **ONCE)
    assert client.get_secret(name=name, **ONCE).name.endswith(name.rpartition("/")[2])
    gcp_server.set_key_state(name, "ENABLED")
    assert access(client, name).payload.data == b"second"


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
def test_there_is_no_falling_back_from_the_latest_version(client: Any, name: str, state: str) -> None:
    change = client.disable_secret_version if state == "DISABLED" else client.destroy_secret_version
    assert change(name=f"{name}/versions/2", **ONCE).state.name == state
    with pytest.raises(exceptions.FailedPrecondition, match=state):
        access(client, name)
    assert access(client, name, "1").payload.data == b"first"


def test_a_disabled_version_comes_back_and_a_destroyed_one_does_not(client: Any, name: str) -> None:
    version = f"{name}/versions/2"
    client.disable_secret_version(name=version, **ONCE)
    client.enable_secret_version(name=version, **ONCE)
    assert access(client, name).payload.data == b"second"
    with pytest.raises(exceptions.FailedPrecondition, match="etag"):
        client.destroy_secret_version(request={"name": version, "etag": '"1"'}, **ONCE)
    client.destroy_secret_version(name=version, **ONCE)
    with pytest.raises(exceptions.FailedPrecondition):
        client.enable_secret_version(name=version, **ONCE)


@pytest.mark.parametrize("version", ["3", "0", "unknown"])
def test_a_version_that_is_not_there_is_not_found(client: Any, name: str, version: str) -> None:
    with pytest.raises(exceptions.NotFound):
        access(client, name, version)


@pytest.mark.parametrize("bad", ["projects/p1/secrets/a b", "projects/p1/secrets/../x", "secrets/x", "p1/x"])
def test_a_malformed_name_is_refused(client: Any, bad: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        access(client, bad)


def test_a_routing_header_for_another_resource_is_refused(client: Any, name: str) -> None:
    request = sm.AccessSecretVersionRequest(name=f"{name}/versions/1")
    for metadata in ([], [("x-goog-request-params", "name=projects/p1/secrets/other/versions/1")]):
        with pytest.raises(grpc.RpcError, match="routing") as raised:
            client.transport.access_secret_version(request, timeout=10, metadata=metadata)
        assert raised.value.code() == Code.INVALID_ARGUMENT


def test_a_permission_that_was_not_granted_is_denied(
    gcp_server: GcpServer, connect: Callable[[Any], Any], name: str
) -> None:
    gcp_server.restrict("reader@example.com", "versions.access")
    reader = connect(Credentials(gcp_server.identities.issue("reader@example.com")))
    assert access(reader, name).payload.data == b"second"
    with pytest.raises(exceptions.PermissionDenied):
        reader.add_secret_version(parent=name, payload={"data": b"x"}, **ONCE)


def test_a_secret_is_there_until_it_expires(client: Any, name: str, gcp_server: GcpServer) -> None:
    gcp_server.label(name, team="data")
    gcp_server.expire(name, datetime.now(UTC) + timedelta(minutes=1))
    found = client.get_secret(name=name, **ONCE)
    assert ({"team": "data"}, True) == (dict(found.labels), "expire_time" in found)
    gcp_server.expire(name, datetime.now(UTC))
    with pytest.raises(exceptions.NotFound):
        access(client, name)
    with pytest.raises(exceptions.NotFound):
        client.get_secret(name=name, **ONCE)


def test_somebody_else_comes_before_one_call(client: Any, name: str, gcp_server: GcpServer) -> None:
    gcp_server.before["AddSecretVersion"] = lambda: gcp_server.put(name, b"theirs")
    added = [client.add_secret_version(parent=name, payload={"data": b"ours"}, **ONCE) for _ in range(2)]
    assert ["4", "5"] == [version.name.rpartition("/")[2] for version in added]


# -- keys ----------------------------------------------------------------------------------------


@pytest.fixture
def key(gcp_server: GcpServer) -> str:
    return gcp_server.keys.create(f"projects/p1/locations/global/keyRings/r/cryptoKeys/k-{uuid.uuid4().hex}")


@pytest.fixture
def kms_client(gcp_server: GcpServer, certificates: Certificates) -> Iterator[Any]:
    tls = grpc.ssl_channel_credentials(certificates.ca_file.read_bytes())
    credentials = Credentials(gcp_server.identities.issue("tester@example.com"))
    transport = KmsTransport(host=gcp_server.endpoint, credentials=credentials, ssl_channel_credentials=tls)
    made: Any = KmsClient
    yield made(transport=transport)
    transport.close()


def sealed(kms_client: Any, key: str, aad: bytes = b"") -> bytes:
    request = {"name": key, "plaintext": b"text", "additional_authenticated_data": aad}
    ciphertext: bytes = kms_client.encrypt(request=request, **ONCE).ciphertext
    return ciphertext


def test_what_a_key_encrypts_it_decrypts_with_the_same_data_only(
    kms_client: Any, key: str, gcp_server: GcpServer
) -> None:
    ciphertext = sealed(kms_client, key, b"context")
    good = {"name": key, "ciphertext": ciphertext, "additional_authenticated_data": b"context"}
    assert kms_client.decrypt(request=good, **ONCE).plaintext == b"text"
    other = gcp_server.keys.create(f"{key}-2")
    for change in (
        {"additional_authenticated_data": b"other"},
        {"additional_authenticated_data": b""},
        {"ciphertext": ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])},
        {"ciphertext": ciphertext[1:]},
        {"name": other},
        {"name": "projects/p1/locations/global/keyRings/r"},
    ):
        with pytest.raises(exceptions.InvalidArgument):
            kms_client.decrypt(request={**good, **change}, **ONCE)
    with pytest.raises(exceptions.NotFound):
        kms_client.decrypt(request={**good, "name": f"{key}-3"}, **ONCE)


def test_a_key_says_which_checksums_it_verified(kms_client: Any, key: str) -> None:
    good = {"name": key, "plaintext": b"text", "plaintext_crc32c": google_crc32c.value(b"text")}
    answer = kms_client.encrypt(request=good, **ONCE)
    assert (True, False) == (
        answer.verified_plaintext_crc32c,
        answer.verified_additional_authenticated_data_crc32c,
    )
    assert google_crc32c.value(answer.ciphertext) == answer.ciphertext_crc32c
    for name in ("plaintext_crc32c", "additional_authenticated_data_crc32c"):
        with pytest.raises(exceptions.InvalidArgument, match=name):
            kms_client.encrypt(request={**good, name: 5}, **ONCE)


@pytest.mark.parametrize("state", ["DISABLED", "DESTROY_SCHEDULED", "DESTROYED"])
def test_a_version_out_of_use_neither_encrypts_nor_decrypts(
    kms_client: Any, key: str, gcp_server: GcpServer, state: str
) -> None:
    old = sealed(kms_client, key)
    gcp_server.keys.rotate(key)
    gcp_server.keys.set_state(key, 1, state)
    assert kms_client.decrypt(name=key, ciphertext=sealed(kms_client, key), **ONCE).plaintext == b"text"
    with pytest.raises(exceptions.FailedPrecondition, match=state):
        kms_client.decrypt(name=key, ciphertext=old, **ONCE)
    gcp_server.keys.set_state(key, 2, state)
    with pytest.raises(exceptions.FailedPrecondition, match=state):
        sealed(kms_client, key)


def test_a_permission_on_keys_is_one_of_its_own(kms_client: Any, key: str, gcp_server: GcpServer) -> None:
    gcp_server.restrict("tester@example.com", "cloudkms.cryptoKeyVersions.useToEncrypt")
    ciphertext = sealed(kms_client, key)
    with pytest.raises(exceptions.PermissionDenied):
        kms_client.decrypt(name=key, ciphertext=ciphertext, **ONCE)


# -- who is served -------------------------------------------------------------------------------


def test_no_bearer_an_unknown_and_an_expired_one_are_refused(
    gcp_server: GcpServer, connect: Callable[[Any], Any], name: str
) -> None:
    for token in ("unknown", gcp_server.identities.issue(lifetime=0)):
        with pytest.raises(exceptions.Unauthenticated, match="invalid"):
            access(connect(Credentials(token)), name)
    with pytest.raises(UnauthenticatedError, match="missing"):
        gcp_server.identities.principal("")


def test_a_server_that_is_not_trusted_is_not_told_the_bearer(gcp_server: GcpServer, name: str) -> None:
    gcp_server.forget()
    credentials = Credentials(gcp_server.identities.issue())
    client: Any = Client(
        transport=Transport(
            host=gcp_server.endpoint,
            credentials=credentials,
            ssl_channel_credentials=grpc.ssl_channel_credentials(),
        )
    )
    with pytest.raises(exceptions.ServiceUnavailable):
        access(client, name)
    client.transport.close()
    assert gcp_server.seen == []


@pytest.mark.parametrize("scopes", [None, [gcp_identity.SCOPE]])
def test_a_service_accounts_key_is_enough(
    gcp_server: GcpServer,
    connect: Callable[[Any], Any],
    name: str,
    tmp_path: Path,
    scopes: list[str] | None,
) -> None:
    file = gcp_server.identities.service_account().write(tmp_path / "key.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    credentials = AccountCredentials.from_service_account_file(str(file), scopes=scopes)
    # What the client itself asks for where it makes the transport.
    credentials = credentials.with_always_use_jwt_access(True)
    assert access(connect(credentials), name).payload.data == b"second"
    bearer = gcp_server.seen[-1].metadata["authorization"].removeprefix("Bearer ")
    assert web_tokens.claims(bearer).get("aud") == (None if scopes else gcp_identity.AUDIENCE)
    assert "eyJhbGciOi" not in repr(gcp_server.seen)


def test_a_key_of_another_with_the_same_name_is_refused(
    gcp_server: GcpServer, connect: Callable[[Any], Any], name: str, tmp_path: Path
) -> None:
    file = gcp_server.identities.service_account().write(tmp_path / "key.json")
    other = gcp_identity.Identities().service_account()
    content = json.loads(file.read_text())
    forged = json.loads(other.write(tmp_path / "other.json").read_text())
    forged["private_key_id"] = content["private_key_id"]
    credentials = AccountCredentials.from_service_account_info(forged)
    with pytest.raises(exceptions.Unauthenticated):
        access(connect(credentials), name)


@each_row(
    "claims",
    [
        {"aud": "https://pubsub.googleapis.com/"},
        {"aud": None},
        {"aud": None, "scope": "https://www.googleapis.com/auth/devstorage.read_only"},
        {"exp": int(time.time()) - 1},
        {"exp": int(time.time()) + 86400},
        {"iat": None},
        {"iss": "other@p1.iam.gserviceaccount.com"},
        {"sub": "other@p1.iam.gserviceaccount.com"},
    ],
)
def test_what_a_service_account_signs_has_to_fit(claims: dict[str, object]) -> None:
    identities = gcp_identity.Identities()
    account = identities.service_account()
    now = int(time.time())
    good = {
        "iss": account.email,
        "sub": account.email,
        "aud": gcp_identity.AUDIENCE,
        "iat": now,
        "exp": now + 3600,
    }

    def sign(content: dict[str, object], key: rsa.RSAPrivateKey = account.key) -> str:
        content = {name: value for name, value in content.items() if value is not None}
        return web_tokens.sign(content, key, kid=account.key_id)

    assert identities.principal(sign({**good})) == account.email
    with pytest.raises(UnauthenticatedError):
        identities.principal(sign({**good, **claims}))
    with pytest.raises(UnauthenticatedError):
        identities.principal(sign({**good}, rsa_key()))


# -- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.UNAVAILABLE, exceptions.ServiceUnavailable),
        (Code.RESOURCE_EXHAUSTED, exceptions.ResourceExhausted),
        (Code.INTERNAL, exceptions.InternalServerError),
        (Code.ABORTED, exceptions.Aborted),
        (Code.PERMISSION_DENIED, exceptions.PermissionDenied),
    ],
)
def test_a_fault_meets_one_call(
    gcp_server: GcpServer, client: Any, name: str, code: grpc.StatusCode, error: type[Exception]
) -> None:
    gcp_server.faults.append(Fault(code, retry_after=7))
    with pytest.raises(error) as raised:
        access(client, name)
    assert raised.value.details[0].retry_delay.seconds == 7  # type: ignore[attr-defined]
    assert access(client, name).payload.data == b"second"
    assert len(gcp_server.seen) == 2


def test_a_slow_answer_ends_with_the_clients_patience(gcp_server: GcpServer, client: Any, name: str) -> None:
    access(client, name)
    gcp_server.faults.append(Fault(None, delay=30))
    with within(0.3), pytest.raises(exceptions.DeadlineExceeded):
        client.access_secret_version(name=f"{name}/versions/1", retry=None, timeout=0.3)


def test_damage_is_done_to_one_answer(gcp_server: GcpServer, client: Any, name: str) -> None:
    gcp_server.damage += ["checksum", "data", "no-checksum", "no-payload"]
    answers = [access(client, name) for _ in range(5)]
    fits = [google_crc32c.value(answer.payload.data) == answer.payload.data_crc32c for answer in answers]
    assert fits == [False, False, False, True, True]
    assert ["data_crc32c" in answer.payload for answer in answers] == [True, True, False, False, True]
    assert [bool(answer.payload.data) for answer in answers] == [True, True, True, False, True]


@pytest.mark.parametrize("mode", ["close", "reset", "html", "handshake-eof"])
def test_a_server_that_speaks_no_grpc_is_unavailable(
    certificates: Certificates, gcp_server: GcpServer, name: str, mode: str
) -> None:
    with FaultServer(mode, tls=certificates.server.context()) as server:
        tls = grpc.ssl_channel_credentials(certificates.ca_file.read_bytes())
        credentials = Credentials(gcp_server.identities.issue())
        place = f"127.0.0.1:{server.port}"
        client: Any = Client(
            transport=Transport(host=place, credentials=credentials, ssl_channel_credentials=tls)
        )
        with pytest.raises(exceptions.ServiceUnavailable):
            access(client, name)
        client.transport.close()
        assert server.connections >= 1


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (404, exceptions.MethodNotImplemented, "status: 404"),
        (302, exceptions.Unknown, "status: 302"),
        (503, exceptions.ServiceUnavailable, "status: 503"),
        ([headers(), message(b"\xff"), trailers(0)], exceptions.InternalServerError, "deserializing"),
        ([headers(), trailers(5)], exceptions.NotFound, None),
        ([headers(), RESET], exceptions.ServiceUnavailable, None),
    ],
)
def test_http_2_can_be_made_to_misbehave(
    certificates: Certificates, answer: Any, error: type[Exception], text: str | None
) -> None:
    tls = grpc.ssl_channel_credentials(certificates.ca_file.read_bytes())
    with Http2Server(answer, certificates.server.context()) as server:
        transport = Transport(host=server.endpoint, credentials=Credentials("x"), ssl_channel_credentials=tls)
        with pytest.raises(error, match=text):
            access(Client(transport=transport), "projects/p1/secrets/s")
        transport.close()
        assert server.calls == 1


def test_http_2_can_behave(certificates: Certificates) -> None:
    tls = grpc.ssl_channel_credentials(certificates.ca_file.read_bytes())
    good: bytes = sm.AccessSecretVersionResponse.serialize(
        sm.AccessSecretVersionResponse(name="x", payload={"data": b"value"})
    )
    with Http2Server([headers(), message(good), trailers(0)], certificates.server.context()) as server:
        transport = Transport(host=server.endpoint, credentials=Credentials("x"), ssl_channel_credentials=tls)
        assert access(Client(transport=transport), "projects/p1/secrets/s").payload.data == b"value"
        transport.close()


# -- logging in ----------------------------------------------------------------------------------


@pytest.fixture
def trusting(certificates: Certificates) -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context(cafile=certificates.ca_file)


def post(
    url: str, tls: ssl.SSLContext, form: dict[str, str] | bytes, bearer: str = ""
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    body = form if isinstance(form, bytes) else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30, context=tls) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_ci_systems_token_is_exchanged_and_may_act_for_an_account(
    gcp_server: GcpServer, gcp_login: GcpLogin, issuer: Issuer, trusting: ssl.SSLContext
) -> None:
    account = "deployer@p1.iam.gserviceaccount.com"
    provider = gcp_login.trust(issuer, subject="repo:acme/dags", accounts=(account,))
    good: dict[str, object] = {"sub": "repo:acme/dags", "aud": f"https:{provider}"}

    def exchange(token: str, **changes: str) -> tuple[int, dict[str, Any]]:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "audience": provider,
            "scope": gcp_identity.SCOPE,
            "subject_token": token,
            **changes,
        }
        return post(f"{gcp_login.url}/v1/token", trusting, form)

    status, answer = exchange(issuer.mint(good))
    assert (status, answer["token_type"]) == (200, "Bearer")
    assert gcp_server.identities.principal(answer["access_token"]).endswith("/subject/repo:acme/dags")

    forged = issuer.mint(good, key=rsa_key())
    others = [{**good, "aud": "other"}, {**good, "sub": "repo:evil/dags"}, {**good, "exp": 1}]
    assert [exchange(token)[0] for token in [forged, *map(issuer.mint, others)]] == [400] * 4
    assert exchange(issuer.mint(good), audience="//iam.googleapis.com/other")[0] == 400

    def act_for(who: str, bearer: str) -> tuple[int, dict[str, Any]]:
        path = f"/v1/projects/-/serviceAccounts/{who}:generateAccessToken"
        body = json.dumps({"scope": [gcp_identity.SCOPE], "lifetime": "3600s"}).encode()
        return post(f"{gcp_login.url}{path}", trusting, body, bearer)

    status, acting = act_for(account, answer["access_token"])
    assert (status, gcp_server.identities.principal(acting["accessToken"])) == (200, account)
    assert act_for("other@p1.iam.gserviceaccount.com", answer["access_token"])[0] == 403
    assert act_for(account, "unknown")[0] == 401


def test_a_developers_login_is_renewed_until_it_is_revoked(
    gcp_server: GcpServer, gcp_login: GcpLogin, trusting: ssl.SSLContext
) -> None:
    user = gcp_login.user("developer@example.com")
    form = {"grant_type": "refresh_token", "refresh_token": user["refresh_token"]}
    status, answer = post(f"{gcp_login.url}/token", trusting, form)
    token = answer["access_token"]
    assert (200, "developer@example.com") == (status, gcp_server.identities.principal(token))
    assert post(f"{gcp_login.url}/token", trusting, {**form, "refresh_token": "1//other"})[0] == 400
    gcp_server.identities.revoke(token)
    with pytest.raises(UnauthenticatedError):
        gcp_server.identities.principal(token)


def test_a_token_for_iam_opens_nothing_else(gcp_server: GcpServer) -> None:
    token = gcp_server.identities.issue(scope=gcp_identity.IAM_SCOPE)
    assert gcp_server.identities.principal(token, scope=gcp_identity.IAM_SCOPE) == "tester@example.com"
    with pytest.raises(UnauthenticatedError):
        gcp_server.identities.principal(token)


def test_only_the_aws_key_that_is_trusted_is_exchanged(gcp_login: GcpLogin, trusting: ssl.SSLContext) -> None:
    provider = gcp_login.trust_aws("AKIAGOOD")

    def exchange(key: str, target: str, url: str) -> int:
        signed = [
            {"key": "Authorization", "value": f"AWS4-HMAC-SHA256 Credential={key}/20260101"},
            {"key": "x-goog-cloud-target-resource", "value": target},
        ]
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
            "audience": provider,
            "scope": gcp_identity.SCOPE,
            "subject_token": json.dumps({"url": url, "method": "POST", "headers": signed}),
        }
        return post(f"{gcp_login.url}/v1/token", trusting, form)[0]

    url = "https://sts.eu-west-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    assert exchange("AKIAGOOD", provider, url) == 200
    assert exchange("AKIAEVIL", provider, url) == 400
    assert exchange("AKIAGOOD", "//iam.googleapis.com/other", url) == 400
    assert exchange("AKIAGOOD", provider, "https://evil.example?Action=GetCallerIdentity&x") == 400


def test_a_service_accounts_assertion_is_exchanged(
    gcp_server: GcpServer, gcp_login: GcpLogin, trusting: ssl.SSLContext
) -> None:
    account = gcp_server.identities.service_account("asserting")
    now = int(time.time())
    good = {"iss": account.email, "iat": now, "exp": now + 3600, "scope": gcp_identity.SCOPE}

    def ask(claims: dict[str, object]) -> tuple[int, dict[str, Any]]:
        assertion = web_tokens.sign(claims, account.key, kid=account.key_id)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return post(f"{gcp_login.url}/token", trusting, form)

    status, answer = ask({**good, "aud": f"{gcp_login.url}/token"})
    assert (status, gcp_server.identities.principal(answer["access_token"])) == (200, account.email)
    assert ask({**good, "aud": "https://elsewhere.example/token"})[0] == 400
    assert ask({**good, "aud": f"{gcp_login.url}/token", "scope": "other"})[0] == 400


def test_the_metadata_server_wants_its_header(gcp_server: GcpServer, gcp_login: GcpLogin) -> None:
    def get(path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(f"http://{gcp_login.metadata_host}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, b""

    token = "/computeMetadata/v1/instance/service-accounts/default/token"
    flavor = {"Metadata-Flavor": "Google"}
    status, body = get(token, **flavor)
    principal = gcp_server.identities.principal(json.loads(body)["access_token"])
    assert (status, principal) == (200, gcp_login.machine_account)
    assert get("/computeMetadata/v1/project/project-id", **flavor) == (200, b"p1")
    assert get(token)[0] == 403
    assert get(token, **flavor, **{"X-Forwarded-For": "10.0.0.1"})[0] == 403
    assert get(token.replace("default", "other"), **flavor)[0] == 404
