"""An Astro project in a git repository, with all that a deploy needs, and what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.programs.bench import STANDIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Program, Result

DEPLOYMENT, WORKSPACE = "cldep0expected", "clws0expected"


@dataclass
class Project:
    """
    Attributes:
        bin: the only folder on PATH: git, the stand-in for the Astro CLI, and a docker that does nothing.
        env: variables of the next runs.
        open: files to be closed at the end.
    """

    program: Program
    canary: str
    folder: Path
    bin: Path
    env: dict[str, str] = field(default_factory=dict)
    open: list[IO[str]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.program.home

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def settings(self, text: str) -> None:
        """The project's own config.yaml, committed."""
        self.write(".astro/config.yaml", text)
        self.commit()

    def policy(self, text: str) -> None:
        path = self.write("astro-token.toml", text)
        path.chmod(0o600)
        self.commit()

    def stored(self, context: str, *, top: str = "context: astronomer.io") -> Path:
        """The home's config.yaml, as the Astro CLI leaves it."""
        (self.home / ".astro").mkdir(exist_ok=True)
        path = self.home / ".astro" / "config.yaml"
        lines = "".join(f"        {line}\n" for line in context.splitlines())
        path.write_text(f"{top}\ncontexts:\n    astronomer_io:\n        domain: astronomer.io\n{lines}")
        return path

    def script(self, name: str, text: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "maintenance.auto=false")
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", *who, *arguments], cwd=self.folder, env=env, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", "More")

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Result:
        here = {"PATH": str(self.bin), "TOKEN": self.canary, **self.env, **(env or {})}
        return self.program("check", "--deploy", *arguments, env=here, cwd=cwd or self.folder)

    def exec(self, *command: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Result:
        """Runs a command with the token; which one it is, the project's file says where there is one."""
        token = () if (self.folder / "astro-token.toml").exists() else ("env:TOKEN",)
        here = {"PATH": str(self.bin), "TOKEN": self.canary, **self.env, **(env or {})}
        return self.program("exec", *token, "--", *command, env=here, cwd=cwd or self.folder)

    def deploy(self, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What JSON says of the project, once it is what people are told too."""
        result = self.run(*(arguments or ("env:TOKEN",)), "--format", "json", env=env)
        said: dict[str, Any] = json.loads(result.stdout)["deploy"]
        for verdict in said["verdicts"]:
            assert f"astro-token: {verdict['level']}: deploy: {verdict['message']}\n" in result.stderr
            assert f"astro-token: hint: {verdict['hint']}\n" in result.stderr
        return said


def make(program: Program, canary: str, tmp_path: Path) -> Project:
    made = Project(program, canary, program.work, tmp_path / "bin")
    made.bin.mkdir()
    for name, target in (("git", shutil.which("git")), ("python3", sys.executable), ("astro", STANDIN)):
        (made.bin / name).symlink_to(Path(str(target)))
    made.script("docker", "exit 1")
    made.write(".astro/config.yaml", "project:\n    name: demo\n")
    made.write("Dockerfile", "FROM astrocrpublic.azurecr.io/runtime:3.1-1\n")
    made.write("requirements.txt", "# none\n")
    made.write("dags/etl.py", "# a DAG\n")
    for path, content in _first_commit(made).items():
        target = made.folder / path
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
    return made


_REPOSITORY: dict[Path, bytes | None] = {}


def _first_commit(project: Project) -> dict[Path, bytes | None]:
    """The folders (None) and files of a repository that holds the project. They are made once."""
    if not _REPOSITORY:
        project.git("init", "--quiet")
        project.commit()
        for path in sorted(project.folder.glob(".git/**/*")):
            if path.suffix != ".sample":
                content = None if path.is_dir() else path.read_bytes()
                _REPOSITORY[path.relative_to(project.folder)] = content
    return _REPOSITORY


def tree(folder: Path) -> dict[str, Any]:
    """All that can be seen of a folder: names, content, modes, and when each was changed."""
    seen = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        seen[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, content)
    return seen
