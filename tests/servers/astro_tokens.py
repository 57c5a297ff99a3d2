"""
The part of the strict Astro API that manages tokens.

A token is created with one role; another request sets all of them, and answers with the subject's roles.
Rotating makes the value before invalid at once. Creating and rotating have no key against repetition.
The value is in the answers of these two requests only.

Known only by inference, and not to be leaned on: that a token cannot hold a role of a wider scope,
the answer to an unknown role, that an owner of a workspace lists its tokens with a filter only,
and that an administrator of a deployment manages its tokens.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from astro_token.testing import make_token
from tests.servers.astro_requests import (
    Grant,
    body_of,
    forbidden,
    invalid,
    missing,
    one_of,
    query_of,
    role,
    token_record,
    utc_now,
)
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.astro_api import AstroApi
    from tests.servers.http1 import Request

_ROLES = {
    "ORGANIZATION": ("MEMBER", "BILLING_ADMIN", "OWNER", "OBSERVE_ADMIN", "OBSERVE_MEMBER"),
    "WORKSPACE": ("ACCESSOR", "MEMBER", "AUTHOR", "OPERATOR", "OWNER"),
    "DEPLOYMENT": ("ADMIN", "ACCESSOR"),
    "DAG": ("VIEWER", "AUTHOR"),
    "DAG_TAG": ("VIEWER", "AUTHOR"),
}
_SCOPES = ("ORGANIZATION", "WORKSPACE", "DEPLOYMENT")
_MANAGERS = frozenset({"ORGANIZATION_OWNER", "WORKSPACE_OWNER", "DEPLOYMENT_ADMIN"})
_KINDS = frozenset({"STANDARD", "DIRECT_ACCESS"})
_MOST_DAYS, _DAY = 3650, 86400
_LONGEST_NAME = 255


def listed(api: AstroApi, query: Mapping[str, list[str]], grant: Grant) -> list[dict[str, Any]]:
    """The tokens that the filters choose, with the time of their last use."""
    records = [api.shown(ident) for ident in api.tokens]
    entities = [query[name][0] for name in ("workspaceId", "deploymentId") if name in query]
    if not entities and (grant.workspaces is not None or grant.deployments is not None):
        raise forbidden()
    for entity in entities:
        if not _covers(api, grant, entity):
            raise forbidden()
        records = [record for record in records if entity in {each["entityId"] for each in record["roles"]}]
    if query.get("includeOnlyOrganizationTokens") == ["true"]:
        records = [record for record in records if record["scope"] == "ORGANIZATION"]
    return [record for record in records if record["kind"] in query.get("kind", [record["kind"]])]


def create(api: AstroApi, request: Request, grant: Grant) -> Answer:
    may = ("entityId", "description", "kind", "tokenExpiryPeriodInDays")
    body = body_of(request, "name", "role", "scope", may=may)
    name, scope, days = body["name"], body["scope"], body.get("tokenExpiryPeriodInDays")
    kind = body.get("kind", "STANDARD")
    if scope not in _SCOPES:
        raise invalid(scope="is none of the scopes")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise invalid(name="is not a name")
    if kind not in _KINDS:
        raise invalid(kind="is none of the kinds")
    if days is not None and not (type(days) is int and 1 <= days <= _MOST_DAYS):
        raise invalid(tokenExpiryPeriodInDays="is not between 1 and 3650")
    entity = body.get("entityId", grant.organization if scope == "ORGANIZATION" else None)
    if not isinstance(entity, str):
        raise invalid(entityId="is required")
    if scope != "ORGANIZATION":
        one_of(api.workspaces if scope == "WORKSPACE" else api.deployments, entity, scope.title())
    elif entity != grant.organization:
        raise invalid(entityId="is not the organization")
    if not grant.manages_tokens or not _covers(api, grant, entity):
        raise forbidden()
    _check_role(api, scope, body["role"])
    period = {} if days is None else {"endAt": utc_now(days * _DAY), "expiryPeriodInDays": days}
    record = token_record(
        f"cl{secrets.token_hex(11)}",
        scope,
        role(body["role"], entity, scope),
        name=name,
        description=body.get("description", ""),
        kind=kind,
        startAt=utc_now(),
        createdAt=utc_now(),
        updatedAt=utc_now(),
        **period,
    )
    api.tokens[record["id"]] = record
    return _with_value(api, record)


def set_roles(api: AstroApi, request: Request, grant: Grant, ident: str) -> Answer:
    record = _managed(api, grant, ident)
    roles = body_of(request, "roles")["roles"]
    if not isinstance(roles, list) or not roles:
        raise invalid(roles="is required")
    for each in roles:
        is_of_dag = isinstance(each, dict) and str(each.get("entityType")).startswith("DAG")
        fields = {"role", "entityId", "entityType"} | ({"deploymentId"} if is_of_dag else set())
        if not isinstance(each, dict) or {*each} != fields or each["entityType"] not in _ROLES:
            raise invalid(roles="is not the documented object")
        _check_role(api, each["entityType"], each["role"])
        if not is_of_dag and not _covers(api, grant, each["entityId"]):
            raise forbidden()
    kinds = [each["entityType"] for each in roles]
    wider = _SCOPES[: _SCOPES.index(record["scope"])]
    if kinds.count(record["scope"]) != 1 or not {*wider}.isdisjoint(kinds):
        raise invalid(roles="do not fit the scope")
    record["roles"], record["updatedAt"] = roles, utc_now()
    # The subject's roles, and not the token.
    lists: dict[str, list[dict[str, str]]] = {"workspaceRoles": [], "deploymentRoles": []}
    for each in roles:
        if (name := f"{each['entityType'].lower()}Roles") in lists:
            entity = f"{each['entityType'].lower()}Id"
            lists[name].append({"role": each["role"], entity: each["entityId"]})
    return Answer.json(lists)


def rotate(api: AstroApi, request: Request, grant: Grant, ident: str) -> Answer:
    record = _managed(api, grant, ident)
    query_of(request)
    if request.body:
        raise invalid(body="is not allowed")
    api.expel(ident)
    record["lastRotatedAt"] = record["updatedAt"] = utc_now()
    return _with_value(api, record)


def delete(api: AstroApi, request: Request, grant: Grant, ident: str) -> Answer:
    _managed(api, grant, ident)
    query_of(request)
    api.expel(ident, delay=api.propagation)
    del api.tokens[ident]
    return Answer(204, b"")


def _with_value(api: AstroApi, record: dict[str, Any]) -> Answer:
    """The record with a new value, which grants the role of the token's scope."""
    own = next(each for each in record["roles"] if each["entityType"] == record["scope"])
    days, organization = record.get("expiryPeriodInDays"), str(api.organizations[0]["id"])
    workspace = deployment = None
    if record["scope"] == "WORKSPACE":
        workspace = own["entityId"]
    if record["scope"] == "DEPLOYMENT":
        deployment = own["entityId"]
        workspace = one_of(api.deployments, deployment, "Deployment")["workspaceId"]
    value = make_token(
        organization=organization,
        workspace=workspace,
        deployment=deployment,
        expires_in=None if days is None else days * _DAY,
        token_id=record["id"],
    )
    grant = Grant(
        organization,
        None if workspace is None else frozenset({workspace}),
        None if deployment is None else frozenset({deployment}),
        manages_tokens=own["role"] in _MANAGERS,
    )
    return Answer.json({**api.shown(record["id"]), "token": api.admit(value, grant)})


def _managed(api: AstroApi, grant: Grant, ident: str) -> dict[str, Any]:
    if not grant.manages_tokens:
        raise forbidden()
    if ident not in api.tokens:
        raise missing("API token")
    record = api.tokens[ident]
    own = [each["entityId"] for each in record["roles"] if each["entityType"] == record["scope"]]
    if not all(_covers(api, grant, entity) for entity in own or [grant.organization]):
        raise forbidden()
    return record


def _covers(api: AstroApi, grant: Grant, entity: str) -> bool:
    """True if a grant extends to an organization, a workspace or a deployment."""
    for item in api.deployments:
        if item["id"] == entity:
            return grant.reaches(item)
    if grant.deployments is not None:
        return False
    return grant.workspaces is None if entity == grant.organization else grant.covers(entity)


def _check_role(api: AstroApi, kind: str, name: object) -> None:
    known = {*(f"{kind.removesuffix('_TAG')}_{end}" for end in _ROLES[kind]), *api.custom_roles}
    if name not in known:
        raise invalid(role="is not a role of this scope")
