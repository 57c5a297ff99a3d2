"""One login per process, made by one thread, dropped in a forked child."""

from __future__ import annotations

import os
import threading
import time

import pytest

from astro_token.errors import BackendUnavailableError
from astro_token.transport.deadline import Deadline, Workers, paused_deadline
from astro_token_backends.login import LoginLock, one_per_process


class Login:
    def __init__(self) -> None:
        time.sleep(0.05)
        self.token: str | None = "t"

    def forget(self) -> None:
        self.token = None


def in_forked_child(check: object) -> int:
    """Exit status of a forked child: 0 if `check` is true there."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if callable(check) and check() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_threads_share_one() -> None:
    shared = one_per_process(Login)
    got: list[Login] = []
    threads = [threading.Thread(target=lambda: got.append(shared())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 8 == len(got)
    assert {id(shared())} == {id(login) for login in got}


def test_a_forked_child_drops_the_login_and_the_parent_keeps_it() -> None:
    shared = one_per_process(Login)
    login = shared()
    assert 0 == in_forked_child(lambda: shared() is login and login.token is None)
    assert "t" == login.token


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_not_held_up_by_a_thread_of_its_parent() -> None:
    release = threading.Event()

    class Slow(Login):
        def __init__(self) -> None:
            super().__init__()
            if threading.current_thread() is not threading.main_thread():
                release.wait(20)

    shared = one_per_process(Slow)
    thread = threading.Thread(target=shared)
    thread.start()
    time.sleep(0.2)
    try:
        assert 0 == in_forked_child(lambda: shared().token == "t")
    finally:
        release.set()
        thread.join()


def test_a_login_waits_for_another_no_longer_than_it_may() -> None:
    lock = LoginLock("Vault")
    with lock.within(1):
        began = time.monotonic()
        with pytest.raises(BackendUnavailableError, match="an earlier login to Vault has not ended"):
            lock.within(0.1).__enter__()
        assert 0.1 <= time.monotonic() - began < 5
        # Its thread was abandoned: it holds up nobody else.
        with lock.within(0):
            pass
    with lock.within(0):
        pass


def test_the_time_in_which_a_person_types_does_not_count() -> None:
    lock, typing = LoginLock("AWS"), threading.Event()
    workers = Workers(Deadline(10))

    def log_in() -> None:
        with lock.within(1), paused_deadline():
            typing.set()
            time.sleep(1.5)

    def wait() -> str:
        typing.wait(5)
        with lock.within(1):
            return "logged in"

    first = workers.submit(log_in)
    assert ("logged in", None) == (workers.submit(wait).outcome(), first.outcome())


def test_an_error_releases_the_lock() -> None:
    lock = LoginLock("Vault")
    with pytest.raises(ValueError, match="x"), lock.within(1):
        raise ValueError("x")
    with lock.within(0):
        pass
