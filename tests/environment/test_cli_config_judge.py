"""
The Astro CLI's own library as the judge of our reader: viper, as the CLI uses it, in a small Go program.

    python -m pytest -m long tests/environment/test_cli_config_judge.py

A file that redirects the CLI by its library must be refused, whatever our reader makes of it. Building the
judge takes a minute the first time, so these tests are among the long ones. Without Go they cannot run.
"""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from astro_token.environment.cli_config import problems_of, read
from tests.environment.cli_config_spellings import combined, harmless, mutated, redirecting
from tests.environment.judges import SEED, built

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.long

HOME = {"HOME": "/nonexistent"}
# The keys that decide where the token is sent, with the values that are the CLI's own.
OWN_VALUES: dict[str, Collection[str]] = {
    "cloud.api.protocol": ["https"],
    "cloud.api.port": ["443"],
    "cloud.api.ws_protocol": ["wss"],
    "cloud.api.token": [""],
    "context": [""],
    "local.core": ["http://localhost:8888", "http://localhost:8888/v1", "http://localhost:8888/v1alpha1"],
    "local.houston": [""],
    "local.platform": ["cloud"],
    "local.registry": ["localhost:5555"],
}


class Judge:
    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder, self.number = program, folder, 0

    def __call__(self, files: Iterable[bytes]) -> Iterator[tuple[Path, dict[str, str]]]:
        """Write each file into a project of its own; yield its path, and the values by the library."""
        paths = []
        for data in files:
            self.number += 1
            path = self.folder / str(self.number) / ".astro" / "config.yaml"
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
            paths.append(path)
        yield from zip(paths, self.values([path.parent.parent for path in paths]), strict=True)

    def values(self, folders: Sequence[Path]) -> list[dict[str, str]]:
        done = subprocess.run(
            [self.program, *OWN_VALUES],
            input="".join(f"{folder}\n" for folder in folders),
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line)["values"] for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(".", tmp_path_factory.mktemp("judge"))


@pytest.fixture
def judge(program: Path, tmp_path: Path) -> Judge:
    return Judge(program, tmp_path / "projects")


def redirects(values: dict[str, str]) -> bool:
    return any(name in values and values[name] not in own for name, own in OWN_VALUES.items())


def accepted(path: Path) -> bool:
    return not problems_of(path, HOME)[1]


def test_the_listed_spellings_redirect_and_are_refused(judge: Judge) -> None:
    judged = list(judge(dict.fromkeys(redirecting())))
    assert 200 <= sum(values.get("cloud.api.protocol", "https") != "https" for _, values in judged)
    assert [] == [path.read_bytes() for path, _ in judged if accepted(path)]


def test_the_harmless_files_redirect_nothing_and_are_accepted(judge: Judge) -> None:
    judged = list(judge(dict.fromkeys(harmless())))
    assert 100 <= len(judged)
    assert [] == [path.read_bytes() for path, values in judged if redirects(values) or not accepted(path)]


def test_no_combination_of_forms_redirects_and_is_accepted(judge: Judge) -> None:
    choose = random.Random(SEED)  # noqa: S311
    judged = list(judge(combined(choose) for _ in range(20_000)))
    redirected = [path for path, values in judged if redirects(values)]
    print(f"{len(redirected)} of {len(judged)} redirect, 0 may be accepted")
    assert 5_000 <= len(redirected)
    assert [] == [path.read_bytes() for path in redirected if accepted(path)]


def test_no_mutation_redirects_and_is_accepted(judge: Judge) -> None:
    choose = random.Random(SEED)  # noqa: S311
    origins = [*harmless()] * 10 + [*redirecting()]
    judged = list(judge(mutated(choose.choice(origins), choose) for _ in range(20_000)))
    started = [(path, values) for path, values in judged if accepted(path)]
    print(f"{len(started)} of {len(judged)} are accepted, 0 may redirect")
    assert 2_000 <= len(started)
    assert [] == [path.read_bytes() for path, values in started if redirects(values)]
    unread = [
        (path.read_bytes(), values)
        for path, values in started
        if (config := read(path)) is None or not values.keys() <= config.values.keys()
    ]
    assert [] == unread


def test_no_other_file_of_the_folder_is_read(judge: Judge) -> None:
    """viper knows further names, formats and variables. The Astro CLI names the one file that it reads."""
    (folder := judge.folder / "other" / ".astro").mkdir(parents=True)
    tree = {"cloud": {"api": {"protocol": "http://127.0.0.1:9/x?"}}}
    for name in ("config.json", "config.yml", "config", "CONFIG.YAML", "config.yaml.bak", ".config.yaml"):
        (folder / name).write_text(json.dumps(tree))
    for name in ("config.toml", "config.ini"):
        (folder / name).write_text('[cloud.api]\nprotocol = "http"\n')
    for name in ("config.env", ".env", "config.properties", "config.props"):
        (folder / name).write_text("cloud.api.protocol=http\nCLOUD_API_PROTOCOL=http\n")
    (folder / "config.hcl").write_text('cloud { api { protocol = "http" } }\n')
    assert [{}] == judge.values([folder.parent])
    assert accepted(folder / "config.yaml")
