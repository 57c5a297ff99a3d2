"""What a subject meets in place of its service: nothing, or a server at fault, the service behind it."""

from __future__ import annotations

import ssl
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.matrix.faults import HUGE, Given
from tests.servers.faults import FaultServer, _bomb, refused_port
from tests.servers.gcp_faults import Http2Server
from tests.servers.http1 import Answer, HttpServer
from tests.servers.wire import forward

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.matrix.faults import Fault
    from tests.servers.certificates import Certificates, Pair
    from tests.servers.faults import Mode
    from tests.servers.http1 import Request

__all__ = ["UNKNOWN", "Front", "Relay", "Trust", "opened"]

UNKNOWN = "nowhere.invalid"
KINDS = ("server", "unknown_ca", "self_signed", "expired", "not_yet_valid", "wrong_host")


@dataclass(frozen=True)
class Trust:
    """The certificates of a test session, by their files, for other processes too."""

    ca_file: Path
    pairs: dict[str, Pair]

    @classmethod
    def of(cls, certificates: Certificates) -> Self:
        return cls(certificates.ca_file, {kind: getattr(certificates, kind) for kind in KINDS})

    def server(self, kind: str = "server") -> ssl.SSLContext:
        context = self.pairs["server" if kind == "http1" else kind].context()
        if kind == "http1":
            context.set_alpn_protocols(["http/1.1"])
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)


class Relay(HttpServer):
    """
    Passes requests on to a service, over TLS where it speaks that, and keeps its answers.

    Attributes:
        answers: of the requests, with their heads.
    """

    def __init__(self, upstream: str, trust: Trust) -> None:
        self._upstream = upstream
        self._upstream_tls = trust.client() if upstream.startswith("https:") else None
        self.answers: list[bytes] = []
        super().__init__(self._forward)

    def bodies(self) -> list[bytes]:
        return [answer.partition(b"\r\n\r\n")[2] for answer in self.answers]

    def _forward(self, request: Request) -> bytes:
        self.answers.append(forward(request, self._upstream, tls=self._upstream_tls))
        return self.answers[-1]


@dataclass(frozen=True)
class Front:
    """
    Attributes:
        address: `host:port`, for the variables of a subject.
        server: None where there is none.
        elsewhere: the host that redirects to another one lead to.
        ports: where connections are fine.
    """

    address: str
    server: FaultServer | Http2Server | None = None
    elsewhere: FaultServer | None = None
    ports: frozenset[int] = frozenset()

    @property
    def requests(self) -> int:
        server = self.server
        return 0 if server is None else server.calls if isinstance(server, Http2Server) else server.count


@contextmanager
def opened(
    fault: Fault, given: Given, trust: Trust, *, grpc: bool, ahead: int, upstream: str
) -> Iterator[Front]:
    """
    Args:
        ahead: how many requests the service answers itself before the fault.
        upstream: the service, in clear, for those.
    """
    if fault.place:
        port = refused_port()
        yield Front(
            f"{UNKNOWN}:{port}" if fault.place == "unknown" else f"127.0.0.1:{port}", ports=frozenset({port})
        )
        return
    if grpc and not fault.code:
        yield Front(upstream)
        return
    with ExitStack() as stack:
        elsewhere = None
        if fault.redirect == "other":
            elsewhere = stack.enter_context(FaultServer(200, given.body, tls=trust.server()))
            given = Given(given.body, given.canary, f"https://localhost:{elsewhere.port}/elsewhere")
        elif fault.redirect:
            given = Given(given.body, given.canary, "/elsewhere")
        server: FaultServer | Http2Server
        if grpc and fault.grpc and fault.certificate == "server":
            server = Http2Server(fault.grpc(given), trust.server(), drip=fault.drip)
        else:
            server = _over_http1(fault, given, trust, ahead, upstream)
        stack.enter_context(server)
        yield Front(f"127.0.0.1:{server.port}", server, elsewhere, frozenset({server.port}))


def _over_http1(fault: Fault, given: Given, trust: Trust, ahead: int, upstream: str) -> FaultServer:
    mode: Mode = fault.http(given) if fault.http else Answer(200, given.page, content_type="text/html")
    if mode == "gzip-bomb":
        _bomb(HUGE)  # made now, since it takes longer than a client has
    ends_in_handshake = isinstance(mode, str) and mode.startswith("handshake-")
    return FaultServer(
        mode if ends_in_handshake else lambda number: "pass" if number <= ahead else mode,
        given.body,
        tls=None if ends_in_handshake else trust.server(fault.certificate),
        upstream=upstream,
        drip=fault.drip or 0.1,
        hold=30.0,
        size=HUGE,
    )
