"""A backend that a test controls, children that tell what they got, and the program in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.sweep_process import Forks
from tests.conftest import BASE, PROGRAM, Program, Result
from tests.timing import PATIENCE
from tests.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.cli.token_life import TokenLife
    from tests.servers.astro_api import AstroApi

HERE = Path(__file__).parent
CHILDREN = HERE / "children"

_PLUGIN = '''
import os, time
from pathlib import Path
from astro_token import AccessDeniedError, BackendUnavailableError, SecretNotFoundError, SecretValue

class Planted:
    """Keeps secrets in the folder PLANTED, and notes there what is done with it."""

    def __init__(self):
        self.folder = Path(os.environ["PLANTED"])

    def read(self, ref, *, timeout):
        self.note(f"read {ref.name}")
        if ref.name.startswith("silent"):
            time.sleep(60)
        if ref.name == "denied":
            raise AccessDeniedError(f"{ref}: not for you", hint="ask")
        if not self.file(ref).exists():
            raise SecretNotFoundError(f"{ref}: no such secret", hint="see what there is", version="0")
        return SecretValue(self.file(ref).read_bytes(), self.version(ref))

    def write(self, ref, value, *, expected_version, timeout):
        if expected_version not in (None, self.version(ref)):
            raise BackendUnavailableError(f"{ref}: somebody else wrote it", hint="look at it, and try again")
        self.note(f"write {ref.name}")
        version = str(int(self.version(ref)) + 1)
        self.file(ref).write_bytes(value.reveal())
        self.file(ref, ".version").write_text(version)
        return version

    def version(self, ref):
        file = self.file(ref, ".version")
        return file.read_text() if file.exists() else "1" if self.file(ref).exists() else "0"

    def file(self, ref, ending=""):
        return self.folder / (ref.name + ending)

    def close(self):
        self.note("close")
        if (self.folder / "slow-close").exists():
            time.sleep(0.3)

    def credential_variables(self):
        return ["PLANTED_PASSWORD"]

    def note(self, line):
        with (self.folder / "log").open("a") as log:
            log.write(line + "\\n")
'''


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


@dataclass
class ForkedProgram(Program):
    """
    The program, of which only the first run is a start: to load Python and our modules again takes longest.
    The others are forks of a process that has loaded them, and call its entry point.

    Attributes:
        is_started: true once the first run was a start, or if this case needs none.
    """

    forks: Forks | None = None
    is_started: bool = True

    def _run(
        self, arguments: Sequence[str], environ: Mapping[str, str], folder: Path, data: bytes, timeout: float
    ) -> tuple[int, bytes, bytes, str]:
        if self.forks is None or not self.is_started or _changes_python(environ):
            self.is_started = True
            return super()._run(arguments, environ, folder, data, timeout)
        (theirs, stdin_pipe), (stdout_pipe, out), (stderr_pipe, err) = os.pipe(), os.pipe(), os.pipe()
        fork = self.forks.start(arguments, environ, folder, [theirs, out, err])
        for end in (theirs, out, err):
            os.close(end)
        watch = Watch(fork.pid)
        watch.start()
        try:
            ended = fork.communicate(data, [stdin_pipe, stdout_pipe, stderr_pipe], timeout=timeout)
        finally:
            seen = watch.stop()
        return *ended, seen


def _changes_python(environ: Mapping[str, str]) -> bool:
    """True if a variable matters to the interpreter's start."""
    return environ.get("LC_ALL") != BASE["LC_ALL"] or any(
        name.startswith("PYTHON") and name != "PYTHONPATH" for name in environ
    )


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path, canary: str) -> Program:
    """
    Each test function starts the real program, in the first run of its first case.

    Long tests start it each time. So do all tests if ASTRO_TOKEN_TEST_PROGRAM names an installation.
    """
    function = request.node
    always = "ASTRO_TOKEN_TEST_PROGRAM" in os.environ or function.get_closest_marker("long")
    forks = None if always else request.getfixturevalue("forks")
    cases = function.callspec.indices.values() if hasattr(function, "callspec") else ()
    made = ForkedProgram(tmp_path, [canary], forks=forks, is_started=any(cases))
    for folder in (made.home, made.work, made.temporary):
        folder.mkdir(exist_ok=True)
    return made


@pytest.fixture
def started_each_time(program: Program) -> None:
    """Each run of the test starts the real program."""
    assert isinstance(program, ForkedProgram)
    program.forks = None


@dataclass(frozen=True)
class Planted:
    """The service behind `planted:NAME`."""

    folder: Path

    def store(self, name: str, text: str | bytes) -> None:
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def stored(self, name: str) -> str:
        return (self.folder / name).read_text()

    @property
    def log(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(scope="session")
def planted_distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds a backend's distribution."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "planted.py").write_text(_PLUGIN)
    info = folder / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[astro_token.backends]\nplanted = planted:Planted\n")
    return folder


@pytest.fixture
def planted(program: Program, planted_distribution: Path, tmp_path: Path) -> Planted:
    folder = tmp_path / "planted"
    folder.mkdir()
    program.environ |= {
        "PYTHONPATH": str(planted_distribution),
        "ASTRO_TOKEN_PLUGINS": "planted",
        "PLANTED": str(folder),
    }
    return Planted(folder)


@pytest.fixture
def prod(planted: Planted, canary: str) -> str:
    """A reference to a stored token."""
    planted.store("prod", canary)
    return "planted:prod"


def child(name: str, *arguments: str) -> list[str]:
    """The command of one of the children."""
    return [sys.executable, "-IS", str(CHILDREN / f"{name}.py"), *arguments]


@dataclass
class Background:
    """The program at work, in a session without a terminal."""

    process: subprocess.Popen[bytes]
    program: Program

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, *, allowed: Sequence[str | Path] = (), timeout: float = PATIENCE) -> Result:
        stdout, stderr = self.process.communicate(timeout=timeout)
        result = Result(self.process.returncode, stdout.decode(), stderr.decode())
        assert "Traceback" not in result.stderr
        assert self.program.leaks(result, allowed) == []
        return result


@pytest.fixture
def start(program: Program) -> Iterator[Callable[..., Background]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> Background:
        process = subprocess.Popen(
            [*wrapper, str(PROGRAM), *arguments],
            env=program.environment(env),
            cwd=cwd or program.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return Background(process, program)

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def homes(program: Program, tmp_path: Path) -> Path:
    """A folder of this test alone where private homes are made."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    program.environ["XDG_RUNTIME_DIR"] = str(folder)
    return folder


def crossed(names: str, *values: Sequence[Any]) -> pytest.MarkDecorator:
    """
    Parametrize a test with a product of values. Each value is in an ordinary case; the other cases are long.

    The name `masked_or_not` is that of the fixture.
    """
    usual = [tuple(each[number % len(each)] for each in values) for number in range(max(map(len, values)))]
    cases = [
        pytest.param(*case, marks=() if case in usual else pytest.mark.long) for case in product(*values)
    ]
    indirect = [name for name in names.split() if name == "masked_or_not"]
    return pytest.mark.parametrize(names.split(), cases, indirect=indirect)


EITHER_WAY = ("--no-mask", "--mask")


@pytest.fixture(params=EITHER_WAY)
def masked_or_not(request: pytest.FixtureRequest, program: Program) -> None:
    """`exec` filters what the command prints, or does not: as in a CI system, and as out of one."""
    if request.param == "--mask":
        program.environ["CI"] = "true"


@pytest.fixture(params=["file", "vault"])
def life(request: pytest.FixtureRequest, program: Program, astro_api: AstroApi, tmp_path: Path) -> TokenLife:
    """A token of a deployment under a reference, and an admin's credential."""
    from tests.cli.token_life import FileStore, TokenLife, VaultStore

    store: FileStore | VaultStore
    if request.param == "file":
        store = FileStore(program, tmp_path / "store")
    else:
        store = VaultStore(program, request.getfixturevalue("openbao"))
    return TokenLife(program, astro_api, store)
