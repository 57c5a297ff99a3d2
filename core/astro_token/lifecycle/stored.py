"""The value and its rotation record in a secrets backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import (
    AstroTokenError,
    ConfigError,
    InvalidRefError,
    InvalidTokenError,
    RotationError,
    SecretNotFoundError,
    with_prefix,
)
from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.record import decode_record, encode_record, record_ref
from astro_token.secrets.fields import select_field
from astro_token.secrets.read import prefixed_with
from astro_token.tokens.steps import DECRYPTION, SELECTION, TokenPath, steps, walk
from astro_token.tokens.write import Current, encrypt_value, read_current, write_secret, write_token

if TYPE_CHECKING:
    from astro_token.secret import SecretValue
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken
    from astro_token.transport.deadline import Deadline

__all__ = ["Stored", "open_rotation"]

_CREATE_RECORD = (
    "it holds the record of a rotation: create it with the content "
    '{"format": 1}, and with the key and the permissions of the token\'s secret'
)


class Stored:
    """
    Each is written under compare-and-set against what was read or written last.

    Attributes:
        ref: of the record.
        record, token: as they were read or written last; the token is None if there is none.
        secret: all fields of the value's secret, as they were read last.

    Raises:
        AstroTokenError: as `record_ref`.
    """

    def __init__(self, settings: TokenSettings, deadline: Deadline) -> None:
        self._settings, self._deadline = settings, deadline
        self.ref = record_ref(settings.ref, deadline)
        self.record = RotationRecord()
        self.token: AstroToken | None = None
        self.secret = Current(None, None)
        self._record_secret = Current(None, None)
        self._written: tuple[SecretValue, SecretValue] | None = None

    def read_record(self) -> str:
        """
        Read the record, and return its version.

        Raises:
            ConfigError: a newer version of astro-token wrote it.
            RotationError: it is not a record.
            AstroTokenError: reading failed.
        """
        current = prefixed_with(self.ref, lambda: read_current(self.ref, self._deadline))
        self._record_secret = current
        self.record = RotationRecord()
        if current.value is None:
            return current.version or ""
        try:
            self.record = decode_record(self._opened(current.value))
        except AstroTokenError as error:
            failure = with_prefix(error, self.ref)
        else:
            return current.version or ""
        raise failure

    def write_record(self, record: RotationRecord, *, room: int = 0) -> str:
        """
        Write the record, encrypted as the value is, and return its new version.

        Args:
            room: as of `encode_record`.

        Raises:
            SecretNotFoundError: the service does not create a secret that is written.
            AstroTokenError: writing failed.
        """
        content = encode_record(record, room=room)
        key, current, deadline = self._settings.decrypt, self._record_secret, self._deadline

        stored: SecretValue | None = None
        failure: AstroTokenError

        def write(sealed: SecretValue) -> str:
            return write_secret(self.ref, sealed, current, deadline, is_ciphertext=key is not None)

        try:
            stored = sealed = content if key is None else encrypt_value(key, content, deadline)
            version = prefixed_with(self.ref, lambda: write(sealed))
        except SecretNotFoundError as error:
            failure = error
            if stored is not None:  # else the key does not exist
                failure.hint = _CREATE_RECORD
        except (InvalidTokenError, InvalidRefError) as error:
            failure = error if not room else _too_long(error, len(content.reveal()))
        else:
            self._record_secret, self._written = Current(sealed, version or None), (sealed, content)
            self.record = record
            return version
        raise failure.with_traceback(None)

    def read_token(self) -> str:
        """
        Read the value, and return the version of its secret.

        Raises:
            InvalidTokenError: it is not an Astro API token.
            AstroTokenError: reading failed.
        """
        self.secret = current = read_current(self._settings.ref, self._deadline)
        self.token = None
        if current.value is not None:
            path = TokenPath(self._settings, self._deadline)
            path.secret = current.value
            failure = walk(path, (*SELECTION, *steps(self._settings, online=False)))
            if failure is None:
                self.token = path.token
            elif not isinstance(failure, SecretNotFoundError):  # else there are other fields only
                raise failure
        return current.version or ""

    def write_token(self, token: AstroToken) -> None:
        write_token(self._settings, token, self.secret, self._deadline)
        self.token = token

    def _opened(self, stored: SecretValue) -> SecretValue:
        """Decrypt a record, except the one that was written last."""
        if self._settings.decrypt is None:
            return stored
        stored = select_field(stored, None)
        if self._written and self._written[0] == stored:
            return self._written[1]
        path = TokenPath(self._settings, self._deadline)
        path.selected = stored
        failure = walk(path, DECRYPTION)
        if failure is not None:
            raise failure
        return path.value


def open_rotation() -> RotationError:
    return RotationError(
        "a rotation of the token is open", hint="finish it first, with `astro-token rotate --finish`"
    )


def _too_long(error: AstroTokenError, length: int) -> ConfigError:
    return ConfigError(
        f"{error.message}; the record of a rotation may need {length} bytes, for two tokens",
        hint="use a parameter of the advanced tier, or a key that encrypts more than 4 KiB",
    )
