"""Tests that masks hide a value in every form that it has in a log."""

from __future__ import annotations

import base64
import json
import random
import re
from string import whitespace
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from astro_token.ci.formats import masks
from tests.formats.agents import AzureAgent
from tests.formats.runner import Runner
from tests.formats.texts import PIECES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORTEST = 8
WORDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# Of base64 the first and last characters depend on what stands beside the value, and tell little of it.
EDGE = 4


def shown_forms(value: str) -> Iterator[tuple[str, str]]:
    """What would be in a log, by the name of what made it so; that which is long enough to be looked for."""
    lines = [line.strip(whitespace) for line in re.split(r"[\r\n]", value)]
    yield from (("a line", line) for line in lines)
    if len(value.split(".")) == 3 and len(lines) == 1:
        yield from (("a part", part) for part in value.split(".")[1:])
    yield "in an address", quote(value, safe="")
    yield "in a path", quote(value)
    yield "in JSON", json.dumps(value)[1:-1]
    yield "in JSON of any characters", json.dumps(value, ensure_ascii=False)[1:-1]
    yield "hexadecimal", value.encode().hex()
    yield "hexadecimal in capitals", value.encode().hex().upper()
    if " " not in value:
        yield "in a query", quote_plus(value)


def missed(value: str, masked: Callable[[str], str], chance: random.Random) -> list[str]:
    """The forms that a log still shows."""
    if not value.strip():  # nobody could see it
        return []
    found = [
        name
        for name, form in shown_forms(value)
        if len(form) >= SHORTEST and "*" not in form and form in masked(f"x {form} y")
    ]
    if value == value.strip() and value and len(value.splitlines()) == 1 and "*" not in value:
        found += ["itself"] if value in masked(f"Bearer {value}") else []
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            data = chance.randbytes(before) + value.encode() + chance.randbytes(chance.randrange(3))
            left = masked(encode(data).decode()).replace("***", "\n")
            if len(value.encode()) > SHORTEST and any(
                len(part.strip("=")) > EDGE for part in left.split("\n")
            ):
                found.append(f"{encode.__name__} after {before}")
    return found


def secrets(count: int, seed: str) -> Iterator[str]:
    """Texts of which all can be masked."""
    chance = random.Random(seed)  # noqa: S311
    for number in range(count):
        kind = number % 4
        if kind == 0:  # as a token
            yield ".".join("".join(chance.choices(WORDS, k=chance.randrange(4, 40))) for _ in range(3))
        elif kind == 1:  # lines
            yield "\n".join("".join(chance.choices(WORDS, k=chance.randrange(0, 30))) for _ in range(3))
        elif kind == 2:
            yield "".join(chance.choices(PIECES, k=chance.randrange(1, 8)))
        else:
            yield chance.randbytes(chance.randrange(1, 30)).decode("latin-1")


# -- the logs ----------------------------------------------------------------------------------------------


def github(value: str) -> Callable[[str], str]:
    runner = Runner()
    runner.output(masks("github", (value,)).text)
    assert [""] == runner.log
    return runner.masked


def azure_pipelines(value: str) -> Callable[[str], str]:
    agent = AzureAgent()
    agent.output(masks("azure-pipelines", (value,)).text)
    assert agent.log in ([], [""])
    return agent.masked


def plain(value: str) -> Callable[[str], str]:
    """One that hides what it is told and nothing else: Buildkite's redactor, act, Gitea and Forgejo."""
    told = sorted(json.loads(masks("buildkite", (value,)).text).values(), key=len, reverse=True)

    def masked(text: str) -> str:
        for form in told:
            if form in text:
                text = text.replace(form, "***")
        return text

    return masked


LOGS: dict[str, Callable[[str], Callable[[str], str]]] = {
    "github": github,
    "azure-pipelines": azure_pipelines,
    "buildkite": plain,
}


def misses(name: str, count: int, seed: str) -> list[tuple[str, str]]:
    chance = random.Random(seed)  # noqa: S311
    return [
        (form, value) for value in secrets(count, seed) for form in missed(value, LOGS[name](value), chance)
    ]


def misses_of_plain(count: int, seed: str) -> list[tuple[str, str]]:
    return misses("buildkite", count, seed)[:9]
