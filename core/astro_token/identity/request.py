"""Identity tokens that a service returns in its response to one request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, ConfigError
from astro_token.identity.web_token import web_token
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["TokenRequest", "authorization", "requested_token"]


class TokenRequest(Record):
    """
    A request for an identity token.

    Attributes:
        service: for people.
        variable: the setting that holds the address.
        hint: the advice if the service refuses.
        query: added to the address.
        member: holds the token in the JSON object of the response; None if the body is the token.
        metadata: the service is a metadata server, which plain http may reach, and which signs its responses.
    """

    _hidden = ("url", "headers")
    service: str
    variable: str
    hint: str
    url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "GET"
    member: str | None = None
    metadata: bool = False


def requested_token(request: TokenRequest, environ: Mapping[str, str], seconds: float) -> SecretValue:
    """
    Send the request, and return the token. A redirect is not followed.

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
    route = Route.to(
        request.url, environ, service=request.service, variable=request.variable, login=request.metadata
    )
    target = route.address.target
    if request.query:
        target += f"{'&' if '?' in target else '?'}{urlencode(request.query)}"
    with Client() as client:
        response = client.send(route, request.method, target, until=until, headers=request.headers)
    failure = response.failure()
    if failure is None and 400 <= response.status < 500:  # noqa: PLR2004
        failure = AccessDeniedError(
            f"{request.service} gives no identity token (status {response.status})", hint=request.hint
        )
    if failure is not None:
        raise failure
    is_signed = not request.metadata or response.headers.get("Metadata-Flavor") == "Google"
    if response.status != 200 or not is_signed:  # noqa: PLR2004
        raise response.damaged()
    data = response.body or b""
    if request.member is not None:
        text = (response.json() or {}).get(request.member)
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
        raise ConfigError(f"{variable} contains a character that no token has", hint="do not set it yourself")
    return {"Authorization": f"{scheme} {credential}"}
