"""Errors of keyrings, which distinguish a locked store from a missing one."""

from __future__ import annotations

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendError,
    BackendUnavailableError,
    NoCredentialError,
    SecretNotFoundError,
)

__all__ = ["locked", "missing", "no_store", "translated", "translated_later"]

_NO_STORE = "use it where you are logged in to a desktop, or name another backend"
# Exceptions of secretstorage, jeepney and keyring, by name: each system has other ones.
_MISSING_STORES = {
    "SecretServiceNotAvailableException",
    "AuthenticationError",
    "InitError",
    "NoKeyringError",
    "FileNotFoundError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "PermissionError",
}
_LOCKED = {"LockedException", "PromptDismissedException", "KeyringLocked"}
_BUS_ERRORS = {
    "org.freedesktop.Secret.Error.IsLocked": "locked",
    "org.freedesktop.DBus.Error.AccessDenied": "denied",
    "org.freedesktop.DBus.Error.ServiceUnknown": "missing",
    "org.freedesktop.DBus.Error.NameHasNoOwner": "missing",
    "org.freedesktop.DBus.Error.NoReply": "silent",
    "org.freedesktop.DBus.Error.Timeout": "silent",
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


def translated(error: Exception) -> AstroTokenError:
    """Translate an exception of the keyring's libraries, whose text may hold anything."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    meaning = _BUS_ERRORS.get(getattr(error, "name", ""), "")
    if kinds & _LOCKED or meaning == "locked":
        return locked()
    if kinds & _MISSING_STORES or meaning == "missing":
        return no_store()
    if "ItemNotFoundException" in kinds:
        return missing()
    if meaning == "denied":
        return AccessDeniedError(
            "the keyring refuses this program", hint="allow it in the keyring's settings"
        )
    if "TimeoutError" in kinds or meaning == "silent":
        return BackendUnavailableError("the keyring did not answer in time", hint="try again later")
    if "DBusErrorResponse" in kinds:
        return BackendDownError("the keyring reports an error", hint="restart it, or log in again")
    return BackendError(f"the keyring failed with {type(error).__name__}")


def translated_later(error: Exception) -> AstroTokenError:
    """Translate an exception after the keyring was opened: one that ends then is not one that is missing."""
    failure = translated(error)
    if isinstance(failure, NoCredentialError):
        return BackendDownError("the keyring closed the connection", hint="restart it, or log in again")
    return failure
