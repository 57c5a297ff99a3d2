"""Encrypt and decrypt with pyrage."""

from __future__ import annotations

from astro_token.errors import ConfigError, DecryptError, MissingDependencyError
from astro_token.record import Record
from astro_token.secret import SecretValue
from astro_token.secrets.registry import UNLOADABLE
from astro_token_backends.file.content import version
from astro_token_backends.file.header import age_bytes
from astro_token_backends.file.settings import RECIPIENTS_FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astro_token.secrets.ref import SecretRef

__all__ = ["Identity", "decrypt", "encrypt", "load_pyrage"]


class Identity(Record):
    """
    Key that decrypts files.

    Attributes:
        private: pyrage's object; its `str()` is the key.
        public: the matching recipient as text; None if the key does not contain it.
    """

    _hidden = ("private",)
    private: Any
    public: str | None


_NEED = "an encrypted file needs the Python package pyrage, which"


def load_pyrage() -> Any:
    try:
        import pyrage
    except ModuleNotFoundError:
        from astro_token.system.installation import package_hint

        hint = package_hint("pyrage")
        failure: ConfigError = MissingDependencyError(f"{_NEED} is not installed", hint=hint)
    except ImportError:
        failure = ConfigError(f"{_NEED} cannot be loaded", hint=UNLOADABLE)
    else:
        return pyrage
    raise failure


def decrypt(ref: SecretRef, data: bytes, identities: Sequence[Identity]) -> SecretValue | DecryptError:
    """Decrypt a file. An error is returned, so that no traceback holds the value."""
    pyrage = load_pyrage()
    try:
        return SecretValue(
            pyrage.decrypt(age_bytes(data), [identity.private for identity in identities]), version(data)
        )
    except pyrage.DecryptError as error:
        other_key = "No matching keys" in str(error)
    if other_key:
        return DecryptError(
            f"{ref}: the file is not encrypted for the configured key",
            hint="use the right key, or ask somebody who can read the file to add your public key to "
            f"{RECIPIENTS_FILE} and to write it again",
        )
    return DecryptError(f"{ref}: the file is damaged", hint="restore it from a copy, or write it again")


def encrypt(value: SecretValue, recipients: list[object], *, armoured: bool) -> bytes:
    data: bytes = load_pyrage().encrypt(value.reveal(), recipients, armored=armoured)
    return data
