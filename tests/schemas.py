"""
JSON schemas without their slow part: `check-jsonschema` in the tests' process, and what `jsonschema` imports.

For the formats `iri` and `iri-reference`, `jsonschema` imports a module that builds 38 parsers,
which takes four seconds in each process. With this module, it does so when the first IRI is judged.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_MODULE = "rfc3987_syntax"
_LATER: Any = ModuleType(_MODULE)


def _is_valid_syntax(term: str, value: str) -> bool:
    if sys.modules.get(_MODULE) is _LATER:
        del sys.modules[_MODULE]
    return bool(import_module(_MODULE).is_valid_syntax(term, value))


_LATER.is_valid_syntax = _is_valid_syntax
sys.modules.setdefault(_MODULE, _LATER)


def assert_schema(schema: str, *files: Path) -> None:
    """The files keep to a schema that comes with `check-jsonschema`."""
    assert files
    # Imported late: few tests need them.
    from check_jsonschema import main
    from click.testing import CliRunner

    options = ("--regex-variant", "nonunicode", "--builtin-schema", schema)
    done = CliRunner().invoke(main, [*options, *map(str, files)])
    assert done.exit_code == 0, done.output
