"""Roles that are wider than a deploy needs, by Astronomer's table of permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.policy.codes import ONLINE
from astro_token.token import SCOPES

if TYPE_CHECKING:
    from astro_token.astro_api.records import Role
    from astro_token.policy.rules import Expectations, Policy

__all__ = ["too_wide"]

# These may only read; a deploy needs another role in addition.
_HARMLESS = frozenset({
    "DEPLOYMENT_ACCESSOR", "ORGANIZATION_MEMBER", "ORGANIZATION_OBSERVE_MEMBER", "WORKSPACE_ACCESSOR",
    "WORKSPACE_MEMBER",
})  # fmt: skip


_OWNERS = frozenset({"ORGANIZATION_OWNER", "WORKSPACE_OWNER"})  # a custom role may have a similar name


def too_wide(roles: tuple[Role, ...], policy: Policy, expected: Expectations) -> tuple[str, str] | None:
    """
    Return a message and a hint if a role is wider than needed, else None.

    A deploy needs a role that may deploy but not administer, on the entity that the project expects.
    The scope of the role is the widest that policy allows, else the narrowest that the project expects.
    """
    wide = [role for role in roles if role.role not in _HARMLESS and _too_wide(role, policy, expected)]
    if not wide:
        return None
    first, more = wide[0], len(wide) - 1
    name = f"the role {first.role}" if first.role else "a role"
    of = f" of the {first.kind} {first.entity}" if first.entity else ""
    return (
        f"the token has {name}{of}{f' and {more} more' if more else ''}, which is wider than a deploy needs",
        ONLINE["role-too-wide"].hint,
    )


def _too_wide(role: Role, policy: Policy, expected: Expectations) -> bool:
    if role.kind == "organization" or role.role in _OWNERS:
        return True
    if role.kind not in SCOPES:
        return False  # a role on single DAGs is narrower than any scope
    entity = getattr(expected, role.kind)
    if entity is not None and role.entity != entity:
        return True
    narrowest = policy.max_scope or next((kind for kind in reversed(SCOPES) if getattr(expected, kind)), None)
    return narrowest is not None and SCOPES.index(role.kind) < SCOPES.index(narrowest)
