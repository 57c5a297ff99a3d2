"""Several tokens at once: how often a backend is asked, what a failure hides, and the order of answers."""

from __future__ import annotations

import _thread
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import astro_token
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    SecretNotFoundError,
    UnsupportedOperationError,
    UsageError,
)
from astro_token.secret import SecretValue
from astro_token.secrets import registry
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.tokens.read_many import WORKERS, verify_all
from astro_token.transport.route import Route
from tests.timing import PATIENCE, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Answer = SecretValue | AstroTokenError


class Single:
    """Answers one question at a time, and keeps who was asked, and how many at once."""

    def __init__(self, secrets: Mapping[str, Any], *, together: int = 1, seconds: float = 0.0) -> None:
        self.secrets, self.seconds = secrets, seconds
        self.meeting = threading.Barrier(together)  # each waits for the others
        self.asked: list[str] = []
        self.now = self.most = 0
        self.lock = threading.Lock()

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        with self.lock:
            self.asked.append(ref.name)
            self.now += 1
            self.most = max(self.most, self.now)
        self.meeting.wait(PATIENCE)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        answer = self.answer(ref)
        if isinstance(answer, AstroTokenError):
            raise answer
        return answer

    def answer(self, ref: SecretRef) -> Answer:
        kept = self.secrets.get(ref.name, SecretNotFoundError("nothing"))
        return kept if isinstance(kept, AstroTokenError) else SecretValue(kept.encode(), "1")


class Batch(Single):
    """Answers many at once; `errors` are raised by one call each, before it answers."""

    def __init__(self, secrets: Mapping[str, Any], *errors: AstroTokenError) -> None:
        super().__init__(secrets)
        self.batches: list[list[str]] = []
        self.errors = list(errors)

    def read_many(self, refs: Sequence[SecretRef], *, timeout: float) -> Mapping[SecretRef, Answer]:
        self.batches.append([ref.name for ref in refs])
        if self.errors:
            raise self.errors.pop(0)
        return {ref: self.answer(ref) for ref in refs if self.secrets.get(ref.name) is not None}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    backends: dict[str, Any] = {}
    monkeypatch.setattr(registry, "_open", backends)
    return backends


def found(*refs: str, seconds: float = 10, done: Callable[[], None] = lambda: None) -> list[Any]:
    """The token's text of each, or its error."""
    requests = [TokenSettings(SecretRef.parse(ref), timeout=seconds) for ref in refs]
    reports = verify_all(requests, done=done)
    assert [one.ref for one in requests] == [one.settings.ref for one in reports if one.settings]
    return [one.error or (one.token and one.token.reveal()) for one in reports]


def kinds(outcomes: Sequence[object]) -> list[object]:
    return [type(one) if isinstance(one, AstroTokenError) else one for one in outcomes]


# -- one by one -------------------------------------------------------------------------------------


def test_they_are_read_side_by_side_by_a_bounded_number_and_come_in_the_order_asked(
    opened: dict[str, Any],
) -> None:
    tokens = {f"t{number}": make_token() for number in range(3 * WORKERS)}
    opened["one"] = backend = Single(tokens, together=WORKERS)
    assert list(tokens.values()) == found(*(f"one:{name}" for name in tokens))
    assert (WORKERS, len(tokens)) == (backend.most, len(backend.asked))


def test_a_secret_is_read_once_however_many_of_its_fields_are_tokens(opened: dict[str, Any]) -> None:
    a, b = make_token(), make_token()
    opened["one"] = backend = Single({"both": json.dumps({"a": a, "b": b})})
    assert [a, b, a] == found("one:both#a", "one:both#b", "one:both#a")
    assert ["both"] == backend.asked


def test_what_fails_hides_no_other(opened: dict[str, Any], canary: str) -> None:
    opened["one"] = Single({"a": canary, "denied": AccessDeniedError("no"), "bad": "no token"})
    opened["two"] = Single({"b": canary})
    outcomes = found("one:lost", "one:a", "one:denied", "two:b", "one:bad", "one:lost#x")
    expected = [SecretNotFoundError, canary, AccessDeniedError, canary]
    assert expected == kinds(outcomes)[:4]
    messages = ["one:lost: nothing", "one:denied: no", "one:lost#x: nothing"]
    assert messages == [outcomes[place].message for place in (0, 2, 5)]


def test_a_backend_that_cannot_be_opened_fails_for_its_own_alone(opened: dict[str, Any], canary: str) -> None:
    opened["one"], opened["key"] = Single({"a": canary}), object()
    outcomes = found("key:a", "one:a", "key:b")
    assert [UnsupportedOperationError, canary, UnsupportedOperationError] == kinds(outcomes)
    assert ["key:a", "key:b"] == [outcomes[place].message.partition(": ")[0] for place in (0, 2)]


def test_each_is_counted_when_it_is_done(opened: dict[str, Any], canary: str) -> None:
    opened["one"] = Single({"a": canary})
    done: list[int] = []
    found("one:a", "one:b", "one:a", done=lambda: done.append(1))
    assert 3 == len(done)


def test_nothing_of_a_value_is_left_on_an_error(opened: dict[str, Any], canary: str) -> None:
    opened["one"] = Batch({"a": json.dumps({"x": canary, "y": canary}), "b": f"{canary}!"})
    for outcome in found("one:a", "one:b", "one:a#z"):
        assert isinstance(outcome, AstroTokenError)
        assert [] == appearances(canary, reachable_text(outcome))


# -- threads and hosts ------------------------------------------------------------------------------


def test_variables_and_files_are_read_without_a_thread(
    opened: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    (tmp_path / "token").write_text(canary)
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("ONE", canary)

    def refuse(*_: object) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    refs = ("env:ONE", "file:token", "env:TWO", "file:nothing")
    assert [canary, canary, SecretNotFoundError, SecretNotFoundError] == kinds(found(*refs))
    assert canary == astro_token.read_token("file:token").reveal()


def test_a_token_takes_no_thread_of_its_own(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    started: list[object] = []
    start = _thread.start_new_thread

    def note(function: Callable[..., object], arguments: tuple[Any, ...]) -> int:
        started.append(function)
        return start(function, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", note)
    opened["one"] = Single(dict.fromkeys(map(str, range(200)), canary), seconds=0.01)
    assert [canary] * 200 == found(*(f"one:{number}" for number in range(200)))
    assert WORKERS <= len(started) < 100


class Unreachable(Single):
    """Cannot be reached at one address, and answers at the other."""

    def route(self, ref: SecretRef) -> Route:
        return Route.to(f"https://{ref.name.partition('/')[0]}", {})

    def answer(self, ref: SecretRef) -> Answer:
        if ref.name.startswith("down/"):
            return BackendUnavailableError("cannot be reached")
        return super().answer(ref)


def test_tokens_of_a_host_that_cannot_be_reached_hold_up_no_others(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    monkeypatch.setattr("tenacity.wait_random_exponential", lambda **_: lambda _state: 0.05)
    opened["one"] = backend = Unreachable({f"up/{number}": canary for number in range(20)})
    names = [f"{host}/{number}" for number in range(20) for host in ("down", "up")]
    with within(2):
        outcomes = found(*(f"one:{name}" for name in names), seconds=2)
    assert [BackendUnavailableError, canary] * 20 == kinds(outcomes)
    assert "one:down/19: cannot be reached" == outcomes[-2].message
    assert backend.most <= WORKERS


def test_a_host_that_another_token_has_reached_is_tried_for_each(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    monkeypatch.setattr("tenacity.wait_random_exponential", lambda **_: lambda _state: 0.05)
    broken = BackendUnavailableError("busy")
    opened["one"] = backend = Single({"good": canary} | {f"bad{number}": broken for number in range(20)})
    outcomes = found("one:good", *(f"one:bad{number}" for number in range(20)), seconds=2)
    assert [canary, *[BackendUnavailableError] * 20] == kinds(outcomes)
    assert all(backend.asked.count(f"bad{number}") > 3 for number in range(20))


def test_a_hundred_tokens_of_a_service_that_is_down_fail_at_the_deadline(opened: dict[str, Any]) -> None:
    opened["one"] = Unreachable({})
    done: list[int] = []
    with within(1.5, at_least=1):
        outcomes = found(
            *(f"one:down/{number}" for number in range(100)), seconds=1.5, done=lambda: done.append(1)
        )
    assert [BackendUnavailableError] * 100 == kinds(outcomes)
    assert any("cannot be reached" in str(outcome) for outcome in outcomes)
    assert 100 == len(done)


def test_a_hundred_tokens_of_a_service_that_comes_back_are_read(opened: dict[str, Any], canary: str) -> None:
    class Restarting(Single):
        def answer(self, ref: SecretRef) -> Answer:
            if time.monotonic() < back:
                return BackendUnavailableError("cannot be reached")
            return super().answer(ref)

    names = [f"t{number}" for number in range(100)]
    opened["one"] = Restarting(dict.fromkeys(names, canary))
    back = time.monotonic() + 1
    assert [canary] * 100 == found(*(f"one:{name}" for name in names), seconds=30)


@pytest.mark.parametrize("count", [1, 2])
def test_an_address_that_blocks_does_not_outlast_the_deadline(opened: dict[str, Any], count: int) -> None:
    class Blocked(Single):
        def address(self, ref: SecretRef) -> str:
            never.wait()
            return ""

    never = threading.Event()
    opened["one"] = Blocked(dict.fromkeys("ab", BackendUnavailableError("no answer")))
    requests = [TokenSettings(SecretRef("one", name), timeout=1) for name in "ab"[:count]]
    with within(5):
        reports = verify_all(requests)
    never.set()
    assert [75] * count == [report.exit_code for report in reports]


# -- by the batch -----------------------------------------------------------------------------------


def test_several_are_asked_for_by_one_call(opened: dict[str, Any]) -> None:
    tokens = {f"t{number}": make_token() for number in range(30)}
    opened["one"] = backend = Batch(tokens)
    assert list(tokens.values()) == found(*(f"one:{name}" for name in tokens))
    assert ([list(tokens)], []) == (backend.batches, backend.asked)


def test_one_alone_is_no_batch(opened: dict[str, Any], canary: str) -> None:
    opened["one"] = backend = Batch({"a": canary})
    assert [canary] == found("one:a")
    assert ([], ["a"]) == (backend.batches, backend.asked)


def test_only_those_are_asked_for_again_that_the_service_was_too_busy_for(
    opened: dict[str, Any], canary: str
) -> None:
    secrets: dict[str, Any] = {"a": canary, "busy": BackendUnavailableError("later", retry_after=0.0)}
    opened["one"] = backend = Batch(secrets)
    answer = backend.answer

    def once(ref: SecretRef) -> Answer:
        kept = answer(ref)
        if ref.name == "busy":
            secrets["busy"] = canary
        return kept

    backend.answer = once  # type: ignore[method-assign]
    assert [canary, canary] == found("one:a", "one:busy")
    assert [["a", "busy"], ["busy"]] == backend.batches


def test_a_batch_that_was_not_answered_is_asked_again_as_a_whole(opened: dict[str, Any], canary: str) -> None:
    opened["one"] = backend = Batch({"a": canary, "b": canary}, BackendUnavailableError("x", retry_after=0.0))
    assert [canary, canary] == found("one:a", "one:b")
    assert [["a", "b"]] * 2 == backend.batches


def test_a_batch_that_answers_after_the_deadline_changes_nothing(opened: dict[str, Any], canary: str) -> None:
    go_on, ended = threading.Event(), threading.Event()

    class Late(Batch):
        def read_many(self, refs: Sequence[SecretRef], *, timeout: float) -> Mapping[SecretRef, Answer]:
            go_on.wait(10)
            ended.set()
            return super().read_many(refs, timeout=timeout)

    opened["one"], opened["two"] = Late({"a": canary, "b": canary}), Single({"c": canary})
    requests = [TokenSettings(SecretRef.parse(ref), timeout=0.5) for ref in ("one:a", "two:c", "one:b")]
    done: list[int] = []
    reports = verify_all(requests, done=lambda: done.append(1))
    errors = [report.error for report in reports]
    assert [BackendUnavailableError, type(None), BackendUnavailableError] == [type(one) for one in errors]
    assert "one:a: no answer within 0.5 s" == str(errors[0])
    go_on.set()
    assert ended.wait(10)
    time.sleep(0.2)  # the worker reports what it has read
    assert errors == [report.error for report in reports]
    assert 3 == len(done)


def test_what_a_whole_batch_fails_with_is_said_of_each(opened: dict[str, Any]) -> None:
    opened["one"] = backend = Batch({"a": "x", "b": "y"}, AccessDeniedError("no", hint="ask"))
    outcomes = found("one:a", "one:b")
    assert ["one:a: no", "one:b: no"] == [outcome.message for outcome in outcomes]
    assert [AccessDeniedError] * 2 == kinds(outcomes)
    assert 1 == len(backend.batches)


def test_an_answer_without_one_of_them_is_the_backends_fault(opened: dict[str, Any], canary: str) -> None:
    opened["one"] = Batch({"a": canary, "b": None})
    assert [canary, BackendError] == kinds(found("one:a", "one:b"))


# -- the library ------------------------------------------------------------------------------------


def test_the_library_returns_tokens_and_errors_in_the_order_asked(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    monkeypatch.setenv("ONE", canary)
    monkeypatch.setenv("PAST", make_token(expires_in=-60))
    outcomes = astro_token.read_tokens(["env:ONE", "env:TWO", "nonsense", "env:PAST"])
    first = outcomes[0]
    assert isinstance(first, astro_token.AstroToken)
    assert (canary, "env:ONE") == (first.reveal(), str(first.ref))
    assert [SecretNotFoundError, UsageError, astro_token.InvalidTokenError] == kinds(outcomes[1:])


def test_the_library_reads_all_that_the_projects_file_names(
    opened: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    (tmp_path / "astro-token.toml").write_text('[tokens.a]\nref = "env:A"\n[tokens.b]\nref = "env:B"\n')
    (tmp_path / "astro-token.toml").chmod(0o600)
    monkeypatch.setenv("B", canary)
    a, b = astro_token.read_tokens()
    assert isinstance(a, SecretNotFoundError)
    assert isinstance(b, astro_token.AstroToken)
