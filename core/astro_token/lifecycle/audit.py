"""
Compare the tokens of an organization with policy, and with the configurations that hold them.

    Astro's list ──┐
    configurations ┼──> verdicts about each token, and about each configuration
    policy, now ───┘

Nothing is read or requested here. The rules for one token are those of `check`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from astro_token.lifecycle.protocol import LEFTOVER_SECONDS
from astro_token.lifecycle.terraform import Terraform
from astro_token.lifecycle.title import title_base
from astro_token.policy.codes import AUDIT, ONLINE
from astro_token.policy.rules import Expectations, Policy, Verdict, errors_first, judge
from astro_token.record import Record, replace
from astro_token.secret import SecretValue
from astro_token.secrets.ref import contains_token
from astro_token.token import AstroToken
from astro_token.tokens.roles import too_wide
from astro_token.wording import from_now, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astro_token.astro_api.records import ListedToken, Pieces, TokenRecord
    from astro_token.errors import AstroTokenError

__all__ = ["Audit", "AuditedConfiguration", "AuditedToken", "Configuration", "audit"]

UNUSED = timedelta(days=90)
NEVER_USED = timedelta(days=7)  # a new token may wait for a weekly job
OLD = timedelta(days=90)
SOON = timedelta(days=14)  # if policy has no `warn_validity`
_LEFTOVER = timedelta(seconds=LEFTOVER_SECONDS)
_LONGEST_TITLE = 64
_STATUSES = ("error", "warning", "ok")


class Configuration(Record):
    """
    A configured token.

    Attributes:
        name: in the project file, else its reference.
        ref: None if its setting is wrong.
        token_id, organization: by the token's claims; None if they are unknown.
        error: the reason why it, or its rotation record, could not be read.
        rotating: the ids in its rotation record: of the pending and the previous token.
        is_admin: it is the credential of the audit, which needs a wide role.
    """

    name: str
    ref: str | None
    token_id: str | None = None
    organization: str | None = None
    error: AstroTokenError | None = None
    rotating: frozenset[str] = frozenset()
    is_admin: bool = False


class Audited(Record):
    """
    Attributes:
        verdicts: the worst first.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def status(self) -> str:
        """The level of the worst verdict, else `ok`."""
        return self.verdicts[0].level if self.verdicts else "ok"


class AuditedToken(Audited):
    """
    Attributes:
        title: None if it may not be shown.
        holders: names of the configurations that hold it.
    """

    id: str
    title: str | None
    record: TokenRecord
    holders: tuple[str, ...]


class AuditedConfiguration(Audited):
    configuration: Configuration


class Audit(Record):
    """
    The outcome of an audit, the worst tokens first.

    Attributes:
        is_complete: the configurations are known, so that a token without one is a finding.
    """

    organization: str
    now: datetime
    policy: Policy
    tokens: tuple[AuditedToken, ...]
    configurations: tuple[AuditedConfiguration, ...]
    is_complete: bool

    @property
    def items(self) -> tuple[Audited, ...]:
        return (*self.configurations, *self.tokens)

    @property
    def codes(self) -> Counter[str]:
        """The number of findings of each code."""
        return Counter(verdict.code for item in self.items for verdict in item.verdicts)

    @property
    def status(self) -> str:
        """The level of the worst finding, else `ok`."""
        return min((item.status for item in self.items), key=_STATUSES.index, default="ok")

    @property
    def statuses(self) -> Counter[str]:
        """The number of tokens of each status."""
        return Counter(token.status for token in self.tokens)


def audit(
    organization: str,
    tokens: Sequence[ListedToken],
    configurations: Sequence[Configuration],
    *,
    policy: Policy,
    now: datetime,
    pieces: Pieces,
    terraform: Terraform | None = None,
) -> Audit:
    """
    Compare tokens with policy.

    Args:
        tokens: every token of the organization.
        pieces: of the tokens that were read, which no title may contain.
        terraform: the tokens that it manages; None if that is unknown.
    """
    run = _Audit(organization, tokens, configurations, policy, now)
    run.terraform = terraform or run.terraform
    held = [AuditedConfiguration(errors_first(run.of_configuration(item)), item) for item in configurations]
    audited = [
        AuditedToken(
            run.verdicts(token),
            token.id,
            shown_title(token.title, pieces),
            token.record,
            tuple(run.names.get(token.id, ())),
        )
        for token in tokens
    ]
    audited.sort(key=_severity)
    return Audit(
        organization,
        now,
        run.policy,
        tuple(audited),
        tuple(held),
        run.is_complete,
    )


def shown_title(title: str, pieces: Pieces) -> str | None:
    """Return a title that can be shown: one short printable line, without a piece of a token."""
    fits = title.strip() and len(title_base(title)) <= _LONGEST_TITLE and title.isprintable()
    return title if fits and not contains_token(title) and not pieces.repeated_in(title) else None


def _severity(token: AuditedToken) -> tuple[int, bool, float, str]:
    """Sort by level, then by expiry, then by title."""
    ends = token.record.expires
    rank = _STATUSES.index(token.status)
    return rank, ends is None, ends.timestamp() if ends else 0, token.title or token.id


class _Audit:
    def __init__(
        self,
        organization: str,
        tokens: Sequence[ListedToken],
        configurations: Sequence[Configuration],
        policy: Policy,
        now: datetime,
    ) -> None:
        self.organization, self.now = organization, now
        self.terraform = Terraform()
        # The identifiers are those that one project may use, and an audit is about all projects.
        self.policy = replace(
            policy,
            organization=None,
            workspace=None,
            deployment=None,
            warn_validity=policy.warn_validity or SOON,
        )
        self.ids = {token.id for token in tokens}
        self.admins = {item.token_id for item in configurations if item.is_admin}
        self.names: defaultdict[str, list[str]] = defaultdict(list)
        for item in configurations:
            for token_id in (item.token_id, *item.rotating):
                if token_id is not None:
                    self.names[token_id].append(item.name)
        others = [item for item in configurations if not item.is_admin]
        # If one is not known, a token without a configuration may be the one that it holds.
        self.is_complete = bool(others) and all(item.token_id and not item.error for item in others)
        rotating = {token_id for item in configurations for token_id in item.rotating}
        self.same = Counter(
            _likeness(token) for token in tokens if token.id not in rotating and not self.is_leftover(token)
        )
        self.rotating = rotating

    def is_leftover(self, token: ListedToken) -> bool:
        created = token.record.created
        return (
            self.is_complete
            and token.id not in self.names
            and title_base(token.title) != token.title
            and (created is None or self.now - created > _LEFTOVER)
        )

    def verdicts(self, token: ListedToken) -> tuple[Verdict, ...]:
        record = token.record
        times = [time for time in (record.created, record.rotated) if time is not None]
        since = max(times, default=None)
        claims = AstroToken(
            SecretValue(b""), scope=record.scope or "organization", issued=since, expires=record.expires
        )
        verdicts = [*judge(claims, self.policy, Expectations(), now=self.now, since=since)]
        if record.expires is None or record.expires > self.now:  # an expired token can do nothing
            verdicts += self._about_use(token, since)
            verdicts += self._about_width(record)
            verdicts += self._about_origin(token)
        if token.id in self.admins:
            verdicts = [verdict for verdict in verdicts if verdict.code not in _OF_ADMINS]
        return errors_first(verdicts)

    def _about_use(self, token: ListedToken, since: datetime | None) -> Iterator[Verdict]:
        record, now = token.record, self.now
        if record.last_used is None:
            if record.created is None or now - record.created > NEVER_USED:
                at = f" since it was created at {moment(record.created)}" if record.created else ""
                yield _verdict("unused", f"the token was never used{at}")
        elif now - record.last_used > UNUSED:
            yield _verdict("unused", f"the token was last used at {moment(record.last_used)}")
        if self.policy.max_age is None and since is not None and now - since > OLD:
            act = "created" if record.rotated is None else "last rotated"
            yield _verdict("not-rotated", f"the token was {act} {from_now(since, now)}")

    def _about_width(self, record: TokenRecord) -> Iterator[Verdict]:
        if record.scope == "organization" and self.policy.max_scope is None:
            yield _verdict("organization-scope", "the token is of organization scope")
        if wide := too_wide(record.roles, self.policy, Expectations()):
            message, hint = wide
            yield Verdict("role-too-wide", ONLINE["role-too-wide"].level, message, hint)
        if record.kind == "direct-access":
            yield Verdict(
                "direct-access",
                ONLINE["direct-access"].level,
                "the token is a direct-access token, which is for the Airflow API of a deployment",
                "check that an automation needs it, and use a standard token to deploy",
            )

    def _about_origin(self, token: ListedToken) -> Iterator[Verdict]:
        count = self.same[_likeness(token)]
        if self.is_leftover(token):
            used = token.record.last_used
            use = f"last used at {moment(used)}" if used else "never used"
            yield _verdict(
                "leftover",
                f"an interrupted rotation left the token ({use}), and no configuration holds it",
            )
        elif self.is_complete and token.id not in self.names:
            yield _verdict("unconfigured", "no configuration holds the token")
        elif token.id in self.rotating:
            count = 0
        if count > 1 and not self.is_leftover(token):
            yield _verdict("duplicate", f"{count} tokens have this scope, these roles and this title")
        # Astro does not record it, and the Terraform provider leaves no mark.
        if self.terraform.manages(token.id, token.title):
            yield _verdict(
                "terraform",
                "Terraform manages the token, by its files in the repository; a state holds the value",
            )
        elif any("terraform" in text.casefold() for text in (token.title, token.description, token.creator)):
            yield _verdict("terraform", "Terraform probably manages the token, and its state holds the value")

    def of_configuration(self, item: Configuration) -> Iterator[Verdict]:
        if item.error is not None:
            yield _verdict("not-compared", item.error.message, item.error.hint or "")
        if item.token_id is None:
            if item.error is None:
                yield _verdict("not-compared", "the configured token does not contain its id")
        elif item.organization not in {None, self.organization}:
            yield _verdict(
                "other-organization", f"the configured token is of the organization {item.organization}"
            )
        elif item.token_id not in self.ids:
            yield _verdict(
                "token-unknown", f"Astro's list does not contain the configured token {item.token_id}"
            )


# The credential that manages tokens needs an owner's role of the organization.
_OF_ADMINS = frozenset({"organization-scope", "scope-too-wide", "role-too-wide"})


def _likeness(token: ListedToken) -> tuple[object, ...]:
    roles = frozenset(token.record.roles)
    return title_base(token.title).strip().casefold(), token.record.scope, token.record.kind, roles


def _verdict(name: str, message: str, hint: str = "") -> Verdict:
    code = AUDIT[name]
    return Verdict(name, code.level, message, hint or code.hint)
