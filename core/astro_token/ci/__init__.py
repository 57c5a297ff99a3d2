"""
CI systems: one module each, with a `CISystem` record for everything about the system.

Detection reads environment variables alone. It runs in every command, so it imports nothing else.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from astro_token.system.variables import setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astro_token.ci.system import CISystem

__all__ = ["all_systems", "ci_system", "ci_systems", "identity_copies", "identity_variables", "in_ci"]

# Modules of this folder that describe no system.
_SHARED = frozenset({"__init__", "formats", "identity", "summary", "system"})
_LOADED: list[CISystem] = []
# The user sets these, in any system.
_OWN_IDENTITY_VARIABLES = ("ASTRO_TOKEN_ID_TOKEN", "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE")


def all_systems() -> list[CISystem]:
    """Return every record, by precedence."""
    if not _LOADED:
        modules = [import_module(f"{__name__}.{name}") for name in sorted(_modules())]
        systems = [system for module in modules for system in module.SYSTEMS]
        _LOADED[:] = sorted(systems, key=lambda system: system.precedence)
    return _LOADED


def _modules() -> Iterator[str]:
    for folder in __path__:
        try:
            names = [name.partition(".") for name in os.listdir(folder)]  # noqa: PTH208 (loads less)
        except OSError:  # inside of a zip file
            from pkgutil import iter_modules

            names = [(module.name, ".", "py") for module in iter_modules([folder])]
        yield from {name for name, _, ending in names if ending in {"py", "pyc"}} - _SHARED


def ci_systems(environ: Mapping[str, str]) -> list[CISystem]:
    """Return the detected systems, the likeliest first; several if they are nested."""
    detected: dict[str, CISystem] = {}
    for system in all_systems():
        if system.detected(environ):
            detected.setdefault(system.key, system)
    # A job passes its variables on to the processes that it starts, other systems' jobs included.
    # Its files and sockets hardly ever.
    return sorted(detected.values(), key=lambda system: not _proven(system, environ))


def ci_system(environ: Mapping[str, str]) -> CISystem | None:
    """Return the likeliest system, or None. `CI=false` does not hide a detected system."""
    return next(iter(ci_systems(environ)), None)


def in_ci(environ: Mapping[str, str]) -> bool:
    """True in any CI system, also one that is not detected: nearly all set CI."""
    return setting(environ, "CI").lower() not in {"", "0", "false", "no"} or bool(ci_system(environ))


def identity_variables() -> frozenset[str]:
    """Return all variables that hold the identity of a job, or lead to it."""
    declared = [name for system in all_systems() for name in system.identity_variables]
    return frozenset((*_OWN_IDENTITY_VARIABLES, *declared))


def identity_copies(environ: Mapping[str, str]) -> frozenset[str]:
    """
    Return the variables with names of the user's choice that hold an identity of this job.

    `ASTRO_TOKEN_ID_TOKEN` is often a copy of another one.
    """
    identities = {environ[name] for name in identity_variables() if environ.get(name)}
    suffixes = tuple(s.identity_suffix for s in all_systems() if s.identity_suffix and s.detected(environ))
    return frozenset(
        name for name, value in environ.items() if value in identities or name.endswith(suffixes)
    )


def _proven(system: CISystem, environ: Mapping[str, str]) -> bool:
    return system.proof is None or os.path.exists(setting(environ, system.proof))  # noqa: PTH110 (loads less)
