"""
The rotation function of AWS Secrets Manager.

AWS calls it four times with the identifier of one request. A rotation is the one of `rotate`, with its
record, and pauses between these calls:

    createSecret    intent, create, stage; then the version of the request gets the new token (AWSPENDING)
    setSecret       nothing: Astro accepts a token from its creation
    testSecret      verify
    finishSecret    promote: AWSCURRENT moves to the version of the request

The version is a copy of the record's pending token. The record decides, and the version follows: AWS cannot
tell whether a token exists that no version contains, and `rotate` continues without knowing the request.
The previous token stays in the record. The next createSecret revokes it, or `rotate --finish` does.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

from astro_token.astro_api import AstroApi
from astro_token.errors import (
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    RotationError,
    SecretNotFoundError,
    UsageError,
    sanitized,
)
from astro_token.lifecycle.admin import read_admin
from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.rotate import RotationOptions, Rotator
from astro_token.lifecycle.stored import Stored
from astro_token.log import logger
from astro_token.policy.parsers import duration
from astro_token.record import replace
from astro_token.secrets.fields import merge_field, same_secret, select_field
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import close_backends, open_backend
from astro_token.settings.resolve import Settings
from astro_token.system.variables import setting
from astro_token.token import AstroToken
from astro_token.tokens.steps import SELECTION, TokenPath, steps, walk
from astro_token.tokens.write import content_with
from astro_token.transport.deadline import Deadline
from astro_token.wording import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from astro_token.lifecycle.protocol import Plan
    from astro_token.lifecycle.rotate import RotationReport
    from astro_token.secret import SecretValue
    from astro_token.settings.resolve import TokenSettings

__all__ = ["AwsRotationError", "rotate"]

_CREATE, _SET, _TEST, _FINISH = "createSecret", "setSecret", "testSecret", "finishSecret"
_CURRENT, _PENDING = "AWSCURRENT", "AWSPENDING"
_REQUEST = re.compile(r"[A-Za-z0-9-]{32,64}")
_LEFT_SECONDS = 2.0  # to report a failure before AWS ends the function
_LEAST_SECONDS = 30.0  # a verification can take them
_PAUSE_SECONDS = 0.2  # after the end of a lease
_AGAIN = "start another rotation: `aws secretsmanager rotate-secret --secret-id NAME`"


class AwsRotationError(Exception):
    """A step failed. AWS writes the text to the function's log, and tries the rotation again."""


def rotate(event: Mapping[str, Any], context: Any) -> None:
    """
    Perform one step of a rotation. This is the function that AWS calls.

    Raises:
        AwsRotationError: the step is not done.
    """
    failure = None
    try:
        _perform(event, context.get_remaining_time_in_millis() / 1000 - _LEFT_SECONDS)
    except AstroTokenError as error:
        failure = sanitized(error)
    except Exception as error:  # noqa: BLE001 (its text may hold a value)
        failure = AstroTokenError(f"a bug in astro-token: {type(error).__name__}")
    finally:
        close_backends()
    if failure is not None:
        hint = f"; {failure.hint}" if failure.hint else ""
        raise AwsRotationError(f"{failure.message}{hint} (exit code {failure.exit_code})")


def _perform(event: Mapping[str, Any], seconds: float) -> None:
    if seconds < _LEAST_SECONDS:
        raise ConfigError("the function has too little time", hint="set its timeout to 3 minutes")
    name, request, step = (event.get(key) for key in ("SecretId", "ClientRequestToken", "Step"))
    if not (isinstance(name, str) and isinstance(request, str) and _REQUEST.fullmatch(request)):
        raise UsageError(
            "the event is not that of a rotation", hint="let AWS Secrets Manager call the function"
        )
    if step not in (_CREATE, _SET, _TEST, _FINISH):
        raise UsageError("the event names no step of a rotation", hint=_AGAIN)
    ref = SecretRef("aws", name, setting(os.environ, "ASTRO_TOKEN_FIELD") or None)
    settings = Settings([ref], timeout=seconds).token(ref)
    deadline = Deadline(seconds)
    version = _Version(settings, deadline, request)
    stages = version.stages()
    if _CURRENT in stages and step != _FINISH:
        return
    if not stages & {_CURRENT, _PENDING}:
        raise UsageError("the version of the request is not pending (AWSPENDING)", hint=_AGAIN)
    if step != _CREATE and version.read_staged() is None:
        raise UsageError("createSecret has not been done", hint=_AGAIN)
    if step == _SET:
        return  # Astro accepts a token from its creation
    grace = duration(setting(os.environ, "ASTRO_TOKEN_GRACE") or "24h", "ASTRO_TOKEN_GRACE")
    admin = read_admin(os.environ, None, deadline.remaining)
    with AstroApi() as api:
        rotator = _StepRotator(api, admin, request, step, grace)
        _STEPS[step](rotator, settings, deadline)


class _Version(Stored):
    """
    The value and the record, and the version of the request.

    Args:
        request: its identifier, which is that of the version.

    Attributes:
        staged: the token in the version; None if the version has no content yet.
    """

    def __init__(self, settings: TokenSettings, deadline: Deadline, request: str) -> None:
        super().__init__(settings, deadline)
        self._request = request
        self._secret_ref = settings.ref.without_field()
        self._content: SecretValue | None = None
        self.staged: AstroToken | None = None

    def stages(self) -> frozenset[str]:
        """
        Return the stages of the version.

        Raises:
            ConfigError: rotation is not enabled.
            UsageError: there is no such version.
        """
        backend = open_backend("aws")
        stages = self._deadline.retry(lambda seconds: backend.stages(self._secret_ref, timeout=seconds))
        if stages is None:
            raise ConfigError("rotation is not enabled for the secret", hint=_AGAIN)
        if self._request not in stages:
            raise UsageError("the secret has no version of this request", hint=_AGAIN)
        return frozenset(stages[self._request])

    def read_staged(self) -> AstroToken | None:
        backend = open_backend("aws")
        pinned = replace(self._secret_ref, options={**self._secret_ref.options, "version_id": self._request})
        try:
            content = self._deadline.retry(lambda seconds: backend.read(pinned, timeout=seconds))
        except SecretNotFoundError:  # AWS creates the version without content
            return None
        path = TokenPath(self._settings, self._deadline)
        path.secret = content
        failure = walk(path, (*SELECTION, *steps(self._settings, online=False)))
        if failure is not None:
            raise failure
        self._content, self.staged = content, path.token
        return self.staged

    def stage(self, token: AstroToken) -> None:
        """
        Copy a token into the version, with the other fields of the secret.

        Raises:
            BackendUnavailableError: the version has another token, or AWS did not answer.
        """
        backend = open_backend("aws")
        content = content_with(self._settings, token, self.secret, self._deadline)
        try:
            self._deadline.once(
                lambda seconds: backend.put_pending(
                    self._secret_ref, content, version=self._request, timeout=seconds
                )
            )
        except BackendUnavailableError as error:
            failure = error
        else:
            return
        staged = self.read_staged()  # the response was lost, or another call was faster
        if staged is None or staged.token_id != token.token_id:
            raise failure.with_traceback(None)

    def write_token(self, token: AstroToken) -> None:
        """Move AWSCURRENT to the version if it contains the token and the other fields as they are now."""
        expected = self.secret.version
        if expected is None or not self._contains(token):
            super().write_token(token)
            return
        backend = open_backend("aws")
        self._deadline.once(
            lambda seconds: backend.make_current(
                self._secret_ref, version=self._request, expected=expected, timeout=seconds
            )
        )
        self.token = token

    def _contains(self, token: AstroToken) -> bool:
        if self._content is None or self.staged is None or self.staged.token_id != token.token_id:
            return False
        field = self._settings.ref.field
        merged = merge_field(self.secret.value, field, select_field(self._content, field))
        return same_secret(merged, self._content)

    def end(self) -> None:
        """Remove AWSPENDING from the version, unless the version is the current one."""
        stages = self.stages()
        if _PENDING in stages and _CURRENT not in stages:
            backend = open_backend("aws")
            self._deadline.once(
                lambda seconds: backend.end_pending(self._secret_ref, version=self._request, timeout=seconds)
            )


class _StepRotator(Rotator):
    """
    Attributes:
        version: as the last run left it.
    """

    def __init__(
        self, api: AstroApi, admin: AstroToken | None, request: str, step: str, grace: timedelta
    ) -> None:
        super().__init__(api, admin, RotationOptions())
        self._request, self._step, self._grace = request, step, grace
        self.version: Any = None

    def open_stored(self, settings: TokenSettings, deadline: Deadline) -> Stored:
        self.version = _Version(settings, deadline, self._request)
        self.version.read_staged()
        return self.version  # type: ignore[no-any-return]

    def adapted(self, plan: Plan) -> Plan:
        if self._step == _CREATE:
            # A version that has a token keeps it: its content cannot be replaced.
            return replace(plan, begins=self.version.staged is None, stops_before="verify")
        end = "promote" if self._step == _TEST else ""
        grace = self._grace.total_seconds()
        return replace(plan, begins=False, stops_before=end, grace=grace, is_held=True)

    def run(self, settings: TokenSettings, deadline: Deadline) -> RotationReport:
        """
        Run until the plan's end. A call that was killed may have left a lease: wait for its end.

        Raises:
            AstroTokenError: as `Rotator.rotate` reports it.
        """
        while True:
            report = self.rotate(replace(settings, timeout=deadline.remaining))
            for message, hint in report.warnings:
                logger.warning("%s; %s", message, hint)
            if report.error is None:
                return report
            intent = self.version.record.intent if self.version else None
            left = intent.until - time.time() + _PAUSE_SECONDS if intent else 0.0
            is_passing = isinstance(report.error, BackendUnavailableError) and left > 0
            if not is_passing or left + _LEAST_SECONDS > deadline.remaining:
                raise report.error
            time.sleep(left)

    @property
    def is_current(self) -> bool:
        staged, token = self.version.staged, self.version.token
        return staged is not None and token is not None and staged.token_id == token.token_id

    @property
    def is_pending(self) -> bool:
        staged, pending = self.version.staged, self.version.record.pending
        return staged is not None and pending is not None and staged.token_id == pending.id

    def drop(self) -> RotationError:
        """End a request whose version contains a token that the rotation has dropped."""
        self.version.end()
        return RotationError("the token in the version of the request was dropped", hint=_AGAIN)


def _create(rotator: _StepRotator, settings: TokenSettings, deadline: Deadline) -> None:
    report = rotator.run(settings, deadline)
    if rotator.version.record == RotationRecord() and rotator.version.staged is None:
        report = rotator.run(settings, deadline)  # the first one has revoked the previous token
    pending = rotator.version.record.pending
    if rotator.version.staged is not None:
        if not rotator.is_pending and not rotator.is_current:
            raise rotator.drop()
    elif pending is not None:
        rotator.version.stage(AstroToken.parse(pending.value))
    else:
        until = f" until {moment(report.previous_until)}" if report.previous_until else ""
        raise RotationError(
            f"the previous token is in its grace period{until}",
            hint="rotate less often, or set ASTRO_TOKEN_GRACE; AWS tries again later",
        )


def _test(rotator: _StepRotator, settings: TokenSettings, deadline: Deadline) -> None:
    rotator.run(settings, deadline)
    if not rotator.is_pending and not rotator.is_current:
        raise rotator.drop()


def _finish(rotator: _StepRotator, settings: TokenSettings, deadline: Deadline) -> None:
    rotator.run(settings, deadline)
    if not rotator.is_current:
        raise rotator.drop()
    rotator.version.end()  # if a field was changed meanwhile, the token is in another version


_STEPS: dict[str, Callable[[_StepRotator, TokenSettings, Deadline], None]] = {
    _CREATE: _create,
    _TEST: _test,
    _FINISH: _finish,
}
