"""Parameters: rendered, described; and what the service refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import (
    AccessDeniedError,
    IntegrityError,
    InvalidRefError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secrets.fields import select_field
from astro_token.secrets.ref import SecretRef
from astro_token.testing import BackendContract, Harness
from astro_token_backends.gcp.parameter_manager import ParameterManager, _version
from tests.backends.clouds import read
from tests.backends.gcp.calls import failure, meeting
from tests.servers.gcp import Code, Fault, GcpServer

if TYPE_CHECKING:
    from tests.servers.gcp_identity import ServiceAccount

GLOBAL = "projects/p1/locations/global/parameters"


def reference(secret: str) -> str:
    return f"__REF__(//secretmanager.googleapis.com/projects/p1/secrets/{secret}/versions/latest)"


@pytest.fixture
def parameter(server: GcpServer, name: str) -> str:
    """A version `v1` that refers to the newest version of the secret with the name of the test."""
    server.parameters.put(f"{GLOBAL}/{name}", "v1", json.dumps({"token": reference(name)}).encode())
    return f"gcp-pm:p1/{name}?version=v1"


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, parameters: ParameterManager, server: GcpServer, name: str) -> Harness:
        server.parameters.put(f"{GLOBAL}/{name}", "v1", reference(name).encode())

        def store(data: bytes) -> None:
            server.put(f"projects/p1/secrets/{name}", data)

        return Harness(
            parameters,
            store=store,
            present=f"gcp-pm:p1/{name}?version=v1",
            missing="gcp-pm:p1/nothing?version=v1",
            denied=lambda: meeting(server, Fault(Code.PERMISSION_DENIED)),
            unavailable=lambda: meeting(server, Fault(Code.UNAVAILABLE)),
            silent=lambda: meeting(server, Fault(None, delay=3.0)),
        )


class TestReading:
    def test_it_renders_the_secret_with_one_request(
        self, parameters: ParameterManager, server: GcpServer, name: str, parameter: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        value = read(parameters, parameter)
        assert canary.encode() == select_field(value, "token").reveal()
        assert ("v1", ["RenderParameterVersion"]) == (value.version, [call.method for call in server.seen])

    @pytest.mark.parametrize("location", ["global", "europe-west3"])
    def test_the_location_and_the_version_can_be_options_or_parts_of_the_name(
        self, parameters: ParameterManager, server: GcpServer, name: str, location: str
    ) -> None:
        full = f"projects/p1/locations/{location}/parameters/{name}"
        for version in ("v1", "v2"):
            server.parameters.put(full, version, version.encode())
        option = f"&location={location}" if location != "global" else ""
        for ref in (f"p1/{name}?version=v1{option}", f"{full}?version=v1", f"{full}/versions/v1"):
            assert (b"v1", "v1") == (
                (value := read(parameters, f"gcp-pm:{ref}")).reveal(),
                value.version,
            )

    def test_a_parameter_without_a_format_is_returned_as_it_is(
        self, parameters: ParameterManager, server: GcpServer, name: str, canary: str
    ) -> None:
        server.parameters.put(f"{GLOBAL}/{name}", "v1", f"{canary}__REF__".encode(), formatted=False)
        assert f"{canary}__REF__".encode() == read(parameters, f"gcp-pm:p1/{name}?version=v1").reveal()

    @pytest.mark.parametrize(
        ("ref", "host"),
        [
            ("gcp-pm:p1/a?version=1", "parametermanager.googleapis.com"),
            (
                "gcp-pm:p1/a?version=1&location=europe-west3",
                "parametermanager.europe-west3.rep.googleapis.com",
            ),
        ],
    )
    def test_each_region_has_its_own_address(self, ref: str, host: str) -> None:
        assert host == _version(SecretRef.parse(ref)).host


class TestRefusals:
    @pytest.mark.parametrize(
        ("ref", "message"),
        [
            (f"gcp-pm:{GLOBAL}/a?location=global&version=1", "its location is given twice"),
            ("gcp-pm:p1/a", "gcp-pm needs a version"),
            ("gcp-pm:p1/a?location=global", "gcp-pm needs a version"),
            (f"gcp-pm:{GLOBAL}/a", "gcp-pm needs a version"),
        ],
    )
    def test_what_does_not_name_one_version(
        self, parameters: ParameterManager, server: GcpServer, ref: str, message: str
    ) -> None:
        error = failure(parameters, ref)
        assert (InvalidRefError, True, []) == (type(error), message in error.message, server.seen)

    def test_each_denial_names_its_identity(
        self, parameters: ParameterManager, server: GcpServer, account: ServiceAccount, name: str,
        parameter: str, canary: str,
    ) -> None:  # fmt: skip
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        server.parameters.strangers.add(
            f"projects/{server.project_number('p1')}/locations/global/parameters/{name}/versions/v1"
        )
        error = failure(parameters, parameter, canary)
        assert (AccessDeniedError, True) == (type(error), "the parameter's own identity" in str(error.hint))
        server.restrict(account.email, "parameterVersions.get")
        error = failure(parameters, parameter, canary)
        assert (AccessDeniedError, True) == (
            type(error), "grant parametermanager.parameterVersions.render" in str(error.hint)
        )  # fmt: skip

    def test_a_version_and_a_secret_that_cannot_be_used(
        self, parameters: ParameterManager, server: GcpServer, name: str, parameter: str, canary: str
    ) -> None:
        assert type(failure(parameters, parameter)) is SecretNotFoundError  # there is no secret
        secret = f"projects/p1/secrets/{name}"
        server.set_state(secret, server.put(secret, canary.encode()), "DISABLED")
        error = failure(parameters, parameter, canary)
        assert (UnusableSecretError, True) == (type(error), "the state of these secrets" in str(error.hint))
        full = server.parameters.put(f"{GLOBAL}/{name}", "v2", canary.encode())
        server.parameters.disable(full)
        error = failure(parameters, f"gcp-pm:p1/{name}?version=v2", canary)
        assert (UnusableSecretError, True) == (type(error), "the version is disabled" in error.message)

    @pytest.mark.parametrize("damage", ["checksum", "huge", "other-parameter"])
    def test_a_damaged_response_is_refused(
        self,
        parameters: ParameterManager,
        server: GcpServer,
        name: str,
        parameter: str,
        damage: str,
        canary: str,
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        server.damage.append(damage)
        assert type(failure(parameters, parameter, canary)) is IntegrityError
        assert b"token" in read(parameters, parameter).reveal()


def test_a_description_takes_no_payload(
    parameters: ParameterManager, server: GcpServer, name: str, canary: str
) -> None:
    full = server.parameters.put(f"{GLOBAL}/{name}", "v1", canary.encode())
    ref = SecretRef.parse(f"gcp-pm:p1/{name}?version=v1")
    metadata = parameters.describe(ref, timeout=5)
    assert (metadata.version, metadata.enabled, metadata.created) == ("v1", True, metadata.updated)
    assert metadata.created is not None
    server.parameters.disable(full)
    assert parameters.describe(ref, timeout=5).enabled is False
