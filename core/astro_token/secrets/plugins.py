"""
Plugins: the backends that a distribution names in its entry points.

`importlib.metadata` finds them too, but its import takes a quarter of a short command.
It is only asked for a distribution that has no folder `NAME-VERSION.dist-info`, such as one in an archive.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from astro_token.record import Record
from astro_token.system.distributions import normalized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["Entry", "entries_of"]

_GROUP = "astro_token.backends"


class Entry(Record):
    """
    Attributes:
        value: where its factory is, as in "module:attribute".
        distribution: its normalized name.
    """

    scheme: str
    value: str
    distribution: str

    def load(self) -> Any:
        module, _, attributes = self.value.partition("[")[0].partition(":")
        factory: Any = import_module(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            factory = getattr(factory, attribute)
        return factory


def entries_of(distribution: str) -> list[Entry]:
    """
    Return the entries of a distribution without importing them; an empty list if it is not installed.

    Args:
        distribution: its normalized name.
    """
    folder = _folder(distribution)
    named = _elsewhere(distribution) if folder is None else _in(folder)
    return [Entry(scheme, value, distribution) for scheme, value in named]


def _folder(distribution: str) -> str | None:
    """Its folder on the path of imports, the first if there are several."""
    for folder in (entry or "." for entry in sys.path):
        try:
            names = os.listdir(folder)  # noqa: PTH208 (pathlib is slow to load)
        except OSError:  # not there, or an archive
            continue
        for name in names:
            if name.endswith(".dist-info"):
                escaped = name.removesuffix(".dist-info").partition("-")[0]
                if normalized(escaped) == distribution:
                    return f"{folder}/{name}"
    return None


def _in(folder: str) -> Iterator[tuple[str, str]]:
    try:
        with open(f"{folder}/entry_points.txt", encoding="utf-8") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return
    group = ""
    for line in map(str.strip, lines):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
        elif group == _GROUP and line and not line.startswith("#"):
            scheme, _, value = line.partition("=")
            yield scheme.strip(), value.strip()


def _elsewhere(distribution: str) -> Iterator[tuple[str, str]]:
    from importlib import metadata

    try:
        entries = metadata.distribution(distribution).entry_points.select(group=_GROUP)
    except (metadata.PackageNotFoundError, ValueError):
        return
    yield from ((entry.name, entry.value) for entry in entries)
