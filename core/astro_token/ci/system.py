"""Which CI system this process runs in, by the variables that it sets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SYSTEMS", "System", "ci_system", "ci_systems", "in_ci"]


@dataclass(frozen=True, slots=True)
class System:
    """
    Attributes:
        name: for people.
        key: for programs; those that refine a system share its key.
        marks: variables that it sets, all of them, and what to; "" stands for anything.
        format: what `export --format auto` hands over with.
        log: whose way of hiding a value its log has, or None.
        place: a variable that leads to a file or socket of the system, which shows that it is there.
        terminal: its jobs have one, as a rule; elsewhere a terminal is a person's.
    """

    name: str
    key: str
    marks: Mapping[str, str]
    format: str = "posix"
    log: str | None = None
    place: str | None = None
    terminal: bool = False

    def shown_by(self, environ: Mapping[str, str]) -> bool:
        return all(
            environ.get(name, "").lower() == value if value else environ.get(name)
            for name, value in self.marks.items()
        )


def _github(name: str, mark: str | None = None) -> System:
    marks = {"GITHUB_ACTIONS": "true", **({mark: "true"} if mark else {})}
    return System(name, "github", marks, "github", "github", "GITHUB_ENV")


# In this order: what refines a system stands before it.
SYSTEMS = (
    _github("Forgejo Actions", "FORGEJO_ACTIONS"),
    _github("Gitea Actions", "GITEA_ACTIONS"),
    _github("act", "ACT"),
    _github("GitHub Actions"),
    System("GitLab CI", "gitlab", {"GITLAB_CI": "true"}, "gitlab"),
    System("CircleCI", "circleci", {"CIRCLECI": "true"}, "circleci", terminal=True),
    System("Azure Pipelines", "azure-pipelines", {"TF_BUILD": "true"}, "azure-pipelines", "azure-pipelines"),
    System(
        "Buildkite",
        "buildkite",
        {"BUILDKITE": "true"},
        "buildkite",
        "buildkite",
        "BUILDKITE_AGENT_JOB_API_SOCKET",
        terminal=True,
    ),
    # Its own hand-over is safe only after a setting that we cannot see: it is there to be asked for.
    System("TeamCity", "teamcity", {"TEAMCITY_VERSION": ""}),
    System("Harness CI", "drone", {"HARNESS_BUILD_ID": ""}),
    System("Woodpecker", "drone", {"CI": "woodpecker"}),
    System("Woodpecker", "drone", {"CI_SYSTEM_NAME": "woodpecker"}),
    System("Drone", "drone", {"DRONE": "true"}),
    System("Bitbucket Pipelines", "bitbucket", {"BITBUCKET_BUILD_NUMBER": ""}, "bitbucket"),
    System("AWS CodeBuild", "codebuild", {"CODEBUILD_BUILD_ARN": ""}, "codebuild"),
    System("Google Cloud Build", "cloudbuild", {"BUILDER_OUTPUT": ""}),
    System("Travis CI", "travis", {"TRAVIS": "true"}, terminal=True),
    System("Jenkins", "jenkins", {"JENKINS_URL": "", "BUILD_ID": ""}),
)


def ci_systems(environ: Mapping[str, str]) -> list[System]:
    """The systems that the environment shows, the likeliest first: more than one where they are nested."""
    found: dict[str, System] = {}
    for system in SYSTEMS:
        if system.shown_by(environ):
            found.setdefault(system.key, system)
    # A job's variables reach what it starts, another system's job too; its files and sockets hardly do.
    return sorted(found.values(), key=lambda system: not _usable(system, environ))


def ci_system(environ: Mapping[str, str]) -> System | None:
    """The system to hand over to, or None. `CI=false` is no word against a system that is there."""
    return next(iter(ci_systems(environ)), None)


def in_ci(environ: Mapping[str, str]) -> bool:
    """True in any CI system: nearly all set CI, and `CI=false` is how a person says no."""
    return bool(ci_system(environ)) or environ.get("CI", "").lower() not in {"", "0", "false", "no"}


def _usable(system: System, environ: Mapping[str, str]) -> bool:
    return system.place is None or os.path.exists(environ.get(system.place, ""))  # noqa: PTH110 (loads less)
