"""What all tests share: an empty environment, a canary, and the real program."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from astro_token.log import logger
from astro_token.secrets.registry import close_backends
from astro_token.testing import appearances, make_token
from tests.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

# The same examples on every run, so that a failure is the change's, and no limits on single examples.
hypothesis.settings.register_profile("ours", deadline=None, derandomize=True, max_examples=100, database=None)
hypothesis.settings.load_profile("ours")

pytest_plugins = ["tests.schemas", "tests.servers.fixtures"]

# A shell without job control starts a background command with SIGINT ignored, and children inherit that:
# tests that end a program with Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
# The console script of the environment that runs the tests; or another one's, such as one with the wheel.
PROGRAM = Path(os.environ.get("ASTRO_TOKEN_TEST_PROGRAM") or Path(sys.executable).parent / "astro-token")
LOOPBACK = ("127.", "::1", "localhost")
# What a child process needs to be found and to speak UTF-8.
BASE = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
SHARED_MEMORY = Path("/dev/shm")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The thousands of tests live to the end: the garbage collector never has to look at them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine that runs the tests reaches the code under test, nor does its home."""
    home = tmp_path / "home"
    home.mkdir()
    for name in os.environ:
        if not name.startswith(("PYTEST_", "ASTRO_TOKEN_TEST_")):
            monkeypatch.delenv(name)
    for name, value in {
        **BASE,
        "HOME": str(home),
        "NO_GCE_CHECK": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that dials a real endpoint because a variable is missing fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def fresh_logger() -> Iterator[None]:
    """A command that ran in the tests' own process goes on showing messages."""
    before = dict(vars(logger))
    yield
    vars(logger).update(before)


@pytest.fixture(autouse=True)
def fresh_backends() -> Iterator[None]:
    yield
    close_backends()


def _parsing_once(load: Callable[[Any, str], Any], root: str) -> Callable[[Any, str], Any]:
    parsed: dict[str, Any] = {}

    def load_file(self: Any, path: str) -> Any:
        if not path.startswith(root):
            return load(self, path)
        if path not in parsed:
            parsed[path] = load(self, path)
        return parsed[path]

    load_file.parsed = parsed  # type: ignore[attr-defined]
    return load_file


@pytest.fixture(autouse=True)
def parsed_once() -> None:
    """The JSON files of botocore are parsed once in the tests' own process, and not for each session."""
    loaders: Any = sys.modules.get("botocore.loaders")
    if loaders is not None and not hasattr(loaders.JSONFileLoader.load_file, "parsed"):
        loaders.JSONFileLoader.load_file = _parsing_once(
            loaders.JSONFileLoader.load_file, loaders.BOTOCORE_ROOT
        )


@pytest.fixture
def canary() -> str:
    """A token of its own for each test, looked for everywhere it must not be."""
    return make_token()


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        arguments: what the test itself put on the command line.
        argv: the command lines that were seen while the program ran.
    """

    code: int
    stdout: str
    stderr: str
    arguments: tuple[str, ...] = field(default=(), compare=False)
    argv: str = field(default="", compare=False)


@dataclass
class Program:
    """
    Runs the real entry point in an environment of its own.

    After every run each registered canary is looked for on standard error and output, in command lines
    (unless the test put it on one), in the home, temporary and working folders and in shared memory:
    where it may be is said by `allowed`, a list of "stdout", "stderr", "argv" and paths.
    """

    folder: Path
    canaries: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        base = {**BASE, "HOME": str(self.home), "TMPDIR": str(self.temporary)}
        return {**base, **self.environ, **(extra or {})}

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
        allowed: Sequence[str | Path] = (),
        timeout: float = 120,
    ) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        code, stdout, stderr, seen = self._run(
            arguments, self.environment(env), cwd or self.work, data or b"", timeout
        )
        result = Result(
            code, stdout.decode(errors="replace"), stderr.decode(errors="replace"), arguments, seen
        )
        assert "Traceback" not in result.stderr
        assert self.leaks(result, allowed) == []
        return result

    def _run(
        self, arguments: Sequence[str], environ: Mapping[str, str], folder: Path, data: bytes, timeout: float
    ) -> tuple[int, bytes, bytes, str]:
        """Run it. Return its exit status, its two outputs, and the command lines that were seen."""
        with subprocess.Popen(
            [str(PROGRAM), *arguments],
            env=environ,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:
            watch = Watch(running.pid)
            watch.start()
            try:
                stdout, stderr = running.communicate(data, timeout=timeout)
            except subprocess.TimeoutExpired:
                running.kill()
                raise
            finally:
                seen = watch.stop()
        return running.returncode, stdout, stderr, seen

    def leaks(self, result: Result, allowed: Sequence[str | Path] = ()) -> list[str]:
        """Where a canary is and must not be, by name."""
        texts = {"stdout": result.stdout, "stderr": result.stderr, "argv": result.argv}
        texts = {name: text for name, text in texts.items() if name not in allowed}
        homes = SHARED_MEMORY.glob("astro-token-home-*")  # those of other runs vanish while we look
        for folder in (self.home, self.work, self.temporary, *homes):
            for path in below(folder):
                if path not in allowed:
                    with suppress(FileNotFoundError):
                        target = str(path.readlink()) if path.is_symlink() else ""
                        texts[f"name of {path}"] = f"{path.name} {target}"
                        texts[str(path)] = path.read_bytes().decode("latin-1") if path.is_file() else ""
        # Most runs leak nothing, and one look at all texts together is enough to know it.
        together = " ".join(texts.values())
        return [
            f"{name}: {form}"
            for canary in self.canaries
            if appearances(canary, together)
            for name, text in texts.items()
            if name != "argv" or canary not in " ".join(result.arguments)
            for form in appearances(canary, text)
        ]


def below(folder: Path) -> list[Path]:
    """The folder and all that is in it; nothing if it vanishes meanwhile."""
    with suppress(FileNotFoundError):
        return [folder, *folder.rglob("*")]
    return []


@pytest.fixture
def program(tmp_path: Path, canary: str) -> Program:
    made = Program(tmp_path, [canary])
    for folder in (made.home, made.work, made.temporary):
        folder.mkdir(exist_ok=True)
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file below the working folder that only we can write."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write
