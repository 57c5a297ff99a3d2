"""Create a token at Astro, and store it directly in its backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.astro_api.tokens import Tokens
from astro_token.errors import InvalidTokenError, OutputError, RotationError
from astro_token.lifecycle.admin import no_admin, organization_of
from astro_token.lifecycle.perform import Performer
from astro_token.lifecycle.plan import Target, new_token, requested_role, wide_role
from astro_token.lifecycle.protocol import Plan
from astro_token.lifecycle.rotate import before_release, is_true_value, performed, slot_of
from astro_token.lifecycle.stored import Stored, open_rotation
from astro_token.record import Record
from astro_token.secret import SecretValue
from astro_token.secrets.fields import merge_field
from astro_token.tokens.write import check_write
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from astro_token.astro_api import AstroApi
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken

__all__ = ["Created", "create"]


class Created(Record):
    """
    Attributes:
        replaced: the identifier of the token that was the current one, and still works; else None.
        warnings: messages, each with its hint.
    """

    token: AstroToken
    replaced: str | None
    warnings: tuple[tuple[str, str], ...]


def create(
    settings: TokenSettings,
    target: Target | None,
    api: AstroApi,
    admin: AstroToken | None,
    *,
    never_expires: bool = False,
    is_forced: bool = False,
) -> Created:
    """
    Create and store a token. Running again continues from any point.

    Args:
        target: the entity of the token; None if nothing names one.
        is_forced: a token that Astro accepts is replaced as the current one.

    Raises:
        UsageError: the role or the scope is missing, or they do not fit together.
        PolicyError: policy does not allow the token.
        OutputError: the value would be lost.
        RotationError: the creation is not finished (80), or a person is needed (81).
        AstroTokenError: Astro or the backend refused before a token was created.
    """
    scope, role = requested_role(settings, target)
    if admin is None:
        raise no_admin("create tokens")
    organization = role.entity if scope == "organization" else organization_of(settings, None, admin)
    planned = new_token(settings, scope, role, organization, never_expires=never_expires)
    deadline = Deadline(settings.timeout)
    stored = Stored(settings, deadline)
    stored.read_record()
    if stored.record.previous is not None:
        raise open_rotation()
    tokens = Tokens(api, organization, admin.secret, before_release(deadline))
    replaced = _replaced(stored, tokens, is_forced=is_forced)
    merge_field(stored.secret.value, settings.ref.field, SecretValue(b"x"))  # or it could not be stored
    check_write(settings.ref, deadline)
    plan = Plan(planned.title, 0.0, keeps_previous=False)
    performed(Performer(settings, planned, tokens, deadline, stored), plan, "creation")
    if stored.token is None:
        raise RotationError("the token was removed meanwhile", hint="run the same command again")
    wide = wide_role(planned, settings)
    return Created(stored.token, replaced, (wide,) if wide else ())


def _replaced(stored: Stored, tokens: Tokens, *, is_forced: bool) -> str | None:
    """
    Return the identifier of the current token if Astro accepts it; None if there is nothing to lose.

    Raises:
        OutputError: Astro accepts it and the creation is not forced, or the value is not a token.
    """
    try:
        stored.read_token()
    except InvalidTokenError:
        failure = OutputError(
            "the value is not an Astro API token, and may be another secret",
            hint="name another field after # in the reference, or remove the value",
        )
    else:
        token = stored.token
        if token is None or token.token_id is None or not is_true_value(tokens, slot_of(token), token):
            return None
        pending = stored.record.pending
        if pending is not None and pending.id == token.token_id:
            return None  # of this creation, which was interrupted
        if is_forced:
            return token.token_id
        failure = OutputError(
            "Astro accepts the token that is stored there",
            hint="rotate it with `astro-token rotate`, or add --force, which leaves that token valid",
        )
    raise failure
