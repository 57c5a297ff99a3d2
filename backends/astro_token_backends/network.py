"""What the backends that speak TLS have in common: addresses, authorities, and why a connection failed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "busy",
    "connection_failure",
    "damaged",
    "extra_authorities",
    "is_loopback",
    "redirected",
    "refuse_plain_http",
    "session",
    "trusted_by",
]

CA_VARIABLE = "ASTRO_TOKEN_CA_BUNDLE"
# Link-local, and so never routed: where clouds tell a machine who it is.
_METADATA_HOSTS = frozenset(
    {"169.254.169.254", "169.254.170.2", "169.254.170.23", "metadata.google.internal"}
)


def is_loopback(host: str) -> bool:
    """True for this machine: by the whole host, for `127.0.0.1.example` is another one."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address in ipaddress.ip_network("127.0.0.0/8") or address == ipaddress.ip_address("::1")


def refuse_plain_http(url: str, variable: str) -> None:
    """
    Refuses an address that would carry a credential or a secret in clear.

    Raises:
        ConfigError: it is neither https nor http to this machine, or carries a user.
            The message names the variable that it stands in, not the address.
    """
    from urllib.parse import urlsplit

    try:
        address = urlsplit(url)
        host, has_user = address.hostname, "@" in address.netloc
        good = address.port != 0 and bool(host) and not has_user
    except ValueError:
        good = False
    if good and (address.scheme == "https" or (address.scheme == "http" and is_loopback(host or ""))):
        return
    raise ConfigError(
        f"the address in {variable} is refused",
        hint="give https://HOST[:PORT], without a user; plain http is for loopback addresses only",
    )


def refuse_clear_text(url: str) -> None:
    """
    Raises:
        ConfigError: it is plain http to anything but this machine and the one that tells it who it is.
    """
    from urllib.parse import urlsplit

    address = urlsplit(url)
    host = address.hostname or ""
    told = (os.environ.get(name, "").partition(":")[0] for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"))
    if address.scheme == "https" or is_loopback(host) or host in {*_METADATA_HOSTS, *filter(None, told)}:
        return
    raise ConfigError(
        "a credential would be sent over plain http to another machine",
        hint="see the addresses in the credential's file and in the environment: they have to be https",
    )


def extra_authorities() -> str | None:
    """
    The certificates of `ASTRO_TOKEN_CA_BUNDLE` as PEM text, which come on top of what an SDK trusts.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    import ssl

    name = os.environ.get(CA_VARIABLE)
    if not name:
        return None
    try:
        text = Path(name).read_text(encoding="utf-8")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (OSError, ValueError):  # an SSLError is an OSError
        text = ""
    if not text:
        raise ConfigError(
            f"the file that {CA_VARIABLE} names cannot be read, or holds no certificate",
            hint="name a PEM file of authorities' certificates",
        )
    return text


def trusted_by(path: str | Path, where: str) -> bytes:
    """
    The certificates in a file that an SDK trusts, in the SDK's own setting.

    Raises:
        ConfigError: it cannot be read; `where` says which setting names it.
    """
    try:
        return Path(path).read_bytes()
    except OSError:
        pass
    raise ConfigError(
        f"the file of authorities that {where} names cannot be read", hint="name a PEM file, or unset it"
    )


def session() -> Any:
    """
    A session of requests, for SDKs that take one.

    It trusts our authorities beside the usual ones, sends no password of `~/.netrc`,
    and what is in clear (which goes to this machine, or to the one it runs on) goes through no proxy.

    Raises:
        ConfigError: as `extra_authorities`.
    """
    import ssl

    import requests
    from requests.adapters import HTTPAdapter

    extra = extra_authorities()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which requests takes, as a file or a folder
        if (own := os.environ.get(name)) and not Path(own).is_dir():
            trusted_by(own, name)
    # Not urllib3's own, which writes the keys of sessions to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if extra is not None:
        context.load_verify_locations(cadata=extra)

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **options)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            return super().proxy_manager_for(*args, ssl_context=context, **options)

    class Session(requests.Session):
        def merge_environment_settings(self, url: Any, *args: Any) -> Any:
            settings = super().merge_environment_settings(url, *args)
            return settings if str(url).startswith("https:") else {**settings, "proxies": {}}

        def send(self, request: Any, **options: Any) -> Any:
            refuse_clear_text(str(request.url))
            return super().send(request, **options)

    made = Session()
    made.auth = lambda request: request  # else requests looks for one in ~/.netrc
    made.mount("https://", Adapter())
    return made


def connection_failure(error: BaseException) -> AstroTokenError:
    """What an SDK's error about a connection means to the caller, by the errors below it."""
    import socket
    import ssl

    for cause in _causes(error):
        # The end of the connection in the middle of TLS is a reset like any other.
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, ssl.SSLEOFError | ssl.SSLZeroReturnError
        ):
            return IntegrityError(
                "there is no trusted TLS connection to the service",
                hint=f"if its authority is one of your own, name the authority's file in {CA_VARIABLE}; "
                "else check the address and this machine's clock",
            )
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return BackendDownError(
                "the service's host name is unknown", hint="check the address or the region, and the DNS here"
            )
    return BackendUnavailableError(
        "the service cannot be reached, or did not answer in time", hint="try again later"
    )


def busy(retry_after: float | None = None) -> BackendUnavailableError:
    return BackendUnavailableError(
        "the service is busy, or failed", hint="try again later", retry_after=retry_after
    )


def redirected() -> IntegrityError:
    return IntegrityError(
        "the service sent us elsewhere, where we do not follow", hint="check the address and the proxy"
    )


def damaged() -> IntegrityError:
    return IntegrityError(
        "the answer is damaged, or does not come from the service", hint="check the address and the proxy"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
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
