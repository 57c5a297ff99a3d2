"""A file, encrypted with age or plain: `file:PATH`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import (
    AstroTokenError,
    ConfigError,
    DecryptError,
    OutputError,
    SecretNotFoundError,
    changed_meanwhile,
)
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.system.files import locked, replace, sweep
from astro_token_backends.file import keys
from astro_token_backends.file.content import load, unwritable, version
from astro_token_backends.file.header import age_bytes, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.file.content import Content
    from astro_token_backends.file.keys import Identity

__all__ = ["AgeFile"]


class AgeFile:
    """
    Reads a file, and writes an encrypted one.

    Credentials: `ASTRO_TOKEN_AGE_KEY`, else the file that `ASTRO_TOKEN_AGE_KEY_FILE` names,
    else `age-key.txt` in the user's configuration; each an age identity or an SSH private key.
    A plain file needs none, and is read only; one with a key service's ciphertext is written too.
    Reference: `file:PATH`, binary or armoured.

    The version is made of the encrypted bytes; a plain file has none.
    Writing compares it under a lock that holds between processes of this machine.
    Recipients are those of `ASTRO_TOKEN_AGE_RECIPIENTS_FILE`, else ourselves, and none may be dropped.
    X25519 keys leave no name in a file, so they are counted: one put in another's place is not noticed.
    """

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:  # noqa: ARG002 (one read, of a small file)
        content = load(ref)
        if content.header is None:
            return content.raw
        value: SecretValue | AstroTokenError | None = _refused(ref, content)
        if value is None:
            own = keys.identities()
            value = _opened(ref, content.raw.reveal(), own) if own else keys.no_key()
        if isinstance(value, AstroTokenError):
            raise value
        return value

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:  # noqa: ARG002 (as above)
        content = load(ref)
        return SecretMetadata(version=content.version, updated=content.updated)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        return _write(ref, lambda current: _encrypted_anew(ref, value, current), expected_version, timeout)

    def write_ciphertext(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        return _write(ref, lambda current: _left_as_it_is(ref, value, current), expected_version, timeout)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:  # noqa: ARG002 (as above)
        try:
            header = load(ref).header
        except AstroTokenError:  # which reading raises too, and which is not about a credential
            return "not known, as the file cannot be read"
        return keys.credential_source() if header else "a plain file needs none"

    def create_key(self) -> str | None:
        return keys.create_key()


def _refused(ref: SecretRef, content: Content) -> DecryptError | None:
    """What no key could help against."""
    if content.header is None or (content.header.whole and not content.header.passphrase):
        return None
    if not content.header.whole:
        return DecryptError(f"{ref}: the file is cut short", hint="restore it from where it was copied")
    return DecryptError(
        f"{ref}: the file is encrypted with a passphrase", hint="encrypt it to a key, with `age --recipient`"
    )


def _opened(ref: SecretRef, data: bytes, own: Sequence[Identity]) -> SecretValue | DecryptError:
    pyrage = keys.load_pyrage()
    try:
        return SecretValue(
            pyrage.decrypt(age_bytes(data), [identity.private for identity in own]), version(data)
        )
    except pyrage.DecryptError as error:
        stranger = "No matching keys" in str(error)
    if stranger:
        return DecryptError(
            f"{ref}: the file is not encrypted to the key that is configured",
            hint=f"use the right key, or have somebody who can read it add yours to {keys.RECIPIENTS_FILE} "
            "and write it again",
        )
    return DecryptError(
        f"{ref}: the file is damaged", hint="restore it from where it was copied, or write it again"
    )


def _write(
    ref: SecretRef,
    replacement: Callable[[Content | None], bytes],
    expected_version: str | None,
    timeout: float,
) -> str:
    """
    Puts a new file in the place of what is there.

    Raises:
        BackendUnavailableError: that is not the version that was expected.
        AstroTokenError: as `replacement`, which is given what is there; nothing was written.
    """
    path = Path(ref.name)
    try:
        with locked(path.parent, seconds=timeout):
            try:
                current = load(ref)
            except SecretNotFoundError:  # a file of no bytes is none
                current = None
            data = replacement(current)
            if expected_version not in {None, current.version if current else "0"}:
                raise changed_meanwhile("file")
            sweep(path)
            replace(path, data)
    except OSError as error:
        failure = unwritable(ref, error)
    else:
        return version(data)
    raise failure


def _left_as_it_is(ref: SecretRef, value: SecretValue, current: Content | None) -> bytes:
    """
    What a key service encrypted, for a file that holds such ciphertext already, or is new.

    Raises:
        OutputError: what is there is no such ciphertext.
    """
    if current and (current.header or current.version is None):
        raise OutputError(
            f"{ref}: what is there was not encrypted with a key service",
            hint="remove it first, or name another file",
        )
    return value.reveal()


def _encrypted_anew(ref: SecretRef, value: SecretValue, current: Content | None) -> bytes:
    """
    The value encrypted with age, if it may take the place of what is there.

    Raises:
        OutputError: that is plain, or damaged, or readable for somebody who could not read the new file.
        DecryptError: we have a key, and cannot read what is there.
        ConfigError: we could not read the new file ourselves.
    """
    header = current.header if current else None
    if current and not header:
        raise OutputError(
            f"{ref}: it is not encrypted with age, and no other file is written over",
            hint="remove it first, or name another file; for a key service's ciphertext name the key, too",
        )
    if header and not (header.whole and header.stanzas):
        raise OutputError(
            f"{ref}: what is there is damaged, and no longer tells for whom it is",
            hint="restore it, or remove it first",
        )
    own = keys.identities()
    # Who cannot read what is there could shut out who can: keys of one kind are only counted.
    opened = _opened(ref, current.raw.reveal(), own) if current and own else None
    if isinstance(opened, AstroTokenError):
        raise opened
    data = _encrypted(value, keys.recipients(own), armoured=header is None or header.armoured)
    new = read_header(data)
    if header and new and header.stanzas - new.stanzas:
        raise OutputError(
            f"{ref}: {(header.stanzas - new.stanzas).total()} of those who can read the file could no longer",
            hint=f"list the public keys of all of them in a file, and name it in {keys.RECIPIENTS_FILE}",
        )
    if own and _opened(ref, data, own) != value:
        public = " or ".join(identity.public or "our own public key" for identity in own)
        raise ConfigError(
            f"{ref}: we could not read the new file ourselves",
            hint=f"add {public} to the file that {keys.RECIPIENTS_FILE} names",
        )
    return data


def _encrypted(value: SecretValue, recipients: list[object], *, armoured: bool) -> bytes:
    data: bytes = keys.load_pyrage().encrypt(value.reveal(), recipients, armored=armoured)
    return data
