"""`put`: store a token in a backend."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from astro_token.ci import in_ci
from astro_token.cli.lifecycle import expiry
from astro_token.cli.output import note, warn
from astro_token.errors import InputOutputError, InvalidTokenError
from astro_token.policy.rules import enforce, judge
from astro_token.secret import SecretValue
from astro_token.secrets.protocols import SupportsCreateKey
from astro_token.secrets.read import prefixed_with
from astro_token.secrets.registry import open_backend
from astro_token.settings.resolve import resolve
from astro_token.system.os_errors import reason
from astro_token.system.terminal import prompt
from astro_token.token import MAX_TOKEN_BYTES, AstroToken
from astro_token.tokens.write import Current, read_current, write_token
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.settings.resolve import TokenSettings

_PIPE_IT = "pipe the token in, or run put on a terminal and paste it"


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    settings = resolve(
        arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout, accepts_chain=False
    )
    token, version = prefixed_with(settings.ref, lambda: _put(settings, create_key=arguments.create_key))
    if token.expires is not None:  # else there is a warning
        note(expiry(token, datetime.now(UTC)))
    note(f"stored in {settings.ref}" + (f", version {version}" if version else ""))
    return 0


def _put(settings: TokenSettings, *, create_key: bool) -> tuple[AstroToken, str]:
    # Before a person pastes a token: the backend may not be able to store one.
    current = read_current(settings.ref, Deadline(settings.timeout))
    _prepare_key(settings, current, is_requested=create_key)
    token = AstroToken.parse(_input(settings))
    verdicts = judge(token, settings.policy, settings.expected)
    enforce(verdicts)
    warn(verdicts, settings.ref)
    return token, write_token(settings, token, current, Deadline(settings.timeout))


def _prepare_key(settings: TokenSettings, current: Current, *, is_requested: bool) -> None:
    """Create the key of an encrypted file for a person or on request; in a CI system on request only."""
    backend = open_backend(settings.ref.scheme)
    if not isinstance(backend, SupportsCreateKey) or current.value is not None or settings.decrypt:
        return
    if is_requested or (sys.stdin.isatty() and sys.stderr.isatty() and not in_ci(os.environ)):
        message = backend.create_key()
        if message:
            note(message)


def _input(settings: TokenSettings) -> SecretValue:
    try:
        value = SecretValue(_read(settings))
    except OSError as error:
        value, why = None, reason(error)
    if value is None:
        raise InputOutputError(f"standard input cannot be read: {why}", hint=_PIPE_IT)
    if not value.reveal():
        raise InvalidTokenError("the input contains no token", hint=_PIPE_IT)
    return value


def _read(settings: TokenSettings) -> bytes:
    if sys.stdin.isatty():
        return prompt(f"{settings.ref}: Astro API token (not shown): ")
    return sys.stdin.buffer.read(2 * MAX_TOKEN_BYTES + 1)
