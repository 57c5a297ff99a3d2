"""
What is needed of the bodies of v1.

A word is taken where it looks like one of those that Astro documents, an identifier where it looks like one:
anything else there is None, or makes the whole answer a damaged one where nothing can be said without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import IntegrityError
from astro_token.token import IDENTIFIER, SCOPES, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = [
    "Body",
    "DeploymentRecord",
    "OrganizationRecord",
    "Role",
    "TokenRecord",
    "WorkspaceRecord",
    "repeats",
]

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_WORD = re.compile(r"[A-Z]+(?:_[A-Z]+){0,7}")
_ROLE = re.compile(r"(?:ORGANIZATION|WORKSPACE|DEPLOYMENT|DAG)_[A-Z]+(?:_[A-Z]+){0,3}")
_LONGEST_WORD = 48
_TELLING = 8  # what is shorter stands in a token by chance
_MOST_ROLES = 1000


@dataclass(frozen=True, slots=True)
class Role:
    """
    Attributes:
        role: Astro's own role, such as `WORKSPACE_AUTHOR`; None for one that the team named itself.
        kind: of what it is for, such as `workspace` or `dag`; None for one that is not known here.
        entity: its identifier; None where that is a free text, as for a DAG.
    """

    role: str | None
    kind: str | None
    entity: str | None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token as Astro keeps it. Times are aware; None is "not told", of `expires` "never"."""

    scope: Scope | None
    kind: str | None
    roles: tuple[Role, ...]
    created: datetime | None = None
    rotated: datetime | None = None
    last_used: datetime | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrganizationRecord:
    """
    Attributes:
        product: None where it has none; `other` for one that is not written as a word of Astro's.
    """

    id: str
    product: str | None


@dataclass(frozen=True, slots=True)
class WorkspaceRecord:
    id: str


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    id: str
    workspace: str
    ci_cd_enforced: bool
    status: str | None


class Body:
    """
    The body of an answer to a request of this token.

    Each of its methods raises an `IntegrityError` where the body is not what was asked for.
    """

    def __init__(self, content: Mapping[str, Any], bearer: SecretValue) -> None:
        self._content, self._bearer = content, bearer

    def token(self, token_id: str) -> TokenRecord:
        content = self._about(token_id)
        scope = self._word(content.get("scope"))
        roles = content.get("roles")
        if roles is None:
            roles = []
        if not isinstance(roles, list) or len(roles) > _MOST_ROLES:
            raise _damaged()
        return TokenRecord(
            scope=next((known for known in SCOPES if known == scope), None),
            kind=self._word(content.get("kind")),
            roles=tuple(self._role(role) for role in roles),
            created=self._time(content, "createdAt"),
            rotated=self._time(content, "lastRotatedAt"),
            last_used=self._time(content, "lastUsedAt"),
            expires=self._time(content, "endAt"),
        )

    def organizations(self) -> tuple[tuple[OrganizationRecord, ...], bool]:
        """Those of the page, and whether it is the only one."""
        listed, total = self._content.get("organizations"), self._content.get("totalCount")
        if not isinstance(listed, list) or isinstance(total, bool) or not isinstance(total, int):
            raise _damaged()
        found = []
        for one in listed:
            if not isinstance(one, dict):
                raise _damaged()
            product = one.get("product")
            known = self._word(product) or ("other" if product else None)
            found.append(OrganizationRecord(self._identifier(one.get("id")), known))
        return tuple(found), total <= len(found)

    def workspace(self, ident: str) -> WorkspaceRecord:
        self._about(ident)
        return WorkspaceRecord(ident)

    def deployment(self, ident: str) -> DeploymentRecord:
        content = self._about(ident)
        enforced = content.get("isCicdEnforced")
        if not isinstance(enforced, bool):
            raise _damaged()
        workspace = self._identifier(content.get("workspaceId"))
        return DeploymentRecord(ident, workspace, enforced, self._word(content.get("status")))

    def _about(self, ident: str) -> Mapping[str, Any]:
        if self._content.get("id") != ident:
            raise _damaged()
        return self._content

    def _role(self, role: object) -> Role:
        if not isinstance(role, dict):
            raise _damaged()
        name, entity = role.get("role"), role.get("entityId")
        known = isinstance(name, str) and len(name) <= _LONGEST_WORD and _ROLE.fullmatch(name)
        kind = self._word(role.get("entityType"))
        return Role(
            role=name if known else None,
            kind=kind,
            entity=self._identifier(entity) if kind in SCOPES else None,
        )

    def _word(self, value: object) -> str | None:
        """A word of one of Astro's own lists, as it is written here."""
        fits = isinstance(value, str) and len(value) <= _LONGEST_WORD and _WORD.fullmatch(value)
        return str(value).lower().replace("_", "-") if fits else None

    def _identifier(self, value: object) -> str:
        if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
            raise _damaged()
        if repeats(value, self._bearer):
            raise _damaged()
        return value

    def _time(self, content: Mapping[str, Any], name: str) -> datetime | None:
        value = content.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise _damaged()
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise _damaged() from None


def repeats(text: str, bearer: SecretValue) -> bool:
    """Whether a part of the token stands in a text that would be shown, whatever is around it there."""
    data, token = text.encode(), bearer.reveal()
    return any(data[start : start + _TELLING] in token for start in range(len(data) - _TELLING + 1))


def _damaged() -> IntegrityError:
    return IntegrityError(
        "the answer of Astro's API does not say what was asked",
        hint="see ASTRO_TOKEN_API_URL; if it is right, report it with the version of astro-token",
    )
