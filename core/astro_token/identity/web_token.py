"""A JWT, looked at unverified, so that what a service would refuse is said early and clearly."""

from __future__ import annotations

import time
from typing import Any

from astro_token.errors import AccessDeniedError, AstroTokenError
from astro_token.secret import SecretValue
from astro_token.token import decode_part, is_jwt

__all__ = ["LONGEST", "checked", "fits", "web_token"]

LONGEST = 16 * 1024


def web_token(data: bytes, otherwise: AstroTokenError) -> SecretValue:
    """The token without blanks around it; raises `otherwise` where it has not the form of one."""
    token = SecretValue(data.strip())
    if len(data) > LONGEST or _claims(token) is None:
        raise otherwise
    return token


def fits(token: SecretValue, audience: str | None) -> bool:
    """True if it is for this audience and has not expired."""
    return _is_for(token, audience) and not _is_over(token)


def checked(token: SecretValue, audience: str | None, system: str, audience_hint: str) -> SecretValue:
    if not _is_for(token, audience):
        raise AccessDeniedError(
            f"the identity token from {system} is for another audience than {audience}", hint=audience_hint
        )
    if _is_over(token):
        raise AccessDeniedError(
            f"the identity token from {system} has expired",
            hint="take it earlier in the job, or let it live longer; see this machine's clock too",
        )
    return token


def _is_for(token: SecretValue, audience: str | None) -> bool:
    claimed = (_claims(token) or {}).get("aud")
    return audience is None or audience in (claimed if isinstance(claimed, list) else [claimed])


def _is_over(token: SecretValue) -> bool:
    end = (_claims(token) or {}).get("exp")
    return isinstance(end, int | float) and end <= time.time()


def _claims(token: SecretValue) -> dict[str, Any] | None:
    data = token.reveal()
    return decode_part(data.split(b".")[1]) if is_jwt(data) else None
