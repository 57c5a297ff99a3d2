"""The portable half of writing: one field among others, compare-and-set, and an outcome that is known."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    InvalidRefError,
    InvalidTokenError,
    SecretNotFoundError,
    UnsupportedOperationError,
    UnusableSecretError,
)
from astro_token.secret import SecretValue
from astro_token.secrets import registry
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.token import AstroToken
from astro_token.tokens.write import read_current, write_token
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable


class Store:
    """
    A service with versions that counts requests.

    `lose` says of how many writes the answer is lost: before the write is done, or after it.
    """

    def __init__(self, content: Any = None, *, lose: str | None = None, gone: str | None = None) -> None:
        self.data = (
            None
            if content is None
            else content
            if isinstance(content, bytes)
            else json.dumps(content).encode()
        )
        self.number = 0 if content is None else 1
        self.lose = lose
        self.gone = gone
        self.reads: list[SecretRef] = []
        self.writes: list[tuple[SecretRef, str | None]] = []
        self.rival: Callable[[], None] | None = None

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        self.reads.append(ref)
        if self.data is None:
            raise SecretNotFoundError("nothing", version=self.gone)
        return SecretValue(self.data, str(self.number))

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        self.writes.append((ref, expected_version))
        if self.rival:
            self.rival()
        if self.lose == "before":
            raise BackendUnavailableError("no answer")
        if expected_version not in {None, str(self.number), self.gone}:
            raise BackendUnavailableError("another version is current")
        self.data, self.number = value.reveal(), self.number + 1
        if self.lose == "after":
            raise BackendUnavailableError("no answer")
        return str(self.number)


class Key:
    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return b"sealed:" + value.reveal()[::-1]

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return SecretValue(ciphertext)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    backends: dict[str, Any] = {"keys": Key()}
    monkeypatch.setattr(registry, "_open", backends)
    return backends


TEXT = make_token()
TOKEN = AstroToken.parse(SecretValue(TEXT.encode()))


def put(opened: dict[str, Any], store: object, ref: str = "store:prod", decrypt: str | None = None) -> str:
    opened["store"] = store
    settings = TokenSettings(SecretRef.parse(ref), decrypt=SecretRef.parse(decrypt) if decrypt else None)
    return write_token(settings, TOKEN, read_current(settings.ref, Deadline(5)), Deadline(5))


def failure(
    opened: dict[str, Any], store: object, ref: str = "store:prod", decrypt: str | None = None
) -> AstroTokenError:
    try:
        put(opened, store, ref, decrypt)
    except AstroTokenError as error:
        return error
    raise AssertionError("it was written")


def test_a_new_secret_is_created_as_the_version_after_none(opened: dict[str, Any]) -> None:
    store = Store()
    assert "1" == put(opened, store)
    assert (TEXT.encode(), [(SecretRef("store", "prod"), "0")]) == (store.data, store.writes)


def test_a_deleted_secret_is_followed_by_the_version_the_service_says(opened: dict[str, Any]) -> None:
    store = Store(gone="5")
    put(opened, store)
    assert [(SecretRef("store", "prod"), "5")] == store.writes


def test_a_secret_is_replaced_by_compare_and_set(opened: dict[str, Any]) -> None:
    store = Store(b"old")
    assert "2" == put(opened, store)
    assert (TEXT.encode(), [(SecretRef("store", "prod"), "1")]) == (store.data, store.writes)


@pytest.mark.parametrize(
    ("content", "ref", "stored"),
    [
        ({"token": "old", "other": "o"}, "store:prod", {"token": TEXT, "other": "o"}),
        ({"token": "old", "other": "o"}, "store:prod#other", {"token": "old", "other": TEXT}),
        (None, "store:prod#field", {"field": TEXT}),
    ],
)
def test_a_map_keeps_its_other_fields(opened: dict[str, Any], content: Any, ref: str, stored: object) -> None:
    store = Store(content)
    put(opened, store, ref)
    assert stored == json.loads(store.data or b"")


def test_the_whole_secret_is_read_and_written_whatever_field_is_named(opened: dict[str, Any]) -> None:
    store = Store({"a": "1"})
    put(opened, store, "store:prod#b")
    assert {SecretRef("store", "prod")} == {*store.reads, *(ref for ref, _ in store.writes)}


def test_ciphertext_is_written_where_a_key_is_named(opened: dict[str, Any]) -> None:
    store = Store({"other": "o"})
    put(opened, store, "store:prod#token", decrypt="keys:k")
    assert {"other": "o", "token": f"sealed:{TEXT[::-1]}"} == json.loads(store.data or b"")


def test_binary_ciphertext_is_written_as_base64(opened: dict[str, Any]) -> None:
    class Binary:
        def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
            return b"\x01\xff" + value.reveal()

    opened["keys"], store = Binary(), Store()
    put(opened, store, "store:prod", decrypt="keys:k")
    assert b"\x01\xff" + TEXT.encode() == base64.b64decode(store.data or b"", validate=True)


def test_a_place_that_encrypts_by_itself_keeps_a_key_services_ciphertext_as_it_is(
    opened: dict[str, Any],
) -> None:
    class Encrypting(Store):
        def write_ciphertext(self, ref: SecretRef, value: SecretValue, **options: Any) -> str:
            return super().write(ref, value, **options)

        def write(self, ref: SecretRef, value: SecretValue, **options: Any) -> str:
            return super().write(ref, SecretValue(b"encrypted by itself"), **options)

    store = Encrypting()
    assert "1" == put(opened, store, decrypt="keys:k")
    assert f"sealed:{TEXT[::-1]}".encode() == store.data
    put(opened, store)
    assert b"encrypted by itself" == store.data


def test_what_a_key_service_refuses_is_said_with_its_own_reference(opened: dict[str, Any]) -> None:
    class Denied:
        def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
            raise AccessDeniedError("denied")

    opened["keys"], store = Denied(), Store(b"old")
    assert "keys:k: denied" == failure(opened, store, decrypt="keys:k").message
    assert [] == store.writes


def test_what_a_write_is_known_to_have_done_is_not_looked_up(opened: dict[str, Any]) -> None:
    class Known(Store):
        def write(self, ref: SecretRef, value: SecretValue, **options: Any) -> str:
            super().write(ref, value, **options)
            raise BackendUnavailableError("somebody else's was written over", outcome_known=True)

    store = Known(b"old")
    error = failure(opened, store)
    assert (BackendUnavailableError, "somebody else's was written over") == (type(error), error.message)
    assert 1 == len(store.reads)


def test_what_is_written_over_may_be_read_in_a_way_of_its_own(opened: dict[str, Any]) -> None:
    class Expired(Store):
        def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
            raise InvalidTokenError("expired")

        def read_current(self, ref: SecretRef, *, timeout: float) -> SecretValue:
            return super().read(ref, timeout=timeout)

    store = Expired({"token": "old", "other": "o"})
    assert "2" == put(opened, store)
    assert {"token": TEXT, "other": "o"} == json.loads(store.data or b"")


def test_a_pinned_reference_is_refused_before_anything_is_asked(opened: dict[str, Any]) -> None:
    store = Store(b"old")
    assert InvalidRefError is type(failure(opened, store, "store:prod?version=1"))
    assert [] == store.reads


def test_a_backend_that_cannot_write_is_told_before_anything_is_asked(opened: dict[str, Any]) -> None:
    class ReadOnly:
        def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
            raise AssertionError("it was asked")

    assert UnsupportedOperationError is type(failure(opened, ReadOnly()))


def test_a_key_that_cannot_encrypt_is_told_before_anything_is_written(opened: dict[str, Any]) -> None:
    opened["keys"] = object()
    store = Store(b"old")
    assert UnsupportedOperationError is type(failure(opened, store, decrypt="keys:k"))
    assert [] == store.writes


@pytest.mark.parametrize("content", [{"a": "1", "b": "2"}, b"plain"])
def test_what_would_lose_something_is_not_written(opened: dict[str, Any], content: Any) -> None:
    store = Store(content)
    ref = "store:prod#token" if content == b"plain" else "store:prod"
    kind = SecretNotFoundError if content == b"plain" else UnusableSecretError
    assert kind is type(failure(opened, store, ref))
    assert [] == store.writes


def test_somebody_elses_write_in_between_is_not_overwritten(opened: dict[str, Any]) -> None:
    store = Store(b"old")

    def rival() -> None:
        store.data, store.number = b"rival", 2

    store.rival = rival
    assert BackendUnavailableError is type(failure(opened, store))
    assert b"rival" == store.data


def test_a_write_is_made_once(opened: dict[str, Any]) -> None:
    store = Store(b"old", lose="before")
    failure(opened, store)
    assert 1 == len(store.writes)


def test_a_lost_answer_to_a_write_that_was_done_is_no_failure(opened: dict[str, Any]) -> None:
    store = Store(b"old", lose="after")
    assert "2" == put(opened, store)


def test_it_is_no_failure_either_where_the_service_writes_its_json_anew(opened: dict[str, Any]) -> None:
    class Sorting(Store):
        def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
            value = super().read(ref, timeout=timeout)
            return SecretValue(
                json.dumps(json.loads(value.reveal()), sort_keys=True, indent=2).encode(), value.version
            )

    store = Sorting({"z": "1", "token": "old"}, lose="after")
    assert "2" == put(opened, store)


def test_a_lost_answer_to_a_write_that_was_not_done_is_one(opened: dict[str, Any]) -> None:
    store = Store(b"old", lose="before")
    error = failure(opened, store)
    assert ("no answer", b"old") == (error.message, store.data)
    assert [] == appearances(TEXT, "".join(map(str, error.args)))


def test_the_same_value_of_before_does_not_pass_for_a_write(opened: dict[str, Any]) -> None:
    assert "no answer" == failure(opened, Store(TEXT.encode(), lose="before")).message


def test_an_error_holds_nothing_of_either_token(opened: dict[str, Any]) -> None:
    old = make_token()

    def failed(store: Store) -> AstroTokenError:
        return failure(opened, store)

    class Blank(Store):
        """A store whose state is where a scan passes it over."""

        def __init__(self) -> None:
            super().__init__(b"x")
            self.secret = SecretValue(old.encode(), "1")

        def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
            return self.secret

        def write(self, *_: Any, **__: Any) -> str:
            body = self.secret.reveal()
            raise BackendUnavailableError("no answer" if body else "")

    text = reachable_text(failed(Blank()))
    assert [] == appearances(old, text)


class Unversioned(Store):
    """As Vault's KV 1."""

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return SecretValue(super().read(ref, timeout=timeout).reveal())

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        assert expected_version == (None if self.number else "0")
        super().write(ref, value, expected_version=None, timeout=timeout)
        return ""


def test_without_versions_a_secret_is_created_and_replaced_all_the_same(opened: dict[str, Any]) -> None:
    store = Unversioned()
    assert "" == put(opened, store)
    assert TEXT.encode() == store.data
    store = Unversioned({"token": "old", "other": "1"})
    put(opened, store)
    assert {"token": TEXT, "other": "1"} == json.loads(store.data or b"")


def test_without_versions_what_is_there_is_compared_right_before_it_is_written(
    opened: dict[str, Any],
) -> None:
    store = opened["store"] = Unversioned({"token": "old", "other": "1"})
    settings = TokenSettings(SecretRef.parse("store:prod"))
    current = read_current(settings.ref, Deadline(5))
    store.data = b'{"token": "old", "other": "2"}'
    with pytest.raises(BackendUnavailableError, match="somebody else changed the secret"):
        write_token(settings, TOKEN, current, Deadline(5))
    assert (b'{"token": "old", "other": "2"}', []) == (store.data, store.writes)


def test_without_versions_a_lost_answer_is_no_failure_where_the_value_is_there(
    opened: dict[str, Any],
) -> None:
    store = Unversioned({"token": "old"}, lose="after")
    assert "" == put(opened, store)
    assert {"token": TEXT} == json.loads(store.data or b"")


def test_a_backend_that_returns_the_wrong_type_has_failed_and_nothing_is_written(
    opened: dict[str, Any],
) -> None:
    class Text(Store):
        def read(self, ref: SecretRef, *, timeout: float) -> Any:
            return TEXT

    class TextKey(Key):
        def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> Any:
            return value.reveal().decode()

    store = Text(b"x")
    error = failure(opened, store)
    assert (BackendError, "the backend did not return a SecretValue") == (type(error), error.message)
    opened["keys"] = TextKey()
    error = failure(opened, Store(b"x"), decrypt="keys:k")
    assert BackendError is type(error)
    assert TEXT not in error.message
    assert [] == store.writes
