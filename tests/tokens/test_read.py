"""The portable half of reading, with backends that fail in every way."""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    InvalidTokenError,
    PolicyError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from astro_token.policy.rules import Policy
from astro_token.secret import SecretValue
from astro_token.secrets import registry
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.tokens.read import read_and_verify, read_secret, read_token
from astro_token.transport.deadline import Deadline
from tests.rows import each_row
from tests.timing import within
from tests.transport.test_deadline import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

REF = SecretRef.parse("memory:prod#token")
WHOLE = SecretRef.parse("memory:prod")


class Memory:
    """A backend that answers with what it was given, or calls it."""

    def __init__(self, answer: Any, version: str | None = "7") -> None:
        self.answer = answer if callable(answer) else SecretValue(_bytes(answer), version)
        self.asked: list[tuple[SecretRef, float]] = []

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        self.asked.append((ref, timeout))
        found: SecretValue = self.answer() if callable(self.answer) else self.answer
        return found


class Key:
    """A key service whose ciphertext is the plain text backwards."""

    def __init__(self, fails: Callable[[], object] | None = None) -> None:
        self.fails = fails
        self.asked: list[tuple[SecretRef, bytes]] = []

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        self.asked.append((ref, ciphertext if self.fails is None else b""))
        if self.fails:
            self.fails()
        return SecretValue(ciphertext[::-1])


def _bytes(content: object) -> bytes:
    if isinstance(content, bytes | str):
        return content.encode() if isinstance(content, str) else content
    return json.dumps(content).encode()


def read(backend: Any, ref: SecretRef = WHOLE, **more: Any) -> SecretValue:
    return read_secret(ref, deadline=Deadline(5), backend=backend, **more)


def failure(call: Callable[[], object]) -> AstroTokenError:
    try:
        call()
    except AstroTokenError as error:
        return error
    raise AssertionError("it did not fail")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Backends by scheme, opened already."""
    backends: dict[str, Any] = {}
    monkeypatch.setattr(registry, "_open", backends)
    return backends


def test_a_secret_is_read_with_its_version() -> None:
    value = read(backend := Memory("x"))
    assert (b"x", "7", [WHOLE]) == (value.reveal(), value.version, [ref for ref, _ in backend.asked])


def test_the_backend_is_given_the_whole_reference_and_what_is_left_of_the_time() -> None:
    read(backend := Memory({"token": "x"}), REF)
    ((ref, timeout),) = backend.asked
    assert ref == REF
    assert 4.5 < timeout <= 5


@pytest.mark.parametrize("field", ["", "#token"])
def test_a_secret_above_the_limit_is_refused_in_every_backend(canary: str, field: str) -> None:
    large = Memory(json.dumps({"token": canary, "more": "x" * 300 * 1024}))
    reference = SecretRef.parse(f"memory:prod{field}")
    error = failure(lambda: read_secret(reference, backend=large, deadline=Deadline(5)))
    assert (65, f"{reference}: the secret is larger than 256 KiB") == (error.exit_code, error.message)
    assert [] == appearances(canary, reachable_text(error))


def test_the_field_is_chosen() -> None:
    assert b"x" == read(Memory({"token": "x", "y": "z"}), REF).reveal()
    assert b"x" == read(Memory({"token": "x", "y": "z"})).reveal()


def test_the_backend_of_the_references_scheme_is_opened(opened: dict[str, Any]) -> None:
    opened["memory"] = Memory("x")
    assert b"x" == read_secret(WHOLE, deadline=Deadline(5)).reveal()


# -- ciphertext ------------------------------------------------------------------------------------------


def test_a_chosen_field_is_decrypted_with_the_key_and_keeps_the_secrets_version(
    opened: dict[str, Any],
) -> None:
    opened["keys"] = key = Key()
    value = read(Memory({"token": "abc", "y": "z"}), REF, decrypt=SecretRef("keys", "k"))
    assert (b"cba", "7", [(SecretRef("keys", "k"), b"abc")]) == (value.reveal(), value.version, key.asked)


def test_a_backend_that_cannot_decrypt_is_told(opened: dict[str, Any]) -> None:
    opened["memory"] = Memory("x")
    error = failure(lambda: read(Memory("x"), decrypt=SecretRef("memory", "k")))
    assert (UnsupportedOperationError, "memory:prod: the backend memory cannot decrypt") == (
        type(error),
        error.message,
    )


def test_a_key_is_no_secret(opened: dict[str, Any]) -> None:
    opened["keys"] = Key()
    error = failure(lambda: read_secret(SecretRef("keys", "k"), deadline=Deadline(5)))
    assert (UnsupportedOperationError, "keys:k: the backend keys has keys, not secrets") == (
        type(error),
        error.message,
    )


def test_decrypting_is_tried_again_within_the_same_deadline(opened: dict[str, Any]) -> None:
    failures: list[AstroTokenError] = [BackendUnavailableError("busy", retry_after=0) for _ in range(2)]

    def fail() -> None:
        if failures:
            raise failures.pop()

    opened["keys"] = key = Key(fail)
    assert b"cba" == read(Memory("abc"), decrypt=SecretRef("keys", "k")).reveal()
    assert 3 == len(key.asked)


# -- what goes wrong -------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def test_an_error_names_the_reference_once() -> None:
    assert (
        "memory:prod: nothing"
        == failure(lambda: read(Memory(raising(SecretNotFoundError("nothing"))))).message
    )
    named = SecretNotFoundError(f"{WHOLE}: nothing")
    assert "memory:prod: nothing" == failure(lambda: read(Memory(raising(named)))).message


def test_an_error_of_the_field_names_the_reference_too() -> None:
    error = failure(lambda: read(Memory({"a": "1"}), REF))
    assert (SecretNotFoundError, f"{REF}: the secret has no field token; it has 1 field") == (
        type(error),
        error.message,
    )
    assert (str(error),) == error.args


def test_reading_is_tried_again() -> None:
    failures: list[BaseException] = [BackendUnavailableError("busy", retry_after=0) for _ in range(3)]
    backend = Memory(lambda: raising(failures.pop())() if failures else SecretValue(b"x"))
    assert b"x" == read(backend).reveal()
    assert 4 == len(backend.asked)


@each_row("answer", [None, b"x", "x", {"token": "x"}, 7])
def test_an_answer_that_is_no_secret_value_is_the_backends_fault(answer: object) -> None:
    error = failure(lambda: read(Memory(lambda: answer)))
    assert (BackendError, "memory:prod: the backend did not return a SecretValue") == (
        type(error),
        error.message,
    )


def test_a_backend_that_is_none_is_told() -> None:
    assert UnsupportedOperationError is type(failure(lambda: read(object())))


@pytest.mark.parametrize("raises", FAILURES, ids=lambda raises: raises.__name__)
@pytest.mark.parametrize("where", ["read", "decrypt"])
def test_nothing_of_what_a_backend_raised_is_left_on_the_error(
    raises: Callable[[str], object], where: str, canary: str, opened: dict[str, Any]
) -> None:
    secret = SecretValue(canary.encode())

    def fail() -> Any:
        raises(secret.reveal().decode())

    opened["keys"] = Key(fail)
    backend = Memory(fail) if where == "read" else Memory("x")
    error = failure(lambda: read(backend, decrypt=SecretRef("keys", "k")))
    assert [] == appearances(canary, reachable_text(error))
    assert (None, None) == (error.__cause__, error.__context__)
    assert error.message.startswith("memory:prod: ")


def test_a_foreign_answer_is_not_left_on_the_error(canary: str) -> None:
    secret = SecretValue(canary.encode())
    error = failure(lambda: read(Memory(lambda: secret.reveal().decode())))
    assert [] == appearances(canary, reachable_text(error))


def test_a_backend_that_never_answers_is_left_at_the_deadline() -> None:
    never = threading.Event()
    with within(0.3):
        error = failure(lambda: read_secret(WHOLE, deadline=Deadline(0.3), backend=Memory(never.wait)))
    assert BackendUnavailableError is type(error)
    never.set()


def test_nothing_of_the_value_is_logged_at_any_level(
    caplog: pytest.LogCaptureFixture, canary: str, opened: Any
) -> None:
    opened["keys"] = Key()
    with caplog.at_level(logging.DEBUG):
        read(Memory({"token": canary[::-1]}), REF, decrypt=SecretRef("keys", "k"))
        failure(lambda: read(Memory({"token": canary}), SecretRef.parse("memory:prod#nothing")))
    text = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert [] == appearances(canary, text)
    assert "reading memory:prod#token" in text
    assert "decrypting with keys:k" in text


# -- a token ---------------------------------------------------------------------------------------------


def test_a_token_is_read_and_checked(canary: str) -> None:
    token = read_token(WHOLE, backend=Memory(f"Bearer {canary}\r\n"))
    assert (canary, "clws00000000000000000", "7") == (token.reveal(), token.workspace, token.secret.version)


def test_a_reference_may_be_a_text_or_come_from_the_environment(
    canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", canary)
    assert canary == read_token("env:TOKEN").reveal()
    monkeypatch.setenv("ASTRO_TOKEN_REF", "env:TOKEN")
    assert canary == read_token().reveal()


def test_a_name_of_the_projects_file_is_read(
    canary: str, monkeypatch: pytest.MonkeyPatch, write: Callable[[str, str], Path]
) -> None:
    monkeypatch.setenv("TOKEN", canary)
    monkeypatch.chdir(
        write("astro-token.toml", '[tokens.prod]\nref = "env:TOKEN"\nworkspace = "other"\n').parent
    )
    error = failure(lambda: read_token("prod"))
    assert PolicyError is type(error)
    assert error.message.startswith("env:TOKEN: the token is for workspace clws")


def test_the_time_is_limited_by_the_argument() -> None:
    read_token(WHOLE, backend=(backend := Memory(make_token())), timeout=2)
    assert 1.5 < backend.asked[0][1] <= 2


@pytest.mark.parametrize(
    ("token", "policy", "error", "complaint"),
    [
        (make_token(expires_in=-5), None, InvalidTokenError, "the token expired at"),
        (make_token(workspace=None), Policy("workspace"), PolicyError, "the token's scope is organization"),
        ("nonsense", None, InvalidTokenError, "the value is not an Astro API token"),
        ("", None, InvalidTokenError, "it is empty"),
    ],
)
def test_what_is_no_good_token_is_not_returned_and_the_reference_is_named(
    token: str, policy: Policy | None, error: type[AstroTokenError], complaint: str
) -> None:
    told = failure(lambda: read_token(WHOLE, backend=Memory(token), policy=policy))
    assert error is type(told)
    assert told.message.startswith("memory:prod: ")
    assert complaint in told.message


def refusal(backend: Memory, policy: Policy | None) -> AstroTokenError:
    return failure(lambda: read_token(WHOLE, backend=backend, policy=policy))


def test_a_refused_token_is_not_on_the_error(canary: str) -> None:
    for policy, text in ((Policy("deployment"), canary), (None, f"{canary};")):
        assert [] == appearances(canary, reachable_text(refusal(Memory(text), policy)))


def test_checking_returns_the_verdicts_and_enforces_none() -> None:
    token, verdicts = read_and_verify(TokenSettings(WHOLE), backend=Memory(make_token(expires_in=-5)))
    assert ("clws00000000000000000", ["expired"]) == (token.workspace, [verdict.code for verdict in verdicts])


def test_this_process_own_environment_is_not_written(canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def environment() -> tuple[Mapping[str, str], bytes]:
        return dict(os.environ), b"".join(os.environb.values()) if os.supports_bytes_environ else b""

    before = environment()
    read_token(WHOLE, backend=Memory(canary))
    failure(lambda: read_token(WHOLE, backend=Memory(f"{canary};")))
    assert before == environment()
    assert [] == appearances(canary, "\n".join(os.environ.values()))


def test_denied_is_denied_whatever_else_is_set(monkeypatch: pytest.MonkeyPatch, canary: str) -> None:
    monkeypatch.setenv("ASTRO_API_TOKEN", canary)
    error = failure(lambda: read_token(WHOLE, backend=Memory(raising(AccessDeniedError("denied")))))
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
