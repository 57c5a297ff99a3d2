"""A table of cheap cases in one test: as tests of their own, hundreds take longer to collect than to run."""

from __future__ import annotations

import functools
import inspect
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.secrets.registry import close_backends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each_row(
    names: str | tuple[str, ...], rows: Iterable[Any], *, ids: object = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """
    Call a test with each row, as `pytest.mark.parametrize` does, and show all rows for which it fails.

    Each row has a folder of its own in `tmp_path`, what it does with `monkeypatch` is undone,
    and no backend stays open.
    For other fixtures that keep something, such as a server, parametrize the test.

    Args:
        ids: makes a short text of a value that takes too long to show.
    """
    named = tuple(part.strip() for part in names.split(",")) if isinstance(names, str) else names
    table = list(rows)
    assert table

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)

        @functools.wraps(test)
        def with_each(*itself: Any, **given: Any) -> None:
            wrong = []
            for number, row in enumerate(table):
                values = dict(zip(named, row if len(named) > 1 else (row,), strict=True))
                with ExitStack() as stack:
                    stack.callback(close_backends)
                    try:
                        test(*itself, **_for_one(given, number, stack), **values)
                    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
                        shown = ids(row) if callable(ids) else values
                        wrong.append(f"{shown}: {type(error).__name__}: {error}")
            assert not wrong, f"{len(wrong)} of {len(table)} rows are wrong:\n" + "\n".join(wrong)

        left = [each for each in signature.parameters.values() if each.name not in named]
        with_each.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return with_each

    return decorate


def _for_one(given: dict[str, Any], number: int, stack: ExitStack) -> dict[str, Any]:
    one = dict(given)
    if "monkeypatch" in one:
        one["monkeypatch"] = stack.enter_context(one["monkeypatch"].context())
    if "tmp_path" in one:
        one["tmp_path"] = Path(one["tmp_path"], f"row{number}")
        one["tmp_path"].mkdir()
    return one
