"""`init`: write the files of a CI system, and the scripts that create the permissions of its jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.cli.output import harmless, line, note
from astro_token.errors import UsageError
from astro_token.init.decide import decide, environment_names, identifier, is_environment
from astro_token.init.detect import astro_project, backend_of_login, ci_of, repository_root
from astro_token.init.files import FOLDER, MARK, files, project_tables, scripts
from astro_token.init.plan import BACKENDS
from astro_token.init.remote import choose
from astro_token.init.systems import SYSTEMS
from astro_token.init.write import changes, diff, write
from astro_token.settings.project_file import FILE, SHARED_FILE, find_project
from astro_token.system.os_errors import working_folder
from astro_token.system.terminal import can_prompt, prompt

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from typing import TextIO

    from astro_token.child.hardening import SavedLimits
    from astro_token.init.detect import AstroProject
    from astro_token.init.plan import Plan
    from astro_token.init.write import Changes

_ATTEMPTS = 3


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    environ = os.environ
    identifiers = {
        "repository_id": identifier(arguments.repository_id, "--repository-id"),
        "owner_id": identifier(arguments.owner_id, "--owner-id"),
    }
    environments = environment_names(arguments.environment)
    if not (arguments.backend and arguments.ci) and not can_prompt():
        raise UsageError(
            "without a terminal, init needs --backend and --ci",
            hint="astro-token init --backend vault --ci github --environment prod",
        )
    folder = Path(working_folder())
    root = repository_root(folder)
    remote = choose(root, arguments.remote)
    project = astro_project(root, folder, environ)
    backend = arguments.backend or _choice("backend", BACKENDS, backend_of_login(environ) or "vault")
    system = arguments.ci or _choice("CI system", SYSTEMS, ci_of(root, remote))
    if not environments:
        is_complete = arguments.backend and arguments.ci
        environments = [("prod", None)] if is_complete else _environments(project, SYSTEMS[system].is_paired)
    note(f"the repository is {remote.path} at {remote.host}, the remote {remote.name}")
    plan = decide(
        root,
        remote,
        project,
        environ,
        backend=backend,
        system=system,
        environments=environments,
        **identifiers,
    )
    texts = files(plan)
    own_file = f"{plan.folder}/{FILE}".lstrip("/")
    existing = find_project(root / plan.folder)
    if existing.path is not None:  # also one above, whose policy a nearer file would hide
        del texts[own_file]
    planned = changes(root, texts)
    if arguments.dry_run:
        print(diff(planned.new), end="")
    else:
        write(root, planned.new)
    for name in planned.new:
        note(f"{'would write' if arguments.dry_run else 'wrote'} {name}")
    for name in planned.same:
        note(f"{name} is there already")
    additions = dict(planned.present)
    if existing.path is not None:
        prefix = "tool.astro-token." if existing.path.name == SHARED_FILE else ""
        text = project_tables(plan, prefix, existing)
        if text:
            additions[os.path.relpath(existing.path, root)] = text
    for name, text in additions.items():
        note(f"{name} exists, and stays as it is; the text to add to it follows")
        _show(f"# for {name}:\n{text}", sys.stderr if arguments.dry_run else sys.stdout)
    _explain(plan, project)
    _finish(plan, planned, additions)
    return 0


def _show(text: str, stream: TextIO) -> None:
    for each in text.splitlines():
        print(harmless(each), file=stream)


def _choice(title: str, rows: Mapping[str, object], default: str | None) -> str:
    choices = ", ".join(rows)
    for _ in range(_ATTEMPTS):
        text = _answer(f"{title} ({choices})", default)
        if text in rows:
            return text
        note(f"there is no such {title}")
    raise UsageError(f"no {title} was chosen", hint=f"give one of {choices}")


def _environments(project: AstroProject, is_paired: bool) -> list[tuple[str, str | None]]:
    links = project.manifest.links if project.manifest else {}
    if not is_paired:
        return environment_names([_answer("environment", "prod")])
    default = " ".join(filter(is_environment, links)) or "prod"
    return environment_names(_answer("environments, separated by blanks", default).split())


def _answer(text: str, default: str | None) -> str:
    shown = f"{text} [{default}]: " if default else f"{text}: "
    try:
        answer = prompt(harmless(shown), echo=True).decode(errors="replace").strip()
    except OSError:
        answer = ""
    return answer or default or ""


def _explain(plan: Plan, project: AstroProject) -> None:
    """Show what a person has to know about this plan."""
    system = SYSTEMS[plan.system]
    if project.major is None:
        note("there is no Astro project yet: create one with astro dev init")
    if (
        plan.system == "github"
        and plan.backend in {"aws", "azure"}
        and not (plan.repository_id and plan.owner_id)
    ):
        line("warning", "the role is bound to the subject of repositories created before 15 July 2026")
        line("hint", "for a newer repository, give --owner-id and --repository-id")
    if not system.is_paired:
        note(f"bind a role to the repository and the branch, as docs/ci.md says for {system.name}")
        note(f"schedule `astro-token check {plan.environments[0].name}` for every night in {system.name}")
    elif plan.system == "github":
        left = [each.name for each in plan.environments if each.name not in plan.nightly]
        if left:
            note(f"the nightly check leaves out {', '.join(left)}: GitHub schedules the default branch only")


def _finish(plan: Plan, planned: Changes, additions: Iterable[str]) -> None:
    """Print the commands that remain, at most three."""
    marked = [name for name, text in {**planned.new, **planned.present}.items() if f" {MARK}\n" in text]
    if marked:
        note(f"first change the lines marked {MARK} in {', '.join(marked)}")
    at = f"cd {plan.folder}\n" if plan.folder else ""
    commands = [" && ".join(f"sh {FOLDER}/{name}.sh" for name in scripts(plan))]
    if plan.backend != "file":
        names = " ".join(each.name for each in plan.environments)
        commands.append(
            f'for token in {names}; do astro-token put "$token"; done'
            if len(plan.environments) > 1
            else f"astro-token put {names}"
        )
    added = [os.path.relpath(name, plan.folder or ".") for name in (*planned.new, *additions)]
    if plan.backend == "file":
        added += [f"{each.name}.token.age" for each in plan.environments]
    if added:
        commands.append(f"git add {' '.join(added)} && git commit -m 'Deploy with astro-token' && git push")
    note("then run:")
    print(at + "\n".join(filter(None, commands)))
