"""
The Astro CLI's own library as the judge of our reader of pyproject.toml: go-toml, in a small Go program.

    python -m pytest -m long tests/environment/test_manifest_judge.py

A file whose table the library reads must have the same table for us, or count as not understood: then
nothing is started there. Without Go these tests cannot run.
"""

from __future__ import annotations

import json
import random
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.environment.manifest import MANIFEST, read_manifest
from tests.environment.judges import SEED, built
from tests.environment.manifest_spellings import combined, mutated, ordinary

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

pytestmark = pytest.mark.long


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("./manifest", tmp_path_factory.mktemp("judge"))


def plain(value: Any) -> Any:
    """
    As the judge: what is neither a text, a truth value, a list nor a table is only that.

    Python's library reads a line end of Windows within a text as \\n: no name or address has one.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return value.replace("\r\n", "\n")
    return value if isinstance(value, bool) else {"": "not a text"}


class Comparison:
    """
    Attributes:
        read: files with a table for both, and the same one.
        refused: files with a table for the library, that we do not understand.
        stricter: files without one for the library, or that it refuses, in which we read one.
        wrong: files in which the library reads a table that we do not read, or another one.
    """

    def __init__(self, program: Path, folder: Path, files: Collection[bytes]) -> None:
        self.read = self.refused = self.stricter = 0
        self.wrong: list[bytes] = []
        folders = [folder / str(number) for number in range(len(files))]
        for each, data in zip(folders, files, strict=True):
            each.mkdir(parents=True)
            (each / MANIFEST).write_bytes(data)
        done = subprocess.run(
            [program],
            input="".join(f"{each / MANIFEST}\n" for each in folders),
            capture_output=True,
            text=True,
            check=True,
        )
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        for each, data, verdict in zip(folders, files, verdicts, strict=True):
            self._compare(each, data, verdict)

    def _compare(self, folder: Path, data: bytes, verdict: dict[str, Any]) -> None:
        manifest = read_manifest(folder)
        if not verdict["present"]:
            self.stricter += manifest is not None and manifest.understood
        elif manifest is None:
            self.wrong.append(data)
        elif not manifest.understood:
            self.refused += 1
        elif plain(tomllib.loads(data.decode("utf-8-sig"))["tool"]["astro"]) == plain(verdict["table"]):
            self.read += 1
        else:
            self.wrong.append(data)


def compare(program: Path, folder: Path, files: Collection[bytes]) -> Comparison:
    result = Comparison(program, folder, files)
    print(f"{len(files)}: {result.read} alike, {result.refused} not understood, {result.stricter} only ours")
    assert [] == result.wrong
    return result


def test_every_spelling_is_read_alike_or_not_understood(program: Path, tmp_path: Path) -> None:
    result = compare(program, tmp_path, list(dict.fromkeys(ordinary())))
    assert result.read > 2_000
    assert result.refused > 500


def test_combinations_are_read_alike_or_not_understood(program: Path, tmp_path: Path) -> None:
    choose = random.Random(SEED)  # noqa: S311
    result = compare(program, tmp_path, [combined(choose) for _ in range(20_000)])
    assert result.read > 2_000


def test_mutations_are_read_alike_or_not_understood(program: Path, tmp_path: Path) -> None:
    choose = random.Random(SEED)  # noqa: S311
    origins = [*ordinary()]
    result = compare(program, tmp_path, [mutated(choose.choice(origins), choose) for _ in range(20_000)])
    assert result.read > 500
