"""
What Astro says of a token: asked with the token itself, and joined with what the token says of itself.

At most three questions: which organizations it sees, as the Astro CLI asks before each command;
the token by its own id, which few tokens may read; and the deployment that it is for, or else the workspace.
The first answer that does not accept the token is the last question.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from astro_token.astro_api.client import support_hint
from astro_token.astro_api.records import Body
from astro_token.errors import AstroTokenError, IntegrityError, named
from astro_token.log import logger
from astro_token.policy.codes import ONLINE
from astro_token.policy.rules import Verdict, judge
from astro_token.record import replace
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

__all__ = ["Asked", "Online", "consult"]

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_CLOCKS_DIFFER = 120.0  # seconds, as `judge` allows too
_LATE = frozenset({"expired", "not-yet-valid"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that Astro answered, in whatever way."""

    what: Literal["organizations", "token", "workspace", "deployment"]
    status: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Online:
    """
    Attributes:
        token: with the scope and the expiry that Astro keeps, where it may be read.
        verdicts: all there is to say of the token, offline and online, errors first.
        accepted: None where that could not be found out.
        error: what kept us from asking all; then the verdicts are what was known until then.
        record: the token as Astro keeps it; None where it may not read itself.
        organization, workspace, deployment: as the token sees them; None where it does not, or was not asked.
        workspace_id: of the deployment, where that was seen; else of the workspace that was.
        ahead: seconds that Astro's clock is ahead of ours.
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
    asked: tuple[Asked, ...] = ()

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
    Asks Astro about a token, and judges it anew by the answers. What went wrong is returned, not raised.

    Args:
        offline: what was found without asking.
        deadline: for all questions together, and for what came before.
    """
    inquiry = _Inquiry(token, offline, settings, api, deadline)
    error = None
    try:
        inquiry.ask_all()
    except AstroTokenError as failure:
        error = named(failure, "Astro's API")
    return inquiry.outcome(error)


@dataclass
class _Inquiry:
    token: AstroToken
    offline: tuple[Verdict, ...]
    settings: TokenSettings
    api: AstroApi
    deadline: Deadline
    asked: list[Asked] = field(default_factory=list)
    found: list[Verdict] = field(default_factory=list)
    ahead: float | None = None
    record: TokenRecord | None = None
    organization: OrganizationRecord | None = None
    workspace: WorkspaceRecord | None = None
    deployment: DeploymentRecord | None = None

    def ask_all(self) -> None:
        if not self._ask_organizations() or self.late:
            return
        name = self.token.organization or self.settings.expected.organization
        organization = name or (self.organization.id if self.organization else None)
        if organization is None:
            return
        if self.token.token_id is not None and not self._ask_token(organization, self.token.token_id):
            return
        expected = self.settings.expected
        deployment = expected.deployment or self.token.deployment
        workspace = expected.workspace or self.token.workspace
        if deployment is not None:
            self._ask_deployment(organization, deployment, workspace)
        elif workspace is not None:
            self._ask_workspace(organization, workspace)

    @property
    def late(self) -> bool:
        """By our own clock the token is outside its time, so that no more than acceptance is of interest."""
        return any(verdict.code in _LATE for verdict in self.offline)

    def _get(
        self, what: Literal["organizations", "token", "workspace", "deployment"], path: str
    ) -> ApiResponse:
        answer = self.deadline.retry(lambda seconds: self.api.get(path, self.token.secret, timeout=seconds))
        logger.info(
            "asked Astro for %s: status %d, request %s", what, answer.status, answer.request_id or "-"
        )
        self.asked.append(Asked(what, answer.status, answer.request_id))
        if answer.ahead is not None and abs(answer.ahead) > abs(self.ahead or 0.0):
            self.ahead = answer.ahead
        if answer.status == _UNAUTHORIZED and not self.late:
            self._find(
                "revoked",
                "Astro does not accept the token: it was revoked or rotated, or is of another Astro domain",
                "store the one that took its place, or create a new one; see ASTRO_DOMAIN",
            )
        return answer

    def _body(self, answer: ApiResponse) -> Body:
        return Body(answer.content, self.token.secret)

    # Each asks one question, and says whether another one is worth asking.

    def _ask_organizations(self) -> bool:
        answer = self._get("organizations", "organizations?limit=100&offset=0")
        if answer.status not in {_OK, _UNAUTHORIZED, _FORBIDDEN}:  # v1 has no other answer to this
            raise IntegrityError(
                f"the server at ASTRO_TOKEN_API_URL is not Astro's API (status {answer.status})",
                hint=f"see ASTRO_TOKEN_API_URL{support_hint(answer.request_id)}",
            )
        if answer.status != _OK:
            return answer.status != _UNAUTHORIZED
        organizations, whole = self._body(answer).organizations()
        name = self.token.organization or self.settings.expected.organization
        mine = [one for one in organizations if name in {None, one.id}]
        self.organization = mine[0] if mine else None
        if not organizations:
            self._find(
                "organization-missing",
                "Astro shows the token no organization at all, and the Astro CLI breaks down on that",
                "see in Astro which roles the token has; create a new one where it has none",
            )
        elif not mine and whole:
            self._find(
                "organization-missing",
                f"Astro does not show the token the organization {name}",
                "see whether it is there still, and the identifier in the project's file",
            )
        elif self.organization and self.organization.product is None:
            self._find(
                "organization-unready",
                f"the organization {self.organization.id} has no product, on which the Astro CLI breaks down",
                "ask Astronomer's support to set up the organization",
            )
        return bool(mine) or not whole

    def _ask_token(self, organization: str, token_id: str) -> bool:
        answer = self._get("token", f"organizations/{organization}/tokens/{token_id}")
        if answer.status == _OK:
            self.record = self._body(answer).token(token_id)
        elif answer.status not in {_UNAUTHORIZED, _FORBIDDEN}:
            self._find(
                "token-missing",
                f"Astro does not know the token's id {token_id}, or does not show it",
                "see whether it stands among the organization's tokens in Astro: it may have been deleted",
            )
        return answer.status != _UNAUTHORIZED

    def _ask_deployment(self, organization: str, name: str, workspace: str | None) -> None:
        answer = self._get("deployment", f"organizations/{organization}/deployments/{name}")
        if answer.status != _OK:
            self._not_shown("deployment", name, answer.status)
            return
        self.deployment = self._body(answer).deployment(name)
        if workspace not in {None, self.deployment.workspace}:
            self._find(
                "deployment-elsewhere",
                f"the deployment {name} is in workspace {self.deployment.workspace}, not in {workspace}:"
                " the Astro CLI would deploy nothing and succeed",
                "correct the workspace or the deployment in the project's file, or store the right token",
            )

    def _ask_workspace(self, organization: str, name: str) -> None:
        answer = self._get("workspace", f"organizations/{organization}/workspaces/{name}")
        if answer.status == _OK:
            self.workspace = self._body(answer).workspace(name)
        elif answer.status == _FORBIDDEN and name == self.token.workspace:
            self._find(
                "unverified",
                f"the token may not look at its workspace {name}, so it cannot be told whether that is there",
                "expect a deployment in the project's file, which the token may look at",
            )
        else:
            self._not_shown("workspace", name, answer.status)

    def _not_shown(self, kind: str, name: str, status: int) -> None:
        if status == _FORBIDDEN:
            self._find(
                f"{kind}-forbidden",
                f"Astro does not let the token see the {kind} {name}",
                f"give the token a role of this {kind}, or store the right token under this reference",
            )
        elif status != _UNAUTHORIZED:
            self._find(
                f"{kind}-missing",
                f"Astro knows no {kind} {name}, or hides it from the token",
                f"see whether the {kind} was deleted, and its identifier in the project's file",
            )

    def _find(self, code: str, message: str, hint: str) -> None:
        level = ONLINE[code].level
        request = support_hint(self.asked[-1].request_id) if level == "error" else ""
        self.found.append(Verdict(code, level, message, hint + request))

    # -- what comes of it --------------------------------------------------------------------

    def outcome(self, error: AstroTokenError | None) -> Online:
        token = self._completed()
        statuses = {one.status for one in self.asked}
        proof = statuses - {_FORBIDDEN} if error is None else statuses & {_OK}
        accepted = False if _UNAUTHORIZED in statuses else True if proof else None
        if statuses == {_FORBIDDEN} and error is None:
            self.found.clear()
            self._find(
                "forbidden",
                "Astro refuses everything that it was asked with the token",
                "see the organization's list of allowed IP addresses, and which roles the token has",
            )
        if self.ahead is not None and abs(self.ahead) > _CLOCKS_DIFFER:
            way = "behind" if self.ahead > 0 else "ahead of"
            skew = span(timedelta(minutes=round(abs(self.ahead) / 60)))
            self._find(
                "clock-skew",
                f"this machine's clock is about {skew} {way} Astro's",
                "set the clock: a token's expiry is judged by it, and logins fail by it",
            )
        if self.record:
            wide = too_wide(self.record.roles, self.settings.policy, self.settings.expected)
            if wide:
                self._find("role-too-wide", *wide)
        return Online(
            token=token,
            verdicts=self._joined(token),
            accepted=accepted,
            error=error,
            record=self.record,
            organization=self.organization,
            workspace=self.workspace,
            deployment=self.deployment,
            ahead=self.ahead,
            asked=tuple(self.asked),
        )

    def _completed(self) -> AstroToken:
        if self.record is None:
            return self.token
        ends = [end for end in (self.token.expires, self.record.expires) if end is not None]
        return replace(
            self.token, scope=self.record.scope or self.token.scope, expires=min(ends, default=None)
        )

    def _joined(self, token: AstroToken) -> tuple[Verdict, ...]:
        expected = self.settings.expected
        # What is seen below an organization is in it.
        below = self.record or self.workspace or self.deployment
        seen = {
            "organization": self.organization.id
            if self.organization
            else below and (self.token.organization or expected.organization),
            "workspace": self.deployment.workspace
            if self.deployment
            else self.workspace and self.workspace.id,
            "deployment": self.deployment and self.deployment.id,
        }
        settled = {
            f"{kind}-unproven" for kind, name in seen.items() if name and name == getattr(expected, kind)
        }
        # Of what Astro does not show, it need not be said that the token does not prove it.
        settled |= {f"{one.code.partition('-')[0]}-unproven" for one in self.found if one.level == "error"}
        known = self.offline
        if self.record:
            times = [time for time in (self.record.created, self.record.rotated) if time is not None]
            known = judge(token, self.settings.policy, expected, since=max(times, default=None))
        found = self.found
        if late := self._by_astros_clock(token):
            earlier = {"expires-soon", "expires-too-soon"}
            known = (*(verdict for verdict in known if verdict.code not in earlier), late)
            if late.code == "expired":
                found = [verdict for verdict in found if verdict.code != "revoked"]
        verdicts = [verdict for verdict in known if verdict.code not in settled] + found
        return tuple(sorted(verdicts, key=lambda verdict: verdict.level != "error"))

    def _by_astros_clock(self, token: AstroToken) -> Verdict | None:
        """What a clock of ours that is behind hides of the expiry: the command meets Astro's."""
        if self.ahead is None or self.ahead <= _CLOCKS_DIFFER:
            return None
        now = datetime.now(UTC) + timedelta(seconds=self.ahead)
        verdicts = judge(token, self.settings.policy, self.settings.expected, now=now)
        # What Astro accepts has not expired, whatever the two clocks say.
        refused = any(one.status == _UNAUTHORIZED for one in self.asked)
        told = {"expires-too-soon", "expired"} if refused else {"expires-too-soon"}
        return next((one for one in verdicts if one.code in told), None)
