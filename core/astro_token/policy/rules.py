"""
Policy: the rules for tokens, one row per key, and the verdicts on a token.

A row of `Policy` is everything about its key: TOML key, variable, parsers, the stricter of two values,
verdict codes, check, documentation. The project file, the environment, `judge`, `doctor`,
the JSON schema and the tables in the documentation are derived from it (`make tables` writes the latter two).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from astro_token.errors import ConfigError, PolicyError
from astro_token.policy.codes import AUDIT, DEPLOY, LEVELS, NEW, ONLINE, TOKEN, Code, Level
from astro_token.policy.parsers import (
    duration,
    flag,
    flag_text,
    identifier,
    levels,
    levels_text,
    lifetime,
    registries,
    roles,
    scope,
    unknown_key,
)
from astro_token.policy.references import matches, references
from astro_token.record import Record, replace
from astro_token.token import SCOPES, AstroToken, Scope
from astro_token.wording import did_you_mean, moment, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, ClassVar, Literal

    from astro_token.policy.references import Patterns
    from astro_token.secrets.ref import SecretRef

    Finding = tuple[str, str] | tuple[str, str, str]  # code, message, and a hint instead of the remedy

__all__ = [
    "CODES",
    "OFFLINE",
    "RULES",
    "Case",
    "Expectations",
    "Policy",
    "PolicyRule",
    "Verdict",
    "enforce",
    "errors_first",
    "judge",
    "policy_from_environ",
    "policy_from_table",
]

PREFIX = "ASTRO_TOKEN_POLICY_"
_MAX_CLOCK_SKEW = timedelta(seconds=120)
_NARROWER = "create a token of a scope that policy allows, and store it instead"
_WITH_EXPIRY = "create one with an expiry, and rotate it"
_ONLINE = "or check it with --online"
_ROTATE = "rotate it with `astro-token rotate`; or in Astro, and store the new one instead"


class Expectations(Record):
    """
    The identifiers that a token should be for; None for any.

    Attributes:
        organization: identifier of the organization that the token should be for.
        workspace: identifier of the workspace that the token should be for.
        deployment: identifier of the deployment that the token should be for, and that `exec` deploys to.
    """

    organization: str | None = None
    workspace: str | None = None
    deployment: str | None = None


class Verdict(Record):
    """
    A finding about a token or a deploy.

    Attributes:
        code: stable, for programs.
        level: an error keeps the token from being used, a warning does not.
        message: the defect, one line.
        hint: the remedy, one line.
    """

    code: str
    level: Literal["error", "warning"]
    message: str
    hint: str


class Case(Record):
    """
    A token to check, with everything that the checks need.

    Attributes:
        since: time of creation or last rotation; None if unknown.
    """

    token: AstroToken
    policy: Policy
    expected: Expectations
    now: datetime
    since: datetime | None


# -- the checks of the rows -----------------------------------------------------------------------------


def _check_scope(case: Case) -> Iterator[Finding]:
    widest, actual = case.policy.max_scope, case.token.scope
    if widest is not None and SCOPES.index(actual) < SCOPES.index(widest):
        yield (
            "scope-too-wide",
            f"the token's scope is {actual}, and policy allows {widest} at most",
            f"create a token of {widest} scope and store it instead",
        )


def _check_expiry(case: Case) -> Iterator[Finding]:
    if case.token.expires is None:
        yield "no-expiry", "the token never expires"


def _check_min_validity(case: Case) -> Iterator[Finding]:
    expires, least = case.token.expires, case.policy.min_validity
    if expires is not None and timedelta() < expires - case.now < least:
        yield (
            "expires-too-soon",
            f"the token expires at {moment(expires)}, and policy requires {span(least)} from now",
        )


def _check_warn_validity(case: Case) -> Iterator[Finding]:
    expires, policy = case.token.expires, case.policy
    if expires is None or expires <= case.now:
        return
    if policy.min_validity <= expires - case.now < policy.warn_validity:
        yield "expires-soon", f"the token expires at {moment(expires)}"


def _check_age(case: Case) -> Iterator[Finding]:
    limit, since = case.policy.max_age, case.since
    if limit is None:
        return
    if since is None:
        yield (
            "age-unproven",
            "the token does not contain its issue time, so its age is unknown",
            "create a new one in Astro, or give it a role that may read it with --online",
        )
    elif since > case.now + _MAX_CLOCK_SKEW:
        yield (
            "age-unproven",
            f"the token dates from {moment(since)}, which is in the future, so its age is unknown",
            "check this machine's clock, or create a new token in Astro",
        )
    elif case.now - since > limit:
        yield "too-old", f"the token dates from {moment(since)}, and policy allows an age of {span(limit)}"


def _narrower(first: Scope, second: Scope) -> Scope:
    return max(first, second, key=SCOPES.index)


def _only(first: str, second: str) -> str:
    if first == second:
        return first
    raise PolicyError(
        f"policy requires both {first} and {second}, and nothing can be for both",
        hint="correct [policy] of the project file, or the policy variable",
    )


def _both(first: Patterns, second: Patterns) -> Patterns:
    return first + second


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in first if name in second)


def _stricter_levels(first: Mapping[str, Level], second: Mapping[str, Level]) -> Mapping[str, Level]:
    both = {
        code: max((levels[code] for levels in (first, second) if code in levels), key=LEVELS.index)
        for code in (*first, *second)
    }
    return MappingProxyType(both)


# -- the table ------------------------------------------------------------------------------------------


class PolicyRule(Record):
    """
    A row of `Policy`: everything about one key.

    Attributes:
        default: the value that allows everything.
        parse: parses a TOML value; see `policy.parsers`.
        stricter: chooses the stricter of two values.
        example: a TOML value, for the documentation.
        doc: one line, for the documentation.
        parse_text: parses the text of the variable; None if `parse` does.
        codes: the verdict codes of `check`.
        check: yields each finding: code, message, and a hint unless the remedy of the code serves.
        key: the TOML key; the attribute's name.
    """

    default: Any
    parse: Callable[[object, str], Any]
    stricter: Callable[[Any, Any], Any]
    example: str
    doc: str
    parse_text: Callable[[object, str], Any] | None = None
    codes: Mapping[str, Code] = MappingProxyType({})
    check: Callable[[Case], Iterable[Finding]] = lambda _: ()
    key: str = ""

    @property
    def variable(self) -> str:
        """Name of the environment variable that sets a floor."""
        return PREFIX + self.key.upper()


def _rule(**columns: Any) -> Any:
    """Declare a row. Type checkers see the value of the attribute."""
    return PolicyRule(**columns)


class _Table(Record):
    """Collects the rows of a class, and makes their defaults its defaults."""

    rules: ClassVar[Mapping[str, PolicyRule]]

    def __init_subclass__(cls) -> None:
        rows = {name: row for name, row in cls.__dict__.items() if isinstance(row, PolicyRule)}
        cls.rules = MappingProxyType({name: replace(row, key=name) for name, row in rows.items()})
        for name, row in rows.items():
            setattr(cls, name, row.default)
        super().__init_subclass__()


class Policy(_Table):
    """
    The rules of a team for its tokens.

    Attributes:
        max_scope: the widest scope that a token may have; None for any.
        require_expiry: if true, a token without an expiry is an error.
        min_validity: a token that expires sooner is an error.
        warn_validity: a token that expires sooner is a warning.
        max_age: a token that was created, or last rotated, longer ago is an error; None for any age.
        online: if true, a token is checked with Astro before it is used.
        organization, workspace, deployment: the only one that a token may be for; None for any.
        ref: lists of patterns; a reference must match one of each list, and is not read otherwise.
        decrypt: the same, for the key of a key service.
        roles: names of the roles that a new token may have; None for any.
        max_lifetime: the longest lifetime of a new token; None for any, also without an expiry.
        cli_lock: if true, only a release of the Astro CLI with a pinned digest is installed and started.
        registries: lists of image registries; one that the Astro CLI's configuration names must be in each.
        deploy: levels of the findings before a deploy, by code; other codes have their documented level.
    """

    max_scope: Scope | None = _rule(
        default=None,
        parse=scope,
        stricter=_narrower,
        example='"workspace"',
        doc="the widest scope that a token may have: `organization` > `workspace` > `deployment`",
        codes={"scope-too-wide": Code("error", "its scope is wider than `max_scope`", _NARROWER)},
        check=_check_scope,
    )
    require_expiry: bool = _rule(
        default=False,
        parse=flag,
        parse_text=flag_text,
        stricter=max,
        example="true",
        doc="a token that never expires is an error, not a warning",
        codes={"no-expiry": Code("warning", "it never expires", _WITH_EXPIRY, required="require_expiry")},
        check=_check_expiry,
    )
    min_validity: timedelta = _rule(
        default=timedelta(),
        parse=duration,
        stricter=max,
        example='"1h"',
        doc="a token that expires sooner is an error",
        codes={"expires-too-soon": Code("error", "it is valid for less than `min_validity`", NEW)},
        check=_check_min_validity,
    )
    warn_validity: timedelta = _rule(
        default=timedelta(),
        parse=duration,
        stricter=max,
        example='"14d"',
        doc="a token that expires sooner is a warning",
        codes={"expires-soon": Code("warning", "it is valid for less than `warn_validity`", NEW)},
        check=_check_warn_validity,
    )
    max_age: timedelta | None = _rule(
        default=None,
        parse=duration,
        stricter=min,
        example='"90d"',
        doc="a token that was created, or last rotated, longer ago is an error",
        codes={
            "too-old": Code("error", "it was created, or last rotated, longer ago than `max_age`", _ROTATE),
            "age-unproven": Code(
                "warning",
                "it contains no issue time or one in the future, and policy has a `max_age`",
                "check this machine's clock, create a new token, or give it a role that may read it "
                "with `--online`",
            ),
        },
        check=_check_age,
    )
    online: bool = _rule(
        default=False,
        parse=flag,
        parse_text=flag_text,
        stricter=max,
        example="true",
        doc="a token is checked with Astro before it is used ([online.md](online.md))",
    )
    organization: str | None = _rule(
        default=None,
        parse=identifier,
        stricter=_only,
        example='"clorg00000000000000000"',
        doc="the only organization that a token may be for",
    )
    workspace: str | None = _rule(
        default=None,
        parse=identifier,
        stricter=_only,
        example='"clws00000000000000000"',
        doc="the only workspace that a token may be for",
    )
    deployment: str | None = _rule(
        default=None,
        parse=identifier,
        stricter=_only,
        example='"cldep00000000000000000"',
        doc="the only deployment that a token may be for, and that `exec` deploys to",
    )
    ref: Patterns | None = _rule(
        default=None,
        parse=references,
        stricter=_both,
        example='"vault:secret/team/*, env:TOKEN"',
        doc="the references that may be read, separated by commas, each perhaps with `*` at its end",
    )
    decrypt: Patterns | None = _rule(
        default=None,
        parse=references,
        stricter=_both,
        example='"vault-transit:astro"',
        doc="the keys that may decrypt a token, and encrypt a new one, separated by commas as in `ref`",
    )
    roles: tuple[str, ...] | None = _rule(
        default=None,
        parse=roles,
        stricter=_common,
        example='"DEPLOYMENT_ADMIN, WORKSPACE_AUTHOR"',
        doc="the roles that `create` and `rotate` may give, separated by commas ([rotate.md](rotate.md))",
    )
    max_lifetime: timedelta | None = _rule(
        default=None,
        parse=lifetime,
        stricter=min,
        example='"90d"',
        doc="`create` and `rotate` make no token that lives longer, or for ever ([rotate.md](rotate.md))",
    )
    cli_lock: bool = _rule(
        default=False,
        parse=flag,
        parse_text=flag_text,
        stricter=max,
        example="true",
        doc="`install-cli` installs and `exec` starts `astro` only with digests in `[astro-cli.sha256]`",
    )
    registries: tuple[tuple[str, ...], ...] | None = _rule(
        default=None,
        parse=registries,
        stricter=_both,
        example='"registry.example.com, example.com/team"',
        doc="the image registries that `.astro/config.yaml` may name; another one is an error, not a warning",
    )
    deploy: Mapping[str, Level] = _rule(
        default=MappingProxyType({}),
        parse=levels,
        parse_text=levels_text,
        stricter=_stricter_levels,
        example='{ uncommitted = "off" }',
        doc="levels of the findings before a deploy ([check-deploy.md](check-deploy.md))",
    )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, key) for key, rule in self.rules.items() if key != "deploy"))

    def tightened(self, other: Policy) -> Policy:
        """Combine two policies into the one that allows only what both allow."""
        values: dict[str, Any] = {}
        for key, rule in self.rules.items():
            first, second = getattr(self, key), getattr(other, key)
            if first is None or second is None:
                values[key] = first if second is None else second
            else:
                values[key] = rule.stricter(first, second)
        return Policy(**values)

    def expectations(self, expected: Expectations) -> Expectations:
        """
        Add the identifiers that policy requires to the project's expectations.

        Raises:
            PolicyError: the project expects another one.
        """
        required = {kind: getattr(self, kind) for kind in SCOPES if getattr(self, kind) is not None}
        for kind, name in required.items():
            if (other := getattr(expected, kind)) not in {None, name}:
                raise PolicyError(
                    f"the project file expects {kind} {other}, and policy requires {name}",
                    hint=f"use a token of this {kind}, or run the command where another policy applies",
                )
        return replace(expected, **required) if required else expected

    def check_ref(self, ref: SecretRef) -> None:
        """
        Refuse a reference before it is read.

        Raises:
            PolicyError: no pattern of policy matches it.
        """
        _check_patterns(self.ref, ref, "reference")

    def check_key(self, key: SecretRef) -> None:
        """
        Refuse a key before it is used: whoever chooses it may be able to decrypt what is encrypted with it.

        Raises:
            PolicyError: no pattern of policy matches it.
        """
        _check_patterns(self.decrypt, key, "key")


def _check_patterns(lists: Patterns | None, ref: SecretRef, kind: str) -> None:
    for patterns in lists or ():
        if not any(matches(pattern, ref) for pattern in patterns):
            raise PolicyError(
                f"policy does not allow the {kind} {ref}",
                hint=f"policy allows {', '.join(patterns)}: use one of these, or change the policy",
            )


RULES = Policy.rules

# The codes of the offline check.
OFFLINE: Mapping[str, Code] = MappingProxyType(
    {**TOKEN, **{name: code for rule in RULES.values() for name, code in rule.codes.items()}}
)
CODES: Mapping[str, Code] = MappingProxyType({**OFFLINE, **ONLINE, **DEPLOY, **AUDIT})


def policy_from_table(table: Mapping[str, object], name: str) -> Policy:
    """
    Parse the table `[policy]`.

    Args:
        name: the table's name, with the file in front, for messages.

    Raises:
        ConfigError: a key is unknown, or its value is malformed.
    """
    for key in table:
        if key not in RULES:
            raise unknown_key(key, RULES, name)
    return Policy(**{key: RULES[key].parse(value, f"{name}.{key}") for key, value in table.items()})


def policy_from_environ(environ: Mapping[str, str]) -> Policy:
    """
    Parse the variables `ASTRO_TOKEN_POLICY_…`; empty ones count as unset.

    Raises:
        ConfigError: a variable is unknown, or its value is malformed.
    """
    rules = {rule.variable: rule for rule in RULES.values()}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not text.strip() or not name.startswith(PREFIX):
            continue
        rule = rules.get(name)
        if rule is None:
            raise ConfigError(
                f"{name} is not a policy variable",
                hint=did_you_mean(name, rules) + f"the policy variables are {', '.join(rules)}",
            )
        values[rule.key] = (rule.parse_text or rule.parse)(text.strip(), name)
    return Policy(**values)


# -- verdicts -------------------------------------------------------------------------------------------


def judge(
    token: AstroToken,
    policy: Policy,
    expected: Expectations,
    *,
    now: datetime | None = None,
    since: datetime | None = None,
) -> tuple[Verdict, ...]:
    """
    Check a token offline, and return its defects, errors first. What cannot be proven offline is a warning.

    Args:
        since: the time at which Astro created or last rotated it, if known; else its own claim counts.
    """
    case = Case(token, policy, expected, now or datetime.now(UTC), since or token.issued)
    checks = (_check_times, *(rule.check for rule in RULES.values()), _check_expectations, _check_signature)
    return errors_first(_verdict(policy, *finding) for check in checks for finding in check(case))


def enforce(verdicts: Iterable[Verdict], ref: object = None) -> None:
    """
    Refuse a token with an error.

    Args:
        ref: the token's reference, for the message.

    Raises:
        InvalidTokenError: it has expired, or Astro no longer accepts it.
        PolicyError: policy or the project's expectations do not allow it.
    """
    for verdict in verdicts:
        if verdict.level == "error":
            error = CODES[verdict.code].error if verdict.code in CODES else PolicyError
            raise error(f"{ref}: {verdict.message}" if ref else verdict.message, hint=verdict.hint)


def errors_first(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Sort verdicts by level, else in the given order."""
    return tuple(sorted(verdicts, key=lambda verdict: verdict.level != "error"))


def _verdict(policy: Policy, name: str, message: str, hint: str = "") -> Verdict:
    code = OFFLINE[name]
    required = code.required is not None and getattr(policy, code.required)
    return Verdict(name, "error" if required else code.level, message, hint or code.hint)


def _check_times(case: Case) -> Iterator[Finding]:
    token, now = case.token, case.now
    if token.expires is not None and token.expires <= now:
        yield "expired", f"the token expired at {moment(token.expires)}"
    if token.not_before and token.not_before > now + _MAX_CLOCK_SKEW:
        yield "not-yet-valid", f"the token is not valid before {moment(token.not_before)}"


def _check_expectations(case: Case) -> Iterator[Finding]:
    token, policy = case.token, case.policy
    expected = policy.expectations(case.expected)
    # A deployment is part of its workspace: if the deployment is right, the workspace needs no proof,
    # unless policy requires the workspace, and the project chose the deployment.
    right_deployment = expected.deployment is not None and token.deployment == expected.deployment
    right_workspace = right_deployment and (policy.workspace is None or policy.deployment is not None)
    for kind in SCOPES:
        wanted, actual = getattr(expected, kind), getattr(token, kind)
        if wanted is None or wanted == actual or (kind == "workspace" and not actual and right_workspace):
            continue
        if kind == "deployment" and actual is None and token.workspace and policy.deployment is None:
            continue  # a workspace's token covers its deployments: only Astro can tell if this is one of them
        source = "the project expects" if getattr(policy, kind) is None else "policy requires"
        if actual is not None:
            yield f"wrong-{kind}", f"the token is for {kind} {actual}, and {source} {wanted}"
        else:
            message = f"the token names no {kind}; {source} {wanted}"
            # A token of organization scope need not name its organization: another scope would not help.
            by_name = token.deployment and kind != "organization"
            hint = f"use a token of {kind} scope, or name its deployment in the project file, {_ONLINE}"
            yield f"{kind}-unproven", message, hint if by_name else ""


def _check_signature(case: Case) -> Iterator[Finding]:
    if "signature-cut" in case.token.doubts:
        message = "the token's signature is too short for its algorithm, so its end is probably cut off"
        yield "signature-cut", message
