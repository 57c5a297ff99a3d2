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
    from astro_token.settings.project_file import Project

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
        if planned.new and folder != root:
            note(f"`git apply` takes the diff in the folder {root}")
    else:
        write(root, planned.new)
    additions = dict(planned.present)
    if existing.path is not None:
        prefix = "tool.astro-token." if existing.path.name == SHARED_FILE else ""
        text = project_tables(plan, prefix, existing)
        if text:
            additions[os.path.relpath(existing.path, root)] = text
    _report(texts, planned, additions, is_dry=arguments.dry_run)
    _explain(plan, project)
    _warn_of_other_references(plan, existing)
    added = [*planned.new, *planned.same, *additions]
    if existing.path is not None and existing.path.name == FILE:  # perhaps of an earlier run
        added.append(os.path.relpath(existing.path, root))
    _finish(plan, planned, dict.fromkeys(added), os.path.relpath(root / plan.folder, folder))
    return 0


def _report(
    texts: Mapping[str, str], planned: Changes, additions: Mapping[str, str], *, is_dry: bool
) -> None:
    """Show which files were written, and the texts for those that exist."""
    for name in planned.new:
        note(f"{'would write' if is_dry else 'wrote'} {name}")
    for name in planned.same:
        note(f"{name} is there already")
    foreign = _foreign(planned)
    for name, text in additions.items():
        use = "init would write" if name in foreign else "to add to it"
        note(f"{name} exists, and stays as it is; the text {use} follows")
        _show(f"# for {name}:\n{text}", sys.stderr if is_dry else sys.stdout)
    for name in foreign:
        line("warning", f"{name} is not what init writes, so it is left out of the commands below")
        line("hint", "read it before you run it; or remove it, and run astro-token init again")
    marked = [name for name, text in texts.items() if f" {MARK}\n" in text and name not in foreign]
    if marked:
        note(f"change the lines marked {MARK} in {', '.join(marked)}")


def _foreign(planned: Changes) -> list[str]:
    """Return the scripts that exist with other content: perhaps edited, perhaps of somebody else."""
    return [name for name in planned.present if Path(name).parent.name == FOLDER]


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
    except (EOFError, OSError):
        raise UsageError(
            "the input ended, and nothing was written",
            hint="answer each question, or give the options that astro-token init --help lists",
        ) from None
    return answer or default or ""


def _explain(plan: Plan, project: AstroProject) -> None:
    """Show what a person has to know about this plan."""
    system = SYSTEMS[plan.system]
    branches = ", ".join(f"{each.name}={each.branch}" for each in plan.environments)
    note(f"each environment is for the jobs of one branch: {branches} (change it with --environment)")
    if project.major is None:
        note("there is no Astro project yet: create one with astro dev init")
    if (
        plan.system == "github"
        and plan.backend in {"aws", "azure"}
        and not (plan.repository_id and plan.owner_id)
    ):
        line("warning", "the role is bound to the subject of repositories created before 15 July 2026")
        line("hint", "for a newer repository, give --owner-id and --repository-id")
    if system.is_paired and plan.backend in {"vault", "gcp"} and not plan.repository_id:
        note("the roles bind the name of the repository, which others can take after a rename or a deletion")
        note("--repository-id N binds the repository itself: remove the scripts, and run init again with it")
    if not system.is_paired:
        note(f"bind a role to the repository and the branch, as docs/ci.md says for {system.name}")
        note(f"schedule `astro-token check {plan.environments[0].name}` for every night in {system.name}")
    elif plan.system == "github":
        left = [each.name for each in plan.environments if each.name not in plan.nightly]
        if left:
            note(f"the nightly check leaves out {', '.join(left)}: GitHub schedules the default branch only")


def _warn_of_other_references(plan: Plan, existing: Project) -> None:
    """Warn of tokens in the existing project file that the scripts and jobs of the plan are not for."""
    for each in plan.environments:
        token = existing.tokens.get(each.name)
        if token is None or (plan.backend == token.ref.scheme == "file"):  # a path is absolute there
            continue
        if str(token.ref) != plan.ref(each.name):
            line(
                "warning",
                f"the token {each.name} is at {token.ref} already, and not at {plan.ref(each.name)}",
            )
            line("hint", "change its reference, or the paths in the scripts and the names of their secrets")


def _finish(plan: Plan, planned: Changes, added: Iterable[str], at: str) -> None:
    """
    Print the commands that remain, at most three, and the folder to run them in if it is another one.

    Args:
        added: paths of files for git.
        at: the path from here to the project.
    """
    foreign = _foreign(planned)
    listed = {f"{plan.folder}/{FOLDER}/{name}.sh".lstrip("/"): name for name in scripts(plan)}
    commands = [" && ".join(f"sh {FOLDER}/{name}.sh" for path, name in listed.items() if path not in foreign)]
    if plan.backend != "file":
        names = " ".join(each.name for each in plan.environments)
        commands.append(
            f'for token in {names}; do astro-token put "$token"; done'
            if len(plan.environments) > 1
            else f"astro-token put {names}"
        )
    paths = [
        os.path.relpath(name, plan.folder or ".") for name in dict.fromkeys(added) if name not in foreign
    ]
    if plan.backend == "file":
        paths += [f"{each.name}.token.age" for each in plan.environments]
    if paths:
        commands.append(f"git add {' '.join(paths)} && git commit -m 'Deploy with astro-token' && git push")
    note("then run:")
    print(("" if at == "." else f"cd {at}\n") + "\n".join(filter(None, commands)))
