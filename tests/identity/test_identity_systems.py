"""Real environments, also nested ones: no CI system is taken for another, and no machine for a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.ci.identity import ci_identity, identity_hint
from astro_token.errors import ConfigError
from tests.identity.cases import claims, failure
from tests.servers import ci_programs
from tests.servers.ci_identity import CiIdentity
from tests.servers.jwks import Issuer, ec_key

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = "http://127.0.0.1:1"

# Variables of a job in each system that could mislead detection; "…" becomes a value that works.
GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_OS": "Linux", "AGENT_TOOLSDIRECTORY": "/opt"}
GITHUB_ABLE = GITHUB | {"ACTIONS_ID_TOKEN_REQUEST_URL": "…", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "…"}
GITEA = GITHUB | {"GITEA_ACTIONS": "true", "ACTIONS_RUNTIME_TOKEN": "runtime", "ACTIONS_RUNTIME_URL": NOTHING}
FORGEJO = GITEA | {"FORGEJO_ACTIONS": "true"}
ACT = GITHUB | {"ACT": "true"}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_JOB_TOKEN": "job",
    "CI_JOB_JWT_V2": "old",
    "CI_SERVER": "yes",
}
CIRCLECI = {"CI": "true", "CIRCLECI": "true", "CIRCLE_OIDC_TOKEN": "v1", "BASH_ENV": "/tmp/bash_env"}
CIRCLECI_ABLE = CIRCLECI | {
    "CIRCLE_OIDC_TOKEN_V2": "…",
    "TEST_CIRCLECI_ADDRESS": "…",
    "TEST_CIRCLECI_SECRET": "…",
}
BUILDKITE = {"CI": "true", "BUILDKITE": "true", "BUILDKITE_JOB_ID": "…", "BUILDKITE_AGENT_ENDPOINT": "…"}
BUILDKITE_ABLE = BUILDKITE | {"BUILDKITE_AGENT_ACCESS_TOKEN": "…"}
BITBUCKET = {"CI": "true", "BITBUCKET_BUILD_NUMBER": "7"}
BITBUCKET_ABLE = BITBUCKET | {"BITBUCKET_STEP_OIDC_TOKEN": "…"}
AZURE = {"TF_BUILD": "True", "SYSTEM_OIDCREQUESTURI": "…", "BUILD_BUILDID": "7", "AGENT_ID": "1"}
AZURE_ABLE = AZURE | {"SYSTEM_ACCESSTOKEN": "…"}
JENKINS = {"CI": "true", "JENKINS_URL": "https://jenkins.example/", "BUILD_ID": "7"}
CODEBUILD = {
    "CODEBUILD_BUILD_ARN": "arn:aws:codebuild:eu-west-1:123456789012:build/x",
    "CODEBUILD_CI": "true",
}
CLOUD_BUILD = {"BUILDER_OUTPUT": "/builder/outputs", "GCE_METADATA_HOST": "…"}
OTHERS = {
    "TeamCity": {"TEAMCITY_VERSION": "2026.1"},
    "Travis": {"CI": "true", "TRAVIS": "true"},
    "Drone": {"CI": "true", "DRONE": "true"},
    "Harness": {"CI": "true", "HARNESS_BUILD_ID": "7", "DRONE": "true"},
    "Woodpecker": {"CI": "woodpecker"},
    "a laptop": {"CI": "false"},
}
# Machines that jobs run on.
GCE = {"GCE_METADATA_HOST": "…", "GOOGLE_CLOUD_PROJECT": "p1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_PORT": "tcp://10.0.0.1:443"}
EKS = POD | {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}
AKS = POD | {"AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token"}
SET = {"ASTRO_TOKEN_ID_TOKEN": "…"}
ID_TOKENS = {"VAULT_ID_TOKEN": "…", "AWS_ID_TOKEN": "…", "CI_JOB_JWT": "…"}

ENVIRONMENTS: dict[str, tuple[dict[str, str], str | None]] = {
    "GitHub": (GITHUB_ABLE, "github"),
    "GitHub without the permission": (GITHUB, None),
    "GitHub with empty variables": (
        GITHUB | {"ACTIONS_ID_TOKEN_REQUEST_URL": "", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""},
        None,
    ),
    "GitHub with half of it": (GITHUB | {"ACTIONS_ID_TOKEN_REQUEST_URL": "…"}, None),
    "GitHub, and it says it is no CI": (GITHUB_ABLE | {"CI": "false"}, "github"),
    "a container in GitHub": (
        dict.fromkeys(("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"), "…"),
        "github",
    ),
    "Gitea": (GITEA, None),
    "Gitea with identity tokens": (GITEA | GITHUB_ABLE, "github"),
    "Forgejo": (FORGEJO, None),
    "Forgejo with identity tokens": (FORGEJO | GITHUB_ABLE, "github"),
    "act": (ACT, None),
    "GitLab": (GITLAB, None),
    "GitLab with id_tokens": (GITLAB | ID_TOKENS, None),
    "GitLab with ours": (GITLAB | ID_TOKENS | SET, "given"),
    "CircleCI": (CIRCLECI_ABLE, "circleci"),
    "a container in CircleCI": (CIRCLECI, None),
    "Buildkite": (BUILDKITE_ABLE, "buildkite"),
    "a container in Buildkite": (BUILDKITE, None),
    "Bitbucket": (BITBUCKET_ABLE, "bitbucket"),
    "Bitbucket without oidc": (BITBUCKET, None),
    "Azure Pipelines": (AZURE_ABLE, "azure-pipelines"),
    "Azure Pipelines without its token": (AZURE, None),
    "Azure Pipelines with a macro left": (AZURE | {"SYSTEM_ACCESSTOKEN": "$(System.AccessToken)"}, None),
    "Jenkins": (JENKINS, None),
    "Jenkins with a bound token": (JENKINS | SET, "given"),
    "CodeBuild": (CODEBUILD, None),
    "Cloud Build": (CLOUD_BUILD, "google"),
    "Compute Engine": (GCE, None),
    "EKS": (EKS, None),
    "AKS": (AKS, None),
    **{name: (environ, None) for name, environ in OTHERS.items()},
    # On machines that have an identity of their own.
    "GitHub on Compute Engine": (GITHUB_ABLE | GCE, "github"),
    "GitHub without the permission on Compute Engine": (GITHUB | GCE, None),
    "GitHub without the permission in Cloud Build": (GITHUB | CLOUD_BUILD, None),
    "GitHub in EKS": (GITHUB_ABLE | EKS, "github"),
    "GitLab on GKE": (GITLAB | ID_TOKENS | POD | GCE, None),
    "GitLab in Cloud Build": (GITLAB | CLOUD_BUILD, None),
    "Jenkins on GKE": (JENKINS | POD | GCE, None),
    "Jenkins in Cloud Build": (JENKINS | CLOUD_BUILD, None),
    "Buildkite on Compute Engine": (BUILDKITE_ABLE | GCE, "buildkite"),
    "a container in Buildkite on Compute Engine": (BUILDKITE | CLOUD_BUILD, None),
    "Azure Pipelines in AKS": (AZURE_ABLE | AKS, "azure-pipelines"),
    "Azure Pipelines without its token in Cloud Build": (AZURE | CLOUD_BUILD, None),
    "CircleCI in EKS": (CIRCLECI_ABLE | EKS | GCE, "circleci"),
    "Bitbucket without oidc on Compute Engine": (BITBUCKET | CLOUD_BUILD, None),
    # One inside another.
    "GitHub's runner in CodeBuild": (CODEBUILD | GITHUB_ABLE, "github"),
    "GitHub's runner in GitLab": (GITLAB | ID_TOKENS | GITHUB_ABLE, "github"),
    "GitHub's runner in Jenkins": (JENKINS | GITHUB_ABLE, "github"),
    "GitHub's runner in Azure Pipelines": (AZURE | GITHUB_ABLE, "github"),
    "act in Buildkite": (BUILDKITE_ABLE | ACT, "buildkite"),
    "act in GitHub": (GITHUB_ABLE | ACT, "github"),
    "Buildkite's agent in GitHub without the permission": (GITHUB | BUILDKITE_ABLE, "buildkite"),
    "GitLab's runner in Azure Pipelines": (AZURE_ABLE | GITLAB, "azure-pipelines"),
    "all at once, and ours": (
        GITHUB_ABLE
        | GITLAB
        | CIRCLECI_ABLE
        | BUILDKITE_ABLE
        | BITBUCKET_ABLE
        | AZURE_ABLE
        | CLOUD_BUILD
        | SET,
        "given",
    ),
}
SUBJECTS = {
    "repo:": "github",
    "org/": "circleci",
    "organization:": "buildkite",
    "sc://": "azure-pipelines",
    "p://": "azure-pipelines",
    "1076": "google",
    "bitbucket": "bitbucket",
    "given": "given",
}


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return every variable that leads to a token, of all systems."""
    with Issuer(ec_key()) as issuer, CiIdentity(issuer) as server:
        programs = ci_programs.install(tmp_path_factory.mktemp("programs"))
        found: dict[str, str] = {}
        for system in ("github", "azure-pipelines", "google", "circleci", "buildkite"):
            found |= server.environment(system, programs)
        found["BITBUCKET_STEP_OIDC_TOKEN"] = server.mint("bitbucket", "b")
        found["ASTRO_TOKEN_ID_TOKEN"] = server.mint("given", "g")
        for name in ID_TOKENS:
            found[name] = server.mint("of another name", "g")
        yield found


def filled(environ: dict[str, str], works: dict[str, str]) -> dict[str, str]:
    return {"PATH": works["PATH"]} | {
        name: works[name] if value == "…" else value for name, value in environ.items()
    }


@pytest.mark.parametrize(("environ", "expected"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_identity_is_the_jobs(
    environ: dict[str, str], expected: str | None, works: dict[str, str]
) -> None:
    # Only the metadata server insists on an audience.
    audience = "a" if expected == "google" else None
    token = ci_identity(audience, environ=filled(environ, works), timeout=5)
    subject = str(claims(token)["sub"]) if token else ""
    found = [system for start, system in SUBJECTS.items() if subject.startswith(start)]
    assert found == ([expected] if expected else [])


@pytest.mark.parametrize(("environ", "expected"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_a_hint_is_given_only_where_there_is_no_identity(
    environ: dict[str, str], expected: str | None, works: dict[str, str]
) -> None:
    hint = identity_hint(filled(environ, works))
    if expected:
        assert hint is None
    if hint is not None:
        assert "\n" not in hint
        assert not hint.endswith(".")
        assert [value for value in works.values() if value in hint and len(value) > 9] == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (GITHUB, ("GitHub Actions: ", "permissions: id-token: write", "forks")),
        (
            GITHUB | {"ACTIONS_ID_TOKEN_REQUEST_URL": "…"},
            ("GitHub Actions: ", "permissions: id-token: write"),
        ),
        (FORGEJO, ("Forgejo Actions: ", "enable-openid-connect: true")),
        (GITEA, ("Gitea Actions: ", "id-token: write")),
        (ACT, ("act: ", "ASTRO_TOKEN_ID_TOKEN")),
        (GITLAB, ("GitLab CI: ", "id_tokens: ASTRO_TOKEN_ID_TOKEN")),
        (GITLAB | ID_TOKENS, ("GitLab CI: ", "id_tokens: ASTRO_TOKEN_ID_TOKEN", "$AWS_ID_TOKEN")),
        (CIRCLECI, ("CircleCI: ", "CIRCLE_OIDC_TOKEN_V2")),
        (BUILDKITE, ("Buildkite: ", "mount-buildkite-agent")),
        (BITBUCKET, ("Bitbucket Pipelines: ", "oidc: true")),
        (AZURE, ("Azure Pipelines: ", "SYSTEM_ACCESSTOKEN: $(System.AccessToken)")),
        (JENKINS, ("Jenkins: ", "ASTRO_TOKEN_ID_TOKEN")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_hint_is_the_systems_own(
    environ: dict[str, str], words: tuple[str, ...], works: dict[str, str]
) -> None:
    hint = identity_hint(filled(environ, works)) or ""
    assert [word for word in words if word not in hint] == []


def test_an_empty_variable_is_no_hint() -> None:
    assert identity_hint(GITLAB | {"ASTRO_TOKEN_ID_TOKEN": ""}) == identity_hint(GITLAB)


def test_the_hint_is_for_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity_hint() is None
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert str(identity_hint()).startswith("GitHub Actions: ")


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        (GITHUB_ABLE | BUILDKITE_ABLE, "GitHub Actions and Buildkite"),
        (GITHUB_ABLE | AZURE_ABLE | GITLAB, "GitHub Actions and Azure Pipelines"),
        (CIRCLECI_ABLE | BITBUCKET_ABLE | CLOUD_BUILD, "CircleCI and Bitbucket Pipelines"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_two_jobs_none_is_guessed(environ: dict[str, str], names: str, works: dict[str, str]) -> None:
    error = failure(filled(environ, works), audience=None)
    assert (type(error), names in error.message) == (ConfigError, True)
    assert "ASTRO_TOKEN_ID_TOKEN" in str(error.hint)


def test_a_job_inside_another_ones_is_warned_of(
    works: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    ci_identity(None, environ=filled(ACT | CIRCLECI_ABLE, works), timeout=5)
    ci_identity(None, environ=filled(CIRCLECI_ABLE | GCE, works), timeout=5)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "of several CI systems in the environment, CircleCI has an identity"
    ]


def test_an_identity_that_fails_gives_way_to_no_other(works: dict[str, str]) -> None:
    environ = filled(GITHUB_ABLE | CLOUD_BUILD | CODEBUILD | EKS, works)
    environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "wrong"
    assert failure(environ, audience="a").exit_code == 77
    environ = filled(SET | GITHUB_ABLE, works)
    assert failure(environ, audience="not its own").exit_code == 77
    environ = filled(GITHUB_ABLE, works) | {"ASTRO_TOKEN_KUBERNETES_TOKEN_FILE": "/nowhere"}
    assert failure(environ, audience="a").exit_code == 78
