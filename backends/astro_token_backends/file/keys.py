"""
Whose keys: the identities that open a file, and the recipients that one is written for.

An identity is text: of age's own kind, of which a file may hold several, or an SSH private key.
It stays in a `SecretValue` until pyrage has it, and what holds it raises nothing: it returns its error.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    ConfigError,
    DecryptError,
    MissingDependencyError,
    OutputError,
)
from astro_token.log import logger
from astro_token.secret import SecretValue
from astro_token.system.files import (
    create,
    locked,
    open_regular,
    others_can_read,
    others_can_write,
    owned,
    sweep,
)
from astro_token_backends.credential_source import printable_path
from astro_token_backends.file.header import read_header

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "RECIPIENTS_FILE",
    "Identity",
    "create_key",
    "credential_source",
    "identities",
    "load_pyrage",
    "no_key",
    "recipients",
]

KEY = "ASTRO_TOKEN_AGE_KEY"
KEY_FILE = "ASTRO_TOKEN_AGE_KEY_FILE"
RECIPIENTS_FILE = "ASTRO_TOKEN_AGE_RECIPIENTS_FILE"
_MAX_BYTES = 64 * 1024
_LOCK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Attributes:
        private: pyrage's own object; its `str()` is the key.
        public: the recipient that it opens files of, as text; None where the key does not tell.
    """

    private: Any = field(repr=False)
    public: str | None


def load_pyrage() -> Any:
    try:
        import pyrage
    except ImportError:
        pyrage = None
    if pyrage is None:
        raise MissingDependencyError(
            "an encrypted file needs the Python package pyrage, which is not installed",
            hint="pip install pyrage",
        )
    return pyrage


def no_key(hint: str = "") -> AccessDeniedError:
    default = _default_path()
    places = [KEY, KEY_FILE, *([str(default)] if default else [])]
    return AccessDeniedError(
        "no usable credential: there is no age key", hint=f"looked at {', '.join(places)}{hint}"
    )


def identities() -> tuple[Identity, ...]:
    """
    The identities of the first place that has any: the two variables, then the user's configuration.

    Returns:
        nothing where none is configured.

    Raises:
        AccessDeniedError: a key's file is missing, may not be read, or may be written by others.
        DecryptError: the key wants a passphrase.
        ConfigError: it is no key.
    """
    found = _known()
    if found is None:
        return ()
    source, own = found
    logger.debug("using the age key of %s", source)
    return own


def credential_source() -> str:
    """
    Where the key is from, in words.

    Raises:
        AccessDeniedError: there is none.
        AstroTokenError: as `identities`.
    """
    found = _known()
    if found is None:
        raise no_key()
    return f"the age key of {found[0]}"


def _known() -> tuple[str, tuple[Identity, ...]] | None:
    found = _found()
    if found is None:
        return None
    source, text = found
    parsed = text if isinstance(text, AstroTokenError) else _parsed(source, text)
    if isinstance(parsed, AstroTokenError):
        raise parsed
    return source, parsed


def _found() -> tuple[str, SecretValue | AstroTokenError] | None:
    key = os.environ.get(KEY)
    if key:
        return KEY, SecretValue(key.encode("utf-8", "surrogateescape"))
    named = os.environ.get(KEY_FILE)
    path = Path(named) if named else _default_path()
    if path is None:
        return None
    source = f"{KEY_FILE} ({printable_path(path)})" if named else printable_path(path)
    text = _text(path, source, secret=True)
    if text is None and named:
        return source, AccessDeniedError(
            f"no usable credential: {source} does not exist", hint=f"correct or unset {KEY_FILE}"
        )
    return None if text is None else (source, text)


def _default_path() -> Path | None:
    from platformdirs import user_config_path

    try:
        path = user_config_path("astro-token", appauthor=False) / "age-key.txt"
    except RuntimeError:  # a user without a home, as containers have them
        return None
    # Older versions make a relative path of that, and the current folder may be anybody's.
    return path if path.is_absolute() else None


def _text(path: Path, source: str, *, secret: bool) -> SecretValue | AstroTokenError | None:
    """A file's content, None where there is none, if nobody else can have put a key of theirs in it."""
    try:
        with open_regular(path) as file:
            if not secret and not owned(file):
                return AccessDeniedError(
                    f"{source}: it belongs to another user, who could add a key", hint=f"chown {path}"
                )
            if others_can_write(file):
                return AccessDeniedError(f"{source}: other users may write it", hint=f"chmod go-w {path}")
            if secret and others_can_read(file):
                logger.warning("%s: every user of this machine can read this key: chmod go-r it", source)
            text = SecretValue(file.read(_MAX_BYTES + 1))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return AccessDeniedError(f"{source}: it may not be read", hint="let the user who runs this read it")
    except OSError:
        return ConfigError(f"{source}: it is no file that can be read", hint="name a regular file")
    if len(text.reveal()) > _MAX_BYTES:
        return ConfigError(f"{source}: it is too large", hint="name a file that holds keys and no more")
    return text


def _parsed(source: str, text: SecretValue) -> tuple[Identity, ...] | AstroTokenError:
    if re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", text.reveal()):
        return _ssh(source, text)
    if read_header(text.reveal()) is not None:
        return _passphrase(source, "decrypt it with `age --decrypt`, and let only yourself read the result")
    pyrage = load_pyrage()
    found: dict[str, Identity] = {}
    for number, line in enumerate(_lines(text), 1):
        if not line:
            continue
        try:
            private = pyrage.x25519.Identity.from_str(line)
        except pyrage.IdentityError:
            return ConfigError(
                f"{source}: line {number} is no age key",
                hint="it should hold AGE-SECRET-KEY-1…, as age-keygen makes it, or an SSH private key",
            )
        public = str(private.to_public())
        found[public] = Identity(private, public)
    if not found:
        return ConfigError(f"{source}: it holds no key", hint="make one with age-keygen")
    return tuple(found.values())


def _ssh(source: str, text: SecretValue) -> tuple[Identity, ...] | AstroTokenError:
    pyrage = load_pyrage()
    try:
        private = pyrage.ssh.Identity.from_buffer(text.reveal().removeprefix(b"\xef\xbb\xbf").strip())
    except pyrage.IdentityError as error:
        locked = "must be decrypted" in str(error)
    else:
        return (Identity(private, _ssh_public(text)),)
    if locked:
        return _passphrase(source, "give a key without one: `ssh-keygen -p` takes it off a copy")
    return ConfigError(
        f"{source}: it is no SSH private key that age knows", hint="use an ed25519 or RSA key, or an age key"
    )


def _ssh_public(text: SecretValue) -> str | None:
    """The public half, which stands in clear in front of the private one in OpenSSH's own format."""
    match = re.search(rb"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", text.reveal(), re.DOTALL)
    try:
        rest = base64.b64decode(match[1] if match else b"").removeprefix(b"openssh-key-v1\0")
    except binascii.Error:
        return None
    for _ in range(3):  # cipher, key derivation, its options
        _, rest = _string(rest)
    public, _ = _string(rest[4:])  # after the number of keys
    kind, _ = _string(public)
    return f"{kind.decode('ascii', 'replace')} {base64.b64encode(public).decode()}" if kind else None


def _string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    return data[4:end], data[end:]


def _passphrase(source: str, hint: str) -> DecryptError:
    return DecryptError(f"{source}: the key is protected by a passphrase", hint=hint)


def _lines(text: SecretValue) -> list[str]:
    """The lines of a keys' file, comments emptied."""
    lines = text.reveal().decode("utf-8-sig", "replace").splitlines()
    return ["" if line.lstrip().startswith("#") else line.strip() for line in lines]


def recipients(own: Sequence[Identity]) -> list[Any]:
    """
    For whom to write: those of the recipients' file, else ourselves.

    Raises:
        AccessDeniedError: there is neither; or the file may not be read, or may be written by others.
        ConfigError: the file is missing or malformed, or our key does not tell its public half.
    """
    named = os.environ.get(RECIPIENTS_FILE)
    if named:
        found = _listed(Path(named))
    elif not own:
        found = no_key("; `astro-token put --create-key` makes one")
    else:
        found = [_recipient(identity.public or "") for identity in own]
        if None in found:
            found = ConfigError(
                "the SSH key that is configured does not tell its public half",
                hint=f"name its .pub file in {RECIPIENTS_FILE}",
            )
    if isinstance(found, AstroTokenError):
        raise found
    return found


def _listed(path: Path) -> list[Any] | AstroTokenError:
    source = f"{RECIPIENTS_FILE} ({path})"
    text = _text(path, source, secret=False)
    if text is None:
        return ConfigError(f"{source} does not exist", hint=f"correct or unset {RECIPIENTS_FILE}")
    if isinstance(text, AstroTokenError):
        return text
    found: dict[str, Any] = {}
    for number, line in enumerate(_lines(text), 1):
        if not line:
            continue
        recipient = _recipient(line)
        if recipient is None:
            return ConfigError(
                f"{source}: line {number} is no public key that is known here",
                hint="a line holds age1…, or an ssh-ed25519 or ssh-rsa public key",
            )
        # A key that is listed twice must not stand in for another one when recipients are counted.
        found[" ".join(line.split()[:2]) if line.startswith("ssh-") else line.lower()] = recipient
    return list(found.values()) or ConfigError(f"{source}: it lists no public key", hint="list age1… in it")


def _recipient(text: str) -> Any:
    """A public key as pyrage has it, None for any other text."""
    pyrage = load_pyrage()
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError:
        return None


def create_key() -> str | None:
    """
    Makes an age key in the user's configuration, and returns what to tell the user.

    Returns:
        None where a key is configured already, or where recipients are:
        who writes for others only needs no key, and a new one would not be among them.

    Raises:
        OutputError: it cannot be written.
    """
    path = _default_path()
    configured = any(os.environ.get(name) for name in (KEY, KEY_FILE, RECIPIENTS_FILE))
    if configured or (path is not None and os.path.lexists(path)):
        return None
    if path is None:
        raise OutputError("there is no home folder to keep a key in", hint=f"set {KEY_FILE} or HOME")
    failed = ""
    try:
        _make_folder(path.parent)
        with locked(path.parent, seconds=_LOCK_SECONDS):
            sweep(path)
            create(path, _new_key().reveal())
    except OSError as error:
        failed = os.strerror(error.errno).lower() if error.errno else type(error).__name__
    if failed:
        raise OutputError(f"{path}: the key cannot be written: {failed}", hint=f"set {KEY_FILE} or HOME")
    return f"made an age key in {path}: back it up, for without it the secrets written with it are lost"


def _make_folder(folder: Path) -> None:
    """As the standard of these folders wants it: whatever of the path is missing is ours alone."""
    for part in reversed([folder, *folder.parents]):
        if not part.exists():
            part.mkdir(0o700, exist_ok=True)


def _new_key() -> SecretValue:
    from datetime import UTC, datetime

    private = load_pyrage().x25519.Identity.generate()
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"# created: {created}\n# public key: {private.to_public()}\n{private}\n"
    return SecretValue(text.encode())
