"""Backend for files, encrypted with age or plain: `file:PATH`."""

from __future__ import annotations

import os
from pathlib import Path

from astro_token.errors import (
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    DecryptError,
    OutputError,
    SecretNotFoundError,
)
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends.file.content import load, version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.file.content import Content

__all__ = ["AgeFile", "canonical"]


def canonical(ref: SecretRef) -> str:
    return os.path.realpath(ref.name)


class AgeFile:
    """
    Backend that reads a file, and writes an encrypted one.

    Credentials: `ASTRO_TOKEN_AGE_KEY`, else the file that `ASTRO_TOKEN_AGE_KEY_FILE` names,
    else `age-key.txt` in the user's configuration; each an age identity or an SSH private key.
    A plain file needs none and is read only; one with a key service's ciphertext is written too.
    Reference: `file:PATH`, binary or armoured.

    The version is made from the encrypted bytes; a plain file has none.
    Writing compares it under a lock that holds between processes of this machine.
    Recipients are those of `ASTRO_TOKEN_AGE_RECIPIENTS_FILE`, else the configured key; none may be dropped.
    A file does not name X25519 keys, so they are counted: replacing one by another is not noticed.
    """

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:  # noqa: ARG002 (one read of a small file)
        content = load(ref)
        if content.header is None:
            return content.raw
        value: SecretValue | AstroTokenError | None = _refused(ref, content)
        if value is None:
            from astro_token_backends.file.client import decrypt
            from astro_token_backends.file.login import identities, no_key

            own = identities()
            value = decrypt(ref, content.raw.reveal(), own) if own else no_key()
        if isinstance(value, AstroTokenError):
            raise value
        return value

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:  # noqa: ARG002 (as above)
        from datetime import UTC, datetime

        content = load(ref)
        return SecretMetadata(version=content.version, updated=datetime.fromtimestamp(content.modified, UTC))

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        return _write(ref, lambda current: _encrypted(ref, value, current), expected_version, timeout)

    def write_ciphertext(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        return _write(ref, lambda current: _ciphertext(ref, value, current), expected_version, timeout)

    def check_write(self, ref: SecretRef, *, timeout: float) -> None:  # noqa: ARG002 (as above)
        """Encrypt something as a write would. That the folder can be written shows the record beside it."""
        from astro_token.system.files import refuse_special

        refuse_special(Path(ref.name))
        try:
            current = load(ref)
        except SecretNotFoundError:
            return
        if current.header or current.version is None:
            _encrypted(ref, SecretValue(b"-"), current)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:  # noqa: ARG002 (as above)
        try:
            header = load(ref).header
        except AstroTokenError:  # reading raises it too, and it is not about a credential
            return "unknown, because the file cannot be read"
        if not header:
            return "a plain file needs none"
        from astro_token_backends.file.login import credential_source

        return credential_source()

    def create_key(self) -> str | None:
        from astro_token_backends.file.create_key import create_key

        return create_key()


def _refused(ref: SecretRef, content: Content) -> DecryptError | None:
    """Return the error for a file that no key can decrypt."""
    if content.header is None or (content.header.complete and not content.header.passphrase):
        return None
    if not content.header.complete:
        return DecryptError(f"{ref}: the file is truncated", hint="restore it from a copy")
    return DecryptError(
        f"{ref}: the file is encrypted with a passphrase", hint="encrypt it to a key, with `age --recipient`"
    )


def _write(
    ref: SecretRef,
    replacement: Callable[[Content | None], bytes],
    expected_version: str | None,
    timeout: float,
) -> str:
    """
    Replace the file.

    Raises:
        BackendUnavailableError: its version is not the expected one.
        AstroTokenError: raised by `replacement`, which receives the current content; nothing was written.
    """
    from astro_token.system.files import create, locked, replace, sweep

    path = Path(ref.name)
    try:
        with locked(path.parent, seconds=timeout):
            try:
                current = load(ref)
            except SecretNotFoundError:  # or an empty file
                current = None
            data = replacement(current)
            if expected_version not in {None, current.version if current else "0"}:
                raise BackendUnavailableError(
                    f"{ref}: the file was changed since it was read", hint="read it again, then decide"
                )
            sweep(path)
            is_new = current is None and expected_version is not None and not os.path.lexists(path)
            (create if is_new else replace)(path, data)
    except OSError as error:
        from astro_token_backends.file.errors import unwritable

        failure = unwritable(ref, error)
    else:
        return version(data)
    raise failure


def _ciphertext(ref: SecretRef, value: SecretValue, current: Content | None) -> bytes:
    """
    Return a key service's ciphertext, if the file is new or holds such ciphertext already.

    Raises:
        OutputError: it holds something else.
    """
    if current and (current.header or current.version is None):
        raise OutputError(
            f"{ref}: the existing file is not ciphertext of a key service",
            hint="remove it first, or name another file",
        )
    return value.reveal()


def _encrypted(ref: SecretRef, value: SecretValue, current: Content | None) -> bytes:
    """
    Encrypt the value with age, if it may replace the current content.

    Raises:
        OutputError: the current content is not encrypted or is damaged, or one of its recipients could not
            read the new file.
        DecryptError: a key is configured, and cannot read the current content.
        ConfigError: the configured key could not read the new file.
    """
    from astro_token_backends.file.client import decrypt, encrypt
    from astro_token_backends.file.header import read_header
    from astro_token_backends.file.login import identities
    from astro_token_backends.file.recipients import recipients
    from astro_token_backends.file.settings import RECIPIENTS_FILE

    header = current.header if current else None
    if current and not header:
        raise OutputError(
            f"{ref}: the existing file is not encrypted with age, and only such a file is replaced",
            hint="remove it first, or name another file; for ciphertext of a key service, name its key",
        )
    if header and not (header.complete and header.stanzas):
        raise OutputError(
            f"{ref}: the existing file is damaged, and its recipients are unknown",
            hint="restore it, or remove it first",
        )
    own = identities()
    # Who cannot read the file could shut out those who can: keys of one kind are only counted.
    opened = decrypt(ref, current.raw.reveal(), own) if current and own else None
    if isinstance(opened, AstroTokenError):
        raise opened
    data = encrypt(value, recipients(own), armoured=header is None or header.armoured)
    new = read_header(data)
    if header and new and (missing := header.stanzas - new.stanzas):
        raise OutputError(
            f"{ref}: {missing.total()} of its recipients could no longer read the file",
            hint=f"list the public keys of all recipients in a file, and name it in {RECIPIENTS_FILE}",
        )
    if own and decrypt(ref, data, own) != value:
        public = " or ".join(identity.public or "its public key" for identity in own)
        raise ConfigError(
            f"{ref}: the configured key could not read the new file",
            hint=f"add {public} to the file that {RECIPIENTS_FILE} names",
        )
    return data
