"""
Find the tokens that Terraform manages, by its files in the repository.

Astro does not record what created a token. A configuration names it, and a state contains its identifier
together with its value; nothing of a file is shown.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.record import Record
from astro_token.system.files import open_regular
from astro_token.system.programs import repository_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Terraform", "read_terraform"]

_KIND = "astro_api_token"
# A blank that matched line ends would need the square of the number of empty lines.
_RESOURCE = re.compile(rf'^[ \t]*resource[ \t]+"{_KIND}"[ \t]+"[^"\n]+"[ \t]*{{', re.MULTILINE)
_NAME = re.compile(r'^[ \t]*name[ \t]*=[ \t]*"([^"\\$%\n]+)"', re.MULTILINE)  # no template
_STATE, _CONFIGURATION = ".tfstate", ".tf"
_LARGEST = {_STATE: 8 * 1024 * 1024, _CONFIGURATION: 1024 * 1024}  # bytes
_MOST_BYTES = 64 * 1024 * 1024  # of all files
_MOST_ENTRIES, _MOST_FILES = 20_000, 500


class Terraform(Record):
    """
    Attributes:
        titles: by configurations and states.
        idents: by states.
    """

    titles: frozenset[str] = frozenset()
    idents: frozenset[str] = frozenset()

    def manages(self, ident: str, title: str) -> bool:
        return ident in self.idents or title in self.titles


def read_terraform(folder: Path) -> Terraform:
    """Read Terraform's files in a folder's repository, or below the folder, as far as they can be read."""
    titles: set[str] = set()
    idents: set[str] = set()
    left = _MOST_BYTES
    for path, suffix in _files(Path(repository_of(folder) or folder)):
        with suppress(OSError, ValueError, RecursionError), open_regular(path) as file:
            content = file.read(_LARGEST[suffix] + 1)
            left -= len(content)
            if left < 0:
                break
            if len(content) > _LARGEST[suffix] or _KIND.encode() not in content:
                continue
            if suffix == _CONFIGURATION:
                titles.update(_titles(content.decode("utf-8", "replace")))
            else:
                for attributes in _tokens(json.loads(content)):
                    titles.update(name for name in (attributes.get("name"),) if isinstance(name, str))
                    idents.update(name for name in (attributes.get("id"),) if isinstance(name, str))
    return Terraform(frozenset(titles), frozenset(idents))


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield files with their suffix, without links and hidden folders."""
    entries = files = 0
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        for name in names:
            suffix = os.path.splitext(name)[1]  # noqa: PTH122 (a path of each file would take most of the time)
            if suffix in _LARGEST and not (path := Path(folder, name)).is_symlink():
                files += 1
                yield path, suffix
        entries += len(names) + len(folders)
        if entries > _MOST_ENTRIES or files > _MOST_FILES:
            return


def _titles(text: str) -> Iterator[str]:
    for block in _RESOURCE.split(text)[1:]:
        body, _, _ = block.partition("\n}")
        if name := _NAME.search(body):
            yield name[1]


def _tokens(state: Any) -> Iterator[dict[str, Any]]:
    """Yield the attributes of each token in a state."""
    resources = state.get("resources") if isinstance(state, dict) else None
    for resource in resources if isinstance(resources, list) else []:
        if not isinstance(resource, dict) or (resource.get("mode"), resource.get("type")) != (
            "managed",
            _KIND,
        ):
            continue
        instances = resource.get("instances")
        for instance in instances if isinstance(instances, list) else []:
            attributes = instance.get("attributes") if isinstance(instance, dict) else None
            if isinstance(attributes, dict):
                yield attributes
