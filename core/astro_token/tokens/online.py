"""
Check a token with Astro, and combine the responses with the token's own claims.

The token itself authorizes the requests, at most three:

1. the organizations that the token may see. The Astro CLI makes the same request before each command.
2. the token, by its id. Few tokens may read themselves.
3. the expected deployment, else the expected workspace.

The requests end after a response that does not accept the token.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from astro_token.astro_api.client import support_hint
from astro_token.astro_api.records import Body
from astro_token.errors import AstroTokenError, IntegrityError, with_prefix
from astro_token.log import logger
from astro_token.policy.codes import ONLINE
from astro_token.policy.rules import Verdict, errors_first, judge
from astro_token.record import Record, replace
from astro_token.tokens.roles import too_wide
from astro_token.wording import span

if TYPE_CHECKING:
    from astro_token.astro_api import AstroApi
    from astro_token.astro_api.records import (
        DeploymentRecord,
        OrganizationRecord,
        TokenRecord,
        WorkspaceRecord,
    )
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken
    from astro_token.transport.deadline import Deadline

__all__ = ["ApiRequest", "Online", "consult"]

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_CLOCK_TOLERANCE = 120.0  # seconds, the same as in `judge`
_OUTDATED = frozenset({"expired", "not-yet-valid"})

Kind = Literal["organizations", "token", "workspace", "deployment"]


class ApiRequest(Record):
    """A request that Astro answered, with any status."""

    kind: Kind
    status: int
    request_id: str | None


class Online(Record):
    """
    Astro's responses about a token, and the verdicts that follow.

    Attributes:
        token: has the scope and the expiry that Astro stores, if the token may read itself.
        verdicts: all verdicts, offline and online, errors first.
        accepted: true if Astro accepts the token; None if that is unknown.
        error: the failure that ended the requests early.
        record: the token as Astro stores it; None if it may not read itself.
        organization, workspace, deployment: None if not requested, or not shown to the token.
        ahead: seconds by which Astro's clock is ahead of ours.
    """

    token: AstroToken
    verdicts: tuple[Verdict, ...]
    accepted: bool | None = None
    error: AstroTokenError | None = None
    record: TokenRecord | None = None
    organization: OrganizationRecord | None = None
    workspace: WorkspaceRecord | None = None
    deployment: DeploymentRecord | None = None
    ahead: float | None = None
    requests: tuple[ApiRequest, ...] = ()

    @property
    def workspace_id(self) -> str | None:
        """The workspace of the deployment if Astro showed one, else the workspace that Astro showed."""
        if self.deployment:
            return self.deployment.workspace
        return self.workspace.id if self.workspace else None


def consult(
    token: AstroToken,
    offline: tuple[Verdict, ...],
    settings: TokenSettings,
    api: AstroApi,
    deadline: Deadline,
) -> Online:
    """
    Send requests about a token to Astro, and evaluate it again. A failure is returned, not raised.

    Args:
        offline: the verdicts without Astro's responses.
    """
    consultation = _Consultation(token, offline, settings, api, deadline)
    error = None
    try:
        consultation.send_requests()
    except AstroTokenError as failure:
        error = with_prefix(failure, "Astro's API")
    return consultation.outcome(error)


class _Consultation:
    def __init__(
        self,
        token: AstroToken,
        offline: tuple[Verdict, ...],
        settings: TokenSettings,
        api: AstroApi,
        deadline: Deadline,
    ) -> None:
        self.token, self.offline, self.settings = token, offline, settings
        self.api, self.deadline = api, deadline
        self.organization_id = token.organization or settings.expected.organization
        self.requests: list[ApiRequest] = []
        self.verdicts: list[Verdict] = []
        self.ahead: float | None = None
        self.record: TokenRecord | None = None
        self.organization: OrganizationRecord | None = None
        self.workspace: WorkspaceRecord | None = None
        self.deployment: DeploymentRecord | None = None

    def send_requests(self) -> None:
        if not self._request_organizations() or self._is_outdated:
            return
        if self.organization_id is None and self.organization:
            self.organization_id = self.organization.id
        if self.organization_id is None or not self._request_token():
            return
        expected = self.settings.expected
        deployment = expected.deployment or self.token.deployment
        workspace = expected.workspace or self.token.workspace
        if deployment is not None:
            self._request_deployment(deployment, workspace)
        elif workspace is not None:
            self._request_workspace(workspace)

    @property
    def _is_outdated(self) -> bool:
        """True if the token is not valid by our clock, so that only its acceptance matters."""
        return any(verdict.code in _OUTDATED for verdict in self.offline)

    def _get(self, kind: Kind, path: str = "") -> tuple[int, Body]:
        path = f"organizations/{self.organization_id}{path}" if path else "organizations?limit=100&offset=0"
        response = self.deadline.retry(
            lambda seconds: self.api.get(path, self.token.secret, timeout=seconds), host=lambda: "Astro's API"
        )
        status, request_id, ahead = response.status, response.request_id, response.ahead
        logger.info("requested %s from Astro: status %d, request %s", kind, status, request_id or "-")
        self.requests.append(ApiRequest(kind, status, request_id))
        if ahead is not None and abs(ahead) > abs(self.ahead or 0.0):
            self.ahead = ahead
        if status == _UNAUTHORIZED and not self._is_outdated:
            self._add(
                "revoked",
                "Astro does not accept the token: it was revoked, rotated, or belongs to another domain",
                "store its successor or create a new token; check ASTRO_DOMAIN",
            )
        return status, Body(response.content, self.token.secret)

    def _request_organizations(self) -> bool:
        """Return True if the next request is useful."""
        status, body = self._get("organizations")
        if status not in {_OK, _UNAUTHORIZED, _FORBIDDEN}:  # v1 defines no other status
            raise IntegrityError(
                f"the server at ASTRO_TOKEN_API_URL is not Astro's API (status {status})",
                hint=f"check ASTRO_TOKEN_API_URL{support_hint(self.requests[-1].request_id)}",
            )
        if status != _OK:
            return status != _UNAUTHORIZED
        organizations, is_complete = body.organizations()
        name = self.organization_id
        mine = [organization for organization in organizations if name in {None, organization.id}]
        self.organization = mine[0] if mine else None
        if not organizations:
            self._add(
                "organization-missing",
                "Astro shows no organization to the token: the Astro CLI crashes on it",
                "check the token's roles in Astro; create a new token if it has none",
            )
        elif not mine and is_complete:
            self._add(
                "organization-missing",
                f"Astro does not show the organization {name} to the token",
                "check in Astro that it exists, and its identifier in astro-token.toml",
            )
        elif self.organization and self.organization.product is None:
            self._add(
                "organization-unready",
                f"the organization {self.organization.id} has no product: the Astro CLI crashes on it",
                "ask Astronomer support to set up the organization",
            )
        return bool(mine) or not is_complete

    def _request_token(self) -> bool:
        """Return True if the next request is useful."""
        token_id = self.token.token_id
        if token_id is None:
            return True
        status, body = self._get("token", f"/tokens/{token_id}")
        if status == _OK:
            self.record = body.token(token_id)
        elif status not in {_UNAUTHORIZED, _FORBIDDEN}:
            self._add(
                "token-missing",
                f"Astro has no token with the id {token_id}, or does not show it",
                "look for it among the organization's tokens in Astro: it may have been deleted",
            )
        return status != _UNAUTHORIZED

    def _request_deployment(self, name: str, workspace: str | None) -> None:
        status, body = self._get("deployment", f"/deployments/{name}")
        if status != _OK:
            self._add_missing("deployment", name, status)
            return
        self.deployment = body.deployment(name)
        if workspace not in {None, self.deployment.workspace}:
            self._add(
                "deployment-elsewhere",
                f"the deployment {name} is in workspace {self.deployment.workspace}, not in {workspace}:"
                " the Astro CLI would deploy nothing and succeed",
                "correct the workspace or the deployment in astro-token.toml, or store the right token",
            )

    def _request_workspace(self, name: str) -> None:
        status, body = self._get("workspace", f"/workspaces/{name}")
        if status == _OK:
            self.workspace = body.workspace(name)
        elif status == _FORBIDDEN and name == self.token.workspace:
            self._add(
                "unverified",
                f"the token may not read its workspace {name}, so it is unknown whether the workspace exists",
                "in astro-token.toml, name a deployment that the token may read",
            )
        else:
            self._add_missing("workspace", name, status)

    def _add_missing(self, kind: str, name: str, status: int) -> None:
        if status == _FORBIDDEN:
            self._add(
                f"{kind}-forbidden",
                f"Astro does not let the token read the {kind} {name}",
                f"give the token a role in this {kind}, or store the right token under this reference",
            )
        elif status != _UNAUTHORIZED:
            self._add(
                f"{kind}-missing",
                f"the {kind} {name} does not exist, or Astro hides it from the token",
                f"check in Astro that the {kind} exists, and its identifier in astro-token.toml",
            )

    def _add(self, code: str, message: str, hint: str) -> None:
        level = ONLINE[code].level
        request = support_hint(self.requests[-1].request_id) if level == "error" else ""
        self.verdicts.append(Verdict(code, level, message, hint + request))

    # -- the outcome -------------------------------------------------------------------------

    def outcome(self, error: AstroTokenError | None) -> Online:
        statuses = {request.status for request in self.requests}
        proof = statuses - {_FORBIDDEN} if error is None else statuses & {_OK}
        accepted = False if _UNAUTHORIZED in statuses else True if proof else None
        if statuses == {_FORBIDDEN} and error is None:
            self.verdicts.clear()
            self._add(
                "forbidden",
                "Astro refuses every request with the token",
                "check the organization's list of allowed IP addresses, and the token's roles",
            )
        if self.ahead is not None and abs(self.ahead) > _CLOCK_TOLERANCE:
            side = "behind" if self.ahead > 0 else "ahead of"
            skew = span(timedelta(minutes=round(abs(self.ahead) / 60)))
            self._add(
                "clock-skew",
                f"this machine's clock is about {skew} {side} Astro's",
                "set the clock: expiry and logins depend on it",
            )
        token, record = self.token, self.record
        if record:
            if record.kind == "direct-access":
                self._add(
                    "direct-access",
                    "the token is a direct-access token, which is for the Airflow API of a deployment: "
                    "it cannot deploy",
                    ONLINE["direct-access"].hint,
                )
            if wide := too_wide(record.roles, self.settings.policy, self.settings.expected):
                self._add("role-too-wide", *wide)
            ends = [end for end in (token.expires, record.expires) if end is not None]
            token = replace(token, scope=record.scope or token.scope, expires=min(ends, default=None))
        online = Online(
            token,
            verdicts=(),
            accepted=accepted,
            error=error,
            record=record,
            organization=self.organization,
            workspace=self.workspace,
            deployment=self.deployment,
            ahead=self.ahead,
            requests=tuple(self.requests),
        )
        return replace(online, verdicts=self._combine(online))

    def _combine(self, online: Online) -> tuple[Verdict, ...]:
        """Combine the verdicts. Astro's responses replace some offline verdicts."""
        record, expected = online.record, self.settings.expected
        confirmed = {
            "organization": online.organization.id if online.organization else None,
            "workspace": online.workspace_id,
            "deployment": online.deployment.id if online.deployment else None,
        }
        if record or online.workspace or online.deployment:
            # The request named this organization, and Astro found the object in it.
            confirmed["organization"] = confirmed["organization"] or self.organization_id
        settled = {
            f"{kind}-unproven" for kind, name in confirmed.items() if name and name == getattr(expected, kind)
        }
        # An error about an identifier implies that the token does not prove it.
        settled |= {f"{v.code.partition('-')[0]}-unproven" for v in self.verdicts if v.level == "error"}
        offline, added = self.offline, self.verdicts
        if record:
            times = [time for time in (record.created, record.rotated) if time is not None]
            offline = judge(online.token, self.settings.policy, expected, since=max(times, default=None))
        if expiry := self._expiry_by_astros_clock(online):
            settled |= {"expires-soon", "expires-too-soon"}
            added = [expiry, *(v for v in added if (v.code, expiry.code) != ("revoked", "expired"))]
        return errors_first([*(verdict for verdict in offline if verdict.code not in settled), *added])

    def _expiry_by_astros_clock(self, online: Online) -> Verdict | None:
        """Return the verdict on the expiry by Astro's clock, if our clock is behind it."""
        if self.ahead is None or self.ahead <= _CLOCK_TOLERANCE:
            return None
        now = datetime.now(UTC) + timedelta(seconds=self.ahead)
        verdicts = judge(online.token, self.settings.policy, self.settings.expected, now=now)
        # A token that Astro accepts has not expired, whatever the two clocks say.
        codes = {"expires-too-soon", "expired"} if online.accepted is False else {"expires-too-soon"}
        return next((verdict for verdict in verdicts if verdict.code in codes), None)
