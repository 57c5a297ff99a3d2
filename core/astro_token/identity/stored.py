"""Identity tokens in a variable or a file."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.identity.web_token import web_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["token_in_file", "token_in_variable"]


def token_in_variable(variable: str, environ: Mapping[str, str]) -> SecretValue:
    """
    Return the token that a variable holds.

    Raises:
        ConfigError: the value is not a JWT.
    """
    malformed = ConfigError(
        f"{variable} does not hold an identity token", hint="correct the value: its source may be misspelled"
    )
    return web_token(environ[variable].encode(errors="replace"), malformed)


def token_in_file(variable: str, environ: Mapping[str, str]) -> SecretValue:
    """
    Return the token in the file that a variable names.

    Raises:
        ConfigError: the file cannot be read, or does not hold a JWT.
    """
    from astro_token.system.files import read_credential
    from astro_token.system.variables import path_setting

    data = b""
    with suppress(OSError, ValueError):
        data = read_credential(path_setting(environ, variable))
    malformed = ConfigError(
        f"{variable} does not name a file with an identity token",
        hint="name the file of a pod's projected service account token",
    )
    return web_token(data, malformed)
