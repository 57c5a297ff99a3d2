"""What a team allows, compared with what a token says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from astro_token.errors import ConfigError, InvalidTokenError, PolicyError
from astro_token.token import SCOPES, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secrets.ref import SecretRef
    from astro_token.token import AstroToken

__all__ = [
    "CODES",
    "LEVELS",
    "Expectations",
    "Level",
    "Policy",
    "Verdict",
    "duration",
    "enforce",
    "judge",
    "length",
]

Level = Literal["off", "warning", "error"]
LEVELS: tuple[Level, ...] = ("off", "warning", "error")

# What is found by looking at the token alone, and how bad each is. docs/check.md tells of each what to do.
CODES: Mapping[str, Literal["error", "warning"]] = {
    "expired": "error",
    "not-yet-valid": "error",
    "expires-too-soon": "error",
    "expires-soon": "warning",
    "no-expiry": "warning",  # an error where policy requires one
    "too-old": "error",
    "age-unproven": "warning",
    "scope-too-wide": "error",
    "wrong-organization": "error",
    "wrong-workspace": "error",
    "wrong-deployment": "error",
    "organization-unproven": "warning",
    "workspace-unproven": "warning",
    "deployment-unproven": "warning",
    "signature-cut": "warning",
}

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_CLOCKS_DIFFER = timedelta(seconds=120)
_NEW = "create a new token in Astro and store it in the place of this one"


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Attributes:
        max_scope: the widest scope a token may have; None for any.
        require_expiry: whether a token that never expires fails.
        min_validity: a token that expires sooner fails.
        warn_validity: a token that expires sooner is warned of.
        max_age: a token that was created, or last rotated, longer ago fails; None for any age.
        online: whether Astro is asked about each token before it is handed over.
        deploy: how bad the findings before a deploy are, by their codes; those that are not in it
            have the level that they are documented with.
    """

    max_scope: Scope | None = None
    require_expiry: bool = False
    min_validity: timedelta = timedelta()
    warn_validity: timedelta = timedelta()
    max_age: timedelta | None = None
    online: bool = False
    deploy: Mapping[str, Level] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    def tightened(self, other: Policy) -> Policy:
        """The policy that allows what both allow."""
        scopes = [scope for scope in (self.max_scope, other.max_scope) if scope]
        ages = [age for age in (self.max_age, other.max_age) if age is not None]
        return Policy(
            max_scope=max(scopes, key=SCOPES.index, default=None),
            require_expiry=self.require_expiry or other.require_expiry,
            min_validity=max(self.min_validity, other.min_validity),
            warn_validity=max(self.warn_validity, other.warn_validity),
            max_age=min(ages, default=None),
            online=self.online or other.online,
            deploy=_stricter(self.deploy, other.deploy),
        )


def _stricter(one: Mapping[str, Level], other: Mapping[str, Level]) -> Mapping[str, Level]:
    both = {
        code: max((levels[code] for levels in (one, other) if code in levels), key=LEVELS.index)
        for code in (*one, *other)
    }
    return MappingProxyType(both)


@dataclass(frozen=True, slots=True)
class Expectations:
    """The identifiers that the project expects a token to be for; None for any."""

    organization: str | None = None
    workspace: str | None = None
    deployment: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    One finding about a token.

    Attributes:
        code: stable, for programs.
        level: an error keeps the token from being handed over, a warning does not.
        message: what is wrong, one line.
        hint: what to do, one line.
    """

    code: str
    level: Literal["error", "warning"]
    message: str
    hint: str


def duration(text: object, name: str) -> timedelta:
    """
    Reads a duration such as `90s`, `30m`, `1h`, `14d`, `2w`.

    Raises:
        ConfigError: it is none; `name` says which setting it is.
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text) if isinstance(text, str) else None
    if match is None:
        raise ConfigError(
            f"{name} is no duration", hint='write a number and one of s, m, h, d, w, such as "14d"'
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def judge(
    token: AstroToken,
    policy: Policy,
    expected: Expectations,
    *,
    now: datetime | None = None,
    since: datetime | None = None,
) -> tuple[Verdict, ...]:
    """
    All findings about a token, errors first. What an offline look cannot prove is a warning.

    Args:
        since: when Astro created or last rotated it, where Astro was asked; else its own word counts.
    """
    now = now or datetime.now(UTC)
    found = [
        *_validity(token, policy, now),
        *_age(since or token.issued, policy, now),
        *_scope(token, policy),
        *_expected(token, expected),
    ]
    if "signature-cut" in token.doubts:
        found.append(
            _verdict(
                "signature-cut",
                "the token's signature is shorter than its algorithm makes it: it looks cut off",
                "store the whole token as Astro showed it when it was created",
            )
        )
    return tuple(sorted(found, key=lambda verdict: verdict.level != "error"))


def enforce(verdicts: tuple[Verdict, ...], ref: SecretRef | None = None) -> None:
    """
    Keeps a token with an error from being handed over.

    Args:
        ref: where it came from, for the message.

    Raises:
        InvalidTokenError: it has expired, or Astro no longer accepts it.
        PolicyError: policy or the project's expectations do not allow it.
    """
    for verdict in verdicts:
        if verdict.level == "error":
            kind = InvalidTokenError if verdict.code in {"expired", "revoked"} else PolicyError
            raise kind(f"{ref}: {verdict.message}" if ref else verdict.message, hint=verdict.hint)


def _verdict(code: str, message: str, hint: str) -> Verdict:
    return Verdict(code, CODES[code], message, hint)


def _validity(token: AstroToken, policy: Policy, now: datetime) -> list[Verdict]:
    found = _expiry(token, policy, now)
    if token.not_before and token.not_before > now + _CLOCKS_DIFFER:
        found.append(
            _verdict(
                "not-yet-valid",
                f"the token is not valid before {moment(token.not_before)}",
                "wait until then, or compare this machine's clock with the time",
            )
        )
    return found


def _expiry(token: AstroToken, policy: Policy, now: datetime) -> list[Verdict]:
    if token.expires is None:
        level = "error" if policy.require_expiry else CODES["no-expiry"]
        return [
            Verdict("no-expiry", level, "the token never expires", "create one with an expiry, and rotate it")
        ]
    left = token.expires - now
    when = f"expires at {moment(token.expires)}"
    if left <= timedelta():
        return [_verdict("expired", f"the token expired at {moment(token.expires)}", _NEW)]
    if left < policy.min_validity:
        return [
            _verdict(
                "expires-too-soon",
                f"the token {when}, and policy asks for {length(policy.min_validity)} from now",
                _NEW,
            )
        ]
    if left < policy.warn_validity:
        return [_verdict("expires-soon", f"the token {when}", _NEW)]
    return []


def _age(since: datetime | None, policy: Policy, now: datetime) -> list[Verdict]:
    if policy.max_age is None:
        return []
    if since is None:
        return [
            _verdict(
                "age-unproven",
                "the token does not say when it was issued, so its age cannot be told",
                "create a new one in Astro, or give it a role with which it may be looked up by --online",
            )
        ]
    if since > now + _CLOCKS_DIFFER:
        return [
            _verdict(
                "age-unproven",
                f"the token is of {moment(since)}, which is still to come, so its age cannot be told",
                "compare this machine's clock with the time, or create a new token in Astro",
            )
        ]
    if now - since <= policy.max_age:
        return []
    return [
        _verdict(
            "too-old",
            f"the token is of {moment(since)}, and policy allows an age of {length(policy.max_age)}",
            "rotate it in Astro, and store the new one in the place of this one",
        )
    ]


def _scope(token: AstroToken, policy: Policy) -> list[Verdict]:
    if policy.max_scope is None or SCOPES.index(token.scope) >= SCOPES.index(policy.max_scope):
        return []
    return [
        _verdict(
            "scope-too-wide",
            f"the token's scope is {token.scope}, and policy allows {policy.max_scope} at most",
            f"create a token of the {policy.max_scope} scope and store it in the place of this one",
        )
    ]


def _expected(token: AstroToken, expected: Expectations) -> list[Verdict]:
    found = []
    # A deployment is less than its workspace: where it is the right one, the workspace need not be proven.
    right_deployment = expected.deployment is not None and token.deployment == expected.deployment
    for kind in SCOPES:
        wanted, actual = getattr(expected, kind), getattr(token, kind)
        if wanted is None or wanted == actual or (kind == "workspace" and not actual and right_deployment):
            continue
        if actual is None:
            found.append(
                _verdict(
                    f"{kind}-unproven",
                    f"the token names no {kind}, so it cannot be told whether it is for {wanted}",
                    _proven(kind, token),
                )
            )
        else:
            found.append(
                _verdict(
                    f"wrong-{kind}",
                    f"the token is for {kind} {actual}, and the project expects {wanted}",
                    "store the right token under this reference, or correct the project's file",
                )
            )
    return found


def _proven(kind: Scope, token: AstroToken) -> str:
    if kind == "organization":  # which the widest of tokens is no better at than another
        return "use a token that names its organization, or let Astro say by --online whose it is"
    other = ", or expect its deployment in the project's file" if token.deployment else ""
    return f"use a token of the {kind} scope{other}, or ask Astro by --online"


def moment(time: datetime) -> str:
    """A time for people, in UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def length(time: timedelta) -> str:
    """How long that is, for people: in whole units, the largest of which there are two, or exactly one."""
    seconds = int(time.total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count, rest = divmod(seconds, size)
        if count > 1 or (count == 1 and not rest):
            return f"{count} {unit}{'s' * (count > 1)}"
    return f"{seconds} second{'s' * (seconds != 1)}"
