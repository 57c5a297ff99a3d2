"""Perform the effects of a rotation on a secrets backend and on Astro's API."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    IntegrityError,
    InvalidTokenError,
    RotationError,
    SecretNotFoundError,
    sanitized,
    with_prefix,
)
from astro_token.lifecycle import effects
from astro_token.lifecycle.effects import Listed, RotationRecord, Slot
from astro_token.lifecycle.record import decode_record, encode_record, record_ref
from astro_token.log import logger
from astro_token.record import replace
from astro_token.secrets.fields import select_field
from astro_token.token import AstroToken
from astro_token.tokens.steps import DECRYPTION, TokenPath, steps, walk
from astro_token.tokens.write import Current, encrypt_value, read_current, write_secret, write_token

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
_PROPAGATION_PAUSE = 1.0
_PAUSE_SECONDS, _LONGEST_PAUSE = 0.1, 5.0
_HINT = "compare its roles and its state in Astro with the project file, then run the command again"


class Performer:
    """
    Args:
        settings: of the token that is rotated.
        planned: the new token. A unique part is added to its title.
        tokens: of the organization, with the credential that manages them.
        deadline: for all effects.

    Attributes:
        failure: of the last effect that failed; None if all succeeded.

    Raises:
        AstroTokenError: as `record_ref`.
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
        self._record_ref = record_ref(settings.ref, deadline)
        self._record = Current(None, None)
        self._value = Current(None, None)
        self._written: tuple[SecretValue, SecretValue] | None = None
        self._failures, self._is_open = 0, False
        self.failure: AstroTokenError | None = None
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
            AstroTokenError: an effect was refused, or failed again and again before a token was created.
        """
        try:
            effect = next(protocol)
            while True:
                outcome = self._outcome(effect)
                is_failure = isinstance(outcome, Exception)
                effect = protocol.throw(outcome) if is_failure else protocol.send(outcome)
        except StopIteration as end:
            if end.value != "unfinished" or self.failure is None or self._is_open:
                return str(end.value)
            reason: Exception = self.failure
        except effects.RefusedError as refused:
            reason = refused.reason
        raise reason

    def _outcome(self, effect: Any) -> Any:
        """Return the result of an effect, or the exception that the protocol receives."""
        logger.debug("%s: %s", self._settings.ref, type(effect).__name__)
        try:
            return self._performers[type(effect)](effect)
        except AstroTokenError as error:
            self.failure = failure = sanitized(error)
        if isinstance(failure, BackendUnavailableError):
            self._pause(failure)
            return effects.ConflictError() if failure.outcome_known else effects.UnknownOutcomeError()
        if isinstance(failure, AccessDeniedError) and getattr(effect, "bearer", None) is not None:
            return effects.DeniedError()  # the token itself was the bearer, and may have been replaced
        return effects.RefusedError(failure)

    def _pause(self, failure: BackendUnavailableError) -> None:
        """Pause before everything is read again, longer after each failure."""
        self._failures += 1
        seconds = random.uniform(0, min(_PAUSE_SECONDS * 2**self._failures, _LONGEST_PAUSE))  # noqa: S311 (jitter)
        time.sleep(min(max(seconds, failure.retry_after or 0.0), self._deadline.remaining))

    # -- the secrets backend ---------------------------------------------------------------------------

    def _read_record(self, _: effects.ReadRecord) -> tuple[str, RotationRecord]:
        self._record = current = read_current(self._record_ref, self._deadline)
        if current.value is None:
            return current.version or "", RotationRecord()
        try:
            record = decode_record(self._opened(current.value))
        except AstroTokenError as error:
            failure = with_prefix(error, self._record_ref)
        else:
            self._is_open = record.pending is not None or record.previous is not None
            return current.version or "", record
        raise failure

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

    def _write_record(self, effect: effects.WriteRecord) -> str:
        content = stored = encode_record(effect.record)
        key = self._settings.decrypt
        if key is not None:
            stored = encrypt_value(key, content, self._deadline)
        version = write_secret(
            self._record_ref, stored, self._record, self._deadline, is_ciphertext=key is not None
        )
        self._record, self._written = Current(stored, version or None), (stored, content)
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
            if time.monotonic() + _PROPAGATION_PAUSE > end:
                self.failure = RotationError("Astro does not accept the token", hint=_HINT)
                return False
            time.sleep(_PROPAGATION_PAUSE)
        if not effect.is_new:
            return True
        record = self._tokens.get(token.id)
        if record is not None and _has_roles(record, self._planned.roles):
            return True
        self.failure = RotationError("Astro gave the new token other roles than planned", hint=_HINT)
        return False

    def _list_tokens(self, effect: effects.ListTokens) -> list[Listed]:
        beginning = f"{self._planned.title}~"
        return [
            Listed(token.id, token.title, _seconds(token.record.created))
            for token in self._of(effect.bearer).list(**self._planned.filters)
            if token.title.startswith(beginning)
        ]

    def _create(self, effect: effects.Create) -> Slot[SecretValue]:
        tokens = self._of(effect.bearer)
        self._is_open = True
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
