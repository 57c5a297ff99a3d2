"""
The error tree: each class has its exit status, and its severity among several failures.

    AstroTokenError                 70  a bug in astro-token
    ├── UsageError                  64  fix the command
    │   └── InvalidRefError         64  fix the reference
    ├── InvalidTokenError           65  the value is not an Astro token, or has expired
    ├── PolicyError                 65  an Astro token that policy does not allow here
    ├── DecryptError                65  the ciphertext, or the key
    ├── SecretNotFoundError         66  no such secret, version or field
    │   └── UnusableSecretError     66  it exists, but is disabled or deleted, or has no selected field
    ├── BackendDownError            69  the service needs an operator
    ├── BackendError                70  an unexpected failure of a backend
    ├── OutputError                 73  the output was refused
    ├── InputOutputError            74  input or output failed
    ├── BackendUnavailableError     75  try again later
    ├── IntegrityError              76  TLS, a redirect, a corrupt response
    ├── AccessDeniedError           77  denied, or the credential is unusable
    │   └── NoCredentialError       77  no credential is configured here
    ├── ConfigError                 78  fix the configuration
    │   ├── NoStoreError            78  this machine has no such store, or names no such service
    │   ├── UnknownBackendError     78
    │   ├── MissingDependencyError  78
    │   └── UnsupportedOperationError 78
    ├── RotationError            80, 81  a rotation is unfinished, or a person is needed
    └── CommandError          126, 127  the command cannot be run, or is not found

An `OSError` that reaches the command line ends as an `InputOutputError`.
Messages are one line, lower case, and name the defect; hints are one line and name the remedy.
Neither may contain anything from a service's response.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    _T = TypeVar("_T")

__all__ = [
    "AccessDeniedError",
    "AstroTokenError",
    "BackendDownError",
    "BackendError",
    "BackendUnavailableError",
    "CommandError",
    "ConfigError",
    "DecryptError",
    "InputOutputError",
    "IntegrityError",
    "InvalidRefError",
    "InvalidTokenError",
    "MissingDependencyError",
    "NoCredentialError",
    "NoStoreError",
    "OutputError",
    "PolicyError",
    "RotationError",
    "SecretNotFoundError",
    "UnknownBackendError",
    "UnsupportedOperationError",
    "UnusableSecretError",
    "UsageError",
    "changed_meanwhile",
    "result",
    "sanitized",
    "with_prefix",
    "worst",
]


class AstroTokenError(Exception):
    """
    A bug in astro-token. Every other error is a subclass.

    Remedy: report it

    Attributes:
        message: the defect, one line.
        hint: the remedy, one line, or None.
        exit_code: the status with which the command line ends.
        severity: of several failures, the one with the greatest severity sets the exit status.
    """

    exit_code: int = 70
    severity: int = 10

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AstroTokenError):
    """
    The command line is wrong.

    Remedy: fix the command
    """

    exit_code, severity = 64, 11


class InvalidRefError(UsageError):
    """
    The reference is malformed, or a token stands in its position.

    Remedy: fix the reference
    """


class InvalidTokenError(AstroTokenError):
    """
    The value is not an Astro token, has expired, or was revoked.

    Remedy: store a valid token
    """

    exit_code, severity = 65, 6


class PolicyError(AstroTokenError):
    """
    Policy, or an expectation of the project, does not allow the token or the reference.

    Remedy: use another token, or change the policy
    """

    exit_code, severity = 65, 6


class DecryptError(AstroTokenError):
    """
    The value cannot be decrypted: it is not ciphertext of this key, or the key is wrong.

    Remedy: fix the secret or the key
    """

    exit_code, severity = 65, 6


class SecretNotFoundError(AstroTokenError):
    """
    The secret, version or field does not exist.

    Remedy: fix the reference

    Attributes:
        version: the version that a new one must follow, if the service continues counting
            after a deletion; else None.
    """

    exit_code, severity = 66, 5

    def __init__(self, message: str, *, hint: str | None = None, version: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.version = version


class UnusableSecretError(SecretNotFoundError):
    """
    The secret exists, but is disabled or deleted, or a program printed nothing;
    or the reference selects no value, because it names a folder, a mount, or a secret with several fields.

    Remedy: restore the secret, or complete the reference
    """


class BackendDownError(AstroTokenError):
    """
    The service needs its operator: it is sealed, or its host is unknown.

    Remedy: contact the operator
    """

    exit_code, severity = 69, 4


class BackendError(AstroTokenError):
    """
    A backend failed in a way that it does not describe.

    Remedy: report it
    """

    exit_code, severity = 70, 10


class OutputError(AstroTokenError):
    """
    The output is refused: a link, an existing file, a terminal;
    or a token in use would be replaced or revoked.

    Remedy: fix the path, or use `--force`
    """

    exit_code, severity = 73, 3


class InputOutputError(AstroTokenError):
    """
    Reading or writing failed on this machine.

    Remedy: fix the machine
    """

    exit_code, severity = 74, 2


class BackendUnavailableError(AstroTokenError):
    """
    The service did not respond in time, or requests a delay: the only error that is retried.

    Remedy: try again later

    Attributes:
        retry_after: seconds to wait, as the service requests, or None.
        outcome_known: the message states the outcome of a write.
            Else a write without a response may have succeeded.
    """

    exit_code, severity = 75, 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        outcome_known: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.outcome_known = outcome_known


def changed_meanwhile(kind: str = "secret") -> BackendUnavailableError:
    """Build the error of a write that is refused because the secret was changed after it was read."""
    return BackendUnavailableError(
        f"somebody else changed the {kind} after it was read, and nothing was written",
        hint="check the new version, then try again",
    )


class IntegrityError(AstroTokenError):
    """
    The answer cannot be trusted: TLS failed, a redirect, a truncated or corrupt response.

    Remedy: investigate before you try again
    """

    exit_code, severity = 76, 9


class AccessDeniedError(AstroTokenError):
    """
    The service denies access, the credential is unusable, or another user could have written a file.

    Remedy: fix the permissions or the login
    """

    exit_code, severity = 77, 7


class NoCredentialError(AccessDeniedError):
    """
    No credential and no login is configured for the service.

    Remedy: configure a credential, or log in
    """


class ConfigError(AstroTokenError):
    """
    A setting is wrong or missing.

    Remedy: fix the configuration
    """

    exit_code, severity = 78, 8


class NoStoreError(ConfigError):
    """
    This machine has no such store, or no setting names the service.

    Remedy: set the variable that the hint names
    """


class UnknownBackendError(ConfigError):
    """
    No backend serves the scheme of the reference.

    Remedy: fix the scheme, or install the plugin and name it in `ASTRO_TOKEN_PLUGINS`
    """


class MissingDependencyError(ConfigError):
    """
    The SDK of the backend is not installed.

    Remedy: install the extra that the hint names
    """


class UnsupportedOperationError(ConfigError):
    """
    The backend cannot do this, such as write or encrypt.

    Remedy: use another backend
    """


class RotationError(AstroTokenError):
    """
    A rotation is unfinished.

    Remedy: run the same command again (80), or do what the hint says (81)

    Attributes:
        exit_code: 80 if the old token still works and running again completes the rotation,
            81 if a person is needed.
    """

    exit_code, severity = 80, 0
    PERSON_NEEDED = 81

    def __init__(self, message: str, *, exit_code: int = 80, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class CommandError(AstroTokenError):
    """
    The command cannot be run (126) or is not found (127), as shells report it.

    Remedy: fix the command
    """

    severity = 12

    def __init__(self, message: str, *, exit_code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def sanitized(error: AstroTokenError) -> AstroTokenError:
    """
    Remove everything attached to an error: frames, causes, notes, and attributes of others.

    Each can lead to a secret: a backend's frame through its locals, an SDK's exception through its text.
    """
    error.__cause__ = error.__context__ = None
    error.args = (error.message,)
    for name in vars(error).keys() - _ATTRIBUTES:
        delattr(error, name)
    return error.with_traceback(None)


def with_prefix(error: AstroTokenError, name: object) -> AstroTokenError:
    """Copy an error, sanitized, with a reference or a name in front. The original may be shared."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(vars(error))
    if str(name) not in copy.message:
        copy.message = f"{name}: {copy.message}"
    return sanitized(copy)


def result(outcome: _T | AstroTokenError) -> _T:
    """
    Return an outcome, or raise it if it is an error.

    A function with a secret in its locals returns its errors, and its caller raises them with this function:
    so no traceback leads to a frame that contains the secret.
    """
    if isinstance(outcome, AstroTokenError):
        raise outcome.with_traceback(None)
    return outcome


_ATTRIBUTES = {"message", "hint", "version", "retry_after", "outcome_known", "exit_code"}


def worst(codes: Iterable[int]) -> int:
    """
    Choose the exit status of several failures by severity; 0 for none.

    That of a command comes first, and that of a rotation that needs a person.
    """
    classes = [kind for name, kind in globals().items() if name.endswith("Error") and name != "CommandError"]
    severity = {kind.exit_code: kind.severity for kind in classes}
    return max(filter(None, codes), key=lambda code: severity.get(code, CommandError.severity), default=0)
