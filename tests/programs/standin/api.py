"""The Astro API as the CLI calls it."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from . import VERSION
from .config import PREVIEW, Config
from .errors import NIL, CommandError, PanicError

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGES = 100


def base_url(cfg: Config, domain: str) -> str:
    if domain == "localhost":
        return f"{cfg.get('local.core')}/v1"
    if stand_in := os.environ.get("STANDIN_API_URL"):
        return f"{stand_in}/v1"
    if "cloud" in domain:
        domain = domain.replace("cloud.", "", 1).replace("https://", "", 1).rstrip("/")
    preview = PREVIEW.fullmatch(domain)
    host = f"{preview[1]}.api.{preview[2]}" if preview else f"api.{domain}"
    return f"{cfg.get('cloud.api.protocol')}://{host}/v1"


def client_headers(token: str) -> dict[str, str]:
    identifier, version = "cli", VERSION
    if os.environ.get("GITHUB_ACTIONS") == "true":
        identifier = "github-action"
        if os.environ.get("DEPLOY_ACTION") == "true":
            identifier, version = "deploy-action", os.environ.get("DEPLOY_ACTION_VERSION", "")
    return {
        "User-Agent": f"astro-cli/{VERSION}",
        "authorization": token,
        "x-astro-client-identifier": identifier,
        "x-astro-client-version": version,
        "x-client-os-identifier": "linux-amd64",
    }


def exchange(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    import http.client  # as slow as all of `astro version`
    from urllib.parse import urlsplit

    what = f'{method.capitalize()} "{url}"'
    for name, value in headers.items():
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise CommandError(f'{what}: net/http: invalid header field value for "{name.title()}"')
    where = urlsplit(url)
    host = where.hostname or ""
    if where.scheme != "http" or not (host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d+){3}", host)):
        raise CommandError(f"{what}: dial tcp: lookup {host}: no such host")
    line = http.client.HTTPConnection(host, where.port or 80, timeout=30)
    try:
        target = f"{where.path}?{where.query}" if where.query else where.path
        line.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name, value.strip(" \t").encode("utf-8", "surrogateescape"))
        if body is not None:
            line.putheader("Content-Length", str(len(body)))
        line.endheaders(body)
        answer = line.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    except OSError:
        failed = CommandError(f"{what}: dial tcp {host}:{where.port}: connect: connection refused")
    finally:
        line.close()
    raise failed


class Api:
    """Each call takes the token and the address from the context as it is then."""

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg

    def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None
    ) -> dict[str, Any]:
        context = self.cfg.context()
        url = base_url(self.cfg, context["domain"]) + path
        if query:
            from urllib.parse import urlencode

            url += "?" + urlencode(sorted(query.items()))
        headers = client_headers(context["token"])
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        status, answer, text = exchange(method, url, headers, data)
        is_json = "json" in answer.get("content-type", "")
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if content is None and is_json and status in {200, 400, 401, 403, 500}:
            raise CommandError("invalid character")  # the real one shows all that Go's parser says
        if status not in {200, 204}:
            message = content.get("message", "") if isinstance(content, dict) else None
            raise CommandError(
                f"failed to perform request, status {status}" if message is None else str(message),
                answered=status,
            )
        if status == 204 or not is_json:
            raise PanicError(NIL)
        return dict(content)

    def collect(self, what: str, path: str, limit: int, **query: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for _ in range(PAGES):
            page = self.call("GET", path, {"limit": str(limit), "offset": str(len(items)), **query})
            items += page[what]
            if not page[what] or len(items) >= page["totalCount"]:
                return items
        raise CommandError(f"aborted listing {what} after {PAGES} pages")

    def organizations(self) -> list[dict[str, Any]]:
        return self.collect("organizations", "/organizations", 100)

    def workspaces(self) -> list[dict[str, Any]]:
        org = self.cfg.context()["organization"]
        return self.collect("workspaces", f"/organizations/{org}/workspaces", 1000, sorts="name:asc")

    def deployments(self, ws: str) -> list[dict[str, Any]]:
        org = self.cfg.context()["organization"]
        query = {"workspaceIds": ws} if ws else {}
        return self.collect("deployments", f"/organizations/{org}/deployments", 1000, **query)

    def deployment(self, ident: str) -> dict[str, Any]:
        return self.call("GET", f"/organizations/{self.cfg.context()['organization']}/deployments/{ident}")
