"""The Secret Service of Linux and BSD desktops: GNOME Keyring, KWallet, KeePassXC."""

from __future__ import annotations

import os
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import secretstorage
from jeepney.auth import AuthenticationError
from jeepney.bus import get_bus
from jeepney.io.blocking import open_dbus_connection
from secretstorage.util import add_match_rules

from astro_token.errors import AstroTokenError, ConfigError, changed_meanwhile
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.system.terminal import can_prompt
from astro_token.system.variables import setting
from astro_token_backends.keyring.errors import (
    locked,
    malformed,
    missing,
    no_store,
    translated_from_bus,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jeepney.io.blocking import DBusConnection

__all__ = ["SecretService"]

_APPLICATION = "Python keyring library"  # as the program `keyring` stores it
_BUS = "DBUS_SESSION_BUS_ADDRESS"
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


class SecretService:
    """
    The default collection, with the attributes that the program `keyring` gives to its entries.

    The version is the time of the last change, in seconds, because the service has no other.
    """

    def read(self, service: str, username: str, seconds: float) -> SecretValue:
        with _collection(seconds) as collection:
            item = _existing(collection, service, username, seconds)
            return SecretValue(item.get_secret(), str(item.get_modified()))

    def describe(self, service: str, username: str, seconds: float) -> SecretMetadata:
        with _collection(seconds) as collection:
            item = _existing(collection, service, username, seconds)
            created, modified = item.get_created(), item.get_modified()
        return SecretMetadata(
            version=str(modified),
            created=datetime.fromtimestamp(created, UTC),
            updated=datetime.fromtimestamp(modified, UTC),
        )

    def write(
        self, service: str, username: str, value: SecretValue, expected: str | None, seconds: float
    ) -> str:
        with _collection(seconds) as collection:
            item = _item(collection, service, username, seconds)
            current = item.get_modified() if item else 0
            if expected not in {None, str(current)}:
                raise changed_meanwhile()
            if item is None:
                attributes = {"service": service, "username": username, "application": _APPLICATION}
                label = f"Password for '{username}' on '{service}'"
                item = collection.create_item(label, attributes, value.reveal())
            else:
                # The time is the version: a second change within a second would not be noticed.
                time.sleep(min(1.0, max(0.0, current + 1 - time.time())))
                item.set_secret(value.reveal())
            return str(item.get_modified())


@contextmanager
def _collection(seconds: float) -> Iterator[secretstorage.Collection]:
    """
    Open the default collection. One that does not exist is not created: that would show a dialog.

    Raises:
        AstroTokenError: there is no Secret Service, or the collection is locked.
    """
    # Activating the service could show a dialog too, but without it an unlocked keyring would be missed.
    failure: AstroTokenError
    try:
        with closing(_session_bus()) as connection:
            add_match_rules(connection)
            collection = _default_collection(connection)
            if collection is None:
                raise no_store()
            _unlock(collection, seconds)
            yield collection
        return
    except AstroTokenError:
        raise
    except Exception as error:  # noqa: BLE001 (the libraries raise many)
        failure = translated_from_bus(error)
    raise failure


def _default_collection(connection: DBusConnection) -> secretstorage.Collection | None:
    if not secretstorage.check_service_availability(connection):
        return None
    try:
        return secretstorage.Collection(connection)
    except secretstorage.ItemNotFoundException:
        return None


def _session_bus() -> DBusConnection:
    """
    Raises:
        AstroTokenError: there is no session, it is another user's, or its address is malformed.
        OSError: the bus ended, or was silent.
    """
    address = setting(os.environ, _BUS)
    if not address:
        raise no_store()
    failure: AstroTokenError
    failure = ConfigError(f"{_BUS} is not the address of a session bus", hint=f"correct or unset {_BUS}")
    try:
        get_bus(address)
        return open_dbus_connection(address)
    except (FileNotFoundError, ConnectionRefusedError, PermissionError):  # ended, or of another user
        failure = no_store()
    except AuthenticationError as error:  # a bus rejects other users
        failure = no_store() if error.data.startswith(b"REJECTED") else malformed()
    except (ConnectionError, TimeoutError):
        raise
    except (ValueError, RuntimeError, StopIteration, OSError):
        pass
    raise failure


def _unlock(target: secretstorage.Collection | secretstorage.Item, seconds: float) -> None:
    """
    Unlock a collection or an item with the desktop's dialog, if a person is at a terminal of this desktop.

    Raises:
        AstroTokenError: it is locked.
    """
    if not target.is_locked():
        return
    if not can_prompt() or not any(os.environ.get(name) for name in _DISPLAYS):
        raise locked()
    late = False
    try:
        target.unlock(timeout=seconds)
    except TimeoutError:
        late = True
    if late or target.is_locked():
        raise locked()


def _existing(
    collection: secretstorage.Collection, service: str, username: str, seconds: float
) -> secretstorage.Item:
    item = _item(collection, service, username, seconds)
    if item is None:
        raise missing()
    return item


def _item(
    collection: secretstorage.Collection, service: str, username: str, seconds: float
) -> secretstorage.Item | None:
    items = list(collection.search_items({"service": service, "username": username}))
    if not items:
        return None
    if len(items) > 1:
        raise _ambiguous()
    _unlock(items[0], seconds)
    return items[0]


def _ambiguous() -> AstroTokenError:
    return ConfigError(
        "the keyring has several entries with this service and username", hint="delete all but one of them"
    )
