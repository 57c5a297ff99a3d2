"""From a scheme to its backend, loaded when it is first asked for."""

from __future__ import annotations

import atexit
import os
import re
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    ConfigError,
    MissingDependencyError,
    UnknownBackendError,
    UnsupportedOperationError,
    bare,
)
from astro_token.secrets.protocols import Backend, SupportsClose, SupportsCredentialVariables
from astro_token.secrets.schemes import BUILTIN, DISTRIBUTIONS, RESERVED, SDKS
from astro_token.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

__all__ = ["check_scheme", "close_backends", "declared_credentials", "open_backend", "plugins", "require"]

PLUGINS_VARIABLE = "ASTRO_TOKEN_PLUGINS"
PLUGINS_GROUP = "astro_token.backends"

_open: dict[str, Any] = {}
_lock = threading.RLock()


def open_backend(scheme: str) -> Any:
    """
    The backend of a scheme, one for the process, so that it logs in once.

    Raises:
        UnknownBackendError: nothing serves the scheme.
        MissingDependencyError: its SDK is not installed.
        ConfigError: two distributions claim the scheme, or one claims a reserved one.
    """
    with _lock:
        if scheme not in _open:
            if not _open:
                atexit.register(close_backends)
            _open[scheme] = _make(scheme)
        return _open[scheme]


def close_backends(*, within: float = 1.0) -> None:
    """
    Gives back what logins took. Raises nothing: failing to tidy up must not undo what was done.

    Args:
        within: seconds, after which what is not done is left behind.
    """
    with _lock:
        # By identity: one backend may serve several schemes.
        opened = {id(backend): backend for backend in _open.values()}
        backends = [backend for backend in opened.values() if isinstance(backend, SupportsClose)]
        _open.clear()
    threads = [threading.Thread(target=_close, args=(backend,), daemon=True) for backend in backends]
    end = time.monotonic() + within
    for thread, backend in zip(threads, backends, strict=True):
        try:
            thread.start()
        except RuntimeError:  # newer Pythons start no thread when they end
            _close(backend)
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, end - time.monotonic()))


def _close(backend: SupportsClose) -> None:
    try:
        backend.close()
    except Exception as error:  # noqa: BLE001 (see close_backends)
        from astro_token.log import logger

        logger.debug("closing a backend failed with %s", type(error).__name__)


def _forget() -> None:
    """In a forked child: its parent's logins are its parent's to give back."""
    global _lock  # noqa: PLW0603 (the one of before may be held by a thread that the child does not have)
    _open.clear()
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def declared_credentials() -> frozenset[str]:
    """The credential variables of the plugins in use; the table of schemes has those of built-in backends."""
    with _lock:
        return frozenset(
            name
            for backend in _open.values()
            if isinstance(backend, SupportsCredentialVariables)
            for name in backend.credential_variables()
        )


def require(backend: object, capability: Any, scheme: str, what: str) -> Any:
    """
    The backend, if it can do that.

    Raises:
        UnsupportedOperationError: it cannot; `what` says what was wanted, as in "cannot be written".
    """
    if isinstance(backend, capability):
        return backend
    raise UnsupportedOperationError(
        f"{scheme}: {what}", hint="`astro-token backends` lists what each backend can do"
    )


def plugins() -> Mapping[str, EntryPoint]:
    """
    The schemes of the distributions that `ASTRO_TOKEN_PLUGINS` names, by comma. Imports nothing of them.

    Raises:
        ConfigError: one is not installed, claims a reserved scheme, or claims another one's.
    """
    named = [name.strip() for name in os.environ.get(PLUGINS_VARIABLE, "").split(",") if name.strip()]
    if not named:
        return {}
    from importlib.metadata import PackageNotFoundError, distribution

    found: dict[str, EntryPoint] = {}
    for name in dict.fromkeys(re.sub(r"[-_.]+", "-", name).lower() for name in named):
        try:
            entries = distribution(name).entry_points.select(group=PLUGINS_GROUP)
        except (PackageNotFoundError, ValueError):
            entries = None
        if not entries:
            raise ConfigError(
                f"a distribution that {PLUGINS_VARIABLE} names is not installed, or offers no backend"
                + (f": {name}" if re.fullmatch(r"[a-z0-9-]{1,64}", name) else ""),
                hint=f"install it, or take it out of {PLUGINS_VARIABLE}, which takes commas",
            )
        for entry in entries:
            if entry.name in RESERVED:
                raise ConfigError(
                    f"a plugin claims the reserved scheme {entry.name}",
                    hint=f"take its distribution out of {PLUGINS_VARIABLE}",
                )
            if entry.name in found:
                raise ConfigError(
                    f"two plugins claim the scheme {entry.name}",
                    hint=f"take one of their distributions out of {PLUGINS_VARIABLE}",
                )
            found[entry.name] = entry
    return found


def _make(scheme: str) -> object:
    check_scheme(scheme)
    builtin = BUILTIN.get(scheme)
    if builtin is not None:
        module, _, attribute = builtin.backend.partition(":")
        backend = _load(scheme, lambda: getattr(import_module(module), attribute)())
    else:
        backend = _load(scheme, lambda: plugins()[scheme].load()())
    if builtin is None and not isinstance(backend, Backend):
        raise BackendError(
            f"the plugin of {scheme} has no method `read`", hint="report it to the plugin's makers"
        )
    from astro_token.log import silence_sdks

    silence_sdks()  # after the import, which creates their loggers
    return backend


def _load(scheme: str, factory: Callable[[], object]) -> object:
    error: AstroTokenError
    try:
        return factory()
    except AstroTokenError as known:
        error = bare(known)
    except ModuleNotFoundError as missing:
        package = (missing.name or "a package").partition(".")[0]
        extra = BUILTIN[scheme].extra if scheme in BUILTIN else None
        if extra and SDKS[extra].startswith(f"{package}."):  # google and azure are many packages' beginnings
            package = DISTRIBUTIONS[extra][0]
        error = MissingDependencyError(
            f"{scheme} needs the Python package {package}, which is not installed",
            hint=f"pip install 'astro-token[{extra}]'" if extra else "install it, or reinstall the backend",
        )
    except (Exception, SystemExit) as broken:  # noqa: BLE001 (a backend may raise anything)
        error = BackendError(f"the backend of {scheme} failed to start with {type(broken).__name__}")
    raise error


def check_scheme(scheme: str) -> None:
    """
    Raises:
        UnknownBackendError: nothing serves the scheme. The text is not repeated:
            what stands in front of a colon may be a user's name, and what follows a password.
        ConfigError: as `plugins`.
    """
    builtin = BUILTIN.get(scheme)
    if builtin is not None:
        return
    if scheme in RESERVED:
        raise UnknownBackendError(
            f"the backend for the scheme {scheme} is not built yet",
            hint="`astro-token backends` lists what there is",
        )
    if scheme in plugins():
        return
    known = sorted(BUILTIN)
    raise UnknownBackendError(
        "there is no backend for this scheme, the part before the colon",
        hint=did_you_mean(scheme, known)
        + f"known are {', '.join(known)}; {PLUGINS_VARIABLE} has to name a plugin's distribution",
    )
