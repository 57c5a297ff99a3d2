"""OpenBao with what the tests of the Vault backend share, and backends with an environment of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from astro_token.transport.client import Client
from astro_token_backends.vault import client
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit
from tests.backends.vault import service
from tests.servers.faults import Egress
from tests.servers.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.openbao import OpenBao


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the connections of backends that a test does not close."""
    opened: list[Client] = []

    class Recorded(Client):
        def __init__(self) -> None:
            super().__init__()
            opened.append(self)

    monkeypatch.setattr(client, "Client", Recorded)
    yield
    for each in opened:
        each.close()


class Connect(Protocol):
    def __call__(self, **environ: str) -> KeyValue: ...


@pytest.fixture(scope="session")
def bao(openbao: OpenBao) -> OpenBao:
    """OpenBao with a KV 1 mount, transit, and the logins approle, jwt, kubernetes and userpass."""
    service.mount(openbao, "1", "kv1")
    openbao.api("POST", "sys/mounts/transit", {"type": "transit"})
    there = openbao.api("GET", "sys/auth")["data"]  # other tests may have come first
    for method in {"approle", "jwt", "kubernetes", "userpass"} - {name.strip("/") for name in there}:
        openbao.api("POST", f"sys/auth/{method}", {"type": method})
    return openbao


@pytest.fixture
def connect(bao: OpenBao) -> Iterator[Connect]:
    """Makes a `KeyValue` of its own: with the root token, unless variables of a login are given."""
    made: list[KeyValue] = []

    def connect(**environ: str) -> KeyValue:
        environ = {"VAULT_ADDR": bao.address, **(environ or {"VAULT_TOKEN": bao.root_token})}
        if set(environ) == {"VAULT_ADDR"}:
            environ["VAULT_TOKEN"] = bao.root_token
        made.append(KeyValue(VaultClient(environ)))
        return made[-1]

    yield connect
    for backend in made:
        backend.close()


@pytest.fixture
def vault(connect: Connect) -> KeyValue:
    return connect()


@pytest.fixture
def transit(bao: OpenBao) -> Any:
    return Transit(VaultClient({"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.root_token}))


@pytest.fixture
def wire(bao: OpenBao) -> Iterator[Wire]:
    with Wire(bao.address) as wire:
        yield wire


@pytest.fixture
def egress() -> Iterator[Egress]:
    with Egress() as egress:
        yield egress
