"""Read back many generated texts, on all cores."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

from astro_token.ci.formats import render
from astro_token.errors import OutputError
from tests.formats import files, windows
from tests.formats.agents import AzureAgent, TeamCityAgent
from tests.formats.consumers import NAME, ours, variables
from tests.formats.runner import RefusedFileError, Runner
from tests.formats.texts import texts, unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CHUNK = 50_000


# -- the consumer of each format: what it reads, or None for anything but our variable ------------


def _runner(text: str) -> str | None:
    runner = Runner()
    try:
        runner.end_step(text.encode())
    except RefusedFileError:
        return None
    return _only(runner.environment)


def _azure(text: str) -> str | None:
    agent = AzureAgent()
    agent.output(text)
    as_is = AzureAgent(decode_percents=False)
    as_is.output(text)
    alike = agent.variables == as_is.variables and not agent.log
    return agent.value(NAME) if alike and _only(agent.variables) is not None else None


def _teamcity(text: str) -> str | None:
    agent = TeamCityAgent()
    agent.output(text)
    return agent.value(f"env.{NAME}") if list(agent.parameters) == [f"env.{NAME}"] else None


def _dotenv(text: str) -> str | None:
    read = [_only(parser(text)) for parser in (files.python_dotenv, files.compose, files.shell_like)]
    return read[0] if len(set(read)) == 1 else None


def _json(text: str) -> str | None:
    return _only(json.loads(text)) if text.count("\n") == 1 and text.isascii() else None


def _only(found: dict[str, str]) -> str | None:
    return found[NAME] if list(found) == [NAME] else None


def _by(parser: Callable[[str], dict[str, str]]) -> Callable[[str], str | None]:
    def read(text: str) -> str | None:
        try:
            return _only(parser(text))
        except ValueError:
            return None

    return read


READERS: dict[str, Callable[[str], str | None]] = {
    "json": _json,
    "nushell": _json,
    "value": lambda text: text.encode().decode(),
    "github": _runner,
    "github-output": _runner,
    "azure-pipelines": _azure,
    "teamcity": _teamcity,
    "buildkite": lambda text: _json(text) if len(text) < 65_536 else None,
    "gitlab-env": _by(files.gitlab),
    "docker": _by(files.docker),
    "systemd": _by(files.systemd),
    "dotenv": _dotenv,
    "powershell": _by(windows.powershell),
    "cmd": _by(windows.cmd),
}
# What is no line of printable ASCII is refused by these, and what has one of these texts in it.
LINES: dict[str, tuple[str, ...]] = {
    "azure-pipelines": ("%", "$("),
    "teamcity": ("%",),
    "gitlab-env": (),
    "docker": (),
    "dotenv": ("'", "\\", "$", "`"),
    "powershell": (),
    "cmd": tuple("\"%!^&|<>()'`,;*? "),
}


def may_refuse(name: str, text: str) -> bool:
    """What a format is allowed to refuse, so that refusing all is no way to pass."""
    if name in LINES:
        fits = text.isascii() and text.isprintable() and text == text.strip() and text
        return not fits or any(part in text for part in LINES[name])
    noncharacter = name == "systemd" and files.NONCHARACTER.search(text) is not None
    return unfit(text) or ("\r" in text and name.startswith("github")) or noncharacter


def faults(name: str, given: Iterable[str]) -> list[str]:
    """The texts that are not read back, and those that are refused or not against `may_refuse`."""
    read, found = READERS[name], []
    for text in given:
        try:
            rendered = render(name, variables(text)).text
        except OutputError:
            if not may_refuse(name, text):
                found.append(text)
            continue
        if may_refuse(name, text) or read(rendered) != text:
            found.append(text)
    return found


def faults_of_all(count: int, seed: str) -> list[tuple[str, str]]:
    given = list(texts(count, seed))
    return [(name, text) for name in READERS for text in faults(name, given)][:9]


def swept(check: Callable[[int, str], list[tuple[str, str]]], count: int) -> list[tuple[str, str]]:
    """What a check finds in so many texts."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        chunks = [
            pool.submit(check, min(CHUNK, count - start), f"long {start}") for start in range(0, count, CHUNK)
        ]
        return [fault for chunk in chunks for fault in chunk.result()]


def renderings(name: str, given: Iterable[str]) -> tuple[list[str], list[str]]:
    """The texts that a format carries, and what it makes of them."""
    carried, rendered = [], []
    for text in given:
        try:
            rendered.append(ours(name)(variables(text)).text)
        except OutputError:
            continue
        carried.append(text)
    return carried, rendered
