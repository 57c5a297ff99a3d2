"""A wire that is longer than the loopback's: what a client sends arrives a while later."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def longer_wire(port: int, seconds: float) -> Iterator[int]:
    """The port of a proxy to another port of the loopback, by which a request takes seconds longer."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ports: list[int] = []

    async def serve() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: _connect(reader, writer, port, seconds), "127.0.0.1", 0
        )
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, seconds: float
) -> None:
    onward, there = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError, asyncio.CancelledError):
        await asyncio.gather(_pass(reader, there, seconds), _pass(onward, writer, 0.0))


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter, seconds: float) -> None:
    """Bytes in their order, each piece as long after it came as the wire is long; none waits for another."""
    loop = asyncio.get_running_loop()
    while data := await source.read(65536):
        if seconds:
            loop.call_later(seconds, sink.write, data)
        else:
            sink.write(data)
    await asyncio.sleep(seconds)
    sink.close()
