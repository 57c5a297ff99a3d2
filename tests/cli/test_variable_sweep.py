"""Each variable of the core, of files and of CI systems with wrong values, in the commands that read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyrage
import pytest

from astro_token.ci import all_systems, identity_variables
from astro_token.policy.rules import RULES
from tests.backends.sweep import SHARED, wrong_results
from tests.cli.sweep_process import Forks
from tests.servers import ci_programs
from tests.servers.astro_api import ORGANIZATION, WORKSPACE, AstroApi, Grant
from tests.servers.ci_identity import CiIdentity
from tests.servers.releases import Releases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer

POLICY = {
    "MAX_SCOPE": "organization",
    "REQUIRE_EXPIRY": "true",
    "MIN_VALIDITY": "10m",
    "WARN_VALIDITY": "20m",
    "MAX_AGE": "90d",
    "ONLINE": "false",
    "ORGANIZATION": ORGANIZATION,
    "WORKSPACE": WORKSPACE,
    "DEPLOYMENT": "",
    "REF": "env:*",
    "DECRYPT": "",
    "REGISTRIES": "",
    "ROLES": "DEPLOYMENT_ADMIN",
    "MAX_LIFETIME": "90d",
    "CLI_LOCK": "false",
    "DEPLOY": "",
}
MARKS = tuple(sorted({name for system in all_systems() for name in (*system.marks, system.proof or "CI")}))
TERMINAL = ("COLUMNS", "FORCE_COLOR", "LANG", "LC_ALL", "NO_COLOR", "TERM")
FOLDERS = ("HOME", "PATH", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
GIT = (
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
)
# Variables that a scenario reads and does not set, by its name.
# Of shells, loaders and summon itself: no program gets them.
NOT_USED = ("ENV", "LD_PRELOAD", "PYTHONPATH", "SHELLOPTS", "SUMMON_PROVIDER", "SUMMON_PROVIDER_PATH")
READ: Mapping[str, tuple[str, ...]] = {
    "check": (
        *(*MARKS, *TERMINAL, *FOLDERS, *sorted(identity_variables())),
        *("ASTRO_HOME", "ASTRO_TOKEN_PLAIN_IMPORTS", "ASTRO_TOKEN_PLUGINS", "ASTRO_TOKEN_FILE_FOLDERS"),
        *("GIT_EXEC_PATH", "PRE_COMMIT", "ASTRO_TOKEN_GRACE"),
        *("ASTRONOMER_KEY_ID", "ASTRONOMER_KEY_SECRET", "GITHUB_STEP_SUMMARY"),
    ),
    "a reference": ("ASTRO_TOKEN_DECRYPT", "ASTRO_TOKEN_BACKEND"),
    "the parts of a reference": ("ASTRO_TOKEN_VERSION",),
    "an encrypted file": ("ASTRO_TOKEN_AGE_KEY_FILE",),
    "policy": tuple(f"ASTRO_TOKEN_POLICY_{name}" for name in POLICY),
    "exec": (
        *(*FOLDERS, "RUNNER_TEMP", "ASTRO_HOME", "ASTRO_DOMAIN", "CI"),
        *("ASTRO_TOKEN_CLI_KEYS", "ASTRO_TOKEN_PROGRAM_FOLDERS"),
        *("ASTRO_TELEMETRY_API_URL", "ASTRO_TELEMETRY_DISABLED"),
    ),
    "a command": (*(*FOLDERS, "LANG", "ASTRO_TOKEN_PROGRAM_FOLDERS", "BASH_ENV", *NOT_USED),),
    "a command with further variables": ("PATH", "HTTPS_PROXY", "XDG_CONFIG_HOME", "LANG"),
    "a chain": (*FOLDERS, "ASTRO_TOKEN_COMMANDS", "AIRFLOW__SECRETS__BACKEND", "VAULT_ADDR"),
    "online": (*SHARED, "ASTRO_DOMAIN"),
    "install-cli": (*SHARED, *FOLDERS),
    "doctor": (
        *(*sorted(identity_variables()), *MARKS),
        *("ASTRO_DOMAIN", "ASTRO_HOME", "ALL_PROXY", "HTTP_PROXY"),
    ),
    "deploy": (*GIT, *FOLDERS, "ASTRO_HOME", "ASTRO_DOMAIN", "ASTRO_TOKEN_CLI_KEYS"),
    "an export in GitHub Actions": ("GITHUB_OUTPUT", "FORGEJO_ACTIONS", "GITEA_ACTIONS", "ACT"),
}
SET = (
    *(f"ASTRO_TOKEN_POLICY_{name}" for name in POLICY),
    *("ASTRO_TOKEN_REF", "ASTRO_TOKEN_TIMEOUT", "ASTRO_TOKEN_NAME", "ASTRO_TOKEN_FIELD", "ASTRO_API_TOKEN"),
    *("ASTRO_TOKEN_AGE_KEY", "ASTRO_TOKEN_AGE_RECIPIENTS_FILE", "ASTRO_TOKEN_API_URL"),
    *("ASTRO_TOKEN_CLI_RELEASES_URL", "GITHUB_ENV", "GITHUB_WORKSPACE", "BASH_ENV"),
    *("ASTRO_TOKEN_ADMIN_REF", "ASTRO_TOKEN_COMMANDS", "ASTRO_TOKEN_COMMANDS_KEEP"),
    *("CIRCLE_WORKING_DIRECTORY", "GITLAB_ENV", "CI_PROJECT_DIR", "AGENT_TEMPDIRECTORY"),
    *("BUILD_SOURCESDIRECTORY", "BUILDKITE_JOB_ID", "GCE_METADATA_HOST", "BUILDKITE_BUILD_CHECKOUT_PATH"),
)
VARIABLES = tuple(dict.fromkeys((*SET, *(name for names in READ.values() for name in names))))
OF_JOB_FILES = (
    *("BASH_ENV", "GITHUB_ENV", "GITLAB_ENV", "GITHUB_STEP_SUMMARY", "AGENT_TEMPDIRECTORY"),
    *("CI_PROJECT_DIR", "CIRCLE_WORKING_DIRECTORY", "GITHUB_WORKSPACE", "RUNNER_TEMP"),
)
# Names of fields and files, which are no secrets.
SHOWN = (*OF_JOB_FILES, "ASTRO_TOKEN_FIELD", "ASTRO_TOKEN_NAME", "ASTRO_TOKEN_AGE_RECIPIENTS_FILE")
# For every program a home with a line end is the name of another folder.
EXACT = ("HOME",)
# The value is the token (65), no program is found (127), or the file of a CI system to write to (73).
FURTHER_CODES = {
    "ASTRO_API_TOKEN": {65},
    "PATH": {127},
    **{name: {73} for name in OF_JOB_FILES},
}
# A name of a field, a host or a policy's wish.
ELSEWHERE = ("ASTRO_TOKEN_FIELD", "ASTRO_TOKEN_NAME", "GCE_METADATA_HOST")
# One of each kind: the rest of the sweep is long.
ORDINARY = ("ASTRO_TOKEN_REF", "ASTRO_TOKEN_AGE_KEY_FILE", "ASTRO_TOKEN_API_URL")


@dataclass
class Scenario:
    argv: list[str]
    environ: dict[str, str]
    stdin: str = field(default="", repr=False)
    stdout: bool = False


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@pytest.fixture
def scenarios(
    astro_api: AstroApi, certificates: Certificates, issuer: Issuer, tmp_path: Path
) -> Iterator[dict[str, Scenario]]:
    work, home, temporary = (tmp_path / name for name in ("work", "home", "tmp"))
    for folder in (work, home, temporary):
        folder.mkdir(exist_ok=True)
    astro_api.rates.clear()  # each run counts for itself
    token = astro_api.issue()
    base = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), "LC_ALL": "C.UTF-8"}
    given = {**base, "T": token}
    identity = pyrage.x25519.Identity.generate()
    (work / "x.age").write_bytes(pyrage.encrypt(token.encode(), [identity.to_public()]))
    (work / "recipients").write_text(str(identity.to_public()))
    for path in (work / "key", home / ".config" / "astro-token" / "age-key.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{identity}\n")
    for path in work.iterdir():
        path.chmod(0o600)
    project = _project(tmp_path)
    programs = ci_programs.install(tmp_path / "programs")
    for name, line in (("astro", 'echo "Astro CLI Version: 1.46.0"'), ("docker", "exit 0")):
        ci_programs.write(programs, name, f"#!/bin/sh\n{line}\n")
    ci_programs.write(tmp_path / "providers", "it", '#!/bin/sh\necho "${T?}" || exit 77\n')
    deploying = {**given, "PATH": f"{programs}:{base['PATH']}"}
    policy = {f"ASTRO_TOKEN_POLICY_{name}": value for name, value in POLICY.items() if value}
    with Releases(certificates.server.context()) as releases, CiIdentity(issuer) as jobs:
        releases.publish("1.45.0")
        ca = str(certificates.ca_file)
        install = {**base, "ASTRO_TOKEN_CLI_RELEASES_URL": releases.url, "ASTRO_TOKEN_CA_BUNDLE": ca}
        yield {
            "check": Scenario(["check", "env:T"], given),
            "a reference": Scenario(
                ["check"], {**given, "ASTRO_TOKEN_REF": "env:T", "ASTRO_TOKEN_TIMEOUT": "5"}
            ),
            "the parts of a reference": Scenario(
                ["check"],
                {
                    **base,
                    "J": json.dumps({"token": token}),
                    "ASTRO_TOKEN_BACKEND": "env",
                    "ASTRO_TOKEN_NAME": "J",
                    "ASTRO_TOKEN_FIELD": "token",
                },
            ),
            "a token": Scenario(["check"], {**base, "ASTRO_API_TOKEN": token}),
            "policy": Scenario(["check", "env:T"], {**given, **policy}),
            "an encrypted file": Scenario(
                ["check", "file:x.age"], {**base, "ASTRO_TOKEN_AGE_KEY": str(identity)}
            ),
            "an encrypted file with a key's file": Scenario(
                ["check", "file:x.age"], {**base, "ASTRO_TOKEN_AGE_KEY_FILE": str(work / "key")}
            ),
            "an encrypted file with the user's key": Scenario(["check", "file:x.age"], base),
            "put": Scenario(
                ["put", "file:new.age"],
                {
                    **base,
                    "ASTRO_TOKEN_AGE_KEY_FILE": str(work / "key"),
                    "ASTRO_TOKEN_AGE_RECIPIENTS_FILE": str(work / "recipients"),
                },
                stdin=token,
            ),
            "a command": Scenario(
                ["check", "command:it/n"],
                {
                    **given,
                    "ASTRO_TOKEN_COMMANDS": str(tmp_path / "providers" / "it"),
                    "ASTRO_TOKEN_COMMANDS_KEEP": "T",
                },
            ),
            "a command with further variables": Scenario(
                ["check", "command:it/n"],
                {
                    **given,
                    "ASTRO_TOKEN_COMMANDS": str(tmp_path / "providers" / "it"),
                    "ASTRO_TOKEN_COMMANDS_KEEP": "T,PATH,HTTPS_PROXY,XDG_CONFIG_HOME",
                },
            ),
            "a chain": Scenario(["check"], {**given, "ASTRO_TOKEN_REF": "env:NOT_SET,command:it/n,env:T"}),
            "online": Scenario(
                ["check", "--online", "env:T"], {**given, "ASTRO_TOKEN_API_URL": astro_api.url}
            ),
            "audit": Scenario(
                ["audit", "--format", "csv"],
                {
                    **base,
                    "ADMIN": astro_api.issue(ws=None, grant=Grant(reads_tokens=True)),
                    "ASTRO_TOKEN_ADMIN_REF": "env:ADMIN",
                    "ASTRO_TOKEN_API_URL": astro_api.url,
                },
            ),
            "exec": Scenario(["exec", "env:T", "--", "true"], given),
            "export": Scenario(["export", "--format", "json", "env:T"], given),
            "doctor": Scenario(
                ["doctor", "env:T"], {**given, "ASTRO_TOKEN_API_URL": astro_api.url}, stdout=True
            ),
            "deploy": Scenario(["check", "--deploy", "--path", str(project), "env:T"], deploying),
            "install-cli": Scenario(["install-cli", "--to", str(tmp_path / "bin")], install),
            "an export in GitHub Actions": Scenario(
                ["export", "env:T"],
                {
                    **given,
                    "GITHUB_ACTIONS": "true",
                    "GITHUB_ENV": str(_empty(temporary / "github" / "env")),
                    "GITHUB_STEP_SUMMARY": str(_empty(temporary / "github" / "summary")),
                    "GITHUB_WORKSPACE": str(work),
                    "RUNNER_TEMP": str(temporary),
                },
            ),
            "a summary in GitHub Actions": Scenario(
                ["check", "env:T"],
                {
                    **given,
                    "GITHUB_ACTIONS": "true",
                    "GITHUB_STEP_SUMMARY": str(_empty(temporary / "github" / "summary")),
                    "GITHUB_WORKSPACE": str(work),
                    "RUNNER_TEMP": str(temporary),
                },
            ),
            "a summary in Azure Pipelines": Scenario(
                ["check", "env:T"],
                {
                    **given,
                    "TF_BUILD": "True",
                    "AGENT_TEMPDIRECTORY": str(temporary),
                    "BUILD_SOURCESDIRECTORY": str(work),
                },
            ),
            "a summary in Buildkite": Scenario(
                ["check", "env:T"],
                {
                    **given,
                    **jobs.environment("buildkite", programs),
                    "BUILDKITE_BUILD_CHECKOUT_PATH": str(work),
                },
            ),
            "an export in CircleCI": Scenario(
                ["export", "env:T"],
                {
                    **given,
                    "CIRCLECI": "true",
                    "BASH_ENV": str(_empty(temporary / "bash_env")),
                    "CIRCLE_WORKING_DIRECTORY": str(work),
                },
            ),
            "an export in GitLab": Scenario(
                ["export", "--format", "gitlab-env", "env:T"],
                {
                    **given,
                    "GITLAB_CI": "true",
                    "GITLAB_ENV": str(_empty(temporary / "gitlab_env")),
                    "CI_PROJECT_DIR": str(work),
                },
            ),
            **{
                f"the identity of {system}": Scenario(
                    ["identity"], {**base, **jobs.environment(system, programs)}
                )
                for system in ("github", "google", "buildkite", "circleci")
            },
            "the identity of a variable": Scenario(
                ["identity"],
                {**base, "ASTRO_TOKEN_ID_TOKEN": issuer.mint({"aud": "https://vault.example"})},
            ),
        }


def _empty(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    path.chmod(0o600)
    return path


def _project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / ".astro").mkdir(parents=True)
    (folder / "dags").mkdir()
    (folder / ".astro" / "config.yaml").write_text("project:\n    name: demo\n")
    (folder / "Dockerfile").write_text("FROM astrocrpublic.azurecr.io/runtime:3.1-1\n")
    (folder / "dags" / "etl.py").write_text("# a DAG\n")
    git = shutil.which("git") or "git"
    who = ("-c", "user.name=A", "-c", "user.email=a@localhost")
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "Begin"]):
        subprocess.run([git, *who, *arguments], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    "variable",
    [pytest.param(name, marks=() if name in ORDINARY else pytest.mark.long) for name in VARIABLES],
)
def test_a_wrong_value_names_its_variable(
    scenarios: dict[str, Scenario], forks: Forks, variable: str, tmp_path: Path
) -> None:
    wrong = []
    tried = 0
    for name, scenario in scenarios.items():
        if variable not in scenario.environ and variable not in READ.get(name, ()):
            continue
        tried += 1

        def call(environ: Mapping[str, str], scenario: Scenario = scenario) -> tuple[int, str, str]:
            (tmp_path / "work" / "new.age").unlink(missing_ok=True)
            shutil.rmtree(tmp_path / "bin", ignore_errors=True)
            code, stdout, stderr = forks.run(scenario.argv, environ, tmp_path / "work", scenario.stdin)
            # A version is made from random bytes; after a success a report holds times.
            stderr = re.sub(r"version [0-9a-f]{16}", "version", stderr)
            return code, stderr, stdout if scenario.stdout and code else ""

        wrong += wrong_results(
            call,
            {name: scenario.environ},
            variable,
            tmp_path,
            everywhere={name},
            elsewhere=ELSEWHERE,
            codes=FURTHER_CODES.get(variable, ()),
            shown=SHOWN,
            exact=EXACT,
        )
    assert tried
    assert not wrong, json.dumps(wrong, indent=1)


def test_every_policy_variable_is_tried() -> None:
    assert {rule.variable for rule in RULES.values()} == {f"ASTRO_TOKEN_POLICY_{name}" for name in POLICY}
