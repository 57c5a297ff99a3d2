"""
Ask Astro about a token, with the token itself, and combine the responses with the token's own claims.

At most three requests: the organizations that it sees, as the Astro CLI requests them before each command;
the token by its own id, which few tokens may read; and the expected deployment, or else the workspace.
The first response that does not accept the token ends the requests.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from astro_token.astro_api.client import support_hint
from astro_token.astro_api.records import Body
from astro_token.errors import AstroTokenError, IntegrityError, named
from astro_token.log import logger
from astro_token.policy.codes import ONLINE
from astro_token.policy.rules import Verdict, judge
from astro_token.record import Record, replace
from astro_token.tokens.roles import too_wide
from astro_token.wording import span

if TYPE_CHECKING:
    from astro_token.astro_api import ApiResponse, AstroApi
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
_CLOCKS_DIFFER = 120.0  # seconds, as `judge` allows too
_LATE = frozenset({"expired", "not-yet-valid"})

Kind = Literal["organizations", "token", "workspace", "deployment"]


class ApiRequest(Record):
    """A request that Astro answered, with any status."""

    kind: Kind
    status: int
    request_id: str | None


class Online(Record):
    """
    Astro's responses about a token, and their consequences.

    Attributes:
        token: with the scope and the expiry that Astro stores, if the token may read itself.
        verdicts: all verdicts, offline and online, errors first.
        accepted: None if that is unknown.
        error: the failure that ended the requests early; then the verdicts are those until then.
        record: the token as Astro stores it; None if it may not read itself.
        organization, workspace, deployment: as Astro shows them to the token; None if it does not,
            or if they were not requested.
        workspace_id: of the deployment if Astro showed one, else of the workspace.
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
    Ask Astro about a token and evaluate it again. A failure is returned, not raised.

    Args:
        offline: the verdicts without Astro.
        deadline: for all requests together, and for the steps before them.
    """
    consultation = _Consultation(token, offline, settings, api, deadline)
    error = None
    try:
        consultation.send_requests()
    except AstroTokenError as failure:
        error = named(failure, "Astro's API")
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
        self.requests: list[ApiRequest] = []
        self.verdicts: list[Verdict] = []
        self.ahead: float | None = None
        self.record: TokenRecord | None = None
        self.organization: OrganizationRecord | None = None
        self.workspace: WorkspaceRecord | None = None
        self.deployment: DeploymentRecord | None = None

    def send_requests(self) -> None:
        if not self._request_organizations() or self.late:
            return
        name = self.token.organization or self.settings.expected.organization
        organization = name or (self.organization.id if self.organization else None)
        if organization is None:
            return
        if self.token.token_id is not None and not self._request_token(organization, self.token.token_id):
            return
        expected = self.settings.expected
        deployment = expected.deployment or self.token.deployment
        workspace = expected.workspace or self.token.workspace
        if deployment is not None:
            self._request_deployment(organization, deployment, workspace)
        elif workspace is not None:
            self._request_workspace(organization, workspace)

    @property
    def late(self) -> bool:
        """The token is expired or not yet valid by our clock, so that only its acceptance matters."""
        return any(verdict.code in _LATE for verdict in self.offline)

    def _get(self, kind: Kind, path: str) -> ApiResponse:
        answer = self.deadline.retry(
            lambda seconds: self.api.get(path, self.token.secret, timeout=seconds), host=lambda: "Astro's API"
        )
        logger.info(
            "asked Astro for %s: status %d, request %s", kind, answer.status, answer.request_id or "-"
        )
        self.requests.append(ApiRequest(kind, answer.status, answer.request_id))
        if answer.ahead is not None and abs(answer.ahead) > abs(self.ahead or 0.0):
            self.ahead = answer.ahead
        if answer.status == _UNAUTHORIZED and not self.late:
            self._add(
                "revoked",
                "Astro does not accept the token: it was revoked, rotated, or belongs to another domain",
                "store its successor or create a new token; check ASTRO_DOMAIN",
            )
        return answer

    def _body(self, answer: ApiResponse) -> Body:
        return Body(answer.content, self.token.secret)

    # Each sends one request and returns True if the next one is useful.

    def _request_organizations(self) -> bool:
        answer = self._get("organizations", "organizations?limit=100&offset=0")
        if answer.status not in {_OK, _UNAUTHORIZED, _FORBIDDEN}:  # v1 defines no other status
            raise IntegrityError(
                f"the server at ASTRO_TOKEN_API_URL is not Astro's API (status {answer.status})",
                hint=f"check ASTRO_TOKEN_API_URL{support_hint(answer.request_id)}",
            )
        if answer.status != _OK:
            return answer.status != _UNAUTHORIZED
        organizations, is_complete = self._body(answer).organizations()
        name = self.token.organization or self.settings.expected.organization
        mine = [organization for organization in organizations if name in {None, organization.id}]
        self.organization = mine[0] if mine else None
        if not organizations:
            self._add(
                "organization-missing",
                "Astro shows the token no organization, on which the Astro CLI crashes",
                "check the token's roles in Astro; create a new token if it has none",
            )
        elif not mine and is_complete:
            self._add(
                "organization-missing",
                f"Astro does not show the token the organization {name}",
                "check in Astro that it exists, and its identifier in astro-token.toml",
            )
        elif self.organization and self.organization.product is None:
            self._add(
                "organization-unready",
                f"the organization {self.organization.id} has no product, on which the Astro CLI crashes",
                "ask Astronomer support to set up the organization",
            )
        return bool(mine) or not is_complete

    def _request_token(self, organization: str, token_id: str) -> bool:
        answer = self._get("token", f"organizations/{organization}/tokens/{token_id}")
        if answer.status == _OK:
            self.record = self._body(answer).token(token_id)
        elif answer.status not in {_UNAUTHORIZED, _FORBIDDEN}:
            self._add(
                "token-missing",
                f"Astro has no token with the id {token_id}, or does not show it",
                "look for it among the organization's tokens in Astro: it may have been deleted",
            )
        return answer.status != _UNAUTHORIZED

    def _request_deployment(self, organization: str, name: str, workspace: str | None) -> None:
        answer = self._get("deployment", f"organizations/{organization}/deployments/{name}")
        if answer.status != _OK:
            self._not_shown("deployment", name, answer.status)
            return
        self.deployment = self._body(answer).deployment(name)
        if workspace not in {None, self.deployment.workspace}:
            self._add(
                "deployment-elsewhere",
                f"the deployment {name} is in workspace {self.deployment.workspace}, not in {workspace}:"
                " the Astro CLI would deploy nothing and succeed",
                "correct the workspace or the deployment in astro-token.toml, or store the right token",
            )

    def _request_workspace(self, organization: str, name: str) -> None:
        answer = self._get("workspace", f"organizations/{organization}/workspaces/{name}")
        if answer.status == _OK:
            self.workspace = self._body(answer).workspace(name)
        elif answer.status == _FORBIDDEN and name == self.token.workspace:
            self._add(
                "unverified",
                f"the token may not read its workspace {name}, so it is unknown whether the workspace exists",
                "name a deployment that the token may read in astro-token.toml",
            )
        else:
            self._not_shown("workspace", name, answer.status)

    def _not_shown(self, kind: str, name: str, status: int) -> None:
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
        token = self._with_record()
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
        if self.ahead is not None and abs(self.ahead) > _CLOCKS_DIFFER:
            side = "behind" if self.ahead > 0 else "ahead of"
            skew = span(timedelta(minutes=round(abs(self.ahead) / 60)))
            self._add(
                "clock-skew",
                f"this machine's clock is about {skew} {side} Astro's",
                "set the clock: expiry and logins depend on it",
            )
        if self.record:
            wide = too_wide(self.record.roles, self.settings.policy, self.settings.expected)
            if wide:
                self._add("role-too-wide", *wide)
        return Online(
            token=token,
            verdicts=self._combined(token),
            accepted=accepted,
            error=error,
            record=self.record,
            organization=self.organization,
            workspace=self.workspace,
            deployment=self.deployment,
            ahead=self.ahead,
            requests=tuple(self.requests),
        )

    def _with_record(self) -> AstroToken:
        if self.record is None:
            return self.token
        ends = [end for end in (self.token.expires, self.record.expires) if end is not None]
        return replace(
            self.token, scope=self.record.scope or self.token.scope, expires=min(ends, default=None)
        )

    def _combined(self, token: AstroToken) -> tuple[Verdict, ...]:
        expected = self.settings.expected
        # A workspace or deployment that Astro shows belongs to the organization of the request.
        inside = self.record or self.workspace or self.deployment
        shown = {
            "organization": self.organization.id
            if self.organization
            else inside and (self.token.organization or expected.organization),
            "workspace": self.deployment.workspace
            if self.deployment
            else self.workspace and self.workspace.id,
            "deployment": self.deployment and self.deployment.id,
        }
        settled = {
            f"{kind}-unproven" for kind, name in shown.items() if name and name == getattr(expected, kind)
        }
        # An error about an identifier implies that the token does not prove it.
        settled |= {
            f"{verdict.code.partition('-')[0]}-unproven"
            for verdict in self.verdicts
            if verdict.level == "error"
        }
        offline = self.offline
        if self.record:
            times = [time for time in (self.record.created, self.record.rotated) if time is not None]
            offline = judge(token, self.settings.policy, expected, since=max(times, default=None))
        online = self.verdicts
        if late := self._by_astros_clock(token):
            earlier = {"expires-soon", "expires-too-soon"}
            offline = (*(verdict for verdict in offline if verdict.code not in earlier), late)
            if late.code == "expired":
                online = [verdict for verdict in online if verdict.code != "revoked"]
        verdicts = [verdict for verdict in offline if verdict.code not in settled] + online
        return tuple(sorted(verdicts, key=lambda verdict: verdict.level != "error"))

    def _by_astros_clock(self, token: AstroToken) -> Verdict | None:
        """Return the verdict on the expiry that our clock hides because it is behind Astro's."""
        if self.ahead is None or self.ahead <= _CLOCKS_DIFFER:
            return None
        now = datetime.now(UTC) + timedelta(seconds=self.ahead)
        verdicts = judge(token, self.settings.policy, self.settings.expected, now=now)
        # A token that Astro accepts has not expired, whatever the two clocks say.
        is_refused = any(request.status == _UNAUTHORIZED for request in self.requests)
        codes = {"expires-too-soon", "expired"} if is_refused else {"expires-too-soon"}
        return next((verdict for verdict in verdicts if verdict.code in codes), None)
