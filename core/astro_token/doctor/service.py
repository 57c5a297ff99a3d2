"""The way to a service: its backend, the SDK, the credential, the network, and the login."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from astro_token.doctor.way import reached, shown
from astro_token.errors import AstroTokenError, BackendError, bare
from astro_token.secrets.protocols import (
    SupportsAddress,
    SupportsCredentialSource,
    SupportsLogIn,
    SupportsTrust,
)
from astro_token.secrets.registry import open_backend, plugins
from astro_token.secrets.schemes import BUILTIN
from astro_token.transport.network import public_tls_context

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from astro_token.doctor.link import Chain
    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.deadline import Deadline

__all__ = ["open_service"]

_SILENT = "the backend does not tell"
_MAKERS = "report it to the backend's makers"


def open_service(chain: Chain, ref: SecretRef, deadline: Deadline, prefix: str = "") -> Any | None:
    """
    The backend of a reference, logged in; None where some link does not hold.

    Args:
        prefix: of the links' names.
    """
    backend = chain.look(f"{prefix}backend", lambda: _opened(ref.scheme))
    if backend is None:
        chain.leave(
            *(f"{prefix}{name}" for name in ("sdk", "credential", "network", "login")),
            why="there is no backend",
        )
        return None
    _sdk(chain, f"{prefix}sdk", ref.scheme)
    has_credential = _credential(chain, f"{prefix}credential", ref, backend, deadline)
    is_reached = _network(chain, f"{prefix}network", ref, backend, deadline)
    name = f"{prefix}login"
    if not (has_credential and is_reached):
        chain.leave(name, why="there is no credential" if is_reached else "the service is not reached")
        return None
    return backend if _login(chain, name, ref, backend, deadline) else None


def _opened(scheme: str) -> tuple[Any, str]:
    backend = open_backend(scheme)
    known = BUILTIN.get(scheme)
    return (
        backend,
        f"{scheme}: {known.description if known else f'a plugin, {plugins()[scheme].value}'}",
    )


def _sdk(chain: Chain, name: str, scheme: str) -> None:
    from importlib.metadata import PackageNotFoundError, version

    known = BUILTIN.get(scheme)
    if known is None:
        distribution = plugins()[scheme].dist
        names: tuple[str, ...] = (distribution.name,) if distribution else ()
    else:
        names = known.distributions
    found = []
    for one in names:
        try:
            text = version(one)
        except PackageNotFoundError:
            continue
        found.append(f"{one} {text}" if re.fullmatch(r"[0-9A-Za-z.+!-]{1,64}", text) else one)
    chain.add(name, "ok" if found else "none", ", ".join(found) or "none is needed")


def _credential(chain: Chain, name: str, ref: SecretRef, backend: object, deadline: Deadline) -> bool:
    if not isinstance(backend, SupportsCredentialSource):
        chain.add(name, "none", "none is needed" if ref.scheme in BUILTIN else _SILENT)
        return True

    def look() -> tuple[bool, str]:
        source = deadline.once(lambda seconds: backend.credential_source(ref, timeout=seconds))
        if not isinstance(source, str):
            raise BackendError("the backend tells no source of its credential", hint=_MAKERS)
        return True, source

    return bool(chain.look(name, look))


def _network(chain: Chain, name: str, ref: SecretRef, backend: object, deadline: Deadline) -> bool:
    if not isinstance(backend, SupportsAddress):
        chain.add(name, "none", "none is needed" if ref.scheme in BUILTIN else _SILENT)
        return True

    def look() -> tuple[bool, str]:
        # By the deadline although nothing is asked: a plugin may do and raise what it likes.
        address = deadline.once(lambda _: _address(backend.address(ref)))
        trust = (
            deadline.once(lambda _: backend.trust(ref))
            if isinstance(backend, SupportsTrust)
            else public_tls_context(os.environ)
        )
        return True, f"{shown(address)} {reached(address, trust, os.environ, deadline)}"

    return bool(chain.look(name, look))


def _address(said: object) -> SplitResult:
    """
    Raises:
        BackendError: it is none.
    """
    with suppress(ValueError):
        parts = urlsplit(said if isinstance(said, str) else "")
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    raise BackendError("the backend tells no address", hint=_MAKERS)


def _login(chain: Chain, name: str, ref: SecretRef, backend: object, deadline: Deadline) -> bool:
    if not isinstance(backend, SupportsLogIn):
        chain.add(name, "none", "no login is needed" if ref.scheme in BUILTIN else _SILENT)
        return True
    try:
        deadline.once(lambda seconds: backend.log_in(ref, timeout=seconds))
    except AstroTokenError as error:
        chain.fail(name, bare(error))
        return False
    chain.add(name, "ok", "logged in, or nothing to log in for: the next link tells")
    return True
