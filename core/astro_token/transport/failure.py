"""The errors that stand for failed requests. They hold nothing of an exception's text or of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    InputOutputError,
    IntegrityError,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from astro_token.transport.route import Route

__all__ = [
    "busy",
    "causes",
    "connection_failure",
    "damaged",
    "malformed",
    "proxy_failure",
    "redirected",
    "seconds_to_wait",
    "timestamp",
]

# Statuses that a repeated request does not change: it is not supported, or a person must pass a portal first.
_PERMANENT = frozenset({501, 505, 511})
_LONGEST_WAIT = 86400.0
_CERTIFICATE = {  # by OpenSSL's verify code
    9: ("is not valid yet", "compare the clocks of both machines"),
    10: ("has expired", "ask its operator to renew it, and check the clock of this machine"),
    62: ("is for another host", "use a name that the certificate lists in {variable}"),
    64: ("is for another host", "use a name that the certificate lists in {variable}"),
}
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
_OLD_TLS = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"})


def connection_failure(error: BaseException, route: Route) -> AstroTokenError:
    """Translate an exception of the network. Exceptions of an SDK may wrap it."""
    import errno
    import socket
    import ssl
    from http.client import HTTPException

    service, proxy = route.service, route.proxy
    is_damaged = is_late = False
    for cause in causes(error):
        # The end of a connection within TLS, without TLS's own end, is a reset like any other.
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            continue
        if isinstance(cause, AstroTokenError):
            return cause
        if isinstance(cause, ssl.SSLError):
            return _tls_failure(cause, route)
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return BackendDownError(
                f"the host name of {'the proxy' if proxy else service} is unknown",
                hint=f"check {proxy.variable if proxy else route.variable}, and the DNS here",
            )
        if isinstance(cause, OSError) and cause.errno in {errno.EMFILE, errno.ENFILE}:
            return InputOutputError(
                "this process cannot open any more files or connections", hint="raise the limit: ulimit -n"
            )
        if isinstance(cause, PermissionError):
            return BackendDownError(
                f"this machine does not allow connections to {service}",
                hint="check its firewall, or the sandbox of this process",
            )
        is_damaged |= isinstance(cause, HTTPException) and not isinstance(cause, OSError)
        is_late |= isinstance(cause, TimeoutError)
    if is_damaged:
        return damaged(route)
    problem = "did not answer in time" if is_late else "cannot be reached, or ended the connection"
    through = f", through the proxy of {proxy.variable}" if proxy else ""
    settings = f"{proxy.variable}, {route.variable}" if proxy else route.variable
    return BackendUnavailableError(
        f"{service} {problem}{through}", hint=f"check {settings} and the network; try again later"
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and all its causes, also those in attributes of an SDK's exceptions."""
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            kept = (getattr(item, name, None) for name in ("reason", "inner_exception"))
            queue += [item.__cause__, item.__context__, *kept, *item.args]


def malformed(route: Route) -> ConfigError:
    return ConfigError(
        f"a setting for {route.service} contains a character that HTTP does not allow",
        hint="check the address and the credential for line ends and other control characters",
    )


def proxy_failure(status: int, route: Route) -> AstroTokenError:
    hint = f"check {route.proxy.variable if route.proxy else 'HTTPS_PROXY'} and NO_PROXY"
    if status == 407:  # noqa: PLR2004
        return ConfigError("the proxy requires a user and a password", hint=hint)
    if status < 500 or status in _PERMANENT:  # noqa: PLR2004
        return ConfigError(f"the proxy refuses to connect to {route.service} (status {status})", hint=hint)
    return BackendUnavailableError(f"the proxy cannot reach {route.service} (status {status})", hint=hint)


def _tls_failure(error: ssl.SSLError, route: Route) -> AstroTokenError:
    # The reason is a name from OpenSSL's own list, the code one of its numbers.
    reason, code = getattr(error, "reason", None) or "", getattr(error, "verify_code", None)
    service, variable = route.service, route.variable
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        client = route.trust.client if route.trust else None
        return AccessDeniedError(
            f"{service} requires a client certificate, or rejects the configured one",
            hint=f"check {client[2]}" if client else "check which client certificate is configured",
        )
    message = f"no secure connection to {service}"
    hint = f"check {variable}, and any proxy that intercepts TLS"
    if code:
        private = "if a private authority signed it, name the authority's file in {ca_hint}"
        problem, hint = _CERTIFICATE.get(code, ("is not trusted", private))
        message = f"no secure connection: the certificate of {service} {problem}"
        hint = hint.format(variable=variable, ca_hint=route.trust.ca_hint if route.trust else "")
    elif reason in _NOT_TLS:
        message = f"{service} does not use TLS on this port"
        hint = f"check the scheme and the port in {variable}; plain http is for loopback addresses only"
    elif reason in _OLD_TLS:
        message, hint = f"{service} does not support TLS 1.2 or later", "ask its operator"
    return IntegrityError(message, hint=hint)


def busy(route: Route, status: int, retry_after: float | None = None) -> AstroTokenError:
    """The error for a server that does not serve the request, now or ever."""
    if status in _PERMANENT:
        return BackendDownError(
            f"{route.service} does not support the request (status {status})",
            hint=f"check {route.variable} and the proxy, or ask the service's operator",
        )
    problem = "asks for fewer requests" if status == 429 else "is busy, or failed"  # noqa: PLR2004
    return BackendUnavailableError(
        f"{route.service} {problem} (status {status})", hint="try again later", retry_after=retry_after
    )


def damaged(route: Route) -> IntegrityError:
    return IntegrityError(
        f"the response is damaged, or does not come from {route.service}",
        hint=f"check {route.variable} and the proxy",
    )


def redirected(route: Route) -> IntegrityError:
    return IntegrityError(
        f"{route.service} answered with a redirect, which is not followed",
        hint=f"check {route.variable} and the proxy",
    )


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds from `Retry-After`, a number or a date, at most a day; None without a valid one."""
    value = (headers.get("Retry-After") or "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT)
    if not value:
        return None
    import time

    # Compare with the clock of the server, if the response contains its date: ours may be wrong.
    date = headers.get("Date")
    now = timestamp(date) if date else time.time()
    end = timestamp(value)
    return None if now is None or end is None else min(max(0.0, end - now), _LONGEST_WAIT)


def timestamp(date: str) -> float | None:
    """Seconds since 1970 of a date in a header; None if it is not valid."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date)
        # Without a zone, or with -0000, it is UTC, and not the zone of this machine.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
