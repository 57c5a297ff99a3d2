"""A chain goes on where nothing is configured or nothing is found, and stops at everything else."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import astro_token
from astro_token import errors
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    MissingDependencyError,
    NoCredentialError,
    NoStoreError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secret import SecretValue
from astro_token.secrets import registry
from astro_token.settings.resolve import resolve
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.tokens.read import read_and_verify
from astro_token.tokens.read_many import verify_all
from tests.tokens.test_read_many import Batch, Single

if TYPE_CHECKING:
    from pathlib import Path

CONTINUES = {NoCredentialError, NoStoreError, MissingDependencyError, SecretNotFoundError}
NO_TOKEN = "no reference of the chain gives a token"
KINDS = [
    kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, AstroTokenError) and name != "CommandError"
]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    backends: dict[str, Any] = {}
    monkeypatch.setattr(registry, "_open", backends)
    return backends


def chain(text: str, seconds: float = 10) -> Any:
    return resolve(text, timeout=seconds, any_scheme=True, environ={})


def failure(text: str, seconds: float = 10) -> AstroTokenError:
    """The error of reading one token, which is the same as of reading many."""
    with pytest.raises(AstroTokenError) as caught:
        read_and_verify(chain(text, seconds))
    return caught.value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_only_what_is_absent_continues(kind: Any, opened: dict[str, Any], canary: str) -> None:
    error = kind("no", hint="do")
    opened["one"], opened["two"] = Single({"x": error}), Single({"y": canary})
    (report,) = verify_all([chain("one:x,two:y", 0.4 if kind is BackendUnavailableError else 10)])
    if kind in CONTINUES:
        token, _ = read_and_verify(chain("one:x,two:y"))
        assert (canary, "two:y") == (token.reveal(), str(token.ref))
        assert ("ok", "two:y") == (report.status, str(report.settings and report.settings.ref))
        assert [("one:x", "passed over", kind), ("two:y", "used", type(None))] == [
            (str(member.ref), member.status, type(member.error)) for member in report.chain
        ]
    else:
        assert (kind, "failed") == (type(report.error), report.status)
        assert [("one:x", "failed"), ("two:y", "not tried")] == [
            (str(member.ref), member.status) for member in report.chain
        ]
        assert [] == opened["two"].asked
        if kind is not BackendUnavailableError:
            assert "one:x: no" == failure("one:x,two:y").message


def test_an_outage_stops_after_its_retries_and_the_deadline_is_of_all(opened: dict[str, Any]) -> None:
    opened["one"] = Single({"x": BackendUnavailableError("not now")})
    opened["two"] = Single({"y": make_token()})
    began = time.monotonic()
    error = failure("two:lost,one:x,two:y", seconds=1)
    assert 0.5 < time.monotonic() - began < 3
    assert (75, True) == (error.exit_code, len(opened["one"].asked) > 1)
    assert ["lost"] == opened["two"].asked


def test_the_deadline_does_not_start_again_with_the_next_reference(opened: dict[str, Any]) -> None:
    opened["one"] = Single({}, seconds=0.35)
    began = time.monotonic()
    error = failure("one:a,one:b,one:c,one:d", seconds=0.8)
    assert time.monotonic() - began < 1.3
    assert 75 == error.exit_code
    assert len(opened["one"].asked) < 4


def test_a_field_that_is_missing_continues_and_one_that_is_not_named_stops(
    opened: dict[str, Any], canary: str
) -> None:
    opened["one"] = Single({"both": f'{{"a": "{canary}", "b": "x"}}', "y": canary})
    token, _ = read_and_verify(chain("one:both#c,one:y"))
    assert "one:y" == str(token.ref)
    assert type(failure("one:both,one:y")) is UnusableSecretError


def test_a_value_that_is_no_token_stops(opened: dict[str, Any]) -> None:
    opened["one"] = Single({"x": "no token", "y": make_token()})
    assert (65, ["x"]) == (failure("one:x,one:y").exit_code, opened["one"].asked)


def test_without_a_token_the_error_has_every_reason_and_the_gravest_code(opened: dict[str, Any]) -> None:
    opened["one"] = Single({"x": NoCredentialError("nobody is logged in", hint="log in")})
    expected = (
        f"{NO_TOKEN}: one:lost: nothing; one:x: nobody is logged in; one:gone: nothing",
        "for one:x: log in",
        77,
        NoCredentialError,
    )
    error = failure("one:lost,one:x,one:gone")
    (report,) = verify_all([chain("one:lost,one:x,one:gone")])
    for one in (error, report.error):
        assert one is not None
        assert expected == (one.message, one.hint, one.exit_code, type(one))
    assert ["passed over"] * 3 == [member.status for member in report.chain]


def test_a_backend_whose_extra_is_not_installed_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINE", canary)
    monkeypatch.setitem(sys.modules, "hvac", None)
    monkeypatch.setitem(sys.modules, "astro_token_backends.vault.adapter", None)
    (report,) = verify_all([resolve("vault:secret/a,env:MINE", environ={})])
    assert (MissingDependencyError, None) == (type(report.chain[0].error), report.error)


def test_a_disabled_secret_does_not_hand_over_to_the_next(opened: dict[str, Any]) -> None:
    opened["one"] = Single({"x": UnusableSecretError("the version is disabled"), "y": make_token()})
    assert (66, ["x"]) == (failure("one:x,one:y").exit_code, opened["one"].asked)


def test_many_chains_are_read_in_rounds_with_the_batch_call(opened: dict[str, Any]) -> None:
    missing = {f"no{number}": SecretNotFoundError("nothing") for number in (1, 2, 4)}
    opened["batch"] = batch = Batch(missing | {name: make_token() for name in "abcd"})
    opened["one"] = single = Single({"e": make_token()})
    reports = verify_all(
        [
            chain("batch:a"),
            chain("batch:no1,batch:b,one:e"),
            chain("batch:no2,batch:c"),
            chain("one:e"),
            chain("one:no3,batch:no4,batch:d"),
            chain("batch:no1,one:no3"),
        ]
    )
    assert [["a", "no1", "no2"], ["b", "c", "no4"]] == [sorted(names) for names in batch.batches]
    assert ["d"] == batch.asked[-1:]
    used = [str(report.settings and report.settings.ref) for report in reports if report.token]
    assert used == ["batch:a", "batch:b", "batch:c", "one:e", "batch:d"]
    assert 1 == single.asked.count("e")


def test_a_chain_decrypts_each_member_with_its_key(opened: dict[str, Any], canary: str) -> None:
    class Key:
        def decrypt(self, ref: Any, ciphertext: bytes, *, timeout: float) -> SecretValue:
            assert ciphertext == b"locked"
            return SecretValue(canary.encode())

    opened["one"], opened["key"] = Single({"y": "bG9ja2Vk"}), Key()
    settings = resolve("one:x,one:y", decrypt="key:k", any_scheme=True, environ={})
    assert canary == read_and_verify(settings)[0].reveal()


def test_the_library_takes_a_chain(opened: dict[str, Any], canary: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINE", canary)
    token = astro_token.read_token("env:NONE,env:MINE")
    assert ("env:MINE", canary) == (str(token.ref), token.reveal())
    lost, mine = astro_token.read_tokens(["env:NONE,env:OTHER", "env:NONE,env:MINE"])
    assert (SecretNotFoundError, canary) == (type(lost), getattr(mine, "reveal", str)())


def test_the_log_names_each_reference_and_no_value(
    opened: dict[str, Any], canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="astro_token")
    logging.getLogger("astro_token").propagate = True
    opened["one"] = Single({"y": canary})
    read_and_verify(chain("one:x,one:y"))
    lines = [record.getMessage() for record in caplog.records]
    assert "one:x is passed over (SecretNotFoundError); trying one:y" in lines
    assert [] == appearances(canary, "\n".join(lines))


def test_errors_of_a_chain_hold_no_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINE", f'{{"a": "{canary}", "b": "y"}}')
    for text, code in (("env:MINE#c,env:NONE", 66), ("env:NONE,env:MINE", 66), ("env:NONE,env:MINE#b", 65)):
        error = failure(text)
        assert (code, []) == (error.exit_code, appearances(canary, reachable_text(error)))


def test_a_single_reference_imports_nothing_of_chains(canary: str, tmp_path: Path) -> None:
    code = (
        "import sys; import astro_token; astro_token.read_token('env:MINE');"
        "print([name for name in sys.modules if name.endswith('.chain')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"MINE": canary, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[]\n" == done.stdout


def test_a_denial_stops(opened: dict[str, Any]) -> None:
    opened["one"] = Single({"x": AccessDeniedError("no"), "y": make_token()})
    assert (77, ["x"]) == (failure("one:x,one:y").exit_code, opened["one"].asked)
