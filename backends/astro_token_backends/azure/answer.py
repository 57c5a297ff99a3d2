"""
An answer, in the form that Azure's SDK wants it.

Importing this module loads the SDK's core.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from azure.core.rest import HttpResponse
from azure.core.utils import case_insensitive_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token_backends.azure.connections import Received

__all__ = ["Answer"]


class Answer(HttpResponse):
    """An answer, as the SDK takes one; it has been read."""

    def __init__(self, request: Any, received: Received) -> None:
        self._request, self._received = request, received
        self._headers = case_insensitive_dict(received.headers)
        self._encoding: str | None = None

    request = property(lambda self: self._request)
    status_code = property(lambda self: self._received.status)
    reason = property(lambda self: self._received.reason)
    headers = property(lambda self: self._headers)
    content_type = property(lambda self: self._headers.get("Content-Type"))
    is_closed = property(lambda _: True)
    is_stream_consumed = property(lambda _: True)
    url = property(lambda self: self._request.url)
    content = property(lambda self: self._received.body or b"")

    @property
    def whole(self) -> bool:
        return self._received.body is not None

    @property
    def encoding(self) -> str | None:
        return self._encoding

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        self._encoding = value

    def text(self, encoding: str | None = None) -> str:
        # All of Azure's JSON is UTF-8, and what says to be in anything else is not Azure's.
        text: str = self.content.decode(encoding or self._encoding or "utf-8-sig")
        return text

    def json(self) -> Any:
        return json.loads(self.text())

    def own(self) -> dict[str, Any] | None:
        """The body where it is a JSON object; None where it is anything else."""
        with suppress(ValueError, LookupError, RecursionError):
            content = self.json()
            return content if isinstance(content, dict) else None
        return None

    def raise_for_status(self) -> None:
        from azure.core.exceptions import HttpResponseError

        if self.status_code >= 400:  # noqa: PLR2004
            raise HttpResponseError(response=self)

    def read(self) -> bytes:
        data: bytes = self.content
        return data

    def iter_raw(self, **_: Any) -> Iterator[bytes]:
        yield self.read()

    def iter_bytes(self, **_: Any) -> Iterator[bytes]:
        yield self.read()

    def close(self) -> None:
        """Nothing: it has been read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: it has been read."""
