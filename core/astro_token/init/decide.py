"""From options, answers and what was detected to a plan."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, UsageError
from astro_token.init.detect import AstroProject, known_values
from astro_token.init.files import refuse_unsupported
from astro_token.init.plan import Environment, Plan
from astro_token.init.remote import Remote, default_branch
from astro_token.init.systems import SYSTEMS, extras
from astro_token.record import replace
from astro_token.system.installation import installed_from
from astro_token.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["decide", "environment_names", "identifier", "is_environment"]

_MAIN = ("prod", "production")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,16}[a-z0-9]")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}")
# Words of YAML, and keys of GitLab's file.
_RESERVED = {
    "true", "false", "null", "yes", "no", "on", "off",
    "default", "include", "image", "services", "stages", "types", "variables", "cache", "pages", "workflow",
    "spec",
}  # fmt: skip
# An address or a version. Never a folder of this machine, or an address with a password.
_PACKAGE = re.compile(
    r"astro-token(\[[a-z,-]+\])?"
    r"( @ (git\+)?https://[A-Za-z0-9.-]+(:\d+)?/[A-Za-z0-9._/+~-]+(@[A-Za-z0-9._/-]+)?"
    r"(#[A-Za-z0-9=&._/-]+)?|==[0-9A-Za-z.]+)"
)


def is_environment(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _RESERVED


def environment_names(texts: Sequence[str]) -> list[tuple[str, str | None]]:
    """
    Parse environments, each a name, or a name and a branch.

    Raises:
        UsageError: a name or a branch is malformed, or a name is given twice.
    """
    parsed: list[tuple[str, str | None]] = []
    for text in texts:
        name, equals, branch = text.partition("=")
        if not is_environment(name):
            raise UsageError(
                "the name of an environment is malformed or reserved",
                hint="use 2 to 18 lower-case letters, digits and -, such as prod, or prod=main",
            )
        if equals and (not _BRANCH.fullmatch(branch) or ".." in branch or branch.startswith("refs/")):
            raise UsageError("the branch of an environment is malformed", hint="give it as in prod=main")
        if name in dict(parsed):
            raise UsageError(f"the environment {name} is given twice", hint="give each environment once")
        parsed.append((name, branch or None))
    return parsed


def identifier(text: str | None, option: str) -> str | None:
    """
    Check an identifier of GitHub or GitLab.

    Raises:
        UsageError: it is not a number.
    """
    if text is not None and not re.fullmatch(r"[1-9]\d{0,18}", text):
        raise UsageError(f"{option} is not a number", hint="gh api repos/OWNER/NAME shows it")
    return text


def decide(
    root: Path,
    remote: Remote,
    project: AstroProject,
    environ: Mapping[str, str],
    *,
    backend: str,
    system: str,
    environments: Sequence[tuple[str, str | None]],
    repository_id: str | None = None,
    owner_id: str | None = None,
) -> Plan:
    """
    Make the plan.

    Raises:
        UsageError: init has no files for this combination.
        ConfigError: the remote does not belong to the CI system, or the cloud does not accept its issuer.
    """
    _refuse_other_host(remote, system)
    if backend == "aws" and system in {"github", "gitlab"} and ":" in remote.host:
        raise ConfigError(
            f"AWS accepts no issuer with a port, and that of {remote.host} has one",
            hint="serve it on port 443, or choose another backend",
        )
    main = default_branch(root, remote.name)
    if not _BRANCH.fullmatch(main):
        main = "main"
    is_only = len(environments) == 1
    rows = tuple(
        _environment(name, branch or (main if is_only or name in _MAIN else name), project, is_only=is_only)
        for name, branch in environments
    )
    values = known_values(backend, environ)
    if project.major == 2:  # noqa: PLR2004
        values["astro_cli"] = "2.0.0"
    plan = Plan(
        backend,
        system,
        rows,
        remote,
        repository_id,
        owner_id,
        project.folder,
        values=values,
        nightly=tuple(each.name for each in rows if each.branch == main),
    )
    refuse_unsupported(plan)
    return replace(plan, package=_package(*extras(plan)))


def _package(*names: str) -> str | None:
    """Return what pip installs; None if this copy has no source that a job could use."""
    source = installed_from()
    requirement = source.requirement(*names) + (f"=={__version__}" if source.kind == "index" else "")
    return requirement if _PACKAGE.fullmatch(requirement) else None


def _environment(name: str, branch: str, project: AstroProject, *, is_only: bool) -> Environment:
    manifest = project.manifest
    link = manifest.links.get(name) if manifest else None
    deployment = link.deployment if link else project.deployment if is_only else None
    workspace = (link and link.workspace) or (manifest.workspace if manifest else None)
    return Environment(name, branch, _shown(deployment), _shown(workspace))


def _shown(text: str | None) -> str | None:
    from astro_token.token import is_identifier

    return text if text and is_identifier(text) else None


def _refuse_other_host(remote: Remote, system: str) -> None:
    hosts = {row.host: row.name for row in SYSTEMS.values() if row.host}
    own = SYSTEMS[system].host
    if own and remote.host != own and (remote.host in hosts or system == "bitbucket"):
        raise ConfigError(
            f"{SYSTEMS[system].name} does not run jobs of {remote.host}, where the remote {remote.name} is",
            hint="choose the remote with --remote, or another CI system",
        )
    if system == "github" and remote.path.count("/") != 1:
        raise ConfigError(
            f"the path of the remote {remote.name} is not an owner and a repository",
            hint="use an address such as https://github.com/acme/dags",
        )
    if remote.is_alias and SYSTEMS[system].is_paired:
        raise ConfigError(
            f"the host {remote.host} of the remote {remote.name} is an alias, and roles need its full name",
            hint=f"git remote set-url {remote.name} ADDRESS, with the name of the server in it",
        )
    # Only other systems have such paths; a shell would replace the tilde.
    if SYSTEMS[system].is_paired and {"~", "%"} & {*remote.path}:
        raise ConfigError(
            f"the path of the remote {remote.name} is none of {SYSTEMS[system].name}",
            hint="choose the remote with --remote, or another CI system",
        )
