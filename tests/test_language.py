"""Names, docstrings and phrases that have to be read twice do not come back."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.conftest import ROOT
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Names without a meaning of their own.
NAMES = frozenset({"asked", "found", "known", "one", "plain", "whole"})
# The same, also as a part of a name.
WORDS = frozenset(
    word + ending
    for word in ("fetcher", "handler", "helper", "manager", "place", "processor", "thing", "util", "way")
    for ending in ("", "s")
)
ALLOWED = {
    "handler": "of a signal, as in Python's documentation",
    "ParameterManager": "the service's name",
    "parameter_manager": "the service's name",
    "SecretManager": "the service's name",
    "SecretsManager": "the service's name",
    "secret_manager": "the service's name",
    "secrets_manager": "the service's name",
}
CLAUSES = frozenset({"how", "that", "what", "where", "whether", "which", "whose"})
PHRASES = (
    r"sends? us elsewhere",
    r"(?<!\bthere )\bis no (?!longer\b|more\b)",
    r"\bthere is no way\b",
    r"\bmend(?:s|ed|ing)?\b",
    r"\bsought\b",
    r"\bmoot\b",
    r"\bsomebody else wrote\b",
    r"\btold before\b",
    r"\bwhere there is (?:one|none)\b",
)
SOURCES = sorted(path for root in ("core", "backends") for path in (ROOT / root).rglob("*.py"))
TEXTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(path for path in (ROOT / "examples").rglob("*") if path.is_file() and path.suffix != ".pyc"),
        ROOT / "action.yml",
        ROOT / ".pre-commit-hooks.yaml",
        ROOT / "Makefile",
        ROOT / "requirements" / "README.md",
        ROOT / "tests" / "servers" / "README.md",
    ]
)

# Temporary: to be emptied when the branches that clean these files are merged. Both only shrink.
REMAINING_FILES: tuple[str, ...] = ()
REMAINING: frozenset[str] = frozenset()


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def names(tree: ast.AST) -> Iterator[str]:
    """Yield every name that the module gives to something."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def is_banned(name: str) -> bool:
    parts = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)
    return name not in ALLOWED and (
        name.strip("_").lower() in NAMES or not WORDS.isdisjoint(part.lower() for part in parts)
    )


def docstrings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def is_clause(docstring: str) -> bool:
    return re.split(r"\W", docstring, maxsplit=1)[0].lower() in CLAUSES


def phrases(text: str) -> list[str]:
    """Return the banned phrases of a text, also those that a line end divides."""
    flowing = re.sub(r"\s*\n\s*(?:#:?\s)?\s*", " ", text)
    return [hit[0] for pattern in PHRASES for hit in re.finditer(pattern, flowing, re.IGNORECASE)]


def findings(path: Path) -> set[str]:
    """Return the findings of a source file, each as `path: finding`."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    file = relative(path)
    stem = {path.parent.name if path.stem == "__init__" else path.stem}
    return {
        *(f"{file}: the name {name}" for name in {*names(tree), *stem} if is_banned(name)),
        *(f"{file}: the docstring {doc.splitlines()[0]}" for doc in docstrings(tree) if is_clause(doc)),
        *(f"{file}: the phrase {phrase}" for phrase in phrases(text)),
    }


@each_row("path", [path for path in SOURCES if not relative(path).startswith(REMAINING_FILES)], ids=relative)
def test_sources(path: Path) -> None:
    assert set() == findings(path) - REMAINING


@each_row("path", TEXTS, ids=relative)
def test_texts(path: Path) -> None:
    file = relative(path)
    assert set() == {f"{file}: the phrase {phrase}" for phrase in phrases(path.read_text())} - REMAINING


def test_the_rules_notice_what_they_ban(tmp_path: Path) -> None:
    source = '''"""What a module does."""
import json as thing
class SecretManager: ...
class TokenManager: ...
def find_way(place, value, *, plain_hosts):
    """Whether there is no file, and no value is left."""
    self._found = one = known_names = None
    # the value is
    # no token, and is no longer read
'''
    path = ROOT / "core" / "astro_token" / "sample.py"
    sample = tmp_path / path.name
    sample.write_text(source)
    tree = ast.parse(source)
    assert {"thing", "TokenManager", "find_way", "place", "_found", "one"} == set(
        filter(is_banned, names(tree))
    )
    assert ["What a module does."] == [doc for doc in docstrings(tree) if is_clause(doc)][:1]
    assert 2 == sum(map(is_clause, docstrings(tree)))
    assert ["is no "] == phrases(source)
