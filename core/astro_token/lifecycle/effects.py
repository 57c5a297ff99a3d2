"""
The effects of a rotation, which the protocol yields, and the failures that it reacts to.

A value is a secret: it is kept in a `Slot`, and only the performer of an effect reveals it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "ConflictError",
    "Create",
    "Delete",
    "DeniedError",
    "Intent",
    "IsUsed",
    "ListTokens",
    "Listed",
    "Protocol",
    "ReadRecord",
    "ReadValue",
    "RefusedError",
    "RotationRecord",
    "Slot",
    "UnknownOutcomeError",
    "Verify",
    "WriteRecord",
    "WriteValue",
]

_Value = TypeVar("_Value")


class Slot(Record, Generic[_Value]):
    """
    A token and its value.

    Attributes:
        id: Astro's identifier, which the value contains too.
    """

    _hidden = ("value",)

    id: str
    value: _Value


class Intent(Record):
    """
    The lock of a rotation, and the proof that the record can be written, before a token exists.

    Attributes:
        title: of the token that is created under it; unique at Astro.
        owner: identifies a run.
        until: the end of the owner's lease, in seconds since the epoch.
    """

    title: str
    owner: str
    until: float


class RotationRecord(Record):
    """
    The record next to a value. It is empty between rotations.

    Attributes:
        intent: an `Intent`; None between rotations.
        pending: the `Slot` of the created token, before it is the current one; else None.
        previous: the `Slot` of the token before the current one, until it is revoked; else None.
        promoted: the time at which the pending token became the current one; None without a previous token.
        revoke_after: the end of the grace period.
    """

    intent: Any = None
    pending: Any = None
    previous: Any = None
    promoted: float | None = None
    revoke_after: float | None = None


class Listed(Record):
    """
    A token in Astro's list.

    Attributes:
        created: seconds since the epoch; infinite if the token was used, so that somebody has its value.
    """

    id: str
    title: str
    created: float


# -- effects -------------------------------------------------------------------------------------------


class ReadRecord(Record):
    """Return the record's version and the record."""


class WriteRecord(Record):
    """Write the record under compare-and-set, and return its new version."""

    version: str
    record: RotationRecord


class ReadValue(Record):
    """Return the value's version and the current token; None if there is none."""


class WriteValue(Record):
    """Write the value that consumers read, under compare-and-set where the service has it."""

    version: str
    token: Slot[Any]


class Verify(Record):
    """
    Return True if Astro accepts the token.

    A new token may be unknown to Astro for some time: a refusal is repeated before the result is False.

    Attributes:
        is_new: it must also have the planned roles.
    """

    token: Slot[Any]
    is_new: bool = False


class ListTokens(Record):
    """Return the tokens whose titles begin with the plan's title."""

    bearer: Slot[Any] | None


class Create(Record):
    """Create a token with all its roles, and return it."""

    bearer: Slot[Any] | None
    title: str


class IsUsed(Record):
    """Return True if the token was used after this time, in seconds since the epoch."""

    bearer: Slot[Any] | None
    id: str
    since: float


class Delete(Record):
    """Delete a token at Astro. One that does not exist is deleted."""

    bearer: Slot[Any] | None
    id: str


# -- failures ------------------------------------------------------------------------------------------


class ConflictError(Exception):
    """The effect did not happen: somebody else was faster, or there was no connection. Read again."""


class UnknownOutcomeError(Exception):
    """There is no response: the effect may have happened."""


class DeniedError(Exception):
    """The bearer is not accepted."""


class RefusedError(Exception):
    """
    The effect did not happen, or only in part, and repeating it is in vain.

    Attributes:
        reason: the error of the backend or of Astro.
        is_denied: the effect certainly did not happen.
    """

    def __init__(self, reason: Exception, *, is_denied: bool = False) -> None:
        super().__init__()
        self.reason, self.is_denied = reason, is_denied


if TYPE_CHECKING:
    Protocol = Generator[Record, Any, _Value]
