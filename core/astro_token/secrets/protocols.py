"""
What a backend can do, one method a protocol.

A backend is whatever a zero-argument factory returns.
It has to be a `Backend`; each further ability is a protocol of its own,
looked for with `isinstance` in one place, `read.py`.

A backend makes **one attempt** within `timeout` (seconds), with its SDK's own retries switched off,
and raises the errors of `astro_token.errors`:
retries, the deadline, choosing the field, decoding and trimming are done once, for all, by `read.py`.
It is called from several threads, and logs in once per process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping, Sequence

    from astro_token.errors import AstroTokenError
    from astro_token.secret import SecretMetadata, SecretValue
    from astro_token.secrets.ref import SecretRef

__all__ = [
    "Backend",
    "SupportsAddress",
    "SupportsClose",
    "SupportsCreateKey",
    "SupportsCredentialSource",
    "SupportsCredentialVariables",
    "SupportsDecrypt",
    "SupportsDescribe",
    "SupportsEncrypt",
    "SupportsLogIn",
    "SupportsReadCurrent",
    "SupportsReadMany",
    "SupportsTrust",
    "SupportsWrite",
    "SupportsWriteCiphertext",
]


@runtime_checkable
class Backend(Protocol):
    """All a backend must do. A service that keeps a map returns it as a JSON object."""

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue: ...


@runtime_checkable
class SupportsReadMany(Protocol):
    """The service has a batch call. Every reference asked for is a key of the answer."""

    def read_many(
        self, refs: Sequence[SecretRef], *, timeout: float
    ) -> Mapping[SecretRef, SecretValue | AstroTokenError]: ...


@runtime_checkable
class SupportsDescribe(Protocol):
    """Tells of a secret all but its value."""

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata: ...


@runtime_checkable
class SupportsWrite(Protocol):
    """
    Stores a new version and returns its name.

    `expected_version=None` replaces whatever is there.
    A version means compare-and-set, or as near as the service allows:
    when another version is current, nothing is written and `BackendUnavailableError` is raised.
    The version of a secret that does not exist yet is "0".
    An error that says what was done, for instance that somebody else's version was written over, is `known`;
    after any other `BackendUnavailableError` it is looked up whether the write was done.
    The value is stored whole: merging one field into a map is done by the portable half.
    """

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str: ...


@runtime_checkable
class SupportsReadCurrent(Protocol):
    """Reads what would be written over, also where `read` refuses it for being outside of its validity."""

    def read_current(self, ref: SecretRef, *, timeout: float) -> SecretValue: ...


@runtime_checkable
class SupportsWriteCiphertext(Protocol):
    """
    Encrypts what it writes, and leaves out to do so for what a key service has encrypted already.

    As `SupportsWrite` in all else.
    """

    def write_ciphertext(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str: ...


@runtime_checkable
class SupportsDecrypt(Protocol):
    """A key service: the reference names a key. Base64 around the ciphertext has been taken off."""

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue: ...


@runtime_checkable
class SupportsEncrypt(Protocol):
    """A key service that encrypts; what comes back is what `decrypt` takes."""

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes: ...


@runtime_checkable
class SupportsCreateKey(Protocol):
    """
    Keeps its own key on this machine and can make one.

    Returns a line to show the user (where the key is, that it wants a backup),
    or None where a key is configured already.
    """

    def create_key(self) -> str | None: ...


@runtime_checkable
class SupportsCredentialVariables(Protocol):
    """
    Names the environment variables that hold its credentials; `exec` keeps them from the child.

    Backends of this project name theirs in the table of schemes, where they can be read without an import.
    """

    def credential_variables(self) -> Collection[str]: ...


@runtime_checkable
class SupportsAddress(Protocol):
    """
    Tells where it asks for a reference, as `https://HOST[:PORT]`, without asking.

    Raises the errors of the settings: an address that is missing or refused.
    """

    def address(self, ref: SecretRef) -> str: ...


@runtime_checkable
class SupportsTrust(Protocol):
    """Tells whom it trusts at its address, so that a connection can be tried before anything is asked."""

    def trust(self, ref: SecretRef) -> ssl.SSLContext: ...


@runtime_checkable
class SupportsCredentialSource(Protocol):
    """
    Tells which credential it takes, in words for people: names of variables, files, services and logins,
    never a value or a part of one. Looks where the login would look, and does not log in.
    """

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str: ...


@runtime_checkable
class SupportsLogIn(Protocol):
    """Logs in, where that is a step of its own, so that a login that fails is told from a refused read."""

    def log_in(self, ref: SecretRef, *, timeout: float) -> None: ...


@runtime_checkable
class SupportsClose(Protocol):
    """
    Gives back what a login took. Called before `exec` replaces the process, and at exit.

    Takes no more than a second, raises nothing, and may be called twice.
    """

    def close(self) -> None: ...
