"""The workspace and deployment that a deploy should reach, from the token and the project's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.policy.deploy_codes import Finding
from astro_token.record import Record
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astro_token.policy.rules import Expectations
    from astro_token.token import AstroToken

__all__ = ["Destination", "destination_of", "findings", "shown"]


class Destination(Record):
    """
    Attributes:
        name: of the token, for messages.
        token_workspace: the workspace in the token's claims, which the Astro CLI uses.
        workspace, deployment: the expected ones, else those of the token; None if neither names any.
        token_read: False if the token could not be read.
    """

    name: str
    token_workspace: str | None
    workspace: str | None
    deployment: str | None
    token_read: bool


def destination_of(
    name: str, token: AstroToken | None, expected: Expectations, *, online_workspace: str | None = None
) -> Destination:
    """
    Combine a token's claims with the expectations.

    Args:
        online_workspace: the workspace that Astro names, which `exec --online` passes on.
    """
    workspace, deployment = (token.workspace, token.deployment) if token else (None, None)
    return Destination(
        name,
        workspace,
        expected.workspace or workspace or online_workspace,
        expected.deployment or deployment,
        token is not None,
    )


def shown(text: str) -> str:
    """Return an identifier for a message. Any other text may hold a secret, and is not repeated."""
    return text if is_identifier(text) else "another"


def findings(
    destinations: Sequence[Destination], *, workspace_option: str | None = None
) -> Iterator[Finding]:
    """
    Compare each destination with the command.

    Args:
        workspace_option: the value of the command's `--workspace-id`.
    """
    for each in destinations:
        if workspace_option is not None and each.workspace not in {None, workspace_option}:
            yield Finding(
                "other-workspace",
                f"the command names workspace {shown(workspace_option)}, and {each.name} is for "
                f"{each.workspace}: the Astro CLI would deploy nothing and succeed",
            )
        if each.token_read and each.workspace is None:
            yield Finding(
                "no-workspace",
                f"{each.name} names no workspace, and none is expected: without --workspace-id "
                "the Astro CLI fails, or uses the workspace of an earlier run",
            )
