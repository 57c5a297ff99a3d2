"""`revoke`: delete a token at Astro."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from astro_token.astro_api import AstroApi
from astro_token.cli.lifecycle import LIFECYCLE_SECONDS, option
from astro_token.cli.output import note
from astro_token.errors import InvalidTokenError, UsageError
from astro_token.lifecycle.admin import read_admin
from astro_token.lifecycle.inventory import configured
from astro_token.lifecycle.revoke import Holders, Revocation, holders_of, refuse
from astro_token.policy.parsers import identifier
from astro_token.settings.resolve import Settings
from astro_token.tokens.read import read_and_verify
from astro_token.wording import when

if TYPE_CHECKING:
    import argparse

    from astro_token.astro_api.records import TokenRecord
    from astro_token.child.hardening import SavedLimits
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    ident = option(identifier, arguments.id, "--id")
    if (ident is None) == (arguments.token is None):
        raise UsageError(
            "revoke takes either a token or --id", hint="for example: astro-token revoke --id cltk0123456789"
        )
    shared = Settings(timeout=arguments.timeout, default_timeout=LIFECYCLE_SECONDS)
    settings = None
    if ident is None:
        settings = shared.token(arguments.token, decrypt=arguments.decrypt, accepts_chain=False)
    current = read_and_verify(settings)[0] if settings else None
    ident = ident or _ident(current)
    admin = read_admin(shared.environ, arguments.admin, shared.timeout)
    with AstroApi() as api:
        revocation = Revocation(
            api, ident, current=current, settings=settings, admin=admin, timeout=shared.timeout
        )
        record = revocation.look_up()
        holders = _holders(ident, shared, settings, admin)
        note(f"token {ident}: {_described(record, datetime.now(UTC))}")
        note(f"it is the current token of {', '.join(holders.names) or 'no configured reference'}")
        if not arguments.force:
            refuse(ident, holders)
        revocation.revoke()
    note(f"revoked {ident}; Astro does not have it any more")
    return 0


def _ident(token: AstroToken | None) -> str:
    if token is None or token.token_id is None:
        raise InvalidTokenError(
            "the token does not contain its identifier (apiTokenId)",
            hint="find it in Astro, and give its identifier with --id",
        )
    return token.token_id


def _holders(
    ident: str, shared: Settings, settings: TokenSettings | None, admin: AstroToken | None
) -> Holders:
    """The references that hold the token: of the argument, the project file, the environment, the admin."""
    holders = holders_of(ident, list(configured(shared).values()))
    own = [] if settings is None else [settings.name or str(settings.ref)]
    if admin is not None and admin.token_id == ident:
        own.append(str(admin.ref))
    return Holders(tuple(dict.fromkeys([*own, *holders.names])), holders.unread)


def _described(record: TokenRecord, now: datetime) -> str:
    """Describe a token without texts of Astro's users."""
    used = f"last used at {when(record.last_used, now)}" if record.last_used else "never used"
    created = f"created at {when(record.created, now)}" if record.created else "of unknown age"
    expires = f"expires at {when(record.expires, now)}" if record.expires else "never expires"
    return f"scope {record.scope or 'unknown'}, {created}, {used}, {expires}"
