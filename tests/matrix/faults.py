"""
What can go wrong between here and a service: the columns of the matrix.

Each fault is told twice, for a service over HTTP and for one over gRPC, so that both can be held to one code.
A fault that one of them does not have is left out there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.matrix import frames
from tests.servers.gcp_faults import RESET, headers, message, page, trailers
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.faults import Mode
    from tests.servers.gcp_faults import Frame

__all__ = ["BY_NAME", "FAULTS", "Fault", "Given"]

HUGE = 1 << 28  # more than memory may grow
WAIT = 7.0
_RETRY = {"Retry-After": f"{WAIT:.0f}"}


@dataclass(frozen=True, slots=True)
class Given:
    """
    Attributes:
        body: of the good answer, the value in it.
        canary: the value.
        elsewhere: where a redirect leads.
    """

    body: bytes
    canary: str
    elsewhere: str = ""

    @property
    def page(self) -> bytes:
        return f"<html><body>your value was {self.canary}</body></html>".encode()


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Attributes:
        code: the exit code that a command ends with; 0 where there is no fault.
        http: what a `FaultServer` answers with.
        grpc: what a `Http2Server` answers with.
        certificate: of the server.
        place: `refused` or `unknown`, where there is no server at all.
        redirect: `same` or `other`: the host that it leads to.
        retry_after: the seconds that have to be passed on; None where nothing is said of them.
        drip: seconds between two bytes.
        heavy: memory is looked at.
        debug: everything that can log does so.
    """

    name: str
    code: int
    http: Callable[[Given], Mode] | None = None
    grpc: Callable[[Given], list[Frame | str]] | None = None
    certificate: str = "server"
    place: str | None = None
    redirect: str | None = None
    retry_after: float | None = None
    drip: float = 0.0
    heavy: bool = False
    debug: bool = False

    @property
    def slow(self) -> bool:
        """It lasts until the deadline."""
        return bool(self.drip) or self.name in {"silence", "handshake hang"}

    @property
    def before_requests(self) -> bool:
        """It happens to a connection, whatever was going to be asked."""
        return bool(self.place) or self.certificate != "server" or self.name.startswith("handshake")


def _always(mode: Mode) -> Callable[[Given], Mode]:
    return lambda _: mode


def _of_a_proxy(code: int, status: int) -> Fault:
    busy = code == 75
    return Fault(
        f"{status} in HTML",
        code,
        lambda given: Answer(status, given.page, _RETRY if busy else {}, "text/html"),
        lambda given: [headers(status, "text/html"), page(given.page)],
        retry_after=WAIT if busy else None,
    )


def _redirects(status: int, to: str) -> Fault:
    return Fault(
        f"{status} to {'the same host' if to == 'same' else 'another'}",
        76,
        lambda given: Answer(status, given.page, {"Location": given.elsewhere}, "text/html"),
        lambda given: [frames.redirect(status, given.elsewhere)],
        redirect=to,
    )


def _other_types(body: bytes) -> bytes:
    """The same members, each with a value that it never has."""
    try:
        content: Any = json.loads(body)
    except ValueError:
        return b"[7]"
    return json.dumps({name: [7] for name in content}).encode()


_IN_THE_CONNECTION = [
    Fault("refused", 75, place="refused"),
    Fault("unknown host", 69, place="unknown"),
    *(
        Fault(f"certificate {kind.replace('_', ' ')}", 76, _always(200), lambda _: [], certificate=kind)
        for kind in ("unknown_ca", "self_signed", "expired", "not_yet_valid", "wrong_host")
    ),
    *(
        Fault(f"handshake {kind}", code, _always(f"handshake-{kind}"))
        for kind, code in (("plain", 76), ("eof", 75), ("reset", 75), ("hang", 75))
    ),
    Fault("end before", 75, _always("close"), lambda _: [frames.refused_stream()]),
    Fault("reset before", 75, _always("reset"), lambda _: [RESET]),
    Fault("reset in the header", 75, _always("reset-head"), lambda _: [frames.half(headers()), RESET]),
    Fault(
        "reset in the body",
        75,
        _always("reset-body"),
        lambda given: [headers(), message(given.body[:9], length=len(given.body) + 90), RESET],
    ),
    Fault("end of TLS in the body", 75, _always("short-body")),
    Fault("silence", 75, _always("hang"), lambda _: []),
    Fault("dripping header", 75, _always("drip-head"), lambda _: [headers()], drip=0.1),
    Fault("dripping body", 75, _always("drip-body"), lambda _: [headers(), message(b" " * 5000)], drip=0.005),
]
_OF_THE_BODY = [
    Fault(
        "huge body",
        76,
        _always("huge"),
        lambda _: [headers(), message(b"A" * 60_000, length=HUGE)],
        heavy=True,
    ),
    Fault("gzip bomb", 76, _always("gzip-bomb"), lambda _: frames.bomb(HUGE), heavy=True),
    Fault(
        "short body",
        76,
        _always("short-body-ended"),
        lambda given: [headers(), message(given.body, length=len(given.body) + 5), trailers(0)],
    ),
    Fault("cut", 76, _always("cut-json"), lambda given: [headers(), message(given.body[:-5]), trailers(0)]),
    Fault(
        "200 in HTML",
        76,
        lambda given: Answer(200, given.page, content_type="text/html"),
        lambda given: [headers(200, "text/html"), page(given.page)],
    ),
    Fault("200, empty", 76, _always("empty"), lambda _: [headers(), trailers(0)]),
    Fault("204", 76, _always(204), lambda _: [headers(204, end=True)]),
    Fault("plain text", 76, _always("not-json"), lambda _: [headers(200, "text/plain"), page(b"ok")]),
    Fault("null", 76, _always("json-null"), lambda _: [headers(), message(b""), trailers(0)]),
    Fault("a number", 76, _always("json-int")),
    Fault("a list", 76, _always("json-array"), lambda given: [headers(200, "application/json"), page(b"[]")]),
    Fault("nested", 76, _always("json-nested")),
    Fault(
        "other types",
        76,
        lambda given: Answer(200, _other_types(given.body)),
        lambda _: [headers(), message(b"\x08\x07\x10\x07\x18\x07\x20\x07"), trailers(0)],
    ),
]


def _of_grpc(name: str, number: int, code: int) -> Fault:
    def answer(given: Given) -> list[Frame | str]:
        return [headers(), trailers(number, **{"grpc-message": given.canary})]

    return Fault(f"gRPC {name}", code, grpc=answer)


# Not here: INVALID_ARGUMENT (3) and FAILED_PRECONDITION (9), which mean another thing in each call.
_GRPC_CODES = [
    ("CANCELLED", 1, 75),
    ("UNKNOWN", 2, 76),
    ("DEADLINE_EXCEEDED", 4, 75),
    ("NOT_FOUND", 5, 66),
    ("ALREADY_EXISTS", 6, 75),
    ("PERMISSION_DENIED", 7, 77),
    ("RESOURCE_EXHAUSTED", 8, 75),
    ("ABORTED", 10, 75),
    ("OUT_OF_RANGE", 11, 76),
    ("UNIMPLEMENTED", 12, 76),
    ("INTERNAL", 13, 75),
    ("UNAVAILABLE", 14, 75),
    ("DATA_LOSS", 15, 76),
    ("UNAUTHENTICATED", 16, 77),
    ("a number of none", 99, 76),
]
_NO_FAULT = Fault("none", 0, _always("pass"), lambda given: [headers(), message(given.body), trailers(0)])


def _debugged(fault: Fault) -> Fault:
    return Fault(f"debug: {fault.name}", fault.code, fault.http, fault.grpc, debug=True)


_STATUSES = [
    _of_a_proxy(code, status)
    for code, statuses in {
        69: (501,),
        76: (400, 404, 405, 418),
        77: (401, 403),
        75: (408, 429, 500, 502, 503, 504),
    }.items()
    for status in statuses
]
FAULTS = (
    _NO_FAULT,
    *_IN_THE_CONNECTION,
    *(_redirects(status, to) for to in ("same", "other") for status in (301, 302, 303, 307, 308)),
    *_OF_THE_BODY,
    *_STATUSES,
    Fault(
        "asked to wait", 75, grpc=lambda given: [frames.asked_to_wait(WAIT, given.canary)], retry_after=WAIT
    ),
    Fault("HTTP/1 in place of gRPC", 76, grpc=lambda _: [], certificate="http1"),
    *(_of_grpc(*one) for one in _GRPC_CODES),
    *(
        _debugged(fault)
        for fault in (_NO_FAULT, *_IN_THE_CONNECTION, *_OF_THE_BODY, *_STATUSES)
        if fault.name in {"none", "reset in the body", "cut", "200 in HTML", "other types", "403 in HTML"}
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
