"""Imports go one way and form no cycle, type-checking imports included."""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

from tests.conftest import ROOT
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A unit imports only from itself and from units further down. Units of one row do not import each other.
DIRECTION = (
    ("__main__", "pre_commit", "__init__"),
    ("cli",),
    ("testing",),
    ("doctor", "lifecycle", "init"),
    ("tokens",),
    ("deploy", "astro_cli"),
    ("settings",),
    ("policy", "environment", "astro_api"),
    ("backends",),
    ("secrets",),
    ("ci",),
    ("identity", "formats"),
    ("child",),
    ("masker",),
    ("transport",),
    ("system",),
    ("token",),
    ("secret", "log"),
    ("errors",),
    ("record", "version", "wording"),
)
ROW = {unit: number for number, row in enumerate(DIRECTION) for unit in row}
ROOTS = {
    "astro_token": ROOT / "core" / "astro_token",
    "astro_token_backends": ROOT / "backends" / "astro_token_backends",
}


def modules() -> Iterator[tuple[str, Path]]:
    for package, root in ROOTS.items():
        for path in sorted(root.rglob("*.py")):
            parts = (package, *path.relative_to(root).with_suffix("").parts)
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


PATHS = dict(modules())
NAMES = frozenset(PATHS)


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of the project that a module imports, at any depth and also for type checkers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((path := PATHS[module]).read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in NAMES else str(node.module))
    return NAMES & found


def unit(module: str) -> str:
    package, _, rest = module.partition(".")
    if package == "astro_token_backends":
        return "backends"
    return rest.partition(".")[0] or "__init__"


def test_every_unit_has_a_row() -> None:
    assert {unit(name) for name in NAMES} <= ROW.keys()


@each_row("module", sorted(NAMES))
def test_imports_go_down(module: str) -> None:
    here = unit(module)
    up = {name for name in imported(module) if unit(name) != here and ROW[unit(name)] <= ROW[here]}
    assert set() == up


def test_modules_form_no_cycle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"cycle: {' > '.join((*path[path.index(module) :], module))}"
        if module not in done:
            for name in sorted(imported(module)):
                visit(name, (*path, module))
            done.add(module)

    for module in PATHS:
        visit(module, ())


def test_the_core_loads_backends_by_name_only() -> None:
    """The table of schemes is the only link to the backends; it is loaded by its name."""
    backends = {name for name in NAMES if unit(name) == "backends"}
    assert set() == {name for name in NAMES - backends if imported(name) & backends}
