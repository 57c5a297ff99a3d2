"""What Astro said of a token, for programs: docs/check.md has the fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.cli.findings import failure
from astro_token.cli.times import iso

if TYPE_CHECKING:
    from astro_token.astro_api.records import TokenRecord
    from astro_token.online import Online

__all__ = ["described"]


def described(online: Online) -> dict[str, Any]:
    organization, deployment, error = online.organization, online.deployment, online.error
    return {
        "accepted": online.accepted,
        "token": _token(online.record) if online.record else None,
        "organization": {"id": organization.id, "product": organization.product} if organization else None,
        "workspace": online.workspace_id,
        "deployment": {
            "id": deployment.id,
            "workspace": deployment.workspace,
            "ci_cd_enforced": deployment.ci_cd_enforced,
            "status": deployment.status,
        }
        if deployment
        else None,
        "clock_ahead": None if online.ahead is None else round(online.ahead),
        "requests": [
            {"asked": asked.what, "status": asked.status, "request_id": asked.request_id}
            for asked in online.asked
        ],
        "error": failure(error) if error else None,
    }


def _token(record: TokenRecord) -> dict[str, Any]:
    return {
        "scope": record.scope,
        "kind": record.kind,
        "roles": [{"role": one.role, "kind": one.kind, "entity": one.entity} for one in record.roles],
        "created": iso(record.created),
        "rotated": iso(record.rotated),
        "last_used": iso(record.last_used),
        "expires": iso(record.expires),
    }
