"""`backends`: list the schemes, their operations and their requirements. `new` writes a further backend."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from astro_token.cli.output import note, print_json, report
from astro_token.errors import OutputError, worst
from astro_token.secrets import protocols
from astro_token.secrets.registry import plugins
from astro_token.secrets.schemes import BUILTIN, Scheme

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits

_ABILITIES = {
    "read": protocols.Backend,
    "read-many": protocols.SupportsReadMany,
    "describe": protocols.SupportsDescribe,
    "write": protocols.SupportsWrite,
    "decrypt": protocols.SupportsDecrypt,
    "encrypt": protocols.SupportsEncrypt,
}
_PLUGIN = {
    "scheme": "",
    "what": "",
    "form": "-",
    "example": None,
    "options": [],
    "can": ["read"],
    "extra": None,
    "installed": True,
}


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.action == "new":
        return _new(arguments.scheme)
    rows = [_describe(name, scheme) for name, scheme in BUILTIN.items()]
    # Plugins are listed from the metadata of their distributions, without importing them.
    selected = plugins()
    rows += [
        {**_PLUGIN, "scheme": name, "what": f"a plugin, {entry.value}"}
        for name, entry in selected.entries.items()
    ]
    if arguments.format == "json":
        print_json({"backends": rows})
    else:
        from astro_token.cli.table import show

        show(
            ("SCHEME", "NAMES", "CAN", "SDK", "WHAT"),
            [
                (row["scheme"], row["form"], " ".join(row["can"]) or "-", _sdk(row), row["what"])
                for row in rows
            ],
        )
    return worst([report(error.message, error.hint, error.exit_code) for error in selected.problems])


def _new(scheme: str | None) -> int:
    from pathlib import Path

    from astro_token.init.backend import backend_files, command, distribution_of, module_of
    from astro_token.init.write import write
    from astro_token.system.os_errors import working_folder

    name = distribution_of(scheme or "")
    folder = Path(working_folder()) / name
    if os.path.lexists(folder):
        raise OutputError(f"{name} exists", hint="remove it, or choose another name or folder")
    files = backend_files(scheme or "")
    write(folder, files)
    for file in files:
        note(f"wrote {name}/{file}")
    note(f"replace the request in {name}/{module_of(name)}.py by that of your service; then run:")
    print(f"cd {name} && {command()}")
    return 0


def _describe(name: str, scheme: Scheme) -> dict[str, Any]:
    module, _, attribute = scheme.backend.partition(":")
    backend = getattr(import_module(module), attribute)
    return {
        "scheme": name,
        "what": scheme.description,
        "form": scheme.form,
        "example": scheme.example,
        "options": sorted(option + ("NAME" if option.endswith(".") else "") for option in scheme.options),
        "can": [
            *(ability for ability, protocol in _ABILITIES.items() if issubclass(backend, protocol)),
            *(["rotate"] if scheme.rotation_suffix else []),
        ],
        "extra": scheme.extra,
        "installed": scheme.sdk is None or _installed(scheme.sdk),
    }


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _sdk(row: dict[str, Any]) -> str:
    if row["extra"] is None:
        return "-"
    if row["installed"]:
        return "installed"
    from astro_token.system.installation import install_hint

    return install_hint(row["extra"])
