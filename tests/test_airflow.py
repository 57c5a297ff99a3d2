"""The Airflow example: its parts with a stand-in, and whole runs with the real Airflow in the long tests."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.testing import appearances
from tests.cli.token_life import FileStore, TokenLife
from tests.conftest import PROGRAM, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi

EXAMPLE = ROOT / "examples" / "airflow" / "astro_token_rotation.py"
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
DAY = 86400.0


class Retry(Exception):  # noqa: N818 (a stand-in)
    pass


class Fail(Exception):  # noqa: N818
    pass


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The example with a stand-in for Airflow: tasks are functions, and the flow itself is not built."""
    variables = {"astro_token_program": str(PROGRAM), "astro_token_folder": str(tmp_path / "work")}

    class Variable:
        @staticmethod
        def get(name: str, default: str) -> str:
            return variables.get(name, default)

    sdk, exceptions = ModuleType("airflow.sdk"), ModuleType("airflow.sdk.exceptions")
    vars(sdk).update(Variable=Variable, dag=lambda **_: lambda _: lambda: None, task=lambda each: each)
    vars(exceptions).update(AirflowException=Retry, AirflowFailException=Fail)
    for module in (ModuleType("airflow"), sdk, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("astro_token_rotation", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("code", "kind"), [(75, Retry), (80, Retry), (81, Fail), (65, Fail), (78, Fail)])
def test_an_exit_code_decides_whether_airflow_tries_again(
    example: Any, code: int, kind: type[Exception]
) -> None:
    example.check(0, "rotate")
    with pytest.raises(kind, match=f"exit code {code}"):
        example.check(code, "rotate")


def test_what_is_due_is_listed_once_and_the_first_to_expire_first(example: Any) -> None:
    def token(name: str, ref: str, outcome: str, expires: str | None) -> dict[str, str | None]:
        return {"name": name, "ref": ref, "outcome": outcome, "expires": expires}

    tokens = [
        token("late", "env:A", "planned", "2026-03-01T00:00:00Z"),
        token("idle", "env:B", "idle", "2026-01-01T00:00:00Z"),
        token("soon", "env:C", "planned", "2026-02-01T00:00:00Z"),
        token("same", "env:C", "planned", "2026-02-01T00:00:00Z"),
        token("broken", "env:D", "failed", None),
        token("admin", "env:E", "skipped", None),
    ]
    assert ["soon", "late", "broken"] == example.due({"tokens": tokens})
    example.MOST = 1
    assert ["soon"] == example.due({"tokens": tokens})


def test_the_program_runs_in_the_folder_of_the_project(example: Any, program: Program) -> None:
    code, output = example.astro_token("rotate", "--all", "--dry-run", "--format", "json")
    assert (78, "") == (code, output)
    (program.work / "astro-token.toml").write_text('[tokens.prod]\nref = "env:NONE"\n')
    (program.work / "astro-token.toml").chmod(0o600)
    code, output = example.astro_token("rotate", "--all", "--dry-run", "--format", "json")
    assert (78, ["prod"]) == (code, example.due(json.loads(output)))  # variables cannot be written


# -- Airflow itself ----------------------------------------------------------------------------------------


class Airflow:
    """An Airflow with a home and a database of its own."""

    def __init__(self, life: TokenLife, folder: Path) -> None:
        self.life, self.folder = life, folder
        self.environ = life.program.environment(
            {
                "AIRFLOW_HOME": str(folder),
                "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLE.parent),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
                "AIRFLOW_VAR_ASTRO_TOKEN_PROGRAM": str(PROGRAM),
                "AIRFLOW_VAR_ASTRO_TOKEN_FOLDER": str(life.program.work),
                "PATH": f"{AIRFLOW.parent}{os.pathsep}{os.environ['PATH']}",
            }
        )
        assert self("db", "migrate")[0] == 0

    def __call__(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [AIRFLOW, *arguments],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    def leaks(self) -> list[str]:
        """The files of Airflow that contain a value of a token."""
        self.life.learn_values()
        return [
            str(path)
            for path in self.folder.rglob("*")
            if path.is_file()
            for value in self.life.program.canaries
            if appearances(value, path.read_bytes().decode("latin-1"))
        ]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_run_rotates_what_is_due_and_reports(astro_api: AstroApi, program: Program, tmp_path: Path) -> None:
    life = TokenLife(program, astro_api, FileStore(program, tmp_path / "store"))
    names = {"a": 2 * DAY, "b": 3 * DAY, "c": 4 * DAY, "later": 60 * DAY}
    first = {name: life.issue(name, expires_in=seconds) for name, seconds in names.items()}
    tables = [f'[tokens.{name}]\nref = "{life.store.ref(name)}"\n' for name in names]
    tables.append(f'[tokens.same]\nref = "{life.store.ref("a")}"\n')
    project = program.work / "astro-token.toml"
    project.write_text("\n".join(tables))
    project.chmod(0o600)
    (tmp_path / "airflow").mkdir()
    airflow = Airflow(life, tmp_path / "airflow")
    assert "No data found" in airflow("dags", "list-import-errors")[1]
    code, output = airflow("dags", "test", "astro_token_rotation")
    current = {name: life.current(name) for name in names}
    assert {"a", "b", "c"} == {name for name in names if current[name] != first[name]}
    assert all(life.works(value) for value in (*first.values(), *current.values()))
    assert 3 == created(astro_api)
    assert (0, True, True) == (
        code,
        "3 tokens were due or open, and none failed" in output,
        "a: rotated, expires 20" in output,
    )
    # Nothing is rotated twice. A token that is missing fails the run, and the audit takes place anyway.
    store_ref = life.store.ref("none")
    project.write_text(project.read_text() + f'[tokens.none]\nref = "{store_ref}"\n')
    airflow.environ["AIRFLOW_VAR_ASTRO_TOKEN_AUDIT_STRICT"] = "true"
    code, again = airflow("dags", "test", "astro_token_rotation")
    assert (3, current) == (created(astro_api), {name: life.current(name) for name in names})
    assert 1 == code
    for line in ("astro-token rotate none: exit code 66", "a: waiting", "astro-token audit: exit code 65"):
        assert line in again
    assert "and none failed" not in again
    assert [] == airflow.leaks()
    assert [] == [form for value in program.canaries for form in appearances(value, output + again)]
    assert list(airflow.folder.glob("airflow.db"))


def created(api: AstroApi) -> int:
    return sum(line.startswith("POST") for line in api.lines())
