"""The project's own `.astro/config.yaml`, which goes before the user's: where it would lead a deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.environment.cli_config import other_registry, problems_of
from astro_token.policy.deploy_codes import Fact
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astro_token.deploy.target import Target

__all__ = ["facts"]

_CONFIG = Path(".astro", "config.yaml")
_LOUD = {"debug", "trace"}


def facts(
    folder: Path,
    shown: Path,
    environ: Mapping[str, str],
    targets: Sequence[Target],
    *,
    named: str | None = None,
) -> Iterator[Fact]:
    """
    Args:
        targets: what the tokens are for.
        named: the deployment on the command line, where one is known.
    """
    file = shown / _CONFIG
    config, problems = problems_of(folder / _CONFIG, environ, shown=file)
    for problem in problems:
        yield Fact(*problem)
    if config is None:
        return
    if other_registry(config):
        yield Fact(
            "other-registry",
            f"{file} names a registry of its own, which astro remote deploy sends the token to",
            "take remote.base_image_registry out of it unless that registry is Astronomer's or yours",
        )
    yield from _deployment(file, config.text("project.deployment") or None, named, targets)
    if config.text("project.workspace"):
        yield Fact(
            "unread-workspace",
            f"{file} names a workspace, which the Astro CLI never reads",
            "take project.workspace out of it; workspace in astro-token.toml is what exec hands on",
        )
    if config.text("verbosity").lower() in _LOUD:
        yield Fact(
            "debug-output",
            f"{file} makes the Astro CLI print what it does, and the token with it when it pushes an image",
            "take verbosity out of it",
        )


def _deployment(
    file: Path, configured: str | None, named: str | None, targets: Sequence[Target]
) -> Iterator[Fact]:
    """Where a deploy goes: to what the command line names, else to what the file names."""
    goes = named or configured
    for target in targets:
        if goes is None or target.deployment in {None, goes}:
            continue
        shown = goes if IDENTIFIER.fullmatch(goes) else "another"
        correct = f"name {target.deployment} on the command line"
        yield Fact(
            "project-deployment",
            f"astro deploy goes to deployment {shown}, which {'the command' if named else file} names, "
            f"and {target.name} is for {target.deployment}",
            f"{correct}, or use the token of the deployment that is named"
            if named
            else f"{correct} and take project.deployment out of the file",
        )
