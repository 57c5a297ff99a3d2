"""
Parse values of policy keys, from TOML and from the text of a variable.

Each parser gets the value and the name of its setting for the message, and raises `ConfigError`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from types import MappingProxyType

from astro_token.errors import ConfigError
from astro_token.policy.codes import DEPLOY, LEVELS, Level
from astro_token.token import SCOPES, Scope, is_identifier
from astro_token.wording import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeGuard, TypeVar

    _Text = TypeVar("_Text", bound=str)

__all__ = [
    "REGISTRY",
    "duration",
    "flag",
    "flag_text",
    "identifier",
    "levels",
    "levels_text",
    "lifetime",
    "registries",
    "role",
    "roles",
    "scope",
    "title",
    "unknown_key",
]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_DIGITS = 6
_MAX_KEY = 32
_MAX_NAME = 128
_LONGEST_LIFETIME = timedelta(days=3650)  # Astro accepts 1 to 3650 days
REGISTRY = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}(:[0-9]{1,5})?(/[a-z0-9._-]{1,128}){0,9}")


def scope(value: object, name: str) -> Scope:
    """Parse a scope."""
    return _choice(value, SCOPES, f"{name} is not a scope")


def identifier(value: object, name: str) -> str:
    """Parse an identifier of Astro."""
    if isinstance(value, str) and is_identifier(value):
        return value
    raise ConfigError(f"{name} is not an identifier", hint="copy it from Astro, as in clws0123456789")


def flag(value: object, name: str) -> bool:
    """Parse a boolean of TOML."""
    if isinstance(value, bool):
        return value
    raise ConfigError(f"{name} is not true or false", hint="write true or false, without quotes")


def flag_text(value: object, name: str) -> bool:
    """Parse a boolean of a variable."""
    if value in ("true", "1", "false", "0"):
        return value in ("true", "1")
    raise ConfigError(f"{name} is not true or false", hint="set it to true or false")


def duration(value: object, name: str) -> timedelta:
    """Parse a duration such as `90s`, `30m`, `1h`, `14d` or `2w`."""
    number, unit = (value[:-1], value[-1:]) if isinstance(value, str) else ("", "")
    digits = number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS
    if not digits or unit not in _UNITS:
        raise ConfigError(
            f"{name} is not a duration", hint='write a number and one of s, m, h, d, w, such as "14d"'
        )
    return timedelta(**{_UNITS[unit]: int(number)})


def lifetime(value: object, name: str) -> timedelta:
    """Parse the lifetime of a new token, which Astro counts in days."""
    time = duration(value, name)
    if timedelta(days=1) <= time <= _LONGEST_LIFETIME and not time.seconds:
        return time
    raise ConfigError(f"{name} is not 1 to 3650 days", hint='write a number of days, such as "90d"')


def role(value: object, name: str) -> str:
    """Parse the name of a role: of Astro, or a custom one."""
    if _is_name(value) and not set(value) & set(",;\"'`$"):
        return value
    raise ConfigError(
        f"{name} is not the name of a role",
        hint="use a role of Astro, such as DEPLOYMENT_ADMIN, or a custom one",
    )


def roles(value: object, name: str) -> tuple[str, ...]:
    """Parse names of roles, separated by commas."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is not a string", hint='write roles, as in "DEPLOYMENT_ADMIN, DAG_AUTHOR"')
    return tuple(role(text.strip(), name) for text in value.split(","))


def title(value: object, name: str) -> str:
    """Parse the title of a new token."""
    if _is_name(value):
        return value
    raise ConfigError(
        f"{name} is not a title", hint=f"use up to {_MAX_NAME} letters, digits and signs, such as deploy-prod"
    )


def _is_name(value: object) -> TypeGuard[str]:
    """Accept a short text that can be shown anywhere."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_NAME
        and value.isascii()
        and value.isprintable()
        and value == value.strip()
    )


def registries(value: object, name: str) -> tuple[tuple[str, ...], ...]:
    """Parse image registries, separated by commas, each perhaps with the beginning of a path."""
    names = tuple(text.strip() for text in value.split(",")) if isinstance(value, str) else ("",)
    if all(REGISTRY.fullmatch(text) for text in names):
        return (names,)
    raise ConfigError(
        f"{name} does not list registries", hint='write hosts without a scheme, as in "registry.example.com"'
    )


def levels(value: object, name: str) -> Mapping[str, Level]:
    """Parse a table of levels by code."""
    if not isinstance(value, dict):
        raise ConfigError(
            f"{name} is not a table", hint='write one line per code, such as uncommitted = "off"'
        )
    for code in value:
        if code not in DEPLOY:
            raise unknown_key(code, DEPLOY, name)
    return MappingProxyType({code: _level(level, f"{name}.{code}") for code, level in value.items()})


def levels_text(value: object, name: str) -> Mapping[str, Level]:
    """Parse levels by code, separated by commas: `uncommitted=error,no-docker=off`."""
    result: dict[str, Level] = {}
    for entry in str(value).split(","):
        code, _, level = (part.strip() for part in entry.partition("="))
        if code not in DEPLOY:
            raise ConfigError(
                f"{name} contains an unknown code",
                hint=did_you_mean(code, DEPLOY) + f"the codes are {', '.join(DEPLOY)}",
            )
        result[code] = _level(level, f"{name}: {code}")
    return MappingProxyType(result)


def _level(value: object, name: str) -> Level:
    return _choice(value, LEVELS, f"{name} is not a level", ", in TOML in quotes")


def _choice(value: object, choices: tuple[_Text, ...], complaint: str, note: str = "") -> _Text:
    for choice in choices:
        if choice == value:
            return choice
    raise ConfigError(complaint, hint=f"use one of {', '.join(choices)}{note}")


def unknown_key(key: str, keys: Iterable[str], table: str) -> ConfigError:
    """Build the error for an unknown key of a table. A key is shown only if it cannot be anything else."""
    keys = list(keys)
    letters = key.replace("_", "").replace("-", "")
    is_key = 0 < len(key) <= _MAX_KEY and key.isascii() and (letters.isalpha() or not letters)
    before, _, table = table.rpartition(": ")
    shown = f"{table}.{key}".lstrip(".") if is_key else "a key"
    return ConfigError(
        f"{before}: {shown} is unknown" if before else f"{shown} is unknown",
        hint=f"{did_you_mean(key, keys)}the keys are {', '.join(keys)}; "
        "addresses, credentials and commands come from the environment only",
    )
