"""Detection of CI systems from environment variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci import all_systems, ci_system, ci_systems, in_ci
from tests.rows import each_row

if TYPE_CHECKING:
    from pathlib import Path

GITHUB = {"GITHUB_ACTIONS": "true", "CI": "true"}
SHOWN: dict[str, tuple[dict[str, str], str, str | None]] = {
    "GitHub Actions": (GITHUB, "github", "github"),
    "Gitea Actions": ({**GITHUB, "GITEA_ACTIONS": "true"}, "github", "github"),
    "Forgejo Actions": ({**GITHUB, "GITEA_ACTIONS": "true", "FORGEJO_ACTIONS": "true"}, "github", "github"),
    "act": ({**GITHUB, "ACT": "true"}, "github", "github"),
    "GitLab CI": ({"GITLAB_CI": "true", "CI": "true"}, "gitlab", None),
    "CircleCI": ({"CIRCLECI": "true", "CI": "true"}, "circleci", None),
    "Azure Pipelines": ({"TF_BUILD": "True"}, "azure-pipelines", "azure-pipelines"),
    "Buildkite": ({"BUILDKITE": "true", "CI": "true"}, "buildkite", "buildkite"),
    "TeamCity": ({"TEAMCITY_VERSION": "2026.1"}, "posix", None),
    "Harness CI": ({"HARNESS_BUILD_ID": "7", "DRONE": "true", "CI": "true"}, "posix", None),
    "Drone": ({"DRONE": "true", "CI": "true"}, "posix", None),
    "Woodpecker": ({"CI": "woodpecker"}, "posix", None),
    "Bitbucket Pipelines": ({"BITBUCKET_BUILD_NUMBER": "1", "CI": "true"}, "bitbucket", None),
    "AWS CodeBuild": ({"CODEBUILD_BUILD_ARN": "arn:aws:codebuild:x"}, "codebuild", None),
    "Google Cloud Build": ({"BUILDER_OUTPUT": "/builder/outputs"}, "posix", None),
    "Travis CI": ({"TRAVIS": "true", "CI": "true"}, "posix", None),
    "Jenkins": ({"JENKINS_URL": "http://jenkins/", "BUILD_ID": "1"}, "posix", None),
}


@each_row("name", SHOWN)
def test_each_system_is_known_by_what_it_sets(name: str) -> None:
    environ, form, log = SHOWN[name]
    system = ci_system(environ)
    assert system
    assert (name, form, log) == (system.name, system.format, system.key if system.masks else None)
    assert [system] == ci_systems(environ)
    assert in_ci(environ)


def test_every_system_is_tried() -> None:
    assert {system.name for system in all_systems() if system.marks} == set(SHOWN)
    assert "Woodpecker" == getattr(ci_system({"CI": "true", "CI_SYSTEM_NAME": "woodpecker"}), "name", None)


@each_row(
    "environ",
    [
        {},
        {"GITHUB_ACTIONS": "false"},
        {"GITHUB_ACTIONS": ""},
        {"GITLAB_CI": "1"},
        {"ACT": "true"},
        {"GITEA_ACTIONS": "true"},
        {"BUILD_ID": "1"},
        {"JENKINS_URL": "http://jenkins/"},
        {"TEAMCITY_VERSION": ""},
        {"CI": "true"},
    ],
)
def test_half_of_what_a_system_sets_shows_none(environ: dict[str, str]) -> None:
    assert (None, []) == (ci_system(environ), ci_systems(environ))
    assert (environ == {"CI": "true"}) == in_ci(environ)


@each_row("ci", ["false", "False", "0", "no", ""])
def test_ci_false_is_a_word_against_unknown_systems_only(ci: str) -> None:
    """Builds set it to quieten a tool; the runner is there all the same, and its log is kept."""
    assert not in_ci({"CI": ci})
    assert in_ci({"CI": ci, "GITHUB_ACTIONS": "true"})


def test_of_nested_systems_the_one_comes_first_whose_place_is_there(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("")
    jenkins = SHOWN["Jenkins"][0]
    there = {**GITHUB, **jenkins, "GITHUB_ENV": str(file)}
    assert ["GitHub Actions", "Jenkins"] == [system.name for system in ci_systems(there)]
    gone = {**there, "GITHUB_ENV": str(tmp_path / "gone")}
    assert ["Jenkins", "GitHub Actions"] == [system.name for system in ci_systems(gone)]
    both = {**gone, "BUILDKITE": "true", "BUILDKITE_AGENT_JOB_API_SOCKET": str(file)}
    assert ["Buildkite", "Jenkins", "GitHub Actions"] == [system.name for system in ci_systems(both)]


def test_nobody_shows_itself_by_a_file_alone() -> None:
    assert [] == ci_systems({"GITHUB_ENV": __file__, "BASH_ENV": __file__})
