"""
The fields of v1's responses that are needed.

A word or an identifier is accepted only if it has the form that Astro documents.
Another value becomes None, or makes the whole response damaged if nothing can be concluded without it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import IntegrityError
from astro_token.record import Record
from astro_token.secret import SecretValue
from astro_token.token import SCOPES, Scope, is_identifier, is_jwt
from astro_token.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "ROLES",
    "Body",
    "CreatedToken",
    "DeploymentRecord",
    "ListedToken",
    "NewRole",
    "OrganizationRecord",
    "Pieces",
    "Role",
    "TokenDetails",
    "TokenRecord",
    "WorkspaceRecord",
    "repeats",
    "similar_role",
]

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_WORD = re.compile(r"[A-Z]+(?:_[A-Z]+){0,7}")
_ROLE = re.compile(r"(?:ORGANIZATION|WORKSPACE|DEPLOYMENT|DAG)_[A-Z]+(?:_[A-Z]+){0,3}")
ROLES = tuple(
    f"{kind}_{name}"
    for kind, names in (
        ("ORGANIZATION", ("MEMBER", "BILLING_ADMIN", "OWNER", "OBSERVE_ADMIN", "OBSERVE_MEMBER")),
        ("WORKSPACE", ("ACCESSOR", "MEMBER", "AUTHOR", "OPERATOR", "OWNER")),
        ("DEPLOYMENT", ("ADMIN", "ACCESSOR")),
        ("DAG", ("VIEWER", "AUTHOR")),
    )
    for name in names
)  # of Astro; others are custom roles
_LONGEST_WORD = 48
_SHORTEST_PIECE = 8  # a shorter text can be part of a token by chance
_MOST_ROLES = 1000
_LONGEST_TEXT = 1024


def similar_role(role: str, choices: Iterable[str]) -> str:
    """Begin a hint with the role that is closest to one which is not Astro's; empty if none is close."""
    return "" if role in ROLES else did_you_mean(role, choices)


class Role(Record):
    """
    Attributes:
        role: Astro's own role, such as `WORKSPACE_AUTHOR`; None for a custom role.
        kind: of the entity, such as `workspace` or `dag`; None if its form is not that of Astro's words.
        entity: its identifier; None for an entity with a free name, such as a DAG.
    """

    role: str | None
    kind: str | None
    entity: str | None


class TokenRecord(Record):
    """
    A token as Astro keeps it. Times have a zone; None means unknown, and for `expires` never.

    Attributes:
        days: the lifetime with which it was created.
    """

    scope: Scope | None
    kind: str | None
    roles: tuple[Role, ...]
    created: datetime | None = None
    rotated: datetime | None = None
    last_used: datetime | None = None
    expires: datetime | None = None
    days: int | None = None


class CreatedToken(Record):
    _hidden = ("value",)
    id: str
    value: SecretValue


class ListedToken(Record):
    """
    Attributes:
        title, description: any text of Astro's users, to compare; only `lifecycle.audit` shows a title.
        creator: the title of the token that created it; "" if a person did.
    """

    _hidden = ("title", "description", "creator")
    id: str
    title: str
    record: TokenRecord
    description: str = ""
    creator: str = ""


class NewRole(Record):
    """
    A role of a token to be created.

    Attributes:
        role: of Astro, or a custom one.
        kind: of the entity, such as `workspace` or `dag-tag`.
        deployment: of a DAG or a tag.
    """

    role: str
    kind: str
    entity: str
    deployment: str | None = None

    @property
    def shown(self) -> Role:
        """The parts that can be shown."""
        return Role(
            self.role if _ROLE.fullmatch(self.role) else None,
            self.kind,
            self.entity if self.kind in SCOPES else None,
        )


class TokenDetails(Record):
    """
    Everything that a copy of a token needs. Title and roles are texts of Astro's users, and are not shown.

    Attributes:
        roles: with the names of custom roles, and of DAGs and tags.
    """

    _hidden = ("title", "roles")
    title: str
    roles: tuple[NewRole, ...]
    record: TokenRecord


class OrganizationRecord(Record):
    """
    Attributes:
        product: None without one; `other` if its form is not that of Astro's words.
    """

    id: str
    product: str | None


class WorkspaceRecord(Record):
    id: str


class DeploymentRecord(Record):
    id: str
    workspace: str
    ci_cd_enforced: bool
    status: str | None


class Body:
    """
    The body of a response to a request with this token.

    Each method raises an `IntegrityError` if the body does not have the documented form.
    """

    def __init__(self, content: Mapping[str, Any], bearer: SecretValue) -> None:
        self._content, self._bearer = content, bearer

    def token(self, token_id: str) -> TokenRecord:
        return self._token(self._object_with(token_id))

    def details(self, token_id: str) -> TokenDetails:
        content = self._object_with(token_id)
        record = self._token(content)
        roles = tuple(self._new_role(role) for role in content.get("roles") or [])
        return TokenDetails(self._text(content.get("name")), roles, record)

    def created(self) -> CreatedToken:
        """The created token, with its value, which Astro shows only once."""
        value = self._content.get("token")
        if not isinstance(value, str) or not is_jwt(value.encode()):
            raise _malformed()
        return CreatedToken(self._identifier(self._content.get("id")), SecretValue(value.encode()))

    def tokens(self) -> tuple[tuple[ListedToken, ...], int]:
        """The tokens of the page, and the number of all tokens."""
        listed, total = self._listed("tokens")
        return tuple(self._listed_token(item) for item in listed), total

    def _listed_token(self, item: Mapping[str, Any]) -> ListedToken:
        title, description, by = item.get("name"), item.get("description"), item.get("createdBy")
        if not isinstance(title, str):
            raise _malformed()
        creator = by.get("apiTokenName") if isinstance(by, dict) else None
        return ListedToken(
            self._identifier(item.get("id")),
            title,
            self._token(item),
            description=description if isinstance(description, str) else "",
            creator=creator if isinstance(creator, str) else "",
        )

    def _token(self, content: Mapping[str, Any]) -> TokenRecord:
        scope = self._word(content.get("scope"))
        roles = content.get("roles")
        if roles is None:
            roles = []
        if not isinstance(roles, list) or len(roles) > _MOST_ROLES:
            raise _malformed()
        days = content.get("expiryPeriodInDays")
        return TokenRecord(
            scope=next((name for name in SCOPES if name == scope), None),
            kind=self._word(content.get("kind")),
            roles=tuple(self._role(role) for role in roles),
            created=self._time(content, "createdAt"),
            rotated=self._time(content, "lastRotatedAt"),
            last_used=self._time(content, "lastUsedAt"),
            expires=self._time(content, "endAt"),
            days=days if type(days) is int and days > 0 else None,
        )

    def organizations(self) -> tuple[tuple[OrganizationRecord, ...], bool]:
        """The organizations of the page; True if there is no other page."""
        listed, total = self._listed("organizations")
        organizations = []
        for item in listed:
            product = item.get("product")
            word = self._word(product) or ("other" if product else None)
            organizations.append(OrganizationRecord(self._identifier(item.get("id")), word))
        return tuple(organizations), total <= len(organizations)

    def _listed(self, name: str) -> tuple[list[dict[str, Any]], int]:
        listed, total = self._content.get(name), self._content.get("totalCount")
        if not isinstance(listed, list) or isinstance(total, bool) or not isinstance(total, int):
            raise _malformed()
        if not all(isinstance(item, dict) for item in listed):
            raise _malformed()
        return listed, total

    def workspace(self, identifier: str) -> WorkspaceRecord:
        self._object_with(identifier)
        return WorkspaceRecord(identifier)

    def deployment(self, identifier: str) -> DeploymentRecord:
        content = self._object_with(identifier)
        enforced = content.get("isCicdEnforced")
        if not isinstance(enforced, bool):
            raise _malformed()
        workspace = self._identifier(content.get("workspaceId"))
        return DeploymentRecord(identifier, workspace, enforced, self._word(content.get("status")))

    def _object_with(self, identifier: str) -> Mapping[str, Any]:
        if self._content.get("id") != identifier:
            raise _malformed()
        return self._content

    def _role(self, role: object) -> Role:
        if not isinstance(role, dict):
            raise _malformed()
        name, entity = role.get("role"), role.get("entityId")
        is_astros = isinstance(name, str) and len(name) <= _LONGEST_WORD and _ROLE.fullmatch(name)
        kind = self._word(role.get("entityType"))
        return Role(
            role=name if is_astros else None,
            kind=kind,
            entity=self._identifier(entity) if kind in SCOPES else None,
        )

    def _new_role(self, role: Mapping[str, Any]) -> NewRole:
        kind, deployment = self._word(role.get("entityType")), role.get("deploymentId")
        return NewRole(
            self._text(role.get("role")),
            self._text(kind),
            self._text(role.get("entityId")),
            None if deployment is None else self._identifier(deployment),
        )

    def _text(self, value: object) -> str:
        if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT:
            raise _malformed()
        return value

    def _word(self, value: object) -> str | None:
        """A word from one of Astro's lists, in our spelling."""
        fits = isinstance(value, str) and len(value) <= _LONGEST_WORD and _WORD.fullmatch(value)
        return str(value).lower().replace("_", "-") if fits else None

    def _identifier(self, value: object) -> str:
        if not isinstance(value, str) or not is_identifier(value) or repeats(value, self._bearer):
            raise _malformed()
        return value

    def _time(self, content: Mapping[str, Any], name: str) -> datetime | None:
        value = content.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise _malformed()
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise _malformed() from None


def repeats(text: str, bearer: SecretValue) -> bool:
    """True if a text that would be shown contains a piece of the token."""
    token = bearer.reveal()
    return any(piece in token for piece in _pieces(text.encode()))


class Pieces:
    """The pieces of several tokens, for many texts that would be shown."""

    def __init__(self, secrets: Iterable[SecretValue]) -> None:
        self._pieces = frozenset(piece for secret in secrets for piece in _pieces(secret.reveal()))

    def repeated_in(self, text: str) -> bool:
        """True if the text contains one of them."""
        return not self._pieces.isdisjoint(_pieces(text.encode(errors="replace")))


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + _SHORTEST_PIECE] for start in range(len(data) - _SHORTEST_PIECE + 1))


def _malformed() -> IntegrityError:
    return IntegrityError(
        "a response of Astro's API does not have the documented form",
        hint="check ASTRO_TOKEN_API_URL; if it is right, report this with the version of astro-token",
    )
