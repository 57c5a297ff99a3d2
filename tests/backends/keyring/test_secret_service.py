"""The keyring of a Linux desktop: gnome-keyring on a session bus of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
import secretstorage

from astro_token.errors import AstroTokenError, NoCredentialError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import BackendContract, Harness, appearances, reachable_text
from astro_token_backends.keyring import secret_service
from astro_token_backends.keyring.client import Keyring
from tests.backends.sweep import Outcome, reader, wrong_results
from tests.servers.secret_service import SecretService, session_bus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Program

VARIABLES = ("DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND")
# Of keyring, of the bus and of desktops: none of them leads to another keyring.
NOT_USED = (
    *("DBUS_STARTER_ADDRESS", "DBUS_STARTER_BUS_TYPE", "DBUS_SYSTEM_BUS_ADDRESS", "DISPLAY"),
    *("GNOME_KEYRING_CONTROL", "HOME", "KEYCHAIN_PATH", "KEYRING_PASSWORD", "KEYRING_PROPERTY_KEYCHAIN"),
    *("KEYRING_PROPERTY_PREFERRED_COLLECTION", "KEYRING_PROPERTY_PRIORITY", "KEYRING_USERNAME"),
    *("LANG", "TMPDIR", "WAYLAND_DISPLAY", "XDG_CONFIG_HOME", "XDG_CURRENT_DESKTOP", "XDG_DATA_HOME"),
    *("XDG_RUNTIME_DIR", "XDG_SESSION_TYPE"),
)
OURS = "keyring.backends.SecretService.Keyring"


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretService]:
    with SecretService(tmp_path_factory.mktemp("desktop")) as service:
        yield service


@pytest.fixture
def keyring(desktop: SecretService, monkeypatch: pytest.MonkeyPatch) -> SecretService:
    for name in (*VARIABLES, "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in desktop.environ.items():
        monkeypatch.setenv(name, value)
    return desktop


def read(name: str) -> SecretValue:
    return Keyring().read(SecretRef("keyring", name), timeout=10)


def failure(name: str = "s/u") -> AstroTokenError:
    with pytest.raises(AstroTokenError) as raised:
        read(name)
    return raised.value


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, keyring: SecretService, request: pytest.FixtureRequest) -> Harness:
        name = request.node.name

        def store(value: bytes) -> None:
            keyring.store("contract", name, value)

        return Harness(
            Keyring(),
            store,
            present=f"keyring:contract/{name}",
            missing="keyring:contract/nothing",
            writable=f"keyring:contract/new-{name}",
        )


def test_a_service_may_be_an_address(keyring: SecretService, canary: str) -> None:
    keyring.store("https://cloud.astronomer.io/a#b", "prod", canary.encode())
    ref = SecretRef.parse("keyring:https://cloud.astronomer.io/a%23b/prod")
    assert canary.encode() == Keyring().read(ref, timeout=10).reveal()


def test_entries_are_those_of_the_program_keyring(keyring: SecretService, canary: str) -> None:
    command = [sys.executable, "-m", "keyring"]
    environ = {**os.environ, "PYTHON_KEYRING_BACKEND": OURS}
    subprocess.run([*command, "set", "astro", "prod"], env=environ, input=canary, text=True, check=True)
    assert canary.encode() == read("astro/prod").reveal()
    other = canary[::-1]
    ref = SecretRef("keyring", "astro/prod")
    Keyring().write(ref, SecretValue(other.encode()), expected_version=None, timeout=10)
    new = SecretRef("keyring", "astro/new")
    Keyring().write(new, SecretValue(canary.encode()), expected_version="0", timeout=10)
    for username, value in (("prod", other), ("new", canary)):
        done = subprocess.run(
            [*command, "get", "astro", username], env=environ, capture_output=True, text=True, check=True
        )
        assert f"{value}\n" == done.stdout


def test_an_entry_of_another_program_is_replaced_and_not_doubled(keyring: SecretService, canary: str) -> None:
    keyring.store("other", "u", b"old", of="another program")
    created = Keyring().describe(SecretRef("keyring", "other/u"), timeout=10).created
    Keyring().write(
        SecretRef("keyring", "other/u"), SecretValue(canary.encode()), expected_version=None, timeout=10
    )
    assert canary.encode() == read("other/u").reveal()
    metadata = Keyring().describe(SecretRef("keyring", "other/u"), timeout=10)
    assert created is not None
    assert metadata.updated is not None
    assert created == metadata.created
    assert created < metadata.updated


def test_two_entries_are_ambiguous(keyring: SecretService, canary: str) -> None:
    keyring.store("double", "u", canary.encode(), of="a")
    keyring.store("double", "u", canary.encode(), of="b")
    error = failure("double/u")
    assert (78, "the keyring has several entries with this service and username") == (
        error.exit_code,
        error.message,
    )


def test_a_locked_keyring_is_distinguished_and_shows_no_dialog(keyring: SecretService, canary: str) -> None:
    keyring.store("s", "u", canary.encode())
    backend = Keyring()
    ref = SecretRef("keyring", "s/u")
    with keyring.locked():
        start = time.monotonic()
        for call in (
            lambda: backend.read(ref, timeout=10),
            lambda: backend.describe(ref, timeout=10),
            lambda: backend.write(ref, SecretValue(b"x"), expected_version=None, timeout=10),
        ):
            with pytest.raises(AstroTokenError) as raised:
                call()
            assert (77, "the keyring is locked") == (raised.value.exit_code, raised.value.message)
            assert not isinstance(raised.value, NoCredentialError)
        assert time.monotonic() - start < 3
    assert canary.encode() == read("s/u").reveal()


def test_a_machine_without_a_keyring_is_distinguished(
    keyring: SecretService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "this machine has no keyring for this user"
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    assert NoCredentialError is type(failure())
    assert (77, message) == (failure().exit_code, failure().message)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/nothing")
    assert message == failure().message
    with session_bus(tmp_path) as environ:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", environ["DBUS_SESSION_BUS_ADDRESS"])
        assert message == failure().message


def test_a_keyring_that_ends_is_not_a_missing_one(
    keyring: SecretService, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    keyring.store("s", "u", canary.encode())
    monkeypatch.setattr("secretstorage.Item.get_secret", Mock(side_effect=ConnectionResetError(canary)))
    error = failure()
    assert (69, "the keyring closed the connection") == (error.exit_code, error.message)
    assert [] == appearances(canary, reachable_text(error))


def test_keyrings_in_clear_text_are_refused(
    keyring: SecretService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
) -> None:
    keyring.store("s", "u", canary.encode())
    for choice in ("keyring.backends.null.Keyring", "keyrings.alt.file.PlaintextKeyring", "os.system"):
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", choice)
        error = failure()
        assert (78, True) == (error.exit_code, "PYTHON_KEYRING_BACKEND" in error.message)
        assert choice not in f"{error.message} {error.hint}"
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", OURS)
    assert canary.encode() == read("s/u").reveal()
    # A configuration file can name a folder of modules and a store; it is not read.
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    config = tmp_path / "python_keyring" / "keyringrc.cfg"
    config.parent.mkdir()
    config.write_text("[backend]\ndefault-keyring=keyring.backends.null.Keyring\nkeyring-path=/tmp\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert canary.encode() == read("s/u").reveal()
    assert "/tmp" not in sys.path


def test_variables_that_are_not_used_may_have_any_value(
    keyring: SecretService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
) -> None:
    keyring.store("s", "u", canary.encode())
    environ = {**keyring.environ, "PYTHON_KEYRING_BACKEND": OURS}
    read = reader("keyring:s/u", monkeypatch)
    for value in (
        "",
        "no such: {thing}, or {other}",
        str(tmp_path),
        "/proc/self/mem",
        str(tmp_path / "none"),
    ):
        assert (0, "", "") == read({**environ, **dict.fromkeys(NOT_USED, value)}), value


@pytest.mark.parametrize(
    "variable", [*VARIABLES, *(pytest.param(name, marks=pytest.mark.long) for name in NOT_USED)]
)
def test_a_wrong_value_names_its_variable(
    keyring: SecretService, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
) -> None:
    keyring.store("s", "u", canary.encode())
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    environ = {**keyring.environ, "PYTHON_KEYRING_BACKEND": OURS}
    found = []

    def read(environ: dict[str, str]) -> Outcome:
        found.append(outcome := reader("keyring:s/u", monkeypatch)(environ))
        return outcome

    every = {"a desktop": environ}
    assert [] == wrong_results(read, every, variable, tmp_path, everywhere=every)
    if variable in NOT_USED:
        assert {(0, "", "")} == set(found)


@pytest.mark.parametrize(
    "address",
    [
        *("unix:", "unix:path=", "unix:path=/proc/self/mem", "unix:path=/nowhere", "unix:abstract=", ";;"),
        *("unix:path=" + "x" * 200, "unix:path=a%00b", "unix:runtime=yes", "launchd:env=X", "autolaunch:"),
        *("tcp:host=127.0.0.1,port=1", "unix:path=%zz", "unix:path=/dev/null/x", "disabled:", "unix:path=/"),
    ],
)
def test_an_address_that_leads_nowhere_is_named_or_means_that_there_is_no_keyring(
    keyring: SecretService, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    error = failure()
    if isinstance(error, NoCredentialError):
        assert "this machine has no keyring for this user" == error.message
    else:
        assert (78, True) == (error.exit_code, "DBUS_SESSION_BUS_ADDRESS is not" in error.message), error


def test_an_error_of_the_bus_says_nothing_of_its_text(canary: str) -> None:
    from jeepney import DBusAddress, DBusErrorResponse, HeaderFields, new_error, new_method_call

    from astro_token_backends.keyring.errors import translated

    call = new_method_call(DBusAddress("/", "org.freedesktop.secrets", "a.b"), "GetSecret")
    call.header.serial = 1
    for name, code in {
        "org.freedesktop.Secret.Error.IsLocked": 77,
        "org.freedesktop.DBus.Error.AccessDenied": 77,
        "org.freedesktop.DBus.Error.NoReply": 75,
        "org.gnome.keyring.Error.Failed": 69,
    }.items():
        message = new_error(call, name, "s", (canary,))
        assert message.header.fields[HeaderFields.error_name] == name
        error = translated(DBusErrorResponse(message))
        assert (code, []) == (error.exit_code, appearances(canary, reachable_text(error)))


def test_the_command_line_stores_and_hands_over(
    program: Program, keyring: SecretService, canary: str
) -> None:
    environ = keyring.environ
    put = program("put", "keyring:astro/cli", stdin=canary, env=environ)
    assert (0, "") == (put.code, put.stdout), put.stderr
    done = program("export", "--format", "value", "keyring:astro/cli", env=environ, allowed=["stdout"])
    assert (0, canary, "") == (done.code, done.stdout, done.stderr)
    with keyring.locked():
        done = program("check", "keyring:astro/cli", env={**environ, "DISPLAY": ":0"})
    assert 77 == done.code
    assert [
        "astro-token: error: keyring:astro/cli: the keyring is locked",
        "astro-token: hint: unlock it, for example by logging in to the desktop, then try again",
    ] == done.stderr.splitlines()


def test_a_dialog_that_nobody_answers_ends_with_the_deadline(
    keyring: SecretService, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    keyring.store("s", "u", canary.encode())
    shown = []
    unlock = secretstorage.Collection.unlock

    def noted(collection: secretstorage.Collection, timeout: float | None = None) -> bool:
        shown.append(timeout)
        return unlock(collection, timeout=timeout)

    monkeypatch.setattr(secretstorage.Collection, "unlock", noted)
    monkeypatch.setattr(secret_service, "can_prompt", lambda: True)
    backend, ref = Keyring(), SecretRef("keyring", "s/u")
    with keyring.locked():
        for display, expected in (("", []), (":99", [0.5])):
            monkeypatch.setenv("DISPLAY", display)
            start = time.monotonic()
            with pytest.raises(AstroTokenError, match=r"^the keyring is locked$"):
                backend.read(ref, timeout=0.5)
            assert (expected, True) == (shown, time.monotonic() - start < 3)
