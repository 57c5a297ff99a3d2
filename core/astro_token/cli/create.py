"""`create`: create a token at Astro, and store it in a backend."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from astro_token.astro_api import AstroApi
from astro_token.cli.lifecycle import LIFECYCLE_SECONDS, expiry, option, show_warnings
from astro_token.cli.output import note
from astro_token.errors import UsageError
from astro_token.lifecycle.admin import read_admin
from astro_token.lifecycle.create import create
from astro_token.lifecycle.plan import target_of
from astro_token.policy.parsers import identifier, lifetime, role, title
from astro_token.record import replace
from astro_token.secrets.read import prefixed_with
from astro_token.settings.resolve import Settings
from astro_token.system.signals import with_delayed_signals
from astro_token.token import SCOPES

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.lifecycle.plan import Target


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    options = {
        "role": option(role, arguments.role, "--role"),
        "lifetime": option(lifetime, arguments.lifetime, "--lifetime"),
        "title": option(title, arguments.title, "--title"),
    }
    target = _target(arguments)
    shared = Settings([arguments.token], timeout=arguments.timeout, default_timeout=LIFECYCLE_SECONDS)
    settings = shared.token(arguments.token, decrypt=arguments.decrypt, accepts_chain=False)
    given = {name: value for name, value in options.items() if value is not None}
    settings = replace(settings, request=replace(settings.request, **given))
    admin = read_admin(shared.environ, arguments.admin, settings.timeout)
    with AstroApi() as api, with_delayed_signals():
        created = prefixed_with(
            settings.ref,
            lambda: create(
                settings,
                target or target_of(settings),
                api,
                admin,
                never_expires=arguments.never_expires,
                is_forced=arguments.force,
            ),
        )
    show_warnings(settings.ref, created.warnings)
    note(expiry(created.token, datetime.now(UTC)))
    note(f"created and stored in {settings.ref}")
    if created.replaced is not None:
        before = created.replaced
        note(f"the old token, {before}, is still valid; later run `astro-token revoke --id {before}`")
    return 0


def _target(arguments: argparse.Namespace) -> Target | None:
    """The entity that the options name."""
    named = [(scope, getattr(arguments, scope)) for scope in SCOPES if getattr(arguments, scope) is not None]
    if len(named) > 1:
        raise UsageError(
            f"--{named[0][0]} and --{named[1][0]} are both given", hint="give the one that the token is for"
        )
    for scope, text in named:
        name = option(identifier, text, f"--{scope}")
        return (scope, name) if name else None
    return None
