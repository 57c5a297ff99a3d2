"""Identity tokens that a service returns in its response to one request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.identity.request import Question, ask, damaged
from astro_token.identity.web_token import web_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["authorization", "token_body", "token_member", "with_query"]


def token_body(request: Question, environ: Mapping[str, str], seconds: float) -> SecretValue:
    """Send the request, and return the token that is the body of the response."""
    return web_token(ask(request, environ, seconds), damaged(request.system))


def token_member(name: str, request: Question, environ: Mapping[str, str], seconds: float) -> SecretValue:
    """Send the request, and return the token in a member of the JSON object in the response."""
    try:
        content = json.loads(ask(request, environ, seconds).decode())
    except (ValueError, RecursionError):
        content = None
    text = content.get(name) if isinstance(content, dict) else None
    data = text.encode(errors="replace") if isinstance(text, str) else b""
    return web_token(data, damaged(request.system))


def authorization(scheme: str, environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """
    Return the header with the credential of a variable.

    Raises:
        ConfigError: the value cannot be a credential.
    """
    credential = environ[variable].strip()
    if not credential or not all("!" <= character <= "~" for character in credential):
        raise ConfigError(f"{variable} contains a character that no token has", hint="do not set it yourself")
    return {"Authorization": f"{scheme} {credential}"}


def with_query(url: str, query: Mapping[str, str]) -> str:
    from urllib.parse import urlencode

    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url
