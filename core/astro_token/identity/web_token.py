"""Claims of a JWT, read without verification, to predict a service's refusal early and clearly."""

from __future__ import annotations

import time
from typing import Any

from astro_token.errors import AccessDeniedError, AstroTokenError
from astro_token.secret import SecretValue
from astro_token.token import decode_part, is_jwt

__all__ = [
    "LENGTH_LIMIT",
    "SHOWN_CLAIMS",
    "describe_identity",
    "is_usable",
    "refuse_unusable",
    "web_token",
]

LENGTH_LIMIT = 16 * 1024
# What services bind their roles to. Other claims may be anything.
SHOWN_CLAIMS = (
    *("iss", "aud", "sub", "repository", "repository_id", "repository_owner_id"),
    *("project_path", "project_id", "environment", "environment_protected"),
    *("ref", "ref_type", "ref_protected", "pipeline_source"),
)
_MAX_SHOWN = 200  # characters of one claim


def web_token(data: bytes, malformed: AstroTokenError) -> SecretValue:
    """Return the token without blanks around it; raise `malformed` if it is not a JWT."""
    token = SecretValue(data.strip())
    if len(data) > LENGTH_LIMIT or _claims(token) is None:
        raise malformed
    return token


def describe_identity(token: SecretValue) -> str:
    """List the claims that services check, for people: `iss https://…, aud …, sub …`."""
    claims = _claims(token) or {}
    return ", ".join(f"{name} {text}" for name in SHOWN_CLAIMS if (text := _shown(claims.get(name))))


def _shown(claim: object) -> str:
    texts = [text for text in (claim if isinstance(claim, list) else [claim]) if isinstance(text, str)]
    text = " ".join(text if text.isprintable() else ascii(text)[1:-1] for text in texts)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def is_usable(token: SecretValue, audience: str | None) -> bool:
    """True if the token is for this audience and has not expired."""
    return _is_for(token, audience) and not _has_expired(token)


def refuse_unusable(token: SecretValue, audience: str | None, source: str, audience_hint: str) -> None:
    """
    Predict the refusal of a service.

    Raises:
        AccessDeniedError: the token is for another audience, or has expired.
    """
    if not _is_for(token, audience):
        raise AccessDeniedError(
            f"the identity token from {source} is for another audience than {audience}", hint=audience_hint
        )
    if _has_expired(token):
        raise AccessDeniedError(
            f"the identity token from {source} has expired",
            hint="use it earlier in the job, or give it a longer lifetime; check this machine's clock too",
        )


def _is_for(token: SecretValue, audience: str | None) -> bool:
    claimed = (_claims(token) or {}).get("aud")
    return audience is None or audience in (claimed if isinstance(claimed, list) else [claimed])


def _has_expired(token: SecretValue) -> bool:
    end = (_claims(token) or {}).get("exp")
    return isinstance(end, int | float) and end <= time.time()


def _claims(token: SecretValue) -> dict[str, Any] | None:
    data = token.reveal()
    return decode_part(data.split(b".")[1]) if is_jwt(data) else None
