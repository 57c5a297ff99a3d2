"""Scenes of rotations, one for each kind of secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyrage
import pytest

from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from tests.backends.vault import service
from tests.lifecycle.scene import AgeFiles, Kv, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.astro_api import AstroApi
    from tests.servers.openbao import OpenBao

KINDS = ("file", "kv2", "kv1", "file-transit", "kv2-transit")


@pytest.fixture(scope="session")
def transit(openbao: OpenBao) -> str:
    """The name of a key."""
    if "transit/" not in openbao.api("GET", "sys/mounts")["data"]:
        openbao.api("POST", "sys/mounts/transit", {"type": "transit"})
    name = service.unique("key")
    openbao.api("POST", f"transit/keys/{name}")
    return name


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    astro_api: AstroApi,
    openbao: OpenBao,
    transit: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """The scene of a kind, `file` if the test names none."""
    monkeypatch.chdir(tmp_path)  # a rotation looks for Terraform's files from here on
    kind, _, key = getattr(request, "param", "file").partition("-")
    decrypt = SecretRef("vault-transit", transit) if key else None
    store: Any
    if kind == "file":
        identity = pyrage.x25519.Identity.generate()
        monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY", str(identity))
        ref, store = SecretRef("file", str(tmp_path / "prod.token.age")), AgeFiles(identity)
    else:
        mount = service.mount(openbao, kind[-1])
        ref, store = SecretRef("vault", f"{mount}/astro/prod", "token"), Kv(openbao, kind[-1])
    scene = Scene(astro_api, TokenSettings(ref, decrypt=decrypt), store, openbao.address, openbao)
    assert scene.service
    monkeypatch.setenv("VAULT_ADDR", scene.service.url)
    monkeypatch.setenv("VAULT_TOKEN", openbao.root_token)
    yield scene
    scene.close()
