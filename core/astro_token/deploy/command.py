"""
Parse an `astro deploy …` command line as the Astro CLI does, and list the findings that its flags suppress.
The only table of its flags, for each major version.

Only a command that is the Astro CLI itself is parsed, not the commands that a shell, make or a wrapper runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.policy.codes import MAJORS
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Deploy", "deploy_of", "workspace_flag"]


class Flag(Record):
    """
    A flag of `astro deploy`, or one of all commands.

    Attributes:
        majors: the major versions of the Astro CLI in which it has an effect.
    """

    name: str
    letter: str = ""
    has_value: bool = False
    majors: tuple[int, ...] = MAJORS


_V1, _V2 = (1,), (2,)
# No name or letter has two meanings, so one parser serves both versions.
# Each version refuses the flags of the other, but 2.0 ignores --force and --prompt.
# Flags that are not here are switches.
_FLAGS = (
    Flag("build-secret", has_value=True),
    Flag("build-secrets", has_value=True),
    Flag("dag-bundle-name", has_value=True, majors=_V1),
    Flag("dags", "d"),
    Flag("dags-path", has_value=True, majors=_V1),
    Flag("deployment", has_value=True, majors=_V2),
    Flag("deployment-name", "n", has_value=True, majors=_V1),
    Flag("description", has_value=True),
    Flag("env", "e", has_value=True, majors=_V1),
    Flag("force", "f", majors=_V1),
    Flag("help", "h"),
    Flag("image"),
    Flag("image-name", "i", has_value=True),
    Flag("non-dags"),
    Flag("non-dags-bundle-type", has_value=True),
    Flag("non-dags-local-path", has_value=True),
    Flag("non-dags-mount-path", has_value=True),
    Flag("output", "o", has_value=True, majors=_V2),
    Flag("parse", majors=_V1),
    Flag("prompt", "p", majors=_V1),
    Flag("pytest", majors=_V1),
    Flag("save", "s", majors=_V1),
    Flag("test", "t", has_value=True, majors=_V1),
    Flag("verbosity", has_value=True),
    Flag("wait", "w"),
    Flag("wait-time", has_value=True),
    Flag("workspace", has_value=True, majors=_V2),
    Flag("workspace-id", has_value=True),
)
_LETTERS = {flag.letter: flag.name for flag in _FLAGS if flag.letter}
_WITH_VALUE = frozenset(flag.name for flag in _FLAGS if flag.has_value)
_IGNORED = frozenset({"force", "prompt"})
_REPLACEMENTS = {
    "dag-bundle-name": "2.0 deploys to the default bundle",
    "dags-path": "deploy from the project's folder",
    "deployment": "give the deployment as the argument, by its identifier",
    "deployment-name": "name the deployment with --deployment",
    "env": "run uv run pytest before the deploy",
    "output": "leave it out",
    "parse": "run astro local check before the deploy",
    "pytest": "run uv run pytest before the deploy",
    "save": "name the deployment in each command",
    "test": "run uv run pytest before the deploy",
    "workspace": "name the workspace with --workspace-id",
}
_OFF = frozenset({"0", "f", "F", "false", "False", "FALSE"})


class Deploy(Record):
    """
    Attributes:
        deployment: the one that it names: an identifier, or with Astro CLI 2.0 the name of a link.
            A name that is given with `-n` does not count: the project's own configuration takes precedence.
        dags: the folder of the DAGs, if it is named.
        workspace: the value of `--workspace` or `--workspace-id`.
        flags: names of the given ones, except switches that are off.
        other_deployment, other_workspace: a second one that differs.
        json: the output is JSON, with which Astro CLI 2.0 never asks.
    """

    deployment: str | None = None
    dags: str | None = None
    workspace: str | None = None
    flags: frozenset[str] = frozenset()
    other_deployment: str | None = None
    other_workspace: str | None = None
    json: bool = False

    @property
    def is_outside(self) -> bool:
        """True if it deploys a folder outside of any project."""
        return "non-dags" in self.flags

    def suppressed(self, major: int) -> frozenset[str]:
        """List the codes of findings that do not apply with these flags and this version of the Astro CLI."""
        return frozenset(_suppressed({f.name for f in _FLAGS if f.name in self.flags and major in f.majors}))

    def refusals(self, major: int) -> Iterator[tuple[str, str]]:
        """Yield the reasons for which this version of the Astro CLI refuses it, each with a remedy."""
        version = "1.x" if major == 1 else "2.0"
        for flag in _FLAGS:
            if flag.name in self.flags and major not in flag.majors and flag.name not in _IGNORED:
                yield f"Astro CLI {version} has no --{flag.name}", _REPLACEMENTS[flag.name]
        if major == 1:
            return
        if self.other_deployment:
            yield "it names two deployments", "name one, as the argument or with --deployment"
        if self.other_workspace:
            yield "it names two workspaces", "leave --workspace-id out"
        for other in ("image", "image-name"):
            if {"dags", other} <= self.flags:
                yield f"--dags and --{other} exclude each other", "leave one of them out"
        if "wait-time" in self.flags and "wait" not in self.flags:
            yield "it has --wait-time without --wait", "add --wait"


def deploy_of(arguments: Sequence[str]) -> Deploy | None:
    """Parse the arguments of the Astro CLI; return None for another command, and for help."""
    words: list[str] = []
    flags: dict[str, str] = {}
    for name, text in _parsed(arguments):
        if name:
            flags[name] = text
        else:
            words.append(text)
    given = {name for name, text in flags.items() if text and (name in _WITH_VALUE or text not in _OFF)}
    if words[:1] != ["deploy"] or "help" in given:
        return None
    deployments = [name for name in (*words[1:2], flags.get("deployment")) if name]
    workspaces = [name for name in (flags.get("workspace"), flags.get("workspace-id")) if name]
    return Deploy(
        next(iter(deployments), None),
        flags.get("dags-path") or None,
        next(iter(workspaces), None),
        frozenset(given),
        next((name for name in deployments[1:] if name != deployments[0]), None),
        next((name for name in workspaces[1:] if name != workspaces[0]), None),
        flags.get("output") == "json",
    )


def workspace_flag(major: int) -> str:
    """Name the flag for messages: 2.0 hides the one of 1.x."""
    return "--workspace-id" if major == 1 else "--workspace"


def _suppressed(given: set[str]) -> Iterator[str]:
    if "force" in given:  # not no-dags: the deployed DAGs are then removed without a question
        yield from ("uncommitted", "git-unknown")
    if "image-name" in given or ("dags" in given and not given & {"parse", "pytest"}):  # no image is built
        yield from ("no-dockerfile", "requirements-clash")
    if "image" in given:
        yield from ("no-dags", "dags-ignored")
    if given & {"workspace", "workspace-id"}:
        yield "no-workspace"


def _parsed(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield flags with their values, and arguments with an empty name, in their order."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from (("", argument) for argument in rest)
        elif word.startswith("--"):
            name, equals, text = word[2:].partition("=")
            yield name, text if equals else next(rest, "") if name in _WITH_VALUE else "true"
        elif word.startswith("-") and word != "-":
            yield from _letters(word[1:], rest)
        else:
            yield "", word


def _letters(word: str, rest: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Parse `-fd`, `-nNAME`, `-n=NAME` and `-n NAME`."""
    while word:
        name, word = _LETTERS.get(word[0], word[0]), word[1:]
        if name in _WITH_VALUE:
            yield name, word.removeprefix("=") or next(rest, "")
            return
        if word.startswith("="):
            yield name, word[1:]
            return
        yield name, "true"
