"""The workspace and deployment that a deploy should reach, and those that it is told to reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.deploy.command import workspace_flag
from astro_token.environment.manifest import MANIFEST
from astro_token.policy.deploy_codes import Finding
from astro_token.record import Record
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from astro_token.deploy.command import Deploy
    from astro_token.environment.manifest import Link, Manifest
    from astro_token.policy.rules import Expectations
    from astro_token.token import AstroToken

__all__ = [
    "Destination",
    "Target",
    "command_findings",
    "destination_of",
    "shown",
    "target_findings",
    "workspace_findings",
]


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
        can_ask: the Astro CLI can ask for a deployment: it has a terminal.
    """

    command: Deploy | None
    manifest: Manifest | None
    configured: str | None
    file: Path
    major: int
    can_ask: bool = True

    @property
    def link(self) -> Link | None:
        """The link that the command names."""
        named = self.command.deployment if self.command else None
        return self.manifest.links.get(named) if self.manifest and named else None

    @property
    def workspace(self) -> str | None:
        """The workspace that the command names, else the one of its link."""
        option = self.command.workspace if self.command else None
        return option or (self.link.workspace if self.link else None)


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
    """Compare the deployment and the workspace of the command with each destination."""
    for each in destinations:
        yield from _deployment(each, target)
        workspace = target.workspace
        if workspace is not None and each.workspace not in {None, workspace}:
            result = ": the Astro CLI would deploy nothing and succeed" if target.major == 1 else ""
            is_option = target.command is not None and target.command.workspace is not None
            yield Finding(
                "other-workspace",
                f"{'the command' if is_option else f'the link in {MANIFEST}'} names workspace "
                f"{shown(workspace)}, and {each.name} is for {each.workspace}{result}",
            )


def command_findings(target: Target) -> Iterator[Finding]:
    """Report a command that the Astro CLI refuses."""
    if target.command is None:
        return
    for reason, hint in target.command.refusals(target.major):
        yield Finding("refused-command", f"the Astro CLI refuses the command: {reason}", hint)
    if target.major != 1 and target.link is not None and not target.link.is_astro:
        yield Finding(
            "refused-command",
            f"the Astro CLI refuses the command: its link in {MANIFEST} is none of an Astro deployment",
            "name another link, or package the project with astro package",
        )


def _deployment(each: Destination, target: Target) -> Iterator[Finding]:
    command, expected = target.command, each.deployment
    if (command is None or command.deployment is None) and target.configured is None:
        if command is None:  # only a table can name a deployment
            is_finding = each.has_table and not expected
        else:  # only an expected deployment can be compared
            is_finding = expected is not None or _fails(target)
        if is_finding:
            yield _unnamed(each, target)
        return
    if expected is None:
        return
    # If two are given, 2.0 refuses both, and 1.x takes the first.
    names = [command.deployment, command.other_deployment] if command and command.deployment else [None]
    for named in names:
        if named or len(names) == 1:
            yield from _compared(each, expected, named, target)


def _compared(each: Destination, expected: str, named: str | None, target: Target) -> Iterator[Finding]:
    actual = target.manifest.deployment(named) if named and target.manifest else named
    if named and actual is None:
        yield Finding(
            "project-deployment",
            f"the command names deployment {shown(named)}, which {MANIFEST} may give to another one: "
            f"the file is not understood, and {each.name} is for {expected}",
            f"correct {MANIFEST}: it must be TOML of at most 256 KiB that can be read",
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


def _fails(target: Target) -> bool:
    """Test if Astro CLI 2.0 fails because it cannot ask for a deployment."""
    command = target.command
    return target.major != 1 and command is not None and (command.json or not target.can_ask)


def _unnamed(each: Destination, target: Target) -> Finding:
    if target.major == 1:
        result = "takes the workspace's only one, or asks, which fails in CI"
    elif _fails(target):
        result = "fails, with input_required: it cannot ask for one here"
    else:
        result = "asks for one, which fails in CI"
    if target.command:
        expected = f" by its identifier, and {each.name} is for {each.deployment}" if each.deployment else ""
        return Finding(
            "unnamed-deployment",
            f"the command names no deployment{expected}: the Astro CLI {result}",
            f"name it: astro deploy {each.deployment}" if each.deployment else "name it in the command",
        )
    return Finding(
        "unnamed-deployment",
        f"{each.name} names no deployment: unless the command names one, the Astro CLI {result}",
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
