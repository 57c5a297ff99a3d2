"""The page of the public names, with their signatures and docstrings."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import astro_token
from astro_token import testing
from astro_token.record import Record
from reference.markdown import Docstring, page

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODULES", "python"]

MODULES = (astro_token, testing)
_LINE = 100
_TITLES = {
    "Args": "Arguments",
    "Raises": "Raises",
    "Returns": "Returns",
    "Yields": "Yields",
    "Attributes": "Attributes",
}


def python() -> str:
    """Write the page. Errors have one of their own."""
    blocks = [
        "# Python",
        (
            f"{_flowing(Docstring(astro_token).text.partition(chr(10))[0])} The names below are the whole interface, with the errors in\n"
            "[errors.md](errors.md). [library.md](../library.md) shows how they are used. A module is imported when one of its names is first used, and an\n"
            "SDK when its backend is."
        ),
    ]
    groups: dict[str, list[str]] = {"Functions": [], "Records": [], "Protocols of backends": []}
    for name in astro_token.__all__:
        item = getattr(astro_token, name)
        if inspect.isfunction(item):
            groups["Functions"].append(name)
        elif inspect.isclass(item) and not issubclass(item, Exception):
            groups["Protocols of backends" if _is_protocol(item) else "Records"].append(name)
    for title, names in groups.items():
        blocks.append(f"## {title}")
        for name in names:
            blocks += _described(name, getattr(astro_token, name))
    blocks += [
        "## Version",
        "`astro_token.__version__` is the version, as text.",
        "## astro_token.testing",
        "Tests of a plugin inherit these contracts; they need pytest. [plugins.md](../plugins.md) has an example.",
    ]
    for name in testing.__all__:
        blocks += _described(name, getattr(testing, name))
    return page(*blocks)


def _is_protocol(item: type) -> bool:
    return bool(getattr(item, "_is_protocol", False))


def _described(name: str, item: Any) -> Iterator[str]:
    yield f"### {name}"
    yield f"```python\n{_declaration(name, item)}\n```"
    yield from _text(item)
    if inspect.isclass(item):
        for method, function in _methods(item):
            if doc := Docstring(function).text:
                yield f"`{method}`: {_flowing(doc)}"


def _declaration(name: str, item: Any) -> str:
    if inspect.isfunction(item):
        prefix = "@contextmanager\n" if hasattr(item, "__wrapped__") else ""
        return prefix + _signature(name, item)
    lines = [f"class {name}{'(Protocol)' if _is_protocol(item) else ''}:"]
    fields = _fields(item)
    lines += [f"    {field}" for field in fields]
    if not fields and "__init__" in vars(item) and not _is_protocol(item):
        lines.append(_indented(_signature("__init__", item.__init__)))
    methods = [_indented(_signature(method, function)) for method, function in _methods(item)]
    if fields and methods:
        lines.append("")
    lines += methods
    return "\n".join(lines if len(lines) > 1 else [*lines, "    ..."])


def _fields(item: type) -> list[str]:
    """Declare the fields of a record or dataclass."""
    if issubclass(item, Record) and "__init__" not in vars(item):
        names, defaults = item._fields, item._defaults  # noqa: SLF001
    elif hasattr(item, "__dataclass_fields__"):
        names = tuple(item.__dataclass_fields__)
        defaults = {name: getattr(item, name) for name in names if hasattr(item, name)}
    else:
        return []
    kinds = {
        name: kind for base in reversed(item.__mro__) for name, kind in inspect.get_annotations(base).items()
    }
    return [
        f"{name}: {kinds[name]}{f' = {_default(defaults[name])}' if name in defaults else ''}"
        for name in names
    ]


def _default(value: object) -> str:
    text = repr(value)
    if isinstance(value, frozenset):
        return f"frozenset({{{', '.join(map(_default, sorted(value)))}}})" if value else text
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Record):
        return f"{type(value).__name__}()"
    return "{}" if text == "mappingproxy({})" else text.replace("datetime.", "")


def _methods(item: type) -> list[tuple[str, Any]]:
    return [
        (name, getattr(item, name))
        for name, value in vars(item).items()
        if not name.startswith(("_", "test_"))
        and (inspect.isfunction(value) or isinstance(value, classmethod | property))
    ]


def _signature(name: str, function: Any) -> str:
    if isinstance(function, property):
        result = inspect.signature(function.fget).return_annotation if function.fget else ""
        return f"@property\ndef {name}(self) -> {result}: ..."
    prefix = "@classmethod\n" if inspect.ismethod(function) else ""
    signature = inspect.signature(function)
    if prefix:
        first = inspect.Parameter("cls", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        signature = signature.replace(parameters=[first, *signature.parameters.values()])
    text = str(signature).replace("'", "").replace("mappingproxy({})", "{}")
    line = f"def {name}{text}: ..."
    if len(line) > _LINE:
        inner = ",\n    ".join(_parts(signature))
        line = f"def {name}(\n    {inner},\n) -> {signature.return_annotation}: ..."
    return prefix + line


def _parts(signature: inspect.Signature) -> Iterator[str]:
    """Yield each parameter, with the `*` before those that need their name."""
    star = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            yield "*"
        star = star or parameter.kind in {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL}
        yield str(parameter).replace("'", "")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _flowing(text: str) -> str:
    """Join the lines of each paragraph. An indented one is an example."""
    return "\n\n".join(
        f"```python\n{inspect.cleandoc(part)}\n```" if part.startswith("    ") else " ".join(part.split())
        for part in text.split("\n\n")
    )


def _text(item: object) -> Iterator[str]:
    doc = Docstring(item)
    yield _flowing(doc.text)
    for section, entries in doc.sections.items():
        items = [f"- `{term}`: {text}" if term else f"- {text}" for term, text in entries.items()]
        yield f"{_TITLES[section]}:\n\n" + "\n".join(items)
