"""
A strict Astro API v1: as much of it as the Astro CLI asks for, and as we do.

    with AstroApi() as api:
        token = api.issue()
        …                          # with ASTRO_DOMAIN=localhost, and local.core in config.yaml set to api.url
        assert api.lines() == ["GET /v1/organizations?limit=100&offset=0", …]

It refuses a bearer that was not issued here, was revoked or has expired (401),
another organization or workspace than the token's (403),
a parameter or body that the API does not document (400 with `fieldErrors`),
and more requests of one token in a second than it documents (429 with Retry-After).
Errors have the API's own schema, answers all fields that it requires, and each has its request id.

Known only by inference, and not to be leaned on: that unknown parameters are refused, the texts of messages,
which workspaces a token sees, which tokens may read tokens, that an expired token is turned away by a gateway
in plain text, what a 429 holds, that the request's id stands in a header too,
and that a direct-access token may not deploy.
For tokens: see `astro_tokens`.
"""

from __future__ import annotations

import contextlib
import math
import re
import secrets
import threading
import time
from collections import deque
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from astro_token.testing import make_token
from tests.servers import astro_tokens
from tests.servers.astro_requests import (
    AT,
    MADE,
    ORGANIZATION,
    Grant,
    RefusedError,
    body_of,
    chosen,
    claims_of,
    forbidden,
    invalid,
    is_expired,
    missing,
    number_of,
    one_of,
    owned_by,
    query_of,
    role,
    token_record,
    utc_now,
)
from tests.servers.faults import reset
from tests.servers.http1 import Answer, HttpServer, Reply, Request

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "DEPLOYMENT",
    "ORGANIZATION",
    "OTHER_DEPLOYMENT",
    "OTHER_WORKSPACE",
    "WORKSPACE",
    "AstroApi",
    "Grant",
    "deployment",
    "organization",
    "role",
    "token_record",
    "workspace",
]

WORKSPACE = "clworkspace000000000001"
OTHER_WORKSPACE = "clworkspace000000000002"
DEPLOYMENT = "cldeployment00000000001"
OTHER_DEPLOYMENT = "cldeployment00000000002"

_PAGE = ("limit", "offset", "sorts")
_DEPLOY_TYPES = frozenset({"DAG_ONLY", "IMAGE_AND_DAG", "IMAGE_ONLY"})
_BLOB = "application/xml"
_TOKEN_SORTS = ("name", "description", "createdAt", "updatedAt", "tokenStartAt")
# Requests of one token in a second.
_RATES = {"GET": 25, "POST": 10, "DELETE": 5}


def organization(
    org: str = ORGANIZATION, *, name: str = "Acme", product: str | None = "HOSTED"
) -> dict[str, Any]:
    flags = (
        "allowEnhancedSupportAccess",
        "hasAllowedIpAddressRanges",
        "isBlockedEnableAiFeatures",
        "isScimEnabled",
    )
    return {
        "id": org,
        "name": name,
        "product": product,
        "productPlans": [],
        "shouldEnforceDedicatedClusters": False,
        **dict.fromkeys(flags, False),
        **MADE,
    }


def workspace(ws: str = WORKSPACE, *, name: str = "Production", org: str = ORGANIZATION) -> dict[str, Any]:
    return {"id": ws, "name": name, "organizationId": org, "cicdEnforcedDefault": False, **MADE}


def deployment(
    ident: str = DEPLOYMENT,
    *,
    name: str = "etl",
    ws: str = WORKSPACE,
    org: str = ORGANIZATION,
    cicd: bool = False,
    dag_deploy: bool = True,
) -> dict[str, Any]:
    return {
        "id": ident,
        "name": name,
        "workspaceId": ws,
        "workspaceName": "Production",
        "organizationId": org,
        "executor": "CELERY",
        "namespace": f"{name}-1234",
        "type": "STANDARD",
        "status": "HEALTHY",
        "cloudProvider": "AWS",
        "region": "us-east-1",
        "airflowVersion": "3.1.0",
        "astroRuntimeVersion": "3.1-1",
        "runtimeVersion": "3.1-1",
        "isCicdEnforced": cicd,
        "isDagDeployEnabled": dag_deploy,
        "imageRepository": f"images.astronomer.cloud/{ident}",
        "imageTag": "",
        "apiUrl": "",
        "uiUrl": "",
        "webServerUrl": f"{ident}.astronomer.run",
        "webServerAirflowApiUrl": "",
        "webServerIngressHostname": "",
        "webServerCpu": "1",
        "webServerMemory": "2Gi",
        "schedulerCpu": "1",
        "schedulerMemory": "2Gi",
        "schedulerReplicas": 1,
        "schedulerSize": "SMALL",
        "defaultTaskPodCpu": "0.25",
        "defaultTaskPodMemory": "0.5Gi",
        "resourceQuotaCpu": "10",
        "resourceQuotaMemory": "20Gi",
        **MADE,
    }


class AstroApi(HttpServer):
    """
    Args:
        page: the most that is served at once, whatever was asked for.
        tls: speaks TLS with this certificate.

    Attributes:
        url: without the version.
        organizations: as `organization` makes them; one at first.
        workspaces: as `workspace` makes them; two at first.
        deployments: as `deployment` makes them; one in each workspace at first.
        tokens: as `token_record` makes them, by id; of each that was issued, one of the scope of its claims.
        requests: what came in, in order, refused or not.
        request_ids: of what was answered, in order.
        faults: taken one by each request, in place of the true answer; None leaves that.
        rates: how many requests of one token are answered in a window, by method.
        window: its length in seconds; tests that take long change it.
        ahead: seconds that its clock is before the true one.
        propagation: seconds until a created token is accepted, and until a deleted one no longer is.
        custom_roles: names of roles that fit every scope.
        blocked: whether every caller is at an address that the organization does not allow.
        deploys: by id.
        uploads: by the deploy's id, the version and the bundle.
    """

    def __init__(self, *, page: int = 1000, tls: ssl.SSLContext | None = None) -> None:
        self.organizations = [organization()]
        self.workspaces = [workspace(), workspace(OTHER_WORKSPACE, name="Development")]
        self.deployments = [deployment(), deployment(OTHER_DEPLOYMENT, name="reports", ws=OTHER_WORKSPACE)]
        self.tokens: dict[str, dict[str, Any]] = {}
        self.request_ids: list[str] = []
        self.rates = dict(_RATES)
        self.window = 1.0
        self.ahead = 0.0
        self.blocked = False
        self.deploys: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.propagation = 0.0
        self.custom_roles: set[str] = set()
        self._grants: dict[str, Grant] = {}
        self._valid: dict[str, tuple[float, float]] = {}
        self._values: dict[str, list[str]] = {}
        self._uses: dict[str, str] = {}
        self._times: dict[tuple[str, str], deque[float]] = {}
        self._page = page
        self._lock = threading.Lock()
        super().__init__(self._route, tls=tls)

    # -- for tests ---------------------------------------------------------------------------

    def issue(
        self,
        *,
        org: str = ORGANIZATION,
        ws: str | None = WORKSPACE,
        expires_in: float | None = 3600,
        grant: Grant | None = None,
        kind: str | None = "STANDARD",
        **claims: Any,
    ) -> str:
        """
        A new token of one workspace; with `ws=None`, of the whole organization.

        Args:
            grant: for what it really is; None for what it says.
            kind: `STANDARD`, or `DIRECT_ACCESS`, which may not deploy.
            claims: as of `make_token`.
        """
        token = make_token(organization=org, workspace=ws, expires_in=expires_in, **claims)
        said = Grant(org, None if ws is None else frozenset({ws}))
        return self.accept(token, grant or said, kind)

    def accept(self, token: str, grant: Grant | None = None, kind: str | None = "STANDARD") -> str:
        self._grants[token] = grant or Grant()
        claims = claims_of(token)
        if ident := claims.get("apiTokenId"):
            self._values.setdefault(ident, []).append(token)
            kinds = {entry.partition(":")[0] for entry in claims["permissions"]}
            scope = next((k for k in ("deployment", "workspace") if f"{k}Id" in kinds), "organization")
            self.tokens.setdefault(ident, token_record(ident, scope.upper(), kind=kind))
        return token

    def revoke(self, token: str) -> None:
        """Without a grace period, as by a rotation."""
        del self._grants[token]

    def lose_answer(self, connection: socket.socket, request: Request) -> bool:
        """A fault: do the request, and lose its answer in a reset."""
        with self._lock, contextlib.suppress(RefusedError):
            self._route(request)
        return reset(connection)

    def values(self, ident: str) -> list[str]:
        """The values of a token that are or will be accepted."""
        now = time.monotonic()
        values = self._values.get(ident, [])
        return [value for value in values if value in self._grants and now < self._validity(value)[1]]

    # -- for `astro_tokens` ------------------------------------------------------------------

    def shown(self, ident: str) -> dict[str, Any]:
        """The record of a token, with the time of its last use. A test may set another one."""
        use = self._uses.get(ident)
        return {**({"lastUsedAt": use} if use else {}), **self.tokens[ident]}

    def admit(self, value: str, grant: Grant) -> str:
        """Accept a created value after its propagation."""
        self._valid[value] = (time.monotonic() + self.propagation, math.inf)
        return self.accept(value, grant)

    def expel(self, ident: str, *, delay: float = 0.0) -> None:
        """Refuse the values of a token after a delay."""
        for value in self.values(ident):
            self._valid[value] = (self._validity(value)[0], time.monotonic() + delay)

    def _validity(self, value: str) -> tuple[float, float]:
        return self._valid.get(value, (-math.inf, math.inf))

    # -- the service -------------------------------------------------------------------------

    def reply(self, request: Request) -> Reply:
        request_id = secrets.token_hex(16)
        with self._lock:
            self.request_ids.append(request_id)
            try:
                reply = super().reply(request)
            except RefusedError as refused:
                reply = refused.answer(request_id)
            date = formatdate(time.time() + self.ahead, usegmt=True)
        if not isinstance(reply, Answer):
            return reply
        return replace(reply, headers={"Date": date, "X-Request-Id": request_id, **reply.headers})

    def _route(self, request: Request) -> Answer:
        if match := re.fullmatch(r"/upload/([^/]+)", request.path):
            return self._upload(request, match[1])
        token = request.bearer
        begin, end = self._validity(token)
        if token not in self._grants or not begin <= time.monotonic() < end:
            raise RefusedError(401, "Unauthorized")
        if is_expired(token):
            return Answer(401, b"Jwt is expired", content_type="text/plain")
        if self.blocked:
            raise RefusedError(403, "Your IP address is not in the list of allowed ones")
        self._count(token, request)
        self._uses[claims_of(token).get("apiTokenId", "")] = utc_now(self.ahead)
        grant = self._grants[token]
        for method, pattern, call in _ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match and method == request.method:
                org, *names = match.groups() or (grant.organization,)
                if org != grant.organization:
                    raise forbidden()
                return call(self, request, grant, *names)
        raise RefusedError(404, "Not found")

    def _count(self, token: str, request: Request) -> None:
        most = self.rates.get(request.method, 1000)
        times = self._times.setdefault((token, request.method), deque())
        while times and times[0] <= request.time - self.window:
            times.popleft()
        if len(times) >= most:
            raise RefusedError(429, "Too many requests")
        times.append(request.time)

    def _get_organization(self, request: Request, grant: Grant) -> Answer:
        query_of(request, "isLookUpOnly")
        return Answer.json(one_of(self.organizations, grant.organization, "Organization"))

    def _list_tokens(self, request: Request, grant: Grant) -> Answer:
        query = query_of(request, *_PAGE, *_TOKEN_FILTERS)
        if not (grant.reads_tokens or grant.manages_tokens):
            raise forbidden()
        return self._paged("tokens", astro_tokens.listed(self, query, grant), query, _TOKEN_SORTS)

    def _get_token(self, request: Request, grant: Grant, ident: str) -> Answer:
        query_of(request)
        if not (grant.reads_tokens or grant.manages_tokens):
            raise forbidden()
        if ident not in self.tokens:
            raise missing("API token")
        return Answer.json(self.shown(ident))

    def _get_workspace(self, request: Request, grant: Grant, ident: str) -> Answer:
        query_of(request)
        item = one_of(owned_by(self.workspaces, grant), ident, "Workspace")
        if not grant.covers(ident):
            raise forbidden()
        return Answer.json(item)

    def _list_organizations(self, request: Request, grant: Grant) -> Answer:
        query = query_of(request, *_PAGE, "product", "productPlan", "astronomerProduct")
        if not grant.lists_organizations:
            raise forbidden()
        mine = [item for item in self.organizations if item["id"] == grant.organization]
        return self._paged("organizations", mine, query)

    def _list_workspaces(self, request: Request, grant: Grant) -> Answer:
        query = query_of(request, *_PAGE, "workspaceIds", "names")
        mine = [item for item in owned_by(self.workspaces, grant) if grant.covers(item["id"])]
        return self._paged("workspaces", chosen(mine, query, id="workspaceIds", name="names"), query)

    def _list_deployments(self, request: Request, grant: Grant) -> Answer:
        query = query_of(request, *_PAGE, "workspaceIds", "deploymentIds", "names")
        mine = [item for item in owned_by(self.deployments, grant) if grant.reaches(item)]
        mine = chosen(mine, query, workspaceId="workspaceIds", id="deploymentIds", name="names")
        return self._paged("deployments", mine, query)

    def _list_environment_objects(self, request: Request, _grant: Grant) -> Answer:
        """There are none: `astro dev start` asks for them, and only with which token is of interest."""
        scope = ("workspaceId", "deploymentId", "objectType", "objectKey", "showSecrets", "resolveLinked")
        return self._paged("environmentObjects", [], query_of(request, *_PAGE, *scope))

    def _get_deployment(self, request: Request, grant: Grant, ident: str) -> Answer:
        query_of(request)
        return Answer.json(self._deployment(grant, ident))

    def _create_deploy(self, request: Request, grant: Grant, ident: str) -> Answer:
        item = self._deployment(grant, ident)
        record = self.tokens.get(claims_of(str(request.bearer)).get("apiTokenId", ""))
        if record and record["kind"] == "DIRECT_ACCESS":
            raise forbidden()
        body = body_of(request, "type", may=("description", "git", "bundleMountPath", "bundleType"))
        if body["type"] not in _DEPLOY_TYPES:
            raise invalid(type="is none of the types")
        name = f"cl{secrets.token_hex(11)}"
        self.deploys[name] = {
            "id": name,
            "deploymentId": ident,
            "type": body["type"],
            "status": "INITIALIZED",
            "description": body.get("description", ""),
            "imageRepository": item["imageRepository"],
            "imageTag": "",
            "isDagDeployEnabled": item["isDagDeployEnabled"],
            "dagsUploadUrl": f"{self.url}/upload/{name}?sig=made-up",
            "createdAt": AT,
        }
        return Answer.json(self.deploys[name])

    def _upload(self, request: Request, name: str) -> Answer:
        """The blob store, which is no part of the API: whoever knows the address may write."""
        if name not in self.deploys or request.method != "PUT":
            return Answer(404, b"", content_type=_BLOB)
        if request.headers.get("x-ms-blob-type") != "BlockBlob" or "authorization" in request.headers:
            return Answer(400, b"", content_type=_BLOB)
        version = f"2026-01-02T03:04:05.{len(self.uploads):07d}Z"
        self.uploads[name] = (version, request.body)
        return Answer(201, b"", {"x-ms-version-id": version}, _BLOB)

    def _finalize_deploy(self, request: Request, grant: Grant, ident: str, name: str) -> Answer:
        self._deployment(grant, ident)
        if name not in self.deploys or self.deploys[name]["deploymentId"] != ident:
            raise missing("Deploy")
        body = body_of(request, may=("dagTarballVersion", "bundleTarballVersion"))
        if body.get("dagTarballVersion") != self.uploads.get(name, (None,))[0]:
            raise invalid(dagTarballVersion="is not what was uploaded")
        self.deploys[name] |= {"status": "DEPLOYED", **body}
        return Answer.json(self.deploys[name])

    def _deployment(self, grant: Grant, ident: str) -> dict[str, Any]:
        item = one_of(owned_by(self.deployments, grant), ident, "Deployment")
        if not grant.reaches(item):
            raise forbidden()
        return item

    def _paged(
        self,
        what: str,
        items: list[dict[str, Any]],
        query: Mapping[str, list[str]],
        sorts: Iterable[str] = ("name", "createdAt", "updatedAt"),
    ) -> Answer:
        # The first of several keys decides, so it is sorted by last.
        for key in reversed(query.get("sorts", [])):
            name, _, way = key.partition(":")
            if name not in sorts or way not in {"asc", "desc"}:
                raise invalid(sorts="is none of the orders")
            field = "startAt" if name == "tokenStartAt" else name
            items = sorted(items, key=lambda item: str(item[field]), reverse=way == "desc")
        limit, offset = number_of(query, "limit", 20, 1000), number_of(query, "offset", 0, 10**9)
        page = items[offset : offset + min(limit, self._page)]
        return Answer.json({what: page, "limit": limit, "offset": offset, "totalCount": len(items)})


_TOKEN_FILTERS = ("workspaceId", "deploymentId", "dagId", "dagTags", "includeOnlyOrganizationTokens", "kind")
_ORG = r"/v1/organizations/([^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/v1/organizations", AstroApi._list_organizations),
    ("GET", _ORG, AstroApi._get_organization),
    ("GET", f"{_ORG}/tokens", AstroApi._list_tokens),
    ("GET", f"{_ORG}/tokens/([^/]+)", AstroApi._get_token),
    ("POST", f"{_ORG}/tokens", astro_tokens.create),
    ("POST", f"{_ORG}/tokens/([^/]+)/roles", astro_tokens.set_roles),
    ("POST", f"{_ORG}/tokens/([^/]+)/rotate", astro_tokens.rotate),
    ("DELETE", f"{_ORG}/tokens/([^/]+)", astro_tokens.delete),
    ("GET", f"{_ORG}/workspaces", AstroApi._list_workspaces),
    ("GET", f"{_ORG}/workspaces/([^/]+)", AstroApi._get_workspace),
    ("GET", f"{_ORG}/environment-objects", AstroApi._list_environment_objects),
    ("GET", f"{_ORG}/deployments", AstroApi._list_deployments),
    ("GET", f"{_ORG}/deployments/([^/]+)", AstroApi._get_deployment),
    ("POST", f"{_ORG}/deployments/([^/]+)/deploys", AstroApi._create_deploy),
    ("POST", f"{_ORG}/deployments/([^/]+)/deploys/([^/]+)/finalize", AstroApi._finalize_deploy),
)


def main() -> None:
    from tests.servers import by_hand

    with AstroApi() as api:
        exports = {
            "ASTRO_DOMAIN": "localhost",
            "ASTRO_API_TOKEN": api.issue(),
            "ASTRO_ADMIN_TOKEN": api.issue(ws=None, grant=Grant(manages_tokens=True)),
            "ASTRO_TOKEN_ADMIN_REF": "env:ASTRO_ADMIN_TOKEN",
            "ASTRO_TOKEN_API_URL": api.url,
        }
        note = f"the Astro CLI finds it after: astro config set -g local.core {api.url}"
        by_hand.serve(f"the Astro API, with the deployment {DEPLOYMENT}", exports, note)


if __name__ == "__main__":
    main()
