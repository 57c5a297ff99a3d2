"""`put`: a token's way into a backend, and what keeps it out."""

from __future__ import annotations

import fcntl
import json
import secrets
import stat
import subprocess
import termios
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.secret import SecretValue
from astro_token.testing import make_token
from astro_token.token import AstroToken
from astro_token.wording import when
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, Program, Result
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.servers.openbao import OpenBao


def failure(code: int, message: str, hint: str) -> Result:
    return Result(code, "", f"astro-token: error: {message}\nastro-token: hint: {hint}\n")


def stored_in(target: str, value: str) -> Result:
    expires = AstroToken.parse(SecretValue(value.encode())).expires
    assert expires
    lines = [f"the token expires at {when(expires, datetime.now(UTC))}", f"stored in {target}"]
    return Result(0, "", "".join(f"astro-token: {line}\n" for line in lines))


# -- what is given ----------------------------------------------------------------------------------


def test_a_piped_token_is_stored_as_astro_showed_it(program: Program, planted: Planted, canary: str) -> None:
    result = program("put", "planted:new", stdin=f"\ufeff'Bearer {canary}'\r\n")
    assert stored_in("planted:new, version 1", canary) == result
    assert (canary, ["read new", "write new", "close"]) == (planted.stored("new"), planted.log)


def test_what_is_no_token_is_not_stored(program: Program, planted: Planted, canary: str) -> None:
    shown = "store the token as Astro showed it when it was created, or create a new one"
    form = "it does not consist of three parts of letters, digits, - and _ with dots between them"
    person = "it has no permissions, like the token of a person's login"
    head, claims, signature = canary.split(".")
    for given, code, message, hint in (
        ("", 65, "the input contains no token", "pipe the token in, or run put on a terminal and paste it"),
        ("\n", 65, "the value is not an Astro API token: it is empty", shown),
        ("hvs.CAESIJ1", 65, f"the value is not an Astro API token: {form}", shown),
        (f"{canary} {canary}", 65, f"the value is not an Astro API token: {form}", shown),
        (f"{head}.{claims}", 65, f"the value is not an Astro API token: {form}", shown),
        (
            f"{head}.{claims[:-40]}.{signature}",
            65,
            "the value is not an Astro API token: its second part is damaged or cut off",
            shown,
        ),
        (
            canary + "A" * 16384,
            65,
            "the value is not an Astro API token: it is longer than 16384 bytes",
            shown,
        ),
        ("A" * 1_000_000, 65, "the value is not an Astro API token: it is longer than 16384 bytes", shown),
        (make_token(permissions=[]), 65, f"the value is not an Astro API token: {person}", shown),
        (
            make_token(exp=1_700_000_000),
            65,
            "the token expired at 2023-11-14 22:13 UTC",
            "create a new token with astro-token create, or in Astro, and store it instead",
        ),
    ):
        assert failure(code, f"planted:new: {message}", hint) == program("put", "planted:new", stdin=given)
    assert (["read new", "close"] * 10, False) == (planted.log, (planted.folder / "new").exists())


def test_what_policy_does_not_allow_is_not_stored(
    program: Program, planted: Planted, write: Callable[[str, str], Path], canary: str
) -> None:
    write("astro-token.toml", '[tokens.prod]\nref = "planted:new"\nworkspace = "clws1"\n')
    wrong = "planted:new: the token is for workspace clws00000000000000000, and the project expects clws1"
    right = "store the right token under this reference, or correct the project file"
    assert failure(65, wrong, right) == program("put", "prod", stdin=canary)
    assert not (planted.folder / "new").exists()
    floor = {"ASTRO_TOKEN_POLICY_MAX_SCOPE": "deployment"}
    assert 65 == program("put", "planted:new", stdin=canary, env=floor).code
    assert not (planted.folder / "new").exists()
    eternal = make_token(workspace="clws1", expires_in=None)
    words = (
        "astro-token: warning: planted:new: the token never expires\n"
        "astro-token: hint: create one with an expiry, and rotate it\n"
        "astro-token: stored in planted:new, version 1\n"
    )
    assert Result(0, "", words) == program("put", "prod", stdin=eternal)


# -- where it is to go ------------------------------------------------------------------------------


def test_where_nothing_can_be_stored_no_token_is_asked_for(program: Program, planted: Planted) -> None:
    """Standard input stays open and silent: whoever read it would wait."""
    pinned = "vault:secret/astro/prod: a reference to one version cannot be written"
    cases = {
        "env:ASTRO_API_TOKEN": failure(
            78,
            "env:ASTRO_API_TOKEN: the backend env cannot be written",
            "`astro-token backends` lists the operations of each backend",
        ),
        "vault:secret/astro/prod?version=3": failure(
            64,
            pinned.replace("prod:", "prod?version=3:"),
            "remove the version from the reference",
        ),
        "planted:denied": failure(77, "planted:denied: not for you", "ask"),
    }
    for ref, expected in cases.items():
        with put_that_waits(program, ref) as process:
            code = process.wait(60)
            assert process.stdout
            assert process.stderr
            assert expected == Result(code, process.stdout.read(), process.stderr.read())


def test_what_somebody_else_wrote_meanwhile_stays(program: Program, planted: Planted, canary: str) -> None:
    planted.store("prod", make_token())
    with put_that_waits(program, "planted:prod") as process:
        wait_until_read(process, canary[:1])
        planted.store("prod", "theirs")
        planted.store("prod.version", "2")
        stdout, stderr = process.communicate(canary[1:], timeout=60)
    message = "planted:prod: somebody else wrote it"
    expected = failure(75, message, "look at it, and try again")
    assert (expected, "theirs") == (Result(process.returncode, stdout, stderr), planted.stored("prod"))


def put_that_waits(program: Program, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, "put", *arguments],
        env=program.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_read(process: subprocess.Popen[str], text: str) -> None:
    """Gives the beginning of a token; once it is taken, what is there now was read before."""
    assert process.stdin
    process.stdin.write(text)
    process.stdin.flush()
    pipe = process.stdin.fileno()
    wait_until(lambda: fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4) == b"\0" * 4)


# -- Vault ------------------------------------------------------------------------------------------


@pytest.fixture
def secret(program: Program, openbao: OpenBao) -> str:
    """A path of this test alone in OpenBao."""
    program.environ |= {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token}
    program.canaries.append(openbao.root_token)
    return f"secret/astro/{secrets.token_hex(8)}"


def stored(openbao: OpenBao, secret: str) -> dict[str, Any]:
    answer: dict[str, Any] = openbao.api("GET", secret.replace("secret/", "secret/data/"))["data"]
    return answer


def test_a_new_secret_is_made_with_the_field_of_the_reference(
    program: Program, openbao: OpenBao, secret: str, canary: str
) -> None:
    expected = stored_in(f"vault:{secret}#astro, version 1", canary)
    assert expected == program("put", f"vault:{secret}#astro", stdin=canary)
    assert {"astro": canary} == stored(openbao, secret)["data"]


def test_the_other_fields_of_a_secret_stay(
    program: Program, openbao: OpenBao, secret: str, canary: str
) -> None:
    fields = {"token": "old", "owner": "team ✓", "number": 7, "nested": {"a": [1, None]}}
    openbao.api("POST", secret.replace("secret/", "secret/data/"), {"data": fields})
    expected = stored_in(f"vault:{secret}, version 2", canary)
    assert expected == program("put", f"vault:{secret}", stdin=canary)
    assert {**fields, "token": canary} == stored(openbao, secret)["data"]
    result = program("export", "--format", "value", f"vault:{secret}", allowed=["stdout"])
    assert Result(0, canary, "") == result


def test_of_several_fields_one_has_to_be_named(program: Program, openbao: OpenBao, secret: str) -> None:
    fields = {"first": "1", "second": "2"}
    openbao.api("POST", secret.replace("secret/", "secret/data/"), {"data": fields})
    result = program("put", f"vault:{secret}", stdin=make_token())
    lines = result.stderr.splitlines()
    assert (66, "", 2) == (result.code, result.stdout, len(lines))
    assert "the secret has 2 fields, and the reference does not name a field" in lines[0]
    assert fields == stored(openbao, secret)["data"]


def test_check_and_set_keeps_what_somebody_else_wrote_meanwhile(
    program: Program, openbao: OpenBao, secret: str, canary: str
) -> None:
    path = secret.replace("secret/", "secret/data/")
    openbao.api("POST", path, {"data": {"token": "old"}})
    with put_that_waits(program, f"vault:{secret}") as process:
        wait_until_read(process, canary[:1])
        openbao.api("POST", path, {"data": {"token": "theirs"}})
        stdout, stderr = process.communicate(canary[1:], timeout=60)
    lines = stderr.splitlines()
    assert (75, "", 2) == (process.returncode, stdout, len(lines))
    assert lines[0].endswith("somebody else changed the secret after it was read, and nothing was written")
    assert lines[1] == "astro-token: hint: check the new version, then try again"
    assert {"token": "theirs"} == stored(openbao, secret)["data"]


def test_a_service_that_is_not_there_ends_it_before_a_token_is_asked_for(program: Program) -> None:
    from tests.servers.faults import refused_port

    program.environ |= {"VAULT_ADDR": f"http://127.0.0.1:{refused_port()}", "VAULT_TOKEN": "x"}
    with put_that_waits(program, "--timeout", "0.5", "vault:secret/astro/prod") as process:
        code = process.wait(60)  # its standard input is still open
        assert process.stdout
        assert process.stderr
        lines = process.stderr.read().splitlines()
        assert (75, "", 2) == (code, process.stdout.read(), len(lines))
    assert lines[0].startswith("astro-token: error: vault:secret/astro/prod: ")
    assert lines[1].startswith("astro-token: hint: ")


# -- an encrypted file ------------------------------------------------------------------------------


@pytest.fixture
def configuration(program: Program) -> Path:
    """Where the key goes."""
    folder = program.folder / "configuration"
    program.environ["XDG_CONFIG_HOME"] = str(folder)
    return folder / "astro-token" / "age-key.txt"


def at_a_terminal(program: Program, *arguments: str, typed: str, env: dict[str, str] | None = None) -> Result:
    environ = program.environment({"TERM": "dumb", **(env or {})})
    with Terminal([str(PROGRAM), *arguments], env=environ, cwd=program.work) as terminal:
        terminal.wait_for("(not shown): ")
        wait_until(lambda: not terminal.echoes())
        terminal.type(typed)
        return Result(terminal.finish(), terminal.shown, "")


def made(configuration: Path) -> str:
    return (
        f"astro-token: created an age key in {configuration}: back it up, "
        "because secrets written with it are lost without it\n"
    )


def test_a_key_is_made_for_a_person_with_a_word_about_a_backup(
    program: Program, configuration: Path, canary: str
) -> None:
    file = program.work / "prod.token.age"
    result = at_a_terminal(program, "put", "file:prod.token.age", typed=f"{canary}\n")
    lines = result.stdout.splitlines(keepends=True)
    assert (0, made(configuration), 0o600) == (
        result.code,
        lines[0],
        stat.S_IMODE(configuration.stat().st_mode),
    )
    assert (False, True) == (canary in file.read_text(), file.read_text().startswith("-----BEGIN AGE"))
    assert lines[-1].startswith("astro-token: stored in file:prod.token.age, version ")
    result = program(
        "exec", "file:prod.token.age", "--", "sh", "-c", "printf %s $ASTRO_API_TOKEN", allowed=["stdout"]
    )
    assert Result(0, canary, "") == result
    # The key is there now, and is not made anew.
    key = configuration.read_text()
    program.canaries.append(key.split("\n")[2])
    result = program("put", "file:prod.token.age", stdin=make_token())
    assert (0, key) == (result.code, configuration.read_text())


@pytest.mark.parametrize("environ", [{}, {"CI": "true"}, {"GITHUB_ACTIONS": "true"}])
def test_no_key_is_made_for_a_program(
    program: Program, configuration: Path, canary: str, environ: dict[str, str]
) -> None:
    result = program("put", "file:prod.token.age", stdin=canary, env=environ)
    lines = result.stderr.splitlines()
    assert (77, "", 2) == (result.code, result.stdout, len(lines))
    assert ([], False) == (list(program.work.iterdir()), configuration.exists())


def test_nor_at_a_terminal_of_a_ci_system(program: Program, configuration: Path, canary: str) -> None:
    result = at_a_terminal(program, "put", "file:prod.token.age", typed=f"{canary}\n", env={"CI": "true"})
    assert (77, [], False) == (result.code, list(program.work.iterdir()), configuration.exists())


def test_a_key_is_made_on_request(program: Program, configuration: Path, canary: str) -> None:
    result = program("put", "--create-key", "file:prod.token.age", stdin=canary, env={"CI": "true"})
    lines = result.stderr.splitlines(keepends=True)
    assert (0, "", made(configuration), 3) == (result.code, result.stdout, lines[0], len(lines))
    result = program("export", "--format", "json", "file:prod.token.age", allowed=["stdout"])
    exported = {"ASTRO_API_TOKEN": canary, "ASTRO_TELEMETRY_DISABLED": "1"}
    assert (0, exported) == (result.code, json.loads(result.stdout))


def test_a_bad_token_makes_no_file(program: Program, configuration: Path) -> None:
    assert 65 == program("put", "--create-key", "file:prod.token.age", stdin="nonsense").code
    assert [] == list(program.work.iterdir())
