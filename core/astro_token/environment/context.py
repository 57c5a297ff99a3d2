"""The Astro CLI's context: domain, organization, workspace."""

from __future__ import annotations

from astro_token.record import Record

__all__ = ["DEFAULT_DOMAIN", "Context"]

DEFAULT_DOMAIN = "astronomer.io"


class Context(Record):
    """
    The Astro CLI's context.

    The private home contains it, so that nothing of an earlier job is used
    and an organization's token needs no `--workspace-id`.
    """

    domain: str = DEFAULT_DOMAIN
    organization: str | None = None
    workspace: str | None = None
