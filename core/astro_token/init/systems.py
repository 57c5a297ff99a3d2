"""The CI systems: where their files are, and the variables by which a job logs in to its backend."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from astro_token.record import Record

if TYPE_CHECKING:
    from astro_token.init.plan import Environment, Plan

__all__ = ["SYSTEMS", "System", "audience", "extras", "lines", "own", "shared", "special", "yaml_text"]

Variables = list[tuple[str, str]]
_AZURE_AUDIENCE = "api://AzureADTokenExchange"


class System(Record):
    """
    Attributes:
        name: for people.
        file: of the repository.
        template: in `templates/`.
        host: of its service, if each repository of that host is served by this system.
        is_paired: has several environments, with scripts that create what each of them may read.
        form: of a variable in the file.
    """

    key: str
    name: str
    file: str
    template: str
    host: str = ""
    is_paired: bool = False
    form: str = "{name}: {yaml}"


SYSTEMS = MappingProxyType(
    {
        row.key: row
        for row in (
            System(
                "github", "GitHub Actions", ".github/workflows/deploy.yml", "github.yml", "github.com", True
            ),
            System("gitlab", "GitLab CI", ".gitlab-ci.yml", "gitlab.yml", "gitlab.com", True),
            System("circleci", "CircleCI", ".circleci/config.yml", "circleci.yml"),
            System(
                "azure-pipelines",
                "Azure Pipelines",
                "azure-pipelines.yml",
                "azure-pipelines.yml",
                "dev.azure.com",
            ),
            System("buildkite", "Buildkite", ".buildkite/pipeline.yml", "buildkite.yml"),
            System("jenkins", "Jenkins", "Jenkinsfile", "jenkins.Jenkinsfile", form="{name} = '{value}'"),
            System(
                "bitbucket",
                "Bitbucket Pipelines",
                "bitbucket-pipelines.yml",
                "bitbucket.yml",
                "bitbucket.org",
                form="- export {name}={value}",
            ),
            System("codebuild", "AWS CodeBuild", "buildspec.yml", "codebuild.yml"),
            System("drone", "Drone", ".drone.yml", "drone.yml"),
            System("woodpecker", "Woodpecker", ".woodpecker.yml", "woodpecker.yml"),
        )
    }
)
_LONGEST_ACCOUNT = 30  # of Google
_STORED = ("drone", "woodpecker")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def yaml_text(text: str) -> str:
    """Quote a text for YAML where it could be read as something else."""
    is_safe = re.fullmatch(r"[A-Za-z/][\w./:@+ \[\],-]*", text) and not re.search(r": |:$|[\s]$", text)
    return text if is_safe and text.lower() not in _WORDS else json.dumps(text)


def lines(plan: Plan, variables: Variables) -> list[str]:
    """Render variables in the form of the system; one without a value comes from its store."""
    form = SYSTEMS[plan.system].form
    rendered = []
    for name, value in variables:
        if plan.system in _STORED and not value:
            rendered += [f"{name}:", f"  from_secret: {name.lower()}"]
        else:
            rendered.append(form.format(name=name, value=value, yaml=yaml_text(value)))
    return rendered


def audience(plan: Plan) -> str:
    """Return the audience of the job's identity, which some systems do not let a job choose."""
    fixed = {
        "azure-pipelines": _AZURE_AUDIENCE,
        "bitbucket": f"ari:cloud:bitbucket::workspace/{plan.value('bitbucket_workspace')}",
    }.get(plan.system)
    return (
        fixed
        or {
            "vault": plan.value("vault_addr"),
            "aws": "sts.amazonaws.com",
            "gcp": f"https://iam.googleapis.com/{_provider(plan)}",
            "azure": _AZURE_AUDIENCE,
            "file": "",
        }[plan.backend]
    )


def shared(plan: Plan) -> Variables:
    """Return the variables that all environments share."""
    if plan.backend == "vault":
        addr = plan.value("vault_addr")
        if plan.system == "codebuild":  # the server's identifier, not the audience of an identity
            host = urlsplit(addr).hostname or ""
            return [
                ("VAULT_ADDR", addr),
                ("ASTRO_TOKEN_VAULT_AUTH", "aws"),
                ("ASTRO_TOKEN_VAULT_AUDIENCE", host),
            ]
        if plan.system in _STORED:
            return [("VAULT_ADDR", addr), ("VAULT_ROLE_ID", ""), ("VAULT_SECRET_ID", "")]
        return [("VAULT_ADDR", addr), ("ASTRO_TOKEN_VAULT_AUDIENCE", audience(plan))]
    if plan.backend == "aws":
        if plan.system == "codebuild":
            return []
        region = [("AWS_REGION", plan.value("region"))]
        if plan.system in _STORED:
            return [*region, ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]
        return region + _fixed_audience(plan, "ASTRO_TOKEN_AWS_AUDIENCE", "sts.amazonaws.com")
    if plan.backend == "gcp":
        if plan.system in _STORED:
            return [("GOOGLE_APPLICATION_CREDENTIALS", "/tmp/key.json"), ("GCP_KEY", "")]  # noqa: S108 (in a container)
        provider = [("ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER", _provider(plan))]
        default = f"https://iam.googleapis.com/{_provider(plan)}"
        return provider + _fixed_audience(plan, "ASTRO_TOKEN_GCP_AUDIENCE", default)
    if plan.backend == "azure":
        return [
            ("AZURE_TENANT_ID", plan.value("tenant")),
            *_fixed_audience(plan, "ASTRO_TOKEN_AZURE_AUDIENCE", _AZURE_AUDIENCE),
        ]
    return []


def own(plan: Plan, environment: Environment) -> Variables:
    """Return the variables of one environment."""
    role = f"{plan.name}-{environment.name}"
    if plan.backend == "vault" and plan.system not in _STORED:
        return [("ASTRO_TOKEN_VAULT_ROLE", role)]
    if plan.backend == "aws" and plan.system not in {*_STORED, "codebuild"}:
        return [("AWS_ROLE_ARN", f"arn:aws:iam::{plan.value('account')}:role/{role}")]
    if plan.backend == "gcp" and plan.system not in {*_STORED, "github", "gitlab"}:
        account = role if len(role) <= _LONGEST_ACCOUNT else f"{plan.short_name}-{environment.name}"
        domain = f"{plan.value('gcp_project')}.iam.gserviceaccount.com"
        return [("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", f"{account}@{domain}")]
    if plan.backend == "azure":
        client = [("AZURE_CLIENT_ID", environment.client or plan.value("client"))]
        return [*client, ("AZURE_CLIENT_SECRET", "")] if plan.system in _STORED else client
    return []


def extras(plan: Plan) -> tuple[str, ...]:
    """Return the extras that a job needs."""
    if plan.backend == "file":
        return ()
    return ("vault", "aws") if (plan.system, plan.backend) == ("codebuild", "vault") else (plan.backend,)


def special(plan: Plan) -> dict[str, Any]:
    """Return the values of CodeBuild, whose jobs AWS gives an identity, and of systems without identities."""
    is_foreign = plan.backend in {"gcp", "azure"}
    logins = {
        "vault": "the build project's role logs in to Vault with the method aws. "
        "The audience is Vault's server ID: without it, another Vault could use the login",
        "aws": "the build project's role may read it",
    }
    issued = "AWS issues an identity token for the build project's role, which {} accepts"
    service = {"gcp": "Google", "azure": "Azure"}.get(plan.backend, "")
    target = {
        "gcp": '"https://iam.googleapis.com/$ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER"',
        "azure": _AZURE_AUDIENCE,
    }.get(plan.backend, "")
    return {
        "login": logins.get(plan.backend, issued.format(service)),
        "awscli": " awscli" if is_foreign else "",
        "identity_commands": [
            "# The role needs the permission sts:GetWebIdentityToken.",
            "# The account must enable outbound identity federation.",
            "- >-",
            '  ASTRO_TOKEN_ID_TOKEN="$(aws sts get-web-identity-token --signing-algorithm RS256',
            f"  --audience {target}",
            '  --query WebIdentityToken --output text)" && export ASTRO_TOKEN_ID_TOKEN',
        ]
        if is_foreign
        else [],
        "key_commands": ["- (umask 077 && printf '%s' \"$GCP_KEY\" >/tmp/key.json) && unset GCP_KEY"]
        if plan.backend == "gcp"
        else [],
    }


def _fixed_audience(plan: Plan, name: str, default: str) -> Variables:
    return [(name, audience(plan))] if audience(plan) != default else []


def _provider(plan: Plan) -> str:
    number = plan.value("gcp_number")
    return f"projects/{number}/locations/global/workloadIdentityPools/ci/providers/{plan.provider}"
