"""
Parse an `astro deploy …` command line as the Astro CLI does, and list the findings that its flags suppress.

Only a command that is the Astro CLI itself is parsed, not the commands that a shell, make or a wrapper runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Deploy", "deploy_of"]

# Flags with a letter. Flags that are neither here nor below are switches.
_LETTERS = {
    "d": "dags", "e": "env", "f": "force", "h": "help", "i": "image-name", "n": "deployment-name",
    "p": "prompt", "s": "save", "t": "test", "w": "wait",
}  # fmt: skip
_WITH_VALUE = frozenset({
    "build-secret", "build-secrets", "dag-bundle-name", "dags-path", "deployment-name", "description", "env",
    "image-name", "non-dags-bundle-type", "non-dags-local-path", "non-dags-mount-path", "test", "verbosity",
    "wait-time", "workspace-id",
})  # fmt: skip
_OFF = frozenset({"0", "f", "F", "false", "False", "FALSE"})


class Deploy(Record):
    """
    Attributes:
        deployment: the identifier that it names. A name, given with `-n`, does not count:
            the project's own configuration takes precedence over it.
        dags: the folder of the DAGs, if it is named.
        suppressed: codes of findings that do not apply with these flags.
        workspace: the value of `--workspace-id`.
    """

    deployment: str | None
    dags: str | None
    suppressed: frozenset[str]
    workspace: str | None = None


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
    # A bundle without DAGs comes from outside of any project.
    if words[:1] != ["deploy"] or given & {"help", "non-dags"}:
        return None
    return Deploy(
        next(iter(words[1:]), None),
        flags.get("dags-path") or None,
        frozenset(_suppressed(given)),
        flags.get("workspace-id") or None,
    )


def _suppressed(given: set[str]) -> Iterator[str]:
    if "force" in given:  # not no-dags: the deployed DAGs are then removed without a question
        yield from ("uncommitted", "git-unknown")
    if "image-name" in given or ("dags" in given and not given & {"parse", "pytest"}):  # no image is built
        yield from ("no-dockerfile", "requirements-clash")
    if "image" in given:
        yield from ("no-dags", "dags-ignored")
    if "workspace-id" in given:
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
