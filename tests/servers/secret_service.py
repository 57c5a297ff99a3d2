"""A Secret Service: gnome-keyring on a session bus of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASSWORD = b"of the keyring"
_UNLOCKING = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"
_STARTUP = 90.0  # seconds, on a busy machine
# The bus starts no programs: what runs on it is what a test starts.
_BUS = """<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""


def needed(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"not installed: {missing}")
        pytest.skip(f"not installed: {missing}")


def _wait(condition: Any, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _STARTUP
    while not condition():
        assert process.poll() is None, f"{process.args!r} ended"
        assert time.monotonic() < end, f"{process.args!r} did not start"
        time.sleep(0.02)


@contextmanager
def _running(
    argv: list[str], environ: dict[str, str], data: bytes = b""
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def session_bus(folder: Path) -> Iterator[dict[str, str]]:
    """A session bus without services; yields the variables that lead to it."""
    needed("dbus-daemon")
    socket = folder / "bus"
    (folder / "bus.conf").write_text(_BUS.format(path=socket))
    argv = ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"]
    base = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with _running(argv, base) as process:
        _wait(socket.exists, process)
        yield {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={socket}"}


class SecretService:
    """gnome-keyring with an unlocked default collection."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environ: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        needed("gnome-keyring-daemon")
        with ExitStack() as stack:
            self.environ = stack.enter_context(session_bus(self._folder))
            folders = {"HOME": str(self._folder), "XDG_DATA_HOME": f"{self._folder}/data"}
            base = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(self._folder), **folders}
            argv = ["gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"]
            daemon = _running(
                [*argv, f"--control-directory={self._folder}"], {**base, **self.environ}, _PASSWORD
            )
            _wait(self._is_ready, stack.enter_context(daemon))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def collection(self) -> Iterator[Any]:
        """The default collection, through another client than ours."""
        import secretstorage
        from jeepney.io.blocking import open_dbus_connection
        from secretstorage.util import add_match_rules

        with closing(open_dbus_connection(self.environ["DBUS_SESSION_BUS_ADDRESS"])) as connection:
            add_match_rules(connection)
            yield secretstorage.Collection(connection)

    def store(self, service: str, username: str, value: bytes, **attributes: str) -> None:
        with self.collection() as collection:
            every = {"service": service, "username": username, **attributes}
            collection.create_item("a label", every, value, replace=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self.collection() as collection:
            collection.lock()
        try:
            yield
        finally:
            self._unlock()

    def _unlock(self) -> None:
        """Unlock with the password, as a login to the desktop does."""
        from secretstorage.util import DBusAddressWrapper, format_secret, open_session

        with self.collection() as collection:
            connection = collection.connection
            session = open_session(connection)
            service = DBusAddressWrapper("/org/freedesktop/secrets", _UNLOCKING, connection)
            password = format_secret(session, _PASSWORD, "text/plain")
            service.call("UnlockWithMasterPassword", "o(oayays)", collection.collection_path, password)
            assert not collection.is_locked()

    def _is_ready(self) -> bool:
        import secretstorage

        try:
            with self.collection() as collection:
                return not collection.is_locked()
        except secretstorage.SecretStorageException:
            return False
