"""
`astro deploy …` on a command line, read as the Astro CLI reads it, and which findings its flags make moot.

Only a command that is the Astro CLI itself is read. What a shell, make or a wrapper runs is not guessed at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Deploy", "deploy_of"]

# Flags by their letters, for those that have one; the others of the Astro CLI's are switches too.
_LETTERS = {
    "d": "dags",
    "e": "env",
    "f": "force",
    "h": "help",
    "i": "image-name",
    "n": "deployment-name",
    "p": "prompt",
    "s": "save",
    "t": "test",
    "w": "wait",
}
_WITH_VALUE = frozenset({
    "build-secret", "build-secrets", "dag-bundle-name", "dags-path", "deployment-name", "description", "env",
    "image-name", "non-dags-bundle-type", "non-dags-local-path", "non-dags-mount-path", "test", "verbosity",
    "wait-time", "workspace-id",
})  # fmt: skip
_OFF = frozenset({"0", "f", "F", "false", "False", "FALSE"})


class Deploy(NamedTuple):
    """
    Attributes:
        deployment: the identifier that it names. A name, by `-n`, does not count:
            the project's own configuration goes before it.
        dags: the folder of the DAGs where it names another one.
        moot: findings that are none with these flags.
        workspace: by `--workspace-id`.
    """

    deployment: str | None
    dags: str | None
    moot: frozenset[str]
    workspace: str | None = None


def deploy_of(arguments: Sequence[str]) -> Deploy | None:
    """What these arguments of the Astro CLI deploy; None where they are for another command, or for help."""
    words: list[str] = []
    flags: dict[str, str] = {}
    for name, text in _parsed(arguments):
        if name:
            flags[name] = text
        else:
            words.append(text)
    given = {name for name, text in flags.items() if text and (name in _WITH_VALUE or text not in _OFF)}
    # A bundle that is no DAGs comes from outside of any project.
    if words[:1] != ["deploy"] or given & {"help", "non-dags"}:
        return None
    return Deploy(
        next(iter(words[1:]), None),
        flags.get("dags-path") or None,
        frozenset(_moot(given)),
        flags.get("workspace-id") or None,
    )


def _moot(given: set[str]) -> Iterator[str]:
    if "force" in given:  # not no-dags: what is deployed is then removed without a question
        yield from ("uncommitted", "git-unknown")
    if "image-name" in given or ("dags" in given and not given & {"parse", "pytest"}):  # no image is built
        yield from ("no-dockerfile", "requirements-clash")
    if "image" in given:
        yield from ("no-dags", "dags-ignored")
    if "workspace-id" in given:
        yield "no-workspace"


def _parsed(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flags with their values, and arguments without a name, in their order."""
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
    """`-fd`, `-nNAME`, `-n=NAME`, `-n NAME`."""
    while word:
        name, word = _LETTERS.get(word[0], word[0]), word[1:]
        if name in _WITH_VALUE:
            yield name, word.removeprefix("=") or next(rest, "")
            return
        if word.startswith("="):
            yield name, word[1:]
            return
        yield name, "true"
