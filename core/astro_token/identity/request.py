"""One HTTP request that carries a credential to one place, and nowhere else."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)
from astro_token.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from urllib.parse import SplitResult

__all__ = ["LOOPBACK", "Question", "ask", "damaged"]

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_BODY_LIMIT = 64 * 1024
_URL = re.compile(r"https?://[\w.:\[\]-]+(?:[/?][!\"$-~]*)?", re.ASCII)
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Question:
    """
    Attributes:
        system: whom we ask, for people.
        variable: the one that the address comes from.
        hint: what to do where it refuses.
        signature: a header and its value, by which an answer is known to be its own.
        plain_hosts: those that may be asked by plain http.
    """

    system: str
    variable: str
    hint: str
    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    signature: tuple[str, str] | None = None
    plain_hosts: frozenset[str] = LOOPBACK


def ask(question: Question, environ: Mapping[str, str], seconds: float) -> bytes:
    """
    The body of the answer. A redirect is not followed, and nothing of an answer gets into an error.

    Raises:
        ConfigError: the address, the proxy or the file of authorities cannot be used.
        AccessDeniedError: it refuses.
        BackendDownError: its host name is unknown.
        BackendUnavailableError: it cannot be reached, is busy, or does not answer in time.
        IntegrityError: no trusted TLS, a redirect, a damaged answer.
    """
    from http.client import HTTPException
    from urllib import request

    address = _address(question)
    headers = {"User-Agent": f"astro-token/{__version__}", **question.headers}
    asked = request.Request(question.url, headers=headers, method=question.method)  # noqa: S310
    opener = request.OpenerDirector()  # one that knows nothing of redirects, cookies, logins and ~/.netrc
    # A program may have set a level on http.client's class, and then every header is printed: thus 0.
    if asked.type == "http":
        opener.add_handler(request.HTTPHandler(debuglevel=0))
    else:
        opener.add_handler(request.HTTPSHandler(debuglevel=0, context=_trust(environ)))
        opener.add_handler(request.ProxyHandler(_proxies(address, environ)))
    try:
        with opener.open(asked, timeout=seconds) as answer:
            body: bytes = answer.read(_BODY_LIMIT)
            failure = _refusal(question, answer)
    except (OSError, HTTPException, UnicodeError) as error:
        failure = _failure(question.system, error)
    if failure is not None:
        raise failure
    return body


def damaged(system: str) -> IntegrityError:
    return IntegrityError(
        f"the answer of {system} is damaged, or not its own", hint="see the proxy, and what else is between"
    )


def _address(question: Question) -> SplitResult:
    """The address, unless it would carry a credential in clear, or where people do not see it go."""
    from urllib.parse import urlsplit

    with suppress(ValueError):
        address = urlsplit(question.url)
        safe = address.scheme == "https" or address.hostname in question.plain_hosts
        if safe and address.hostname and address.port != 0 and _URL.fullmatch(question.url):
            return address
    raise ConfigError(
        f"the address in {question.variable} is refused",
        hint="it has to be https, without a user; plain http is for loopback addresses only",
    )


def _proxies(address: SplitResult, environ: Mapping[str, str]) -> dict[str, str]:
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy") or ""
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    host = f"{address.hostname}:{address.port or 443}"
    if not proxy or address.hostname in LOOPBACK or proxy_bypass_environment(host, {"no": exceptions}):
        return {}
    if not re.fullmatch(r"(?:http://)?[^\s/]+/?", proxy):
        raise ConfigError(
            "HTTPS_PROXY is no address of an HTTP proxy", hint="as in http://proxy.example.com:3128"
        )
    return {"https": proxy}


def _trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    import ssl

    # Made by hand: a default context writes the session's keys to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    with suppress(OSError, ValueError):  # an SSLError is an OSError
        if bundle := environ.get("ASTRO_TOKEN_CA_BUNDLE"):
            context.load_verify_locations(bundle)
        return context
    raise ConfigError(
        "the file that ASTRO_TOKEN_CA_BUNDLE names cannot be read, or holds no certificate",
        hint="name a PEM file of authorities' certificates",
    )


def _refusal(question: Question, answer: Any) -> AstroTokenError | None:
    """What an answer means, of which the body was read, unless it is whole and good."""
    system, status, kind = question.system, answer.status, answer.status // 100
    if status in _PASSING or kind == 5:  # noqa: PLR2004
        wait = answer.headers.get("Retry-After", "")
        return BackendUnavailableError(
            f"{system} cannot give an identity token now (status {status})",
            hint="try again later",
            retry_after=float(wait) if re.fullmatch(r"\d{1,5}", wait, re.ASCII) else None,
        )
    if kind == 3:  # noqa: PLR2004
        return IntegrityError(
            f"{system} sent us elsewhere, where we do not go", hint=f"see {question.variable}"
        )
    if kind == 4:  # noqa: PLR2004
        return AccessDeniedError(f"{system} gives no identity token (status {status})", hint=question.hint)
    name, value = question.signature or ("", None)
    good = status == 200 and answer.headers.get(name) == value  # noqa: PLR2004
    return None if good and not answer.length else damaged(system)  # its length is what is still to come


def _failure(system: str, error: Exception) -> AstroTokenError:
    """What an exception of the connection means; its text is looked at and not passed on."""
    import socket
    import ssl

    cause = getattr(error, "reason", None)  # below urllib's own error; ssl's have a text of that name
    cause = cause if isinstance(cause, Exception) else error
    # The end of the connection in the middle of TLS is a reset like any other.
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return IntegrityError(
            f"there is no trusted TLS connection to {system}",
            hint="if its authority is one of your own, name the authority's file in ASTRO_TOKEN_CA_BUNDLE; "
            "else see the clock here, and what intercepts TLS",
        )
    if isinstance(cause, UnicodeError) or (
        isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
    ):
        return BackendDownError(f"the host name of {system} is unknown", hint="see its address, and the DNS")
    # http.client tells the status of a CONNECT in a text only.
    if re.match(r"Tunnel connection failed: 4\d\d\b", str(cause)):
        return ConfigError(f"the proxy does not lead to {system}", hint="see HTTPS_PROXY and NO_PROXY")
    if isinstance(cause, OSError):
        return BackendUnavailableError(
            f"{system} cannot be reached, or did not answer in time", hint="try again later"
        )
    return damaged(system)
