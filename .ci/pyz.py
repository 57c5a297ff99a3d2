"""
Packs an installed folder into a zipapp for Python 3.11 and later: `python .ci/pyz.py FOLDER FILE`;
or with `--function` into the zip of a function for AWS Lambda, which is unpacked before it runs.

The same folder gives the same bytes, which the `zipapp` module does not promise:
names are in order, and all have one time (SOURCE_DATE_EPOCH) and mode.
A folder that lacks what Python 3.11 needs, because the Python that installed it does not, is refused.
"""

from __future__ import annotations

import os
import sys
import time
import zipfile
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# A compiled extension cannot be imported from a zip, so what encrypted files need stays out.
# The others are large, and rich has them only for source code and Markdown, which we do not print.
LEFT_OUT = ("pyrage", "pygments", "markdown_it", "mdurl", "bin")
COMPILED = {".so", ".pyd", ".dylib"}
OLDEST = {"python_version": "3.11", "python_full_version": "3.11.0", "extra": ""}
# A function prints no tables, calls these services of AWS only, and uses botocore without boto3.
NOT_IN_FUNCTION = ("rich", "pygments", "markdown_it", "mdurl", "boto3", "s3transfer", "bin")
SERVICES = {"secretsmanager", "kms", "ssm", "sts"}
EARLIEST = 315532800  # 1980, before which a zip has no time
# Has to be understood by a Python that is too old.
MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.stderr.write("astro-token: error: this needs Python 3.11 or later\\n")
    sys.exit(78)

from astro_token.cli import run

run()
"""


def pack(folder: Path, target: Path, epoch: int, *, is_function: bool = False) -> None:
    if lacking := missing(folder):
        sys.exit(f"{', '.join(lacking)}: not there, and needed by Python 3.11: install with that one")
    moment = time.gmtime(max(epoch, EARLIEST))[:6]
    files = {name: (folder / name).read_bytes() for name in contents(folder, is_function=is_function)}
    if not is_function:
        files["__main__.py"] = MAIN.encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        if not is_function:
            out.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(out, "w") as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, moment)
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 9)
    target.chmod(0o644 if is_function else 0o755)


def missing(folder: Path) -> list[str]:
    there = list(distributions(path=[str(folder)]))
    wanted = [Requirement(text) for distribution in there for text in distribution.requires or ()]
    needed = {canonicalize_name(one.name) for one in wanted if not one.marker or one.marker.evaluate(OLDEST)}
    return sorted(needed - {canonicalize_name(distribution.name) for distribution in there})


def contents(folder: Path, *, is_function: bool = False) -> list[str]:
    names, left_out = [], NOT_IN_FUNCTION if is_function else LEFT_OUT
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        package = relative.parts[0]
        if not path.is_file() or "__pycache__" in relative.parts:
            continue
        if package in left_out or package.startswith(tuple(f"{name}-" for name in left_out)):
            continue
        data = relative.parts[2:-1] if relative.parts[:2] == ("botocore", "data") else ()
        if is_function and data and data[0] not in SERVICES:
            continue
        # pip notes where it installed from, and lists what we have left out.
        if package.endswith(".dist-info") and path.name in {
            "RECORD",
            "INSTALLER",
            "REQUESTED",
            "direct_url.json",
        }:
            continue
        if path.suffix in COMPILED and not is_function:
            sys.exit(f"{relative} is compiled, and cannot be imported from a zip")
        names.append(relative.as_posix())
    return names


if __name__ == "__main__":
    *options, source, result = sys.argv[1:]
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", EARLIEST))
    pack(Path(source), Path(result), moment, is_function=options == ["--function"])
