"""Rotations in the services of the clouds: the secret of the record, and the number of requests."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache

from astro_token.errors import AstroTokenError, SecretNotFoundError, sanitized
from astro_token.lifecycle import perform
from astro_token.lifecycle.effects import RotationRecord
from astro_token.record import replace
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import appearances
from tests.backends.aws import service as aws
from tests.backends.azure import service as azure
from tests.lifecycle.scene import (
    PLAN,
    KeyVault,
    Parameters,
    Scene,
    SecretManager,
    SecretsManager,
    check_requests,
    ident_of,
    sweep,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.astro_api import AstroApi
    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.ministack import MiniStack


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "_PROPAGATION_PAUSE", 0.1)


@pytest.fixture
def scene(request: pytest.FixtureRequest, astro_api: AstroApi) -> Iterator[Scene]:
    made: Scene = request.getfixturevalue(request.param)(astro_api)
    yield made
    made.close()


@pytest.fixture
def secrets_manager(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> object:
    return lambda server: _aws(server, ministack, "aws", monkeypatch)


@pytest.fixture
def parameter_store(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> object:
    return lambda server: _aws(server, ministack, "aws-ssm", monkeypatch)


def _aws(server: AstroApi, ministack: MiniStack, scheme: str, monkeypatch: pytest.MonkeyPatch) -> Scene:
    ref = SecretRef(scheme, f"astro/{uuid.uuid4().hex}")
    client = aws.client(ministack, "secretsmanager" if scheme == "aws" else "ssm")
    store = SecretsManager(client) if scheme == "aws" else Parameters(client)
    scene = Scene(server, TokenSettings(ref), store, ministack.endpoint)
    assert scene.service
    for name, value in {**ministack.environment(), "AWS_ENDPOINT_URL": scene.service.url}.items():
        monkeypatch.setenv(name, value)
    store.write(scene.record_ref, EMPTY)
    return scene


@pytest.fixture
def secret_manager(
    gcp_server: GcpServer, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> object:
    key = gcp_server.identities.service_account().write(tmp_path / "key.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", gcp_server.endpoint)
    monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
    name = f"p1/s-{uuid.uuid4().hex}"

    def make(server: AstroApi) -> Scene:
        scene = Scene(server, TokenSettings(SecretRef("gcp", name)), SecretManager(gcp_server), None)
        scene.store.write(scene.record_ref, EMPTY)
        scene.counted = gcp_server.seen
        return scene

    return make


@pytest.fixture
def key_vault(
    azure_server: AzureServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> object:
    http_challenge_cache.clear()  # the SDK keeps it for the process, and so saves requests
    for variable, value in azure.environment(azure_server, certificates).items():
        monkeypatch.setenv(variable, value)
    ref = SecretRef.parse(azure.ref(azure_server, f"s-{uuid.uuid4().hex}"))

    def make(server: AstroApi) -> Scene:
        scene = Scene(server, TokenSettings(ref), KeyVault(azure_server), None)
        scene.store.write(scene.record_ref, EMPTY)
        scene.counted = azure_server.requests
        return scene

    return make


EMPTY = '{"format": 1}'
each_cloud = pytest.mark.parametrize(
    "scene", ["secrets_manager", "parameter_store", "secret_manager", "key_vault"], indirect=True
)


@each_cloud
def test_a_rotation_replaces_the_value_alone(scene: Scene) -> None:
    first = scene.begin()
    assert "done" == scene.run()
    current = scene.current
    assert (True, True) == (current != first, scene.works)
    assert ({ident_of(current)}, RotationRecord(), []) == (scene.left, scene.record, scene.outages)
    assert current == scene.store.read(scene.settings.ref)


@each_cloud
def test_the_requests_are_those_in_the_docs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    check_requests(scene, f"`{scene.settings.ref.scheme}`", monkeypatch)


@each_cloud
def test_the_previous_token_works_for_the_grace_period(scene: Scene) -> None:
    first = scene.begin()
    plan = replace(PLAN, grace=3600.0)
    assert "grace" == scene.run(plan)
    assert {ident_of(first), ident_of(scene.current)} == scene.left
    store: Any = scene.store
    described = [store.described(ref) for ref in (scene.settings.ref, scene.record_ref)]
    values = (first, str(scene.current), scene.admin)
    assert [] == [form for text in described for value in values for form in appearances(value, text)]
    scene.later = 3601
    assert "done" == scene.run(plan)
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)


@each_cloud
def test_without_the_secret_of_the_record_nothing_happens(scene: Scene) -> None:
    first = scene.begin()
    scene.store.remove(scene.record_ref)
    error = _failure(scene)
    assert SecretNotFoundError is type(error)
    assert f"{scene.record_ref}: " in error.message
    assert EMPTY in str(error.hint)
    assert (first, {ident_of(first)}) == (scene.current, scene.left)


@pytest.mark.long
@pytest.mark.timeout(1800)
@each_cloud
def test_every_cut_loses_nothing(scene: Scene) -> None:
    assert sweep(scene, PLAN) >= 14


def _failure(scene: Scene) -> AstroTokenError:
    try:
        scene.run()
    except AstroTokenError as error:
        return sanitized(error)
    raise AssertionError("it ran")
