"""
Import an SDK without the HTTP libraries that `transport` replaces.

These libraries cost half of a short command, and no line of theirs runs.
While the SDK is imported, a placeholder takes the place of each in `sys.modules`.
It leaves as soon as the import is done, and loads the real module if the SDK ever uses it.

Only the command line's own process does this: a program that uses us as a library gets ordinary imports.
So does every process with `ASTRO_TOKEN_PLAIN_IMPORTS=1`, or with plugins, whose imports are not ours.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["allow_placeholders", "import_sdk"]

_allowed = False
_lock = RLock()
_imported: set[str] = set()


def allow_placeholders() -> None:
    """Declare that this process is the command line's own."""
    global _allowed  # noqa: PLW0603 (a property of the process)
    _allowed = True


def import_sdk(
    name: str, *, without: Mapping[str, tuple[str, ...]] | None = None, unrun: tuple[str, ...] = ()
) -> ModuleType:
    """
    Import a module of an SDK.

    Args:
        without: modules that the import does not load, each with the names that it uses in annotations,
            as base classes and for instances that nothing uses.
            A module gets no placeholder if it is loaded, or if it had one for another SDK.
        unrun: packages whose `__init__` does not run, so that single modules of them can be imported.

    Raises:
        ImportError: the SDK is not installed.
    """
    if not _allowed:
        return import_module(name)
    with _lock:  # another thread must not see the placeholders of this one
        return _import(name, without or {}, unrun)


def _import(name: str, without: Mapping[str, tuple[str, ...]], unrun: tuple[str, ...]) -> ModuleType:
    deferred = [module for module in without if module not in sys.modules and module not in _imported]
    if name in sys.modules or not _usable(unrun):
        return import_module(name)
    before = set(sys.modules)
    try:
        substitutes: dict[str, ModuleType] = {}
        try:
            for package in unrun:  # one by one: the parent of the next one has to be in sys.modules
                sys.modules[package] = substitutes[package] = _package(package)
            for module in deferred:
                sys.modules[module] = substitutes[module] = _Placeholder(module, without[module])
            imported = import_module(name)
        finally:
            for module, substitute in substitutes.items():
                if sys.modules.get(module) is substitute:
                    del sys.modules[module]
                if isinstance(substitute, _Placeholder):
                    substitute.end_import()
                    # `import package.module` binds the package only, and expects the module in it.
                    package, _, attribute = module.rpartition(".")
                    if package in sys.modules:
                        vars(sys.modules[package]).setdefault(attribute, substitute)
    except Exception:  # noqa: BLE001 (whatever a version of the SDK does not expect)
        # Other threads may have imported modules of Python or ours meanwhile: a second copy of one would
        # have exceptions that no handler of the first one catches.
        kept = {*sys.stdlib_module_names, "astro_token", "astro_token_backends"}
        for module in set(sys.modules) - before:
            if module.partition(".")[0] not in kept:
                del sys.modules[module]
        return import_module(name)
    _imported.update(deferred)
    return imported


def _usable(packages: tuple[str, ...]) -> bool:
    """True if placeholders may be used. A package that is loaded is left alone."""
    settings = os.environ
    return (
        settings.get("ASTRO_TOKEN_PLAIN_IMPORTS") != "1"
        and not settings.get("ASTRO_TOKEN_PLUGINS")
        and not any(package in sys.modules for package in packages)
    )


class _Unused:
    def __init__(self, *_: object, **__: object) -> None:
        pass


class _Placeholder(ModuleType):
    """A module that loads the real one when an attribute is used."""

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        super().__init__(name)
        self.__path__: list[str] = []  # so that `import requests.exceptions` takes it for a package
        vars(self).update({each: type(each, (_Unused,), {}) for each in names})
        self._names = names

    def end_import(self) -> None:
        """Take back the names: from now on they are those of the real module."""
        for each in vars(self).pop("_names"):
            vars(self).pop(each, None)

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__"):  # the import system's own questions
            raise AttributeError(attribute)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)


def _package(name: str) -> ModuleType:
    from importlib.util import find_spec

    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(name=name)
    package = ModuleType(name)
    package.__path__ = spec.submodule_search_locations
    package.__spec__ = spec
    return package
