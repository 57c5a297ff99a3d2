"""
Pieces that the parts of the strict Astro API share: grants, refusals, readers of requests, records of tokens.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.servers.http1 import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ORGANIZATION = "clorganization0000000001"
AT = "2026-01-02T03:04:05Z"
_BY = {"id": "cluser0000000000000001"}
MADE = {"createdAt": AT, "updatedAt": AT, "createdBy": _BY, "updatedBy": _BY}


def utc_now(seconds: float = 0.0) -> str:
    """The time these seconds from now, as Astro writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def role(name: str, entity: str, kind: str) -> dict[str, str]:
    return {"role": name, "entityId": entity, "entityType": kind}


def token_record(
    ident: str, scope: str = "WORKSPACE", *roles: dict[str, str], **fields: Any
) -> dict[str, Any]:
    """A token as it is kept; its value is in no answer to a GET."""
    return {
        "id": ident,
        "name": "deploy",
        "description": "",
        "scope": scope,
        "kind": "STANDARD",
        "shortToken": "ey...zz",
        "startAt": AT,
        "roles": list(roles),
        **MADE,
        **fields,
    }


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What a token is for.

    Attributes:
        workspaces: None is the whole organization.
        deployments: None is each one in the workspaces.
        reads_tokens: as an owner may, and hardly anyone else.
        manages_tokens: creates, changes and deletes those of its workspaces or deployments, and reads tokens.
        lists_organizations: False is what an organization without a role for the token would be.
    """

    organization: str = ORGANIZATION
    workspaces: frozenset[str] | None = None
    deployments: frozenset[str] | None = None
    reads_tokens: bool = False
    lists_organizations: bool = True
    manages_tokens: bool = False

    def covers(self, ws: str) -> bool:
        return self.workspaces is None or ws in self.workspaces

    def reaches(self, item: Mapping[str, Any]) -> bool:
        """True for a deployment that it may look at."""
        here = self.deployments is None or item["id"] in self.deployments
        return here and self.covers(item["workspaceId"])


class RefusedError(Exception):
    def __init__(self, status: int, message: str, **fields: str) -> None:
        super().__init__(message)
        body: dict[str, Any] = {"message": message, "requestId": "", "statusCode": status}
        if fields:
            body["fieldErrors"] = [
                {"code": "invalid", "field": name, "message": text} for name, text in fields.items()
            ]
        self.body, self.status = body, status
        self.headers = {"Retry-After": "1"} if status == 429 else {}

    def answer(self, request_id: str) -> Answer:
        return Answer.json({**self.body, "requestId": request_id}, self.status, self.headers)


def forbidden() -> RefusedError:
    return RefusedError(403, "You do not have permission to perform this operation")


def missing(what: str) -> RefusedError:
    return RefusedError(404, f"{what} not found")


def invalid(**fields: str) -> RefusedError:
    return RefusedError(400, "Invalid request", **fields)


def one_of(items: Iterable[dict[str, Any]], ident: str, what: str) -> dict[str, Any]:
    for item in items:
        if item["id"] == ident:
            return item
    raise missing(what)


def claims_of(token: str) -> dict[str, Any]:
    claims = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))))


def is_expired(token: str) -> bool:
    expiry = claims_of(token).get("exp")
    return expiry is not None and expiry <= time.time()


def query_of(request: Request, *known: str) -> dict[str, list[str]]:
    query = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
    for name in query:
        if name not in known:
            raise invalid(**{name: "is not a parameter"})
    return query


def number_of(query: Mapping[str, list[str]], name: str, default: int, most: int) -> int:
    texts = query.get(name, [str(default)])
    if len(texts) != 1 or not re.fullmatch(r"\d{1,9}", texts[0]) or int(texts[0]) > most:
        raise invalid(**{name: "is not a number in range"})
    return int(texts[0])


def owned_by(items: Iterable[dict[str, Any]], grant: Grant) -> list[dict[str, Any]]:
    return [item for item in items if item["organizationId"] == grant.organization]


def chosen(
    items: list[dict[str, Any]], query: Mapping[str, list[str]], **parameters: str
) -> list[dict[str, Any]]:
    """Those that each parameter given lets through; parameters by the field that they look at."""
    for key, name in parameters.items():
        if name in query:
            items = [item for item in items if item[key] in query[name]]
    return items


def body_of(request: Request, *must: str, may: tuple[str, ...] = ()) -> dict[str, Any]:
    is_json = request.headers.get("content-type", "").partition(";")[0] == "application/json"
    try:
        body = json.loads(request.body) if is_json else None
    except ValueError:
        body = None
    if not isinstance(body, dict) or not {*must} <= {*body} <= {*must, *may}:
        raise invalid(body="is not the documented object")
    return body
