"""What a token and the project's file say together about where a deploy is meant to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from astro_token.deploy.codes import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astro_token.policy import Expectations
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


def target(name: str, token: AstroToken | None, expected: Expectations) -> Target:
    return Target(
        name,
        token.workspace if token else None,
        expected.workspace or (token.workspace if token else None),
        expected.deployment or (token.deployment if token else None),
        token is not None,
    )


def facts(targets: Sequence[Target]) -> Iterator[Fact]:
    for one in targets:
        if one.known and one.workspace is None:
            yield Fact(
                "no-workspace",
                f"{one.name} names no workspace, and none is expected: without --workspace-id "
                "the Astro CLI fails, or takes the one of an earlier run",
                "say workspace in the token's table of astro-token.toml, and exec hands it on",
            )
