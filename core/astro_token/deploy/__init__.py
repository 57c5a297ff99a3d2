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

from astro_token.deploy import folder, repository, settings, target
from astro_token.environment.export import TOKEN_VARIABLE
from astro_token.errors import worst
from astro_token.policy.codes import DEPLOY
from astro_token.policy.deploy_codes import verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astro_token.deploy.command import Deploy
    from astro_token.deploy.target import Target
    from astro_token.policy.rules import Policy, Verdict
    from astro_token.settings.astro_cli_pin import Lock

__all__ = ["Guarded", "before_deploy", "guard"]


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
        return worst([DEPLOY[one.code].exit_code for one in self.verdicts if one.level == "error"])


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
    from astro_token.deploy import environment, programs, stored

    environ = os.environ if environ is None else environ
    place = path.absolute()
    found = [*folder.facts(place, path, environ)]
    if folder.is_project(place, environ):
        found += [
            *settings.facts(place, path, environ, targets),
            *repository.facts(place, environ),
        ]
    found += [
        *target.facts(targets),
        *stored.facts(place, environ, targets),
        *environment.facts(environ),
        *programs.facts(repository.checkout(place, environ), environ, lock, targets),
    ]
    exported = bool(environ.get(TOKEN_VARIABLE))
    return Guarded(path, verdicts(found, policy.deploy, exported=exported))


def before_deploy(
    deploy: Deploy,
    path: Path,
    wanted: Target,
    policy: Policy,
    *,
    environ: Mapping[str, str] | None = None,
) -> Guarded | None:
    """
    The cheap part of `guard`, right before `exec` starts `astro deploy` in a folder.

    `exec` gives the CLI a home of its own, so the user's is not looked at, and no program but git is asked.
    All are warnings, which stop nothing, but for what policy calls an error.

    Returns:
        None where the folder is no project, which the Astro CLI says itself.
    """
    environ = os.environ if environ is None else environ
    place = path.absolute()
    if not folder.is_project(place, environ):
        return None
    unasked = {code for code, level in policy.deploy.items() if level == "off"} | deploy.moot
    found = [
        *folder.facts(place, path, environ, dags=deploy.dags or "dags"),
        *settings.facts(place, path, environ, [wanted], named=deploy.deployment),
        *target.facts([wanted], named=deploy.workspace),
    ]
    if not unasked >= {"uncommitted", "git-unknown"}:
        found += repository.facts(place, environ)
    left = [fact for fact in found if fact.code not in unasked]
    return Guarded(path, verdicts(left, policy.deploy, advice=True))
