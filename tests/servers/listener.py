"""A loopback listener with a thread for each connection, which leaves nothing behind when it is closed."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_HANDSHAKE = 60.0  # seconds: it guards against clients that never finish it

_END = 60.0


class Listener:
    """
    Accepts connections on 127.0.0.1 and serves each in a thread.

    Args:
        serve: serves one connection and returns when it is over;
            an `OSError` (the client went away, which is its right) is fine. The connection is closed for it.
        tls: the handshake is made in the connection's thread, so that a slow client holds up nobody.

    Attributes:
        port: the port.
        connections: how many were accepted.
        tls_failures: how many ended in the handshake,
            or with an alert of the client, which did not like the certificate.
        stopping: set by `close`; what waits in `serve` should wait for it.
    """

    def __init__(self, serve: Callable[[socket.socket], None], *, tls: ssl.SSLContext | None = None) -> None:
        self._serve_connection = serve
        self._server_context = tls
        self.connections = 0
        self.tls_failures = 0
        self.stopping = threading.Event()
        self._connections_lock = threading.Lock()
        self._open: dict[int, socket.socket] = {}  # by the number of the connection
        self._threads: list[threading.Thread] = []
        self._wake, self._woken = socket.socketpair()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(128)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True, name=f"listener {self.port}")
        self._acceptor.start()

    def close(self, grace: float = 0.0) -> None:
        """
        Ends the connections too, and waits for their threads.

        Args:
            grace: seconds in which connections may come to their own end.
        """
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._wake.send(b"x")
        self._acceptor.join()
        deadline = time.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._connections_lock:
            for connection in self._open.values():
                with contextlib.suppress(OSError):
                    # The plain socket's method: an SSL socket's own would take the session
                    # away from under the thread that reads from it.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_END)
        self._wake.close()
        self._woken.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with self._socket, selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self.stopping.is_set():
                selector.select()
                # Whoever connected before we close is counted.
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = self._socket.accept()
                        self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        self.connections += 1
        number = self.connections
        with self._connections_lock:
            self._open[number] = connection
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._run, args=(number, connection), daemon=True)
            self._threads.append(thread)
        thread.start()

    def _run(self, number: int, connection: socket.socket) -> None:
        try:
            connection.setblocking(True)  # some systems pass on what the listener is
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._server_context is not None:
                connection = self._shake_hands(number, connection, self._server_context)
            self._serve_connection(connection)
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                self.tls_failures += 1
        except OSError:
            pass
        finally:
            with self._connections_lock:
                del self._open[number]
            connection.close()

    def _shake_hands(self, number: int, connection: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        wrapped = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._connections_lock:
            self._open[number] = wrapped
        wrapped.settimeout(_HANDSHAKE)
        try:
            wrapped.do_handshake()
        except OSError:
            self.tls_failures += 1
            wrapped.close()
            raise ConnectionAbortedError from None
        wrapped.settimeout(None)
        return wrapped
