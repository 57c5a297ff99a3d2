"""The matrix itself: a backend that is wrong in one way makes a cell that says so."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, IntegrityError
from astro_token.testing import make_token
from tests.matrix import cell as cells
from tests.matrix.cell import Cell, Good, meet
from tests.matrix.faults import BY_NAME
from tests.matrix.front import Trust
from tests.matrix.subjects import Subject
from tests.matrix.table import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.certificates import Certificates


@dataclass(frozen=True)
class Planted(Subject):
    """Does what a test says, in place of a backend."""

    act: Callable[[str, str], object] | None = None

    def action(self, backend: Any, call: str, address: str, ciphertext: bytes) -> Callable[[float], object]:
        assert self.act is not None
        act = self.act
        return lambda _: act(f"https://{address}", self.canary)


def ask(url: str, *, redirects: bool = False) -> int:
    answer = requests.get(
        url, allow_redirects=redirects, timeout=30, verify=os.environ["ASTRO_TOKEN_CA_BUNDLE"]
    )
    return answer.status_code


def fails(error: AstroTokenError) -> Callable[[str, str], object]:
    def act(url: str, canary: str) -> None:
        ask(url)
        raise error

    return act


def says_the_value(url: str, canary: str) -> None:
    ask(url)
    raise AccessDeniedError(f"not allowed: {canary}", hint="see to it")


def keeps_the_value_in_a_frame(url: str, canary: str) -> None:
    ask(url)

    def deep(body: bytes) -> None:
        raise AccessDeniedError("not allowed", hint="see to it")

    namespace: dict[str, Any] = {}
    # As code elsewhere than in this folder, whose own frames are passed over.
    exec(compile("def call(deep, body): deep(body)", "/backend.py", "exec"), namespace)  # noqa: S102
    namespace["call"](deep, canary.encode())


def keeps_an_exception(url: str, canary: str) -> None:
    ask(url)
    raise AccessDeniedError("not allowed", hint="see to it") from ValueError("of an SDK")


def logs_the_value(url: str, canary: str) -> None:
    logging.getLogger("planted").debug("got %s", canary)
    fails(DENIED)(url, canary)


def prints_the_value(url: str, canary: str) -> None:
    os.write(2, canary.encode())
    fails(DENIED)(url, canary)


def asks_twice(url: str, canary: str) -> None:
    ask(url)
    fails(DENIED)(url, canary)


def is_late(url: str, canary: str) -> None:
    time.sleep(0.3)
    fails(DENIED)(url, canary)


def takes_memory(url: str, canary: str) -> None:
    bytearray(b"x") * (200 << 20)
    raise IntegrityError("too large", hint="see to it")


def strays(url: str, canary: str) -> None:
    with socket.socket() as other, suppress(OSError):
        other.connect(("127.0.0.2", 9))
    fails(DENIED)(url, canary)


def prints_its_requests(url: str, canary: str) -> None:
    tls = ssl.create_default_context(cafile=os.environ["ASTRO_TOKEN_CA_BUNDLE"])
    with closing(http.client.HTTPSConnection(urlsplit(url).netloc, context=tls, timeout=30)) as connection:
        connection.request("GET", "/", headers={"X-Vault-Token": canary})
        connection.getresponse().read()
    raise DENIED


def keeps_the_answer(url: str, canary: str) -> None:
    answer = requests.get(url, timeout=30, verify=os.environ["ASTRO_TOKEN_CA_BUNDLE"]).text
    raise IntegrityError(f"what is {answer}?", hint="see to it")


DENIED = AccessDeniedError("not allowed", hint="see to it")
BUSY = BackendUnavailableError("busy", hint="later")


@pytest.mark.parametrize(
    ("fault", "act", "wrong"),
    [
        ("403 in HTML", fails(DENIED), ""),
        ("403 in HTML", fails(BUSY), "exit code 75 in place of 77"),
        ("403 in HTML", fails(AccessDeniedError("not allowed")), "no hint"),
        ("403 in HTML", lambda *_: 1 / 0, "exit code ZeroDivisionError in place of 77"),
        ("403 in HTML", lambda url, _: ask(url), "exit code 0 in place of 77"),
        ("403 in HTML", says_the_value, "value in the message"),
        ("403 in HTML", keeps_the_value_in_a_frame, "value in the exception's graph"),
        ("403 in HTML", keeps_an_exception, "keeps another exception"),
        ("403 in HTML", logs_the_value, "value in the log"),
        ("403 in HTML", prints_the_value, "value in what was printed"),
        ("403 in HTML", asks_twice, "2 requests in place of 1"),
        ("403 in HTML", is_late, "took "),
        ("403 in HTML", strays, "went to ['127.0.0.2:9']"),
        ("503 in HTML", fails(BUSY), "retry_after None in place of 7.0"),
        ("307 to another", lambda url, _: ask(url, redirects=True), "1 connections to the other host"),
        ("debug: 403 in HTML", prints_its_requests, "value in what was printed"),
        ("a list", keeps_the_answer, "answer in the message"),
        ("huge body", takes_memory, "memory grew by "),
    ],
)
def test_what_is_wrong_is_found(
    fault: str,
    act: Any,
    wrong: str,
    certificates: Certificates,
    canary: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cells, "SECONDS", 0.2)
    if act is is_late:
        monkeypatch.setattr(cells, "SECONDS", 0.05)
        monkeypatch.setattr(cells, "SLACK", 0.05)
    subject = Planted("planted", "env", "read", "env:X", "http://127.0.0.1:1", canary, {}, act=act)
    good = Good(1, b'{"token": "%s"}' % make_token().encode())
    cell = meet(subject, BY_NAME[fault], good, Trust.of(certificates))
    assert any(text.startswith(wrong) for text in cell.wrong) if wrong else cell.wrong == ()


def test_the_table_shows_each_cell_and_what_is_wrong() -> None:
    shown = table(
        [
            Cell("aws read", "refused", 75, 0.1),
            Cell("aws read", "cut", 0, 0.2, ("exit code 0 in place of 76",)),
            Cell("vault read, later", "cut", 76, 0.3),
        ],
        1.0,
    )
    assert shown.splitlines() == [
        "exit codes; - it cannot be there, ! it is wrong, a comma: at the last of several requests",
        "        aws  vaul",
        "        read rea,",
        "refused 75   -",
        "cut     0!   76",
        "! aws read | cut: exit code 0 in place of 76",
        "3 cells, 1 wrong, in 1 s; the slowest cell took 0.30 s",
    ]
