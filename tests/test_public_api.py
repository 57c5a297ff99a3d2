"""The names that a program may use, and what using them loads."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import astro_token
from astro_token.secrets.schemes import BUILTIN
from tests.conftest import PROGRAM, ROOT
from tests.rows import each_row

HEAVY = sorted(
    {
        *(scheme.sdk.partition(".")[0] for scheme in BUILTIN.values() if scheme.sdk),
        *(
            "rich",
            "requests",
            "urllib3",
            "tenacity",
            "pyrage",
            "platformdirs",
            "grpc",
            "botocore",
            "cryptography",
        ),
        *("asyncio", "http", "ssl", "unittest", "email"),
    }
)
LOADED = "import sys\n{}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}} & {heavy!r}))"


def loaded(statement: str) -> list[str]:
    """Which of the heavy modules a statement loads in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(statement, heavy=set(HEAVY))], capture_output=True, text=True
    )
    assert "" == done.stderr
    return done.stdout.splitlines()[-1].split()


def test_the_public_interface_is_the_listed_one(tmp_path: Path) -> None:
    """`make api` writes the list, after a change that docs/support.md allows."""
    actual = tmp_path / "api.txt"
    done = subprocess.run([sys.executable, ROOT / ".ci" / "api.py", actual], capture_output=True, text=True)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    listed = (ROOT / "tests" / "public_api.txt").read_text().splitlines()
    assert listed == actual.read_text().splitlines()
    # The list has every name of the package, and every exit code of an error.
    assert set(astro_token.__all__) <= {
        line.split(".")[1].split("(")[0] for line in listed if line[:12] == "astro_token."
    }
    assert "astro_token.SecretNotFoundError(AstroTokenError) exit 66" in listed


def test_the_names_are_sorted_and_none_is_there_twice() -> None:
    assert sorted(set(astro_token.__all__)) == astro_token.__all__


@each_row("name", astro_token.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(astro_token, name) is not None


def test_a_star_import_brings_every_name() -> None:
    assert [] == loaded(
        "from astro_token import *; import astro_token; assert set(astro_token.__all__) <= set(globals())"
    )


def test_every_name_is_listed() -> None:
    assert set() == set(astro_token.__all__) - set(dir(astro_token))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'astro_token' has no attribute 'nothing'"):
        getattr(astro_token, "nothing")  # noqa: B009
    assert not hasattr(astro_token, "_MODULE")


def test_type_checkers_see_what_is_public() -> None:
    source = Path(astro_token.__file__).read_text()
    seen = source.partition("if TYPE_CHECKING:\n    from")[2].partition("__all__")[0]
    names = {
        name.strip(" ,()") for line in seen.splitlines() for name in line.rpartition("import")[2].split(",")
    }
    assert set(astro_token.__all__) - {"__version__"} == {name for name in names if name}


@each_row(
    "name", [name for name in astro_token.__all__ if isinstance(getattr(astro_token, name), FunctionType)]
)
def test_every_function_has_a_docstring_and_is_typed(name: str) -> None:
    function = getattr(astro_token, name)
    assert function.__doc__
    signature = inspect.signature(function)
    untyped = [
        argument
        for argument, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty
    ]
    assert ([], False) == (untyped, signature.return_annotation is signature.empty)


def test_importing_loads_nothing_heavy() -> None:
    assert [] == loaded("import astro_token")


def test_using_every_name_loads_no_sdk() -> None:
    statement = "import astro_token; [getattr(astro_token, name) for name in astro_token.__all__]"
    assert [] == loaded(statement)


@each_row(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["exec", "--help"],
        ["export", "--help"],
        ["check", "--help"],
        ["put", "--help"],
        ["nonsense"],
        [],
    ],
    ids=" ".join,
)
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    # At its end the program leaves by os._exit, so what it has loaded is looked at there.
    statement = (
        "import os, contextlib, io\n"
        f"sys.argv = ['astro-token', *{arguments!r}]\n"
        "from astro_token.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), "
        "contextlib.suppress(SystemExit):\n"
        "    main(sys.argv[1:])\n"
    )
    assert [] == loaded(statement)


def test_reading_a_variable_loads_nothing_heavy() -> None:
    made = "__import__('astro_token.testing', fromlist=['x']).make_token()"
    statement = f"import os, astro_token; os.environ['T'] = {made!s}; astro_token.read_token('env:T')"
    assert [] == loaded(statement)


def test_the_same_look_finds_what_is_loaded() -> None:
    assert ["rich"] == [name for name in loaded("import rich.table") if name == "rich"]
    assert {"hvac", "requests"} <= set(loaded("import hvac"))


def test_the_version_is_the_programs() -> None:
    done = subprocess.run([str(PROGRAM), "--version"], capture_output=True, text=True)
    assert (f"astro-token {astro_token.__version__}\n", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(astro_token.__file__).parent / "py.typed").is_file()
