"""
The servers as fixtures, one of each for a session (of each worker), started when a test first asks for it.

A `conftest.py` names this module in `pytest_plugins`.
Tests share the servers: each takes mounts, names and clients of its own.
What a test leaves behind in one that could harm the next is cleared: faults, restrictions, the seal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# A server's module is imported with its fixture: some load an SDK.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.astro_api import AstroApi
    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer
    from tests.servers.ministack import MiniStack
    from tests.servers.openbao import OpenBao


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority and its certificates."""
    from tests.servers.certificates import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBao]:
    """OpenBao in dev mode, on plain HTTP."""
    from tests.servers.openbao import OpenBao

    with OpenBao() as server:
        yield server


@pytest.fixture(scope="session")
def openbao_tls(certificates: Certificates) -> Iterator[OpenBao]:
    """OpenBao with TLS, initialised and unsealed; no secrets engine is mounted."""
    from tests.servers.openbao import OpenBao

    with OpenBao(certificates) as server:
        server.initialise()
        server.unseal()
        yield server


@pytest.fixture(scope="session")
def ministack() -> Iterator[MiniStack]:
    """AWS, with signatures and policies checked."""
    from tests.servers.ministack import MiniStack

    with MiniStack() as server:
        yield server


@pytest.fixture(scope="session")
def gcp_server(certificates: Certificates) -> Iterator[GcpServer]:
    """Google Secret Manager."""
    from tests.servers.gcp import GcpServer

    with GcpServer(certificates.server) as server:
        yield server


@pytest.fixture(scope="session")
def gcp_login(certificates: Certificates, gcp_server: GcpServer) -> Iterator[GcpLogin]:
    """Google's token endpoints and metadata server, for tokens that `gcp_server` takes."""
    from tests.servers.gcp_login import GcpLogin

    with GcpLogin(gcp_server.identities, certificates.server.context()) as server:
        yield server


@pytest.fixture(scope="session")
def azure_server(certificates: Certificates) -> Iterator[AzureServer]:
    """Azure Key Vault, Entra ID and managed identity."""
    from tests.servers.azure import AzureServer

    with AzureServer(certificates.server.context()) as server:
        yield server


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An issuer of identity tokens, as a CI system is one."""
    from tests.servers.jwks import Issuer

    with Issuer() as server:
        yield server


@pytest.fixture
def astro_api() -> Iterator[AstroApi]:
    """Astro's API, one for a test: what it accepts is the test's business."""
    from tests.servers.astro_api import AstroApi

    with AstroApi() as api:
        yield api


@pytest.fixture(autouse=True)
def _leave_no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    shared = [
        request.getfixturevalue(name)
        for name in ("gcp_server", "azure_server", "openbao_tls")
        if name in request.fixturenames
    ]
    yield
    for server in shared:
        server.forget()
