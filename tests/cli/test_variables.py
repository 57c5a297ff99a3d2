"""The variables of this project, and the warning about misspelt ones."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from astro_token.settings.variables import misspelt_variables, own_variables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.conftest import Program

    Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ASTRO_TOKEN_REFF", "ASTRO_TOKEN_REF"),
        ("ASTRO_TOKEN_RE", "ASTRO_TOKEN_REF"),
        ("ASTRO_TOKEN_RFE", "ASTRO_TOKEN_REF"),
        ("ASTRO_TOKEN_VAULT_ROLL", "ASTRO_TOKEN_VAULT_ROLE"),
        ("ASTRO_TOKEN_VALT_AUTHS", "ASTRO_TOKEN_VAULT_AUTH"),
        ("ASTRO_TOKEN_POLICY_MINVALIDTY", "ASTRO_TOKEN_POLICY_MIN_VALIDITY"),
        ("ASTRO_TOKEN_ID_TOKENS", "ASTRO_TOKEN_ID_TOKEN"),
    ],
)
def test_a_name_within_two_letters_of_ours_is_misspelt(name: str, meant: str) -> None:
    assert {name: meant} == misspelt_variables({name: "x"})
    assert {} == misspelt_variables({name: ""})
    for text in (f"env:{name}", f"env://{name}#token", name):
        assert {} == misspelt_variables({name: "x"}, [text])
    assert {} == misspelt_variables({name: "x", "ASTRO_TOKEN_REF": f"env:{name}"})


@pytest.mark.parametrize("name", ["ASTRO_TOKEN_REFERENCE", "ASTRO_TOKEN_PROD", "ASTRO_TOKEN_", "ASTRO_REFF"])
def test_other_names_are_not(name: str) -> None:
    assert {} == misspelt_variables({name: "x"})


def test_no_variable_of_ours_is() -> None:
    assert {} == misspelt_variables(dict.fromkeys(own_variables(), "x"))


def test_a_name_that_could_be_a_value_is_not_shown() -> None:
    assert {} == misspelt_variables({"ASTRO_TOKEN_RE\n": "x", "ASTRO_TOKEN_\udcffEF": "x"})


@pytest.mark.parametrize(
    "line",
    [
        "check env:X",
        "exec env:X -- true",
        "export env:X",
        "put env:X",
        "backends",
        "install-cli --timeout 1 --to x/",
    ],
)
def test_every_command_warns(program: Program, line: str) -> None:
    environ = {"ASTRO_TOKEN_REFF": "secret-value", "ASTRO_TOKEN_CLI_RELEASES_URL": "http://127.0.0.1:9"}
    result = program(*line.split(), env=environ)
    warning = "astro-token: warning: ASTRO_TOKEN_REFF is unknown; rename it, if ASTRO_TOKEN_REF is meant"
    assert warning == result.stderr.splitlines()[0]
    assert "secret-value" not in result.stderr


def test_a_typed_line_is_not_disturbed(program: Program) -> None:
    assert "" == program("completion", "tokens", env={"ASTRO_TOKEN_REFF": "x"}).stderr


def test_a_reference_names_it(program: Program, write: Write) -> None:
    environ = {"ASTRO_TOKEN_REFF": "x"}
    assert "unknown" not in program("check", "env:ASTRO_TOKEN_REFF", env=environ).stderr
    write("astro-token.toml", '[tokens.dev]\nref = "env:ASTRO_TOKEN_REFF"\n')
    assert "unknown" not in program("check", "env:OTHER", env=environ).stderr


def test_the_child_s_arguments_name_nothing(program: Program) -> None:
    environ = {"ASTRO_TOKEN_REFF": "x"}
    assert "unknown" in program("exec", "env:X", "--", "echo", "ASTRO_TOKEN_REFF", env=environ).stderr


def test_a_plugin_names_it(program: Program, planted: Planted, planted_distribution: Path) -> None:
    name = "ASTRO_TOKEN_REFFF"  # not as long as the other one: Python compares sizes and seconds
    assert "unknown" in program("check", "planted:a", env={name: "x"}).stderr
    module = planted_distribution / "planted.py"
    original = module.read_text()
    module.write_text(original.replace("PLANTED_PASSWORD", name))
    try:
        assert "unknown" not in program("check", "planted:a", env={name: "x"}).stderr
    finally:
        module.write_text(original)


def test_the_names_are_loaded_only_for_an_unknown_one(program: Program) -> None:
    code = (
        "import sys; from astro_token.cli import main; main(['check', 'env:X']);"
        "print('astro_token_backends.azure' in sys.modules)"
    )
    for name, loaded in (("X", "False"), ("ASTRO_TOKEN_REF", "False"), ("ASTRO_TOKEN_X", "True")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=program.environment({name: "env:X"}),
            cwd=program.work,
            capture_output=True,
            text=True,
        )
        assert loaded == done.stdout.splitlines()[-1], done.stderr
