"""
JSON schemas without their slow part: `check-jsonschema` as a script, and what `jsonschema` imports.

For the formats `iri` and `iri-reference`, `jsonschema` imports a module that builds 38 parsers,
which takes four seconds in each process. With this module, it does so when the first IRI is judged.
"""

from __future__ import annotations

import sys
from importlib import import_module
from subprocess import PIPE, STDOUT, run
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
    options = ("--regex-variant", "nonunicode", "--builtin-schema", schema)
    done = run([sys.executable, __file__, *options, *map(str, files)], stdout=PIPE, stderr=STDOUT, text=True)
    assert done.returncode == 0, done.stdout


if __name__ == "__main__":
    from check_jsonschema import main

    main()
