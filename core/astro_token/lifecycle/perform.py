"""Perform the effects of a rotation on a secrets backend and on Astro's API."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, suppress
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from astro_token.astro_api.tokens import CLOCK_TOLERANCE
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    InvalidTokenError,
    RotationError,
    SecretNotFoundError,
    sanitized,
)
from astro_token.lifecycle import effects
from astro_token.lifecycle.effects import Listed, RotationRecord, Slot
from astro_token.lifecycle.record import RENEW_RECORD
from astro_token.lifecycle.stored import Stored
from astro_token.lifecycle.title import digest, is_marked, replaces, unique_part
from astro_token.log import logger
from astro_token.record import replace
from astro_token.secrets.identity import identity
from astro_token.secrets.registry import can, open_backend
from astro_token.system.signals import uninterrupted
from astro_token.token import AstroToken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from astro_token.astro_api.records import ListedToken, TokenRecord
    from astro_token.astro_api.tokens import NewRole, NewToken, Tokens
    from astro_token.lifecycle.effects import Protocol
    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from astro_token.transport.deadline import Deadline

__all__ = ["PROPAGATION_SECONDS", "BusyError", "Performer", "busy", "is_accepted"]

# A new token may be unknown to a part of Astro for some time.
PROPAGATION_SECONDS = 30.0
_PROPAGATION_PAUSE = 1.0
_PAUSE_SECONDS, _LONGEST_PAUSE = 0.1, 5.0
_LONGEST_TOKEN = 2048  # bytes, if there is none to compare with
_SLOT = 128  # bytes of a token in the record besides its value
_OF_ASTRO = (effects.Verify, effects.ListTokens, effects.Create, effects.IsUsed, effects.Delete)
# They change nothing, so that one without a response did not happen.
_READS = (
    effects.ReadRecord,
    effects.ReadValue,
    effects.Verify,
    effects.ListTokens,
    effects.IsUsed,
)
_HINT = "compare its roles and its state in Astro with the project file, then run the command again"


class BusyError(BackendUnavailableError):
    """Another run holds the lease of a rotation, or has just rotated the token."""


class Performer:
    """
    Args:
        settings: of the token that is rotated.
        planned: the new token. A unique part is added to its title.
        tokens: of the organization, with the credential that manages them.
        deadline: for all effects.
        stored: the value and the record; None to open them.
        titles: of tokens that were looked up, by their identifiers.

    Attributes:
        now: returns the seconds since the epoch.
        failure: of the last effect that failed; None if all succeeded.

    Raises:
        AstroTokenError: as `Stored`.
    """

    def __init__(
        self,
        settings: TokenSettings,
        planned: NewToken,
        tokens: Tokens,
        deadline: Deadline,
        stored: Stored | None = None,
        *,
        titles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._settings, self._planned = settings, planned
        self._tokens, self._deadline = tokens, deadline
        self.stored = stored or Stored(settings, deadline)
        self._secret = _digest(settings.ref)
        self.now = tokens.now
        self._titles = dict(titles)
        self._failures, self._may_exist = 0, False
        self.failure: AstroTokenError | None = None
        self._looked_up: tuple[str, TokenRecord | None] = ("", None)
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
        """True if a rotation has begun that another run can finish."""
        record = self.stored.record
        is_created = record.intent is not None and self._may_exist
        return is_created or record.pending is not None or record.previous is not None

    def unique(self) -> str:
        """Return the unique part of a title."""
        token = self.stored.token
        return unique_part(self._secret, token.token_id if token else None)

    def run(self, protocol: Protocol[str]) -> str:
        """
        Perform all effects of a protocol, and return its outcome.

        Raises:
            AstroTokenError: an effect was refused, or failed again and again before a token was created.
        """
        with ExitStack() as step:
            try:
                effect = next(protocol)
                while True:
                    if isinstance(effect, effects.Create):
                        # A signal after it would leave a token whose value nobody has.
                        step.enter_context(uninterrupted())
                    outcome = self._outcome(effect)
                    is_failure = isinstance(outcome, Exception)
                    if is_failure or isinstance(effect, effects.WriteRecord):
                        step.close()
                    effect = protocol.throw(outcome) if is_failure else protocol.send(outcome)
            except StopIteration as end:
                if end.value != "unfinished" or self.failure is None or self.is_open:
                    return str(end.value)
                reason: Exception = self.failure
            except effects.RefusedError as refused:
                reason = refused.reason
        raise reason

    def _outcome(self, effect: Any) -> Any:
        """Return the result of an effect, or the exception that the protocol receives."""
        logger.debug("%s: %s", self._settings.ref, type(effect).__name__)
        if self.failure and isinstance(effect, _OF_ASTRO) and self._tokens.remaining <= 0:
            # Nothing is sent any more, and the time that is left is for the end of the lease.
            return effects.RefusedError(self.failure, is_denied=isinstance(effect, effects.Create))
        try:
            return self._performers[type(effect)](effect)
        except AstroTokenError as error:
            self.failure = failure = sanitized(error)
        if isinstance(failure, BackendUnavailableError):
            self._pause(failure)
            # A deletion is repeated: an earlier request may be on its way.
            did_not_happen = failure.outcome_known and not isinstance(effect, effects.Delete)
            is_certain = did_not_happen or isinstance(effect, _READS)
            return effects.ConflictError() if is_certain else effects.UnknownOutcomeError()
        if isinstance(failure, AccessDeniedError) and getattr(effect, "bearer", None) is not None:
            return effects.DeniedError()  # the token itself was the bearer, and may have been replaced
        return effects.RefusedError(failure, is_denied=self._is_denied(effect, failure))

    def _is_denied(self, effect: Any, failure: AstroTokenError) -> bool:
        if isinstance(effect, effects.Create):
            return isinstance(failure, AccessDeniedError | ConfigError) and not self._may_exist
        return isinstance(failure, AccessDeniedError | SecretNotFoundError)

    def _pause(self, failure: BackendUnavailableError) -> None:
        """Pause before everything is read again, longer after each failure."""
        self._failures += 1
        seconds = random.uniform(0, min(_PAUSE_SECONDS * 2**self._failures, _LONGEST_PAUSE))  # noqa: S311 (jitter)
        left = min(self._deadline.remaining, self._tokens.remaining)
        time.sleep(min(max(seconds, failure.retry_after or 0.0), left))

    # -- the secrets backend ---------------------------------------------------------------------------

    def _read_record(self, _: effects.ReadRecord) -> tuple[str, RotationRecord]:
        return self.stored.read_record(), self.stored.record

    def _write_record(self, effect: effects.WriteRecord) -> str:
        return self.stored.write_record(effect.record, room=self._room(effect.record))

    def _room(self, record: RotationRecord) -> int:
        """The bytes that the tokens of a rotation will need in a record that has none yet."""
        if record.intent is None or record.pending is not None or record.previous is not None:
            return 0
        token = self.stored.token
        return _LONGEST_TOKEN if token is None else 2 * (len(token.secret.reveal()) + _SLOT)

    def _read_value(self, _: effects.ReadValue) -> tuple[str, Slot[SecretValue] | None]:
        version, token = self.stored.read_token(), self.stored.token
        return version, _slot(token) if token else None

    def _write_value(self, effect: effects.WriteValue) -> None:
        self.stored.write_token(AstroToken.parse(effect.token.value))

    # -- Astro -----------------------------------------------------------------------------------------

    def _verify(self, effect: effects.Verify) -> bool:
        token = effect.token
        if not is_accepted(self._tokens, token, min(PROPAGATION_SECONDS, self._deadline.remaining)):
            self.failure = RotationError("Astro does not accept the token", hint=_HINT)
            return False
        if not effect.is_new:
            return True
        record = self._tokens.get(token.id)
        if record is not None and _has_roles(record, self._planned.roles):
            return True
        self.failure = RotationError("Astro gave the new token other roles than planned", hint=_HINT)
        return False

    def _list_tokens(self, effect: effects.ListTokens) -> list[Listed]:
        return [
            Listed(token.id, token.title, _creation_of(token.record))
            for token in self._of(effect.bearer).list(**self._planned.filters)
            if is_marked(token.title, self._secret) or self._is_of_intent(token)
        ]

    def _is_of_intent(self, token: ListedToken) -> bool:
        """
        True for a token with the title of the intent that replaces the current one and was never used.

        The mark differs if another run names the secret in another way. Whoever can write the record can
        write any title there, such as that of another secret's new token.
        """
        intent, current = self.stored.record.intent, self.stored.token
        is_named = intent is not None and token.title == intent.title and token.record.last_used is None
        ident = current.token_id if current else None
        return is_named and ident is not None and replaces(token.title, ident)

    def _create(self, effect: effects.Create) -> Slot[SecretValue]:
        tokens = self._of(effect.bearer)
        try:
            created = tokens.create(replace(self._planned, title=effect.title))
        except BackendUnavailableError as error:
            self._may_exist |= not error.outcome_known
            raise
        self._may_exist = True
        if len(self._planned.roles) > 1:
            tokens.set_roles(created.id, self._planned.roles)
        slot = _slot(AstroToken.parse(created.value))
        if slot.id != created.id:
            raise IntegrityError(
                "the created token does not contain its identifier",
                hint="report this with the version of astro-token",
            )
        self._titles[slot.id] = effect.title
        return slot

    def _is_used(self, effect: effects.IsUsed) -> bool:
        record = self._of(effect.bearer).get(effect.id)
        self._looked_up = (effect.id, record)
        # Two clocks are compared, and a rotation itself uses the token before its promotion.
        since = effect.since + CLOCK_TOLERANCE
        return bool(record and record.last_used and record.last_used.timestamp() > since)

    def _delete(self, effect: effects.Delete) -> None:
        tokens, previous = self._of(effect.bearer), self.stored.record.previous
        if previous is not None and previous.id == effect.id:
            ident, record = self._looked_up
            if ident != effect.id:
                record = tokens.get(effect.id)
            if record is not None and not self._has_expired(record):
                self._require_ours(tokens, previous)
        tokens.delete(effect.id)

    def _has_expired(self, record: TokenRecord) -> bool:
        return record.expires is not None and record.expires.timestamp() <= self.now()

    def _require_ours(self, tokens: Tokens, previous: Slot[SecretValue]) -> None:
        """
        Require that Astro accepts the value of a token to be deleted, and that the current token was created
        to replace it, by its title at Astro.

        Whoever can write the record can name any token's identifier there, or copy another secret's token.
        """
        if not is_accepted(self._tokens, previous):
            raise _not_ours(
                f"Astro does not accept the value in the rotation record of the token {previous.id}"
            )
        token = self.stored.token
        ident = (token and token.token_id) or ""
        title = self._titles.get(ident)
        if title is None:
            details = tokens.details(ident) if ident else None
            title = details.title if details else ""
        if not replaces(title, previous.id):
            raise _not_ours(
                f"the rotation record contains {previous.id}, which the current token was not created "
                "to replace"
            )

    def _of(self, bearer: Slot[SecretValue] | None) -> Tokens:
        return self._tokens if bearer is None else self._tokens.of(bearer.value)


def is_accepted(tokens: Tokens, token: Slot[SecretValue], patience: float = 0.0) -> bool:
    """
    Return True if Astro accepts the value of a token.

    Args:
        patience: seconds in which a refusal does not count.
    """
    end = time.monotonic() + patience
    while not tokens.accepts(token.id, token.value):
        if time.monotonic() + _PROPAGATION_PAUSE > end:
            return False
        time.sleep(_PROPAGATION_PAUSE)
    return True


def busy() -> BusyError:
    return BusyError(
        "another run is rotating the token", hint="wait for its end, or 30 seconds after it was killed"
    )


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


def _creation_of(record: TokenRecord) -> float:
    """
    Seconds since the epoch, of the creation; in the future if the token is certainly not a leftover.

    Nobody has the value of a leftover, so it was never used. Equal references can name secrets of two
    projects, such as files in containers: the current token of the other one was used when it was verified.
    """
    return inf if record.last_used or not record.created else record.created.timestamp()


def _digest(ref: SecretRef) -> str:
    """Return digits that stand for a secret and its service, to recognize the tokens made for it."""
    backend, origin = open_backend(ref.scheme), ""
    if can(backend, "route"):
        with suppress(AstroTokenError):
            origin = str(backend.route(ref).address.origin)
    return digest(f"{origin} {identity(ref)}")


def _not_ours(message: str) -> RotationError:
    return RotationError(
        message,
        exit_code=RotationError.PERSON_NEEDED,
        hint=f"find the token with `astro-token audit`, and revoke it only if nobody uses it; {RENEW_RECORD}",
    )


def _slot(token: AstroToken) -> Slot[SecretValue]:
    if token.token_id is None:
        raise InvalidTokenError(
            "the token does not contain its identifier (apiTokenId), so that it cannot be managed",
            hint="create a new token in Astro, and store it with `astro-token put`",
        )
    return Slot(token.token_id, token.secret)
