"""Identity tokens that a service returns in its response to one request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, ConfigError
from astro_token.identity.web_token import web_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["authorization", "requested_token"]


def requested_token(
    service: str,
    variable: str,
    url: str,
    environ: Mapping[str, str],
    seconds: float,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    hint: str,
    method: str = "GET",
    member: str | None = None,
) -> SecretValue:
    """
    Send one request, and return the token in its response.

    Args:
        service: for people.
        variable: the setting that holds the address.
        query: added to the address.
        hint: the advice if the service refuses.
        member: holds the token in the JSON object of the response. None for Google's metadata server, which
            plain http may reach: the body is the token, and a header identifies the server.

    Raises:
        ConfigError: the address, the proxy or the CA bundle cannot be used.
        AccessDeniedError: the service refuses.
        BackendDownError: its host name is unknown.
        BackendUnavailableError: it cannot be reached, is busy, or does not answer in time.
        IntegrityError: no trusted TLS, a redirect, or a response without a token.
    """
    from urllib.parse import urlencode

    from astro_token.transport.client import Client
    from astro_token.transport.route import Route

    until = time.monotonic() + seconds
    is_metadata = member is None
    route = Route.to(url, environ, service=service, variable=variable, login=is_metadata)
    target = route.address.target
    if query:
        target += f"{'&' if '?' in target else '?'}{urlencode(query)}"
    with Client() as client:
        response = client.send(route, method, target, until=until, headers=headers)
    if failure := response.failure():
        raise failure
    status = response.status
    if 400 <= status < 500:  # noqa: PLR2004
        raise AccessDeniedError(f"{service} gives no identity token (status {status})", hint=hint)
    is_genuine = not is_metadata or response.headers.get("Metadata-Flavor") == "Google"
    if status != 200 or not is_genuine:  # noqa: PLR2004
        raise response.damaged()
    data = response.body or b""
    if member is not None:
        text = (response.json() or {}).get(member)
        data = text.encode(errors="replace") if isinstance(text, str) else b""
    return web_token(data, response.damaged())


def authorization(scheme: str, environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """
    Return the header with the credential of a variable.

    Raises:
        ConfigError: the value cannot be a credential.
    """
    credential = environ[variable].strip()
    if not credential or not all("!" <= character <= "~" for character in credential):
        problem = "contains a character that no token has" if credential else "is blank"
        raise ConfigError(f"{variable} {problem}", hint="do not set it yourself")
    return {"Authorization": f"{scheme} {credential}"}
