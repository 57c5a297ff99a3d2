"""One deadline for a whole call, one layer of retries, and errors that nothing hangs on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendError,
    BackendUnavailableError,
    CommandError,
    ConfigError,
    DecryptError,
    IntegrityError,
    InvalidTokenError,
    MissingDependencyError,
    SecretNotFoundError,
)
from astro_token.secret import SecretValue
from astro_token.testing import appearances, reachable_text
from astro_token.transport.deadline import Deadline, Workers, extend_attempt
from tests.timing import PATIENCE, SLACK, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Service:
    """Fails as it is told to, then answers; notes what it was given and when."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.given: list[float] = []

    def __call__(self, seconds: float) -> str:
        self.given.append(seconds)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return str(outcome)


def busy(after: float | None = 0.0) -> BackendUnavailableError:
    return BackendUnavailableError("busy", retry_after=after)


def failure(call: Callable[[], object]) -> AstroTokenError:
    try:
        call()
    except AstroTokenError as error:
        return error
    raise AssertionError("it did not fail")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept, without sleeping: the clock is put forward in its place."""
    pauses: list[float] = []
    monotonic = time.monotonic
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + sum(pauses))
    return pauses


# -- how often -------------------------------------------------------------------------------------------


def test_what_succeeds_is_called_once() -> None:
    service = Service("done")
    assert ("done", 1) == (Deadline(5).retry(service), len(service.given))


@pytest.mark.parametrize("failures", range(1, 9))
def test_it_is_tried_again_while_the_service_is_unavailable(slept: list[float], failures: int) -> None:
    service = Service(*[busy() for _ in range(failures)], "done")
    assert "done" == Deadline(60).retry(service)
    assert failures + 1 == len(service.given)


def test_it_is_tried_until_the_deadline(slept: list[float]) -> None:
    service = Service(busy(None))
    error = failure(lambda: Deadline(30).retry(service))
    assert (BackendUnavailableError, "busy") == (type(error), error.message)
    assert 29 < sum(slept) < 30
    assert 8 < len(service.given) < 60
    assert 0 < service.given[-1] < 0.25  # the last attempt is just before the end


def test_a_service_that_requests_no_pause_gets_one(slept: list[float]) -> None:
    service = Service(busy(0.0))
    failure(lambda: Deadline(30).retry(service))
    assert 8 < len(service.given) < 60


def test_attempts_can_be_limited() -> None:
    service = Service(busy())
    assert "busy" == failure(lambda: Deadline(5, attempts=2).retry(service)).message
    assert 2 == len(service.given)


def test_the_longest_pause_can_be_shorter(slept: list[float]) -> None:
    failure(lambda: Deadline(10, longest_pause=0.1).retry(Service(busy(None))))
    assert 0.09 < max(slept) <= 0.1


@pytest.mark.parametrize(
    "error",
    [
        AccessDeniedError("x"),
        BackendDownError("x"),
        BackendError("x"),
        ConfigError("x"),
        DecryptError("x"),
        IntegrityError("x"),
        InvalidTokenError("x"),
        SecretNotFoundError("x"),
        ValueError("x"),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nothing_else_is_tried_again(error: BaseException) -> None:
    service = Service(error)
    failure(lambda: Deadline(5).retry(service))
    assert 1 == len(service.given)


def test_another_failure_after_the_first_ends_it() -> None:
    service = Service(busy(), AccessDeniedError("denied"))
    assert "denied" == failure(lambda: Deadline(5).retry(service)).message
    assert 2 == len(service.given)


def test_once_is_once() -> None:
    service = Service(busy())
    assert "busy" == failure(lambda: Deadline(5).once(service)).message
    assert 1 == len(service.given)


# -- how long --------------------------------------------------------------------------------------------


def test_pauses_have_full_jitter_below_a_doubling_limit(slept: list[float]) -> None:
    limits = [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    count = len(limits)
    for _ in range(200):
        failure(lambda: Deadline(60, attempts=count + 1).retry(Service(busy(None))))
    columns = [slept[place::count] for place in range(count)]
    assert [200] * count == [len(column) for column in columns]
    for limit, column in zip(limits, columns, strict=True):
        assert 0 <= min(column) < limit / 10
        assert limit * 9 / 10 < max(column) <= limit


@pytest.mark.parametrize("asked", [0.25, 7.0, 29.0])
def test_retry_after_is_waited_when_it_fits(slept: list[float], asked: float) -> None:
    assert "done" == Deadline(30).retry(Service(busy(asked), "done"))
    assert [asked] == slept


@pytest.mark.parametrize("asked", [30.0, 31.0, 86400.0, float("inf"), 1e300])
def test_retry_after_that_does_not_fit_ends_it_at_once(slept: list[float], asked: float) -> None:
    service = Service(busy(asked), "done")
    error = failure(lambda: Deadline(30).retry(service))
    assert ("busy", asked, 1, []) == (
        error.message,
        getattr(error, "retry_after", None),
        len(service.given),
        slept,
    )


@pytest.mark.parametrize("asked", [-1.0, -1e300, float("-inf")])
def test_retry_after_in_the_past_is_passed_over(slept: list[float], asked: float) -> None:
    assert "done" == Deadline(30).retry(Service(busy(asked), "done"))
    assert 0 <= slept[0] <= 0.25


def test_retry_after_that_is_no_number_is_passed_over(slept: list[float]) -> None:
    assert "done" == Deadline(30).retry(Service(busy(float("nan")), "done"))
    assert 0 <= slept[0] <= 0.25


def test_retry_after_is_really_waited() -> None:
    started = time.monotonic()
    Deadline(5).retry(Service(busy(0.3), "done"))
    assert 0.3 <= time.monotonic() - started < 0.3 + SLACK


@pytest.mark.parametrize("seconds", [0.3, 0.7])
def test_retries_never_pass_the_deadline(seconds: float) -> None:
    started = time.monotonic()
    error = failure(lambda: Deadline(seconds).retry(Service(busy(seconds / 4))))
    assert BackendUnavailableError is type(error)
    assert time.monotonic() - started < seconds + SLACK


def test_the_error_names_the_cause_and_not_the_end_of_the_last_attempt() -> None:
    given: list[float] = []

    def call(seconds: float) -> str:
        given.append(seconds)
        if len(given) == 1:
            raise BackendUnavailableError("busy, status 503")
        time.sleep(seconds)
        raise BackendUnavailableError("no answer in time")

    assert "busy, status 503" == failure(lambda: Deadline(0.7).retry(call)).message


@pytest.mark.parametrize(("seconds", "attempt", "is_named"), [(0.2, 10.0, True), (5.0, 0.1, False)])
def test_a_longer_timeout_is_advised_only_if_it_lengthens_the_attempt(
    never: threading.Event, seconds: float, attempt: float, is_named: bool
) -> None:
    error = failure(lambda: Deadline(seconds, attempt=attempt).once(lambda _: never.wait()))
    assert f"no answer within {min(seconds, attempt)} s" == error.message
    assert is_named == ("ASTRO_TOKEN_TIMEOUT" in (error.hint or ""))
    assert "try again later" in (error.hint or "")


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event that does not come before the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("kind", ["once", "retry"])
def test_a_call_that_never_returns_is_left_behind_at_the_deadline(never: threading.Event, kind: str) -> None:
    deadline = Deadline(0.4)
    started = time.monotonic()
    error = failure(lambda: getattr(deadline, kind)(lambda _: never.wait()))
    assert 0.4 <= time.monotonic() - started < 0.4 + SLACK
    assert (BackendUnavailableError, 75) == (type(error), error.exit_code)
    assert "no answer within" in error.message


def test_a_process_ends_although_a_call_does_not_return() -> None:
    program = (
        "import threading; from astro_token.transport.deadline import Deadline\n"
        "try: Deadline(0.2).once(lambda _: threading.Event().wait())\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, text=True)
    assert (0, "no answer within 0.2 s\n", "") == (done.returncode, done.stdout, done.stderr)


def test_an_attempt_is_given_ten_seconds_at_most_and_never_more_than_is_left() -> None:
    long, short = Service("done"), Service("done")
    Deadline(60).retry(long)
    Deadline(3).retry(short)
    assert [10.0] == long.given
    assert 0 < short.given[0] <= 3.0


def test_several_calls_share_one_deadline() -> None:
    deadline, service = Deadline(8.0), Service("done")
    deadline.retry(service)
    time.sleep(0.3)
    deadline.once(service)
    assert service.given[0] - service.given[1] >= 0.3


def test_nothing_is_called_after_the_deadline() -> None:
    service = Service("done")
    error = failure(lambda: Deadline(0).retry(service))
    assert ([], "no answer within 0 s") == (service.given, error.message)
    assert 0.0 == Deadline(-5).remaining


def test_a_slow_answer_before_the_deadline_counts() -> None:
    def slow(_: float) -> str:
        time.sleep(0.3)
        return "done"

    assert "done" == Deadline(0.3 + SLACK).once(slow)


def test_a_call_runs_in_a_thread_of_its_own_that_does_not_hold_the_process() -> None:
    threads: list[threading.Thread] = []
    Deadline(5).once(lambda _: threads.append(threading.current_thread()))
    assert [True] == [thread.daemon and thread is not threading.main_thread() for thread in threads]


# -- what is left of an error ----------------------------------------------------------------------------


class Leaky(Exception):  # noqa: N818
    """An SDK's exception as they are: full of the answer."""

    def __init__(self, canary: str) -> None:
        super().__init__(canary, {"body": [canary]})
        self.response = {"headers": {"x": canary.encode()}}
        self.doc = canary

    def __str__(self) -> str:
        return self.doc


def raise_leaky(canary: str) -> NoReturn:
    body = canary * 2
    raise Leaky(body)


def of_an_sdk(canary: str) -> NoReturn:
    raise_leaky(canary)


def with_a_cause(canary: str) -> NoReturn:
    try:
        raise_leaky(canary)
    except Leaky as error:
        raise AccessDeniedError("denied") from error


def with_a_context(canary: str) -> NoReturn:
    try:
        raise_leaky(canary)
    except Leaky:
        raise SecretNotFoundError("not there")  # noqa: B904


def with_a_suppressed_context(canary: str) -> NoReturn:
    try:
        raise_leaky(canary)
    except Leaky:
        raise SecretNotFoundError("not there") from None


def with_a_note(canary: str) -> NoReturn:
    error = IntegrityError("damaged")
    error.add_note(canary)
    raise error


def with_locals(canary: str) -> NoReturn:
    body = {"token": [canary]}
    raise BackendDownError("sealed" if body else "")


def with_an_attribute(canary: str) -> NoReturn:
    error = BackendDownError("sealed")
    error.response = {"body": canary}  # type: ignore[attr-defined]
    raise error


def with_arguments(canary: str) -> NoReturn:
    error = BackendDownError("sealed")
    error.args = ("sealed", canary)
    raise error


def of_a_group(canary: str) -> NoReturn:
    raise ExceptionGroup(canary, [Leaky(canary), ValueError(canary)])


def of_json(canary: str) -> NoReturn:
    import json

    json.loads("{" + canary)
    raise AssertionError


def of_a_codec(canary: str) -> NoReturn:
    (canary + "é").encode("ascii")
    raise AssertionError


def of_a_file(canary: str) -> NoReturn:
    open(f"/nonexistent/{canary}")  # noqa: SIM115, PTH123
    raise AssertionError


def of_an_exit(canary: str) -> NoReturn:
    raise SystemExit(canary)


FAILURES: list[Callable[[str], NoReturn]] = [
    of_an_sdk,
    with_a_cause,
    with_a_context,
    with_a_suppressed_context,
    with_a_note,
    with_locals,
    with_an_attribute,
    with_arguments,
    of_a_group,
    of_json,
    of_a_codec,
    of_a_file,
    of_an_exit,
]


def planted(raises: Callable[[str], NoReturn], canary: SecretValue) -> Callable[[float], NoReturn]:
    """A call that fails with the canary; until then it is where a scan passes it over."""
    return lambda _: raises(canary.reveal().decode())


def bare_failure(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("raises", FAILURES, ids=lambda raises: raises.__name__)
@pytest.mark.parametrize("kind", ["once", "retry"])
def test_nothing_of_what_a_backend_raised_is_left_on_the_error(
    raises: Callable[[str], NoReturn], kind: str, canary: str
) -> None:
    call = planted(raises, SecretValue(canary.encode()))
    error = failure(lambda: getattr(Deadline(5), kind)(call))
    assert [] == appearances(canary, reachable_text(error))
    assert (None, None) == (error.__cause__, error.__context__)
    assert not getattr(error, "__notes__", [])


@pytest.mark.parametrize("raises", FAILURES, ids=lambda raises: raises.__name__)
def test_the_same_scan_finds_each_of_them_before(raises: Callable[[str], NoReturn], canary: str) -> None:
    call = planted(raises, SecretValue(canary.encode()))
    assert "raw" in appearances(canary, reachable_text(bare_failure(lambda: call(0.0))))


def test_an_exception_of_an_sdk_is_known_by_its_type_only() -> None:
    error = failure(lambda: Deadline(5).once(planted(of_an_sdk, SecretValue(b"hunter2"))))
    assert (BackendError, "the backend failed with Leaky") == (type(error), error.message)
    assert "hunter2" not in str(error.hint)


@pytest.mark.parametrize(
    "raised",
    [
        BackendUnavailableError("m", hint="h", retry_after=99.0),
        SecretNotFoundError("m", hint="h", version="3"),
        CommandError("m", hint="h", exit_code=127),
        MissingDependencyError("m", hint="h"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_ours_keeps_all_that_is_ours(raised: Any) -> None:
    kept = {name: getattr(raised, name) for name in ("message", "hint", "exit_code")} | dict(vars(raised))
    error = failure(lambda: Deadline(5).retry(Service(raised)))
    assert error is raised
    assert kept == {name: getattr(error, name) for name in kept}
    assert ("m",) == error.args


def test_the_value_that_is_returned_is_not_on_a_later_error(canary: str) -> None:
    secret = SecretValue(canary.encode())
    deadline = Deadline(5)
    deadline.once(lambda _: secret)
    error = failure(lambda: deadline.once(lambda _: 1 / 0))
    assert [] == appearances(canary, reachable_text(error))


def test_an_attempt_may_be_given_more_or_less_than_others() -> None:
    for attempt, given in ((None, 10.0), (3.0, 3.0), (40.0, 30.0)):
        service = Service("done")
        deadline = Deadline(30) if attempt is None else Deadline(30, attempt=attempt)
        assert ("done", "done") == (deadline.once(service), deadline.retry(service))
        assert [pytest.approx(given, abs=2)] * 2 == service.given


# -- what is loaded --------------------------------------------------------------------------------------

LOADED = """
import sys
from astro_token.transport.deadline import Deadline
from astro_token.errors import BackendUnavailableError
outcomes = [{failures}, "done"]
def call(_):
    outcome = outcomes.pop(0)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
print(Deadline(5).retry(call), "tenacity" in sys.modules)
"""


@pytest.mark.parametrize(
    ("failures", "printed"),
    [("*[]", "done False\n"), ("BackendUnavailableError('busy', retry_after=0)", "done True\n")],
)
def test_what_tries_again_is_loaded_after_a_first_failure_only(failures: str, printed: str) -> None:
    program = LOADED.format(failures=failures)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, text=True)
    assert (printed, "") == (done.stdout, done.stderr)


# -- in which thread -------------------------------------------------------------------------------------


def test_a_local_call_runs_in_the_current_thread() -> None:
    threads: list[int] = []
    Deadline(5).once(lambda _: threads.append(threading.get_ident()), local=True)
    Deadline(5).retry(lambda _: threads.append(threading.get_ident()), local=True)
    assert [threading.get_ident()] * 2 == threads


def test_the_end_by_a_signal_passes_through_a_local_call() -> None:
    with pytest.raises(KeyboardInterrupt):
        Deadline(5).retry(Service(KeyboardInterrupt()), local=True)
    assert isinstance(failure(lambda: Deadline(5).once(Service(OSError("x")), local=True)), BackendError)


def test_a_local_call_loads_no_threads() -> None:
    program = (
        "import sys; from astro_token.transport.deadline import Deadline\n"
        "print(Deadline(5).retry(lambda _: 'done', local=True), 'threading' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert ("done False\n", "") == (done.stdout, done.stderr)


def test_an_attempt_within_a_worker_runs_in_its_thread() -> None:
    deadline = Deadline(5)
    workers = Workers(deadline, 4)

    def job() -> bool:
        return threading.get_ident() == deadline.retry(lambda _: threading.get_ident())

    pending = [workers.submit(job) for _ in range(50)]
    assert [True] * 50 == [one.outcome() for one in pending]


@pytest.mark.parametrize("in_a_worker", [True, False])
def test_an_attempt_can_last_until_the_deadline(in_a_worker: bool) -> None:
    deadline = Deadline(10, attempt=0.8)
    attempts: list[float] = []

    def slow(seconds: float) -> str:
        attempts.extend((seconds, extend_attempt()))
        time.sleep(1.2)
        return "done"

    if in_a_worker:
        outcome = Workers(deadline).submit(lambda: deadline.retry(slow)).outcome()
    else:
        outcome = deadline.retry(slow)
    assert "done" == outcome
    assert [0.8, pytest.approx(10, abs=SLACK)] == attempts


def test_an_extended_attempt_ends_at_the_deadline(never: threading.Event) -> None:
    def hang(seconds: float) -> bool:
        extend_attempt()
        return never.wait(60)

    start = time.monotonic()
    assert "no answer within 2 s" == failure(lambda: Deadline(2, attempt=1).retry(hang)).message
    assert 2 <= time.monotonic() - start < 2 + SLACK


def test_in_a_thread_without_a_deadline_there_is_no_more_time() -> None:
    assert 0 == extend_attempt()


def test_workers_run_side_by_side_and_no_more_than_so_many() -> None:
    workers, barrier, seen = Workers(Deadline(PATIENCE), 3), threading.Barrier(3, timeout=PATIENCE), set()

    def job() -> int:
        seen.add(threading.get_ident())
        return barrier.wait()

    pending = [workers.submit(job) for _ in range(9)]
    assert list("000111222") == sorted(map(str, (one.outcome() for one in pending)))
    assert len(seen) >= 3


def test_while_a_call_pauses_another_runs() -> None:
    deadline = Deadline(20)
    workers, told = Workers(deadline, 1), threading.Event()

    def waiting(_: float) -> str:
        if told.is_set():
            return "done"
        raise busy(0.5)

    first = workers.submit(lambda: deadline.retry(waiting))
    second = workers.submit(told.set)
    assert (None, "done") == (second.outcome(), first.outcome())


def test_a_worker_that_never_returns_is_left_behind(never: threading.Event) -> None:
    deadline = Deadline(0.4)
    workers = Workers(deadline, 1)
    first, second = workers.submit(never.wait), workers.submit(lambda: True)
    started = time.monotonic()
    outcomes = [one.outcome() for one in (first, second)]
    assert time.monotonic() - started < 0.4 + SLACK
    assert [BackendUnavailableError] * 2 == [type(outcome) for outcome in outcomes]


def test_what_was_cancelled_is_not_begun(never: threading.Event) -> None:
    workers, begun = Workers(Deadline(0.2), 1), threading.Event()
    first, second = workers.submit(never.wait), workers.submit(begun.set)
    workers.cancel()
    never.set()
    first.outcome()
    assert isinstance(second.outcome(), BackendUnavailableError)
    assert not begun.is_set()


def test_a_worker_returns_its_errors_bare(canary: str) -> None:
    workers = Workers(Deadline(5))
    for raises in FAILURES:
        call = planted(raises, SecretValue(canary.encode()))
        error = workers.submit(lambda: call(0.0)).outcome()  # noqa: B023
        assert isinstance(error, AstroTokenError)
        assert [] == appearances(canary, reachable_text(error))


def test_without_threads_a_call_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import _thread

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    deadline = Deadline(5)
    workers = Workers(deadline)
    assert "done" == deadline.once(Service("done"))
    pending = [workers.submit(lambda: "done") for _ in range(3)]
    assert ["done"] * 3 == [one.outcome() for one in pending]


# -- many calls of one host ------------------------------------------------------------------------------


def test_after_one_call_gave_up_the_others_of_its_host_fail_at_once() -> None:
    deadline, down, other = Deadline(30), Service(busy(60)), Service("done")
    errors = [failure(lambda: deadline.retry(down, host=lambda: "vault")) for _ in range(3)]
    assert (1, {"busy"}) == (len(down.given), {error.message for error in errors})
    assert errors[1] is not errors[2]
    assert ("done", "done") == (deadline.retry(other, host=lambda: "aws"), deadline.retry(other))


def test_a_host_at_which_a_call_has_succeeded_is_tried_again() -> None:
    deadline, down = Deadline(30), Service(busy(60))
    assert "done" == deadline.retry(Service("done"), host=lambda: "vault")
    for _ in range(2):
        failure(lambda: deadline.retry(down, host=lambda: "vault"))
    assert 2 == len(down.given)


def test_a_call_that_waits_gives_up_with_the_first() -> None:
    deadline, service = Deadline(30), Service(busy(0.3))
    workers = Workers(deadline)
    waiting = workers.submit(lambda: deadline.retry(service, host=lambda: "vault"))
    wait_until(lambda: service.given)
    failure(lambda: deadline.retry(Service(busy(60)), host=lambda: "vault"))
    assert isinstance(waiting.outcome(), BackendUnavailableError)
    assert len(service.given) <= 2


def test_a_forked_child_bounds_calls_in_threads_that_have_numbers_of_its_parents() -> None:
    go_on = threading.Event()
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            Deadline(0.05).once(lambda _: go_on.wait(60))
    child = os.fork()
    if child == 0:
        late: list[bool] = []

        def call() -> None:
            try:
                Deadline(0.05).once(lambda _: go_on.wait(2 * SLACK))
            except BackendUnavailableError:
                late.append(True)

        threads = [threading.Thread(target=call) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(len(late) != len(threads))
    try:
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        go_on.set()
