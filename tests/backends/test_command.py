"""Programs as backends: which are started, with what, and what their end means."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import AstroTokenError, ConfigError, InvalidRefError, UnusableSecretError
from astro_token.secrets.ref import SecretRef
from astro_token.testing import BackendContract, Harness, appearances, reachable_text
from astro_token_backends.command import Command
from tests.conftest import PROGRAM
from tests.rows import each_row
from tests.timing import is_running, wait_until, within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Program


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a shell script as the program `it`, the only one that the environment lists."""
    folder = tmp_path / "providers"
    folder.mkdir()
    path = folder / "it"
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS", str(path))
    monkeypatch.delenv("ASTRO_TOKEN_COMMANDS_KEEP", raising=False)

    def write(script: str) -> Path:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def read(name: str = "it/n", seconds: float = 10.0) -> bytes:
    return Command().read(SecretRef("command", name), timeout=seconds).reveal()


def failure(name: str = "it/n", seconds: float = 10.0) -> AstroTokenError:
    with pytest.raises(AstroTokenError) as raised:
        read(name, seconds)
    assert "\n" not in raised.value.message + (raised.value.hint or "")
    return raised.value


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, provider: Callable[[str], Path], tmp_path: Path) -> Harness:
        stored = tmp_path / "stored"
        provider(f'test "$1" = prod || {{ echo no such name >&2; exit 66; }}\ncat {shlex.quote(str(stored))}')

        def store(data: bytes) -> None:
            stored.write_bytes(data)

        return Harness(Command(), store, present="command:it/prod", missing="command:it/nothing")


# -- what it gets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "argument"),
    [
        ("command:it/a/b", "a/b"),
        ("command:it//a//b", "/a//b"),
        ("command:it/op://Vault/My%20Item/field", "op://Vault/My Item/field"),
        ("command:it/a%23b%3Fc%2F$(id);`x`'\"*", "a#b?c/$(id);`x`'\"*"),
    ],
)
def test_the_name_is_its_only_argument(
    provider: Callable[[str], Path], reference: str, argument: str
) -> None:
    provider("printf '%s|' $# \"$@\"")
    ref = SecretRef.parse(reference)
    assert f"1|{argument}|" == Command().read(ref, timeout=10).reveal().decode()
    assert ref == SecretRef.parse(str(ref))


@each_row(
    "name",
    ["it", "it/", "/n", "it/-n", "it/%2Dn", "it/--help", "-it/n", "../it/n", "it/../n", "it/./n", "it/a%0A"],
)  # fmt: skip
def test_a_name_that_is_none_or_an_option_is_refused(name: str) -> None:
    with pytest.raises(InvalidRefError):
        SecretRef.parse(f"command:{name}")


def test_its_environment_is_clean(
    provider: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = "sys.stdin.read(), os.listdir('/proc/self/fd')"
    shown = f"dict(os.environ), os.getcwd(), {files}, os.getsid(0) == os.getpid()"
    code = f"import json, os, sys; print(json.dumps([{shown}]))"
    provider(f"exec {sys.executable} -I -S -c {shlex.quote(code)}")
    monkeypatch.setenv("VAULT_TOKEN", "v")
    monkeypatch.setenv("OP_TOKEN", "o\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LANG", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS_KEEP", " OP_TOKEN, NOT_SET")
    try:
        environ, folder, stdin, descriptors, leads = json.loads(read())
    finally:
        os.close(inherited)
    for name in ("PWD", "OLDPWD", "_", "SHLVL", "LC_CTYPE"):  # of shells, and of Python
        environ.pop(name, None)
    assert {
        "HOME": str(tmp_path),
        "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin",
        "OP_TOKEN": "o",
    } == environ
    assert ("/", "", True) == (folder, stdin, leads)
    assert {"0", "1", "2", "3"} >= set(descriptors)
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS_KEEP", "OP_TOKEN=o")
    assert "ASTRO_TOKEN_COMMANDS_KEEP is not a list of variables" == failure().message


# -- which are started --------------------------------------------------------------------------------


def test_only_listed_programs_are_started(
    provider: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = provider("echo said")
    monkeypatch.setenv("PATH", str(path.parent))
    assert b"said\n" == read()
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS", f" {path}{os.pathsep}{path}\n")  # twice the same
    assert b"said\n" == read()
    for listed, complaint in {
        "": "is not set",
        f"{path}.old": "does not list a program named it",
        "it": "contains a relative path",
        f"bin/it{os.pathsep}{path}": "contains a relative path",
        f"{path}{os.pathsep}{tmp_path}/other/it": "lists several programs named it",
        f"{tmp_path}/nothing/it": "is not that of an executable file",
    }.items():
        monkeypatch.setenv("ASTRO_TOKEN_COMMANDS", listed)
        error = failure()
        assert (78, True) == (error.exit_code, complaint in error.message), (listed, error.message)
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS", str(path))
    path.chmod(0o644)
    assert "is not that of an executable file" in failure().message
    path.write_text("#!/nowhere/sh\n")
    path.chmod(0o755)
    assert isinstance(failure(), ConfigError)


def test_one_in_the_checkout_is_refused_unless_its_folder_is_listed(
    provider: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = provider("echo said")
    (path.parent / ".git").mkdir()
    monkeypatch.chdir(path.parent)
    assert (78, "the program it lies in the checkout") == (failure().exit_code, failure().message)
    monkeypatch.setenv("ASTRO_TOKEN_PROGRAM_FOLDERS", str(path.parent))
    assert b"said\n" == read()


# -- what its end means -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("", 66, "the program printed no value"),
        ("echo", 66, "the program printed no value"),
        ("echo {token} >&2", 66, "the program printed no value"),
        ("echo {token}; echo {token} >&2; exit 1", 69, "the program ended with status 1"),
        ("exit 2", 69, "the program ended with status 2"),
        ("exit 64", 64, "the program ended with status 64, a malformed name"),
        ("exit 65", 65, "the program ended with status 65, malformed data"),
        ("exit 66", 66, "the program ended with status 66, no such secret"),
        ("exit 69", 69, "the program ended with status 69, the service is down"),
        ("exit 75", 75, "the program ended with status 75, try again later"),
        ("exit 76", 76, "the program ended with status 76, a malformed response"),
        ("exit 77", 77, "the program ended with status 77, denied"),
        ("exit 78", 78, "the program ended with status 78, its configuration"),
        ("exit 126", 78, "the program ended with status 126: it cannot run another program"),
        ("no-such-program", 78, "the program ended with status 127: it cannot run another program"),
        ("echo {token}; kill -9 $$", 69, "the program was ended by signal 9"),
        ("exit 139", 69, "the program was ended by signal 11"),
        ("exit 192", 69, "the program was ended by signal 64"),
        ("exit 193", 69, "the program ended with status 193"),
        ("exit 255", 69, "the program ended with status 255"),
        ("exec /bin/sh -c 'while :; do echo {token}; done'", 65, "the secret is larger than 256 KiB"),
    ],
)  # fmt: skip
def test_each_end_has_its_error(
    provider: Callable[[str], Path], canary: str, script: str, code: int, message: str
) -> None:
    provider(script.format(token=canary))
    error = failure()
    assert (code, message) == (error.exit_code, error.message)
    assert appearances(canary, reachable_text(error)) == []


def test_an_empty_output_is_not_a_missing_secret(provider: Callable[[str], Path]) -> None:
    """A shell hides the denial of `read | select`: a chain must not continue after it."""
    provider("(exit 77) | cat")
    assert UnusableSecretError is type(failure())


def test_the_largest_secret_is_read(provider: Callable[[str], Path]) -> None:
    provider("head -c 262144 /dev/zero | tr '\\0' x")
    assert b"x" * 262144 == read()


@pytest.mark.parametrize(
    "script", ["sleep 30", "echo said; sleep 30", "exec >&-; sleep 30", "(sleep 30) & wait"]
)
def test_one_that_hangs_is_killed_at_the_deadline(provider: Callable[[str], Path], script: str) -> None:
    provider(script)
    start = time.monotonic()
    error = failure(seconds=0.3)
    assert (75, True) == (error.exit_code, "did not end in time" in error.message)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("output", ["", " >/dev/null"])
def test_its_end_ends_the_read_and_what_it_left_running(
    provider: Callable[[str], Path], tmp_path: Path, output: str
) -> None:
    left = tmp_path / "left"
    provider(f"sleep 60{output} & echo $! > {left}; echo said")
    with within(0):
        assert b"said\n" == read()
    wait_until(lambda: not is_running(int(left.read_text())))


def test_one_that_closes_its_output_and_ends_later_has_printed_its_value(
    provider: Callable[[str], Path],
) -> None:
    provider("echo said; exec >&-; sleep 0.2")
    assert b"said\n" == read()
    provider("echo said; exec >&-; sleep 0.2; exit 77")
    assert 77 == failure().exit_code


def test_one_that_forks_is_read_to_its_own_end(provider: Callable[[str], Path]) -> None:
    provider("(sleep 0.2; echo of a child) & wait")
    assert b"of a child\n" == read()


# -- through the command line -------------------------------------------------------------------------


def test_exec_gives_the_token_and_withholds_what_the_program_may_read(
    program: Program, provider: Callable[[str], Path], canary: str
) -> None:
    # The line end that `echo` adds is removed.
    path = provider('test "$OP_TOKEN" = o && test "$1" = astro/prod && cat "$HOME/stored" && echo')
    (program.home / "stored").write_text(canary)
    environ = {"ASTRO_TOKEN_COMMANDS": str(path), "ASTRO_TOKEN_COMMANDS_KEEP": "OP_TOKEN,TZ"}
    shown = (
        "import os; print(os.environ['ASTRO_API_TOKEN'][-8:], *sorted({'OP_TOKEN', 'TZ'} & set(os.environ)))"
    )
    done = program(
        *("exec", "command:it/astro/prod", "--", sys.executable, "-c", shown),
        env={**environ, "OP_TOKEN": "o", "TZ": "UTC"},
        allowed=[program.home / "stored"],
    )
    assert (0, f"{canary[-8:]} TZ\n", "") == (done.code, done.stdout, done.stderr)


def test_exec_withholds_the_variables_of_programs_that_are_not_run(program: Program, canary: str) -> None:
    environ = {"ASTRO_TOKEN_COMMANDS_KEEP": "OP_TOKEN,TZ", "OP_TOKEN": "o", "TZ": "UTC", "T": canary}
    shown = "import os; print(*sorted({'OP_TOKEN', 'TZ', 'T'} & set(os.environ)))"
    done = program("exec", "env:T,command:it/n", "--", sys.executable, "-c", shown, env=environ)
    assert (0, "TZ\n", "") == (done.code, done.stdout, done.stderr)


def test_a_chain_continues_where_no_programs_are_listed(
    program: Program, provider: Callable[[str], Path], canary: str
) -> None:
    command = ("export", "--format", "value", "command:it/n,env:T")
    done = program(*command, env={"T": canary}, allowed=["stdout"])
    assert (0, canary, "") == (done.code, done.stdout, done.stderr)
    other = provider("echo said").with_name("other")
    done = program(*command, env={"T": canary, "ASTRO_TOKEN_COMMANDS": str(other)})
    assert (78, "") == (done.code, done.stdout)
    assert "ASTRO_TOKEN_COMMANDS does not list a program named it" in done.stderr


def test_a_project_file_cannot_name_a_program(
    program: Program, provider: Callable[[str], Path], canary: str
) -> None:
    path = provider(f"echo {canary}")
    (program.work / "astro-token.toml").write_text('[tokens.prod]\nref = "command:it/n"\n')
    done = program("export", "--format", "value", allowed=[path])
    assert (78, "") == (done.code, done.stdout)
    assert [
        "astro-token: error: command:it/n: ASTRO_TOKEN_COMMANDS is not set",
        "astro-token: hint: set it to the absolute path of it",
    ] == done.stderr.splitlines()


def test_a_slow_program_gets_the_time_of_the_command_and_is_retried_if_it_asks_for_it(
    program: Program, provider: Callable[[str], Path], canary: str, tmp_path: Path
) -> None:
    path = provider(f"cat {tmp_path}/first && rm {tmp_path}/first && exit 75\nsleep 0.5\necho {canary}")
    (tmp_path / "first").write_text("")
    environ = {"ASTRO_TOKEN_COMMANDS": str(path)}
    done = program("export", "--format", "value", "command:it/n", env=environ, allowed=["stdout", path])
    assert (0, canary, "") == (done.code, done.stdout, done.stderr)
    path.write_text("#!/bin/sh\nsleep 30\n")
    done = program("export", "--format", "value", "command:it/n", env={**environ, "ASTRO_TOKEN_TIMEOUT": "1"})
    assert (75, "") == (done.code, done.stdout)
    # The program is killed a moment before the command gives it up, unless the machine is busy.
    said = ("the program did not end in time, and was killed", "no answer within 1 s")
    assert done.stderr.startswith(tuple(f"astro-token: error: command:it/n: {each}\n" for each in said))


def test_a_signal_ends_the_program_too(
    program: Program, provider: Callable[[str], Path], tmp_path: Path
) -> None:
    path = provider(f"sleep 30 &\necho $$ > {tmp_path}/pid\nwait")
    environ = program.environment({"ASTRO_TOKEN_COMMANDS": str(path)})
    running = subprocess.Popen([PROGRAM, "export", "--format", "value", "command:it/n"], env=environ)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert running.poll() is None
        time.sleep(0.02)
    running.terminate()
    assert 143 == running.wait(timeout=30)
    group = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while exists(group):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
