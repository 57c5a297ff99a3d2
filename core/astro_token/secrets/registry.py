"""Open the backend of a scheme: built in, or from a plugin."""

from __future__ import annotations

import atexit
import os
from _thread import RLock
from importlib import import_module
from types import MappingProxyType

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    ConfigError,
    MissingDependencyError,
    UnknownBackendError,
    UnsupportedOperationError,
    sanitized,
    with_prefix,
)
from astro_token.record import Record
from astro_token.secrets.schemes import BUILTIN, RESERVED
from astro_token.wording import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from astro_token.secrets.plugins import Entry
    from astro_token.transport.deadline import Deadline

__all__ = [
    "PLUGINS_VARIABLE",
    "Plugins",
    "can",
    "check_scheme",
    "close_backends",
    "declared_credentials",
    "open_backend",
    "plugins",
    "require",
]

UNLOADABLE = (
    "check that its folder is not mounted with noexec, that memory is left, and that it was built "
    "for this system; then reinstall it"
)
PLUGINS_VARIABLE = "ASTRO_TOKEN_PLUGINS"

_HINT_SECONDS = 2.0

_open: dict[str, Any] = {}
_lock = RLock()


def open_backend(scheme: str, *, deadline: Deadline | None = None) -> Any:
    """
    Return the backend of a scheme. It exists once per process, and so logs in once.

    Args:
        deadline: for a plugin, whose import may hang; None for 30 seconds.

    Raises:
        UnknownBackendError: no backend serves the scheme.
        MissingDependencyError: its SDK is not installed.
        BackendUnavailableError: a plugin does not start in time.
        ConfigError: two plugins claim the scheme, or none serves it and a distribution is missing.
    """
    if scheme in _open:
        return _open[scheme]
    check_scheme(scheme)
    # The lock is not held while a plugin starts, which has a thread of its own and may open other backends.
    backend = None if scheme in BUILTIN else _start_plugin(scheme, deadline)
    with _lock:
        if scheme not in _open:
            if not _open:
                atexit.register(close_backends)
            _open[scheme] = backend or _make(scheme)
        return _open[scheme]


def _start_plugin(scheme: str, deadline: Deadline | None) -> object:
    from astro_token.transport.deadline import Deadline

    entry, deadline = plugins().entries[scheme], deadline or Deadline()
    # A little earlier than the deadline, which would not name the plugin.
    bound = Deadline(deadline.remaining - 0.5, attempt=deadline.attempt)
    error: AstroTokenError
    try:
        return bound.once(lambda _: _make(scheme), apart=True)
    except BackendUnavailableError as late:
        error = with_prefix(late, f"the plugin {entry.distribution}")
        error.hint = f"if it happens again, report it to the plugin's authors, or change {PLUGINS_VARIABLE}"
    raise error


def close_backends(*, within: float = 1.0) -> None:
    """
    Close all backends, which release their logins. Raise nothing: a command succeeds even if this fails.

    Args:
        within: seconds; a backend that needs longer is abandoned.
    """
    import time

    end = time.monotonic() + within
    if not _lock.acquire(timeout=within):  # an abandoned thread opens a backend, and may never end
        return
    try:
        # By identity: one backend may serve several schemes.
        backends = {id(backend): backend for backend in _open.values() if can(backend, "close")}
        _open.clear()
    finally:
        _lock.release()
    if not backends:
        return
    import threading

    threads = [threading.Thread(target=_close, args=(backend,), daemon=True) for backend in backends.values()]
    for thread, backend in zip(threads, backends.values(), strict=True):
        try:
            thread.start()
        except RuntimeError:  # newer Pythons start no thread when they end
            _close(backend)
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, end - time.monotonic()))


def _close(backend: Any) -> None:
    try:
        backend.close()
    except Exception as error:  # noqa: BLE001 (see close_backends)
        from astro_token.log import logger

        logger.debug("closing a backend failed with %s", type(error).__name__)


def _forget() -> None:
    """Drop the backends in a forked child: their logins belong to the parent."""
    global _lock  # noqa: PLW0603 (a thread that the child does not have may hold the other one)
    _open.clear()
    _lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def declared_credentials(named: Collection[str] | None = None) -> frozenset[str]:
    """
    Return the credential variables of the selected plugins, whether used or not; each of them is opened.

    Built-in backends declare theirs in a `Scheme`.

    Args:
        named: schemes of references in use. None if the names are only hints.

    Raises:
        AstroTokenError: a plugin of such a scheme, or one that was open, does not declare them,
            so that its credentials cannot be withheld. A fault of another plugin is a warning.
    """
    with _lock:
        opened = tuple(_open)
    names: frozenset[str] = frozenset()
    schemes = {*opened, *plugins().entries}.difference(BUILTIN)
    if not schemes:
        return names
    from astro_token.log import logger
    from astro_token.transport.deadline import Deadline

    for scheme in sorted(schemes):
        deadline = Deadline(_HINT_SECONDS) if named is None else None
        try:
            names = names.union(_declared(scheme, open_backend(scheme, deadline=deadline)))
        except AstroTokenError as error:
            if named is None:
                continue
            if scheme in named or scheme in opened:
                raise
            logger.warning("the credentials of the plugin for %s are not withheld: %s", scheme, error.message)
    return names


def _declared(scheme: str, backend: Any) -> Collection[str]:
    if not can(backend, "credential_variables"):
        return ()
    try:
        declared = backend.credential_variables()
        names = () if isinstance(declared, str) else tuple(declared)
        is_valid = not isinstance(declared, str) and all(isinstance(name, str) for name in names)
    except Exception:  # noqa: BLE001 (a plugin may raise anything)
        is_valid = False
    if is_valid:
        return names
    raise BackendError(
        f"the plugin for {scheme} does not name its credential variables",
        hint="report it to the plugin's authors: `credential_variables` returns a collection of names",
    )


def can(backend: object, method: str) -> bool:
    """
    True if a backend has the method of a protocol.

    The same as `isinstance` with that protocol, without the cost of importing protocols.
    """
    return callable(getattr(backend, method, None))


def require(backend: object, method: str, scheme: str, complaint: str) -> Any:
    """
    Return the backend if it has the method of a protocol.

    Raises:
        UnsupportedOperationError: it does not; the complaint follows its name, as in "cannot be written".
    """
    if can(backend, method):
        return backend
    raise UnsupportedOperationError(
        f"the backend {scheme} {complaint}",
        hint="`astro-token backends` lists the operations of each backend",
    )


class Plugins(Record):
    """
    The backends of the distributions that `ASTRO_TOKEN_PLUGINS` names.

    Attributes:
        entries: by scheme, those that are used.
        refused: by scheme, the reason to use none. A built-in backend serves its scheme nevertheless.
        missing: for each distribution that is not installed, or has no backend, the error.
    """

    entries: Mapping[str, Entry] = MappingProxyType({})
    refused: Mapping[str, ConfigError] = MappingProxyType({})
    missing: tuple[ConfigError, ...] = ()

    @property
    def problems(self) -> tuple[ConfigError, ...]:
        return (*self.refused.values(), *self.missing)


def plugins() -> Plugins:
    """
    List the selected plugins from the metadata of their distributions, without importing them.

    A fault of one plugin leaves the schemes of the others as they are.
    """
    named = [name.strip() for name in os.environ.get(PLUGINS_VARIABLE, "").split(",") if name.strip()]
    if not named:
        return Plugins()
    import re

    from astro_token.secrets.plugins import entries_of
    from astro_token.system.distributions import normalized

    entries: dict[str, Entry] = {}
    refused: dict[str, ConfigError] = {}
    missing = []
    for name in dict.fromkeys(map(normalized, named)):
        offered = entries_of(name)
        if not offered:
            missing.append(
                ConfigError(
                    f"{PLUGINS_VARIABLE} names a distribution that is not installed or has no backend"
                    + (f": {name}" if re.fullmatch(r"[a-z0-9-]{1,64}", name) else ""),
                    hint=f"install it, or remove it from {PLUGINS_VARIABLE}; separate names with commas",
                )
            )
        for entry in offered:
            scheme = entry.scheme
            if scheme in RESERVED:
                refused[scheme] = ConfigError(
                    f"a plugin claims the reserved scheme {scheme}, which stays that of the built-in backend",
                    hint=f"remove its distribution from {PLUGINS_VARIABLE}, or ask its authors to rename it",
                )
            elif scheme in entries or scheme in refused:
                entries.pop(scheme, None)  # neither: one would receive the secrets of the other
                refused[scheme] = ConfigError(
                    f"two plugins claim the scheme {scheme}",
                    hint=f"remove one of their distributions from {PLUGINS_VARIABLE}",
                )
            else:
                entries[scheme] = entry
    return Plugins(MappingProxyType(entries), MappingProxyType(refused), tuple(missing))


def _make(scheme: str) -> object:
    builtin = BUILTIN.get(scheme)
    if builtin is not None:
        module, _, attribute = builtin.backend.partition(":")
        backend = _load(scheme, lambda: getattr(import_module(module), attribute)())
    else:
        backend = _load(scheme, lambda: plugins().entries[scheme].load()())
    if builtin is None and not can(backend, "read"):
        raise BackendError(
            f"the plugin for {scheme} has no method `read`", hint="report it to the plugin's authors"
        )
    from astro_token.log import silence

    # After the import, which creates them. A plugin may use any SDK.
    silence(builtin.loggers if builtin else [name for row in BUILTIN.values() for name in row.loggers])
    return backend


def _load(scheme: str, factory: Callable[[], object]) -> object:
    error: AstroTokenError
    try:
        return factory()
    except AstroTokenError as raised:
        error = sanitized(raised)
    except ModuleNotFoundError as missing:
        package = (missing.name or "a package").partition(".")[0]
        builtin = BUILTIN.get(scheme)
        extra = builtin.extra if builtin else None
        if builtin and (builtin.sdk or "").startswith(f"{package}."):  # google and azure begin many packages
            package = builtin.distributions[0]
        from astro_token.system.installation import install_hint

        error = MissingDependencyError(
            f"{scheme} needs the Python package {package}, which is not installed",
            hint=install_hint(extra) if extra else "install it, or reinstall the backend",
        )
    except ImportError as unloadable:
        package = (unloadable.name or "of its backend").partition(".")[0]
        error = ConfigError(f"{scheme}: the Python package {package} cannot be loaded", hint=UNLOADABLE)
    except (Exception, SystemExit) as broken:  # noqa: BLE001 (a backend may raise anything)
        error = BackendError(f"the backend for {scheme} failed to start with {type(broken).__name__}")
    raise error


def check_scheme(scheme: str) -> None:
    """
    Raises:
        UnknownBackendError: no backend serves the scheme. The text is not repeated:
            text before a colon may be a user's name, followed by a password.
        ConfigError: two plugins claim it, or none serves it and a distribution is missing.
    """
    if scheme in BUILTIN:
        return
    selected = plugins()
    if scheme in selected.entries:
        return
    if scheme in selected.refused:
        raise selected.refused[scheme]
    if selected.missing:  # it may be the one that serves the scheme
        raise selected.missing[0]
    builtin = sorted(BUILTIN)
    raise UnknownBackendError(
        "no backend serves this scheme (the part before the colon)",
        hint=did_you_mean(scheme, builtin)
        + f"the schemes are {', '.join(builtin)}; {PLUGINS_VARIABLE} must name a plugin's distribution",
    )
