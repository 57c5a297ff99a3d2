"""
Rotate a token in place: Astro replaces the value, and the token keeps its identifier.

    reserve the ──> write the value ──> rotate ──> escrow ──> store ──> verify ──> remove
    escrow file     that is there                                                  the escrow file

The old value is invalid at once, so that consumers fail until the new one is stored.
The intent in the rotation record is the lock. Nothing is ever created under its title, so that a rotation
with overlap which finds it after a kill has nothing to delete.
"""

from __future__ import annotations

import random
import secrets
import time
import uuid
from contextlib import suppress
from shlex import quote
from typing import TYPE_CHECKING

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    OutputError,
    RotationError,
    sanitized,
)
from astro_token.lifecycle.effects import Intent, RotationRecord, Slot
from astro_token.lifecycle.escrow import Escrow
from astro_token.lifecycle.perform import PROPAGATION_SECONDS, busy, is_accepted
from astro_token.lifecycle.protocol import LEASE_SECONDS
from astro_token.lifecycle.stored import open_rotation
from astro_token.lifecycle.title import title_base
from astro_token.lifecycle.transitions import state_of
from astro_token.system.signals import uninterrupted
from astro_token.token import AstroToken

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token.astro_api.tokens import Tokens
    from astro_token.lifecycle.stored import Stored
    from astro_token.secret import SecretValue
    from astro_token.settings.resolve import TokenSettings
    from astro_token.transport.deadline import Deadline

__all__ = ["EscrowedRotation", "keeps_identifier"]

_TITLE = "(a rotation in place)"  # of the intent
_LONGEST_PAUSE = 5.0


class EscrowedRotation:
    """
    Args:
        stored: the value and the record, which were read.
        token: the current one.
        tokens: of the organization, with an admin's credential.
        ident: of the token.
        path: of the escrow file.

    Raises:
        UsageError: the escrow file is the token's own.
    """

    def __init__(
        self,
        settings: TokenSettings,
        stored: Stored,
        token: AstroToken,
        tokens: Tokens,
        *,
        ident: str,
        deadline: Deadline,
        path: Path,
    ) -> None:
        self._settings, self._stored, self._token, self._ident = settings, stored, token, ident
        self._tokens, self._deadline = tokens, deadline
        self._owner = secrets.token_hex(8)
        self.escrow = Escrow(path, deadline)
        self.escrow.refuse_secret(settings.ref, stored.ref)

    def run(self) -> bool:
        """
        Rotate the token, or store the value that an earlier run left in the escrow file.

        Returns:
            False if an earlier run had rotated it.

        Raises:
            BackendUnavailableError: another run holds the lease.
            OutputError: the escrow file is not one of this token.
            RotationError: a rotation with overlap is open (80), or a person is needed (81).
            AstroTokenError: a preparation failed, and nothing was rotated.
        """
        self._take_lease()
        try:
            value = self.escrow.open()
            if value is None:
                self._prepare()
                value = self._rotate()
                is_new = True
            else:
                self._check(value)
                is_new = False
            self._store(value)
            self._verify(value)
        finally:
            with suppress(AstroTokenError):  # the lease ends by itself
                self._release()
        self.escrow.remove()
        return is_new

    def _take_lease(self) -> None:
        record, now = self._stored.record, self._tokens.now()
        if record.pending is not None or record.previous is not None:
            raise open_rotation()
        state = state_of(record, None, owner=self._owner, now=now)
        if state.intent == "foreign":
            raise busy()
        if state.intent == "expired" and not keeps_identifier(record.intent):
            raise open_rotation()
        title = f"{_TITLE}~{uuid.uuid4()}"
        self._stored.write_record(RotationRecord(intent=Intent(title, self._owner, now + LEASE_SECONDS)))

    def _release(self) -> None:
        try:
            self._stored.write_record(RotationRecord())
        except BackendUnavailableError:
            self._stored.read_record()
            intent = self._stored.record.intent
            if intent is not None and intent.owner == self._owner:
                self._stored.write_record(RotationRecord())

    def _prepare(self) -> None:
        """Prove that the value can be written, under compare-and-set, and that the lease still holds."""
        try:
            self._stored.write_token(self._token)
            self._stored.read_token()  # the version that the new value will replace
            self._take_lease()
        except AstroTokenError:
            self.escrow.remove()
            raise

    def _check(self, kept: AstroToken) -> None:
        """Refuse an escrow file with another token, or with a value that Astro does not accept any more."""
        if kept.token_id != self._ident:
            raise OutputError(f"{self.escrow.path} contains another token", hint="name a new file")
        if not self._is_accepted(kept):
            raise _person(f"Astro does not accept the value in {self.escrow.path}", self._remove_first)

    def _rotate(self) -> AstroToken:
        """Rotate the token at Astro, and write the new value to the escrow file."""
        failure: AstroTokenError | None = None
        token = self._token
        # A signal between them would leave a value that nobody has.
        with uninterrupted():
            try:
                token = AstroToken.parse(self._new_value())
            except (AccessDeniedError, ConfigError) as error:  # Astro refuses, and did nothing
                failure = sanitized(error)
                self.escrow.remove()
            except AstroTokenError as error:
                failure = _person(
                    f"it is unknown whether Astro has rotated the token: {error.message}", self._again
                )
            else:
                with suppress(AstroTokenError):  # the value may still reach the backend
                    self.escrow.keep(token.secret)
        if failure is not None:
            raise failure
        if token.token_id != self._ident:
            raise self._unfinished("the new value does not contain the token's identifier", None)
        return token

    def _new_value(self) -> SecretValue:
        """Rotate. A response that is lost or damaged is replaced by that of another rotation."""
        try:
            return self._tokens.rotate(self._ident).value
        except IntegrityError:
            return self._tokens.rotate(self._ident).value

    def _store(self, token: AstroToken) -> None:
        """Write the value until the deadline, and read again after each failure."""
        pause = 0.1
        while True:
            current = self._stored.token
            if current is None or current.token_id != self._ident:
                raise self._replaced()
            try:
                if current.secret != token.secret:
                    self._stored.write_token(token)
            except BackendUnavailableError as error:
                failure = sanitized(error)
            except AstroTokenError as error:
                failure = sanitized(error)
                break
            else:
                return
            if self._deadline.remaining < pause:
                break
            time.sleep(random.uniform(0, pause))  # noqa: S311 (jitter)
            pause = min(2 * pause, _LONGEST_PAUSE)
            with suppress(AstroTokenError):
                self._stored.read_token()
        raise self._unfinished(failure.message, failure.hint)

    def _verify(self, token: AstroToken) -> None:
        failure: AstroTokenError | None = None
        try:
            self._stored.read_token()
            is_accepted_now = self._is_accepted(token)
        except AstroTokenError as error:
            failure = sanitized(error)
        if failure is not None:
            raise _person(
                f"the new value is stored, and could not be verified: {failure.message}",
                f"run `{self._command}`, which verifies it",
            )
        current = self._stored.token
        if current is None or current.secret != token.secret:
            raise self._replaced()
        if not is_accepted_now:
            raise _person("Astro does not accept the new value", self._remove_first)

    def _is_accepted(self, token: AstroToken) -> bool:
        slot = Slot(self._ident, token.secret)
        return is_accepted(self._tokens, slot, min(PROPAGATION_SECONDS, self._deadline.remaining))

    def _replaced(self) -> RotationError:
        return _person(
            f"somebody else replaced the value, and {self.escrow.path} keeps the one of {self._ident}",
            f"check the value with `astro-token check --online`; if it is right, remove {self.escrow.path}",
        )

    def _unfinished(self, message: str, hint: str | None) -> RotationError:
        where = f"only in {self.escrow.path}" if self.escrow.has_value else "lost"
        task = "stores it" if self.escrow.has_value else "rotates the token again"
        return _person(
            f"Astro has rotated the token, and its new value is {where}: {message}",
            f"{hint or 'correct the cause'}; then run `{self._command}`, which {task}",
        )

    @property
    def _again(self) -> str:
        return f"run `{self._command}`, which rotates the token again"

    @property
    def _remove_first(self) -> str:
        return f"remove {self.escrow.path}, then {self._again}"

    @property
    def _command(self) -> str:
        settings = self._settings
        name = settings.name or str(settings.ref)
        words = ["astro-token", "rotate", "--in-place", "--escrow", str(self.escrow.path), name]
        if settings.name is None and settings.decrypt is not None:
            words += ["--decrypt", str(settings.decrypt)]
        return " ".join(map(quote, words))


def keeps_identifier(intent: Intent | None) -> bool:
    """True for the intent of a rotation in place."""
    return intent is not None and title_base(intent.title) == _TITLE


def _person(message: str, hint: str) -> RotationError:
    return RotationError(message, exit_code=RotationError.PERSON_NEEDED, hint=hint)
