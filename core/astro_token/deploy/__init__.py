"""
The pre-deploy guard: what makes `astro deploy` do nothing or the wrong thing, and end with 0 or fail late.

    folder       settings         repository   target      stored        environment  programs
    of the       its own          what git     what the    the home of   variables    astro, docker
    project      .astro/config    says         tokens are  the CLI
                                               for
                                     │
                                     ▼
                 facts ── codes, policy ──> verdicts

All offline and read only: nothing is written below the project's folder, and nothing that lies there is run.
Of a file's content no more is repeated than identifiers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astro_token.deploy import environment, folder, programs, repository, settings, stored, target
from astro_token.deploy.codes import CODES, verdicts
from astro_token.errors import worst
from astro_token.exporter import DEFAULT_DOMAIN, TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astro_token.astro_cli.lock import Lock
    from astro_token.deploy.target import Target
    from astro_token.policy import Policy, Verdict

__all__ = ["Guarded", "guard"]


@dataclass(frozen=True, slots=True)
class Guarded:
    """
    What there is to say of a deploy from a folder.

    Attributes:
        path: the folder, as it was named.
        verdicts: errors first.
    """

    path: Path
    verdicts: tuple[Verdict, ...]

    @property
    def status(self) -> str:
        if any(verdict.level == "error" for verdict in self.verdicts):
            return "failed"
        return "warning" if self.verdicts else "ok"

    @property
    def exit_code(self) -> int:
        return worst([CODES[one.code].kind.exit_code for one in self.verdicts if one.level == "error"])


def guard(
    path: Path,
    targets: Sequence[Target],
    policy: Policy,
    *,
    lock: Lock | None = None,
    environ: Mapping[str, str] | None = None,
) -> Guarded:
    """
    Looks at a project before it is deployed.

    Args:
        targets: what the tokens at hand are for.
        lock: the release of the Astro CLI that is wanted, if one is.
    """
    environ = os.environ if environ is None else environ
    place = path.absolute()
    found = [*folder.facts(place, path, environ)]
    if folder.is_project(place, environ):
        domain = environ.get("ASTRO_DOMAIN") or DEFAULT_DOMAIN
        found += [*settings.facts(place, path, domain, targets), *repository.facts(place, environ)]
    found += [
        *target.facts(targets),
        *stored.facts(place, environ, targets),
        *environment.facts(environ),
        *programs.facts(repository.root(place) or place, environ, lock, targets),
    ]
    exported = bool(environ.get(TOKEN_VARIABLE))
    return Guarded(path, verdicts(found, policy.deploy, exported=exported))
