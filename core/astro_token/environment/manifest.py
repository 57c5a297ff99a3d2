"""
The table `[tool.astro]` of pyproject.toml, which makes a folder a project of Astro CLI 2.0.

It gives names to deployments, its links, and it can send the token to another server. It is read by the rules
of the Astro CLI: a key that it does not define is a mistake, and the tables of other tools are not read.
`[tool.astro.env]` and `[tool.astro.targets]` are left to the Astro CLI: they decide nothing about a token.
"""

from __future__ import annotations

import codecs
import os
import re
from types import MappingProxyType

from astro_token.errors import ConfigError
from astro_token.record import Record
from astro_token.system.files import open_regular
from astro_token.system.toml import parse_toml
from astro_token.token import is_identifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path
    from typing import Any

__all__ = ["MANIFEST", "ROOT", "Link", "Manifest", "find_manifest", "host_of", "read_manifest"]

MANIFEST = "pyproject.toml"
ROOT = "tool.astro"
# A file can have the table only if it contains the key, or what can spell it: escapes, and a letter that is
# an s without its case. To parse a file that cannot takes longer than all the rest of its check.
_KEY = rb"(?<![a-z0-9_-])astro(?![a-z0-9_-])"
_SPELLINGS = (b"\\u", b"\\x", "\u017f".encode())
_MAX_SEARCHED = 4 * 1024 * 1024
_PARSED_BYTES = 256 * 1024
_TEXTS = ("dockerfile", "domain", "organization", "runtime", "target", "workspace")
_TABLES = ("deployments", "env", "pools", "targets")
_LISTS = ("build-secrets", "packages")
_LINK_TEXTS = ("deployment", "environment", "target", "url", "workspace")
_POOL_KEYS = ("slots", "description", "include_deferred")
_RESERVED = "local"  # means the Airflow of this machine
_ASTRO, _ENDPOINT = "astro", "endpoint"
_PLATFORMS = (_ASTRO, "mwaa", "composer")
_METHODS: Mapping[str, tuple[str, ...]] = {
    "astro": (),
    "aws": (),
    "google": (),
    "basic": ("username-env", "password-env"),
    "token": ("token-env",),
    "airflow-token": ("client-id-env", "client-secret-env", "username-env", "password-env"),
    "exec": ("command",),
    "none": (),
}
_AUTH_KEYS = frozenset(name for names in _METHODS.values() for name in names)
_TOKEN_VARIABLE = "ASTRO_API_TOKEN"


class Link(Record):
    """
    A table `[tool.astro.deployments.NAME]`, with the defaults of `[tool.astro]`.

    Attributes:
        deployment: None for a missing one, and for one that is not a text.
        workspace: None if neither the link nor the table names one.
        platform: "astro", "mwaa", "composer", or "endpoint" for the address of an Airflow.
    """

    deployment: str | None
    workspace: str | None
    platform: str = _ASTRO

    @property
    def is_astro(self) -> bool:
        """True if `astro deploy` can deploy to it."""
        return self.platform == _ASTRO


class Manifest(Record):
    """
    Attributes:
        path: of the file.
        understood: False if the file cannot be read or parsed: the Astro CLI may read it differently.
        workspace: the default of the links.
        domain: the host that the Astro CLI uses with the token.
        links: by name.
        mistakes: keys for which the Astro CLI refuses the file, each with a reason.
        exposures: keys that give the token to another server or program, each with a reason.
    """

    path: Path
    understood: bool = True
    workspace: str | None = None
    domain: str | None = None
    links: Mapping[str, Link] = MappingProxyType({})
    mistakes: tuple[tuple[str, str], ...] = ()
    exposures: tuple[tuple[str, str], ...] = ()

    def deployment(self, name: str) -> str | None:
        """Resolve a link's name, which takes precedence over an identifier; None if it cannot be told."""
        if not self.understood:
            return None
        link = self.links.get(name)
        return (link and link.deployment) or name

    @property
    def names_workspace(self) -> bool:
        return bool(self.workspace or any(link.workspace for link in self.links.values()))


def find_manifest(folder: Path) -> Manifest | None:
    """Read the table of the nearest project: some commands of the Astro CLI search upwards for it."""
    folder = folder.absolute()
    manifests = (read_manifest(each) for each in (folder, *folder.parents))
    return next((manifest for manifest in manifests if manifest), None)


def read_manifest(folder: Path) -> Manifest | None:
    """Read the table; None if there is none. A table with mistakes counts, as for the Astro CLI."""
    path = folder / MANIFEST
    # os.path treats a path that may not be read, or has too long a name, as missing.
    if not os.path.exists(path):  # noqa: PTH110
        return None
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_SEARCHED + 1).removeprefix(codecs.BOM_UTF8)
    except OSError:
        return Manifest(path, understood=False)
    if len(data) <= _MAX_SEARCHED and not _may_have_table(data.lower()):
        return None
    try:
        content = parse_toml(path, data, limit=_PARSED_BYTES)
    except ConfigError:
        return Manifest(path, understood=False)
    # The Astro CLI compares these two names without their case, and merges tables that differ in it.
    tools = {key: tool for key, tool in content.items() if key.casefold() == "tool"}
    if not all(isinstance(tool, dict) for tool in tools.values()):
        return Manifest(path, understood=False)
    names = [(tool, key) for tool in tools for key in tools[tool] if key.casefold() == "astro"]
    if not names:
        return None
    if names != [("tool", "astro")]:
        return Manifest(path, understood=False)
    return _Reader(path, tools["tool"]["astro"]).manifest()


def _may_have_table(folded: bytes) -> bool:
    if any(spelling in folded for spelling in _SPELLINGS):
        return True
    return b"astro" in folded and re.search(_KEY, folded) is not None


def host_of(domain: str) -> str:
    """Reduce a domain as the Astro CLI does: https://cloud.astronomer.io/ means astronomer.io."""
    domain = domain.strip().lower().removeprefix("https://").removeprefix("http://")
    return domain.rstrip("/").removeprefix("cloud.")


class _Reader:
    """Reads the table, and collects its mistakes."""

    def __init__(self, path: Path, content: object) -> None:
        self._path = path
        self._mistakes: list[tuple[str, str]] = []
        self._exposures: list[tuple[str, str]] = []
        self._uses_domain = False
        self._understood = True
        self._table = self._read_table(ROOT, content)

    def manifest(self) -> Manifest:
        table = self._table
        texts = {key: self._text(f"{ROOT}.{key}", table, key) for key in _TEXTS}
        for key in table:
            if key == "airflow":
                self._complain(
                    f"{ROOT}.{key}", "is no longer read: the version is the requirement apache-airflow"
                )
            else:
                self._check_key(ROOT, key, (*_TEXTS, *_TABLES, *_LISTS))
        for key in _LISTS:
            self._list(f"{ROOT}.{key}", table, key)
        for key in ("env", "targets"):
            self._read_table(f"{ROOT}.{key}", table.get(key, {}))
        self._pools(self._read_table(f"{ROOT}.pools", table.get("pools", {})))
        if _TOKEN_VARIABLE in str(table.get("build-secrets", "")).upper():
            self._expose(f"{ROOT}.build-secrets", "gives the token to the image's build")
        links = self._links(texts)
        if texts["domain"] and not texts["workspace"] and not self._uses_domain:
            self._complain(f"{ROOT}.domain", "needs a workspace, or a link to Astro")
        if texts["organization"] and not texts["workspace"]:
            self._complain(f"{ROOT}.organization", "needs a workspace")
        return Manifest(
            self._path,
            self._understood,
            workspace=texts["workspace"],
            domain=texts["domain"],
            links=MappingProxyType(links),
            mistakes=tuple(self._mistakes),
            exposures=tuple(self._exposures),
        )

    def _links(self, texts: Mapping[str, str | None]) -> dict[str, Link]:
        key = f"{ROOT}.deployments"
        links: dict[str, Link] = {}
        defaults = 0
        for name, content in self._read_table(key, self._table.get("deployments", {})).items():
            if name in {"", _RESERVED}:
                self._complain(f"{key}.{name}", "is a name that no link can have")
                continue
            table = self._read_table(f"{key}.{_shown(name)}", content)
            links[name] = self._link(f"{key}.{_shown(name)}", table, texts)
            defaults += table.get("default") is True
        if defaults > 1:
            self._complain(key, "has more than one default link")
        return links

    def _link(self, key: str, table: dict[str, Any], defaults: Mapping[str, str | None]) -> Link:
        for name in table:
            self._check_key(key, name, (*_LINK_TEXTS, "auth", "default"))
        texts = {name: self._text(f"{key}.{name}", table, name) for name in _LINK_TEXTS}
        if not isinstance(table.get("default", False), bool):
            self._complain(f"{key}.default", "is neither true nor false")
        target = texts["target"] or defaults["target"] or _ASTRO
        if target not in _PLATFORMS:
            self._complain(f"{key}.target", f"is none of {', '.join(_PLATFORMS)}")
        platform = _ENDPOINT if texts["url"] else target
        for reason in _coordinates(texts, target, platform):
            self._complain(key, reason)
        self._auth(f"{key}.auth", table.get("auth"), platform)
        if platform != _ASTRO:
            return Link(None, None, platform)
        workspace = texts["workspace"] or defaults["workspace"]
        if not workspace:
            self._complain(key, "names no workspace, and there is no default")
        return Link(texts["deployment"], workspace)

    def _auth(self, key: str, content: object, platform: str) -> None:
        if content is None:
            if platform == _ENDPOINT:
                self._complain(key, "is missing: a link with a url needs it")
            self._uses_domain |= platform == _ASTRO
            return
        table = self._read_table(key, content)
        method = table.get("method")
        fields = _METHODS.get(method) if isinstance(method, str) else None
        if fields is None:
            self._complain(f"{key}.method", f"is none of {', '.join(_METHODS)}")
        for name in table:
            self._check_key(key, name, ("method", *(_AUTH_KEYS if fields is None else fields)))
        if method == "astro":
            self._uses_domain = True
            if platform != _ASTRO:
                self._expose(key, "sends the token to an address that is not Astro's API")
        elif method == "exec":
            self._expose(key, "names a program, which would get the token")
        names = [text for name, text in table.items() if name.endswith("-env")]
        if _TOKEN_VARIABLE in names:
            self._expose(key, "sends the token as another credential")

    def _pools(self, pools: dict[str, Any]) -> None:
        for pool, content in pools.items():
            key = f"{ROOT}.pools.{_shown(pool)}"
            for name in self._read_table(key, content):
                self._check_key(key, name, _POOL_KEYS)

    def _check_key(self, key: str, name: str, defined: Collection[str]) -> None:
        if name in defined:
            return
        self._complain(f"{key}.{_shown(name)}", "is an unknown key")
        # A release that compares keys without their case would read it.
        if name.casefold() in defined:
            self._understood = False

    def _text(self, key: str, table: dict[str, Any], name: str) -> str | None:
        value = table.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            self._complain(key, "is not a text, or empty")
        return value if isinstance(value, str) and value else None

    def _list(self, key: str, table: dict[str, Any], name: str) -> None:
        value = table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            self._complain(key, "is not a list of texts")

    def _read_table(self, key: str, value: object) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._complain(key, "is not a table")
        return {}

    def _complain(self, key: str, reason: str) -> None:
        self._mistakes.append((key, reason))

    def _expose(self, key: str, reason: str) -> None:
        self._exposures.append((key, reason))


def _coordinates(texts: Mapping[str, str | None], target: str, platform: str) -> Iterator[str]:
    """Yield the reasons for which a link does not name exactly what its kind needs."""
    if platform == _ENDPOINT:
        if target != _ASTRO or texts["deployment"] or texts["environment"]:
            yield "has a url, and a deployment, an environment or a target"
        if texts["workspace"]:
            yield "has a workspace, and is not a link to Astro"
    elif platform == _ASTRO:
        if texts["environment"]:
            yield "has an environment, and is a link to Astro"
        if not texts["deployment"]:
            yield "names no deployment"
    else:
        if texts["deployment"] or texts["workspace"]:
            yield "has a deployment or a workspace, and is not a link to Astro"
        if not texts["environment"]:
            yield "names no environment"


def _shown(key: str) -> str:
    """Return a key for a message. Any other text may hold a secret, and is not repeated."""
    return key if is_identifier(key) else "…"
