"""The public contract: a backend that keeps it passes, and each promise that is broken fails its test."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    InvalidRefError,
    NoCredentialError,
    SecretNotFoundError,
)
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import BackendContract, Harness

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence


class Memory:
    """A backend with every operation. Each value of a name is one of its versions."""

    def __init__(self) -> None:
        self.stored: dict[str, list[SecretValue]] = {"prod": []}
        self.outage: AstroTokenError | None = None
        self.silence = 0.0

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        self.refuse(ref, timeout)
        values = self.values(ref)
        number = int(ref.options.get("version", len(values)))
        if not 0 < number <= len(values):
            raise self.missing()
        return SecretValue(self.stored[ref.name][number - 1].reveal(), version=str(number))

    def refuse(self, ref: SecretRef, timeout: float) -> None:
        if ref.options.keys() - {"version"}:
            raise InvalidRefError("memory takes the option version only")
        time.sleep(min(self.silence, timeout))
        if self.silence:
            raise BackendUnavailableError("no answer in time")
        if self.outage:
            raise type(self.outage)(self.outage.message)

    def values(self, ref: SecretRef) -> Sequence[object]:
        return range(len(self.stored.get(ref.name, [])))

    def missing(self) -> SecretNotFoundError:
        return SecretNotFoundError("no such secret", hint="check the name")

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        self.refuse(ref, timeout)
        if not self.values(ref):
            raise self.missing()
        return SecretMetadata(version=str(len(self.values(ref))))

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        self.refuse(ref, timeout)
        if expected_version not in {None, str(len(self.values(ref)))}:
            raise BackendUnavailableError("it was changed meanwhile")
        self.stored.setdefault(ref.name, []).append(value)
        return str(len(self.values(ref)))

    def check_write(self, ref: SecretRef, *, timeout: float) -> None:
        self.refuse(ref, timeout)

    def read_many(
        self, refs: Sequence[SecretRef], *, timeout: float
    ) -> Mapping[SecretRef, SecretValue | AstroTokenError]:
        results: dict[SecretRef, SecretValue | AstroTokenError] = {}
        for ref in refs:
            try:
                results[ref] = self.read(ref, timeout=timeout)
            except AstroTokenError as error:
                results[ref] = error
        return results

    def rotation_record(self, ref: SecretRef) -> SecretRef:
        return SecretRef(ref.scheme, f"{ref.name}-rotation")

    def credential_variables(self) -> Collection[str]:
        return {"MEMORY_TOKEN"}

    def close(self) -> None:
        """Release nothing."""


def harness_of(backend: Memory) -> Harness:
    @contextmanager
    def failing(error: AstroTokenError) -> Iterator[None]:
        backend.outage = error
        yield
        backend.outage = None

    @contextmanager
    def silent() -> Iterator[None]:
        backend.silence = 3.0
        yield
        backend.silence = 0.0

    return Harness(
        backend,
        store=lambda value: backend.stored["prod"].append(SecretValue(value)),
        present="memory:prod",
        missing="memory:nothing",
        writable="memory:new",
        denied=lambda: failing(AccessDeniedError("denied")),
        without_credential=lambda: failing(NoCredentialError("nobody is logged in")),
        unavailable=lambda: failing(BackendUnavailableError("try again")),
        silent=silent,
    )


class TestMemory(BackendContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return harness_of(Memory())


# -- broken promises, by the test that fails -------------------------------------------------------------


class Changing(Memory):
    def __init__(self, old: bytes, new: bytes) -> None:
        super().__init__()
        self.old, self.new = old, new

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        value = super().read(ref, timeout=timeout)
        return SecretValue(value.reveal().replace(self.old, self.new), version=value.version)


class Remembering(Memory):
    """Keeps what it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: SecretValue | None = None

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        self.kept = self.kept or super().read(ref, timeout=timeout)
        return self.kept


class IgnoringVersions(Memory):
    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return super().read(SecretRef(ref.scheme, ref.name), timeout=timeout)


class IgnoringOptions(Memory):
    def refuse(self, ref: SecretRef, timeout: float) -> None:
        super().refuse(SecretRef(ref.scheme, ref.name), timeout)


class PastingNames(Memory):
    """Asks for the name up to a character that begins something else."""

    end = "?"

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return super().read(
            SecretRef(ref.scheme, ref.name.partition(self.end)[0], None, ref.options), timeout=timeout
        )


class PastingFragments(PastingNames):
    end = "#"


class Misnaming(Memory):
    """Raises one error for everything."""

    def refuse(self, ref: SecretRef, timeout: float) -> None:
        try:
            super().refuse(ref, timeout)
            return
        except InvalidRefError:
            raise
        except AstroTokenError:
            pass
        raise SecretNotFoundError("it failed")


class Confusing(Memory):
    """Does not tell a denial from a missing credential."""

    def __init__(self, error: type[AccessDeniedError]) -> None:
        super().__init__()
        self.error = error

    def refuse(self, ref: SecretRef, timeout: float) -> None:
        if isinstance(self.outage, AccessDeniedError):
            raise self.error("it failed")
        super().refuse(ref, timeout)


class Waiting(Memory):
    def refuse(self, ref: SecretRef, timeout: float) -> None:
        super().refuse(ref, self.silence or timeout)


class Repeating(Memory):
    """Repeats what it knows of the secret in an error."""

    def refuse(self, ref: SecretRef, timeout: float) -> None:
        values = self.stored["prod"]
        if (self.outage or self.silence) and values:
            error = type(self.outage or BackendUnavailableError(""))
            raise error(f"the response was {values[-1].reveal().decode()}")
        super().refuse(ref, timeout)


class Chaining(Memory):
    """Keeps the exception of its SDK."""

    def missing(self) -> SecretNotFoundError:
        error = super().missing()
        error.__cause__ = KeyError("nothing")
        return error


class Telling(Memory):
    def missing(self) -> SecretNotFoundError:
        return SecretNotFoundError(f"no such name among {[value.reveal() for value in self.stored['prod']]}")


class Vague(Memory):
    def missing(self) -> Any:
        return AccessDeniedError("denied, or missing")


class Sourcing(Memory):
    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:
        return f"{ref} in {timeout}\nand more"


class Logging(Memory):
    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        value = super().read(ref, timeout=timeout)
        logging.getLogger("memory").debug("read %s", value.reveal())
        return value


class Sharing(Memory):
    """Passes the reference on in a member that all threads share."""

    def __init__(self) -> None:
        super().__init__()
        self.ref = SecretRef("memory", "prod")

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        self.ref = ref
        time.sleep(0.01)
        return super().read(self.ref, timeout=timeout)


class LeavingOut(Memory):
    def read_many(self, refs: Sequence[SecretRef], *, timeout: float) -> Any:
        results = super().read_many(refs, timeout=timeout)
        return {ref: value for ref, value in results.items() if isinstance(value, SecretValue)}


class Inventing(Memory):
    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        self.refuse(ref, timeout)
        return SecretMetadata(version=str(len(self.values(ref))))


class Describing(Memory):
    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        metadata = super().describe(ref, timeout=timeout)
        return SecretMetadata(
            version=metadata.version, labels={"value": self.stored[ref.name][-1].reveal().decode()}
        )


class Trying(Memory):
    """Writes to learn whether it may."""

    def check_write(self, ref: SecretRef, *, timeout: float) -> None:
        self.write(ref, SecretValue(b"x"), expected_version=None, timeout=timeout)


class Overwriting(Memory):
    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        return super().write(ref, value, expected_version=None, timeout=timeout)


class Mixing(Memory):
    def rotation_record(self, ref: SecretRef) -> SecretRef:
        return ref


class Naming(Memory):
    def credential_variables(self) -> Collection[str]:
        return "MEMORY_TOKEN"


class Lingering(Memory):
    def close(self) -> None:
        time.sleep(1.3)


class Once(Memory):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise OSError
        self.closed = True


class Unversioned(Memory):
    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return SecretValue(super().read(ref, timeout=timeout).reveal(), version="")


OUTAGES = {
    "test_a_denial_is_denied",
    "test_a_missing_credential_is_no_denial",
    "test_an_unavailable_service_can_be_tried_again",
    "test_a_silent_service_is_left_at_the_deadline",
}
BROKEN: list[tuple[Memory, set[str]]] = [
    (Changing(b"x", b"y"), {"test_it_reads_what_was_stored"}),
    (Changing(b"\r\n", b"\n"), {"test_it_keeps_unicode_and_hostile_text"}),
    (Changing(b"%41", b"A"), {"test_it_keeps_unicode_and_hostile_text"}),
    (Changing("e\u0301".encode(), "é".encode()), {"test_it_keeps_unicode_and_hostile_text"}),
    (Remembering(), {"test_it_reads_the_newest"}),
    (Unversioned(), {"test_it_names_the_version_or_none"}),
    (IgnoringVersions(), {"test_a_version_stays_readable_if_the_backend_takes_one"}),
    (IgnoringOptions(), {"test_an_unknown_option_is_refused"}),
    (PastingNames(), {"test_a_name_is_not_a_path_or_a_query"}),
    (PastingFragments(), {"test_a_name_is_not_a_path_or_a_query"}),
    (Misnaming(), OUTAGES),
    (Confusing(NoCredentialError), {"test_a_denial_is_denied"}),
    (Confusing(AccessDeniedError), {"test_a_missing_credential_is_no_denial"}),
    (Waiting(), {"test_a_silent_service_is_left_at_the_deadline"}),
    (Repeating(), OUTAGES),
    (Chaining(), {"test_an_error_is_one_line_and_keeps_no_other_exception"}),
    (Telling(), {"test_an_error_holds_nothing_of_the_secret"}),
    (Vague(), {"test_what_is_missing_is_not_found"}),
    (Sourcing(), {"test_the_description_of_its_credential_holds_none"}),
    (Logging(), {"test_nothing_is_logged_of_the_value_at_any_level"}),
    (Sharing(), {"test_threads_may_share_it"}),
    (LeavingOut(), {"test_reading_many_has_a_result_for_each"}),
    (Inventing(), {"test_a_description_holds_no_value"}),
    (Describing(), {"test_a_description_holds_no_value"}),
    (Trying(), {"test_the_check_of_a_write_writes_nothing"}),
    (Overwriting(), {"test_writing_creates_and_replaces_and_compares"}),
    (Mixing(), {"test_the_record_of_a_rotation_is_a_secret_of_its_own"}),
    (Naming(), {"test_its_credential_variables_are_names"}),
    (Lingering(), {"test_closing_twice_is_harmless"}),
    (Once(), {"test_closing_twice_is_harmless"}),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("backend", "tests"),
    BROKEN,
    ids=[f"{type(backend).__name__}-{number}" for number, (backend, _) in enumerate(BROKEN)],
)
def test_a_broken_promise_fails_its_test(backend: Memory, tests: set[str]) -> None:
    for name in tests:
        backend.stored = {"prod": []}
        with pytest.raises((AssertionError, AstroTokenError, OSError)):
            getattr(BackendContract(), name)(harness_of(backend))


def test_every_test_of_the_contract_has_a_broken_backend() -> None:
    tests = {name for name in dir(BackendContract) if name.startswith("test_")}
    proven = set().union(*(names for _, names in BROKEN))
    # A backend without `read` passes nothing, and `SecretValue` cannot be told to print itself.
    assert {"test_it_is_a_backend", "test_the_value_cannot_print_itself"} == tests - proven


def test_a_backend_without_further_operations_passes() -> None:
    """Nothing is required but `read`."""
    memory = Memory()
    harness = Harness(
        SimpleNamespace(read=memory.read),
        store=lambda value: memory.stored["prod"].append(SecretValue(value)),
        present="memory:prod",
        missing="memory:nothing",
    )
    for name in dir(BackendContract):
        if name.startswith("test_"):
            getattr(BackendContract(), name)(harness)
    assert json.dumps(list(memory.stored)) == '["prod"]'
