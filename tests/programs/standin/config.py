"""config.yaml, of the home and of the project."""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .block_yaml import read_yaml, write_yaml
from .errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK_SECONDS = 10.0

NO_CONTEXT = "no context set, have you authenticated to Astro or APC? Run astro login and try again"
NOT_CONNECTED = "not connected, have you authenticated to Astro? Run astro login and try again"

DEFAULTS = {
    "airflow.expose_port": "false",
    "api-server.port": "8080",
    "auto_select": "false",
    "cloud.api.port": "443",
    "cloud.api.protocol": "https",
    "cloud.api.ws_protocol": "wss",
    "cosmos_boost.pre_deploy": "false",
    "deploy.git_metadata": "true",
    "dev.mode": "docker",
    "disable_astro_run": "false",
    "duplicate_volumes": "true",
    "houston.dial_timeout": "10",
    "houston.skip_verify_tls": "false",
    "interactive": "false",
    "local.core": "http://localhost:8888",
    "local.platform": "cloud",
    "local.registry": "localhost:5555",
    "machine.cpu": "2",
    "machine.memory": "4096",
    "otto.auto_update": "true",
    "page_size": "20",
    "postgres.host": "postgres",
    "postgres.password": "postgres",
    "postgres.port": "5432",
    "postgres.repository": "docker.io/postgres",
    "postgres.tag": "12.6",
    "postgres.user": "postgres",
    "proxy.port": "6563",
    "remote.base_image_registry": "images.astronomer.cloud",
    "ruff.image": "ghcr.io/astral-sh/ruff:latest",
    "sha_as_tag": "false",
    "show_warnings": "true",
    "skip_parse": "false",
    "telemetry.enabled": "true",
    "upgrade_message": "true",
    "verbosity": "warning",
    "webserver.port": "8080",
}
WITHOUT_DEFAULT = {
    "cloud.api.token",
    "container.binary",
    "context",
    "contexts",
    "dev.build_secrets",
    "local.houston",
    "project.deployment",
    "project.name",
    "project.workspace",
    "remote.client_registry",
    "telemetry.anonymous_id",
    "telemetry.notice_shown",
}


def look_up(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[last] = value


class Config:
    """The file of the home and, over it for most keys, that of the project in the working directory."""

    def __init__(self) -> None:
        home = Path(os.environ.get("ASTRO_HOME") or os.environ.get("HOME", "/")) / ".astro"
        self.file = home / "config.yaml"
        self.fresh: set[str] = set()
        self.tree: dict[str, Any] = {}
        for key, value in DEFAULTS.items():
            put(self.tree, key, value)
        if self.file.exists():
            self._merge(self.tree, read_yaml(self.file.read_text("utf-8")))
        else:
            home.mkdir(mode=0o775, parents=True, exist_ok=True)
            self.file.touch()
            self.file.chmod(0o600)
            self.save()
        here = Path.cwd() / ".astro" / "config.yaml"
        self.in_project = here.exists() and Path.cwd() != Path(os.environ.get("HOME", "/"))
        self.project = read_yaml(here.read_text("utf-8")) if here.exists() and here != self.file else {}

    def _merge(self, under: dict[str, Any], over: Mapping[str, Any]) -> None:
        for key, value in over.items():
            if isinstance(value, dict) and isinstance(under.get(key), dict):
                self._merge(under[key], value)
            else:
                under[key] = value

    def home(self, key: str) -> str:
        value = look_up(self.tree, key)
        return "" if value is None or isinstance(value, dict) else str(value)

    def get(self, key: str) -> str:
        value = look_up(self.project, key)
        return self.home(key) if value is None else str(value)

    def save(self) -> None:
        """Under a lock; a file that is there keeps its mode, whatever that is."""
        name = self.file.with_name("config.yaml.lock")
        with os.fdopen(os.open(name, os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            until = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise CommandError(f"timed out after 10s waiting for config lock {name}") from None
                    time.sleep(0.1)
            self.file.write_text(write_yaml(self.tree), "utf-8")

    def domain(self) -> str:
        domain = os.environ.get("ASTRO_DOMAIN") or self.home("context")
        if not domain:
            raise CommandError(NO_CONTEXT)
        return domain

    def context(self) -> dict[str, str]:
        domain = self.domain()
        fields = look_up(self.tree, f"contexts.{_key(domain)}")
        if fields is None:
            raise CommandError(NOT_CONNECTED)
        empty = dict.fromkeys(("token", "organization", "organization_product", "workspace"), "")
        return {**empty, "domain": domain, **{name: str(value or "") for name, value in fields.items()}}

    def create_context(self, domain: str) -> None:
        names = ("organization", "organization_product", "workspace", "last_used_workspace", "refreshtoken")
        if look_up(self.tree, f"contexts.{_key(domain)}") is None:
            fields = {"domain": domain, "token": "", "user_email": "", **dict.fromkeys(names, "")}
            put(self.tree, f"contexts.{_key(domain)}", fields)
            self.fresh.add(_key(domain))
            self.save()
        put(self.tree, "context", domain)
        self.save()

    def set_field(self, domain: str, name: str, value: str) -> None:
        # The real one cannot read back the fields of a context it has just made, and drops them here:
        # such a context ends up without `domain` and `last_used_workspace`.
        if _key(domain) in self.fresh:
            self.fresh.discard(_key(domain))
            put(self.tree, f"contexts.{_key(domain)}", {})
        put(self.tree, f"contexts.{_key(domain)}.{name}", value)
        self.save()


def _key(domain: str) -> str:
    return domain.replace(".", "_").lower()


CLOUD = re.compile(r"(https://|^)(pr\d{4,6}\.)?(cloud\.)?astronomer(-(dev|stage|perf))?\.io/?$")
PREVIEW = re.compile(r"(pr\d{4,6}).(astronomer-dev\.io)")


def is_cloud(cfg: Config) -> bool:
    """Whether the domain is one of Astro's. Any domain is, as long as no context is saved for it."""
    try:
        domain = cfg.context()["domain"]
    except CommandError:
        return True
    if CLOUD.search(domain) or PREVIEW.fullmatch(domain):
        return True
    return "localhost" in domain and cfg.get("local.platform") == "cloud"
