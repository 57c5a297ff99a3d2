"""
The table `[tool.astro]` of pyproject.toml, which makes a folder a project of Astro CLI 2.0.

The part that decides where a deploy goes is read: the workspace, and the deployments that have a name.
"""

from __future__ import annotations

import codecs
import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError
from astro_token.record import Record
from astro_token.settings.project_file import parse_toml
from astro_token.system.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MANIFEST", "Link", "Manifest", "read_manifest"]

MANIFEST = "pyproject.toml"
_MAX_BYTES = 64 * 1024
# A file that is not understood may have the table if it contains its name, or escapes that can spell it.
_POSSIBLE = re.compile(rb"astro|\\[uUx]")


class Link(Record):
    """A table `[tool.astro.deployments.NAME]`. None stands for a missing key, or one that is not a text."""

    deployment: str | None
    workspace: str | None


class Manifest(Record):
    """
    Attributes:
        understood: False if the file cannot be read or parsed: the Astro CLI may read it differently.
        workspace: the default of the links.
        links: by name.
    """

    understood: bool = True
    workspace: str | None = None
    links: Mapping[str, Link] = MappingProxyType({})

    def deployment(self, name: str) -> str | None:
        """Resolve a link's name, which takes precedence over an identifier; None if it cannot be told."""
        if not self.understood:
            return None
        link = self.links.get(name)
        return (link and link.deployment) or name

    @property
    def names_workspace(self) -> bool:
        return bool(self.workspace or any(link.workspace for link in self.links.values()))


def read_manifest(folder: Path) -> Manifest | None:
    """Read the table; None if there is none. A table with mistakes counts, as for the Astro CLI."""
    path = folder / MANIFEST
    if not os.path.exists(path):  # noqa: PTH110 (see project_layout.py)
        return None
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    except OSError:
        return Manifest(understood=False)
    try:
        tool = parse_toml(path, data).get("tool")
    except ConfigError:
        return Manifest(understood=False) if _POSSIBLE.search(data) else None
    if not isinstance(tool, dict) or "astro" not in tool:
        return None
    table = _table(tool["astro"])
    links = {name: _table(link) for name, link in _table(table.get("deployments")).items()}
    return Manifest(
        workspace=_text(table, "workspace"),
        links=MappingProxyType(
            {name: Link(_text(link, "deployment"), _text(link, "workspace")) for name, link in links.items()}
        ),
    )


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(table: dict[str, Any], key: str) -> str | None:
    value = table.get(key)
    return value if isinstance(value, str) and value else None
