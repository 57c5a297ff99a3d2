"""The look for a leaked token finds every leak that is planted; the other tests rely on it."""

from __future__ import annotations

import base64
import binascii
import codecs
import collections
import contextlib
import io
import json
import logging
import os
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import pytest

from astro_token.errors import AstroTokenError
from astro_token.secret import SecretValue
from astro_token.testing import _recording, appearances, encodings, make_token, reachable_text
from tests import conftest
from tests.conftest import SHARED_MEMORY, Program, Result
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 20
CLEAN = Result(0, "", "")

# -- each encoding, in the middle of a text ------------------------------------------------------------------

ENCODED: dict[str, Callable[[str], str]] = {
    "raw": str,
    "as a header": lambda token: f"Authorization: Bearer {token}",
    "in JSON": lambda token: json.dumps({"body": {"token": token}}),
    "in JSON in JSON": lambda token: json.dumps(json.dumps({"token": token})),
    "in a repr": lambda token: repr({"token": token.encode()}),
    "base64": lambda token: base64.b64encode(token.encode()).decode(),
    "base64 after one byte": lambda token: base64.b64encode(b"x" + token.encode()).decode(),
    "base64 after two bytes": lambda token: base64.b64encode(b"xx" + token.encode()).decode(),
    "base64 in something long": lambda token: base64.b64encode(
        b'{"token":"' + token.encode() + b'"}'
    ).decode(),
    "base64 for addresses": lambda token: base64.urlsafe_b64encode(b"x?" + token.encode()).decode(),
    "hexadecimal": lambda token: token.encode().hex(),
    "hexadecimal in capitals": lambda token: token.encode().hex().upper(),
    "percent-encoded": lambda token: quote(f"/x?token={token}", safe=""),
    "reversed": lambda token: token[::-1],
    "in UTF-16": lambda token: token.encode("utf-16-le").decode("latin-1"),
    "its first half": lambda token: token[: len(token) // 2],
    "its second half": lambda token: token[len(token) // 2 :],
    "its claims": lambda token: token.split(".")[1],
    "its signature": lambda token: token.split(".")[2],
    "the start of its claims": lambda token: token.split(".")[1][:48],
    "the start of its signature": lambda token: token.split(".")[2][:50],
    "cut off near its end": lambda token: token[:-10],
    "over several lines": lambda token: "\n".join(token[at : at + 76] for at in range(0, len(token), 76)),
    "quoted-printable": lambda token: binascii.b2a_qp(token.encode()).decode(),
    "in letters turned by 13": lambda token: codecs.encode(token, "rot13"),
}
NOT_LOOKED_FOR = {"in letters turned by 13"}  # nobody does this by mistake


@each_row("form", sorted(set(ENCODED) - NOT_LOOKED_FOR))
def test_every_form_of_a_token_is_found(form: str) -> None:
    missed = [
        token
        for token in (make_token() for _ in range(MANY))
        if not appearances(token, f"a {ENCODED[form](token)} b")
    ]
    assert [] == missed


def test_a_form_that_is_not_looked_for_is_not_found(canary: str) -> None:
    assert [] == appearances(canary, ENCODED["in letters turned by 13"](canary))


def test_another_token_is_not_taken_for_the_canary() -> None:
    # Tokens begin alike: what they share is no leak.
    tokens = [make_token() for _ in range(MANY)]
    text = "\n".join(form(token) for token in tokens for form in ENCODED.values())
    other = make_token(organization="clorg9", workspace="clws9")
    assert [] == appearances(other, text)


def test_no_form_is_so_short_that_it_appears_by_chance(canary: str) -> None:
    assert min(map(len, encodings(canary).values())) >= 24
    assert len(encodings(canary)) >= 20


def test_a_short_secret_is_looked_for_too() -> None:
    assert ["raw"] == appearances("hunter2", "the password is hunter2")


def test_any_fifty_characters_of_a_signature_are_found(canary: str) -> None:
    signature = canary.split(".")[2]
    missed = [
        start
        for start in range(len(signature) - 50)
        if not appearances(canary, signature[start : start + 50])
    ]
    assert [] == missed


# -- exceptions ----------------------------------------------------------------------------------------------


class Text(str):
    __slots__ = ()


class Slots:
    __slots__ = ("body",)

    def __init__(self, body: object) -> None:
        self.body = body


@dataclass
class Answer:
    body: object


class Silent(Exception):  # noqa: N818
    """Says nothing of what it holds."""

    def __init__(self, body: object = None) -> None:
        super().__init__()
        self.response = Answer(body)

    def __str__(self) -> str:
        return "silent"

    __repr__ = __str__


# What a local variable, an attribute or an argument may be that has the token in it.
HOLDERS: dict[str, Callable[[str], object]] = {
    "a text": str,
    "bytes": str.encode,
    "a bytearray": lambda token: bytearray(token.encode()),
    "a memoryview": lambda token: memoryview(token.encode()),
    "a text of a class of its own": Text,
    "a list": lambda token: [0, token],
    "a tuple": lambda token: (token,),
    "a set": lambda token: {token},
    "a frozenset": lambda token: frozenset({token}),
    "a dictionary's value": lambda token: {"a": {"b": [token]}},
    "a dictionary's key": lambda token: {token: 1},
    "a deque": lambda token: collections.deque([token]),
    "an ordered dictionary": lambda token: collections.OrderedDict(a=token),
    "a read-only view of a dictionary": lambda token: MappingProxyType({"a": token}),
    "the values of a dictionary": lambda token: {"a": token}.values(),
    "an iterator": lambda token: iter([token]),
    "a generator": lambda token: (part for part in [token]),
    "a namespace": lambda token: SimpleNamespace(body=token),
    "a dataclass": Answer,
    "an object with slots": Slots,
    "a file in memory": lambda token: io.BytesIO(token.encode()),
    "a text file in memory": io.StringIO,
    "an exception": ValueError,
    "a base64 text": lambda token: base64.b64encode(token.encode()).decode(),
    "a deep structure": lambda token: [[[[[[[[[[[[{"a": Slots(Answer((token,)))}]]]]]]]]]]]],
}


def in_its_text(token: str) -> NoReturn:
    raise ValueError(f"answer: {token}")


def in_its_attribute(token: object) -> NoReturn:
    raise Silent(token)


def in_its_arguments(token: object) -> NoReturn:
    error = Silent()
    error.args = (1, token)
    raise error


def in_its_cause(token: object) -> NoReturn:
    raise AstroTokenError("failed") from Silent(token)


def in_its_causes_cause(token: object) -> NoReturn:
    try:
        in_its_cause(token)
    except AstroTokenError as error:
        raise AstroTokenError("failed") from error


def in_its_context(token: object) -> NoReturn:
    try:
        in_its_attribute(token)
    except Silent:
        raise AstroTokenError("failed")  # noqa: B904


def in_its_suppressed_context(token: object) -> NoReturn:
    try:
        in_its_attribute(token)
    except Silent:
        raise AstroTokenError("failed") from None


def in_its_note(token: object) -> NoReturn:
    error = AstroTokenError("failed")
    error.add_note(str(token))
    raise error


def in_a_group(token: object) -> NoReturn:
    raise ExceptionGroup("several", [ValueError("one"), Silent(token)])


def in_a_local_variable(token: object) -> NoReturn:
    body = [token]
    raise AstroTokenError("failed" if body else "")


def in_a_local_variable_of_its_cause(token: object) -> NoReturn:
    try:
        in_a_local_variable(token)
    except AstroTokenError as error:
        raise AstroTokenError("failed") from error


def in_the_name_of_a_file(token: object) -> NoReturn:
    raise FileNotFoundError(2, "No such file", str(token))


def in_a_codecs_object(token: object) -> NoReturn:
    raise UnicodeDecodeError("utf-8", str(token).encode(), 0, 1, "bad")


def in_a_system_exit(token: object) -> NoReturn:
    raise SystemExit(token)


PLACES = (
    in_its_attribute,
    in_its_arguments,
    in_its_cause,
    in_its_causes_cause,
    in_its_context,
    in_its_suppressed_context,
    in_a_group,
    in_a_local_variable,
    in_a_local_variable_of_its_cause,
    in_a_system_exit,
)
TEXT_PLACES = (in_its_text, in_its_note, in_the_name_of_a_file, in_a_codecs_object)


def raised(
    place: Callable[[Any], NoReturn], holder: Callable[[str], object], secret: SecretValue
) -> BaseException:
    try:
        place(holder(secret.reveal().decode()))
    except BaseException as error:
        # The frame of this test is no part of the leak.
        return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    raise AssertionError("it was not raised")


@each_row("place", PLACES, ids=lambda place: place.__name__)
def test_a_token_in_any_kind_of_thing_is_found(place: Callable[[Any], NoReturn], canary: str) -> None:
    assert len(HOLDERS) >= MANY
    secret = SecretValue(canary.encode())
    missed = [
        name
        for name, holder in HOLDERS.items()
        if not appearances(canary, reachable_text(raised(place, holder, secret)))
    ]
    assert [] == missed


@pytest.mark.parametrize("place", TEXT_PLACES, ids=lambda place: place.__name__)
def test_a_token_in_a_text_of_an_exception_is_found(place: Callable[[Any], NoReturn]) -> None:
    for _ in range(MANY):
        canary = make_token()
        assert "raw" in appearances(canary, reachable_text(raised(place, str, SecretValue(canary.encode()))))


@each_row("place", [*PLACES, *TEXT_PLACES], ids=lambda place: place.__name__)
def test_a_token_inside_of_a_secret_value_is_where_it_may_be(
    place: Callable[[Any], NoReturn], canary: str
) -> None:
    secret = SecretValue(canary.encode())
    assert [] == appearances(canary, reachable_text(raised(place, lambda _: secret, secret)))


def test_many_other_objects_do_not_hide_one(canary: str) -> None:
    secret = SecretValue(canary.encode())
    noise = [[str(number)] for number in range(10_000)]
    error = raised(in_its_attribute, lambda token: [noise, Answer(token)], secret)
    assert "raw" in appearances(canary, reachable_text(error))


# -- logs ----------------------------------------------------------------------------------------------------


@each_row("level", range(0, 60, 3))
def test_a_token_in_a_record_of_any_logger_and_level_is_found(level: int, canary: str) -> None:
    records: list[str] = []
    sdk = logging.getLogger(f"an_sdk.of_level_{level}")
    with _recording(records):
        sdk.log(level + 1, "answer: %s", canary)
        sdk.log(level + 1, "answer: %s", {"token": canary.encode()})
        sdk.log(level + 1, f"answer: {canary}")
    assert [True, True, True] == [bool(appearances(canary, record)) for record in records]


# -- what a program leaves behind ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["stdout", "stderr", "argv"])
@pytest.mark.parametrize("form", sorted(set(ENCODED) - NOT_LOOKED_FOR))
def test_a_token_in_a_stream_is_found(program: Program, stream: str, form: str, canary: str) -> None:
    result = replace(CLEAN, **{stream: f"a {ENCODED[form](canary)} b"})  # type: ignore[arg-type]
    assert [] != program.leaks(result)
    assert [] == program.leaks(result, [stream])


@pytest.mark.parametrize("folder", ["home", "work", "temporary"])
@pytest.mark.parametrize("form", sorted(set(ENCODED) - NOT_LOOKED_FOR))
def test_a_token_in_a_file_is_found(program: Program, folder: str, form: str, canary: str) -> None:
    path = getattr(program, folder) / "deep" / ".hidden" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\0" + ENCODED[form](canary).encode("latin-1"))
    assert [] != program.leaks(CLEAN)
    assert [] == program.leaks(CLEAN, [path])


def test_a_token_in_shared_memory_is_found(program: Program, canary: str) -> None:
    if not SHARED_MEMORY.is_dir():
        pytest.skip("there is no /dev/shm")
    # Without the number of a user, so that no other run takes it for an abandoned home and removes it.
    home = SHARED_MEMORY / f"astro-token-home-test-{os.urandom(4).hex()}"
    home.mkdir(0o700)
    try:
        for number in range(MANY):
            (home / str(number)).write_text(canary)
            assert number + 1 == sum(leak.endswith(": raw") for leak in program.leaks(CLEAN))
    finally:
        for path in home.iterdir():
            path.unlink()
        home.rmdir()


def test_a_token_in_the_name_of_a_file_or_in_a_link_is_found(program: Program, canary: str) -> None:
    (program.work / canary[:200]).touch()
    (program.home / "link").symlink_to(f"/nonexistent/{canary[-200:]}")
    found = program.leaks(CLEAN)
    assert any(str(program.work) in leak for leak in found)
    assert any(str(program.home / "link") in leak for leak in found)


def test_a_clean_run_has_no_leaks(program: Program) -> None:
    (program.home / "file").write_text(make_token(organization="clorg9", workspace="clws9"))
    assert [] == program.leaks(CLEAN)


def test_a_token_in_this_process_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MANY):
        canary = make_token()
        assert [] == appearances(canary, "\n".join(os.environ.values()))
        monkeypatch.setenv(f"LEAK_{number}", canary)
        assert "raw" in appearances(canary, "\n".join(os.environ.values()))


# -- a program that leaks ------------------------------------------------------------------------------------

LEAKY = """#!{python}
import os, subprocess, sys, time
from pathlib import Path
token = os.environ["LEAK"]
for way in sys.argv[1:]:
    if way == "stdout":
        print(token)
    elif way == "stderr":
        print(token, file=sys.stderr)
    elif way == "argv":
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.05)", token])
    elif way == "own-argv":
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(0.05)", token])
    elif way == "temporary":
        Path(os.environ["TMPDIR"], "x").write_text(token)
    elif way == "home":
        Path(os.environ["HOME"], ".x").write_text(token)
    elif way == "work":
        Path("x").write_text(token)
    elif way == "traceback":
        raise ValueError("x")
"""
WAYS = ("stdout", "stderr", "argv", "own-argv", "temporary", "home", "work")


@pytest.fixture
def leaky(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs a program that leaks as its arguments say."""
    script = tmp_path / "bin" / "astro-token"
    script.parent.mkdir()
    script.write_text(LEAKY.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(conftest, "PROGRAM", script)
    return program


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_leaks_fails_the_test_that_runs_it(leaky: Program, way: str, canary: str) -> None:
    with pytest.raises(AssertionError, match=r"(stdout|stderr|argv|tmp/x|home/\.x|work/x): "):
        leaky(way, env={"LEAK": canary})


def test_a_program_that_does_not_leak_passes(leaky: Program, canary: str) -> None:
    assert 0 == leaky(env={"LEAK": canary}).code


def test_a_traceback_fails_the_test_too(leaky: Program) -> None:
    with pytest.raises(AssertionError, match="Traceback"):
        leaky("traceback", env={"LEAK": "x"})


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the system has no /proc")
def test_of_many_children_with_a_token_on_their_command_line_each_is_seen(
    leaky: Program, canary: str
) -> None:
    result = leaky(*["argv"] * MANY, env={"LEAK": canary}, allowed=["argv"])
    assert "raw" in appearances(canary, result.argv)


def test_a_token_that_the_test_itself_gave_as_an_argument_is_no_leak(leaky: Program, canary: str) -> None:
    assert 0 == leaky(f"ignored:{canary}", env={"LEAK": ""}).code


def test_threads_do_not_disturb_the_watch(leaky: Program, canary: str) -> None:
    found: list[object] = []

    def run() -> None:
        with contextlib.suppress(AssertionError):
            found.append(leaky("argv", env={"LEAK": canary}))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == found
