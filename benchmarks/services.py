"""The services to read from, with tokens in them, and for each the smallest script with the bare SDK."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
PYTHON = sys.executable
PROGRAM = str(Path(PYTHON).parent / "astro-token")
REGION = "eu-west-1"


@dataclass(frozen=True)
class Service:
    """
    Attributes:
        environ: leads the tool and the bare script to it, and logs in.
        port: where it listens on loopback.
        led_to: what of the environment changes where it is at another port.
        ref: of the secret of a number.
        bare: the arguments of the bare script for secret 0, without the command to become.
        goal, instructions_goal: for the ratio of CPU time and of instructions.
    """

    name: str
    environ: dict[str, str]
    port: int
    led_to: Callable[[int], dict[str, str]]
    ref: Callable[[int], str]
    bare: list[str] = field(default_factory=list)
    goal: str = ""
    instructions_goal: str = ""


@contextmanager
def vault(tokens: list[str], _folder: Path) -> Iterator[Service]:
    from tests.servers.openbao import OpenBao

    with OpenBao() as bao:
        for number, token in enumerate(tokens):
            bao.api("POST", f"secret/data/astro/t{number}", {"data": {"token": token}})
        yield Service(
            "vault",
            {"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.root_token},
            int(bao.address.rpartition(":")[2]),
            lambda port: {"VAULT_ADDR": f"http://127.0.0.1:{port}"},
            lambda number: f"vault:secret/astro/t{number}#token",
            [str(HERE / "bare_vault.py"), "secret", "astro/t0", "token"],
            "1.00",
            "0.70",
        )


@contextmanager
def aws(tokens: list[str], _folder: Path) -> Iterator[Service]:
    import boto3

    from tests.servers.ministack import MiniStack

    with MiniStack() as stack:
        environ = {**stack.environment(), "AWS_DEFAULT_REGION": stack.region}  # boto3 reads this one only
        client: Any = boto3.client(
            "secretsmanager",
            endpoint_url=stack.endpoint,
            region_name=stack.region,
            aws_access_key_id=stack.access_key,
            aws_secret_access_key=stack.secret_key,
        )
        for number, token in enumerate(tokens):
            client.create_secret(Name=f"astro/t{number}", SecretString=f'{{"token": "{token}"}}')
        yield Service(
            "aws",
            environ,
            int(stack.endpoint.rpartition(":")[2]),
            lambda port: {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"},
            lambda number: f"aws:astro/t{number}#token",
            [str(HERE / "bare_aws.py"), "astro/t0", "token"],
            "1.00",
            "0.85",
        )


@contextmanager
def gcp(tokens: list[str], folder: Path) -> Iterator[Service]:
    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer

    certificates = Certificates(folder)
    with GcpServer(certificates.server) as server:
        for number, token in enumerate(tokens):
            server.put(f"projects/p1/secrets/t{number}", token.encode())
        key = server.identities.service_account().write(folder / "key.json")
        yield Service(
            "gcp",
            {
                "ASTRO_TOKEN_GCP_ENDPOINT": server.endpoint,
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificates.ca_file),
                "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            },
            int(server.endpoint.rpartition(":")[2]),
            lambda port: {"ASTRO_TOKEN_GCP_ENDPOINT": f"localhost:{port}"},
            lambda number: f"gcp:p1/t{number}",
            [str(HERE / "bare_gcp.py"), "projects/p1/secrets/t0/versions/latest"],
            "1.00",
            "0.65",
        )


@contextmanager
def azure(tokens: list[str], folder: Path) -> Iterator[Service]:
    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates

    certificates = Certificates(folder)
    with AzureServer(certificates.server.context()) as server:
        for number, token in enumerate(tokens):
            server.put(f"t{number}", token)

        def led_to(port: int) -> dict[str, str]:
            return {"ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{port}", "VAULT_URL": f"https://127.0.0.1:{port}"}

        # The reference names the host, so that it follows the environment that a run has.
        yield Service(
            "azure",
            {
                **led_to(server.port),
                "REQUESTS_CA_BUNDLE": str(certificates.ca_file),
                "AZURE_AUTHORITY_HOST": server.url,
                "AZURE_TENANT_ID": server.tenant,
                "AZURE_CLIENT_ID": server.client_id,
                "AZURE_CLIENT_SECRET": server.client_secret,
            },
            server.port,
            led_to,
            lambda number: f"azure:{{VAULT_URL}}/secrets/t{number}",
            [str(HERE / "bare_azure.py"), "{VAULT_URL}", "t0"],
            "1.00",
            "0.55",
        )


@contextmanager
def file(tokens: list[str], folder: Path) -> Iterator[Service]:
    environ = {"XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder), "PATH": os.environ["PATH"]}
    for number, token in enumerate(tokens[:1]):
        put = [PROGRAM, "put", "--create-key", f"file:{folder}/t{number}.age"]
        subprocess.run(put, env=environ, input=token.encode(), check=True, stderr=subprocess.DEVNULL)
    yield Service(
        "file",
        {"ASTRO_TOKEN_AGE_KEY_FILE": f"{folder}/config/astro-token/age-key.txt"},
        0,
        lambda _: {},
        lambda number: f"file:{folder}/t{number}.age",
        [str(HERE / "bare_file.py"), f"{folder}/t0.age"],
    )


SERVICES = (file, vault, aws, gcp, azure)
