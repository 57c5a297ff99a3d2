"""What a token and the project's file say together about where a deploy is meant to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from astro_token.policy.deploy_codes import Fact
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astro_token.policy.rules import Expectations
    from astro_token.token import AstroToken

__all__ = ["Target", "facts", "target"]


class Target(NamedTuple):
    """
    Attributes:
        name: of the token, for messages.
        own_workspace: what the token itself names, as the Astro CLI takes it.
        workspace, deployment: what is expected, else what the token names; None where neither says.
        known: whether the token was read.
    """

    name: str
    own_workspace: str | None
    workspace: str | None
    deployment: str | None
    known: bool


def target(
    name: str, token: AstroToken | None, expected: Expectations, *, found: str | None = None
) -> Target:
    """
    Args:
        found: the workspace that Astro names, which `exec --online` hands on.
    """
    return Target(
        name,
        token.workspace if token else None,
        expected.workspace or (token.workspace if token else None) or found,
        expected.deployment or (token.deployment if token else None),
        token is not None,
    )


def facts(targets: Sequence[Target], *, named: str | None = None) -> Iterator[Fact]:
    """
    Args:
        named: the workspace that the command names.
    """
    for one in targets:
        if named is not None and one.workspace not in {None, named}:
            shown = named if IDENTIFIER.fullmatch(named) else "another"
            yield Fact(
                "other-workspace",
                f"the command names workspace {shown}, and {one.name} is for {one.workspace}: "
                "the Astro CLI would deploy nothing and succeed",
                "leave --workspace-id out, which exec needs no more, or use the token of that workspace",
            )
        if one.known and one.workspace is None:
            yield Fact(
                "no-workspace",
                f"{one.name} names no workspace, and none is expected: without --workspace-id "
                "the Astro CLI fails, or takes the one of an earlier run",
                "write workspace into the token's table of astro-token.toml, which exec hands on, "
                "or give --workspace-id",
            )
