"""What the backends whose SDKs make their own connections have in common."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from astro_token.errors import BackendUnavailableError, ConfigError, IntegrityError
from astro_token.transport.network import checked_address, connection_failure, is_loopback

__all__ = [
    "busy",
    "connection_failure",
    "damaged",
    "is_loopback",
    "redirected",
    "refuse_plain_http",
    "trusted_by",
]

_METADATA_HOST = "metadata.google.internal"


def refuse_plain_http(url: str, variable: str) -> None:
    """
    Raises:
        ConfigError: the address in a variable would carry a credential or a secret in clear.
    """
    checked_address(url, variable)


def refuse_clear_text(url: str) -> None:
    """
    Raises:
        ConfigError: it is plain http to anything but this machine and the one that tells it who it is.
    """
    import ipaddress
    from urllib.parse import urlsplit

    address = urlsplit(url)
    host = address.hostname or ""
    if address.scheme == "https" or is_loopback(host) or host == _METADATA_HOST:
        return
    with suppress(ValueError):  # a name
        # No router passes these on: at such addresses clouds tell a machine who it is.
        if ipaddress.ip_address(host).is_link_local:
            return
    raise ConfigError(
        "a credential would be sent over plain http to another machine",
        hint="see the addresses in the credential's file and in the environment: they have to be https",
    )


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
