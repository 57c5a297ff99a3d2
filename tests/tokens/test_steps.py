"""The list of steps: a failure ends the walk, unless an observer hears of it."""

from __future__ import annotations

from typing import Any

from astro_token.doctor import CHECKS
from astro_token.errors import AstroTokenError, SecretNotFoundError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import make_token
from astro_token.tokens.steps import READING, SELECTION, TokenPath, steps, walk
from astro_token.transport.deadline import Deadline

SETTINGS = TokenSettings(SecretRef("memory", "x"))
ENCRYPTED = TokenSettings(SecretRef("memory", "x"), decrypt=SecretRef("nothing-serves-this", "k"))


class Memory:
    def __init__(self, answer: SecretValue | AstroTokenError) -> None:
        self.answer = answer

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        if isinstance(self.answer, AstroTokenError):
            raise self.answer
        return self.answer


class Notes:
    """Notes every step, and takes attributes away after one."""

    def __init__(self, **taken: str) -> None:
        self.taken = taken
        self.heard: list[tuple[str, str]] = []

    def ended(self, step: str, path: TokenPath, error: AstroTokenError | None) -> None:
        self.heard.append((step, type(error).__name__ if error else "ok"))
        if step in self.taken:
            setattr(path, self.taken[step], None)

    def skipped(self, step: str, path: TokenPath) -> None:
        self.heard.append((step, "skipped"))


def path_of(settings: TokenSettings, answer: Any) -> TokenPath:
    return TokenPath(settings, Deadline(5), given=Memory(answer))


def list_of(settings: TokenSettings) -> Any:
    return (*READING, *SELECTION, *steps(settings, online=False))


def test_every_step_is_a_check_of_the_doctor_in_the_same_order() -> None:
    names = [step.name for step in (*READING, *SELECTION, *steps(ENCRYPTED, online=True))]
    assert [check for check in CHECKS if check in names] == names


def test_the_first_failure_ends_the_walk_and_is_returned() -> None:
    path = path_of(SETTINGS, SecretNotFoundError("nothing"))
    error = walk(path, list_of(SETTINGS))
    assert isinstance(error, SecretNotFoundError)
    assert () == path.verdicts
    path = path_of(SETTINGS, SecretValue(make_token().encode()))
    assert None is walk(path, list_of(SETTINGS))
    assert path.token.ref == SETTINGS.ref


def test_an_observer_hears_of_every_step_and_of_those_that_are_skipped() -> None:
    notes = Notes()
    assert None is walk(path_of(ENCRYPTED, SecretNotFoundError("nothing")), list_of(ENCRYPTED), notes)
    assert [
        ("backend", "ok"),
        ("secret", "SecretNotFoundError"),
        ("field", "skipped"),
        ("key-backend", "UnknownBackendError"),
        ("decryption", "skipped"),
        ("token", "skipped"),
        ("policy", "skipped"),
    ] == notes.heard


def test_ciphertext_that_is_not_decrypted_is_not_taken_for_a_token() -> None:
    notes = Notes()
    walk(path_of(ENCRYPTED, SecretValue(make_token().encode())), list_of(ENCRYPTED), notes)
    assert [("decryption", "skipped"), ("token", "skipped"), ("policy", "skipped")] == notes.heard[-3:]


def test_an_observer_can_keep_steps_from_running() -> None:
    notes = Notes(backend="backend")
    walk(path_of(SETTINGS, SecretValue(b"x")), list_of(SETTINGS), notes)
    assert [("backend", "ok"), *((name, "skipped") for name in ("secret", "field", "token", "policy"))] == (
        notes.heard
    )
