"""
Find the identities that decrypt files.

An identity is text: age's own keys, of which a file may hold several, or an SSH private key.
It stays in a `SecretValue` until pyrage has it. Functions with a key among their variables raise nothing
and return their errors, so that no traceback holds it.
"""

from __future__ import annotations

import os
from pathlib import Path

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    ConfigError,
    DecryptError,
    NoCredentialError,
)
from astro_token.log import logger
from astro_token.secret import SecretValue
from astro_token.system.variables import path_setting, setting
from astro_token.token import unquoted
from astro_token_backends.credential_source import printable_path
from astro_token_backends.file.client import Identity, load_pyrage
from astro_token_backends.file.header import read_header
from astro_token_backends.file.settings import KEY, KEY_FILE, default_key_path, key_lines, read_keys

__all__ = ["credential_source", "identities", "no_key"]


def no_key(hint: str = "") -> NoCredentialError:
    default = default_key_path()
    file = f", or copy the key to {default} (below HOME or XDG_CONFIG_HOME)" if default else ""
    return NoCredentialError(
        "no usable credential: no age key is configured", hint=f"set {KEY} or {KEY_FILE}{file}{hint}"
    )


def identities() -> tuple[Identity, ...]:
    """
    Return the identities of the first source that is set: the two variables, then the user's configuration.

    Without any the result is empty.

    Raises:
        AccessDeniedError: a key's file is missing, cannot be read, or can be written by others.
        DecryptError: the key is protected by a passphrase.
        ConfigError: the source contains no key.
    """
    configured = _configured()
    if configured is None:
        return ()
    source, own = configured
    logger.debug("using the age key from %s", source)
    return own


def credential_source() -> str:
    """
    Describe the key's source.

    Raises:
        NoCredentialError: no key is configured.
        AstroTokenError: as `identities`.
    """
    configured = _configured()
    if configured is None:
        raise no_key()
    return f"the age key from {configured[0]}"


def _configured() -> tuple[str, tuple[Identity, ...]] | None:
    read = _read()
    if read is None:
        return None
    source, text = read
    parsed = text if isinstance(text, AstroTokenError) else _parsed(source, text)
    if isinstance(parsed, AstroTokenError):
        raise parsed
    return source, parsed


def _read() -> tuple[str, SecretValue | AstroTokenError] | None:
    key = setting(os.environ, KEY)
    if key:
        return KEY, SecretValue(key.encode("utf-8", "surrogateescape"))
    named = path_setting(os.environ, KEY_FILE)
    path = Path(named) if named else default_key_path()
    if path is None:
        return None
    source = f"{KEY_FILE} ({printable_path(path)})" if named else printable_path(path)
    text = read_keys(path, source, secret=True)
    if text is None and named:
        return source, AccessDeniedError(
            f"no usable credential: {source} does not exist", hint=f"correct or unset {KEY_FILE}"
        )
    return None if text is None else (source, text)


def _parsed(source: str, text: SecretValue) -> tuple[Identity, ...] | AstroTokenError:
    text = _lines(text)
    if b"PRIVATE KEY-----" in text.reveal():
        return _ssh(source, text)
    if read_header(text.reveal()) is not None:
        return _passphrase(source, "decrypt it with `age --decrypt` into a file that only you can read")
    pyrage = load_pyrage()
    own: dict[str, Identity] = {}
    for number, line in key_lines(text):
        try:
            private = pyrage.x25519.Identity.from_str(line)
        except pyrage.IdentityError:
            return ConfigError(
                f"{source}: line {number} is not an age key",
                hint="it should hold AGE-SECRET-KEY-1…, as age-keygen makes it, or an SSH private key",
            )
        public = str(private.to_public())
        own[public] = Identity(private, public)
    if not own:
        return ConfigError(f"{source}: it contains no key", hint="make one with age-keygen")
    return tuple(own.values())


def _lines(text: SecretValue) -> SecretValue:
    """Restore the lines of a key that a variable holds in quotes, in one line, or with written line ends."""
    data = unquoted(text.reveal()).replace(rb"\r", b"").replace(rb"\n", b"\n")
    if b"\n" in data:
        return SecretValue(data)
    begin, marker, rest = data.partition(b"PRIVATE KEY-----")
    if marker:
        body, end, marker_end = rest.partition(b"-----END")
        data = b"\n".join([begin + marker, *body.split(), end + marker_end, b""])
    else:  # in one line with its comments
        data = b"\n".join(word for word in data.split() if word.startswith(b"AGE-SECRET-KEY-")) or data
    return SecretValue(data)


def _ssh(source: str, text: SecretValue) -> tuple[Identity, ...] | AstroTokenError:
    pyrage = load_pyrage()
    try:
        private = pyrage.ssh.Identity.from_buffer(text.reveal().removeprefix(b"\xef\xbb\xbf").strip())
    except pyrage.IdentityError as error:
        is_locked = "must be decrypted" in str(error)
    else:
        return (Identity(private, _ssh_public(text)),)
    if is_locked:
        return _passphrase(source, "use a key without one: `ssh-keygen -p` removes it from a copy")
    return ConfigError(
        f"{source}: it is not an SSH private key that age supports",
        hint="use an ed25519 or RSA key, or an age key",
    )


def _ssh_public(text: SecretValue) -> str | None:
    """Return the public key, which OpenSSH's own format stores in clear in front of the private one."""
    import base64
    import binascii

    _, begin, rest = text.reveal().partition(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    body, end, _ = rest.partition(b"-----END")
    try:
        rest = base64.b64decode(body if begin and end else b"").removeprefix(b"openssh-key-v1\0")
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
