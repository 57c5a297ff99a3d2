"""The error tree and its exit codes."""

from __future__ import annotations

import itertools
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from astro_token import errors
from astro_token.errors import AstroTokenError, CommandError, sanitized, worst
from tests.rows import each_row

CODES = {
    "AstroTokenError": 70,
    "UsageError": 64,
    "InvalidRefError": 64,
    "InvalidTokenError": 65,
    "PolicyError": 65,
    "DecryptError": 65,
    "SecretNotFoundError": 66,
    "UnusableSecretError": 66,
    "BackendDownError": 69,
    "BackendError": 70,
    "OutputError": 73,
    "InputOutputError": 74,
    "BackendUnavailableError": 75,
    "IntegrityError": 76,
    "AccessDeniedError": 77,
    "NoCredentialError": 77,
    "ConfigError": 78,
    "NoStoreError": 78,
    "UnknownBackendError": 78,
    "MissingDependencyError": 78,
    "UnsupportedOperationError": 78,
    "RotationError": 80,
}
ORDER = (81, 64, 70, 76, 78, 77, 65, 66, 69, 73, 74, 75, 80)


def classes() -> dict[str, Any]:
    found = {name: getattr(errors, name) for name in errors.__all__}
    return {name: kind for name, kind in found.items() if isinstance(kind, type)}


def test_every_error_has_the_exit_code_of_the_table() -> None:
    codes = {name: kind.exit_code for name, kind in classes().items()}
    assert {**CODES, "CommandError": 70} == codes, "a CommandError gets its code when it is made"


def test_every_error_is_one_of_ours() -> None:
    assert [] == [name for name, kind in classes().items() if not issubclass(kind, AstroTokenError)]


def test_the_module_opens_with_the_tree_as_it_is() -> None:
    drawn = re.findall(r"(\w+Error) +([\d, ]+\d)", errors.__doc__ or "")
    codes = {name: str(code) for name, code in CODES.items()}
    assert {**codes, "RotationError": "80, 81", "CommandError": "126, 127"} == dict(drawn)


def test_a_command_that_cannot_run_ends_as_shells_report_it() -> None:
    assert [126, 127] == [CommandError("m", exit_code=code).exit_code for code in (126, 127)]


def test_an_error_is_its_message_and_has_a_hint_or_none() -> None:
    assert ("m", "h") == (str(AstroTokenError("m", hint="h")), AstroTokenError("m", hint="h").hint)
    assert AstroTokenError("m").hint is None


@each_row("first", [0, *ORDER])
@each_row("second", [0, *ORDER])
def test_of_two_exit_codes_the_worse_is_the_earlier_of_the_order(first: int, second: int) -> None:
    rank = {**{code: place for place, code in enumerate(ORDER)}, 0: 99}
    assert min((first, second), key=lambda code: rank[code]) == worst([first, second])


def test_of_none_the_exit_code_is_zero() -> None:
    assert 0 == worst([])


def test_the_worst_of_several_does_not_depend_on_their_order() -> None:
    for codes in itertools.combinations(ORDER, 3):
        assert {codes[0]} == {worst(list(order)) for order in itertools.permutations(codes)}


def test_errors_of_one_exit_code_have_one_severity_and_the_order_is_theirs() -> None:
    pairs = {(kind.exit_code, kind.severity) for kind in classes().values() if kind is not CommandError}
    assert len(ORDER[1:]) == len(pairs) == len({severity for _, severity in pairs})
    assert list(ORDER[1:]) == [code for code, _ in sorted(pairs, key=lambda pair: -pair[1])]


def test_a_status_that_is_not_in_the_tree_comes_first() -> None:
    assert (126, 3) == (worst([64, 126, 75]), worst([3, 70]))


def test_a_bare_error_has_nothing_hanging_on_it() -> None:
    error = AstroTokenError("m", hint="h")
    error.add_note("a note")
    error.response = "x"  # type: ignore[attr-defined]
    error.__cause__ = error.__context__ = ValueError("x")
    with pytest.raises(AstroTokenError) as caught:
        raise error
    assert error.__traceback__ is not None
    assert caught.value is sanitized(error)
    hanging: list[object] = [error.__cause__, error.__context__, error.__traceback__]
    assert [None, None, None] == hanging
    assert {"message": "m", "hint": "h"} == vars(error)


def message_texts() -> list[str]:
    """Every text of the core and the backends that is given to an error or a verdict as its message."""
    source = "".join(path.read_text() for path in Path(errors.__file__).parent.rglob("*.py"))
    return re.findall(r'(?:Error|_invalid|report)\(\s*f?"([^"]+)"', source)


def test_messages_begin_in_lower_case_and_end_without_a_full_stop() -> None:
    texts = message_texts()
    assert len(texts) > 60
    names = re.compile(r"[A-Z_]{2,}|[A-Z][a-z]+[A-Z]|Astro\b")  # of variables and products
    assert [] == [
        text for text in texts if text.endswith(".") or (text[0].isupper() and not names.match(text))
    ]


def test_an_error_can_be_pickled_and_so_cross_a_process() -> None:
    for name in ("InvalidTokenError", "SecretNotFoundError", "BackendUnavailableError"):
        kind = getattr(errors, name)
        again = pickle.loads(pickle.dumps(kind("m", hint="h")))  # noqa: S301
        assert (kind, "m", "h") == (type(again), again.message, again.hint)
