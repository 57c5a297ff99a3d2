"""Errors of keyrings, which distinguish a locked store from a missing one."""

from __future__ import annotations

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendError,
    BackendUnavailableError,
    IntegrityError,
    NoCredentialError,
    SecretNotFoundError,
)

__all__ = ["locked", "malformed", "missing", "no_store", "translated", "translated_from_bus"]

_NO_STORE = "use it where you are logged in to a desktop, or name another backend"
_RESTART = "restart it, or log in again"
# Exceptions of secretstorage, jeepney and keyring, by name: each system has other ones.
_MISSING_STORES = {"InitError", "NoKeyringError"}
_LOCKED = {"LockedException", "PromptDismissedException", "KeyringLocked"}
_ENDED = {"ConnectionError", "SecretServiceNotAvailableException"}
# Those of the parser of messages, and of code that expects another one.
_MALFORMED = {"AssertionError", "LookupError", "TypeError", "ValueError", "error"}
_BUS_ERRORS = {
    "org.freedesktop.Secret.Error.IsLocked": "locked",
    "org.freedesktop.DBus.Error.AccessDenied": "denied",
    "org.freedesktop.DBus.Error.NoReply": "silent",
    "org.freedesktop.DBus.Error.Timeout": "silent",
    "org.freedesktop.DBus.Error.TimedOut": "silent",
}


def no_store() -> AstroTokenError:
    """Build the error that lets a chain of references continue: this keyring is not for this machine."""
    return NoCredentialError("this machine has no keyring for this user", hint=_NO_STORE)


def locked() -> AstroTokenError:
    return AccessDeniedError(
        "the keyring is locked", hint="unlock it, for example by logging in to the desktop, then try again"
    )


def missing() -> AstroTokenError:
    return SecretNotFoundError(
        "the keyring has no entry with this service and username",
        hint="list its entries; `astro-token put` creates one",
    )


def malformed() -> AstroTokenError:
    return IntegrityError("the keyring sent a malformed answer", hint=_RESTART)


def translated(error: Exception) -> AstroTokenError:
    """Translate an exception of the keyring's libraries, whose text may hold anything."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # secretstorage has one exception for a service that is missing and for one that is silent.
    name = getattr(error, "name", "") or getattr(error.__cause__, "name", "")
    meaning = _BUS_ERRORS.get(name, "")
    if kinds & _LOCKED or meaning == "locked":
        return locked()
    if kinds & _MISSING_STORES:
        return no_store()
    if "TimeoutError" in kinds or meaning == "silent":
        return BackendUnavailableError("the keyring did not answer in time", hint="try again later")
    if kinds & _ENDED:
        return BackendDownError("the keyring closed the connection", hint=_RESTART)
    if "ItemNotFoundException" in kinds:
        return missing()
    if meaning == "denied":
        return AccessDeniedError(
            "the keyring refuses this program", hint="allow it in the keyring's settings"
        )
    if "DBusErrorResponse" in kinds:
        return BackendDownError("the keyring reports an error", hint=_RESTART)
    return BackendError(f"the keyring failed with {type(error).__name__}", hint="report it")


def translated_from_bus(error: Exception) -> AstroTokenError:
    """Translate an exception of the libraries of the session bus, which trust every answer."""
    failure = translated(error)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return malformed() if type(failure) is BackendError and kinds & _MALFORMED else failure
