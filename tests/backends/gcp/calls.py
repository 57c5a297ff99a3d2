"""Calls that have to fail, and a look at what their errors hold."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import appearances, reachable_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.gcp import Fault, GcpServer


def failure(backend: Any, ref: str, *canaries: str, timeout: float = 10.0) -> AstroTokenError:
    """The error that reading ends with."""
    parsed = SecretRef.parse(ref)
    return failure_of(lambda: backend.read(parsed, timeout=timeout), *canaries)


def failure_of(call: Callable[[], object], *canaries: str) -> AstroTokenError:
    """The error that a call ends with, after a look for what it must not hold."""
    try:
        call()
    except AstroTokenError as caught:
        error = caught
    else:
        raise AssertionError("it did not fail")
    # From here on, only what the backend left: the frames of the test itself know the canaries.
    frames = error.__traceback__
    while frames is not None and "/tests/" in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    assert frames is not None
    error = error.with_traceback(frames)
    assert (error.__cause__, error.__context__) == (None, None)
    assert "\n" not in error.message + (error.hint or "")
    text = reachable_text(error)
    assert [appearances(canary, text) for canary in canaries] == [[] for _ in canaries]
    return error


def write(backend: Any, ref: str, text: str, expected: str | None = None, *, timeout: float = 10.0) -> str:
    written = backend.write(
        SecretRef.parse(ref), SecretValue(text.encode()), expected_version=expected, timeout=timeout
    )
    assert isinstance(written, str)
    return written


@contextmanager
def meeting(server: GcpServer, fault: Fault) -> Iterator[None]:
    """The next call of the block meets this fault."""
    server.faults.append(fault)
    yield
    server.faults.clear()
