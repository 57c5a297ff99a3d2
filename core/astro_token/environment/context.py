"""The Astro CLI's context: domain, organization, workspace."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_DOMAIN", "Context"]

DEFAULT_DOMAIN = "astronomer.io"


@dataclass(frozen=True, slots=True)
class Context:
    """
    What the Astro CLI calls its context: where to, for which organization and workspace.

    It is written into the private home, so that nothing of an earlier job is used
    and an organization's token needs no `--workspace-id`.
    """

    domain: str = DEFAULT_DOMAIN
    organization: str | None = None
    workspace: str | None = None
