"""
Write the software bill of materials of a release, as CycloneDX JSON.

    sbom.py VERSION FILE…       to standard output

Its components are the packages of the pylocks, with the digest of every wheel that an installation may use.
The files are those of the release. The same input gives the same bytes: nothing in it is a time or random.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).resolve().parent.parent / "requirements"
NAME = "astro-token"


def main(version: str, *files: str) -> None:
    extras: dict[tuple[str, str], set[str]] = {}
    wheels: dict[tuple[str, str], dict[str, str]] = {}
    for path in sorted(LOCKS.glob("pylock*.toml")):
        extra = path.name.removeprefix("pylock").removesuffix("toml").strip(".") or "core"
        for package in tomllib.loads(path.read_text(encoding="utf-8"))["packages"]:
            key = package["name"], package["version"]
            extras.setdefault(key, set()).add(extra)
            names = {
                wheel["path"].rpartition("/")[2]: wheel["hashes"]["sha256"] for wheel in package["wheels"]
            }
            wheels.setdefault(key, {}).update(names)
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": ourselves(version, [Path(file) for file in files])},
        "components": [component(*key, extras[key], wheels[key]) for key in sorted(extras)],
        # The locks do not say which package needs which.
        "compositions": [{"aggregate": "incomplete", "assemblies": [reference(NAME, version)]}],
    }
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    print(json.dumps(document, indent=2, sort_keys=True))  # noqa: T201 (the result)


def ourselves(version: str, files: list[Path]) -> dict[str, Any]:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {
        "type": "application",
        "name": NAME,
        "version": version,
        "bom-ref": reference(NAME, version),
        "purl": reference(NAME, version),
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "externalReferences": distributions(digests),
    }


def component(name: str, version: str, extras: set[str], wheels: dict[str, str]) -> dict[str, Any]:
    """A package that the core needs is required; one of an extra is optional."""
    return {
        "type": "library",
        "name": name,
        "version": version,
        "bom-ref": reference(name, version),
        "purl": reference(name, version),
        "scope": "required" if "core" in extras else "optional",
        "externalReferences": distributions(wheels),
        "properties": [{"name": "astro-token:extra", "value": extra} for extra in sorted(extras)],
    }


def distributions(digests: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"type": "distribution", "url": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for name, digest in sorted(digests.items())
    ]


def reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


if __name__ == "__main__":
    main(*sys.argv[1:])
