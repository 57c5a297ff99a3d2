"""Rotations of a real secret, in a file or in OpenBao, with the strict Astro API, each behind a proxy."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from contextlib import closing, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import pyrage

from astro_token.astro_api import AstroApi
from astro_token.astro_api.tokens import NewRole, NewToken, Tokens
from astro_token.errors import BackendUnavailableError
from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.perform import Performer
from astro_token.lifecycle.protocol import Plan, rotation
from astro_token.lifecycle.record import decode_record, record_ref
from astro_token.lifecycle.rotate import RotationOptions, Rotator
from astro_token.record import replace
from astro_token.secret import SecretValue
from astro_token.secrets.registry import close_backends
from astro_token.token import AstroToken
from astro_token.transport.deadline import Deadline
from tests.servers.astro_api import ORGANIZATION, WORKSPACE, Grant, role
from tests.servers.faults import FaultServer
from tests.servers.openbao import OpenBaoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from tests.servers.astro_api import AstroApi as Server
    from tests.servers.azure import AzureServer
    from tests.servers.faults import Mode
    from tests.servers.gcp import GcpServer
    from tests.servers.openbao import OpenBao

AUTHOR = NewRole("WORKSPACE_AUTHOR", "workspace", WORKSPACE)
PLANNED = NewToken("deploy", "workspace", (AUTHOR,), 90)
ADMIN = "cladmin"
PLAN = Plan("deploy", 0.0)
CREATE = replace(PLAN, keeps_previous=False)
_DOCS = Path(__file__).parents[2] / "docs" / "rotate.md"
CUTS = ("reset", "lose-answer")


class Store(Protocol):
    """A service, past the proxies."""

    def read(self, ref: SecretRef) -> str | None: ...
    def write(self, ref: SecretRef, text: str) -> None: ...
    def remove(self, ref: SecretRef) -> None: ...


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


class SecretsManager:
    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, ref: SecretRef) -> str | None:
        try:
            return str(self._client.get_secret_value(SecretId=ref.name)["SecretString"])
        except self._client.exceptions.ResourceNotFoundException:
            return None

    def described(self, ref: SecretRef) -> str:
        return str(self._client.describe_secret(SecretId=ref.name))

    def write(self, ref: SecretRef, text: str) -> None:
        self._client.create_secret(Name=ref.name, SecretString=text)

    def remove(self, ref: SecretRef) -> None:
        self._client.delete_secret(SecretId=ref.name, ForceDeleteWithoutRecovery=True)


class Parameters:
    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, ref: SecretRef) -> str | None:
        try:
            return str(self._client.get_parameter(Name=ref.name, WithDecryption=True)["Parameter"]["Value"])
        except self._client.exceptions.ParameterNotFound:
            return None

    def described(self, ref: SecretRef) -> str:
        tags = self._client.list_tags_for_resource(ResourceType="Parameter", ResourceId=ref.name)
        return f"{tags} {self._client.describe_parameters()}"

    def write(self, ref: SecretRef, text: str) -> None:
        self._client.put_parameter(Name=ref.name, Value=text, Type="SecureString")

    def remove(self, ref: SecretRef) -> None:
        self._client.delete_parameter(Name=ref.name)


class SecretManager:
    def __init__(self, server: GcpServer) -> None:
        self._server = server

    def read(self, ref: SecretRef) -> str | None:
        project, _, name = ref.name.partition("/")
        secret = self._server._secrets.get(self._server._canonical(f"projects/{project}/secrets/{name}"))
        return secret.versions[-1].data.decode() if secret and secret.versions else None

    def described(self, ref: SecretRef) -> str:
        project, _, name = ref.name.partition("/")
        secret = self._server._secrets[self._server._canonical(f"projects/{project}/secrets/{name}")]
        return str([secret.resource, *(version.resource for version in secret.versions)])

    def write(self, ref: SecretRef, text: str) -> None:
        project, _, name = ref.name.partition("/")
        self._server.put(f"projects/{project}/secrets/{name}", text.encode())

    def remove(self, ref: SecretRef) -> None:
        project, _, name = ref.name.partition("/")
        del self._server._secrets[self._server._canonical(f"projects/{project}/secrets/{name}")]


class KeyVault:
    def __init__(self, server: AzureServer) -> None:
        self._server = server

    def read(self, ref: SecretRef) -> str | None:
        versions = self._server.versions(ref.name.rpartition("/")[2])
        return str(versions[-1]["value"]) if versions else None

    def described(self, ref: SecretRef) -> str:
        versions = self._server.versions(ref.name.rpartition("/")[2])
        return str([{**version, "value": None} for version in versions])

    def write(self, ref: SecretRef, text: str) -> None:
        self._server.put(ref.name.rpartition("/")[2], text)

    def remove(self, ref: SecretRef) -> None:
        self._server.delete(ref.name.rpartition("/")[2])


class Scene:
    """
    Args:
        service: the address of a service that speaks plain HTTP.
        openbao: for keys.

    Attributes:
        settings: of the token.
        modes: of numbered requests of a run, from 1, over all services.
        later: seconds by which the clock of the runs is ahead.
        requests: `METHOD PATH` of each request of the run.
        counted: all requests to a service that is not behind a proxy.
        outages: requests before which Astro did not accept the current token.
    """

    def __init__(
        self,
        server: Server,
        settings: TokenSettings,
        store: Store,
        service: str | None,
        openbao: OpenBao | None = None,
    ) -> None:
        self.server, self.settings, self.store, self._openbao = server, settings, store, openbao
        self.admin = server.issue(ws=None, grant=Grant(manages_tokens=True), token_id=ADMIN)
        self.modes: dict[int, Mode] = {}
        self.later = 0.0
        self.planned = PLANNED
        self.requests: list[str] = []
        self.outages: list[str] = []
        self.counted: Sequence[object] = ()
        self._lock = threading.Lock()
        self.astro = self._proxy(server.url)
        self.service = self._proxy(service) if service else None

    def close(self) -> None:
        close_backends()
        self.astro.close()
        if self.service:
            self.service.close()

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
        return base64.b64decode(self._transit("decrypt", ciphertext=text)["plaintext"]).decode()

    def _transit(self, operation: str, **body: str) -> dict[str, str]:
        key = self.settings.decrypt
        assert key is not None
        assert self._openbao is not None
        data: dict[str, str] = self._openbao.api("POST", f"transit/{operation}/{key.name}", body)["data"]
        return data

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

    def begin(self, **claims: Any) -> str:
        """Store a first token."""
        ident = f"clfirst{secrets.token_hex(6)}"
        value = self.server.issue(token_id=ident, **claims)
        self.server.tokens[ident]["roles"] = [role(AUTHOR.role, AUTHOR.entity, "WORKSPACE")]
        text = value
        if self.settings.decrypt is not None:
            text = self._transit("encrypt", plaintext=base64.b64encode(value.encode()).decode())["ciphertext"]
        self.store.write(self.settings.ref, text)
        return value

    def counts(self) -> tuple[int, int]:
        """The requests of the run: to Astro, and to the service."""
        at_astro = sum("/organizations/" in line for line in self.requests)
        return at_astro, len(self.requests) - at_astro

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
            performer = self.performer(api, seconds)
            return performer.run(self.protocol(plan, performer))

    def run_beside(self, plan: Plan = PLAN, seconds: float = 60.0) -> str:
        """A run during another one, with the same proxies."""
        with AstroApi({"ASTRO_TOKEN_API_URL": self.astro.url}) as api:
            performer = self.performer(api, seconds)
            return performer.run(self.protocol(plan, performer))

    def performer(self, api: AstroApi, seconds: float = 60.0) -> Performer:
        deadline = Deadline(seconds)
        tokens = Tokens(api, ORGANIZATION, SecretValue(self.admin.encode()), deadline)
        return Performer(self.settings, self.planned, tokens, deadline)

    def protocol(self, plan: Plan, performer: Performer) -> Any:
        owner = secrets.token_hex(8)
        return rotation(plan, owner, lambda: time.time() + self.later, performer.unique)

    def command(self, options: RotationOptions) -> tuple[str, int, int]:
        """All of the command `rotate`. Return its outcome, and its requests to Astro and to the service."""
        self.modes, self.requests = {}, []
        close_backends()
        before = len(self.counted)
        admin = AstroToken.parse(SecretValue(self.admin.encode()))
        with AstroApi({"ASTRO_TOKEN_API_URL": self.astro.url}) as api:
            report = Rotator(api, admin, options).rotate(self.settings)
        at_astro, at_service = self.counts()
        return report.outcome, at_astro, at_service + len(self.counted) - before

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
        failures: how many of them Astro refused. Without a grace period, a token that was read can be revoked
            before it is used: that is no failure if another token is the current one by then.
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
                current = self._scene.current
                value = SecretValue(str(current).encode())
                self.uses += 1
                is_refused = api.get(f"organizations/{ORGANIZATION}", value, timeout=10).status != 200
                self.failures += is_refused and current == self._scene.current


def check_requests(scene: Scene, row: str, patch: pytest.MonkeyPatch) -> None:
    """Count the requests of rotations, and compare them with the table in docs/rotate.md."""
    at_once = RotationOptions(grace=timedelta(0))
    scene.begin()
    one, *one_run = scene.command(at_once)
    first, *beginning = scene.command(RotationOptions())
    patch.setattr(Tokens, "now", lambda _: time.time() + 86_401)
    second, *end = scene.command(RotationOptions(is_finishing=True))
    assert ("rotated", "rotated", "finished") == (one, first, second)
    counted = [str(count) for count in (*one_run, *map(sum, zip(beginning, end, strict=True)))]
    rows = [
        line.strip("| ").split(" | ") for line in _DOCS.read_text().partition("## Requests\n")[2].splitlines()
    ]
    documented = [each for each in rows if each[0] == row]
    assert [[row, *counted]] == documented, f"counted: {row} {counted}, documented: {documented}"


def ident_of(value: str | None) -> str:
    return str(AstroToken.parse(SecretValue(str(value).encode())).token_id)


def check_cut(scene: Scene, plan: Plan, modes: dict[int, Mode]) -> None:
    """One run with cuts, then runs until the end: nothing is lost, and nothing is left."""
    if not plan.keeps_previous:
        scene.clear()
    first = scene.current
    outcome = "unfinished"
    with suppress(BackendUnavailableError):
        outcome = scene.run(plan, modes=modes)
    if outcome != "done":
        scene.finish(plan)
    assert [] == scene.outages
    assert scene.current not in {None, first}
    assert scene.works
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)


def sweep(scene: Scene, plan: Plan, *, every: int = 1) -> int:
    """Cut each request, before and after it; or some of them."""
    scene.begin()
    scene.run(plan)
    count = len(scene.requests)
    points = [(number, mode) for number in range(1, count + 1) for mode in CUTS][::every]
    with Watcher(scene) if plan.keeps_previous else nullcontext() as watcher:
        for number, mode in points:
            check_cut(scene, plan, {number: mode})
    uses = f", {watcher.uses} uses, {watcher.failures} failed" if watcher else ""
    print(f"{count} requests, {len(points)} cuts, outages {len(scene.outages)}{uses}")
    assert watcher is None or 0 == watcher.failures < watcher.uses
    return len(points)
