"""The commands against every service: stored, checked, handed over, encrypted; many at once."""

from __future__ import annotations

import json
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any

import pytest

import astro_token_backends.aws
import astro_token_backends.azure
import astro_token_backends.gcp
from astro_token.testing import make_token
from tests.cli.sweep_process import Forks
from tests.conftest import ROOT, Result
from tests.servers.aws_kms import AwsKms
from tests.servers.aws_signature import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi
    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.ministack import MiniStack
    from tests.servers.openbao import OpenBao

MANY = 24


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Forks of a process that has loaded the SDK of each service."""
    sdks = [
        module.name
        for package in (astro_token_backends.aws, astro_token_backends.azure, astro_token_backends.gcp)
        for module in walk_packages(package.__path__, f"{package.__name__}.")
    ]
    with Forks(*sdks, "google.auth", "cryptography.x509") as forks:
        yield forks


@dataclass(frozen=True)
class Service:
    """
    Attributes:
        environ: leads to it, with a credential.
        store: puts a text under a name.
        ref: of a name.
        key: a reference to a key that encrypts.
    """

    environ: dict[str, str]
    store: Callable[[str, str], object]
    ref: Callable[[str], str]
    key: str


def unique() -> str:
    return f"s{uuid.uuid4().hex}"


@pytest.fixture
def vault(openbao: OpenBao) -> Service:
    mount, key = unique(), unique()
    openbao.api("POST", f"sys/mounts/{mount}", {"type": "transit"})
    openbao.api("POST", f"{mount}/keys/{key}", {})
    return Service(
        {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token},
        lambda name, text: openbao.api("POST", f"secret/data/{name}", {"data": {"token": text}}),
        lambda name: f"vault:secret/{name}#token",
        f"vault-transit:{mount}/{key}",
    )


def aws_client(server: MiniStack, service: str) -> Any:
    from tests.backends.aws.service import client

    return client(server, service)


@pytest.fixture
def kms(ministack: MiniStack) -> Iterator[AwsKms]:
    """A strict one, for the same user."""
    with AwsKms(
        Key("arn:aws:iam::000000000000:user/a", ministack.access_key, ministack.secret_key)
    ) as server:
        yield server


@pytest.fixture
def aws(ministack: MiniStack, kms: AwsKms) -> Service:
    client = aws_client(ministack, "secretsmanager")
    return Service(
        {**ministack.environment(), "AWS_ENDPOINT_URL_KMS": kms.endpoint},
        lambda name, text: client.create_secret(Name=name, SecretString=text),
        lambda name: f"aws:{name}",
        f"aws-kms:{kms.create_key()}?context.what=astro",
    )


@pytest.fixture
def aws_ssm(ministack: MiniStack, kms: AwsKms) -> Service:
    client = aws_client(ministack, "ssm")
    return Service(
        {**ministack.environment(), "AWS_ENDPOINT_URL_KMS": kms.endpoint},
        lambda name, text: client.put_parameter(Name=f"/astro/{name}", Value=text, Type="SecureString"),
        lambda name: f"aws-ssm:/astro/{name}",
        f"aws-kms:arn:aws:kms:eu-west-1:000000000000:key/{kms.create_key()}",
    )


@pytest.fixture
def gcp(gcp_server: GcpServer, certificates: Certificates, tmp_path: Path) -> Service:
    account = gcp_server.identities.service_account().write(tmp_path / "key.json")
    key = gcp_server.keys.create(f"projects/p1/locations/global/keyRings/r/cryptoKeys/{unique()}")
    return Service(
        {
            "ASTRO_TOKEN_GCP_ENDPOINT": gcp_server.endpoint,
            "ASTRO_TOKEN_GCP_KMS_ENDPOINT": gcp_server.endpoint,
            "SSL_CERT_FILE": str(certificates.ca_file),
            "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        },
        lambda name, text: gcp_server.put(f"projects/p1/secrets/{name}", text.encode()),
        lambda name: f"gcp:p1/{name}",
        f"gcp-kms:{key}?context.what=astro",
    )


@pytest.fixture
def azure(azure_server: AzureServer, certificates: Certificates) -> Service:
    azure_server.forget()
    key = unique()
    azure_server.put_key(key)
    return Service(
        {
            "ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{azure_server.port}",
            "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
            "AZURE_AUTHORITY_HOST": azure_server.url,
            "AZURE_TENANT_ID": azure_server.tenant,
            "AZURE_CLIENT_ID": azure_server.client_id,
            "AZURE_CLIENT_SECRET": azure_server.client_secret,
        },
        lambda name, text: azure_server.put(name, text),
        lambda name: f"azure:{azure_server.url}/secrets/{name}",
        f"azure-keys:{azure_server.url}/keys/{key}",
    )


# What must not be shown of the credentials that the services' environments hold.
SECRET = frozenset({"VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "AZURE_CLIENT_SECRET"})
SERVICES = ("vault", "aws", "aws_ssm", "gcp", "azure")


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> Service:
    made = request.getfixturevalue(request.param)
    assert isinstance(made, Service)
    return made


def test_a_token_is_stored_checked_and_handed_over(program: Program, service: Service, canary: str) -> None:
    program.environ, name = service.environ, unique()
    old = make_token()
    service.store(name, old)
    ref = service.ref(name)
    stored = program("put", ref, stdin=canary)
    expires, last = stored.stderr.splitlines()
    assert (0, "") == (stored.code, stored.stdout)
    assert expires.startswith("astro-token: the token expires at 20")
    assert last.startswith(f"astro-token: stored in {ref}, version ")
    version = stored.stderr.rpartition(" ")[2].strip()
    checked = program("check", "--format", "json", ref)
    entry = json.loads(checked.stdout)["tokens"][0]
    assert (0, "ok", version, "") == (checked.code, entry["status"], entry["version"], checked.stderr)
    handed = program("exec", ref, "--", "printenv", "ASTRO_API_TOKEN", allowed=["stdout"])
    assert Result(0, f"{canary}\n", "") == handed


def create_empty(request: pytest.FixtureRequest, name: str) -> str:
    """Create a secret as the README says, and return its service."""
    backend: str = request.param
    if backend == "aws":
        client = aws_client(request.getfixturevalue("ministack"), "secretsmanager")
        # AWS creates no version without a value, MiniStack an empty one.
        version = client.create_secret(Name=name)["VersionId"]
        client.update_secret_version_stage(
            SecretId=name, VersionStage="AWSCURRENT", RemoveFromVersionId=version
        )
    elif backend == "gcp":
        request.getfixturevalue("gcp_server").create(f"projects/p1/secrets/{name}")
    elif backend == "azure":
        request.getfixturevalue("azure").store(name, "placeholder")
    return backend


@pytest.fixture(params=["vault", "aws", "gcp", "azure"])
def empty(request: pytest.FixtureRequest) -> tuple[str, str, Service]:
    name = unique()
    made = request.getfixturevalue(request.param)
    return create_empty(request, name), name, made


@pytest.mark.long
def test_the_readme_leads_from_a_clone_to_a_child_in_five_commands(
    program: Program, empty: tuple[str, str, Service], canary: str
) -> None:
    """Clone, install, create the secret, `put`, `exec`. The README's sessions do it with a file."""
    backend, name, service = empty
    readme = (ROOT / "README.md").read_text()
    created = dict(re.findall(r"^(?:aws|gcloud|az) .*# then ([a-z]+):(\S+?);?(?:\s|$)", readme, re.MULTILINE))
    assert {"aws", "gcp", "azure"} == created.keys()
    assert (backend in created) is (backend != "vault")
    assert f"[{backend}]" in readme
    assert "`astro-token put REF < token.txt` and `astro-token exec REF -- …`" in readme
    program.environ = service.environ
    assert 0 == program("put", service.ref(name), stdin=canary).code
    handed = program("exec", service.ref(name), "--", "printenv", "ASTRO_API_TOKEN", allowed=["stdout"])
    assert Result(0, f"{canary}\n", "") == handed


def test_the_child_gets_no_credential_of_the_service(program: Program, service: Service) -> None:
    program.environ, name = service.environ, unique()
    service.store(name, program.canaries[0])
    shown = program("exec", service.ref(name), "--", "env", allowed=["stdout"]).stdout
    left = dict(line.partition("=")[::2] for line in shown.splitlines())
    secret = {
        "VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
        "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_SECRET",
    }  # fmt: skip
    assert set() == secret & left.keys()


def test_each_link_of_the_chain_holds(program: Program, service: Service, astro_api: AstroApi) -> None:
    program.environ, name = {**service.environ, "ASTRO_TOKEN_API_URL": astro_api.url}, unique()
    token = astro_api.issue()
    program.canaries += [token, *(service.environ[name] for name in SECRET & service.environ.keys())]
    service.store(name, token)
    result = program("doctor", "--format", "json", service.ref(name))
    links = json.loads(result.stdout)["links"]
    assert (0, "", []) == (
        result.code,
        result.stderr,
        [link for link in links if link["state"] in {"failed", "not reached"}],
    )
    told = {link["link"]: link["state"] for link in links}
    assert {"ok"} == {told[name] for name in ("backend", "sdk", "credential", "network", "login", "version")}


@pytest.mark.usefixtures("started_each_time")
def test_many_are_read_at_once_from_a_cold_start(program: Program, service: Service) -> None:
    program.environ = service.environ
    names = [unique() for _ in range(MANY)]
    tokens = [make_token(token_id=f"cltk{number:020}") for number in range(MANY)]
    program.canaries += tokens
    for name, token in zip(names, tokens, strict=True):
        service.store(name, token)
    asked = [service.ref(name) for name in [*names[:5], unique(), *names[5:]]]
    result = program("check", "--format", "json", *asked)
    found = json.loads(result.stdout)["tokens"]
    assert (66, asked) == (result.code, [entry["ref"] for entry in found]), result.stderr
    ids = [entry["token_id"] for entry in found]
    assert [f"cltk{number:020}" for number in range(MANY)] == [*ids[:5], *ids[6:]]
    assert (None, 66) == (ids[5], found[5]["error"]["exit_code"])


def test_ciphertext_is_written_and_decrypted_on_the_way(
    program: Program, service: Service, canary: str
) -> None:
    program.environ = {**service.environ, "ASTRO_TOKEN_DECRYPT": service.key}
    stored = program("put", "file:token.enc", stdin=canary)
    assert (0, "") == (stored.code, stored.stdout), stored.stderr
    ciphertext = (program.work / "token.enc").read_text()
    assert ciphertext.isascii()
    (program.work / "token.enc").chmod(0o644)  # as a committed file is
    shown = ("--", "printenv", "ASTRO_API_TOKEN")
    for ref in ("file:token.enc", "env:ENCRYPTED"):
        handed = program("exec", ref, *shown, env={"ENCRYPTED": ciphertext}, allowed=["stdout"])
        assert Result(0, f"{canary}\n", "") == handed
    again = program("put", "file:token.enc", stdin=canary)
    assert (0, True) == (again.code, ciphertext != (program.work / "token.enc").read_text())


def test_a_service_keeps_ciphertext_too(program: Program, service: Service, canary: str) -> None:
    program.environ, name = {**service.environ, "ASTRO_TOKEN_DECRYPT": service.key}, unique()
    service.store(name, "to be replaced")
    assert 0 == program("put", service.ref(name), stdin=canary).code
    handed = program("exec", service.ref(name), "--", "printenv", "ASTRO_API_TOKEN", allowed=["stdout"])
    assert Result(0, f"{canary}\n", "") == handed
    plain = program("check", service.ref(name), env={"ASTRO_TOKEN_DECRYPT": ""})
    assert (65, True) == (plain.code, "the value looks like ciphertext: name its key" in plain.stderr)


def test_an_expired_secret_of_azure_is_replaced(
    program: Program, azure: Service, azure_server: AzureServer, canary: str
) -> None:
    """Key Vault hands out what has expired, and a new token is how that is mended."""
    program.environ, name = azure.environ, unique()
    azure_server.put(name, make_token(), exp=1_700_000_000)
    refused = program("check", azure.ref(name))
    assert (65, True) == (refused.code, "has expired" in refused.stderr)
    assert 0 == program("put", azure.ref(name), stdin=canary).code
    assert 0 == program("check", azure.ref(name)).code


def test_a_login_to_vault_is_revoked_before_the_command_starts(
    program: Program, openbao: OpenBao, canary: str, tmp_path: Path
) -> None:
    from tests.backends.vault import service
    from tests.servers.openbao import OpenBaoError
    from tests.servers.wire import Wire

    started, name = tmp_path / "started", unique()
    with suppress(OpenBaoError):  # other tests of this server have it too
        openbao.api("POST", "sys/auth/approle", {"type": "approle"})
    openbao.api("POST", f"secret/data/{name}", {"data": {"token": canary}})
    seen = []

    class Requests(list[Any]):
        def append(self, request: Any) -> None:
            seen.append((request.path, started.exists()))

    login = {key: text for key, text in service.approle(openbao).items() if key != "ROLE"}
    with Wire(openbao.address) as wire:
        wire.requests = Requests()
        words = ("exec", f"vault:secret/{name}#token", "--", "touch", str(started))
        result = program(*words, env={"VAULT_ADDR": wire.url, **login})
    assert (0, True) == (result.code, started.exists()), result.stderr
    assert ("/v1/auth/token/revoke-self", False) == seen[-1]
