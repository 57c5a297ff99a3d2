"""The names of rotation records: next to the value, valid for the service, and never the value's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    InvalidRefError,
    SecretNotFoundError,
    UnsupportedOperationError,
    sanitized,
)
from astro_token.lifecycle.record import record_ref
from astro_token.secret import SecretValue
from astro_token.secrets import registry
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import BUILTIN
from astro_token.testing import BackendContract, Harness
from astro_token.transport.deadline import Deadline
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
SSM = "arn:aws:ssm:eu-west-1:123456789012:parameter"


def named(text: str) -> str:
    return str(record_ref(SecretRef.parse(text), Deadline(5)))


def failure(call: Callable[[], object]) -> AstroTokenError:
    error = _raised(call)
    assert error is not None, "it was named"
    assert "\n" not in f"{error.message}{error.hint}"
    return error


def _raised(call: Callable[[], object]) -> AstroTokenError | None:
    try:
        call()
    except AstroTokenError as error:
        return sanitized(error)
    return None


@each_row(
    ("value", "record"),
    [
        ("file:prod.token.age", "file:prod.token.age.rotation"),
        ("file:/run/secrets/a b", "file:/run/secrets/a b.rotation"),
        ("vault:secret/astro/prod#token", "vault:secret/astro/prod-rotation"),
        (
            "vault://secret/astro/prod?kv=2&namespace=team",
            "vault:secret/astro/prod-rotation?kv=2&namespace=team",
        ),
        ("aws:astro/prod?region=eu-west-1#token", "aws:astro/prod-rotation?region=eu-west-1"),
        (f"aws:{ARN}astro/prod-AbCd12#token", f"aws:{ARN}astro/prod-rotation"),
        (f"aws:{ARN}astro/prod", f"aws:{ARN}astro/prod-rotation"),
        ("aws:astro/prod-AbCd12", "aws:astro/prod-AbCd12-rotation"),
        ("aws-ssm:/astro/prod?region=eu-west-1", "aws-ssm:/astro/prod-rotation?region=eu-west-1"),
        (f"aws-ssm:{SSM}/astro/prod", f"aws-ssm:{SSM}/astro/prod-rotation"),
        ("gcp:my-project/astro-prod", "gcp:my-project/astro-prod-rotation"),
        ("gcp:projects/p1/secrets/prod", "gcp:projects/p1/secrets/prod-rotation"),
        ("gcp:projects/p1/secrets/prod/versions/latest", "gcp:projects/p1/secrets/prod-rotation"),
        (
            "gcp:projects/p1/locations/europe-west1/secrets/prod",
            "gcp:projects/p1/locations/europe-west1/secrets/prod-rotation",
        ),
        ("azure:my-vault/astro-prod", "azure:my-vault/astro-prod-rotation"),
        (
            "azure:https://my-vault.vault.azure.net/secrets/astro-prod",
            "azure:https://my-vault.vault.azure.net/secrets/astro-prod-rotation",
        ),
    ],
)
def test_the_record_is_next_to_the_value(value: str, record: str) -> None:
    assert record == named(value)


@each_row(
    "value",
    [
        f"file:/tmp/{'a' * 225}",
        f"file:/tmp/{'é' * 113}",
        f"vault:secret/{'a' * 120}",
        f"aws:{'a' * 504}",
        f"gcp:my-project/{'a' * 247}",
        f"azure:my-vault/{'a' * 119}",
    ],
)
def test_a_name_that_would_get_too_long_is_refused(value: str) -> None:
    error = failure(lambda: named(value))
    assert (UnsupportedOperationError, 78) == (type(error), error.exit_code)
    assert "rotation record is not valid" in error.message
    assert named(value[:-1])


def test_a_scheme_without_records_says_so() -> None:
    error = failure(lambda: named("env:ASTRO_API_TOKEN"))
    assert (UnsupportedOperationError, "the backend env does not support create and rotate") == (
        type(error),
        error.message,
    )


def test_every_scheme_that_can_be_written_has_records() -> None:
    written = {"vault", "aws", "aws-ssm", "gcp", "azure", "file"}
    assert written == {name for name, scheme in BUILTIN.items() if scheme.rotation_suffix}


@pytest.mark.parametrize(
    "value", ["vault:secret/a?version=3", "aws:a?stage=AWSPREVIOUS", "gcp:my-p/a?version=4"]
)
def test_a_value_that_is_pinned_is_refused(value: str) -> None:
    assert InvalidRefError is type(failure(lambda: named(value)))


# -- plugins ------------------------------------------------------------------------------------------


class Plugin:
    def __init__(self, answer: Callable[[SecretRef], Any]) -> None:
        self.rotation_record = answer

    def read(self, ref: SecretRef, *, timeout: float) -> Any:
        raise NotImplementedError


def with_plugin(monkeypatch: pytest.MonkeyPatch, plugin: object) -> None:
    monkeypatch.setattr(registry, "_open", {"mine": plugin})


def test_a_plugin_names_its_own_record(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def answer(ref: SecretRef) -> SecretRef:
        seen.append(str(ref))
        return SecretRef("mine", f"records/{ref.name}")

    with_plugin(monkeypatch, Plugin(answer))
    assert ("mine:records/prod", ["mine:prod?team=a"]) == (named("mine:prod?team=a#token"), seen)


def test_a_plugin_without_records_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with_plugin(monkeypatch, object())
    error = failure(lambda: named("mine:prod"))
    assert (UnsupportedOperationError, "the backend mine does not support create and rotate") == (
        type(error),
        error.message,
    )


@each_row(
    "answer",
    [
        lambda ref: ref,
        lambda _: "mine:records/prod",
        lambda _: None,
        lambda _: SecretRef("vault", "secret/prod"),
        lambda _: SecretRef("mine", "records/prod", "field"),
        lambda _: SecretRef("mine", "records/prod", options={"version": "1"}),
        lambda _: 1 / 0,
    ],
)
def test_a_plugin_that_names_no_secret_of_its_own_is_refused(
    answer: Callable[[SecretRef], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_plugin(monkeypatch, Plugin(answer))
    assert BackendError is type(failure(lambda: named("mine:prod")))


class Memory:
    """A plugin that rotates."""

    def __init__(self, record: str = "records/") -> None:
        self._secrets: dict[str, bytes] = {}
        self._record = record

    def rotation_record(self, ref: SecretRef) -> SecretRef:
        return SecretRef("mine", f"{self._record}{ref.name}")

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        if ref.name not in self._secrets:
            raise SecretNotFoundError(f"{ref}: it does not exist")
        return SecretValue(self._secrets[ref.name])

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        self._secrets[ref.name] = value.reveal()
        return ""


def test_the_public_contract_covers_records_of_rotations() -> None:
    contract = BackendContract()
    test = contract.test_the_record_of_a_rotation_is_a_secret_of_its_own
    memory = Memory()
    test(Harness(memory, lambda _: None, "mine:a", "mine:b", writable="mine:c"))
    assert {"c", "records/c"} == set(memory._secrets)
    with pytest.raises(AssertionError):
        test(Harness(Memory(record=""), lambda _: None, "mine:a", "mine:b", writable="mine:c"))
