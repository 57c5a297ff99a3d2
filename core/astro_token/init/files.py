"""The files of a plan: of the CI system, the scripts that create the permissions, and the project file."""

from __future__ import annotations

import json
import re
from functools import partial
from pkgutil import get_data
from typing import TYPE_CHECKING, Any

from astro_token.errors import UsageError
from astro_token.init.plan import BACKENDS, EXAMPLES, PACKAGE_SOURCE, example_plan
from astro_token.init.systems import SYSTEMS, audience, extras, lines, own, shared, special, yaml_text
from astro_token.init.template import fill
from astro_token.policy.rules import Policy
from astro_token.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.init.plan import Environment, Plan
    from astro_token.settings.project_file import Project

__all__ = [
    "FOLDER",
    "MARK",
    "ci_file",
    "example_files",
    "files",
    "project_tables",
    "refuse_unsupported",
    "scripts",
]

FOLDER = "astro-token-setup"
MARK = "CHANGE"
_NIGHTLY = ".github/workflows/astro-token-check.yml"


def refuse_unsupported(plan: Plan) -> None:
    """
    Refuse a combination for which there are no tested files.

    Raises:
        UsageError: encrypted files, or several environments, with a system whose files have neither.
    """
    system = SYSTEMS[plan.system]
    if system.is_paired:
        return
    if plan.backend == "file":
        raise UsageError(
            f"init writes no files for {system.name} with encrypted files",
            hint="choose another backend, or start with an example of examples/ci/ and docs/file.md",
        )
    if len(plan.environments) > 1:
        raise UsageError(
            f"the file for {system.name} has one environment",
            hint="give --environment once, and copy the job for further ones",
        )


def files(plan: Plan) -> dict[str, str]:
    """Return the texts by path, which is relative to the repository."""
    folder = f"{plan.folder}/" if plan.folder else ""
    made = {SYSTEMS[plan.system].file: ci_file(plan)}
    if plan.system == "github" and plan.nightly:
        made[_NIGHTLY] = _marked(plan, partial(_template, "github-nightly.yml"))
    made[f"{folder}astro-token.toml"] = project_tables(plan)
    made |= {f"{folder}{FOLDER}/{name}.sh": text for name, text in scripts(plan).items()}
    return made


def ci_file(plan: Plan) -> str:
    system = SYSTEMS[plan.system]
    return _marked(plan, partial(_template, system.template), "//" if plan.system == "jenkins" else "#")


def scripts(plan: Plan) -> dict[str, str]:
    """Return the scripts by name, in the order in which they have to run."""
    if plan.system == "github":
        names = ["environments", plan.backend]
    elif plan.system == "gitlab":
        names = [plan.backend, *(["schedule"] if not plan.is_example else [])]
    else:
        return {}
    return {name: _marked(plan, partial(_template, f"{plan.system}-{name}.sh")) for name in names}


def project_tables(plan: Plan, prefix: str = "", existing: Project | None = None) -> str:
    """
    Render the content of the project file.

    Args:
        prefix: of the tables, as in pyproject.toml.
        existing: the file to which it is to be added; what that has is left out.
    """
    return _marked(plan, partial(_tables, prefix, existing))


def _tables(prefix: str, existing: Project | None, plan: Plan) -> str:
    text = []
    if existing is None:
        text += ["# The tokens of this project, and the policy for them. It contains no secret.", ""]
    if existing is None or existing.policy == Policy():
        text += [f"[{prefix}policy]", "require_expiry = true", 'warn_validity = "14d"', ""]
    for each in plan.environments:
        if existing is None or each.name not in existing.tokens:
            text += [f"[{prefix}tokens.{each.name}]", f'ref = "{plan.ref(each.name)}"']
            text += [f'workspace = "{each.workspace}"'] if each.workspace else []
            text += [f'deployment = "{each.deployment}"'] if each.deployment else []
            text.append("")
    return "".join(f"{line}\n" for line in text[:-1])


def example_files() -> dict[str, str]:
    """Return the generated files of `examples/ci/` by path."""
    made: dict[str, str] = {}
    for system in SYSTEMS.values():
        for backend in BACKENDS:
            if backend == "file" and not system.is_paired:
                continue
            plan = example_plan(system.key, backend)
            suffix = ".Jenkinsfile" if system.key == "jenkins" else ".yml"
            made[f"{system.key}/{backend}{suffix}"] = ci_file(plan)
            made |= {f"{system.key}/{name}-setup.sh": text for name, text in scripts(plan).items()}
        if system.is_paired:
            made[f"{system.key}/rotate-setup.sh"] = _template(
                f"{system.key}-rotate.sh", example_plan(system.key, "vault")
            )
    return made


def _template(name: str, plan: Plan) -> str:
    return fill(_data(f"templates/{name}"), _values(plan))


def _data(name: str) -> str:
    return (get_data("astro_token.init", name) or b"").decode()


def _actions() -> dict[str, str]:
    """Return the actions of GitHub, each with its commit, by name."""
    lines_of_file = re.findall(r"uses: (([\w-]+/[\w-]+)@.+)", _data("actions/versions.yml"))
    return {re.sub(r"\W", "_", name): pinned for pinned, name in lines_of_file}


def _values(plan: Plan) -> dict[str, Any]:
    environments = [_of_environment(plan, each) for each in plan.environments]
    last = environments[-1]
    extra = ",".join(extras(plan))
    name = f"astro-token[{extra}]" if extra else "astro-token"
    system = SYSTEMS[plan.system]
    return {
        **special(plan),
        **_actions(),
        "vault_mount": _data("templates/vault-mount.sh").splitlines(),
        "vault_rotate": fill(_data("templates/vault-rotate.sh"), {"name": plan.name}).splitlines(),
        **{key: plan.value(key) for key in EXAMPLES},
        **_texts(plan),
        **_bound(plan),
        "environment": last["environment"],
        "branch": last["branch"],
        "token": last["token"],
        "deployment": last["deployment"],
        "backend": plan.backend,
        "service": BACKENDS[plan.backend].service,
        "package": plan.package or f"{name} @ {PACKAGE_SOURCE}",
        "example": plan.is_example,
        "identity": plan.backend != "file",
        "shared": lines(plan, shared(plan)),
        "variables": lines(plan, shared(plan) + own(plan, plan.environments[-1])),
        "environments": environments,
        "nightly": [each for each in environments if each["environment"] in plan.nightly],
        "branches": ", ".join(yaml_text(each.branch) for each in plan.environments),
        "cd": f"cd {plan.folder} && " if plan.folder else "",
        "audience": audience(plan),
        "name": plan.name,
        "secret": plan.secret,
        "secrets": " ".join(f"{plan.secret}/{each.name}" for each in plan.environments),
        "provider": plan.provider,
        "names": " ".join(each.name for each in plan.environments),
        "branch_names": " ".join(dict.fromkeys(each.branch for each in plan.environments)),
        "cases": " ".join(f"{each.name}) branch={each.branch} ;;" for each in plan.environments),
        "host": plan.remote.host,
        "path": plan.remote.path,
        "organization": plan.remote.owner,
        "repository": plan.remote.repository,
        "self_managed": not plan.is_example and plan.remote.host != system.host,
        "environments_script": "environments-setup.sh" if plan.is_example else "environments.sh",
    }


def _of_environment(plan: Plan, environment: Environment) -> dict[str, Any]:
    return {
        "environment": environment.name,
        "branch": environment.branch,
        # With its name the job gets the expectations of the project file, too.
        "token": plan.ref(environment.name) if plan.is_example else environment.name,
        "own": lines(plan, own(plan, environment)),
        "deployment": environment.deployment or plan.value("deployment"),
    }


def _texts(plan: Plan) -> dict[str, str]:
    """Return the sentences that depend on the backend and on the number of environments."""
    names = [each.name for each in plan.environments]
    branches = [each.branch for each in plan.environments]
    is_one = len(names) == 1
    system = SYSTEMS[plan.system].name.removesuffix(" Actions").removesuffix(" CI").removesuffix(" Pipelines")
    system = {"Azure": "Azure DevOps"}.get(system, system)
    noun = {"bitbucket": "step", "jenkins": "build"}.get(plan.system, "job")
    subject = f"each {noun}" if SYSTEMS[plan.system].is_paired else f"the {noun}"
    stored = f"Nothing is stored in {system}: {subject} logs in with its own identity."
    creates = "creates what each job may read"
    if plan.backend == "file":
        creates = "creates the keys and the files"
        stored = {
            "github": "The files are committed, and their keys are secrets of the environments.",
            "gitlab": "The files are committed. "
            "The variable ASTRO_TOKEN_AGE_KEY holds the key of its environment.",
        }.get(plan.system, "")
    return {
        "stored": stored,
        "creates": creates,
        "deploys": f"the branch {branches[0]} with a token"
        if is_one
        else f"the branches {_and(branches)}, each with a token of its own,",
        "listed": f"the environment {names[0]}" if is_one else f"the environments {_and(names)}",
        "put": _put(plan, names),
    }


def _put(plan: Plan, names: list[str]) -> str:
    if not plan.is_example and len(names) == 1:
        return f"astro-token put {names[0]}"
    if not plan.is_example:
        return f'for token in {" ".join(names)}; do astro-token put "$token"; done'
    ref = plan.ref(names[0])
    quoted = f"'{ref}'" if "#" in ref else ref
    return f"astro-token put {quoted}, and the same for {_and(names[1:])}."


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def _bound(plan: Plan) -> dict[str, Any]:
    """Return the claims of the repository that a role binds, in the forms of the services."""
    sources = ["push", "web", *([] if plan.is_example else ["schedule"])]
    values: dict[str, Any] = {
        "identifiers": plan.repository_id is not None and plan.owner_id is not None,
        "repository_id": plan.repository_id or "",
        "owner_id": plan.owner_id or "",
        "sources": json.dumps(sources),
        "source_condition": " || ".join(f"assertion.pipeline_source == '{each}'" for each in sources),
    }
    if plan.system == "gitlab":
        claims = [("project_id", "$PROJECT_ID")] if plan.repository_id else [("project_path", "$PROJECT")]
        names = (
            f"PROJECT_ID={plan.repository_id}  # the settings of the project show it"
            if plan.repository_id
            else f"PROJECT={plan.remote.path}"
        )
        ref = "{}"
        issuer = f"https://{plan.remote.host}"
    else:
        claims = [("repository", "$ORGANIZATION/$REPOSITORY")]
        names = f"ORGANIZATION={plan.remote.owner} REPOSITORY={plan.remote.repository}"
        if values["identifiers"]:
            claims = [("repository_owner_id", "$ORGANIZATION_ID")]
            names = f"ORGANIZATION_ID={plan.owner_id}"
        if plan.repository_id:
            claims.append(("repository_id", "$REPOSITORY_ID"))
            names += f" REPOSITORY_ID={plan.repository_id}"
            names += f"  # gh api repos/{plan.remote.path} --jq '.owner.id, .id'"
        ref = "refs/heads/{}"
        issuer = github_issuer(plan.remote.host)
    conditions = [
        f"(assertion.environment == '{each.name}' && assertion.ref == '{ref.format(each.branch)}')"
        for each in plan.environments
    ]
    return {
        **values,
        "issuer": issuer,
        "issuer_name": issuer.removeprefix("https://"),
        "bound_names": [names],
        "bound_claims": ", ".join(f'"{name}": "{value}"' for name, value in claims),
        "bound_condition": " && ".join(f"assertion.{name} == '{value}'" for name, value in claims),
        "bound_claim": claims[-1][0],
        "bound_value": claims[-1][1],
        "job_conditions": [
            f"{text} ||" if number < len(conditions) else f'{text})"'
            for number, text in enumerate(conditions, 1)
        ],
    }


def github_issuer(host: str) -> str:
    """Return the issuer of GitHub's service, of its data residency, or of a GitHub Enterprise Server."""
    if host == "github.com":
        return "https://token.actions.githubusercontent.com"
    if host.endswith(".ghe.com"):
        return f"https://token.actions.{host}"
    return f"https://{host}/_services/token"


def _marked(plan: Plan, render: Callable[[Plan], str], comment: str = "#") -> str:
    """
    Mark each line that a person has to change: those that an unknown value is a part of.

    Such a line differs if the value does. A search would also find it in a name of the repository.
    """
    text = render(plan)
    if plan.is_example:  # has no marks
        return text
    pairs = zip(text.splitlines(), render(_with_other_values(plan)).splitlines(), strict=True)
    return "".join(
        f"{line}\n" if line == other or line.lstrip().startswith(comment) else f"{line}  {comment} {MARK}\n"
        for line, other in pairs
    )


def _with_other_values(plan: Plan) -> Plan:
    """Return the plan with other placeholders, of the same form."""
    unknown = EXAMPLES.keys() - plan.values.keys() - {"astro_cli"}
    others = {name: EXAMPLES[name][:-1] + ("2" if EXAMPLES[name][-1] != "2" else "3") for name in unknown}
    return replace(plan, values={**plan.values, **others}, package=plan.package or f"{PACKAGE_SOURCE}2")
