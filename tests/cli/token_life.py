"""A token in a backend, known to the strict Astro API, and the commands that manage it."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pyrage

from astro_token.testing import make_token
from astro_token.token import decode_part
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, WORKSPACE, Grant, role
from tests.servers.faults import reset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Program, Result
    from tests.servers.astro_api import AstroApi
    from tests.servers.http1 import Misbehaviour, Reply, Request
    from tests.servers.openbao import OpenBao

ADMIN = Grant(manages_tokens=True)


def after_requests(api: AstroApi, method: str, act: Callable[[], Misbehaviour | None]) -> None:
    """Do something after each request of a method, before its response. It may return a fault instead."""
    reply = api.reply

    def changed(request: Request) -> Reply:
        response = reply(request)
        return (act() if request.method == method else None) or response

    api.reply = changed  # type: ignore[method-assign]


def lose_first(api: AstroApi, method: str) -> None:
    """Lose the response to the first request of a method, after it was done."""
    faults = [lambda connection, _: reset(connection)]
    after_requests(api, method, lambda: faults.pop() if faults else None)


def errors_of(result: Result) -> list[str]:
    """The lines on standard error, without the name of the program."""
    return [line.removeprefix("astro-token: ") for line in result.stderr.splitlines()]


def says(result: Result, code: int, message: str, hint: str = "") -> bool:
    """True if the only error has this message and this hint, and nothing is on standard output."""
    lines = errors_of(result)
    assert (code, 2) == (result.code, len(lines)), result.stderr
    assert f"{message}" in lines[0], lines
    assert f"hint: {hint}" in lines[1]
    return True


def id_of(value: str) -> str:
    claims = decode_part(value.split(".")[1].encode())
    assert claims
    return str(claims["apiTokenId"])


class FileStore:
    """Encrypted files; the record is a sidecar."""

    scheme = "file"

    def __init__(self, program: Program, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.key = pyrage.x25519.Identity.generate()
        program.environ["ASTRO_TOKEN_AGE_KEY"] = str(self.key)
        program.environ["ASTRO_TOKEN_FILE_FOLDERS"] = str(folder)
        program.canaries.append(str(self.key))

    def ref(self, name: str) -> str:
        return f"file:{self.folder}/{name}.age"

    def write(self, name: str, text: str) -> None:
        data = pyrage.encrypt(text.encode(), [self.key.to_public()])
        path = self.folder / f"{name}.age"
        path.write_bytes(data)
        path.chmod(0o600)

    def read(self, name: str) -> str | None:
        return self._read(self.folder / f"{name}.age")

    def record(self, name: str) -> str | None:
        return self._read(self.folder / f"{name}.age.rotation")

    def write_record(self, name: str, text: str) -> None:
        path = self.folder / f"{name}.age.rotation"
        path.write_bytes(pyrage.encrypt(text.encode(), [self.key.to_public()]))
        path.chmod(0o600)

    def _read(self, path: Path) -> str | None:
        return pyrage.decrypt(path.read_bytes(), [self.key]).decode() if path.exists() else None


class VaultStore:
    """KV 2 of OpenBao, with another field next to the token."""

    scheme = "vault"

    def __init__(self, program: Program, openbao: OpenBao) -> None:
        self.openbao = openbao
        self.base = f"astro/{secrets.token_hex(8)}"
        program.environ |= {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token}
        program.canaries.append(openbao.root_token)

    def ref(self, name: str) -> str:
        return f"vault:secret/{self.base}/{name}#token"

    def write(self, name: str, text: str) -> None:
        self._write(name, {"token": text, "owner": "team"})

    def read(self, name: str) -> str | None:
        data = self._read(name)
        assert not data or data.get("owner", "team") == "team"
        return data.get("token") if data else None

    def record(self, name: str) -> str | None:
        data = self._read(f"{name}-rotation")
        return json.dumps(data) if data is not None else None

    def write_record(self, name: str, text: str) -> None:
        self._write(f"{name}-rotation", json.loads(text))

    def metadata(self, name: str) -> str:
        """Everything that is stored beside the fields."""
        return json.dumps(self.openbao.api("GET", f"secret/metadata/{self.base}/{name}")["data"])

    def _write(self, name: str, data: dict[str, Any]) -> None:
        self.openbao.api("POST", f"secret/data/{self.base}/{name}", {"data": data})

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = self.openbao.api("GET", f"secret/data/{self.base}/{name}")
        except Exception:
            return None
        data: dict[str, Any] | None = answer["data"]["data"]
        return data


class TokenLife:
    """
    Attributes:
        admin: the value of the admin's credential, in the variable `MANAGES`.
    """

    def __init__(self, program: Program, api: AstroApi, store: FileStore | VaultStore) -> None:
        self.program, self.api, self.store = program, api, store
        self.admin = api.issue(ws=None, grant=ADMIN)
        program.environ |= {
            "ASTRO_TOKEN_API_URL": api.url,
            "ASTRO_TOKEN_ADMIN_REF": "env:MANAGES",
            "MANAGES": self.admin,
        }
        program.canaries.append(self.admin)

    @property
    def ref(self) -> str:
        return self.store.ref("prod")

    def issue(self, name: str = "prod", *roles: dict[str, str], title: str = "deploy", **options: Any) -> str:
        """Create a token of the deployment at Astro, and store it. Return its value."""
        value = make_token(organization=ORGANIZATION, workspace=WORKSPACE, deployment=DEPLOYMENT, **options)
        own = Grant(workspaces=frozenset({WORKSPACE}), deployments=frozenset({DEPLOYMENT}))
        self.api.accept(value, own)
        self.record_of(value)["name"] = title
        self.record_of(value)["roles"] = list(roles or [role("DEPLOYMENT_ADMIN", DEPLOYMENT, "DEPLOYMENT")])
        self.program.canaries.append(value)
        self.store.write(name, value)
        return value

    def record_of(self, value: str) -> dict[str, Any]:
        """The token as Astro keeps it."""
        record: dict[str, Any] = self.api.tokens[id_of(value)]
        return record

    def project(self, **entries: str) -> None:
        """Write a project file with the token `prod`."""
        lines = [f'{name} = "{value}"' for name, value in {"ref": self.ref, **entries}.items()]
        path = self.program.work / "astro-token.toml"
        path.write_text("\n".join(["[tokens.prod]", *lines, ""]))
        path.chmod(0o600)

    def __call__(self, *arguments: str, **options: Any) -> Result:
        """Run the program, and search its output and its folders for every value that Astro has issued."""
        result = self.program(*arguments, **options)
        self.learn_values()
        assert self.program.leaks(result) == []
        return result

    def learn_values(self) -> None:
        values = [value for ident in self.api.tokens for value in self.api.values(ident)]
        self.program.canaries += [value for value in values if value not in self.program.canaries]

    def current(self, name: str = "prod") -> str:
        """The value that consumers read."""
        value = self.store.read(name)
        assert value is not None
        return value

    def rotation(self, name: str = "prod") -> dict[str, Any]:
        """The rotation record; empty between rotations."""
        text = self.store.record(name)
        content: dict[str, Any] = json.loads(text) if text else {}
        content.pop("format", None)
        return content

    def works(self, value: str) -> bool:
        return value in self.api.values(id_of(value))

    @property
    def others(self) -> set[str]:
        """The ids of all tokens at Astro but the admin's."""
        return self.api.tokens.keys() - {id_of(self.admin)}
