"""`exec`: what the command gets, what it does not, and what is left of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.environment.export import DEAD_VARIABLES
from astro_token.secrets.schemes import credential_variables
from astro_token.testing import make_token
from tests.cli.conftest import child
from tests.conftest import PROGRAM, Result
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background, Planted
    from tests.conftest import Program

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
either_way = pytest.mark.usefixtures("masked_or_not")

# Written out here, so that a name which is lost from the table is missed.
SECRET = (
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ASTRONOMER_KEY_ID",
    "ASTRONOMER_KEY_SECRET",
    "ASTRO_TOKEN_AGE_KEY",
    "ASTRO_TOKEN_AGE_KEY_FILE",
    "ASTRO_TOKEN_ID_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "PLANTED_PASSWORD",
    "VAULT_CLIENT_KEY",
    "VAULT_PASSWORD",
    "VAULT_ROLE_ID",
    "VAULT_SECRET_ID",
    "VAULT_TOKEN",
    "VAULT_WRAPPED_SECRET_ID",
)
HARMLESS = {
    "ASTRO_DOMAIN": "astronomer.example",
    "ASTRO_TOKEN_REF": "planted:prod",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_REGION": "eu-west-1",
    "AZURE_CLIENT_ID": "client",
    "AZURE_TENANT_ID": "tenant",
    "EMPTY": "",
    "GOOGLE_CLOUD_PROJECT": "project",
    "VAULT_ADDR": "https://vault.example",
    "VAULT_CACERT": "/etc/ca.pem",
    "VAULT_NAMESPACE": "team",
    "WITH_LINES": "a\nb='\"$(x)",
}


def told(result: Result) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


# -- what the command gets --------------------------------------------------------------------------


def test_the_child_gets_the_token_and_a_home_and_loses_every_credential(
    program: Program, prod: str, canary: str
) -> None:
    secret = dict.fromkeys({*SECRET, *credential_variables(), *DEAD_VARIABLES}, "x")
    given = {**HARMLESS, **secret}
    result = program("exec", prod, "--", *child("tell"), env=given, allowed=["stdout"])
    environ = told(result)["environ"]
    home = environ.pop("ASTRO_HOME")
    expected = {k: v for k, v in program.environment(given).items() if k not in secret}
    assert (0, "", expected | {"ASTRO_API_TOKEN": canary, "ASTRO_TELEMETRY_DISABLED": "1"}) == (
        result.code,
        result.stderr,
        environ,
    )
    assert set(SECRET) <= secret.keys()
    assert Path(home).name.startswith("astro-token-home-")


def test_the_variable_that_the_token_came_from_is_dropped(program: Program, canary: str) -> None:
    result = program(
        "exec", "env:CI_TOKEN", "--", *child("tell"), env={"CI_TOKEN": canary}, allowed=["stdout"]
    )
    environ = told(result)["environ"]
    assert (canary, False) == (environ["ASTRO_API_TOKEN"], "CI_TOKEN" in environ)


def test_the_bare_token_of_the_environment_goes_the_same_way(program: Program, canary: str) -> None:
    result = program(
        "exec", "--", *child("tell"), env={"ASTRO_API_TOKEN": f' "{canary}"\n'}, allowed=["stdout"]
    )
    assert canary == told(result)["environ"]["ASTRO_API_TOKEN"]


def test_what_is_named_is_kept(program: Program, prod: str) -> None:
    given = {"VAULT_TOKEN": "a", "AWS_PROFILE": "b", "PLANTED_PASSWORD": "c"}
    keep = ("--keep-env", "VAULT_TOKEN", "--keep-env=PLANTED_PASSWORD")
    result = program("exec", *keep, prod, "--", *child("tell"), env=given, allowed=["stdout"])
    environ = told(result)["environ"]
    assert {"VAULT_TOKEN": "a", "PLANTED_PASSWORD": "c"} == {k: environ[k] for k in given if k in environ}


@either_way
def test_what_is_no_text_passes_unchanged(program: Program, prod: str) -> None:
    script = 'printf "%s\\0" "$RAW" "$@"'
    arguments = [b"\xfe\xff", b"", b"--", b"--help", b"a b\n", b"exec"]
    done = subprocess.run(
        [
            str(PROGRAM).encode(),
            b"exec",
            prod.encode(),
            b"--",
            b"sh",
            b"-c",
            script.encode(),
            b"sh",
            *arguments,
        ],
        env={**program.environment(), "RAW": os.fsdecode(b"\xff\xc3")},
        capture_output=True,
        check=False,
    )
    expected = b"\0".join([b"\xff\xc3", *arguments, b""])
    assert (0, expected, b"") == (done.returncode, done.stdout, done.stderr)


@either_way
def test_streams_pass_through_byte_for_byte(program: Program, prod: str) -> None:
    data = os.urandom(300_000)
    done = subprocess.run(
        [PROGRAM, "exec", prod, "--", "sh", "-c", "tee /dev/stderr"],
        env=program.environment(),
        input=data,
        capture_output=True,
        check=False,
    )
    assert (0, True, True) == (done.returncode, done.stdout == data, done.stderr == data)


@either_way
def test_only_the_standard_streams_and_what_the_caller_passed_are_open(program: Program, prod: str) -> None:
    result = program("exec", prod, "--", *child("tell"), allowed=["stdout"])
    assert [0, 1, 2] == told(result)["fds"]
    line = f'"{PROGRAM}" exec {prod} -- sh -c "cat <&9" 9<<< "from the caller"'  # as <(…) in bash does
    done = subprocess.run(["bash", "-c", line], env=program.environment(), capture_output=True, check=False)
    assert (0, b"from the caller\n", b"") == (done.returncode, done.stdout, done.stderr)


@either_way
def test_a_closed_stream_stays_closed(program: Program, prod: str) -> None:
    out = program.folder / "facts"
    environ = program.environment({"TELL": str(out)})
    for closed, expected in {"<&-": [1, 2], ">&-": [0, 2], "2>&-": [0, 1], "": [0, 1, 2]}.items():
        line = f"{PROGRAM} exec {prod} -- {' '.join(child('tell'))} {closed}"
        done = subprocess.run(["bash", "-c", line], env=environ, capture_output=True, check=False)
        assert (0, b"", b"", expected) == (
            done.returncode,
            done.stdout,
            done.stderr,
            json.loads(out.read_text())["fds"],
        )


@either_way
def test_umask_limits_folder_and_group_are_the_callers(
    program: Program, prod: str, start: Callable[..., Background]
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    soft = 4096 if hard == resource.RLIM_INFINITY or hard >= 4096 else hard
    code = (
        "import os, resource, sys; os.umask(0o027);"
        f"resource.setrlimit(resource.RLIMIT_CORE, ({soft}, {hard}));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    running = start("exec", prod, "--", *child("tell"), wrapper=[sys.executable, "-ISc", code])
    facts = told(running.finish(allowed=["stdout"]))
    assert ("0o27", [soft, hard], str(program.work), running.pid, running.pid) == (
        facts["umask"],
        facts["rlimit_core"],
        facts["cwd"],
        facts["group"],
        facts["ppid"],
    )


# The C library's own two, which its posix_spawn leaves ignored; no program can send or take them.
INTERNAL = 0b11 << 31


@either_way
@on_linux
@pytest.mark.parametrize("ignored", ["", "trap '' HUP INT USR1;"])
@pytest.mark.parametrize("isolate", [[], ["--no-isolate"]])
def test_signals_are_to_the_child_what_they_were_to_us(
    program: Program, prod: str, ignored: str, isolate: list[str]
) -> None:
    look = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"
    states = [
        subprocess.run(
            ["sh", "-c", f"{ignored} exec {prefix} {look}"],
            env=program.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        for prefix in ("", f"{PROGRAM} exec {' '.join(isolate)} {prod} --")
    ]
    direct, ours = (
        [int(word, 16) & ~INTERNAL for word in done.stdout.split() if not word.startswith("Sig")]
        for done in states
    )
    assert ([(0, ""), (0, "")], direct) == ([(done.returncode, done.stderr) for done in states], ours)
    # The test can tell: with Python's own, SIGPIPE would be among the ignored.
    assert (0, bool(ignored)) == (direct[1] >> signal.SIGPIPE - 1 & 1, bool(direct[1] & 0b11))


@either_way
@pytest.mark.parametrize("isolate", [[], ["--no-isolate"]])
def test_statuses_are_kept_if_we_are_started_to_ignore_the_end_of_children(
    program: Program, canary: str, isolate: list[str]
) -> None:
    """Also that of the program that prints the token: a failure must not look like success."""
    provider = program.folder / "provider"
    provider.write_text(f"#!/bin/sh\necho {canary}\nexit $1\n")
    provider.chmod(0o755)
    for status, expected in (("0", (3, "ran\n")), ("77", (77, ""))):
        argv = [*isolate, f"command:provider/{status}", "--", "sh", "-c", "echo ran; exit 3"]
        done = subprocess.run(
            ["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", PROGRAM, "exec", *argv],
            env=program.environment() | {"ASTRO_TOKEN_COMMANDS": str(provider)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert expected == (done.returncode, done.stdout)
        assert bool(done.stdout) is not (": the program ended with status 77, denied\n" in done.stderr)


# -- the private home -------------------------------------------------------------------------------


def test_the_home_is_private_seeded_and_gone_afterwards(program: Program, prod: str, homes: Path) -> None:
    result = program("exec", prod, "--", *child("tell"), allowed=["stdout"])
    facts = told(result)
    facts["files"].pop(".astro-token-child", None)  # written beside the child, and after it began
    expected = {".": "0o700", ".astro": "0o700", ".astro/config.yaml": "0o600", ".astro-token-lock": "0o600"}
    assert (expected, homes) == (facts["files"], Path(facts["environ"]["ASTRO_HOME"]).parent)
    assert [] == list(homes.iterdir())


def test_the_seed_has_the_context_and_the_settings_but_no_token_of_the_user(
    program: Program, planted: Planted
) -> None:
    planted.store("prod", make_token(organization="clorg1", workspace="clws1"))
    settings = program.home / ".astro"
    settings.mkdir()
    (settings / "config.yaml").write_text(
        "container:\n    binary: podman\ncontext: astronomer.io\ncontexts:\n    astronomer_io:\n"
        "        token: Bearer old\n        workspace: clstale\ntelemetry:\n    enabled: false\n"
    )
    result = program("exec", "planted:prod", "--", "sh", "-c", 'cat "$ASTRO_HOME/.astro/config.yaml"')
    expected = (
        '"context": "astronomer.io"\n"contexts":\n  "astronomer_io":\n    "domain": "astronomer.io"\n'
        '    "organization": "clorg1"\n    "workspace": "clws1"\n    "last_used_workspace": "clws1"\n'
        '"container":\n  "binary": "podman"\n"telemetry":\n  "enabled": "false"\n'
    )
    assert Result(0, expected, "") == result


@either_way
def test_a_home_that_the_child_fills_or_removes_is_gone_without_a_word(
    program: Program, prod: str, homes: Path
) -> None:
    fill = 'cd "$ASTRO_HOME" && mkdir -p a/b && echo x >a/b/c && chmod 0 a/b a'
    # Once our note is in it, for `rm` does not like a folder that is written to meanwhile.
    clear = 'until [ -s "$ASTRO_HOME/.astro-token-child" ]; do :; done; rm -rf "$ASTRO_HOME"'
    for line in (fill, clear, 'ln -s / "$ASTRO_HOME/root"'):
        assert Result(0, "", "") == program("exec", prod, "--", "sh", "-c", line)
        assert [] == list(homes.iterdir())
    assert Path("/usr").is_dir()


def test_two_at_once_have_a_home_each(
    program: Program, prod: str, homes: Path, start: Callable[..., Background]
) -> None:
    gate = program.folder / "gate"
    line = f'until [ -e "{gate}" ]; do sleep 0.01; done; ls -d "$ASTRO_HOME/.astro"'
    both = [start("exec", prod, "--", "sh", "-c", line) for _ in range(2)]
    wait_until(lambda: len(list(homes.glob("*/.astro-token-child"))) == 2)
    gate.touch()
    results = [running.finish() for running in both]
    assert [(0, ""), (0, "")] == [(result.code, result.stderr) for result in results]
    assert len({result.stdout for result in results}) == 2
    assert [] == list(homes.iterdir())


def test_without_isolation_we_become_the_command_and_leave_homes_alone(
    program: Program, prod: str, homes: Path, start: Callable[..., Background], planted: Planted
) -> None:
    running = start(
        "exec", "--no-isolate", prod, "--", *child("tell", "5"), env={"ASTRO_HOME": "/some/where"}
    )
    result = running.finish(allowed=["stdout"])
    facts = told(result)
    assert (5, "", running.pid, "/some/where") == (
        result.code,
        result.stderr,
        facts["pid"],
        facts["environ"]["ASTRO_HOME"],
    )
    assert ([0, 1, 2], []) == (facts["fds"], list(homes.iterdir()))
    # What a login took is given back before: afterwards we are no more.
    assert ["read prod", "close"] == planted.log
    result = program("exec", "--no-isolate", prod, "--", *child("tell"), allowed=["stdout"])
    assert "ASTRO_HOME" not in told(result)["environ"]


@on_linux
def test_our_own_environment_never_holds_the_token(
    program: Program, prod: str, canary: str, start: Callable[..., Background]
) -> None:
    gate = program.folder / "gate"
    running = start("exec", prod, "--", "sh", "-c", f'until [ -e "{gate}" ]; do sleep 0.01; done; exec env')
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    wait_until(lambda: children.read_text().strip())
    inner = Path(f"/proc/{children.read_text().split()[0]}/environ")
    wait_until(lambda: canary in inner.read_text())  # so it would be seen
    before = Path(f"/proc/{running.pid}/environ").read_bytes()
    expected = {f"{name}={value}" for name, value in program.environment().items()}
    assert expected == set(before.decode().strip("\0").split("\0"))
    gate.touch()
    assert 0 == running.finish(allowed=["stdout"]).code


# -- its end ----------------------------------------------------------------------------------------


@either_way
@pytest.mark.parametrize("isolate", [[], ["--no-isolate"]])
@pytest.mark.parametrize("code", [0, 1, 7, 74, 126, 127, 255])
def test_we_end_with_the_childs_status(program: Program, prod: str, code: int, isolate: list[str]) -> None:
    assert Result(code, "", "") == program("exec", *isolate, prod, "--", "sh", "-c", f"exit {code}")


@either_way
@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("KILL", 137), ("HUP", 129), ("PIPE", 141)])
def test_a_child_that_a_signal_ended_gives_128_and_its_number(
    program: Program, prod: str, name: str, code: int, homes: Path
) -> None:
    assert Result(code, "", "") == program("exec", prod, "--", "sh", "-c", f"kill -{name} $$")
    assert [] == list(homes.iterdir())


NOT_FOUND = "install it, or correct PATH; the command follows --"
CHMOD = "chmod +x it, or give its interpreter as the command"
NOT_RUN = "name a program, or a script that starts with #!, that you may execute"


def failure(code: int, message: str, hint: str) -> Result:
    return Result(code, "", f"astro-token: error: {message}\nastro-token: hint: {hint}\n")


@either_way
@pytest.mark.parametrize("isolate", [[], ["--no-isolate"]])
def test_a_command_that_is_not_there_costs_no_read(
    program: Program, prod: str, planted: Planted, isolate: list[str]
) -> None:
    (program.work / "data").write_text("no program")
    (program.work / "folder").mkdir()
    for name, expected in {
        "no-such-command": failure(127, "no-such-command: command not found", NOT_FOUND),
        "./no-such-file": failure(127, "./no-such-file: command not found", NOT_FOUND),
        "": failure(127, ": command not found", NOT_FOUND),
        "./data": failure(126, "./data: cannot be run: it is not executable", CHMOD),
        "./folder": failure(126, "./folder: cannot be run: it is a folder", NOT_RUN),
        "data": failure(126, "data: cannot be run: it is not executable", CHMOD),
        "bad\nname\x1b[2J": failure(127, "bad?name?[2J: command not found", NOT_FOUND),
    }.items():
        on_path = {"PATH": f"{program.work}:/usr/bin:/bin"}
        assert expected == program("exec", *isolate, prod, "--", name, env=on_path)
    expected = failure(
        127, "astro: command not found", "install it with `astro-token install-cli`, or correct PATH"
    )
    nowhere = {"PATH": str(program.temporary)}
    assert expected == program("exec", *isolate, prod, "--", "astro", "deploy", env=nowhere)
    assert [] == planted.log


# A control character of an interpreter could forge a line of output.
UNRUNNABLE = [
    (b"echo no shebang\n", "it is not a program for this machine, and has no line with #!", NOT_RUN),
    (
        b"\xef\xbb\xbf#!/bin/sh\n",
        "a byte-order mark precedes its #!",
        "save it as UTF-8 without a byte-order mark",
    ),
    (
        b"#!/no/such/interpreter -x\n",
        "its interpreter /no/such/interpreter does not exist",
        "install it, or correct the line with #!",
    ),
    (
        b"#! /bin/sh\r\necho\r\n",
        "its line with #! ends with a carriage return",
        "save it with LF line ends, not CRLF",
    ),
    (
        b"#!/no/\x1b[2Jx\n",
        "its interpreter /no/?[2Jx does not exist",
        "install it, or correct the line with #!",
    ),
    (b"#!/dev/null\n", "its interpreter /dev/null cannot be run", "correct the line with #!"),
]


@either_way
@pytest.mark.parametrize("isolate", [[], ["--no-isolate"]])
def test_what_the_system_cannot_run_ends_with_126(
    program: Program, prod: str, isolate: list[str], homes: Path
) -> None:
    for text, reason, hint in UNRUNNABLE:
        (program.work / "tool").write_bytes(text)
        (program.work / "tool").chmod(0o755)
        expected = failure(126, f"./tool: cannot be run: {reason}", hint)
        assert expected == program("exec", *isolate, prod, "--", "./tool")
    assert [] == list(homes.iterdir())


def test_relative_and_empty_folders_of_path_are_passed_over(
    program: Program, prod: str, tmp_path: Path
) -> None:
    for folder, text in {"work": "work", "work/bin": "work/bin", "trusted": "trusted"}.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "tool").write_text(f"#!/bin/sh\necho {text}\n")
        (tmp_path / folder / "tool").chmod(0o755)
    (tmp_path / "aside" / "tool").mkdir(parents=True)  # a folder of that name is no command either
    relative = f":.:bin:./bin:{tmp_path}/aside"
    command = ("exec", prod, "--", "tool")
    assert failure(127, "tool: command not found", NOT_FOUND) == program(*command, env={"PATH": relative})
    trusted = {"PATH": f"{relative}:{tmp_path}/trusted"}
    assert Result(0, "trusted\n", "") == program(*command, env=trusted)
    assert Result(0, "work\n", "") == program("exec", prod, "--", "./tool", env=trusted)


@pytest.mark.parametrize("isolate", [[], ["--no-isolate"]])
def test_a_failing_read_never_starts_the_child(
    program: Program, planted: Planted, canary: str, homes: Path, isolate: list[str]
) -> None:
    started = program.folder / "started"
    planted.store("cut", canary[: len(canary) // 4])
    planted.store("expired", make_token(expires_in=-60))
    planted.store("fine", canary)
    for name, code in {"cut": 65, "expired": 65, "nothing": 66, "denied": 77, "fine#field": 66}.items():
        result = program("exec", *isolate, f"planted:{name}", "--", "touch", str(started))
        lines = [line.split(": ")[:3] for line in result.stderr.splitlines()]
        assert (code, "", False) == (result.code, result.stdout, started.exists())
        assert [["error", f"planted:{name}"], ["hint"]] == [lines[0][1:3], lines[1][1:2]]
        assert len(lines) == 2
    assert [] == list(homes.iterdir())
    assert 0 == program("exec", *isolate, "planted:fine", "--", "touch", str(started)).code
    assert started.exists()


def test_a_doubtful_token_is_used_with_a_word_on_standard_error(program: Program, planted: Planted) -> None:
    planted.store("eternal", make_token(expires_in=None))
    expected = (
        "astro-token: warning: planted:eternal: the token never expires\n"
        "astro-token: hint: create one with an expiry, and rotate it\n"
    )
    assert Result(0, "done\n", expected) == program("exec", "planted:eternal", "--", "echo", "done")


def test_a_plain_file_goes_the_same_way(program: Program, canary: str, tmp_path: Path) -> None:
    """As container systems mount secrets."""
    secret = tmp_path / "token"
    secret.write_text(f"{canary}\n")
    secret.chmod(0o600)
    result = program("exec", f"file:{secret}", "--", *child("tell"), allowed=["stdout"])
    assert (0, "", canary) == (result.code, result.stderr, told(result)["environ"]["ASTRO_API_TOKEN"])


def test_a_reference_outside_of_policy_is_refused_before_it_is_read(program: Program) -> None:
    floor = {"ASTRO_TOKEN_POLICY_REF": "env:OTHER"}
    assert 66 == program("exec", "env:UNSET", "--", *child("told")).code
    result = program("exec", "env:UNSET", "--", *child("told"), env=floor)
    assert (65, "") == (result.code, result.stdout)
    assert "astro-token: error: policy does not allow the reference env:UNSET\n" in result.stderr
