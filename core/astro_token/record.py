"""
Immutable records with named fields.

    class Verdict(Record):
        code: str
        hint: str = ""

They read like frozen dataclasses, and type checkers treat them so.
The standard ones generate code for each class, which costs a quarter of a short command's instructions.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would be imported for it
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

    _Record = TypeVar("_Record", bound="Record")
else:

    def dataclass_transform(**_options: bool) -> object:
        return lambda cls: cls


__all__ = ["Record", "replace"]


@dataclass_transform(frozen_default=True)
class Record:
    """
    Base class of records. The annotated names of a class are its fields; a class attribute is a default.

    Records are equal if their class and fields are equal. Defaults must be immutable: records share them.
    Names in `_hidden` are left out of the representation.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _hidden: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = [name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar")]
        cls._fields = (*cls._fields, *own)
        cls._defaults = cls._defaults | {name: getattr(cls, name) for name in own if name in cls.__dict__}

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.__dict__
        names = self._fields
        fields.update(self._defaults)
        fields.update(zip(names, values, strict=False))
        fields.update(named)
        twice = named.keys() & set(names[: len(values)]) if named and values else ()
        if len(values) > len(names) or len(fields) != len(names) or twice:
            raise TypeError(f"{type(self).__name__} takes the fields {', '.join(names)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[name] for name in self._fields)))

    def __repr__(self) -> str:
        shown = [f"{name}={self.__dict__[name]!r}" for name in self._fields if name not in self._hidden]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __replace__(self, **changes: Any) -> Self:  # copy.replace of Python 3.13 calls it
        return type(self)(**(self.__dict__ | changes))


def replace(record: _Record, /, **changes: Any) -> _Record:
    """Copy a record with some fields changed."""
    return record.__replace__(**changes)
