"""What is around a cell while it runs: its environment, and all the places where a secret could come out."""

from __future__ import annotations

import contextlib
import functools
import gc
import http.client
import io
import logging
import os
import socket
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.matrix.front import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["debugging", "environment", "peak", "printed", "recorded", "resolver", "strayed"]

_SDKS = ("azure", "boto3", "botocore", "google", "grpc", "hvac", "msal", "requests", "urllib3")


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def resolver() -> Iterator[None]:
    """Some machines have no name service, and then no name is known not to be: this one is everywhere."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host in {UNKNOWN, UNKNOWN.encode()}:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return real(host, *args, **options)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = real


@contextmanager
def recorded(records: list[str]) -> Iterator[None]:
    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(f"{record.getMessage()} {record.args} {record.exc_info}")

    root, recorder = logging.getLogger(), Recorder(0)
    level = root.level
    root.addHandler(recorder)
    root.setLevel(0)
    try:
        yield
    finally:
        root.removeHandler(recorder)
        root.setLevel(level)


@contextmanager
def printed(texts: list[str]) -> Iterator[None]:
    """Both outputs, Python's and those of libraries in C."""
    text = io.StringIO()
    with tempfile.TemporaryFile() as file, contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, original in zip((1, 2), kept, strict=True):
                os.dup2(original, number)
                os.close(original)
            file.seek(0)
            texts.append(text.getvalue() + file.read().decode(errors="replace"))


@contextmanager
def debugging() -> Iterator[None]:
    """As somebody would who wants to see everything."""
    loggers = [logging.getLogger(name) for name in _SDKS]
    before = [(one, one.level, one.propagate) for one in loggers]
    level = http.client.HTTPConnection.debuglevel
    for one in loggers:
        one.setLevel(logging.DEBUG)
        one.propagate = True
    http.client.HTTPConnection.debuglevel = 1
    try:
        yield
    finally:
        http.client.HTTPConnection.debuglevel = level
        for one, old, propagate in before:
            one.setLevel(old)
            one.propagate = propagate


_watching: list[set[str]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event == "socket.connect" and isinstance(arguments[1], tuple):
        _watching[-1].add(f"{arguments[1][0]}:{arguments[1][1]}")


@functools.cache
def _hooked() -> None:
    sys.addaudithook(_hook)  # once and for good: hooks cannot be taken away


@contextmanager
def strayed(places: set[str]) -> Iterator[None]:
    """Where connections are opened to."""
    _hooked()
    _watching.append(places)
    try:
        yield
    finally:
        _watching.remove(places)


def peak(*, again: bool = True) -> int:
    """The most memory that was ever taken, in bytes; from here on, where the system can begin again."""
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if again:
        gc.collect()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    lines = status.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
