"""
The effect of the project's own settings: `.astro/config.yaml`, which takes precedence over the user's,
and for Astro CLI 2.0 `[tool.astro]` of pyproject.toml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.environment.cli_config import CONFIG_FILE, manifest_problems, other_registry, problems_of
from astro_token.environment.export import telemetry_host
from astro_token.environment.manifest import MANIFEST
from astro_token.policy.deploy_codes import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from astro_token.environment.manifest import Manifest

__all__ = ["configured_deployment", "findings", "manifest_findings", "telemetry"]

_LOUD = {"debug", "trace"}


def configured_deployment(folder: Path, environ: Mapping[str, str]) -> str | None:
    """Return the deployment that Astro CLI 1.x takes if the command names none."""
    config, _ = problems_of(folder / CONFIG_FILE, environ)
    return (config and config.text("project.deployment")) or None


def findings(
    folder: Path, name: Path, environ: Mapping[str, str], *, registries: Sequence[Sequence[str]] | None = None
) -> Iterator[Finding]:
    """
    Examine the settings that change where the token goes.

    Args:
        name: the folder as the user named it, for messages.
        registries: of policy.
    """
    file = name / CONFIG_FILE
    config, problems = problems_of(folder / CONFIG_FILE, environ, shown=file)
    for problem in problems:
        yield Finding(problem.code, problem.message, problem.hint)
    if config is None:
        return
    if other_registry(config, registries):
        yield Finding(
            "other-registry", f"{file} names a registry, and astro remote deploy sends the token to it"
        )
    if config.text("project.workspace"):
        yield Finding("unread-workspace", f"{file} names a workspace, which the Astro CLI never reads")
    if config.text("verbosity").lower() in _LOUD:
        yield Finding(
            "debug-output",
            f"{file} makes the Astro CLI log each step, and the token with it when it pushes an image",
        )


def manifest_findings(manifest: Manifest | None, name: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """
    Examine the table that Astro CLI 2.0 reads. Its first mistake stands for all.

    Args:
        name: the folder as the user named it, for messages.
    """
    if manifest is None:
        return
    file = name / MANIFEST
    for problem in manifest_problems(manifest, environ, shown=file):
        yield Finding(problem.code, problem.message, problem.hint)
    if manifest.mistakes:
        (key, reason), more = manifest.mistakes[0], len(manifest.mistakes) - 1
        others = f", and {more} more mistake{'s' if more > 1 else ''}" if more else ""
        yield Finding("manifest-invalid", f"{file}: {key} {reason}{others}: the Astro CLI refuses the file")


def telemetry(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Examine the address of the Astro CLI's telemetry, for commands that we do not start."""
    host = telemetry_host(environ)
    if host is not None:
        yield Finding(
            "telemetry-address",
            "without exec, the Astro CLI's telemetry sends the token to "
            f"{host or 'an address that is not valid'}, which ASTRO_TELEMETRY_API_URL names",
        )
