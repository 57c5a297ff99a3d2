"""
A proxy in front of a plain HTTP server on loopback, which shows what is really on the wire.

    with Wire(openbao.address) as wire:
        client_with_address(wire.url).read(…)
        assert [request.path for request in wire.requests] == ["/v1/secret/data/a"]

Requests and answers pass byte for byte: paths are not normalised, headers are not added,
`Host` stays as the client sent it (so that signed requests stay valid).
"""

from __future__ import annotations

import socket
from typing import Self
from urllib.parse import urlsplit

from tests.servers.http1 import Request, read_answer, read_request
from tests.servers.listener import Listener

_TIMEOUT = 60.0


def forward(request: Request, upstream: str) -> bytes:
    """
    Sends a request to a server and returns its whole answer.

    Raises:
        OSError: the server is not there or answers by halves.
    """
    address = urlsplit(upstream)
    place = (address.hostname or "127.0.0.1", address.port or 80)
    with (
        socket.create_connection(place, _TIMEOUT) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(request.raw)
        return read_answer(stream, request.method)


class Wire:
    """
    Args:
        upstream: the address of the server, `http://127.0.0.1:PORT`.

    Attributes:
        requests: what was sent, in the order of arrival.
        connections: how many connections clients opened; fewer than requests where they are kept alive.
    """

    def __init__(self, upstream: str) -> None:
        if urlsplit(upstream).scheme != "http":
            raise ValueError("the server behind the wire has to speak plain http")
        self.upstream = upstream
        self.requests: list[Request] = []
        self._listener = Listener(self._serve)
        self.url = f"http://127.0.0.1:{self._listener.port}"

    @property
    def count(self) -> int:
        return len(self.requests)

    @property
    def connections(self) -> int:
        return self._listener.connections

    def lines(self) -> list[str]:
        """Method and path of each request, to compare with what was expected."""
        return [f"{request.method} {request.target}" for request in self.requests]

    def saw(self, text: str) -> bool:
        return any(request.carries(text) for request in self.requests)

    def forget(self) -> None:
        self.requests.clear()

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while request := read_request(stream):
                self.requests.append(request)
                connection.sendall(forward(request, self.upstream))


def main() -> None:
    import argparse

    from tests.servers import by_hand

    parser = argparse.ArgumentParser(description="Show each request on its way to a plain HTTP server.")
    parser.add_argument("upstream", help="http://127.0.0.1:PORT")

    class Shown(list[Request]):
        def append(self, request: Request) -> None:
            print(f"{request.method} {request.target}", flush=True)

    with Wire(parser.parse_args().upstream) as wire:
        wire.requests = Shown()
        by_hand.serve(f"a wire to {wire.upstream}", {"VAULT_ADDR": wire.url, "AWS_ENDPOINT_URL": wire.url})


if __name__ == "__main__":
    main()
