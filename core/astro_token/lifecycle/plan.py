"""
The token to create: from the settings, the options, policy, and the token that it replaces.

Everything in the project file is a request. Policy of the environment limits it, and a rotation never widens.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from astro_token.astro_api.records import NewRole, similar_role
from astro_token.astro_api.tokens import NewToken
from astro_token.errors import InvalidTokenError, PolicyError, UsageError
from astro_token.lifecycle.title import title_base
from astro_token.policy.rules import enforce, judge
from astro_token.record import replace
from astro_token.secret import SecretValue
from astro_token.token import SCOPES, AstroToken, Scope
from astro_token.tokens.roles import too_wide
from astro_token.wording import span

if TYPE_CHECKING:
    from astro_token.astro_api.records import TokenDetails
    from astro_token.settings.resolve import TokenSettings

__all__ = ["Target", "new_token", "replacement", "same_roles", "target_of", "wide_role"]

DEFAULT_LIFETIME = timedelta(days=90)
_DESCRIPTION = "managed by astro-token"
_TITLE = "astro-token"
_LONGEST_TITLE = 200

Target = tuple[Scope, str]  # the entity of a token, with its kind


def target_of(settings: TokenSettings) -> Target | None:
    """The narrowest entity that the project or policy expects."""
    expected = settings.expected
    named = ((scope, getattr(expected, scope)) for scope in reversed(SCOPES))
    return next(((scope, name) for scope, name in named if name is not None), None)


def requested_role(settings: TokenSettings, target: Target | None) -> tuple[Scope, NewRole]:
    """
    Return the scope of a token that is to be created, and its role there.

    Raises:
        UsageError: the role or the scope is missing, or they do not fit together.
    """
    role = settings.request.role
    missing = [name for name, value in (("role", role), ("scope", target)) if value is None]
    if role is None or target is None:
        raise UsageError(
            f"create needs a {' and a '.join(missing)}",
            hint="give --role and one of --organization, --workspace, --deployment, "
            "or write them in the token's table of astro-token.toml",
        )
    scope, entity = target
    kind = next((kind for kind in SCOPES if role.startswith(f"{kind.upper()}_")), scope)
    if kind != scope:
        raise UsageError(
            f"{role} is a role of a {kind}, and the token would be for the {scope} {entity}",
            hint=f"name a role of the {scope}, or the {kind}",
        )
    return scope, NewRole(role, scope, entity)


def new_token(
    settings: TokenSettings, scope: Scope, role: NewRole, organization: str, *, never_expires: bool
) -> NewToken:
    """
    Plan a token with a role, and the lifetime and title of the settings.

    Raises:
        PolicyError: policy does not allow the token.
    """
    title = settings.request.title or settings.name or _TITLE
    days = _days(settings, never_expires=never_expires)
    token = NewToken(title, scope, (role,), days, _DESCRIPTION)
    _check_policy(token, organization, settings)
    return token


def replacement(settings: TokenSettings, current: TokenDetails, organization: str) -> NewToken:
    """
    Plan the token that replaces another one: with its roles, or with the one that the project file names.

    Raises:
        InvalidTokenError: the current token cannot be copied.
        PolicyError: policy does not allow the new token, or it would be wider than the current one.
    """
    if current.record.kind == "direct-access":
        raise InvalidTokenError(
            "the token is a direct-access token, which rotate cannot replace", hint="rotate it in Astro"
        )
    roles = _kept_roles(settings, current)
    scope = _scope_of(roles) if settings.request.role else current.record.scope
    own = [role for role in roles if role.kind == scope]
    if scope is None or len(own) != 1:
        raise InvalidTokenError(
            f"the token does not have exactly one role of its scope, {scope or 'which is unknown'}",
            hint="check its roles in Astro, or create a new token with `astro-token create`",
        )
    title = settings.request.title or _title_of(current) or settings.name or _TITLE
    others = [role for role in roles if role is not own[0]]
    days = _days(settings, never_expires=False, default=_lifetime_of(current))
    token = NewToken(title, scope, (own[0], *others), days, _DESCRIPTION)
    _check_policy(token, organization, settings)
    return token


def same_roles(settings: TokenSettings, current: TokenDetails) -> NewToken:
    """Describe a token like the current one, to finish an open rotation with. It is not to be created."""
    title = settings.request.title or _title_of(current) or settings.name or _TITLE
    return NewToken(title, current.record.scope or "organization", current.roles, None, _DESCRIPTION)


def wide_role(token: NewToken, settings: TokenSettings) -> tuple[str, str] | None:
    """Return a message and a hint if a role is wider than needed, else None."""
    return too_wide(tuple(role.shown for role in token.roles), settings.policy, settings.expected)


def _lifetime_of(current: TokenDetails) -> timedelta:
    """The lifetime of a token in whole days, if it is known and shorter than the default."""
    record = current.record
    days = record.days
    if days is None and record.created and record.expires and not record.rotated:
        days = max(1, round((record.expires - record.created) / timedelta(days=1)))
    return min(timedelta(days=days or DEFAULT_LIFETIME.days), DEFAULT_LIFETIME)


def _days(
    settings: TokenSettings, *, never_expires: bool, default: timedelta = DEFAULT_LIFETIME
) -> int | None:
    policy, wanted = settings.policy, settings.request.lifetime
    longest = policy.max_lifetime
    if never_expires:
        if policy.require_expiry or longest is not None:
            raise PolicyError(
                "policy does not allow a token that never expires",
                hint="give --lifetime instead of --never-expires",
            )
        return None
    if wanted is None:
        return min(default, longest or default).days
    if longest is not None and wanted > longest:
        raise PolicyError(
            f"policy allows a lifetime of {span(longest)} at most, and {span(wanted)} is requested",
            hint="correct lifetime in the project file, or --lifetime",
        )
    return wanted.days


def _check_policy(token: NewToken, organization: str, settings: TokenSettings) -> None:
    allowed = settings.policy.roles
    for role in token.roles:
        if allowed is not None and role.role not in allowed:
            is_shown = role.shown.role is not None or role.role == settings.request.role
            name = f"the role {role.role}" if is_shown else "a custom role of the token"
            raise PolicyError(
                f"policy does not allow {name}",
                hint=f"policy allows {', '.join(allowed) or 'no role'}: use one of these, or change it",
            )
    now = datetime.now(UTC)
    expires = None if token.days is None else now + timedelta(days=token.days)
    planned = AstroToken(SecretValue(b""), token.scope, organization, issued=now, expires=expires)
    planned = replace(planned, **{token.scope: token.roles[0].entity})
    enforce(judge(planned, settings.policy, settings.expected, now=now))


def _kept_roles(settings: TokenSettings, current: TokenDetails) -> tuple[NewRole, ...]:
    wanted = settings.request.role
    if wanted is None:
        return current.roles
    kept = tuple(
        role
        for role in current.roles
        if role.role == wanted and getattr(settings.expected, role.kind, None) in {None, role.entity}
    )
    if not kept:
        own = [role.shown.role for role in current.roles if role.shown.role is not None]
        raise PolicyError(
            f"the current token does not have the role {wanted}, and a rotation never widens",
            hint=f"{similar_role(wanted, own)}remove role from the token's table, or create a "
            "token with this role: `astro-token create --force`",
        )
    return kept


def _scope_of(roles: tuple[NewRole, ...]) -> Scope | None:
    return next((scope for scope in SCOPES if roles[0].kind == scope), None)


def _title_of(current: TokenDetails) -> str | None:
    """The title without the unique part; None if it does not fit into a record."""
    title = title_base(current.title)
    return title if title.isprintable() and 0 < len(title) <= _LONGEST_TITLE else None
