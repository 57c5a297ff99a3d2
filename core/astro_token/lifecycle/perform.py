"""Perform the effects of a rotation on a secrets backend and on Astro's API."""

from __future__ import annotations

import time
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
from astro_token.secrets.registry import open_backend, require
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
    from astro_token.settings.resolve import TokenSettings
    from astro_token.transport.deadline import Deadline

__all__ = ["Performer"]

# A new token may be unknown to a part of Astro for some time.
_PROPAGATION_SECONDS = 30.0
_PAUSE_SECONDS = 1.0


class Performer:
    """
    Args:
        settings: of the token that is rotated.
        planned: the new token. A unique part is added to its title.
        tokens: of the organization, with the credential that manages them.
        deadline: for all effects.
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
        scheme = settings.ref.scheme
        backend = require(open_backend(scheme), "rotation_record", scheme, "it has no record of rotations")
        self._record_ref = backend.rotation_record(settings.ref.without_field())
        self._record = Current(None, None)
        self._value = Current(None, None)
        self._refusal = AstroTokenError("no effect was refused")
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

    def run(self, protocol: Protocol[str]) -> str:
        """
        Perform all effects of a protocol, and return its outcome.

        Raises:
            AstroTokenError: an effect was refused.
        """
        try:
            effect = next(protocol)
            while True:
                outcome = self._outcome(effect)
                is_failure = isinstance(outcome, Exception)
                effect = protocol.throw(outcome) if is_failure else protocol.send(outcome)
        except StopIteration as end:
            return str(end.value)
        except effects.RefusedError:
            failure = self._refusal
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
        self._refusal = sanitized(failure)
        return received

    # -- the secrets backend ---------------------------------------------------------------------------

    def _read_record(self, _: effects.ReadRecord) -> tuple[str, RotationRecord]:
        self._record = current = read_current(self._record_ref, self._deadline)
        try:
            record = RotationRecord() if current.value is None else decode_record(current.value)
        except AstroTokenError as error:
            failure = with_prefix(error, self._record_ref)
        else:
            return current.version or "", record
        raise failure

    def _write_record(self, effect: effects.WriteRecord) -> str:
        content = encode_record(effect.record)
        version = write_secret(self._record_ref, content, self._record, self._deadline)
        self._record = Current(content, version or None)
        return version

    def _read_value(self, _: effects.ReadValue) -> tuple[str, Slot[SecretValue] | None]:
        self._value = current = read_current(self._settings.ref, self._deadline)
        if current.value is None:
            return current.version or "", None
        path = TokenPath(self._settings, self._deadline)
        path.secret = current.value
        failure = walk(path, steps(self._settings, online=False))
        if isinstance(failure, SecretNotFoundError):  # other fields
            return current.version or "", None
        if failure is not None:
            raise failure
        return current.version or "", _slot(path.token)

    def _write_value(self, effect: effects.WriteValue) -> None:
        write_token(self._settings, AstroToken.parse(effect.token.value), self._value, self._deadline)

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
        beginning = f"{self._planned.title}~"
        return [
            Listed(token.id, token.title, _seconds(token.record.created))
            for token in self._of(effect.bearer).list(**self._planned.filters)
            if token.title.startswith(beginning)
        ]

    def _create(self, effect: effects.Create) -> Slot[SecretValue]:
        tokens = self._of(effect.bearer)
        created = tokens.create(replace(self._planned, title=effect.title))
        if len(self._planned.roles) > 1:
            tokens.set_roles(created.id, self._planned.roles)
        slot = _slot(AstroToken.parse(created.value))
        if slot.id != created.id:
            raise IntegrityError(
                "the created token does not contain its identifier",
                hint="report this with the version of astro-token",
            )
        return slot

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


def _seconds(created: datetime | None) -> float:
    """Seconds since the epoch. A token of unknown age is not old."""
    return created.timestamp() if created else time.time()


def _slot(token: AstroToken) -> Slot[SecretValue]:
    if token.token_id is None:
        raise InvalidTokenError(
            "the token does not contain its identifier (apiTokenId), so that it cannot be managed",
            hint="create a new token in Astro, and store it with `astro-token put`",
        )
    return Slot(token.token_id, token.secret)
