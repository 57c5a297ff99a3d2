"""
Rehearse a release: build it twice, compare the bytes, check and install the files. Nothing is uploaded.

    rehearse.py DIST [TAG]

The workflow of a release runs this too, and uploads what it leaves in DIST.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "install")


def main(target: str, tag: str = "") -> None:
    version = re.search(
        r'"(.+)"', (ROOT / "core/astro_token/version.py").read_text().partition("__version__")[2]
    )
    if version is None:
        sys.exit("core/astro_token/version.py states no version")
    if problem := disagreement(version[1], tag, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        sys.exit(problem)
    folder = Path(target).resolve()
    if folder.is_dir() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty: remove it first")
    done("the version, the changelog and the tag agree" if tag else f"the version is {version[1]}")
    build(folder, umask=0o022, zone="UTC")
    with tempfile.TemporaryDirectory() as again:
        build(Path(again), umask=0o077, zone="Asia/Tokyo")
        if differing := difference(folder, Path(again)):
            sys.exit(f"two builds differ: {', '.join(differing)}")
    done("two builds are the same")
    if problem := wrong_sum(folder):
        sys.exit(problem)
    done("the checksums are right")
    archives = [*folder.glob("*.tar.gz"), *folder.glob("*.whl")]
    run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *map(str, archives))
    done("the metadata is accepted")
    for archive in archives:
        installation(archive, version[1])
        done(f"{archive.name} works in an empty environment")
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>10}  {path.name}")  # noqa: T201 (the result)


def disagreement(version: str, tag: str, changelog: str) -> str | None:
    """Return the reason against a release with this tag; without a tag, that against any release."""
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    if not headings:
        return "CHANGELOG.md has no heading of a version"
    if not tag:
        return None
    if tag != f"v{version}":
        return f"the tag {tag} is not v{version}, the version in core/astro_token/version.py"
    if not re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", headings[0]):
        return f"the first heading of CHANGELOG.md is {headings[0]}, not {version} - YYYY-MM-DD"
    return None


def build(folder: Path, *, umask: int, zone: str) -> None:
    before = os.umask(umask)
    try:
        run("make", "--no-print-directory", "-o", ".venv-core/done", "dist", f"DIST={folder}", TZ=zone)
    finally:
        os.umask(before)


def difference(one: Path, other: Path) -> list[str]:
    names = sorted({path.name for folder in (one, other) for path in folder.iterdir()})
    return [name for name in names if content(one / name) != content(other / name)]


def wrong_sum(folder: Path) -> str | None:
    sums = dict(line.split("  ", 1)[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "SHA256SUMS"}
    actual = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    wrong = sorted({name for name, _ in sums.items() ^ actual.items()})
    return f"SHA256SUMS is wrong for {', '.join(wrong)}" if wrong else None


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def installation(archive: Path, version: str) -> None:
    """Install an archive with the locked packages, and use it without the source."""
    with tempfile.TemporaryDirectory() as work:
        run(sys.executable, "-m", "venv", f"{work}/venv")
        python = f"{work}/venv/bin/python"
        run(python, *PIP, "--require-hashes", "--only-binary", ":all:", "-r", "requirements/core.txt")
        run(python, *PIP, "--no-deps", "--no-build-isolation", str(archive))
        program, environ = f"{work}/venv/bin/astro-token", {"HOME": work, "XDG_CONFIG_HOME": work}
        shown = run(program, "--version", cwd=work, **environ)
        if shown != f"astro-token {version}\n":
            sys.exit(f"{archive.name} says {shown!r}")
        token = run(python, "-c", "from astro_token.testing import make_token; print(make_token())", cwd=work)
        run(program, "put", "--create-key", "file:t.age", cwd=work, text=token, **environ)
        child = run(
            program,
            "exec",
            "--no-mask",
            "file:t.age",
            "--",
            "printenv",
            "ASTRO_API_TOKEN",
            cwd=work,
            **environ,
        )
        if child != token:
            sys.exit(f"{archive.name} hands over another token")


def run(*command: str, cwd: str | Path = ROOT, text: str = "", **environ: str) -> str:
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environ},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


def done(text: str) -> None:
    print(f"ok  {text}", flush=True)  # noqa: T201 (the progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
