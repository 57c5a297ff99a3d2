"""The reference is what the code says, and names everything."""

from __future__ import annotations

import argparse
import copy
import inspect
import itertools
import json
import random
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import astro_token
from astro_token import errors, testing
from astro_token.cli.parser import build
from astro_token.errors import AstroTokenError, InvalidRefError
from astro_token.policy.rules import CODES, RULES
from astro_token.settings.astro_cli_pin import PLATFORMS
from astro_token.settings.project_file import LOCK_KEYS, TOKEN_KEYS, TOP_KEYS, find_project
from reference.pages import pages
from tests.conftest import ROOT
from tests.formats.consumers import PATH, there
from tests.rows import each_row
from tests.test_swept_variables import described

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFERENCE = ROOT / "docs" / "reference"
MANUAL = ROOT / "docs" / "astro-token.1"


def text(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    level = heading.split(" ", maxsplit=1)[0]
    _, found, rest = page.partition(f"\n{heading}\n")
    assert found, heading
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(table: str) -> dict[str, str]:
    """The first cell of each row, without its marks, and the last one."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[1:]]
    return {re.sub(r"\]\(.*\)|[`\[\\]", "", row[0]): row[-1] for row in cells}


@each_row("name", pages())
def test_it_is_what_the_code_says(name: str) -> None:
    assert pages()[name] == (ROOT / name).read_text(encoding="utf-8"), "run `make reference`"


def test_every_key_of_the_project_file_is_described() -> None:
    page = text("project-file.md")
    for heading, keys in (
        ("## Keys", TOP_KEYS),
        ("## tokens.NAME", TOKEN_KEYS),
        ("## policy", RULES),
        ("## astro-cli", LOCK_KEYS),
        ("## astro-cli.sha256", PLATFORMS),
    ):
        described = rows(section(page, heading))
        assert list(keys) == list(described)
        assert all(described.values()), heading


def test_every_variable_is_described_once() -> None:
    page = text("variables.md")
    names = re.findall(r"^\| `(\w+)` \| \S", page, re.MULTILINE)
    assert described() == set(names)
    assert len(names) == len(set(names))


def test_what_exec_withholds_is_marked() -> None:
    from astro_token.secrets.admin import ADMIN_VARIABLE
    from astro_token.secrets.schemes import credential_variables

    marked = re.findall(r"^\| `(\w+)` \|.*\*Withheld\.\* \|$", text("variables.md"), re.MULTILINE)
    assert {*credential_variables(), ADMIN_VARIABLE} == set(marked)


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    main = build()
    yield "astro-token", main
    (commands,) = (action for action in main._actions if isinstance(action, argparse._SubParsersAction))
    yield from commands.choices.items()


def test_every_command_and_option_is_described() -> None:
    page, man = text("commands.md"), MANUAL.read_text(encoding="utf-8").replace("\\-", "-")
    count = 0
    for name, parser in parsers():
        described = rows(section(page, f"## {name}"))
        words = {word.strip(",") for argument in described for word in argument.split()}
        for action in parser._actions:
            if name == "astro-token" or not isinstance(action, argparse._HelpAction):
                assert (
                    set() == {option for option in action.option_strings if option.startswith("--")} - words
                )
                count += len(action.option_strings)
        assert all(described.values())
        heading = ".SH OPTIONS" if name == "astro-token" else f'.SS "{name} - '
        shown = re.split(r"^\.S[HS] ", man.partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
        terms = " ".join(re.findall(r"^\.B (.*)", shown, re.MULTILINE)).replace(",", "").split()
        assert set() == {word for word in words if word.startswith("--")} - set(terms)
    assert count > 60


def test_every_exit_code_and_error_is_described() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    described = {int(code) for cell in rows(text("exit-codes.md")) for code in cell.split(", ")}
    raised = {kind.exit_code for kind in kinds if kind is not errors.CommandError}
    assert {0, errors.RotationError.PERSON_NEEDED, 126, 127, *raised} == described
    page = text("errors.md")
    for kind in kinds:
        assert "- Remedy: " in section(page, f"## {kind.__name__}")
        assert f"[`{kind.__name__}`](errors.md#{kind.__name__.lower()})" in text("exit-codes.md")


def test_every_verdict_is_described() -> None:
    names = re.findall(r"^\| `([a-z-]+)` \| .* \| .* \|$", text("verdicts.md"), re.MULTILINE)
    assert sorted(CODES) == sorted(set(names))


def test_every_public_name_is_described() -> None:
    page, tree = text("python.md"), text("errors.md")
    for module in (astro_token, testing):
        for name in module.__all__:
            item = getattr(module, name)
            if name == "__version__":
                assert "`astro_token.__version__`" in page
            elif inspect.isclass(item) and issubclass(item, Exception):
                section(tree, f"## {name}")
            else:
                code, _, described = section(page, f"### {name}").strip().partition("\n```\n")
                assert (True, True) == (code.startswith("```python\n"), bool(described.strip())), name
                for parameter in inspect.signature(item).parameters if inspect.isfunction(item) else ():
                    assert re.search(rf"\b{parameter}: ", code), (name, parameter)


# -- the schema --------------------------------------------------------------------------------------------

SCHEMA = json.loads(text("astro-token.schema.json"))
GOOD: dict[str, Any] = {
    "default": "prod",
    "policy": {
        "max_scope": "workspace",
        "require_expiry": True,
        "min_validity": "1h",
        "warn_validity": "14d",
        "max_age": "90d",
        "online": False,
        "organization": "clorg0",
        "workspace": "clws0",
        "deployment": "cldep0",
        "ref": "vault:secret/team/*, env:TOKEN",
        "roles": "DEPLOYMENT_ADMIN, my role",
        "max_lifetime": "90d",
        "cli_lock": True,
        "registries": "registry.example.com:5000/team, example.com",
        "deploy": {"uncommitted": "off"},
    },
    "tokens": {
        "prod": {
            "ref": "vault:secret/astro/prod#token",
            "decrypt": "vault-transit:astro",
            "organization": "clorg0",
            "workspace": "clws0",
            "deployment": "cldep0",
            "role": "DEPLOYMENT_ADMIN",
            "lifetime": "90d",
            "title": "deploy-prod",
        },
        "_a.b-c": {"ref": "env:X"},
    },
    "astro-cli": {"version": "1.48.0-rc.1", "sha256": {"linux-amd64": "aB" * 32}},
}
TEXTS = (
    *("", " ", "a", "A", "a b", " a", "a ", "é", "a,b", ",", "a,", "a, b", "a;b", "a'b", 'a"b', "a`b", "$a"),
    *("-a", ".a", "_a", "a.b", "a_b", "a-b", "0", "~", "[a]", "a\\b", "a^b", "a\tb", "x\ny", "x\n", "[]"),
    *("a" * length for length in (64, 65, 128, 129)),
    *("0d", "1d", "3650d", "3651d", "00090d", "000090d", "0000090d", "1.5d", "-1d", "+1d", "1D", "90", "d"),
    *("1w", "52w", "521w", "522w", "24h", "36h", "86400s", "999999s", "1000000s", "1440m", "5y", "٣d", "9 d"),
    *("organization", "workspace", "deployment", "Workspace", "off", "warning", "error", "true", "1"),
    *("1.48.0", "v1.48.0", "1.48", "1.48.0-rc.1", "1.48.0-", "1234567.0.0", "aB" * 32, "g" * 64, "a" * 63),
    *(
        "env:X",
        "env:",
        ":X",
        "vault:secret/a#b",
        "http://x",
        "x.example.com:5000/a/b",
        "x:1:2",
        "X.example.com",
    ),
    *("prod", "none"),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    True,
    False,
    0,
    1,
    1.5,
    [],
    ["a"],
    {},
    {"uncommitted": "off"},
    {"none": "off"},
)
NAMES = (
    "prod",
    "a b",
    "-a",
    ".a",
    "_a",
    "a.b",
    "é",
    "a" * 64,
    "a" * 65,
    "refs",
    "policies",
    "uncommitted",
    "linux-arm64",
)


def ends_exactly(validator: Any, pattern: str, instance: object, schema: Any) -> Iterator[Any]:
    """Match as JavaScript does: in Python `$` also matches before a last line end."""
    if validator.is_type(instance, "string") and not re.search(pattern.replace("$", r"\Z"), str(instance)):
        yield jsonschema.ValidationError(f"{instance!r} does not match")


VALIDATOR = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": ends_exactly})(SCHEMA)


def toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            return json.dumps(value)


def tables(content: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the path of each table and value."""
    yield ()
    for key, value in content.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *path) for path in tables(value) if path)


def changed(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Set one value, in a file with nothing else but what is required."""
    content: dict[str, Any] = {"tokens": {"prod": {"ref": "env:X"}}}
    inner: Any = content
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
        if key == "astro-cli":
            inner.setdefault("version", "1.48.0")
    inner[path[-1]] = value
    return content


def contents() -> Iterator[dict[str, Any]]:
    """Change each value, add a key to each table, leave out each key, and change several at once."""
    paths = [path for path in tables(GOOD) if path]
    inner_tables = [path for path in paths if isinstance(at(path), dict)]
    for path in paths:
        for value in VALUES[len(TEXTS) - 1 :] if path in inner_tables else VALUES:
            yield changed(path, value)
    for path, name in itertools.product([(), *inner_tables], NAMES):
        yield changed((*path, name), {"ref": "env:X"} if path == ("tokens",) else "off")
    chance = random.Random(1)  # noqa: S311
    for number in range(len(paths) + 60):
        content = copy.deepcopy(GOOD)
        for path in [paths[number]] if number < len(paths) else chance.sample(paths, 3):
            inner: Any = content
            for key in path[:-1]:
                inner = inner.get(key, {}) if isinstance(inner, dict) else {}
            if not isinstance(inner, dict):
                continue
            if number < len(paths):
                del inner[path[-1]]
            else:
                inner[path[-1]] = chance.choice(VALUES)
        yield content


def at(path: tuple[str, ...]) -> object:
    value: Any = GOOD
    for key in path:
        value = value[key]
    return value


def only_the_parser_knows(error: AstroTokenError) -> bool:
    """The grammar of a reference, the names of the tokens, and which hours, minutes and seconds are days."""
    return isinstance(error, InvalidRefError) or any(
        part in error.message
        for part in ("default names no token", "policy.ref contains", "is not 1 to 3650 days")
    )


def test_schema_and_parser_agree(tmp_path: Path) -> None:
    file = tmp_path / "astro-token.toml"
    file.touch(0o600)
    both, neither = 0, 0
    parser_only: list[AstroTokenError] = []
    for content in contents():
        file.write_text(
            "".join(f"{toml(key)} = {toml(value)}\n" for key, value in content.items()), encoding="utf-8"
        )
        is_valid = VALIDATOR.is_valid(content)
        try:
            find_project(tmp_path)
        except AstroTokenError as error:
            neither += not is_valid
            if is_valid:
                parser_only.append(error)
        else:
            assert is_valid, (content, [problem.message for problem in VALIDATOR.iter_errors(content)])
            both += 1
    assert (True, True, True) == (both > 300, neither > 2000, 0 < len(parser_only) < 200)
    assert [] == [error.message for error in parser_only if not only_the_parser_knows(error)]
    # Of days and weeks the schema knows the limits, too.
    for lifetime in ("3650d", "3651d", "521w", "522w", "0d"):
        assert (lifetime in {"3650d", "521w"}) == VALIDATOR.is_valid(
            changed(("policy", "max_lifetime"), lifetime)
        )


def test_the_schema_is_one_and_describes_everything() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)

    def described(node: Any) -> Iterator[str]:
        for name, value in node.get("properties", {}).items():
            if name not in SCHEMA["properties"]["policy"]["properties"]["deploy"]["properties"]:
                yield value.get("description", f"{name} has none")
                yield from described(value)

    assert [] == [text for text in described(SCHEMA) if not text or text.endswith("has none") or "`" in text]


# -- the man page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", there("groff"))
def test_groff_has_nothing_to_complain_about(program: str) -> None:
    path = shutil.which(program, path=PATH)
    assert path
    done = subprocess.run(
        [path, "-man", "-ww", "-z", "-K", "utf8", str(MANUAL)],
        capture_output=True,
        text=True,
        env={"PATH": PATH},
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("program", there("man"))
def test_man_shows_every_command(program: str) -> None:
    path = shutil.which(program, path=PATH)
    assert path
    done = subprocess.run(
        [path, "--warnings=w", "--nj", "--nh", "-l", str(MANUAL)],
        capture_output=True,
        text=True,
        env={
            "PATH": PATH,
            "MANWIDTH": "80",
            "MANPAGER": "cat",
            "LC_ALL": "C.UTF-8",
            "MAN_KEEP_FORMATTING": "",
        },
    )
    shown = re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout)
    assert (0, "") == (done.returncode, done.stderr)
    for name, _ in parsers():
        assert re.search(rf"^ +{name} - ", shown, re.MULTILINE), name
    assert 'out="$(astro-token export --format posix prod)" && eval "$out"' in shown
    assert re.search(r"^ +81, |^ +80, 81", shown, re.MULTILINE)
