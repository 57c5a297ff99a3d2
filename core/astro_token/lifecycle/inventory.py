"""Read the input of an audit: the credential, Astro's list of tokens, the configured tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.astro_api import AstroApi
from astro_token.astro_api.records import Pieces
from astro_token.astro_api.tokens import Tokens
from astro_token.errors import (
    AstroTokenError,
    InvalidRefError,
    PolicyError,
    SecretNotFoundError,
    UnsupportedOperationError,
    sanitized,
)
from astro_token.lifecycle.audit import Configuration, audit
from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.record import decode_record, record_ref
from astro_token.lifecycle.terraform import read_terraform
from astro_token.lifecycle.title import title_base
from astro_token.record import replace
from astro_token.system.variables import setting
from astro_token.tokens.read import read_secret
from astro_token.tokens.read_many import verify_all
from astro_token.tokens.write import read_current

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.lifecycle.audit import Audit
    from astro_token.secret import SecretValue
    from astro_token.settings.resolve import Settings, TokenSettings
    from astro_token.token import AstroToken
    from astro_token.tokens.read_many import TokenReport
    from astro_token.transport.deadline import Deadline

    Requests = dict[str, TokenSettings | AstroTokenError]  # by the names of the configurations

__all__ = ["configured", "take_audit"]

ADMIN = "--admin"


def configured(settings: Settings) -> Requests:
    """Return the tokens of the project file and of the environment, each once."""
    project = settings.project.tokens
    requests = dict(zip(project, settings.tokens(None), strict=True)) if project else {}
    if any(setting(settings.environ, name) for name in ("ASTRO_TOKEN_REF", "ASTRO_TOKEN_BACKEND")):
        (request,) = settings.tokens([None])
        if isinstance(request, AstroTokenError):
            requests["the environment's"] = request
        elif request.name is None:
            requests[str(request.ref)] = request
    return requests


def take_audit(
    admin: AstroToken,
    settings: Settings,
    requests: Requests,
    deadline: Deadline,
    *,
    done: Callable[[], None] = lambda: None,
) -> Audit:
    """
    Audit the organization of the credential.

    Args:
        admin: the credential that lists the tokens.
        requests: as `configured` returns them.
        done: called after each configured token.

    Raises:
        PolicyError: the credential names no organization.
        AstroTokenError: Astro does not list the tokens.
    """
    organization = admin.organization
    if organization is None:
        raise PolicyError(
            f"{admin.ref}: the token names no organization, so its tokens cannot be listed",
            hint="use a token of organization scope that Astro created",
        )
    with AstroApi(settings.environ) as api:
        tokens = list(Tokens(api, organization, admin.secret, deadline).list())
    reports = verify_all([_offline(request, deadline) for request in requests.values()], done=done)
    secrets = [admin.secret]
    configurations = [_of_admin(admin)]
    of_rotations = {token.id for token in tokens if title_base(token.title) != token.title}
    current = {report.token.token_id for report in reports if report.token}
    has_pending = bool(of_rotations - current)
    for name, report in zip(requests, reports, strict=True):
        configuration = _of_report(name, report)
        if report.token is not None:
            secrets.append(report.token.secret)
        # Without such titles there was no rotation, and so there is no record.
        is_rotated = has_pending or (report.token is not None and report.token.token_id in of_rotations)
        if report.settings is not None and report.token is not None and is_rotated:
            configuration = _with_record(configuration, report.settings, deadline, secrets)
        configurations.append(configuration)
    return audit(
        organization,
        tokens,
        configurations,
        policy=settings.policy,
        now=datetime.now(UTC),
        pieces=Pieces(secrets),
        terraform=read_terraform(Path.cwd()),
    )


def _offline(request: TokenSettings | AstroTokenError, deadline: Deadline) -> TokenSettings | AstroTokenError:
    """Policy may require `online`, which would send requests with each configured token."""
    if isinstance(request, AstroTokenError):
        return request
    policy = replace(request.policy, online=False)
    return replace(request, policy=policy, timeout=max(deadline.remaining, 0.1))


def _of_admin(admin: AstroToken) -> Configuration:
    return Configuration(ADMIN, str(admin.ref), admin.token_id, admin.organization, is_admin=True)


def _of_report(name: str, report: TokenReport) -> Configuration:
    ref = str(report.settings.ref) if report.settings else None
    token = report.token
    if token is not None:  # also one that must not be used
        return Configuration(name, ref, token.token_id, token.organization)
    error = sanitized(report.error or AstroTokenError("nothing was read"))
    for prefix in (name, ref):
        error.message = error.message.removeprefix(f"{prefix}: ")
    return Configuration(name, ref, error=error)


def _with_record(
    configuration: Configuration, settings: TokenSettings, deadline: Deadline, secrets: list[SecretValue]
) -> Configuration:
    """Add the ids of the rotation record, which holds the pending and the previous token."""
    try:
        record = _rotation_record(settings, deadline)
    except (UnsupportedOperationError, InvalidRefError):  # nothing rotates this one
        return configuration
    except AstroTokenError as error:
        return replace(configuration, error=sanitized(error))
    slots = [slot for slot in (record.pending, record.previous) if slot is not None]
    secrets.extend(slot.value for slot in slots)
    return replace(configuration, rotating=frozenset(slot.id for slot in slots) - {configuration.token_id})


def _rotation_record(settings: TokenSettings, deadline: Deadline) -> RotationRecord:
    ref = record_ref(settings.ref, deadline)
    try:
        if settings.decrypt is not None:
            return decode_record(read_secret(ref, deadline=deadline, decrypt=settings.decrypt))
        value = read_current(ref, deadline).value
    except SecretNotFoundError:
        value = None
    return RotationRecord() if value is None else decode_record(value)
