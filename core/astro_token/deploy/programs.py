"""The programs that a deploy needs: their presence, and the version of `astro`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.project_layout import Layout, layout_of, major_of
from astro_token.environment.context import Context
from astro_token.environment.private_home import private_home
from astro_token.errors import OutputError
from astro_token.policy.deploy_codes import Finding
from astro_token.record import Record
from astro_token.system.programs import (
    checkout_of,
    find_program,
    in_checkout,
    search_path,
    trusted_path,
)
from astro_token.system.running import run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astro_token.deploy.destination import Destination
    from astro_token.settings.astro_cli_pin import Lock

__all__ = ["Astro", "examine_astro", "findings"]

# Before, a token without an expiry counted as expired, and an expired one led to another error.
_LEAST = (1, 27, 1)
# Before, --workspace-id was ignored with an organization's token (astronomer/astro-cli#1635).
_LEAST_FOR_ORGANIZATIONS = (1, 44, 0)
_VERSION = re.compile(rb"Astro CLI Version: *v?([0-9A-Za-z][0-9A-Za-z.+-]{0,63})\s")
_SECONDS = 5.0
_MAX_BYTES = 64 * 1024


class Astro(Record):
    """
    Attributes:
        path: of the first one on PATH; None if there is none.
        version: None if it was not run, or prints none.
        findings: its problems.
    """

    path: Path | None
    version: str | None
    findings: tuple[Finding, ...]


def findings(astro: Astro, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Examine `astro`, and the programs that build the image."""
    yield from astro.findings
    if not any(find_program(name, environ) for name in ("docker", "podman")):
        yield Finding("no-docker", "neither docker nor podman is on PATH: only astro deploy --dags can work")


def examine_astro(
    folder: Path | None, environ: Mapping[str, str], lock: Lock | None, destinations: Sequence[Destination]
) -> Astro:
    """
    Find the `astro` that `exec` would start, and run `astro version`.

    Args:
        folder: the project's; programs of its repository are not run.
    """
    name = search_path("astro", environ).path
    if name is None:
        return Astro(None, None, (Finding("no-astro", "astro is not on PATH"),))
    path = Path(name)
    root = checkout_of(folder, environ) if folder else None
    roots = [root] if root else []
    if in_checkout(path, environ, roots):
        finding = Finding(
            "astro-in-project",
            "the astro on PATH lies in the repository: it was not run here, and exec does not start it",
        )
        return Astro(path, None, (finding,))
    try:
        version = _version_of(path, environ, roots)
        complaint = "does not print its version as the Astro CLI does, and may be another program"
    except (OSError, OutputError):
        version, complaint = None, "was not run: a temporary home cannot be created"
    if version is None:
        return Astro(path, None, (Finding("unknown-astro", f"the astro on PATH {complaint}"),))
    layout = layout_of(folder, environ) if folder else Layout(frozenset())
    return Astro(path, version, tuple(_version_findings(version, layout, lock, destinations)))


def _version_findings(
    version: str, layout: Layout, lock: Lock | None, destinations: Sequence[Destination]
) -> Iterator[Finding]:
    major = major_of(version)
    if major is not None and layout.majors and major not in layout.majors:
        yield Finding(
            "unfit-astro",
            f"the astro on PATH is {version}, and the project is one of Astro CLI {layout.major(None)}.x",
        )
    if lock is not None and version != lock.version:
        yield Finding(
            "other-astro", f"the astro on PATH is {version}, and the project's file pins {lock.version}"
        )
    parts = re.match(r"([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})", version)
    number = tuple(map(int, parts.groups())) if parts else _LEAST_FOR_ORGANIZATIONS  # a custom build has none
    names_none = any(each.token_read and not each.token_workspace for each in destinations)
    least, reason = None, ""
    if number < _LEAST:
        least, reason = _LEAST, "an expired token is reported as a missing workspace"
    elif number < _LEAST_FOR_ORGANIZATIONS and names_none:
        least, reason = _LEAST_FOR_ORGANIZATIONS, "--workspace-id is ignored for a token without a workspace"
    if least:
        yield Finding(
            "old-astro", f"the astro on PATH is {version}, and before {'.'.join(map(str, least))} {reason}"
        )


def _version_of(astro: Path, environ: Mapping[str, str], roots: Sequence[str]) -> str | None:
    """Run `astro version` without the token, in a temporary home; it must start nothing of the roots."""
    with private_home(Context(), {**environ, "ASTRO_HOME": "", "HOME": ""}) as home:
        # Otherwise it looks for a newer release, and waits for the answer.
        (home.path / ".astro" / "config.yaml").write_text('upgrade_message: "false"\n')
        clean = {
            "PATH": trusted_path(environ, roots),
            "HOME": str(home.path),
            "ASTRO_HOME": str(home.path),
            "ASTRO_TELEMETRY_DISABLED": "1",
            "LC_ALL": "C",
        }
        done = run_program(
            [str(astro), "version"], clean, seconds=_SECONDS, limit=_MAX_BYTES, folder=home.path
        )
    match = _VERSION.search(done.output) if done and done.code == 0 else None
    return match[1].decode("ascii") if match else None
