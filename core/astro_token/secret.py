"""A secret that cannot print itself."""

from __future__ import annotations

from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import NoReturn, final
else:

    def final(cls: type) -> type:
        return cls


__all__ = ["SecretMetadata", "SecretValue"]

_REDACTED = "SecretValue(…)"


@final
class SecretValue:
    """
    The bytes of a secret and their version.

    Only `reveal()` returns them.
    Text forms are redacted, comparison takes constant time,
    and everything that would make a lasting copy (pickle, copy, json) raises `TypeError`.
    Not a `str` subclass: that would leak through f-strings, `print` and `json`.

    Args:
        data: the bytes, as the service returned them.
        version: the service's own name of the version, safe to show; None without versions.
    """

    __slots__ = ("__data", "__version")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: bytes, version: str | None = None) -> None:
        if not isinstance(data, bytes):
            raise TypeError("a SecretValue holds bytes")
        self.__data = data
        self.__version = version

    @property
    def version(self) -> str | None:
        return self.__version

    def reveal(self) -> bytes:
        return self.__data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        from hmac import compare_digest

        return compare_digest(self.__data, other.reveal())

    def __repr__(self) -> str:
        return _REDACTED

    def __format__(self, spec: str) -> str:
        return _REDACTED

    def __reduce_ex__(self, *_: object) -> NoReturn:
        raise TypeError("a SecretValue cannot be copied or pickled")

    __getstate__ = __copy__ = __deepcopy__ = __reduce_ex__


class SecretMetadata(Record):
    """Properties of a secret without its value. Times are aware; None stands for what the service omits."""

    version: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    expires: datetime | None = None
    enabled: bool | None = None
    labels: Mapping[str, str] | None = None
