"""
Requests about the API tokens of an organization.

The bearer is an admin's credential, or a token that manages itself.
Its least permissions, for tokens of a deployment, are `deployment.get` and `deployment.apiTokens.get`,
`.create` and `.delete`, and `.rotate` to rotate in place; without custom roles, an owner's role of the
workspace or of the organization.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from astro_token.astro_api.client import support_hint
from astro_token.astro_api.records import Body, NewRole
from astro_token.errors import AccessDeniedError, ConfigError, IntegrityError
from astro_token.record import Record
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astro_token.astro_api.client import ApiResponse, AstroApi
    from astro_token.astro_api.records import CreatedToken, ListedToken, TokenDetails, TokenRecord
    from astro_token.secret import SecretValue
    from astro_token.token import Scope

__all__ = ["CLOCK_TOLERANCE", "NewRole", "NewToken", "Tokens"]

_OK, _NO_CONTENT, _UNAUTHORIZED, _FORBIDDEN, _MISSING = 200, 204, 401, 403, 404
_PAGE = 1000  # Terraform's provider requests as many
_PAGE_LIMIT = 8 * 1024 * 1024  # bytes
_OVERLAP = 20  # tokens of the page before: a deletion moves the next page, and would hide its first token
CLOCK_TOLERANCE = 120.0  # seconds, the same as of `check --online`
_DELETE_SECONDS = 10.0
_MOST_PAGES = 1000  # a list that is longer cannot be right


class NewToken(Record):
    """
    A token to be created.

    Attributes:
        roles: the first one is of the token's scope.
        days: its lifetime, 1 to 3650; None for a token that never expires.
    """

    title: str
    scope: Scope
    roles: tuple[NewRole, ...]
    days: int | None
    description: str = ""

    @property
    def filters(self) -> dict[str, str]:
        """Parameters of `list` for the tokens of the same workspace or deployment."""
        return {} if self.scope == "organization" else {f"{self.scope}Id": self.roles[0].entity}


class Tokens:
    """
    The tokens of an organization.

    Args:
        bearer: authorizes the requests.

    The methods raise:
        AccessDeniedError: Astro does not accept the bearer, or denies the request.
        BackendUnavailableError: there is no response; a token may have been created or deleted.
        ConfigError: Astro refuses the request as it is.
        IntegrityError: the response does not have the documented form.
    """

    def __init__(self, api: AstroApi, organization: str, bearer: SecretValue, deadline: Deadline) -> None:
        self._api, self._organization = api, organization
        self._bearer, self._deadline = bearer, deadline
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch: by Astro's clock, to the minute, if ours is wrong."""
        is_wrong = abs(self._ahead) > CLOCK_TOLERANCE
        return time.time() + (60.0 * round(self._ahead / 60.0) if is_wrong else 0.0)

    def create(self, token: NewToken) -> CreatedToken:
        """Create a token. This is never repeated: a second request would create a second token."""
        body: dict[str, Any] = {
            "name": token.title,
            "description": token.description,
            "scope": token.scope.upper(),
            "role": token.roles[0].role,
        }
        if token.scope != "organization":
            body["entityId"] = token.roles[0].entity
        if token.days is not None:
            body["tokenExpiryPeriodInDays"] = token.days
        return self._body(self._once("POST", "", body), "create a token").created()

    def get(self, identifier: str) -> TokenRecord | None:
        """Look up a token; None if there is none."""
        response = self._get(f"/{identifier}")
        return None if response.status == _MISSING else self._body(response, "read tokens").token(identifier)

    def details(self, identifier: str) -> TokenDetails | None:
        """Look up everything that a copy of a token needs; None if there is no such token."""
        response = self._get(f"/{identifier}")
        return (
            None if response.status == _MISSING else self._body(response, "read tokens").details(identifier)
        )

    def accepts(self, identifier: str, value: SecretValue) -> bool:
        """True if Astro accepts a token as the bearer, whether it may read itself or not."""
        status = self.of(value)._get(f"/{identifier}").status  # noqa: SLF001 (this class)
        return status in {_OK, _FORBIDDEN}

    def of(self, bearer: SecretValue) -> Tokens:
        """The same tokens, with another bearer."""
        return Tokens(self._api, self._organization, bearer, self._deadline)

    def set_roles(self, identifier: str, roles: Sequence[NewRole]) -> None:
        """Replace all roles. The response lists the roles of the subject, not the token."""
        listed = [
            {
                "role": role.role,
                "entityType": role.kind.upper().replace("-", "_"),
                "entityId": role.entity,
                **({"deploymentId": role.deployment} if role.deployment else {}),
            }
            for role in roles
        ]
        self._body(self._once("POST", f"/{identifier}/roles", {"roles": listed}), "set roles")

    def rotate(self, identifier: str) -> CreatedToken:
        """
        Replace the value of a token, which keeps its identifier. The old value is invalid at once.

        After a lost response the token is rotated again: only the last value counts.
        """
        return self._deadline.retry(
            lambda seconds: self._body(
                self._api.send("POST", self._path(f"/{identifier}/rotate"), self._bearer, timeout=seconds),
                "rotate tokens",
            ).created()
        )

    def delete(self, identifier: str) -> None:
        """
        Delete a token for good. One that does not exist is deleted.

        This is repeated for a few seconds only: the lease under which a rotation deletes a token ends.
        """
        response = Deadline(min(_DELETE_SECONDS, self._deadline.remaining)).retry(
            lambda seconds: self._api.send(
                "DELETE", self._path(f"/{identifier}"), self._bearer, timeout=seconds
            )
        )
        if response.status not in {_NO_CONTENT, _MISSING}:
            self._body(response, "delete tokens")

    def list(self, **filters: str) -> Iterator[ListedToken]:
        """
        List all tokens, each once: a token that is created or deleted meanwhile moves the pages.

        Args:
            filters: of the API, such as `workspaceId`.
        """
        seen: set[str] = set()
        offset, overlap = 0, _OVERLAP
        query = "".join(f"&{name}={value}" for name, value in filters.items())
        for _ in range(_MOST_PAGES):
            response = self._get(f"?limit={_PAGE}&offset={offset}&sorts=createdAt:asc{query}", _PAGE_LIMIT)
            listed, total = self._body(response, "list tokens").tokens()
            if offset and seen.isdisjoint(token.id for token in listed):
                # More tokens were deleted than two pages overlap: there may be a gap between them.
                offset, overlap = max(0, offset - overlap), overlap * 2
                continue
            for token in listed:
                if token.id not in seen:
                    seen.add(token.id)
                    yield token
            if not listed or offset + len(listed) >= total:
                return
            offset += max(1, len(listed) - _OVERLAP)
            overlap = _OVERLAP
        raise IntegrityError(
            "Astro's list of tokens does not end",
            hint="check ASTRO_TOKEN_API_URL; if it is right, report this with the version of astro-token",
        )

    def _get(self, path: str, limit: int = 1024 * 1024) -> ApiResponse:
        response = self._deadline.retry(
            lambda seconds: self._api.send(
                "GET", self._path(path), self._bearer, limit=limit, timeout=seconds
            )
        )
        if response.ahead is not None:
            self._ahead = response.ahead
        return response

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> ApiResponse:
        return self._deadline.once(
            lambda seconds: self._api.send(method, self._path(path), self._bearer, body=body, timeout=seconds)
        )

    def _path(self, path: str) -> str:
        return f"organizations/{self._organization}/tokens{path}"

    def _body(self, response: ApiResponse, purpose: str) -> Body:
        support = support_hint(response.request_id)
        if response.status == _OK:
            return Body(response.content, self._bearer)
        if response.status == _UNAUTHORIZED:
            raise AccessDeniedError(
                "Astro does not accept the credential that manages tokens",
                hint=f"check that it has not expired and was not revoked{support}",
            )
        if response.status == _FORBIDDEN:
            raise AccessDeniedError(
                f"Astro does not allow the credential that manages tokens to {purpose}",
                hint="check its role, and whether the organization allows requests from this address only"
                f"{support}",
            )
        if response.status == _MISSING:
            raise ConfigError(
                "Astro does not know the organization, or the workspace or deployment of the token",
                hint=f"check the identifiers{support}",
            )
        raise ConfigError(
            f"Astro refuses to {purpose}",
            hint=f"check the title, the role, the scope, its identifier and the lifetime{support}",
        )
