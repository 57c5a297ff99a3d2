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
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.servers.http1 import HttpServer, Request, read_answer

if TYPE_CHECKING:
    import ssl

_TIMEOUT = 60.0


def forward(request: Request, upstream: str, *, tls: ssl.SSLContext | None = None) -> bytes:
    """
    Sends a request to a server and returns its whole answer.

    Raises:
        OSError: the server is not there or answers by halves.
    """
    address = urlsplit(upstream)
    server = (address.hostname or "127.0.0.1", address.port or 80)
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(server, _TIMEOUT))
        if tls is not None:
            connection = stack.enter_context(tls.wrap_socket(connection, server_hostname=server[0]))
        connection.sendall(request.raw)
        return read_answer(stack.enter_context(connection.makefile("rb")), request.method)


class Wire(HttpServer):
    """
    Args:
        upstream: the address of the server, `http://127.0.0.1:PORT`.
    """

    def __init__(self, upstream: str) -> None:
        if urlsplit(upstream).scheme != "http":
            raise ValueError("the server behind the wire has to speak plain http")
        self.upstream = upstream
        super().__init__(lambda request: forward(request, self.upstream))


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
