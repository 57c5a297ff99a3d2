"""Google Parameter Manager: the official client is served, and refused where the service refuses."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.parametermanager_v1 import ParameterManagerClient, types
from google.cloud.parametermanager_v1.services.parameter_manager import transports
from google.oauth2 import credentials as oauth2

from astro_token_backends.gcp.parameter_manager import ParameterManager
from tests.backends.clouds import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer

Client: Any = ParameterManagerClient
Transport: Any = transports.ParameterManagerGrpcTransport
Credentials: Any = oauth2.Credentials
ONCE: dict[str, Any] = {"retry": None, "timeout": 10}


@pytest.fixture
def connect(gcp_server: GcpServer, certificates: Certificates) -> Iterator[Callable[[str], Any]]:
    gcp_server.forget()
    clients: list[Any] = []

    def connect(bearer: str) -> Any:
        tls = grpc.ssl_channel_credentials(certificates.ca_file.read_bytes())
        transport = Transport(
            host=gcp_server.endpoint, credentials=Credentials(bearer), ssl_channel_credentials=tls
        )
        clients.append(Client(transport=transport))
        return clients[-1]

    yield connect
    for client in clients:
        client.transport.close()


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


def test_the_official_client_is_served(
    gcp_server: GcpServer, connect: Callable[[str], Any], name: str
) -> None:
    client = connect(gcp_server.identities.issue())
    parent = f"projects/p1/locations/global/parameters/{name}"
    secret = f"projects/p1/secrets/{name}"
    gcp_server.put(secret, b"value")
    text = f"a: '__REF__(//secretmanager.googleapis.com/{secret}/versions/latest)'"
    full = gcp_server.parameters.put(parent, "v1", text.encode())
    response = client.render_parameter_version(name=f"{parent}/versions/v1", **ONCE)
    assert (full, b"a: 'value'", text.encode()) == (
        response.parameter_version, response.rendered_payload, response.payload.data
    )  # fmt: skip
    request = types.GetParameterVersionRequest(name=full, view=types.View.BASIC)
    assert b"" == client.get_parameter_version(request=request, **ONCE).payload.data
    assert text.encode() == client.get_parameter_version(name=full, **ONCE).payload.data
    backend = ParameterManager(client=client)
    assert b"a: 'value'" == read(backend, f"gcp-pm:p1/{name}?version=v1").reveal()


def test_what_the_service_refuses_is_refused(
    gcp_server: GcpServer, connect: Callable[[str], Any], name: str
) -> None:
    parent = f"projects/p1/locations/global/parameters/{name}"
    bearer = gcp_server.identities.issue("me@example.com")
    client = connect(bearer)

    def refused(version: str, by: Any = client, **more: Any) -> type[Exception]:
        with pytest.raises(exceptions.GoogleAPICallError) as caught:
            by.render_parameter_version(name=f"{parent}/versions/{version}", **ONCE, **more)
        return type(caught.value)

    secret = f"//secretmanager.googleapis.com/projects/p1/secrets/{name}/versions/1"
    gcp_server.parameters.put(parent, "v1", f"__REF__({secret})".encode())
    assert exceptions.Unauthenticated is refused("v1", connect("wrong"))
    routed = [("x-goog-request-params", "name=another")]
    request = types.RenderParameterVersionRequest(name=f"{parent}/versions/v1")
    with pytest.raises(grpc.RpcError) as caught:
        client.transport.render_parameter_version(request, metadata=routed, timeout=10)
    error: Any = caught.value
    assert grpc.StatusCode.INVALID_ARGUMENT is error.code()
    assert exceptions.InvalidArgument is refused("a b")
    assert [exceptions.NotFound] * 3 == [refused("v1"), refused("v2"), refused("latest")]
    gcp_server.set_state(
        f"projects/p1/secrets/{name}", gcp_server.put(f"projects/p1/secrets/{name}", b"value"), "DESTROYED"
    )
    assert exceptions.FailedPrecondition is refused("v1")
    full = gcp_server.parameters.put(parent, "v3", b"text")
    gcp_server.parameters.strangers.add(full.replace("v3", "v1"))
    assert exceptions.PermissionDenied is refused("v1")
    gcp_server.parameters.disable(full)
    assert exceptions.FailedPrecondition is refused("v3")
    gcp_server.restrict("me@example.com", "parameterVersions.get")
    assert exceptions.PermissionDenied is refused("v3")
