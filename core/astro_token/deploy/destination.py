"""The workspace and deployment that a deploy should reach, and those that it is told to reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.deploy.command import workspace_flag
from astro_token.deploy.manifest import MANIFEST
from astro_token.policy.deploy_codes import Finding
from astro_token.record import Record
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from astro_token.deploy.command import Deploy
    from astro_token.deploy.manifest import Manifest
    from astro_token.policy.rules import Expectations
    from astro_token.token import AstroToken

__all__ = ["Destination", "Target", "destination_of", "shown", "target_findings", "workspace_findings"]


class Destination(Record):
    """
    Attributes:
        name: of the token, for messages.
        token_workspace: the workspace in the token's claims, which the Astro CLI uses.
        workspace, deployment: the expected ones, else those of the token; None if neither names any.
        token_read: False if the token could not be read.
        has_table: True if a table of the project file names the token, so that it can name a deployment too.
    """

    name: str
    token_workspace: str | None
    workspace: str | None
    deployment: str | None
    token_read: bool
    has_table: bool = False


class Target(Record):
    """
    The deployment and workspace that the command names, else the project's configuration.

    Attributes:
        command: None before the command is known.
        manifest: gives names to deployments; None if the Astro CLI does not read any.
        configured: `project.deployment`; None if it is not set, or the Astro CLI does not read it.
        file: the configuration that `configured` is from, for messages.
        major: of the Astro CLI.
    """

    command: Deploy | None
    manifest: Manifest | None
    configured: str | None
    file: Path
    major: int


def destination_of(
    name: str,
    token: AstroToken | None,
    expected: Expectations,
    *,
    online_workspace: str | None = None,
    has_table: bool = False,
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
        has_table,
    )


def shown(text: str) -> str:
    """Return an identifier for a message. Any other text may hold a secret, and is not repeated."""
    return text if is_identifier(text) else "another"


def target_findings(destinations: Sequence[Destination], target: Target) -> Iterator[Finding]:
    """Compare the deployment, and the workspace of the command, with each destination."""
    command = target.command
    for each in destinations:
        yield from _deployment(each, target)
        option = command.workspace if command else None
        if option is not None and each.workspace not in {None, option}:
            result = ": the Astro CLI would deploy nothing and succeed" if target.major == 1 else ""
            yield Finding(
                "other-workspace",
                f"the command names workspace {shown(option)}, and {each.name} is for "
                f"{each.workspace}{result}",
            )


def _deployment(each: Destination, target: Target) -> Iterator[Finding]:
    command, expected = target.command, each.deployment
    named = command.deployment if command else None
    actual = target.manifest.deployment(named) if named and target.manifest else named
    if named is None and target.configured is None:
        # Only an expected deployment can be compared, and only a table can name one.
        if expected if command else each.has_table and not expected:
            yield _unnamed(each, target)
    elif expected is None:
        return
    elif named and actual is None:
        yield Finding(
            "project-deployment",
            f"the command names deployment {shown(named)}, which {MANIFEST} may give to another one: "
            f"the file is not understood, and {each.name} is for {expected}",
            f"correct {MANIFEST}: it must be TOML of at most 64 KiB that can be read",
        )
    elif (goes := actual or target.configured or "") != expected:
        correct = f"name {expected} on the command line"
        yield Finding(
            "project-deployment",
            f"astro deploy goes to deployment {shown(goes)}, which "
            f"{'the command' if named else target.file} names, and {each.name} is for {expected}",
            f"{correct}, or use the token of the deployment that is named"
            if named
            else f"{correct} and remove project.deployment from the file",
        )


def _unnamed(each: Destination, target: Target) -> Finding:
    result = "takes the workspace's only one, or asks" if target.major == 1 else "asks for one"
    if target.command:
        return Finding(
            "unnamed-deployment",
            f"the command names no deployment by its identifier, and {each.name} is for {each.deployment}: "
            f"the Astro CLI {result}, which fails in CI",
            f"name it: astro deploy {each.deployment}",
        )
    return Finding(
        "unnamed-deployment",
        f"{each.name} names no deployment: unless the command names one, "
        f"the Astro CLI {result}, which fails in CI",
    )


def workspace_findings(destinations: Sequence[Destination], target: Target) -> Iterator[Finding]:
    """Report a token without a workspace, unless the project names one for Astro CLI 2.0."""
    if target.manifest and target.manifest.names_workspace:
        return
    flag = workspace_flag(target.major)
    for each in destinations:
        if each.token_read and each.workspace is None:
            yield Finding(
                "no-workspace",
                f"{each.name} names no workspace, and none is expected: without {flag} "
                "the Astro CLI fails, or uses the workspace of an earlier run",
                "set workspace in the token's table of astro-token.toml, which exec passes on, "
                f"or give {flag}",
            )
