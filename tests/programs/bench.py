"""Runs of an Astro CLI, the real one or the stand-in, with no network but a loopback API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.programs.standin.block_yaml import read_yaml
from tests.programs.standin.config import look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.astro_api import AstroApi

STANDIN = Path(__file__).parent / "astro"

# What each fact is asserted of: the stand-in, and a real program where ASTRO_BIN names one.
PROGRAMS = {"stand-in": STANDIN}
if named := os.environ.get("ASTRO_BIN"):
    PROGRAMS["real"] = Path(shutil.which(named) or named).resolve()

# A context as a login or we leave it, of an organization and workspace that no token of ours is for.
STALE = """\
context: localhost
contexts:
  localhost:
    domain: localhost
    organization: clstaleorganization
    workspace: clstaleworkspace
    last_used_workspace: clstaleworkspace
"""


# Variables of an environment in which the telemetry is on, as nearly everybody's is.
TELEMETRY_ON = {"ASTRO_TELEMETRY_DISABLED": None}


def wait_for_telemetry(folder: Path) -> None:
    """Wait until no process of the telemetry with a home in the folder is left: each ends by itself."""
    until = time.monotonic() + 10
    while _senders(bytes(folder)):
        assert time.monotonic() < until
        time.sleep(0.02)


def _senders(folder: bytes) -> list[Path]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_sender = b"_telemetry-send" in (process / "cmdline").read_bytes()
            if is_sender and folder in (process / "environ").read_bytes():
                found.append(process)
    return found


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str


class Bench:
    """
    Attributes:
        home: for ASTRO_HOME; its config.yaml names the API and asks for no update.
        project: an Astro project in a git repository, everything committed.
    """

    def __init__(self, program: Path, folder: Path, api: AstroApi) -> None:
        self.program = program
        self.api = api
        self.home = folder / "astro-home"
        self.project = folder / "project"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.seed()

    @property
    def file(self) -> Path:
        return self.home / ".astro" / "config.yaml"

    def seed(self, text: str = "") -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        core = f'upgrade_message: "false"\nlocal:\n  core: "{self.api.url}"\n'
        self.file.write_text(core + text, "utf-8")
        self.file.chmod(0o600)

    def config(self, key: str) -> Any:
        """A value of config.yaml by its path, such as `contexts.localhost.workspace`."""
        return look_up(read_yaml(self.file.read_text("utf-8")), key)

    def environment(self, **variables: str | None) -> dict[str, str]:
        env: dict[str, str | None] = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.elsewhere),
            "ASTRO_HOME": str(self.home),
            "ASTRO_DOMAIN": "localhost",
            "ASTRO_TELEMETRY_DISABLED": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        return {name: value for name, value in {**env, **variables}.items() if value is not None}

    def run(
        self,
        *arguments: str,
        token: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> Result:
        done = subprocess.run(
            [self.program, *arguments],
            env=self.environment(ASTRO_API_TOKEN=token, **(env or {})),
            cwd=cwd or self.elsewhere,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=30,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    # -- the project -------------------------------------------------------------------------

    def make_project(self, *, settings: str = "", commit: bool = True) -> Path:
        (self.project / ".astro").mkdir(parents=True)
        (self.project / ".astro" / "config.yaml").write_text(f"project:\n  name: demo\n{settings}")
        (self.project / "dags").mkdir()
        (self.project / "dags" / "etl.py").write_text("# a DAG\n")
        self.git("init", "--quiet")
        if commit:
            self.git("add", "--all")
            self.git("-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--quiet", "-m", "First")
        return self.project

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.project, env=self.environment(), check=True)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git(
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@localhost",
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            "More",
        )
