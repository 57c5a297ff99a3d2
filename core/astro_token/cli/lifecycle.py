"""Options and messages that `create`, `rotate` and `revoke` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from astro_token.cli.output import line
from astro_token.errors import ConfigError, UsageError
from astro_token.wording import when

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from astro_token.token import AstroToken

    _Value = TypeVar("_Value")

__all__ = ["LIFECYCLE_SECONDS", "expiry", "option", "show_warnings"]

LIFECYCLE_SECONDS = 120.0


def option(parse: Callable[[object, str], _Value], text: str | None, name: str) -> _Value | None:
    """
    Parse an option with a parser of `policy.parsers`; None if it is not given.

    Raises:
        UsageError: the value is malformed.
    """
    if text is None:
        return None
    try:
        return parse(text, name)
    except ConfigError as error:
        failure = UsageError(error.message, hint=error.hint)
    raise failure


def expiry(token: AstroToken, now: datetime) -> str:
    return f"the token expires at {when(token.expires, now)}" if token.expires else "the token never expires"


def show_warnings(name: object, warnings: Iterable[tuple[str, str]]) -> None:
    """Show messages, each with its hint."""
    for message, hint in warnings:
        line("warning", f"{name}: {message}")
        line("hint", hint)
