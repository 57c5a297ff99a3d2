"""Rotations of a real secret, in a file or in OpenBao, with the strict Astro API, each behind a proxy."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyrage

from astro_token.astro_api import AstroApi
from astro_token.astro_api.tokens import NewRole, NewToken, Tokens
from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.perform import Performer
from astro_token.lifecycle.protocol import Plan, rotation
from astro_token.lifecycle.record import decode_record, record_ref
from astro_token.secret import SecretValue
from astro_token.secrets.registry import close_backends
from astro_token.token import AstroToken
from astro_token.transport.deadline import Deadline
from tests.servers.astro_api import ORGANIZATION, WORKSPACE, Grant
from tests.servers.faults import FaultServer
from tests.servers.openbao import OpenBaoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from tests.servers.astro_api import AstroApi as Server
    from tests.servers.faults import Mode
    from tests.servers.openbao import OpenBao

AUTHOR = NewRole("WORKSPACE_AUTHOR", "workspace", WORKSPACE)
PLANNED = NewToken("deploy", "workspace", (AUTHOR,), 90)
ADMIN = "cladmin"
PLAN = Plan("deploy", 0.0)


class AgeFiles:
    """Files that are encrypted to a key, or that hold ciphertext of a key service."""

    def __init__(self, identity: pyrage.x25519.Identity) -> None:
        self._identity = identity

    def read(self, ref: SecretRef) -> str | None:
        path = Path(ref.name)
        if not path.exists():
            return None
        data = path.read_bytes()
        is_age = data.startswith((b"age-encryption.org", b"-----BEGIN AGE"))
        return str((pyrage.decrypt(data, [self._identity]) if is_age else data).decode())

    def write(self, ref: SecretRef, text: str) -> None:
        path = Path(ref.name)
        path.write_bytes(text.encode() if text.startswith("vault:") else self._encrypted(text))
        path.chmod(0o600)

    def remove(self, ref: SecretRef) -> None:
        Path(ref.name).unlink(missing_ok=True)

    def _encrypted(self, text: str) -> bytes:
        return bytes(pyrage.encrypt(text.encode(), [self._identity.to_public()], armored=True))


class Kv:
    """A KV mount, whose values have other fields too."""

    def __init__(self, openbao: OpenBao, kv: str) -> None:
        self._openbao, self._kv = openbao, kv

    def read(self, ref: SecretRef) -> str | None:
        try:
            data = self._openbao.api("GET", self._path(ref))["data"]
        except OpenBaoError:
            return None
        return json.dumps(data["data"] if self._kv == "2" else data)

    def write(self, ref: SecretRef, text: str) -> None:
        fields = {"token": text, "user": "etl"}
        self._openbao.api("POST", self._path(ref), {"data": fields} if self._kv == "2" else fields)

    def remove(self, ref: SecretRef) -> None:
        self._openbao.api("DELETE", self._path(ref, "metadata"))

    def _path(self, ref: SecretRef, part: str = "data") -> str:
        mount, _, path = ref.name.partition("/")
        return f"{mount}/{part}/{path}" if self._kv == "2" else ref.name


class Scene:
    """
    Args:
        services: the addresses of the other services, by the variable that leads to each.

    Attributes:
        settings: of the token.
        modes: of numbered requests of a run, from 1, over all services.
        later: seconds by which the clock of the runs is ahead.
        requests: `METHOD PATH` of each request of the run.
        outages: requests before which Astro did not accept the current token.
    """

    def __init__(
        self,
        server: Server,
        settings: TokenSettings,
        store: AgeFiles | Kv,
        openbao: OpenBao,
    ) -> None:
        self.server, self.settings, self.store, self.openbao = server, settings, store, openbao
        self.admin = server.issue(ws=None, grant=Grant(manages_tokens=True), token_id=ADMIN)
        self.modes: dict[int, Mode] = {}
        self.later = 0.0
        self.planned = PLANNED
        self.requests: list[str] = []
        self.outages: list[str] = []
        self._lock = threading.Lock()
        self.astro = self._proxy(server.url)
        self.vault = self._proxy(openbao.address)

    def close(self) -> None:
        close_backends()
        self.astro.close()
        self.vault.close()

    def _proxy(self, upstream: str) -> FaultServer:
        server = FaultServer("pass", upstream=upstream)

        def mode(number: int) -> Mode:
            request = server.requests[number - 1]
            with self._lock:
                self.requests.append(f"{request.method} {request.path}")
                if not self.works:
                    self.outages.append(self.requests[-1])
                return self.modes.get(len(self.requests), "pass")

        server.mode = mode
        return server

    # -- the state, past the proxies -------------------------------------------------------------------

    def read(self, ref: SecretRef) -> str | None:
        """A decrypted secret, without its other fields."""
        text = self.store.read(ref)
        if text is None:
            return None
        fields = json.loads(text) if text.startswith("{") else {"token": text}
        text = str(fields["token"]) if "token" in fields else text
        if not text.startswith("vault:v"):
            return text
        key = self.settings.decrypt
        assert key is not None
        opened = self.openbao.api("POST", f"transit/decrypt/{key.name}", {"ciphertext": text})
        return base64.b64decode(opened["data"]["plaintext"]).decode()

    @property
    def current(self) -> str | None:
        return self.read(self.settings.ref)

    @property
    def record(self) -> RotationRecord:
        text = self.read(self.record_ref)
        return RotationRecord() if text is None else decode_record(SecretValue(text.encode()))

    @property
    def record_ref(self) -> SecretRef:
        return record_ref(self.settings.ref, Deadline(5))

    @property
    def works(self) -> bool:
        current = self.current
        return current is None or current in self.server.values(ident_of(current))

    @property
    def left(self) -> set[str]:
        """The tokens at Astro, without the admin's."""
        return set(self.server.tokens) - {ADMIN}

    def begin(self) -> str:
        """Store a first token."""
        value = self.server.issue(token_id=f"clfirst{secrets.token_hex(6)}")
        text, key = value, self.settings.decrypt
        if key is not None:
            body = {"plaintext": base64.b64encode(value.encode()).decode()}
            text = self.openbao.api("POST", f"transit/encrypt/{key.name}", body)["data"]["ciphertext"]
        self.store.write(self.settings.ref, text)
        return value

    def clear(self) -> None:
        """Remove the value, its record and all tokens."""
        for ref in (self.settings.ref, self.record_ref):
            self.store.remove(ref)
        for ident in self.left:
            self.server.expel(ident)
            del self.server.tokens[ident]

    # -- runs ------------------------------------------------------------------------------------------

    def run(
        self, plan: Plan = PLAN, *, modes: Mapping[int, Mode] | None = None, seconds: float = 60.0
    ) -> str:
        """One run, with a login and connections of its own."""
        self.modes, self.requests = dict(modes or {}), []
        close_backends()
        with AstroApi({"ASTRO_TOKEN_API_URL": self.astro.url}) as api:
            return self.performer(api, seconds).run(self.protocol(plan))

    def performer(self, api: AstroApi, seconds: float = 60.0) -> Performer:
        deadline = Deadline(seconds)
        tokens = Tokens(api, ORGANIZATION, SecretValue(self.admin.encode()), deadline)
        return Performer(self.settings, self.planned, tokens, deadline)

    def protocol(self, plan: Plan) -> Any:
        owner = secrets.token_hex(8)
        return rotation(plan, owner, lambda: time.time() + self.later, lambda: secrets.token_hex(8))

    def finish(self, plan: Plan = PLAN, *, runs: int = 4) -> list[str]:
        """Run again, after the lease, until nothing is open."""
        outcomes = []
        for _ in range(runs):
            self.later += 31
            outcomes.append(self.run(plan))
            if self.record == RotationRecord():
                return outcomes
        raise AssertionError(f"it does not end: {outcomes}")


class Watcher:
    """
    A consumer that reads the current token and uses it, again and again.

    Attributes:
        uses: how many there were.
        failures: how many of them Astro refused.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.uses = self.failures = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        server = self._scene.server
        server.rates["GET"] = 10**6
        with closing(AstroApi({"ASTRO_TOKEN_API_URL": server.url})) as api:
            while not self._over.wait(0.1):
                value = SecretValue(str(self._scene.current).encode())
                self.uses += 1
                self.failures += api.get(f"organizations/{ORGANIZATION}", value, timeout=10).status != 200


def ident_of(value: str | None) -> str:
    return str(AstroToken.parse(SecretValue(str(value).encode())).token_id)
