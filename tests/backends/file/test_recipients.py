"""For whom a file is written: nobody who can read it is shut out, and we are not either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyrage
import pytest

from astro_token.errors import AccessDeniedError, ConfigError, DecryptError, NoCredentialError, OutputError
from astro_token.testing import make_token
from tests.backends.file.scene import Scene, failure, ssh_key

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = make_token(), make_token()
KEY = "ASTRO_TOKEN_AGE_KEY"
RECIPIENTS = "ASTRO_TOKEN_AGE_RECIPIENTS_FILE"


def listed(monkeypatch: pytest.MonkeyPatch, folder: Path, *recipients: object, mode: int = 0o644) -> Path:
    path = folder / "recipients.txt"
    path.write_text("".join(f"{recipient}\n" for recipient in recipients))
    path.chmod(mode)
    monkeypatch.setenv(RECIPIENTS, str(path))
    return path


@pytest.fixture
def mate() -> Any:
    return pyrage.x25519.Identity.generate()


def read_as(scene: Scene, identity: Any) -> bytes:
    opened: bytes = pyrage.decrypt(scene.path.read_bytes(), [identity])
    return opened


def refused(scene: Scene, *secrets: str) -> OutputError:
    before = scene.path.read_bytes()
    error = failure(lambda: scene.write(NEW), NEW, OLD, *secrets)
    assert (OutputError, 73) == (type(error), error.exit_code)
    assert before == scene.path.read_bytes()
    assert isinstance(error, OutputError)
    return error


def test_both_recipients_of_a_file_can_read_what_replaces_it(
    scene: Scene, mate: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [scene.identity.to_public(), mate.to_public()]
    scene.path.write_bytes(scene.encrypt(OLD, to=both))
    listed(monkeypatch, home, "# us", "", *both)
    scene.write(NEW)
    assert NEW.encode() == scene.read() == read_as(scene, mate)


def test_who_writes_for_himself_alone_cannot_shut_out_another(scene: Scene, mate: Any) -> None:
    scene.path.write_bytes(scene.encrypt(OLD, to=[scene.identity.to_public(), mate.to_public()]))
    error = refused(scene)
    assert "1 of its recipients could no longer read the file" in error.message
    assert RECIPIENTS in (error.hint or "")


def test_who_cannot_read_a_file_does_not_replace_it(
    scene: Scene, mate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scene.encrypt(OLD)
    scene.path.write_bytes(before)
    monkeypatch.setenv(KEY, str(mate))
    error = failure(lambda: scene.write(NEW), NEW, OLD, str(mate))
    assert (DecryptError, 65) == (type(error), error.exit_code)
    assert before == scene.path.read_bytes()


def test_a_key_that_is_listed_twice_does_not_stand_in_for_another(
    scene: Scene, mate: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(scene.identity.to_public())
    scene.path.write_bytes(scene.encrypt(OLD, to=[scene.identity.to_public(), mate.to_public()]))
    listed(monkeypatch, home, own, own.upper(), own)
    refused(scene)


def test_a_key_that_is_configured_twice_does_not_stand_in_for_another(
    scene: Scene, mate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.path.write_bytes(scene.encrypt(OLD, to=[scene.identity.to_public(), mate.to_public()]))
    monkeypatch.setenv(KEY, f"{scene.identity}\n{scene.identity}\n")
    refused(scene)


def test_one_x25519_key_in_the_place_of_another_is_not_noticed_as_the_documentation_says(
    scene: Scene, mate: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_mate = pyrage.x25519.Identity.generate()
    scene.path.write_bytes(scene.encrypt(OLD, to=[scene.identity.to_public(), mate.to_public()]))
    listed(monkeypatch, home, scene.identity.to_public(), new_mate.to_public())
    scene.write(NEW)
    assert NEW.encode() == read_as(scene, new_mate)
    with pytest.raises(pyrage.DecryptError):
        read_as(scene, mate)


def test_an_ssh_key_in_the_place_of_another_is_noticed(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, before), (_, after) = ssh_key(home / "before"), ssh_key(home / "after")
    own = scene.identity.to_public()
    scene.path.write_bytes(scene.encrypt(OLD, to=[own, pyrage.ssh.Recipient.from_str(before)]))
    listed(monkeypatch, home, own, after)
    refused(scene)
    listed(monkeypatch, home, own, after, before)
    scene.write(NEW)
    assert NEW.encode() == scene.read()


def test_a_recipient_of_a_kind_that_we_cannot_write_for_is_not_dropped(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY)
    listed(monkeypatch, home, scene.identity.to_public())
    data = scene.encrypt(OLD, armoured=False)
    stanza = b"-> piv-p256 2WDpEw A8CVvz\nXrgpzB7iyx9XJ8Y+\n---"
    scene.path.write_bytes(data.replace(b"\n---", b"\n" + stanza, 1))
    refused(scene)


def test_recipients_can_be_added(
    scene: Scene, mate: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.path.write_bytes(scene.encrypt(OLD))
    listed(monkeypatch, home, scene.identity.to_public(), mate.to_public())
    scene.write(NEW)
    assert NEW.encode() == scene.read() == read_as(scene, mate)


def test_a_list_without_our_own_key_would_lock_us_out_and_is_refused(
    scene: Scene, mate: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(monkeypatch, home, mate.to_public())
    error = failure(lambda: scene.write(NEW), NEW)
    assert (ConfigError, 78) == (type(error), error.exit_code)
    assert str(scene.identity.to_public()) in (error.hint or "")
    assert not scene.path.exists()


def test_who_has_recipients_and_no_key_writes_for_them(
    scene: Scene, mate: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY)
    listed(monkeypatch, home, mate.to_public())
    scene.write(NEW)
    assert NEW.encode() == read_as(scene, mate)
    assert NoCredentialError is type(failure(scene.read))


def test_who_has_neither_a_key_nor_recipients_cannot_write(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY)
    error = failure(lambda: scene.write(NEW), NEW)
    assert (NoCredentialError, 77) == (type(error), error.exit_code)
    assert [] == scene.names()


def test_an_ssh_key_that_tells_its_public_half_is_its_own_recipient(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("ed25519", "rsa"):
        path, _ = ssh_key(home / kind, kind)
        path.with_name(f"{kind}.pub").unlink()
        monkeypatch.setenv(KEY, path.read_text())
        scene.write(NEW, path=scene.folder / kind)
        assert NEW.encode() == scene.read(scene.folder / kind)


def test_an_ssh_key_that_does_not_tell_it_needs_its_pub_file(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = ssh_key(home / "id", "rsa", "-m", "PEM")
    monkeypatch.setenv(KEY, path.read_text())
    error = failure(lambda: scene.write(NEW), NEW, path.read_text())
    assert (ConfigError, 78) == (type(error), error.exit_code)
    assert RECIPIENTS in (error.hint or "")
    monkeypatch.setenv(RECIPIENTS, str(path.with_name("id.pub")))
    scene.write(NEW)
    assert NEW.encode() == scene.read()


@pytest.mark.parametrize(
    "line",
    ["age1qqqq", "ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 AAAA", "AGE-SECRET-KEY-1HUNTER2HUNTER2HUNTER2"],
)
def test_a_malformed_list_is_a_configuration_error_that_does_not_repeat_the_line(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    listed(monkeypatch, home, "# us", scene.identity.to_public(), line)
    error = failure(lambda: scene.write(NEW), NEW, line)
    assert (ConfigError, 78) == (type(error), error.exit_code)
    assert "line 3" in error.message
    assert line not in error.message + (error.hint or "")


def test_a_list_that_is_missing_or_empty_or_writable_by_others_is_an_error(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = listed(monkeypatch, home, "# nobody")
    assert ConfigError is type(failure(lambda: scene.write(NEW), NEW))
    path.unlink()
    assert ConfigError is type(failure(lambda: scene.write(NEW), NEW))
    listed(monkeypatch, home, scene.identity.to_public(), mode=0o666)
    assert AccessDeniedError is type(failure(lambda: scene.write(NEW), NEW))
    assert [] == scene.names()
