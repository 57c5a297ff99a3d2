"""
Operations of backends, one protocol with one method for each.

A factory without arguments creates a backend.
Only `Backend` is required, or `SupportsDecrypt` of a key service.

A backend makes **one attempt** within `timeout` (seconds), with its SDK's own retries off,
and raises the errors of `astro_token.errors`. The core retries, keeps the deadline, selects the field,
decodes and trims. A backend is called from several threads, and logs in once per process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from astro_token.errors import AstroTokenError
    from astro_token.secret import SecretMetadata, SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route

__all__ = [
    "Backend",
    "SupportsCheckWrite",
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
    "SupportsRotationRecord",
    "SupportsRoute",
    "SupportsWrite",
    "SupportsWriteCiphertext",
]


@runtime_checkable
class Backend(Protocol):
    """Read a secret. A backend returns a map as a JSON object."""

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue: ...


@runtime_checkable
class SupportsReadMany(Protocol):
    """Read several secrets in one call of the service. The result has every reference as a key."""

    def read_many(
        self, refs: Sequence[SecretRef], *, timeout: float
    ) -> Mapping[SecretRef, SecretValue | AstroTokenError]: ...


@runtime_checkable
class SupportsDescribe(Protocol):
    """Describe a secret without its value."""

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata: ...


@runtime_checkable
class SupportsWrite(Protocol):
    """
    Store a new version and return its name.

    `expected_version=None` replaces the value unconditionally.
    A version requests compare-and-set, or the closest that the service offers:
    if another version is current, nothing is written and `BackendUnavailableError` is raised.
    The version of a secret that does not exist yet is "0".
    An error that is certain about the outcome, such as that another writer's version was replaced,
    has `outcome_known`. After any other `BackendUnavailableError`
    the core reads the secret to learn the outcome.
    The core merges a field into a map; a backend stores the value that it is given.
    """

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str: ...


@runtime_checkable
class SupportsCheckWrite(Protocol):
    """
    Raise the error with which a write would be refused, if that shows without a write.

    For `create` and `rotate`, before they create a token. If the service does not answer, nothing is raised.
    """

    def check_write(self, ref: SecretRef, *, timeout: float) -> None: ...


@runtime_checkable
class SupportsReadCurrent(Protocol):
    """Read the secret that a write would replace, even if `read` refuses it because it is not valid now."""

    def read_current(self, ref: SecretRef, *, timeout: float) -> SecretValue: ...


@runtime_checkable
class SupportsWriteCiphertext(Protocol):
    """
    Store ciphertext of a key service, if `write` would encrypt it again.

    Otherwise the same as `SupportsWrite`.
    """

    def write_ciphertext(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str: ...


@runtime_checkable
class SupportsRotationRecord(Protocol):
    """
    Name the secret in which the record of a rotation is kept: next to the secret of a reference,
    under the same permission, and read by nobody else. The core reads and writes it like any other secret.
    """

    def rotation_record(self, ref: SecretRef) -> SecretRef: ...


@runtime_checkable
class SupportsDecrypt(Protocol):
    """Decrypt with a key of a key service. The ciphertext is decoded from base64 already."""

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue: ...


@runtime_checkable
class SupportsEncrypt(Protocol):
    """Encrypt with a key of a key service, so that `decrypt` accepts the result."""

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes: ...


@runtime_checkable
class SupportsCreateKey(Protocol):
    """
    Create a key on this machine.

    Returns a line for the user (the key's location, and advice to back it up),
    or None if a key is configured already.
    """

    def create_key(self) -> str | None: ...


@runtime_checkable
class SupportsCredentialVariables(Protocol):
    """
    Name the environment variables with its credentials, which `exec` withholds from the child.

    For plugins; built-in backends declare theirs in a `Scheme`.
    """

    def credential_variables(self) -> Collection[str]: ...


@runtime_checkable
class SupportsRoute(Protocol):
    """
    Returns the route to the service of a reference: address, proxy and CA bundle. Nothing is sent.

    `Route.to` of `astro_token.transport.route` makes one.
    """

    def route(self, ref: SecretRef) -> Route: ...


@runtime_checkable
class SupportsCredentialSource(Protocol):
    """
    Describe its credential for people: names of variables, files, services and logins,
    never a value or a part of one. It searches where the login would search, and does not log in.
    """

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str: ...


@runtime_checkable
class SupportsLogIn(Protocol):
    """Log in, if that is a separate step, so that a failed login is distinguished from a refused read."""

    def log_in(self, ref: SecretRef, *, timeout: float) -> None: ...


@runtime_checkable
class SupportsClose(Protocol):
    """
    Release a login. Called before `exec` replaces the process, and at exit.

    It takes no more than a second, raises nothing, and may be called twice.
    """

    def close(self) -> None: ...
