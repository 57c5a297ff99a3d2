"""Where keys come from, which are accepted, and how one is made."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path
from typing import NoReturn

import platformdirs
import pyrage
import pytest

from astro_token.errors import AccessDeniedError, ConfigError, DecryptError, NoCredentialError, OutputError
from astro_token.secrets.protocols import SupportsCreateKey, SupportsDescribe, SupportsWrite
from astro_token.testing import appearances, make_token
from tests.backends.file.scene import Scene, failure, mode, required, ssh_key, umask, unprivileged

TOKEN = make_token()
KEY = "ASTRO_TOKEN_AGE_KEY"
KEY_FILE = "ASTRO_TOKEN_AGE_KEY_FILE"


@pytest.fixture
def encrypted(scene: Scene) -> Scene:
    scene.path.write_bytes(scene.encrypt(TOKEN))
    return scene


def key_file(folder: Path, text: str, permissions: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(permissions)
    return path


def test_its_capabilities_are_the_protocols_of_the_core(scene: Scene) -> None:
    for capability in (SupportsWrite, SupportsDescribe, SupportsCreateKey):
        assert isinstance(scene.backend, capability)


@pytest.mark.parametrize(
    "form",
    [
        *("{key}", "{key}\n", " {key} \r\n", "# a comment\n\n{other}\n{key}\n"),
        *('"{key}"\n', "'{key}'", "\ufeff{key}\r\n", "# created: now # public key: age1x {key}"),
        *(r"# a comment\n{key}\n", r'"# a comment\r\n{key}\r\n"', "{other} {key}"),
    ],
)
def test_an_age_identity_is_read_from_the_variable_and_from_the_file(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, form: str, home: Path
) -> None:
    text = form.format(key=encrypted.identity, other=pyrage.x25519.Identity.generate())
    monkeypatch.setenv(KEY, text)
    assert TOKEN.encode() == encrypted.read()
    monkeypatch.setenv(KEY, "")
    monkeypatch.setenv(KEY_FILE, str(key_file(home, text)))
    assert TOKEN.encode() == encrypted.read()


@pytest.mark.parametrize("name", [KEY_FILE, "ASTRO_TOKEN_AGE_RECIPIENTS_FILE"])
def test_a_tilde_is_the_home(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, home: Path, name: str
) -> None:
    own = encrypted.identity
    (home / "key").write_text(f"{own.to_public() if 'RECIPIENTS' in name else own}\n")
    (home / "key").chmod(0o600)
    monkeypatch.setenv(KEY, str(own) if "RECIPIENTS" in name else "")
    monkeypatch.setenv(name, "~/key\n")
    encrypted.write(TOKEN)
    assert TOKEN.encode() == encrypted.read()


def test_the_variable_goes_before_the_file_and_both_before_the_users_configuration(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    configured = home / ".config" / "astro-token"
    configured.mkdir(parents=True)
    (configured / "age-key.txt").write_text(str(pyrage.x25519.Identity.generate()))
    (configured / "age-key.txt").chmod(0o600)
    right, wrong = str(encrypted.identity), str(pyrage.x25519.Identity.generate())
    monkeypatch.setenv(KEY_FILE, str(key_file(home, wrong)))
    monkeypatch.setenv(KEY, right)
    assert TOKEN.encode() == encrypted.read()
    monkeypatch.delenv(KEY)
    assert "not encrypted for the configured key" in failure(encrypted.read, wrong).message
    key_file(home, right)
    assert TOKEN.encode() == encrypted.read()
    monkeypatch.delenv(KEY_FILE)
    assert "not encrypted for the configured key" in failure(encrypted.read).message
    (configured / "age-key.txt").write_text(right)
    assert TOKEN.encode() == encrypted.read()


def test_no_key_at_all_names_the_three_sources(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv(KEY)
    error = failure(encrypted.read)
    assert (NoCredentialError, 77) == (type(error), error.exit_code)
    assert "no usable credential" in error.message
    for source in (f"{KEY} or", KEY_FILE, str(home / ".config/astro-token/age-key.txt")):
        assert source in (error.hint or "")


@pytest.mark.parametrize("home", ["home", ""])
def test_a_home_that_is_no_path_is_not_looked_for_in_the_current_folder(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    def unknown(_: object) -> NoReturn:
        raise KeyError

    monkeypatch.delenv(KEY)
    monkeypatch.setattr(pwd, "getpwuid", unknown)  # as where a container has a user of any number
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    for name in ("home", "~"):
        planted = encrypted.folder / name / ".config/astro-token/age-key.txt"
        planted.parent.mkdir(parents=True)
        planted.write_text(str(encrypted.identity))
        planted.chmod(0o600)
    assert "no usable credential" in failure(encrypted.read).message
    assert OutputError is type(failure(encrypted.backend.create_key))


def test_a_relative_home_as_older_versions_of_platformdirs_return_it_is_none(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY)
    monkeypatch.setattr(platformdirs, "user_config_path", lambda *_, **__: Path("~/.config/astro-token"))
    planted = encrypted.folder / "~/.config/astro-token/age-key.txt"
    planted.parent.mkdir(parents=True)
    planted.write_text(str(encrypted.identity))
    planted.chmod(0o600)
    assert "no usable credential" in failure(encrypted.read).message
    assert OutputError is type(failure(encrypted.backend.create_key))


def test_a_key_file_that_is_named_and_missing_is_an_error_and_not_passed_over(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY)
    monkeypatch.setenv(KEY_FILE, "nowhere")
    error = failure(encrypted.read)
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
    assert f"{KEY_FILE} (nowhere)" in error.message
    assert encrypted.backend.create_key() is None


@pytest.mark.parametrize(
    "text",
    [
        "AGE-SECRET-KEY-1QQQQQQQQQQQQ",
        "AGE-PLUGIN-YUBIKEY-1QQQQQQQQ",
        "hunter2hunter2hunter2hunter2",
        "# only a comment",
        "-----BEGIN OPENSSH PRIVATE KEY-----\naHVudGVyMmh1bnRlcjJodW50ZXIyaHVu\n-----END",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\naHVudGVyMmh1bnRlcjJodW50ZXIyaHVu\n-----END PRIVATE KEY-----\n",
        "\udcff\udcfe",
        "x" * 70_000,
    ],
)
def test_a_malformed_key_is_a_configuration_error_that_does_not_repeat_it(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(KEY, text)
    secrets = [line for line in text.splitlines() if line.isascii() and "#" not in line]
    error = failure(encrypted.read, *secrets)
    assert (ConfigError, 78) == (type(error), error.exit_code)
    assert KEY in error.message


def test_a_malformed_line_of_several_is_named_by_its_number(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, f"# mine\n{encrypted.identity}\nAGE-SECRET-KEY-1WRONG\n")
    assert f"{KEY}: line 3 is not an age key" == failure(encrypted.read, str(encrypted.identity)).message


def test_a_key_file_that_others_can_read_is_warned_of_and_one_they_can_write_is_refused(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, home: Path
) -> None:
    monkeypatch.delenv(KEY)
    path = key_file(home, str(encrypted.identity), 0o644)
    monkeypatch.setenv(KEY_FILE, str(path))
    assert TOKEN.encode() == encrypted.read()
    (record,) = caplog.records
    assert "every user of this machine can read this key" in record.getMessage()
    assert [] == appearances(str(encrypted.identity), record.getMessage())
    for permissions in (0o622, 0o660, 0o602):
        path.chmod(permissions)
        error = failure(encrypted.read, str(encrypted.identity))
        assert (AccessDeniedError, 77) == (type(error), error.exit_code)
        assert f"chmod go-w {path}" == error.hint


def test_a_key_file_that_cannot_be_read_is_told_apart(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv(KEY)
    monkeypatch.setenv(KEY_FILE, str(home))
    assert ConfigError is type(failure(encrypted.read))
    os.mkfifo(home / "fifo")
    monkeypatch.setenv(KEY_FILE, str(home / "fifo"))
    assert ConfigError is type(failure(encrypted.read))
    monkeypatch.setenv(KEY_FILE, str(key_file(home, "x" * 70_000)))
    assert ConfigError is type(failure(encrypted.read))
    path = key_file(encrypted.folder, str(encrypted.identity), 0o000)
    monkeypatch.setenv(KEY_FILE, path.name)
    encrypted.path.chmod(0o644)
    encrypted.folder.chmod(0o755)
    with unprivileged():
        error = failure(lambda: encrypted.read(Path(encrypted.path.name)))
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
    assert f"{KEY_FILE} (key): permission to read it is denied" == error.message


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("options", [(), ("-m", "PEM")])
def test_an_ssh_key_opens_a_file_from_the_variable_and_from_the_file(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, home: Path, kind: str, options: tuple[str, ...]
) -> None:
    path, public = ssh_key(home / "id", kind, *options)
    scene.path.write_bytes(scene.encrypt(TOKEN, to=[pyrage.ssh.Recipient.from_str(public)]))
    lines = path.read_text()
    written = lines.replace("\n", r"\n")
    for text in (
        *(lines, lines.strip(), lines.replace("\n", "\r\n"), f"\ufeff{lines}"),
        *(written, f'"{written}"', lines.replace("\n", " "), f"'{lines}'"),
    ):
        monkeypatch.setenv(KEY, text)
        assert TOKEN.encode() == scene.read()
    monkeypatch.delenv(KEY)
    monkeypatch.setenv(KEY_FILE, str(path))
    assert TOKEN.encode() == scene.read()


def test_keys_behind_a_passphrase_say_so(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    path, _ = ssh_key(home / "id", passphrase="correct horse")
    for text in (path.read_text(), encrypted.encrypt(str(encrypted.identity)).decode()):
        monkeypatch.setenv(KEY, text)
        error = failure(encrypted.read, text)
        assert (DecryptError, 65) == (type(error), error.exit_code)
        assert f"{KEY}: the key is protected by a passphrase" == error.message


def test_an_ssh_key_of_a_kind_that_age_does_not_know_is_a_configuration_error(
    encrypted: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    path, _ = ssh_key(home / "id", "ecdsa")
    monkeypatch.setenv(KEY_FILE, str(path))
    monkeypatch.delenv(KEY)
    error = failure(encrypted.read, path.read_text())
    assert (ConfigError, 78) == (type(error), error.exit_code)


# -- making one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_key_is_made_for_us_alone_and_works(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, home: Path, mask: int
) -> None:
    monkeypatch.delenv(KEY)
    assert "--create-key" in (failure(lambda: scene.write(TOKEN), TOKEN).hint or "")
    with umask(mask):
        said = scene.backend.create_key()
    path = home / ".config/astro-token/age-key.txt"
    assert said is not None
    assert str(path) in said
    assert "back it up" in said
    assert "\n" not in said
    assert [0o600, 0o700, 0o700] == [mode(path), mode(path.parent), mode(path.parent.parent)]
    assert ["age-key.txt"] == [found.name for found in path.parent.iterdir()]
    assert appearances(path.read_text().splitlines()[-1], said) == []
    scene.write(TOKEN)
    assert TOKEN.encode() == scene.read()


def test_a_key_has_the_form_that_age_keygen_gives_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv(KEY)
    scene.backend.create_key()
    text = (home / ".config/astro-token/age-key.txt").read_text()
    public = re.fullmatch(
        r"# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n# public key: (age1\w{58})\nAGE-SECRET-KEY-1\w{58}\n",
        text,
    )
    assert public is not None
    derived = subprocess.run(
        [required("age-keygen"), "-y"], input=text, capture_output=True, text=True, check=True
    )
    assert public[1] == derived.stdout.strip()


@pytest.mark.parametrize("name", [KEY, KEY_FILE, "ASTRO_TOKEN_AGE_RECIPIENTS_FILE"])
def test_no_key_is_made_where_one_is_configured_or_recipients_are(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, home: Path, name: str
) -> None:
    monkeypatch.delenv(KEY)
    monkeypatch.setenv(name, "something")
    assert scene.backend.create_key() is None
    assert [] == list(home.iterdir())


def test_a_key_that_is_there_is_never_overwritten(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv(KEY)
    assert scene.backend.create_key()
    path = home / ".config/astro-token/age-key.txt"
    before = path.read_bytes()
    assert scene.backend.create_key() is None
    assert before == path.read_bytes()
    path.unlink()
    path.symlink_to("nowhere")
    assert scene.backend.create_key() is None
    assert path.is_symlink()


def test_a_key_that_cannot_be_written_is_an_output_error(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv(KEY)
    (home / ".config").write_text("a file in the way")
    error = failure(scene.backend.create_key)
    assert (OutputError, 73) == (type(error), error.exit_code)
