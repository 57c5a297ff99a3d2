"""Frames of HTTP/2 that `gcp_faults` has no need of itself."""

from __future__ import annotations

import base64
import functools
import struct
import zlib
from typing import TYPE_CHECKING

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.servers.gcp_faults import headers, trailers

if TYPE_CHECKING:
    from tests.servers.gcp_faults import Frame

__all__ = ["asked_to_wait", "bomb", "half", "redirect", "refused_stream"]

_DATA, _RST_STREAM = 0, 3
_END_STREAM, _END_HEADERS = 1, 4
_REFUSED_STREAM = 7
_RESOURCE_EXHAUSTED = 8
_BLOCK = b"A" * (1 << 20)


def refused_stream() -> Frame:
    return _RST_STREAM, 0, struct.pack(">I", _REFUSED_STREAM)


def half(frame: Frame) -> Frame:
    """A header whose second half is still to come."""
    kind, flags, body = frame
    return kind, flags & ~_END_HEADERS, body[: len(body) // 2]


def redirect(status: int, location: str) -> Frame:
    kind, flags, body = headers(status, "text/html", end=True)
    return kind, flags, body + _field("location", location)


def asked_to_wait(seconds: float, text: str) -> Frame:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=int(seconds))))
    status = status_pb2.Status(code=_RESOURCE_EXHAUSTED, message=text, details=[detail])
    coded = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
    kind, flags, body = headers(200, end=True)
    fields = trailers(_RESOURCE_EXHAUSTED, **{"grpc-message": text, "grpc-status-details-bin": coded})[2]
    return kind, flags, body + fields


@functools.lru_cache(2)
def bomb(size: int) -> list[Frame | str]:
    """A message that inflates to `size` bytes."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    packed = b"".join([*(packer.compress(_BLOCK) for _ in range(size // len(_BLOCK))), packer.flush()])
    kind, flags, body = headers()
    head: Frame = (kind, flags, body + _field("grpc-encoding", "gzip"))
    return [head, (_DATA, 0, b"\1" + struct.pack(">I", len(packed)) + packed), trailers(0)]


def _field(name: str, value: str) -> bytes:
    """A field of HPACK, not compressed, shorter than what would need a longer length."""
    texts = (name.encode(), value.encode())
    assert all(len(text) < 127 for text in texts)
    return b"\0" + b"".join(bytes([len(text)]) + text for text in texts)
