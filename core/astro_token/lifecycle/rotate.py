"""Rotate tokens, or finish rotations that are open."""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.astro_api.tokens import Tokens
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    ConfigError,
    InvalidTokenError,
    PolicyError,
    RotationError,
    SecretNotFoundError,
    result,
    sanitized,
    with_prefix,
)
from astro_token.lifecycle.admin import may_not_itself, no_admin, organization_of
from astro_token.lifecycle.effects import RotationRecord, Slot
from astro_token.lifecycle.escrowed import EscrowedRotation, keeps_identifier
from astro_token.lifecycle.perform import PROPAGATION_SECONDS, Performer, busy, is_accepted
from astro_token.lifecycle.plan import replacement, same_roles, wide_role
from astro_token.lifecycle.protocol import Plan, rotation
from astro_token.lifecycle.record import RENEW_RECORD, same_token
from astro_token.lifecycle.stored import Stored
from astro_token.lifecycle.terraform import Terraform, read_terraform
from astro_token.policy.rules import enforce, judge
from astro_token.record import Record, replace
from astro_token.secrets.fields import token_count
from astro_token.system.programs import repository_of
from astro_token.tokens.write import check_write
from astro_token.transport.deadline import Deadline, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from astro_token.astro_api import AstroApi
    from astro_token.astro_api.records import TokenDetails
    from astro_token.astro_api.tokens import NewToken
    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken

__all__ = [
    "DEFAULT_GRACE",
    "OUTCOMES",
    "RotationOptions",
    "RotationReport",
    "Rotator",
    "is_true_value",
    "performed",
    "slot_of",
]

DEFAULT_GRACE = timedelta(hours=24)
OUTCOMES = ("rotated", "finished", "waiting", "idle", "planned", "skipped", "failed")
_WORKERS = 8
_YOUNG = 60.0  # seconds
# A new token is the remedy for these.
_REMEDIED = frozenset({"expired", "expires-too-soon", "too-old", "age-unproven", "no-expiry"})


class RotationOptions(Record):
    """
    Attributes:
        grace: instead of the recorded end of the grace period, and of the default; None for these.
        is_finishing: nothing is begun.
        older_than, expires_within: a token is due if one of them applies, or if there is neither.
        is_trial: nothing is written.
        escrow: the file of a rotation in place; None for one with overlap.
    """

    grace: timedelta | None = None
    is_finishing: bool = False
    older_than: timedelta | None = None
    expires_within: timedelta | None = None
    is_trial: bool = False
    escrow: Path | None = None


class RotationReport(Record):
    """
    Attributes:
        settings: None if the request does not name a token.
        outcome: one of `OUTCOMES`.
        expires: the expiry of the current token.
        previous_until: the end of the grace period, while the previous token is kept.
        warnings: messages, each with its hint.
    """

    settings: TokenSettings | None
    outcome: str
    expires: datetime | None = None
    previous_until: datetime | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    error: AstroTokenError | None = None

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error else 0


class Rotator:
    """
    Args:
        admin: the credential that manages tokens, with its reference; None if each token manages itself.
    """

    def __init__(self, api: AstroApi, admin: AstroToken | None, options: RotationOptions) -> None:
        self.api, self.admin, self.options = api, admin, options
        self._lock = threading.Lock()
        self._managed: Terraform | None = None

    def rotate_all(
        self,
        requests: Sequence[TokenSettings | AstroTokenError],
        *,
        is_named: bool,
        done: Callable[[], None] = lambda: None,
    ) -> list[RotationReport]:
        """
        Rotate tokens side by side. A reference is rotated once, even if it has several names.

        The admin's credential is rotated only if it is named, and last.

        Args:
            is_named: the requests are arguments, and not every token of the project file.
            done: called after each token, from any thread.
        """
        jobs: dict[SecretRef, TokenSettings] = {}
        for request in requests:
            if not isinstance(request, AstroTokenError):
                jobs.setdefault(same_token(request.ref), request)
        reports: dict[SecretRef, RotationReport] = {}

        def rotate(ref: SecretRef, *, is_last: bool = False) -> None:
            reports[ref] = self.rotate(jobs[ref], is_collecting=is_named, spares_admin=not is_last)
            done()

        admin: Any = self.admin.ref if self.admin else None
        if admin and (admin := same_token(admin)) in jobs:
            reports[admin] = RotationReport(jobs[admin], "skipped")
        others = [ref for ref in jobs if ref not in reports]
        if len(others) > 1:
            deadline = Deadline(sum(jobs[ref].timeout for ref in others))
            workers = Workers(deadline, _WORKERS)
            calls = [workers.submit(partial(rotate, ref)) for ref in others]
            try:
                for call in calls:
                    result(call.outcome())
            finally:
                workers.cancel()
        else:
            for ref in others:
                rotate(ref)
        if is_named:
            for ref in [ref for ref, report in reports.items() if report.outcome == "skipped"]:
                rotate(ref, is_last=True)
        return [
            RotationReport(None, "failed", error=request)
            if isinstance(request, AstroTokenError)
            else replace(reports[same_token(request.ref)], settings=request)
            for request in requests
        ]

    def rotate(
        self, settings: TokenSettings, *, is_collecting: bool = True, spares_admin: bool = False
    ) -> RotationReport:
        """
        Rotate one token, and report also a failure.

        Args:
            is_collecting: as of `Plan`.
            spares_admin: the admin's own token is skipped, whatever reference it is read from.
        """
        try:
            return self._rotate(settings, is_collecting=is_collecting, spares_admin=spares_admin)
        except AstroTokenError as error:
            failure = with_prefix(error, settings.ref)
        return RotationReport(settings, "failed", error=failure)

    def _rotate(self, settings: TokenSettings, *, is_collecting: bool, spares_admin: bool) -> RotationReport:
        options, deadline = self.options, Deadline(settings.timeout)
        stored = self.open_stored(settings, deadline)
        stored.read_record()
        stored.read_token()
        record, token = stored.record, stored.token
        _refuse_shared(stored.secret.value)
        is_open = record != RotationRecord()
        has_slots = bool(record.previous or record.pending)
        if token is None and record.pending is None:
            raise _nothing_to_rotate(is_open=is_open)
        if spares_admin and token is not None and self.admin and token.token_id == self.admin.token_id:
            return RotationReport(settings, "skipped")
        bearer = self._bearer(token)
        organization = organization_of(settings, token, self.admin)
        tokens = Tokens(self.api, organization, bearer.secret, deadline)
        is_own = bearer is token
        details = _details(tokens, stored, is_own=is_own)
        is_due = not options.is_finishing and token is not None and self._is_due(details, token, tokens.now())
        expires = details.record.expires if token is None else token.expires
        if options.escrow is not None:
            return self._rotate_with_escrow(settings, stored, token, tokens, deadline, is_due=is_due)
        if not is_due and not is_open:
            return RotationReport(settings, "idle", expires)
        planned, refusal = _planned(settings, token, details, organization)
        if refusal is not None:
            if is_due and not has_slots:
                raise refusal
            is_due = False  # policy is about the next token; an open rotation is finished
        if (
            token is not None
            and not has_slots
            and not is_own
            and not is_true_value(tokens, slot_of(token), token)
        ):
            raise _not_accepted(stored)
        warnings = [_MANAGES_ITSELF] if is_own and self.admin is None else []
        wide = wide_role(planned, settings)
        if wide is not None and is_due:
            warnings.append(wide)
        if is_due and token is not None and self._terraform.manages(str(token.token_id), details.title):
            warnings.append(_OF_TERRAFORM)
        if options.is_trial:
            return RotationReport(settings, "planned", expires, _end_of_grace(record), tuple(warnings))
        plan = Plan(
            planned.title,
            (DEFAULT_GRACE if options.grace is None else options.grace).total_seconds(),
            begins=is_due,
            ends_grace=options.grace is not None,
            is_own_bearer=is_own,
            is_collecting=is_collecting,
            is_held=options.grace is None and not options.is_finishing and _is_in_repository(settings.ref),
            revokes_used=options.grace is not None and options.is_finishing,
            replaces=token.token_id if token else None,
        )
        if is_due:
            check_write(settings.ref, deadline)
        performer = Performer(settings, planned, tokens, deadline, stored)
        outcome = performed(performer, self.adapted(plan))
        current = stored.token
        is_new = current is not None and (token is None or current.token_id != token.token_id)
        return RotationReport(
            settings,
            "rotated" if is_new else {"grace": "waiting", "idle": "idle"}.get(outcome, "finished"),
            current.expires if current else None,
            _end_of_grace(stored.record),
            tuple(warnings),
        )

    def _rotate_with_escrow(
        self,
        settings: TokenSettings,
        stored: Stored,
        token: AstroToken | None,
        tokens: Tokens,
        deadline: Deadline,
        *,
        is_due: bool,
    ) -> RotationReport:
        path = self.options.escrow
        if path is None or token is None or token.token_id is None:
            raise _nothing_to_rotate(is_open=stored.record != RotationRecord())
        if self.admin is None or self.admin.token_id == token.token_id:
            raise no_admin(
                "rotate this token in place, and after a lost response its own value does not work"
            )
        rotation = EscrowedRotation(
            settings, stored, token, tokens, ident=token.token_id, deadline=deadline, path=path
        )
        if not is_due and not rotation.escrow.exists:
            return RotationReport(settings, "idle", token.expires)
        if self.options.is_trial:
            return RotationReport(settings, "planned", token.expires)
        if not rotation.escrow.exists:  # with a file, a run before may have invalidated the value
            _enforce(settings, token)
            _require_accepted(tokens, stored, token)
        outcome = "rotated" if rotation.run() else "finished"
        current = stored.token
        return RotationReport(settings, outcome, current.expires if current else None)

    @property
    def _terraform(self) -> Terraform:
        with self._lock:  # or each thread would read all files
            if self._managed is None:
                self._managed = read_terraform(Path.cwd())
            return self._managed

    def open_stored(self, settings: TokenSettings, deadline: Deadline) -> Stored:
        """Open the value and the record. A scheduler with versions of its own overrides it."""
        return Stored(settings, deadline)

    def adapted(self, plan: Plan) -> Plan:
        """Adapt the plan of a rotation to a scheduler with steps of its own."""
        return plan

    def _bearer(self, token: AstroToken | None) -> AstroToken:
        """The admin's credential; the token itself if that is the same token, or if there is none."""
        admin = self.admin
        if token is not None and (admin is None or admin.token_id == token.token_id):
            return token
        if admin is None:
            raise no_admin("manage tokens")
        return admin

    def _is_due(self, details: TokenDetails, token: AstroToken, seconds: float) -> bool:
        older, within = self.options.older_than, self.options.expires_within
        if older is None and within is None:
            return True
        now = datetime.fromtimestamp(seconds, UTC)
        since = details.record.rotated or details.record.created or token.issued
        expires = details.record.expires or token.expires
        is_old = older is not None and (since is None or now - since > older)
        return is_old or (within is not None and expires is not None and expires - now < within)


def performed(performer: Performer, plan: Plan, task: str = "rotation") -> str:
    """
    Perform a rotation, and return `done`, `grace` or `idle`.

    Args:
        task: its name in messages.

    Raises:
        BackendUnavailableError: another run holds the lease.
        RotationError: the rotation is not finished (80), or a person is needed (81).
        AstroTokenError: an effect failed before anything was begun.
    """
    outcome, failure = "", None
    try:
        outcome = performer.run(rotation(plan, secrets.token_hex(8), performer.now, performer.unique))
    except AstroTokenError as error:
        failure = error
    if outcome == "busy":
        raise busy()
    if outcome == "used":
        raise RotationError(
            "the previous token was used after the new one became the current one, and is kept",
            hint="let its consumer read the token again, then wait; or revoke it now, with the options "
            "--finish --grace 0s",
        )
    if outcome == "alarm":
        raise _alarm(performer.stored.record)
    if outcome == "unfinished":
        failure = performer.failure
    if failure is None:
        return outcome
    needs_person = isinstance(failure, RotationError) and failure.exit_code == RotationError.PERSON_NEEDED
    if needs_person or not performer.is_open:
        raise sanitized(failure)
    raise RotationError(
        f"the {task} is not finished, and the old token still works: {failure.message}",
        hint=f"{failure.hint or 'correct the cause'}; then run the same command again",
    )


_MANAGES_ITSELF = (
    "no credential that manages tokens is named, so the token manages itself",
    "a token for deploys should not manage tokens: set ASTRO_TOKEN_ADMIN_REF, or give --admin",
)


def _planned(
    settings: TokenSettings, token: AstroToken | None, details: TokenDetails, organization: str
) -> tuple[NewToken, AstroTokenError | None]:
    """Plan the next token. With a refusal, the plan is one to finish an open rotation with."""
    try:
        if token is not None:
            _enforce(settings, token)
        return replacement(settings, details, organization), None
    except (InvalidTokenError, PolicyError) as error:
        return same_roles(settings, details), sanitized(error)


def _enforce(settings: TokenSettings, token: AstroToken) -> None:
    verdicts = judge(token, settings.policy, settings.expected)
    enforce(verdict for verdict in verdicts if verdict.code not in _REMEDIED)


_OF_TERRAFORM = (
    "Terraform manages the token, and will create it again after it was revoked",
    "rotate it with Terraform; or remove it from Terraform's configuration and state first",
)


def _nothing_to_rotate(*, is_open: bool) -> AstroTokenError:
    if is_open:
        return RotationError(
            "the creation of the token was interrupted", hint="run the same `astro-token create` again"
        )
    return SecretNotFoundError("there is no token to rotate", hint="create one with `astro-token create`")


def _details(tokens: Tokens, stored: Stored, *, is_own: bool) -> TokenDetails:
    """Look up the token to copy: the current one, else one of an open rotation that Astro accepts."""
    record, token = stored.record, stored.token
    slots = [slot for slot in (record.previous, record.pending) if slot]
    is_open = bool(slots)
    if token is not None and token.token_id is not None:
        slots.insert(0, slot_of(token))
    if not slots:
        raise InvalidTokenError(
            "the token does not contain its identifier (apiTokenId), so that it cannot be managed",
            hint="create a new token with `astro-token create`",
        )
    for slot in slots:
        is_current = token is not None and slot.id == token.token_id
        try:
            if is_open and not is_own and not is_true_value(tokens, slot, token if is_current else None):
                continue
            details = tokens.details(slot.id)
        except AccessDeniedError as error:
            raise (may_not_itself() if is_own else error) from None
        if details is not None:
            return details
    raise _not_accepted(stored)


def slot_of(token: AstroToken) -> Slot[SecretValue]:
    return Slot(str(token.token_id), token.secret)


def _require_accepted(tokens: Tokens, stored: Stored, token: AstroToken) -> None:
    if not is_true_value(tokens, slot_of(token), token):
        raise _not_accepted(stored)


def _not_accepted(stored: Stored) -> AstroTokenError:
    """Return the failure if Astro accepts no token that was read. Another run may have rotated meanwhile."""
    record, token = stored.record, stored.token
    stored.read_record()
    stored.read_token()
    if (record, token) != (stored.record, stored.token):
        return busy()
    if record.previous or record.pending:
        return _alarm(record)
    if keeps_identifier(record.intent):
        return RotationError(
            "a rotation in place was interrupted, and the value may not work any more",
            exit_code=RotationError.PERSON_NEEDED,
            hint="run the same `astro-token rotate --in-place --escrow` again, with the same file",
        )
    return InvalidTokenError(
        "Astro does not accept the token, so that its roles cannot be copied",
        hint="create a new token with `astro-token create`",
    )


def is_true_value(tokens: Tokens, slot: Slot[SecretValue], current: AstroToken | None) -> bool:
    """
    Return True if Astro accepts the value: whoever can write a secret can name any token's identifier there.

    Args:
        current: if the slot is that of the current token. Another run may just have created it, and a part
            of Astro may not know it yet.
    """
    issued = current.issued if current else None
    is_young = issued is not None and tokens.now() - issued.timestamp() < _YOUNG
    return is_accepted(tokens, slot, PROPAGATION_SECONDS if is_young else 0.0)


def _refuse_shared(secret: SecretValue | None) -> None:
    """Refuse a secret with several tokens: the record stands next to the secret, and is for one of them."""
    if secret is not None and token_count(secret) > 1:
        raise ConfigError(
            "the secret holds several tokens, and only a token with a secret of its own can be rotated",
            hint="store each token under a reference of its own",
        )


def _alarm(record: RotationRecord) -> RotationError:
    idents = " and ".join(slot.id for slot in (record.previous, record.pending) if slot)
    return RotationError(
        "the rotation cannot continue: neither the current token nor a token in the rotation record fits",
        exit_code=RotationError.PERSON_NEEDED,
        hint="if the value does not work, create a token in Astro and store it with `astro-token put`; "
        f"revoke {idents} in Astro when nobody uses them; {RENEW_RECORD}",
    )


def _end_of_grace(record: RotationRecord) -> datetime | None:
    if record.previous is None or record.revoke_after is None:
        return None
    return datetime.fromtimestamp(record.revoke_after, UTC)


def _is_in_repository(ref: SecretRef) -> bool:
    """True for a file in a git repository, which its consumers read after the merge."""
    return ref.scheme == "file" and repository_of(Path(ref.name).absolute().parent) is not None
