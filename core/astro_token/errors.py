"""
Everything that can go wrong, by what the caller can do next.

    AstroTokenError                 70  a bug here
    ├── UsageError                  64  fix the command
    │   └── InvalidRefError         64  fix the reference
    ├── InvalidTokenError           65  the value is no Astro token, or is expired
    ├── PolicyError                 65  a good token, but not one that policy allows here
    ├── DecryptError                65  the ciphertext, or the key
    ├── SecretNotFoundError         66  no such secret, version or field; disabled or deleted
    ├── BackendDownError            69  the service needs an operator
    ├── BackendError                70  a backend failed in a way it does not know
    ├── OutputError                 73  the output was refused
    ├── InputOutputError            74  input or output failed
    ├── BackendUnavailableError     75  try again later
    ├── IntegrityError              76  TLS, a redirect, a damaged answer
    ├── AccessDeniedError           77  denied, or no usable credential
    ├── ConfigError                 78  fix the configuration
    │   ├── UnknownBackendError     78
    │   ├── MissingDependencyError  78
    │   └── UnsupportedOperationError 78
    └── CommandError          126, 127  the command cannot be run, is not found

An `OSError` that reaches the command line ends as an `InputOutputError`.
Messages are one line, lower case, and say what is wrong; hints are one line and say what to do.
Neither may hold anything that a service answered.
"""

from __future__ import annotations

from typing import TypeVar

_T = TypeVar("_T")

__all__ = [
    "SEVERITY",
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
    "OutputError",
    "PolicyError",
    "SecretNotFoundError",
    "UnknownBackendError",
    "UnsupportedOperationError",
    "UsageError",
    "bare",
    "changed_meanwhile",
    "named",
    "result",
    "worst",
]

# Of several failures, the exit status is the first of these that occurs.
SEVERITY = (70, 76, 78, 77, 65, 66, 69, 73, 74, 75)


class AstroTokenError(Exception):
    """
    The root of all errors raised on purpose; raised itself only for a bug.

    Attributes:
        message: what is wrong, one line.
        hint: what to do about it, one line, or None.
        exit_code: the status with which the command line ends.
    """

    exit_code: int = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AstroTokenError):
    exit_code = 64


class InvalidRefError(UsageError):
    pass


class InvalidTokenError(AstroTokenError):
    exit_code = 65


class PolicyError(AstroTokenError):
    exit_code = 65


class DecryptError(AstroTokenError):
    exit_code = 65


class SecretNotFoundError(AstroTokenError):
    """
    There is no such secret, version or field, or it is disabled or deleted.

    Attributes:
        version: the version that a new one has to follow,
            where the service counts on after a deletion; else None.
    """

    exit_code = 66

    def __init__(self, message: str, *, hint: str | None = None, version: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.version = version


class BackendDownError(AstroTokenError):
    exit_code = 69


class BackendError(AstroTokenError):
    exit_code = 70


class OutputError(AstroTokenError):
    exit_code = 73


class InputOutputError(AstroTokenError):
    exit_code = 74


class BackendUnavailableError(AstroTokenError):
    """
    The service did not answer, or asked us to come back: the only error that is tried again.

    Attributes:
        retry_after: seconds that the service asked us to wait, or None.
        known: what a write has done is known, and said; else it may have been done and its answer lost.
    """

    exit_code = 75

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None, known: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.known = known


def changed_meanwhile(kind: str = "secret") -> BackendUnavailableError:
    """Build the error of a write that is refused because the secret was changed after it was read."""
    return BackendUnavailableError(
        f"somebody else changed the {kind} after it was read, and nothing was written",
        hint="check the new version, then try again",
    )


class IntegrityError(AstroTokenError):
    exit_code = 76


class AccessDeniedError(AstroTokenError):
    exit_code = 77


class ConfigError(AstroTokenError):
    exit_code = 78


class UnknownBackendError(ConfigError):
    pass


class MissingDependencyError(ConfigError):
    pass


class UnsupportedOperationError(ConfigError):
    pass


class CommandError(AstroTokenError):
    """The command to run cannot be run (126) or is not found (127), as shells report it."""

    def __init__(self, message: str, *, exit_code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def bare(error: AstroTokenError) -> AstroTokenError:
    """
    The error without all that hangs on it: frames, causes, notes, and attributes that are not ours.

    Each of them can lead to a secret: a frame of a backend by its locals, an SDK's exception by its text.
    """
    error.__cause__ = error.__context__ = None
    error.args = (error.message,)
    for name in vars(error).keys() - _OURS:
        delattr(error, name)
    return error.with_traceback(None)


def named(error: AstroTokenError, name: object) -> AstroTokenError:
    """The error with what it is about in front: a bare copy, because several may share one."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(vars(error))
    if str(name) not in copy.message:
        copy.message = f"{name}: {copy.message}"
    return bare(copy)


def result(outcome: _T | AstroTokenError) -> _T:
    """
    The outcome of what returns its errors, raised where it is one.

    What holds a secret in its locals returns an error and does not raise it, and its caller passes it on
    by this: no traceback then leads to a frame that the secret was in.
    """
    if isinstance(outcome, AstroTokenError):
        raise outcome.with_traceback(None)
    return outcome


_OURS = {"message", "hint", "version", "retry_after", "known", "exit_code"}


def worst(codes: list[int]) -> int:
    """The exit status that stands for several; 0 for none."""
    failures = [code for code in codes if code]
    return min(failures, key=lambda code: SEVERITY.index(code) if code in SEVERITY else -1, default=0)
