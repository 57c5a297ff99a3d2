"""
What every connection of ours has in common: where it may go, by which proxy, whom it trusts, why it failed.

Nothing of an address is repeated in an error, because it may hold a password: its setting is named instead.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Iterator, Mapping
    from http.client import HTTPSConnection
    from urllib.parse import SplitResult
    from urllib.request import OpenerDirector

__all__ = [
    "CA_VARIABLE",
    "checked_address",
    "connection_failure",
    "extra_authorities",
    "https_connection",
    "is_loopback",
    "opener",
    "proxy_for",
    "public_tls_context",
    "reach",
    "seconds_to_wait",
    "tls_context",
]

CA_VARIABLE = "ASTRO_TOKEN_CA_BUNDLE"
_URL = re.compile(r"https?://[\w.:\[\]-]+(?:[/?][!\"$-~]*)?", re.ASCII)
_LONGEST_WAIT = 86400.0
_TRUST = f"if its authority is one of your own, name the authority's file in {CA_VARIABLE}"
_CERTIFICATE = {  # by OpenSSL's verify code
    9: ("is not valid yet", "see the clocks of both machines"),
    10: ("has expired", "its operator has to renew it; see the clock of this machine, too"),
    62: ("is for another host", "its address has to use a name that stands in the certificate"),
    64: ("is for another host", "its address has to use a name that stands in the certificate"),
}


# -- where to -----------------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """True for this machine: by the whole host, for `127.0.0.1.example` is another one."""
    import ipaddress

    if host == "localhost":
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        # An IPv4 address in an IPv6 one is loopback to some versions of Python, and not to others.
        return address.is_loopback and getattr(address, "ipv4_mapped", None) is None
    return False


def checked_address(url: str, variable: str, *, plain: Collection[str] = ()) -> SplitResult:
    """
    The parts of an address that may carry a credential or a secret.

    Args:
        variable: where it stands.
        plain: hosts beside this machine that may be asked over plain http.

    Raises:
        ConfigError: it is neither https nor, where that is allowed, http; or it carries a user.
    """
    from urllib.parse import urlsplit

    with suppress(ValueError):  # a port that is no number, a bracket that is not closed
        address = urlsplit(url)
        host = address.hostname or ""
        safe = address.scheme == "https" or host in plain or is_loopback(host)
        if safe and host and address.port != 0 and _URL.fullmatch(url):
            return address
    raise ConfigError(
        f"the address in {variable} is refused",
        hint="it has to be https, without a user; plain http is for loopback addresses only",
    )


def proxy_for(address: SplitResult, environ: Mapping[str, str]) -> str | None:
    """
    The proxy for an https address by `HTTPS_PROXY` and `NO_PROXY`, of which networks are understood too.

    None for this machine. The proxy's address may hold a password.

    Raises:
        ConfigError: it is no address of an HTTP proxy.
    """
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if not proxy or is_loopback(address.hostname or "") or _is_direct(address, exceptions):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not re.fullmatch(r"https?://[^/\s]+/?", proxy):
        raise ConfigError(
            "HTTPS_PROXY is no address of an HTTP proxy", hint="as in http://proxy.example.com:3128"
        )
    return proxy


def _is_direct(address: SplitResult, exceptions: str) -> bool:
    import ipaddress
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    host = address.hostname or ""
    with suppress(ValueError):  # a name
        ip = ipaddress.ip_address(host)
        for entry in exceptions.split(","):
            with suppress(ValueError):
                if ip in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    return bool(proxy_bypass_environment(f"{host}:{address.port or 443}", {"no": exceptions}))


# -- whom it trusts -----------------------------------------------------------------------------------


def tls_context(environ: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """
    A context that trusts the authorities of `ASTRO_TOKEN_CA_BUNDLE`; the caller adds its own ones.

    Made by hand: a default one writes the keys of its sessions to the file that `SSLKEYLOGFILE` names.

    Raises:
        ConfigError: as `extra_authorities`.
    """
    import ssl

    class Context(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
            # Python takes a connection that breaks off for the end of what was said.
            return super().wrap_socket(*args, **{**options, "suppress_ragged_eofs": False})

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    extra = extra_authorities(environ)
    if extra is not None:
        context.load_verify_locations(cadata=extra)
    return context


def public_tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """As `tls_context`, which trusts the authorities of this machine beside those."""
    context = tls_context(environ)
    context.load_default_certs()
    return context


def opener(
    address: SplitResult, environ: Mapping[str, str], context: ssl.SSLContext | None = None
) -> OpenerDirector:
    """
    What opens an address and knows nothing of redirects, cookies, logins and ~/.netrc.

    Args:
        context: whom it trusts; None for `public_tls_context`.

    Raises:
        ConfigError: the proxy, or the authorities.
    """
    from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler

    made = OpenerDirector()
    # A program may have set a level on http.client's class, and then every header is printed: thus 0.
    if address.scheme == "http":
        made.add_handler(HTTPHandler(debuglevel=0))
        return made
    context = context or public_tls_context(environ)
    proxy = proxy_for(address, environ)
    if proxy and proxy.startswith("https:"):
        raise ConfigError(
            "HTTPS_PROXY is a proxy that is itself reached over TLS", hint="name one as http://HOST:PORT"
        )
    made.add_handler(HTTPSHandler(debuglevel=0, context=context))
    made.add_handler(ProxyHandler({"https": proxy} if proxy else {}))
    return made


def extra_authorities(environ: Mapping[str, str] | None = None) -> str | None:
    """
    The certificates of `ASTRO_TOKEN_CA_BUNDLE` as PEM text, which come on top of what is trusted anyway.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    import ssl

    name = (os.environ if environ is None else environ).get(CA_VARIABLE)
    if not name:
        return None
    text = ""
    with suppress(OSError, ValueError):  # an SSLError is an OSError
        text = Path(name).read_text(encoding="utf-8")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        return text
    raise ConfigError(
        f"the file that {CA_VARIABLE} names cannot be read, or holds no certificate",
        hint="name a PEM file of authorities' certificates",
    )


def reach(
    address: SplitResult,
    context: ssl.SSLContext,
    environ: Mapping[str, str],
    seconds: float,
    *,
    to: str = "the service",
) -> None:
    """
    Opens a connection and ends it, by the proxy where there is one. Nothing is asked.

    Raises:
        AstroTokenError: as `connection_failure`, or what `opener` raises.
    """
    from http.client import HTTPConnection, HTTPException

    host, failure = address.hostname or "", None
    connection = (
        https_connection(host, address.port or 443, proxy_for(address, environ), context, seconds)
        if address.scheme == "https"
        else HTTPConnection(host, address.port or 80, timeout=seconds)
    )
    try:
        connection.set_debuglevel(0)
        connection.connect()
    except (OSError, ValueError, HTTPException) as error:
        failure = connection_failure(error, to)
    finally:
        connection.close()
    if failure is not None:
        raise failure


def https_connection(
    host: str, port: int, proxy: str | None, context: ssl.SSLContext, seconds: float
) -> HTTPSConnection:
    """A connection that is opened when it is used, by the proxy where there is one."""
    from base64 import b64encode
    from http.client import HTTPSConnection
    from urllib.parse import unquote, urlsplit

    if proxy is None:
        return HTTPSConnection(host, port, timeout=seconds, context=context)
    by = urlsplit(proxy)
    connection = HTTPSConnection(by.hostname or "", by.port or 80, timeout=seconds, context=context)
    user = b64encode(f"{unquote(by.username or '')}:{unquote(by.password or '')}".encode()).decode()
    connection.set_tunnel(host, port, {"Proxy-Authorization": f"Basic {user}"} if by.username else {})
    return connection


# -- why it failed ------------------------------------------------------------------------------------


def connection_failure(error: BaseException, to: str = "the service") -> AstroTokenError:
    """
    What an error of a connection means to the caller, by all the errors below it and by none of their texts.

    Args:
        to: whom was to be reached, for people.
    """
    import socket
    import ssl

    for cause in causes(error):
        # The end of the connection in the middle of TLS is a reset like any other.
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            continue
        if isinstance(cause, ssl.SSLError):
            return _tls_failure(cause, to)
        if isinstance(cause, UnicodeError) or (
            isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
        ):
            return BackendDownError(
                f"the host name of {to}, or of the proxy, is unknown",
                hint="see its address, and the DNS here",
            )
        # http.client tells the status of a CONNECT in a text only.
        said = re.match(r"Tunnel connection failed: (4\d\d)\b", str(cause)) if _is_os_error(cause) else None
        if said:
            wants = "wants a user and a password" if said[1] == "407" else f"does not lead to {to}"
            return ConfigError(f"the proxy {wants}", hint="see HTTPS_PROXY and NO_PROXY")
    return BackendUnavailableError(
        f"{to} cannot be reached, or did not answer in time",
        hint="try again later; see that it can be reached",
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, wherever an SDK keeps that."""
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            kept = (getattr(item, name, None) for name in ("reason", "inner_exception"))
            queue += [item.__cause__, item.__context__, *kept, *item.args]


def _is_os_error(error: BaseException) -> bool:
    return isinstance(error, OSError)


def _tls_failure(error: ssl.SSLError, to: str) -> AstroTokenError:
    # The reason is a name out of OpenSSL's own list, the code one of its numbers.
    reason, code = getattr(error, "reason", None) or "", getattr(error, "verify_code", None)
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return AccessDeniedError(
            f"{to} wants a client certificate, or does not accept this one",
            hint="see which one is configured",
        )
    what, hint = (
        _CERTIFICATE.get(code, ("is not trusted", _TRUST)) if code else ("could not be checked", _SPEAKS)
    )
    return IntegrityError(f"no secure connection: the certificate of {to} {what}", hint=hint)


_SPEAKS = "see that its address is right, and that nothing between here and there intercepts TLS"


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """How long `Retry-After` asks to wait; None where it is not said, or is nonsense."""
    said = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", said):
        return min(float(said), _LONGEST_WAIT)
    if not said:
        return None
    import time
    from email.utils import parsedate_to_datetime

    with suppress(ValueError, TypeError, OverflowError, OSError):
        # By the clock that set the date, where it is told: ours may be wrong.
        date = headers.get("Date")
        now = parsedate_to_datetime(date).timestamp() if date else time.time()
        return min(max(0.0, parsedate_to_datetime(said).timestamp() - now), _LONGEST_WAIT)
    return None
