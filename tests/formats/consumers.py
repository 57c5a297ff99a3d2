"""Consumers of renderings: shells and other programs, if they are installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import render
from astro_token.errors import OutputError
from astro_token.formats.rendering import Rendering, Variables
from tests.formats.runner import RefusedFileError, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Renderer = Callable[[Variables], Rendering]

NAME = "ASTRO_API_TOKEN"
# The tests' own environment is emptied later.
IN_CI = bool(os.environ.get("CI"))
PATH = os.environ.get("PATH", os.defpath)
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile"],
    "dash": ["dash"],
    "zsh": ["zsh", "-f"],
    "busybox": ["busybox", "sh"],
    "ksh": ["ksh"],
    "mksh": ["mksh"],
}


def there(*programs: str, needed: bool = True) -> list[str]:
    """
    Those that are installed; in CI all, so that a missing one fails.

    Args:
        needed: False for what CI need not have either.
    """
    return [name for name in programs if (IN_CI and needed) or shutil.which(name, path=PATH)]


shells = pytest.mark.parametrize("shell", there(*SHELLS))


def shells_in_ways(shift: int) -> pytest.MarkDecorator:
    """
    Each shell that is installed in each way of `WAYS`. The ordinary run has one way for each shell.

    Args:
        shift: chooses other ways, so that the tests together have all shells in all ways.
    """
    names, ways = there(*SHELLS), list(WAYS)
    ordinary = {(name, ways[(at + shift) % len(ways)]) for at, name in enumerate(names)}
    pairs = [(name, way) for name in names for way in ways]
    return pytest.mark.parametrize(
        ("shell", "way"),
        [pair if pair in ordinary else pytest.param(*pair, marks=pytest.mark.long) for pair in pairs],
    )


# What every format finds in its environment.
ENVIRON = {
    "GITHUB_ENV": "/runner/env",
    "GITHUB_OUTPUT": "/runner/output",
    "GITLAB_ENV": "/runner/gitlab",
    "BASH_ENV": "/runner/bash",
    NAME: "declared",
}


def variables(text: str) -> Variables:
    return Variables({NAME: text}, environ=ENVIRON)


def ours(name: str) -> Renderer:
    return lambda given: render(name, given)


def misread(
    renderer: Renderer, read: Callable[[list[str]], list[str | None]], given: Iterable[str]
) -> list[str]:
    """The texts that a consumer does not read back as they were; what is refused is not rendered."""
    asked, rendered = [], []
    for text in given:
        try:
            rendered.append(renderer(variables(text)).text)
        except OutputError:
            continue
        asked.append(text)
    return [text for text, got in zip(asked, read(rendered), strict=True) if got != text]


def refused(renderer: Renderer, given: Iterable[str]) -> list[str]:
    found = []
    for text in given:
        try:
            renderer(variables(text))
        except OutputError:
            found.append(text)
    return found


# -- shells ----------------------------------------------------------------------------------------------

WAYS = {
    # As the documentation says: the assignment first, so that a failure is not lost.
    "eval": 'out="$(cat "$1/$2")" && eval "$out"; {shown}',
    "script": '. "$1/$2"; {shown}',
    "strict": 'out="$(cat "$1/$2")"; eval "$out"; {shown}',
}
SHOWN = f'printf "%s\\0" "${NAME}"'


def shell_reader(shell: str, way: str, locale: str = "C.UTF-8") -> Callable[[list[str]], list[str | None]]:
    """Gives all renderings to one process of a shell, each in a subshell of its own."""

    def read(rendered: list[str]) -> list[str | None]:
        with tempfile.TemporaryDirectory() as folder:
            for number, text in enumerate(rendered):
                Path(folder, str(number)).write_bytes(text.encode())
            body = WAYS[way].format(shown=SHOWN)
            head = "set -eu\n" if way == "strict" else ""
            lines = [f"( set -- {folder} {number}; {body} )" for number in range(len(rendered))]
            script = Path(folder, "script")
            script.write_text(head + "\n".join(lines) + "\n")
            done = subprocess.run(
                [*SHELLS[shell], str(script)],
                env={"PATH": PATH, "LC_ALL": locale, "HOME": folder},
                capture_output=True,
                cwd=folder,
                stdin=subprocess.DEVNULL,
            )
        values: list[str | None] = [
            value.decode("utf-8", "replace") for value in done.stdout.split(b"\0")[:-1]
        ]
        return (values + [None] * len(rendered))[: len(rendered)]

    return read


# -- JSON ------------------------------------------------------------------------------------------------


def read_json(rendered: list[str]) -> list[str | None]:
    return [json.loads(text)[NAME] for text in rendered]


IN_A_PIPE = f"""
import json, sys
out = open(1, "wb")
for line in sys.stdin:
    out.write(json.loads(line)["{NAME}"].encode("utf-8", "surrogatepass") + b"\\0\\0")
"""


def read_json_in_a_pipe(rendered: list[str]) -> list[str | None]:
    """One line of JSON for each, read by another Python in the plainest of locales."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PIPE],
        input="".join(rendered).encode(),
        env={"PATH": PATH, "LC_ALL": "C"},
        capture_output=True,
        check=True,
    )
    return [value.decode("utf-8", "surrogatepass") for value in done.stdout.split(b"\0\0")[:-1]]


# -- the bare value --------------------------------------------------------------------------------------


def read_bytes(rendered: list[str]) -> list[str | None]:
    """As a program reads a file."""
    return [text.encode().decode() for text in rendered]


# -- GitHub's runner -------------------------------------------------------------------------------------


def runner_reader(*, windows: bool = False, before: bytes = b"") -> Callable[[list[str]], list[str | None]]:
    """
    Args:
        before: what earlier commands of the same step wrote into the file.
    """

    def read(rendered: list[str]) -> list[str | None]:
        values: list[str | None] = []
        for text in rendered:
            runner = Runner(windows=windows)
            try:
                runner.end_step(before + text.encode())
            except RefusedFileError:
                values.append(None)
                continue
            # Any other variable is as bad as a wrong value.
            only = set(runner.environment) == {NAME, *(["BEFORE"] if before else [])}
            values.append(runner.environment[NAME] if only else None)
        return values

    return read


# -- any program that a variable reaches -----------------------------------------------------------------

# Run by a shell that is asked to read a rendering: writes what a child of the shell is given.
TELL = f'import os; os.write(1, os.environb.get(b"{NAME}", b"unset") + b"\\0")'


def told(command: list[str], script: str, rendered: list[str], name: str = "script") -> list[str | None]:
    """
    Gives all renderings to one process of a shell, which starts a child after each.

    Args:
        script: a line of it, with {file} and {tell} in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tell.py").write_text(TELL)
        tell = f"{sys.executable} -IS {folder}/tell.py"
        lines = []
        for number, text in enumerate(rendered):
            Path(folder, str(number)).write_bytes(text.encode())
            lines.append(script.format(file=f"{folder}/{number}", tell=tell))
        Path(folder, name).write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            [*command, f"{folder}/{name}"],
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": folder},
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
    values: list[str | None] = [value.decode("utf-8", "replace") for value in done.stdout.split(b"\0")[:-1]]
    return (values + [None] * len(rendered))[: len(rendered)]
