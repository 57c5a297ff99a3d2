"""Perform the effects of a rotation on a secrets backend and on Astro's API."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AstroTokenError,
    BackendUnavailableError,
    IntegrityError,
    InvalidTokenError,
    SecretNotFoundError,
    sanitized,
    with_prefix,
)
from astro_token.lifecycle import effects
from astro_token.lifecycle.effects import Listed, RotationRecord, Slot
from astro_token.lifecycle.record import decode_record, encode_record
from astro_token.log import logger
from astro_token.record import replace
from astro_token.secrets.registry import can, open_backend
from astro_token.system.signals import uninterrupted
from astro_token.token import AstroToken
from astro_token.tokens.steps import TokenPath, steps, walk
from astro_token.tokens.write import Current, read_current, write_secret, write_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from astro_token.astro_api.records import TokenRecord
    from astro_token.astro_api.tokens import NewRole, NewToken, Tokens
    from astro_token.lifecycle.effects import Protocol
    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from astro_token.transport.deadline import Deadline

__all__ = ["Performer", "read_record", "read_stored", "record_reference"]

# A new token may be unknown to a part of Astro for some time.
_PROPAGATION_SECONDS = 30.0
_PAUSE_SECONDS = 1.0
_MARK_DIGITS = 12


def record_reference(ref: SecretRef) -> SecretRef:
    """
    The reference of the rotation record next to a secret.

    Raises:
        UnsupportedOperationError: the backend has none.
    """
    return replace(ref, name=ref.name + (".rotation" if ref.scheme == "file" else "-rotation"), field=None)


def read_record(ref: SecretRef, deadline: Deadline) -> tuple[Current, RotationRecord]:
    """
    Read the rotation record at its own reference.

    Raises:
        ConfigError: a newer version of astro-token wrote it.
        RotationError: it is not a record.
        AstroTokenError: reading failed.
    """
    current = read_current(ref, deadline)
    try:
        return current, RotationRecord() if current.value is None else decode_record(current.value)
    except AstroTokenError as error:
        failure = with_prefix(error, ref)
    raise failure


def read_stored(settings: TokenSettings, deadline: Deadline) -> tuple[Current, AstroToken | None]:
    """
    Read the current token with the version of its secret; None if there is none.

    Raises:
        InvalidTokenError: the value is not an Astro API token.
        AstroTokenError: reading failed.
    """
    current = read_current(settings.ref, deadline)
    if current.value is None:
        return current, None
    path = TokenPath(settings, deadline)
    path.secret = current.value
    failure = walk(path, steps(settings, online=False))
    if isinstance(failure, SecretNotFoundError):  # other fields
        return current, None
    if failure is not None:
        raise failure
    return current, path.token


class Performer:
    """
    Args:
        settings: of the token that is rotated.
        planned: the new token. A unique part is added to its title.
        tokens: of the organization, with the credential that manages them.
        deadline: for all effects.

    Attributes:
        record: as it was read or written last.
        token: the current token, as it was read or written last; None if there is none.
        refusal: the last failure of an effect.
    """

    def __init__(
        self,
        settings: TokenSettings,
        planned: NewToken,
        tokens: Tokens,
        deadline: Deadline,
    ) -> None:
        self._settings, self._planned = settings, planned
        self._tokens, self._deadline = tokens, deadline
        self._record_ref = record_reference(settings.ref)
        self._record = Current(None, None)
        self._value = Current(None, None)
        self._mark = _mark(settings.ref)
        self.record = RotationRecord()
        self.token: AstroToken | None = None
        self.refusal = AstroTokenError("no effect was refused")
        self._performers: dict[type[Any], Callable[[Any], Any]] = {
            effects.ReadRecord: self._read_record,
            effects.WriteRecord: self._write_record,
            effects.ReadValue: self._read_value,
            effects.WriteValue: self._write_value,
            effects.Verify: self._verify,
            effects.ListTokens: self._list_tokens,
            effects.Create: self._create,
            effects.IsUsed: self._is_used,
            effects.Delete: self._delete,
        }

    @property
    def is_open(self) -> bool:
        """True if the record contains a rotation that is not finished."""
        return self.record != RotationRecord()

    def unique(self) -> str:
        """Return the unique part of a title. It begins with a mark of the reference."""
        return str(uuid.UUID(self._mark + uuid.uuid4().hex[_MARK_DIGITS:]))

    def run(self, protocol: Protocol[str]) -> str:
        """
        Perform all effects of a protocol, and return its outcome.

        Raises:
            AstroTokenError: an effect was refused.
        """
        with ExitStack() as step:
            try:
                effect = next(protocol)
                while True:
                    if isinstance(effect, effects.Create):
                        # A signal after it would leave a token whose value nobody has.
                        step.enter_context(uninterrupted())
                    outcome = self._outcome(effect)
                    if isinstance(effect, effects.WriteRecord) or isinstance(outcome, Exception):
                        step.close()
                    is_failure = isinstance(outcome, Exception)
                    effect = protocol.throw(outcome) if is_failure else protocol.send(outcome)
            except StopIteration as end:
                return str(end.value)
            except effects.RefusedError:
                failure = self.refusal
        raise failure

    def _outcome(self, effect: Any) -> Any:
        """Return the result of an effect, or the exception that the protocol receives."""
        logger.debug("%s: %s", self._settings.ref, type(effect).__name__)
        try:
            return self._performers[type(effect)](effect)
        except BackendUnavailableError as error:
            failure: AstroTokenError = error
            received: Exception = (
                effects.ConflictError() if error.outcome_known else effects.UnknownOutcomeError()
            )
        except AstroTokenError as error:
            failure, received = error, effects.RefusedError()
        self.refusal = sanitized(failure)
        return received

    # -- the secrets backend ---------------------------------------------------------------------------

    def _read_record(self, _: effects.ReadRecord) -> tuple[str, RotationRecord]:
        self._record, self.record = read_record(self._record_ref, self._deadline)
        return self._record.version or "", self.record

    def _write_record(self, effect: effects.WriteRecord) -> str:
        content = encode_record(effect.record)
        version = write_secret(self._record_ref, content, self._record, self._deadline)
        self._record, self.record = Current(content, version or None), effect.record
        return version

    def _read_value(self, _: effects.ReadValue) -> tuple[str, Slot[SecretValue] | None]:
        self._value, self.token = read_stored(self._settings, self._deadline)
        return self._value.version or "", _slot(self.token) if self.token else None

    def _write_value(self, effect: effects.WriteValue) -> None:
        token = AstroToken.parse(effect.token.value)
        write_token(self._settings, token, self._value, self._deadline)
        self.token = token

    # -- Astro -----------------------------------------------------------------------------------------

    def _verify(self, effect: effects.Verify) -> bool:
        token = effect.token
        end = time.monotonic() + min(_PROPAGATION_SECONDS, self._deadline.remaining)
        while not self._tokens.accepts(token.id, token.value):
            if time.monotonic() + _PAUSE_SECONDS > end:
                return False
            time.sleep(_PAUSE_SECONDS)
        if not effect.is_new:
            return True
        record = self._tokens.get(token.id)
        return record is not None and _has_roles(record, self._planned.roles)

    def _list_tokens(self, effect: effects.ListTokens) -> list[Listed]:
        # By the mark, because the title can have changed since, and other references can have the same title.
        return [
            Listed(token.id, token.title, _last_sign(token.record))
            for token in self._of(effect.bearer).list(**self._planned.filters)
            if token.title.rpartition("~")[2].replace("-", "").startswith(self._mark)
        ]

    def _create(self, effect: effects.Create) -> Slot[SecretValue]:
        tokens = self._of(effect.bearer)
        created = tokens.create(replace(self._planned, title=effect.title))
        try:
            if len(self._planned.roles) > 1:
                tokens.set_roles(created.id, self._planned.roles)
            slot = _slot(AstroToken.parse(created.value))
            if slot.id == created.id:
                return slot
            failure: AstroTokenError = IntegrityError(
                "the created token does not contain its identifier",
                hint="report this with the version of astro-token",
            )
        except AstroTokenError as error:
            failure = error
        if not isinstance(failure, BackendUnavailableError):  # then the protocol deletes it by its title
            tokens.delete(created.id)
        raise failure.with_traceback(None)

    def _is_used(self, effect: effects.IsUsed) -> bool:
        record = self._of(effect.bearer).get(effect.id)
        return bool(record and record.last_used and record.last_used.timestamp() > effect.since)

    def _delete(self, effect: effects.Delete) -> None:
        self._of(effect.bearer).delete(effect.id)

    def _of(self, bearer: Slot[SecretValue] | None) -> Tokens:
        return self._tokens if bearer is None else self._tokens.of(bearer.value)


def _has_roles(record: TokenRecord, planned: Sequence[NewRole]) -> bool:
    """Compare roles. The records leave out the names of custom roles, and those of DAGs."""
    left = list(planned)
    for role in record.roles:
        fitting = [
            each
            for each in left
            if role.role in {None, each.role}
            and role.kind == each.kind
            and role.entity in {None, each.entity}
        ]
        if not fitting:
            return False
        left.remove(fitting[0])
    return not left


def _last_sign(record: TokenRecord) -> float:
    """
    Seconds since the epoch, of the creation or the last use: a token that is in use is not a leftover.

    A token of unknown age is not old.
    """
    times: list[datetime] = [time for time in (record.created, record.last_used) if time]
    return max(times).timestamp() if record.created else time.time()


def _mark(ref: SecretRef) -> str:
    """Return digits that stand for a reference and its service, to recognize the tokens made for it."""
    backend, origin = open_backend(ref.scheme), ""
    if can(backend, "route"):
        with suppress(AstroTokenError):
            origin = str(backend.route(ref).address.origin)
    return blake2b(f"{origin} {ref}".encode()).hexdigest()[:_MARK_DIGITS]


def _slot(token: AstroToken) -> Slot[SecretValue]:
    if token.token_id is None:
        raise InvalidTokenError(
            "the token does not contain its identifier (apiTokenId), so that it cannot be managed",
            hint="create a new token in Astro, and store it with `astro-token put`",
        )
    return Slot(token.token_id, token.secret)
