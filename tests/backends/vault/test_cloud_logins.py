"""The logins that OpenBao's build lacks (ldap, aws, gcp, azure), against a strict server of our own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AccessDeniedError, AstroTokenError, ConfigError, NoCredentialError
from astro_token.testing import appearances, reachable_text
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from tests.backends.vault import service
from tests.backends.vault.service import SECONDS, failure, fields, ref, unique
from tests.backends.vault.test_faults import unresolved
from tests.installed import extra_hint
from tests.servers.azure_machine import AzureMachine
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import FaultServer, refused_port
from tests.servers.gcp_identity import Identities, ServiceAccount
from tests.servers.http1 import Answer, HttpServer
from tests.servers.jwks import Issuer, rsa_key
from tests.servers.vault_logins import Role, VaultLogins
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from tests.servers.faults import Mode
    from tests.servers.openbao import OpenBao

SECRET = "vault:secret/cloud-login"
ARN = "arn:aws:iam::111122223333:role/ci"
ROLE = {"ASTRO_TOKEN_VAULT_ROLE": "ci"}


@pytest.fixture(scope="module")
def entra() -> Iterator[Issuer]:
    with Issuer() as entra:
        yield entra


@pytest.fixture
def logins(bao: OpenBao, issuer: Issuer, entra: Issuer) -> Iterator[VaultLogins]:
    service.store(bao, "cloud-login", token="x")
    with VaultLogins(bao, issuer, entra) as logins:
        yield logins


@pytest.fixture
def reading(bao: OpenBao) -> list[str]:
    return [service.policy(bao, 'path "secret/*" { capabilities = ["read"] }'), "default"]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What any logger says at any level."""
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


def vault(logins: VaultLogins, method: str, **environ: str) -> KeyValue:
    return KeyValue(
        VaultClient({"VAULT_ADDR": logins.url, "ASTRO_TOKEN_VAULT_AUTH": method, **ROLE, **environ})
    )


def reads(backend: KeyValue) -> bool:
    try:
        return fields(backend.read(ref(SECRET), timeout=SECONDS)) == {"token": "x"}
    finally:
        backend.close()


def refusal(backend: KeyValue) -> AstroTokenError:
    return failure(lambda: backend.read(ref(SECRET), timeout=SECONDS))


def refused_by_vault(backend: KeyValue, method: str) -> bool:
    error = refusal(backend)
    assert type(error) is AccessDeniedError
    assert f"auth/{method}" in (error.hint or "")
    return error.message == f"Vault refuses the login by {method}"


def without_secrets(secrets: list[str], error: AstroTokenError | None, logged: list[str]) -> bool:
    text = "\n".join(logged) + (reachable_text(error) if error else "")
    return not any(appearances(secret, text) for secret in secrets)


# -- ldap ---------------------------------------------------------------------------------------------


@pytest.fixture
def jo(logins: VaultLogins, reading: list[str], canary: str) -> dict[str, str]:
    logins.passwords["jo"] = canary
    logins.roles["ldap", "jo"] = Role(reading, {"jo"})
    return {"VAULT_USERNAME": "jo", "VAULT_PASSWORD": canary}


def test_ldap_logs_in_reads_and_gives_its_token_back(logins: VaultLogins, jo: dict[str, str]) -> None:
    assert reads(vault(logins, "ldap", **jo))
    expected = [
        "POST /v1/auth/ldap/login/jo",
        "GET /v1/sys/internal/ui/mounts/secret/cloud-login",
        "GET /v1/secret/data/cloud-login",
        "PUT /v1/auth/token/revoke-self",
    ]
    assert expected == [line.replace("POST /v1/auth/token", "PUT /v1/auth/token") for line in logins.lines()]


def test_a_wrong_ldap_user_or_password_is_refused(
    logins: VaultLogins, jo: dict[str, str], canary: str, logged: list[str]
) -> None:
    for wrong in ({"VAULT_USERNAME": "eve"}, {"VAULT_PASSWORD": f"{canary}x"}):
        assert refused_by_vault(vault(logins, "ldap", **{**jo, **wrong}), "ldap")
    error = refusal(vault(logins, "ldap", **{**jo, "VAULT_PASSWORD": f"{canary}x"}))
    assert without_secrets([canary], error, logged)


@pytest.mark.parametrize("name", ["VAULT_USERNAME", "VAULT_PASSWORD"])
def test_a_missing_ldap_variable_is_named(logins: VaultLogins, jo: dict[str, str], name: str) -> None:
    error = refusal(vault(logins, "ldap", **{**jo, name: ""}))
    # The environment selects the login: a mistake, at which a chain stops.
    assert (AccessDeniedError, f"set {name}") == (type(error), error.hint)
    assert logins.requests == []


def test_an_ldap_name_that_would_be_another_path_is_refused(logins: VaultLogins, jo: dict[str, str]) -> None:
    error = refusal(vault(logins, "ldap", **{**jo, "VAULT_USERNAME": "../token/create"}))
    assert type(error) is ConfigError
    assert logins.requests == []


# -- aws ----------------------------------------------------------------------------------------------


@pytest.fixture
def amazon(logins: VaultLogins, reading: list[str], monkeypatch: pytest.MonkeyPatch) -> VaultLogins:
    """With a role for our principal, and its key in the environment, where the SDK looks."""
    logins.roles["aws", "ci"] = Role(reading, {ARN})
    for name, value in logins.aws_key(ARN).environment.items():
        monkeypatch.setenv(name, value)
    return logins


def test_aws_logs_in_with_a_signed_request_that_is_sent_to_vault_only(amazon: VaultLogins) -> None:
    assert reads(vault(amazon, "aws"))
    assert len(amazon.requests) == 4
    assert amazon.lines()[0] == "POST /v1/auth/aws/login"


def test_aws_logs_in_with_the_key_of_a_session(amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in amazon.aws_key(ARN, session=True).environment.items():
        monkeypatch.setenv(name, value)
    assert reads(vault(amazon, "aws"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    assert refused_by_vault(vault(amazon, "aws"), "aws")


def test_aws_logs_in_with_a_profile(
    amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = amazon.aws_key(ARN)
    file = tmp_path / "credentials"
    file.write_text(f"[ci]\naws_access_key_id={key.id}\naws_secret_access_key={key.secret}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "ci")
    assert reads(vault(amazon, "aws"))
    monkeypatch.setenv("AWS_PROFILE", "none")
    assert type(refusal(vault(amazon, "aws"))) is ConfigError


def test_aws_logs_in_with_the_role_of_a_container(
    amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = amazon.aws_key(ARN, session=True)
    content = {
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret,
        "Token": key.session,
        "Expiration": "2099-01-01T00:00:00Z",
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with HttpServer(lambda _: Answer.json(content)) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/role")
        assert reads(vault(amazon, "aws"))
        assert len(server.requests) == 1


def test_the_server_id_of_vault_is_signed(amazon: VaultLogins) -> None:
    amazon.server_id = "vault.example.com"
    assert reads(vault(amazon, "aws", ASTRO_TOKEN_VAULT_AUDIENCE="vault.example.com"))
    assert refused_by_vault(vault(amazon, "aws"), "aws")
    assert refused_by_vault(vault(amazon, "aws", ASTRO_TOKEN_VAULT_AUDIENCE="other.example"), "aws")


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"AWS_REGION": "eu-west-1"}, ("us-east-1", "sts.amazonaws.com")),
        (
            {"AWS_REGION": "eu-west-1", "AWS_STS_REGIONAL_ENDPOINTS": "regional"},
            ("eu-west-1", "sts.eu-west-1.amazonaws.com"),
        ),
        (
            {"AWS_DEFAULT_REGION": "us-gov-west-1"},
            ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
        ),
        ({"AWS_REGION": "cn-north-1"}, ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn")),
    ],
)
def test_the_request_is_signed_for_where_vault_sends_it(
    amazon: VaultLogins, environ: dict[str, str], place: tuple[str, str]
) -> None:
    amazon.token_service = place
    assert reads(vault(amazon, "aws", **environ))
    amazon.token_service = ("ap-south-1", "sts.ap-south-1.amazonaws.com")
    assert refused_by_vault(vault(amazon, "aws", **environ), "aws")


def test_a_wrong_aws_key_or_role_is_refused_and_nothing_leaks(
    amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch, canary: str, logged: list[str]
) -> None:
    amazon.roles["aws", "other"] = Role([], {"arn:aws:iam::111122223333:role/other"})
    for role in ("none", "other"):
        assert refused_by_vault(vault(amazon, "aws", ASTRO_TOKEN_VAULT_ROLE=role), "aws")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary)
    error = refusal(vault(amazon, "aws"))
    assert error.exit_code == 77
    sent = json.loads(amazon.requests[-1].body)
    assert without_secrets([canary, sent["iam_request_headers"]], error, logged)


def test_without_an_aws_credential_it_lists_what_was_looked_for(
    amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with within(0):
        error = refusal(vault(amazon, "aws"))
    assert type(error) is NoCredentialError
    assert "AWS_PROFILE" in (error.hint or "")
    assert amazon.requests == []


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"ASTRO_TOKEN_VAULT_ROLE": ""}, 77),
        ({"ASTRO_TOKEN_VAULT_AUDIENCE": "a b"}, 78),
        ({"AWS_REGION": "eu-west-1.evil.example/"}, 78),
    ],
)
def test_what_is_missing_or_malformed_for_aws_is_said_before_anything_is_sent(
    amazon: VaultLogins, environ: dict[str, str], code: int
) -> None:
    assert code == refusal(vault(amazon, "aws", **environ)).exit_code
    assert amazon.requests == []


@pytest.mark.parametrize("mode", ["hang", "drip-body"])
def test_a_container_that_gives_no_aws_credential_in_time_is_not_waited_for(
    amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with FaultServer(mode, b'{"AccessKeyId": "a"}' * 99) as server, within(0.8):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/role")
        error = failure(lambda: vault(amazon, "aws").read(ref(SECRET), timeout=0.8))
    assert error.exit_code == 75
    assert amazon.requests == []


@pytest.fixture
def profile(amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of a profile in place of the key in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "ci")
    return tmp_path / "config"


def test_an_instances_role_logs_in(amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch) -> None:
    key = amazon.aws_key(ARN)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    given = {
        "Code": "Success",
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret,
        "Token": "",
        "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    answers = [Answer(200, b"ticket"), Answer(200, b"deploy"), Answer.json(given)]
    with FaultServer(lambda number: answers[number - 1]) as metadata, FaultServer(200) as proxy:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.url}/")
        monkeypatch.setenv("http_proxy", proxy.url)
        assert reads(vault(amazon, "aws"))
        assert (metadata.count, proxy.count) == (3, 0)


def test_a_program_that_gives_no_aws_credential_is_a_denial(amazon: VaultLogins, profile: Path) -> None:
    profile.write_text("[profile ci]\ncredential_process = /bin/false\n")
    error = refusal(vault(amazon, "aws"))
    assert type(error) is AccessDeniedError
    assert error.message.endswith(
        f"credential_process of the profile ci in {profile}: it provides no credential"
    )


DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>CANARY</Message></Error></ErrorResponse>"


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        (Answer(403, DENIED, {}, "text/xml"), 77),
        (Answer(429, b"CANARY", {}, "text/plain"), 75),
        (Answer(500, b"CANARY", {}, "text/plain"), 75),
        ("cut-json", 76),
        ("reset", 75),
        ("close", 75),
        ("hang", 75),
    ],
)
def test_a_role_that_aws_does_not_give_has_its_status_and_is_asked_for_once(
    amazon: VaultLogins, profile: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, code: int
) -> None:
    key = amazon.aws_key(ARN)
    profile.write_text(
        f"[profile ci]\nrole_arn = {ARN}\nsource_profile = base\nregion = eu-west-1\n"
        f"[profile base]\naws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}\n"
    )
    with FaultServer((lambda _: mode) if isinstance(mode, Answer) else mode) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        patience = 3.0 if mode == "hang" else 10.0
        error = failure(lambda: vault(amazon, "aws").read(ref(SECRET), timeout=patience))
        assert (code, 1) == (error.exit_code, server.count)
    assert without_secrets([key.secret, "CANARY"], error, [])
    assert amazon.requests == []


def test_a_company_authority_is_trusted_besides_the_sdks_own(
    amazon: VaultLogins, monkeypatch: pytest.MonkeyPatch, certificates: Any
) -> None:
    monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
    assert reads(vault(amazon, "aws"))


# -- gcp ----------------------------------------------------------------------------------------------

INSTANCE = {"google": {"compute_engine": {"instance_id": "1", "project_id": "p1", "zone": "z"}}}


@pytest.fixture
def account(logins: VaultLogins, reading: list[str]) -> ServiceAccount:
    account = Identities().service_account()
    logins.accounts[account.key_id] = account
    logins.roles["gcp", "ci"] = Role(reading, {account.email})
    return account


def key_file(account: ServiceAccount, folder: Path) -> dict[str, str]:
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(account.write(folder / f"{unique()}.json"))}


def test_gcp_logs_in_with_what_the_key_of_a_service_account_signs(
    logins: VaultLogins, account: ServiceAccount, tmp_path: Path
) -> None:
    assert reads(vault(logins, "gcp", **key_file(account, tmp_path)))
    assert len(logins.requests) == 4


def test_gcp_logs_in_with_the_identity_of_the_machine(
    logins: VaultLogins, issuer: Issuer, reading: list[str]
) -> None:
    logins.roles["gcp", "ci"] = Role(reading, {"10769150350006150715113082367"}, instances={"p1"})
    with CiIdentity(issuer) as metadata:
        metadata.claims = dict(INSTANCE)
        machine = {"GCE_METADATA_HOST": f"127.0.0.1:{metadata.port}"}
        assert reads(vault(logins, "gcp", **machine))
        assert len(metadata.requests) == 1
        metadata.claims = {"google": {"compute_engine": {"instance_id": "1", "project_id": "p2"}}}
        assert refused_by_vault(vault(logins, "gcp", **machine), "gcp")
        metadata.claims = {}
        assert refused_by_vault(vault(logins, "gcp", **machine), "gcp")


def test_a_wrong_gcp_key_account_or_role_is_refused_and_nothing_leaks(
    logins: VaultLogins, account: ServiceAccount, tmp_path: Path, logged: list[str]
) -> None:
    good = key_file(account, tmp_path)
    logins.roles["gcp", "other"] = Role([], {"else@p1.iam.gserviceaccount.com"})
    logins.roles["gcp", "machines"] = Role([], {account.email}, instances={"p1"})
    for role in ("none", "other", "machines"):
        assert refused_by_vault(vault(logins, "gcp", **{**good, "ASTRO_TOKEN_VAULT_ROLE": role}), "gcp")
    forged = ServiceAccount(account.email, account.key_id, rsa_key())
    error = refusal(vault(logins, "gcp", **key_file(forged, tmp_path)))
    assert error.message == "Vault refuses the login by gcp"
    sent = [json.loads(request.body)["jwt"] for request in logins.requests]
    assert without_secrets(sent, error, logged)


def test_an_audience_of_another_role_does_not_serve(
    logins: VaultLogins, issuer: Issuer, reading: list[str]
) -> None:
    with CiIdentity(issuer) as metadata:
        metadata.claims = {**INSTANCE, "aud": "vault/other"}
        error = refusal(vault(logins, "gcp", GCE_METADATA_HOST=f"127.0.0.1:{metadata.port}"))
        assert "another audience" in error.message
        assert without_secrets(metadata.issued, error, [])
    assert logins.requests == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        '{"type": "service_account"}',
        '{"type": "authorized_user", "refresh_token": "CANARY"}',
        '{"type": "service_account", "client_email": "a", "private_key": "CANARY"}',
    ],
)
def test_a_gcp_file_that_is_no_service_accounts_key_is_said(
    logins: VaultLogins, tmp_path: Path, content: str | None, canary: str
) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content.replace("CANARY", canary))
    error = refusal(vault(logins, "gcp", GOOGLE_APPLICATION_CREDENTIALS=str(file)))
    assert type(error) is ConfigError
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error.message
    assert without_secrets([canary], error, [])
    assert logins.requests == []


def test_outside_of_google_it_lists_what_was_looked_for(
    logins: VaultLogins, stack: ExitStack, certificates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    backend = vault(logins, "gcp")
    unresolved(socket.EAI_NONAME)(stack, certificates, monkeypatch)
    error = refusal(backend)
    assert type(error) is NoCredentialError
    assert "GOOGLE_APPLICATION_CREDENTIALS" in (error.hint or "")
    assert refusal(vault(logins, "gcp", ASTRO_TOKEN_VAULT_ROLE="")).hint == "set ASTRO_TOKEN_VAULT_ROLE"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield stack


def test_googles_metadata_is_asked_in_clear_only_where_it_is_near(logins: VaultLogins) -> None:
    error = refusal(vault(logins, "gcp", GCE_METADATA_HOST="metadata.example"))
    assert type(error) is ConfigError
    down = refusal(vault(logins, "gcp", GCE_METADATA_HOST=f"127.0.0.1:{refused_port()}"))
    assert down.exit_code == 75


# -- azure --------------------------------------------------------------------------------------------


@pytest.fixture
def machine(logins: VaultLogins, entra: Issuer, reading: list[str]) -> Iterator[AzureMachine]:
    with AzureMachine(entra, resources=("https://vault.example.com",)) as machine:
        place = f"{machine.subscription}/{machine.group}/{machine.name}"
        logins.roles["azure", "ci"] = Role(reading, {machine.principal}, places={place})
        yield machine


def test_azure_logs_in_with_the_identity_and_the_place_of_a_machine(
    logins: VaultLogins, machine: AzureMachine
) -> None:
    assert reads(vault(logins, "azure", **machine.machine_environment))
    assert len(machine.requests) == 2
    assert len(logins.requests) == 4


def test_azure_logs_in_from_a_scale_set(logins: VaultLogins, entra: Issuer, reading: list[str]) -> None:
    with AzureMachine(entra, scale_set="fleet") as machine:
        place = f"{machine.subscription}/{machine.group}/fleet"
        logins.roles["azure", "ci"] = Role(reading, {machine.principal}, places={place})
        assert reads(vault(logins, "azure", **machine.machine_environment))
        assert "vm_name" not in json.loads(logins.requests[0].body)


def test_azure_logs_in_with_the_identity_of_an_app_where_the_role_asks_for_no_place(
    logins: VaultLogins, machine: AzureMachine, reading: list[str]
) -> None:
    assert refused_by_vault(vault(logins, "azure", **machine.app_environment), "azure")
    logins.roles["azure", "ci"] = Role(reading, {machine.principal})
    assert reads(vault(logins, "azure", **machine.app_environment, AZURE_CLIENT_ID=machine.client_id))
    assert len(machine.requests) == 2


def test_the_audience_is_the_resource_of_the_token(logins: VaultLogins, machine: AzureMachine) -> None:
    logins.resource = "https://vault.example.com"
    environ = machine.machine_environment
    assert reads(vault(logins, "azure", **environ, ASTRO_TOKEN_VAULT_AUDIENCE=logins.resource))
    assert refused_by_vault(vault(logins, "azure", **environ), "azure")
    error = refusal(vault(logins, "azure", **environ, ASTRO_TOKEN_VAULT_AUDIENCE="https://unknown.example"))
    assert error.exit_code == 77
    assert "ASTRO_TOKEN_VAULT_AUDIENCE" in (error.hint or "")


def test_a_wrong_azure_token_or_role_is_refused_and_nothing_leaks(
    logins: VaultLogins, machine: AzureMachine, issuer: Issuer, logged: list[str]
) -> None:
    environ = machine.machine_environment
    logins.roles["azure", "other"] = Role([], {"somebody-else"})
    for role in ("none", "other"):
        assert refused_by_vault(
            vault(logins, "azure", **{**environ, "ASTRO_TOKEN_VAULT_ROLE": role}), "azure"
        )
    for claims in ({"exp": 1}, {"oid": "else"}, {"xms_mirid": "/subscriptions/x"}, {"iss": issuer.name}):
        machine.claims = dict(claims)
        assert refused_by_vault(vault(logins, "azure", **environ), "azure")
    with AzureMachine(issuer) as stranger:
        stranger.principal = machine.principal
        error = refusal(vault(logins, "azure", **stranger.machine_environment))
        assert error.message == "Vault refuses the login by azure"
        assert without_secrets([*machine.issued, *stranger.issued], error, logged)


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"ASTRO_TOKEN_VAULT_ROLE": ""}, 77),
        ({"AZURE_CLIENT_ID": "another"}, 77),
        ({"IDENTITY_HEADER": "a\r\nb"}, 78),
        ({"IDENTITY_ENDPOINT": "http://identity.example/msi"}, 78),
        ({"IDENTITY_HEADER": "", "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://example:port"}, 78),
        ({"IDENTITY_HEADER": "wrong"}, 77),
    ],
)
def test_what_is_missing_or_malformed_for_azure_is_said_before_vault_is_asked(
    logins: VaultLogins, machine: AzureMachine, environ: dict[str, str], code: int
) -> None:
    error = refusal(vault(logins, "azure", **{**machine.app_environment, **environ}))
    assert code == error.exit_code
    assert without_secrets([machine.app_environment["IDENTITY_HEADER"]], error, [])
    assert logins.requests == []


def test_outside_of_azure_it_lists_what_was_looked_for(
    logins: VaultLogins, stack: ExitStack, certificates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    backend = vault(logins, "azure")
    unresolved(socket.EAI_NONAME)(stack, certificates, monkeypatch)
    error = refusal(backend)
    assert type(error) is NoCredentialError
    assert "IDENTITY_ENDPOINT" in (error.hint or "")


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("hang", 75),
        ("drip-body", 75),
        ("reset", 75),
        ("short-body", 76),
        ("cut-json", 76),
        ("html", 76),
        ("json-array", 76),
        ("huge", 76),
        (307, 76),
        (429, 75),
        (500, 75),
        (403, 77),
    ],
)
def test_a_fault_of_azures_metadata_has_its_status(logins: VaultLogins, mode: Mode, code: int) -> None:
    seconds = 1.0 if mode in ("hang", "drip-body") else 10.0
    with FaultServer(
        mode, b'{"access_token": "a.b.c"}', redirect="http://127.0.0.1:1/", size=1 << 22
    ) as server:
        environ = {"IDENTITY_ENDPOINT": f"{server.url}/msi/token", "IDENTITY_HEADER": "x"}
        with within(1):
            error = failure(lambda: vault(logins, "azure", **environ).read(ref(SECRET), timeout=seconds))
    assert code == error.exit_code
    assert logins.requests == []


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_metadata_is_asked_through_no_proxy(
    logins: VaultLogins, machine: AzureMachine, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    there = f"http://127.0.0.1:{refused_port()}"
    monkeypatch.setenv(proxy, there)
    assert reads(vault(logins, "azure", **{**machine.machine_environment, proxy: there}))


# -- in common ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "package", "name"), [("aws", "botocore", "botocore"), ("gcp", "google.auth", "google-auth")]
)
def test_a_package_that_is_not_installed_is_named_with_the_way_to_install_it(
    method: str, package: str, name: str, tmp_path: Path
) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None
from astro_token.errors import ConfigError, MissingDependencyError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
try:
    open_backend("vault").read(SecretRef.parse("{SECRET}"), timeout=5)
except ConfigError as error:
    assert not isinstance(error, MissingDependencyError)  # a chain would continue
    print(error.message, "|", error.hint)
"""
    environ = {"VAULT_ADDR": "http://127.0.0.1:1", "ASTRO_TOKEN_VAULT_AUTH": method, **ROLE}
    environ |= key_file(Identities().service_account(), tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=service.ROOT,
        env={"PYTHONPATH": "core:backends", "PATH": "", **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    expected = (
        f"the login by {method} needs the Python package {name}, which is not installed "
        f"| {extra_hint(*sorted(['vault', method]))}\n"
    )
    assert (expected, "") == (done.stdout, done.stderr)


def test_a_login_loads_the_sdk_of_no_other_cloud(
    logins: VaultLogins, jo: dict[str, str], tmp_path: Path
) -> None:
    program = f"""
import sys
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
open_backend("vault").read(SecretRef.parse("{SECRET}"), timeout=5)
print(sorted({{"boto3", "botocore", "google.auth", "azure"}} & set(sys.modules)))
print(sorted(name.rpartition(".")[2] for name in sys.modules if "vault.login." in name))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=service.ROOT,
        env={
            "PYTHONPATH": "core:backends",
            "PATH": "",
            "VAULT_ADDR": logins.url,
            "ASTRO_TOKEN_VAULT_AUTH": "ldap",
            **jo,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ("[]\n['context', 'methods', 'password', 'response']\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize("method", ["ldap", "aws", "gcp", "azure"])
def test_a_mount_of_another_name_is_asked(
    method: str,
    jo: dict[str, str],
    amazon: VaultLogins,
    machine: AzureMachine,
    account: ServiceAccount,
    tmp_path: Path,
) -> None:
    environ = {**jo, **machine.machine_environment, **key_file(account, tmp_path)}
    assert refused_by_vault_at(vault(amazon, method, **environ, ASTRO_TOKEN_VAULT_MOUNT="team/ci"), "team/ci")
    assert amazon.requests[0].path.startswith("/v1/auth/team/ci/login")


def refused_by_vault_at(backend: KeyValue, mount: str) -> bool:
    error = refusal(backend)
    return error.exit_code == 77 and f"auth/{mount} " in (error.hint or "")
