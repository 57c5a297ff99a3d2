"""The environment, references and responses of a test server."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

from tests.servers.faults import FaultServer, Mode
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates

CLIENT = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


def environment(server: AzureServer, certificates: Certificates) -> dict[str, str]:
    """The variables for a server, with a credential."""
    return {
        "ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{server.port}",
        "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
        "AZURE_AUTHORITY_HOST": server.url,
        "AZURE_TENANT_ID": server.tenant,
        "AZURE_CLIENT_ID": server.client_id,
        "AZURE_CLIENT_SECRET": server.client_secret,
    }


def ref(server: AzureServer, name: str, rest: str = "") -> str:
    return f"azure:{server.url}/secrets/{name}{rest}"


def key_ref(server: AzureServer, name: str, rest: str = "") -> str:
    return f"azure-keys:{server.url}/keys/{name}{rest}"


def secret(value: str) -> bytes:
    """The service's response."""
    return json.dumps(
        {"value": value, "id": f"https://h/secrets/s/{uuid.uuid4().hex}", "attributes": {}}
    ).encode()


def vault(
    server: AzureServer,
    certificates: Certificates,
    mode: Mode,
    body: bytes = b"{}",
    *,
    redirect: str | None = None,
    headers: dict[str, str] | None = None,
) -> FaultServer:
    """A vault that responds with a challenge, and after the login in this mode."""
    login = f'authorization="{server.url}/{server.tenant}", resource="{server.resource}"'
    challenge = Answer.json({}, 401, {"WWW-Authenticate": f"Bearer {login}"})
    return FaultServer(
        lambda number: challenge if number == 1 else mode,
        body,
        tls=certificates.server.context(),
        redirect=redirect,
        headers=headers,
        drip=0.1,
        size=1 << 27,
    )
