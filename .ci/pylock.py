"""
Write a lock of uv (PEP 751) without addresses: each wheel is a file in `wheels/`, next to the lock.

    pylock.py FROM TO

The lock does not name the registry that resolved it: its readers use their own mirror, or none.
`pip download --require-hashes` fills the folder.
It lists no source distributions: no installation of this project builds one.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

HEAD = """\
# Written by `make lock`. Fill wheels/ with `pip download`, as README.md says.
lock-version = "1.0"
created-by = "astro-token"
requires-python = {python}
"""


def lock(text: str) -> str:
    source = tomllib.loads(text)
    parts = [HEAD.format(python=json.dumps(source["requires-python"]))]
    for package in source["packages"]:
        lines = [
            "[[packages]]",
            f"name = {json.dumps(package['name'])}",
            f"version = {json.dumps(package['version'])}",
        ]
        if marker := package.get("marker"):
            lines.append(f"marker = {json.dumps(marker)}")
        if not package.get("wheels"):
            sys.exit(f"{package['name']} {package['version']} has no wheel")
        lines.append("wheels = [")
        for wheel in sorted(package["wheels"], key=lambda row: name(row["url"])):
            digest = wheel["hashes"]["sha256"]
            path = json.dumps(f"wheels/{name(wheel['url'])}")
            lines.append(f'    {{ path = {path}, hashes = {{ sha256 = "{digest}" }} }},')
        parts.append("\n".join([*lines, "]"]) + "\n")
    return "\n".join(parts)


def name(address: str) -> str:
    return unquote(urlsplit(address).path.rpartition("/")[2])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(lock(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
