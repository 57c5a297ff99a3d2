"""
The contract for backends, as tests that a plugin's tests inherit.

    from astro_token.testing import BackendContract, Harness

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def harness(self) -> Harness:
            return Harness(MyBackend(), store=my_service.store, present="my:prod", missing="my:nothing")

Needs pytest. Every backend of this project passes the same contract.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import copy
import functools
import gc
import io
import json
import logging
import os
import pickle
import re
import secrets
import threading
import time
import traceback
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    DecryptError,
    InvalidRefError,
    NoCredentialError,
    SecretNotFoundError,
)
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.secrets.protocols import (
    Backend,
    SupportsCheckWrite,
    SupportsClose,
    SupportsCredentialSource,
    SupportsCredentialVariables,
    SupportsDecrypt,
    SupportsDescribe,
    SupportsEncrypt,
    SupportsLogIn,
    SupportsReadMany,
    SupportsRotationRecord,
    SupportsRoute,
    SupportsWrite,
)
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import BUILTIN, credential_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = [
    "BackendContract",
    "Harness",
    "KeyContract",
    "KeyHarness",
    "appearances",
    "encodings",
    "make_token",
    "reachable_text",
]


# What a template, a shell, a parser or a terminal would change.
_HOSTILE = (
    "naïve ✓ 日本 𝄞", "e\u0301", "two\nlines\n", "a\r\nb\r\n", " blanks ", "\t", "'\"\\$`",
    "$(id) ${HOME} %s {0}", "%41%00", "null", "true", "007", "1e3", '{"a": "b"}', "[]",
    "---\na: b\n", "<a>&amp;</a>", "\x1b[31m",
    "\u202ea", "dG9rZW4=", "a=b&c=d#e",
)  # fmt: skip
# A service would read the secret without this end if a name were pasted into a URL, a query or a pattern.
_HOSTILE_ENDS = ("?a=b", "#a", "&a=b", ";a", "%00", "/..", "' OR '1'='1", "*", " ")
_LATE = 2.5  # seconds


def make_token(
    *,
    organization: str | None = "clorg0000000000000000",
    workspace: str | None = "clws00000000000000000",
    deployment: str | None = None,
    expires_in: float | None = 90 * 86400,
    issued_ago: float = 60,
    token_id: str | None = None,
    **claims: Any,
) -> str:
    """
    Create a token in Astro's form, with a random signature and, if none is given, a random id.

    Args:
        expires_in: seconds from now, negative for an expired token; None for one that never expires.
        issued_ago: seconds.
        claims: replace or add claims; None leaves one out.
    """
    now = int(time.time())
    names = {"organizationId": organization, "workspaceId": workspace, "deploymentId": deployment}
    payload: dict[str, Any] = {
        # First, so that the beginnings of two tokens differ early.
        "apiTokenId": token_id or f"cltk{secrets.token_hex(10)}",
        "iss": "https://auth.astronomer.io/",
        "iat": now - int(issued_ago),
        "isAstronomerGenerated": True,
        "permissions": [f"{kind}:{name}" for kind, name in names.items() if name],
    }
    if expires_in is not None:
        payload["exp"] = now + int(expires_in)
    payload = {name: value for name, value in {**payload, **claims}.items() if value is not None}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, payload)]
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, secrets.token_bytes(256))
    )


@dataclass(frozen=True)
class Harness:
    """
    A backend with its service, for the contract.

    Attributes:
        backend: ready to use.
        store: stores bytes under `present` without the backend.
        present: a reference without a field.
        missing: a reference to a secret that does not exist.
        writable: the same, for one that the backend may create; None if it cannot or must not.
        wrapped: the service keeps a map, so that a stored text is read as the only field of a JSON object.
        denied: within it the service denies access to `present`; None if it cannot.
        without_credential: within it no credential is configured for the service; None if it needs none.
        unavailable: within it the service answers that it is unavailable; None if it cannot.
        silent: within it the service does not answer for at least three seconds; None if reading is local.
    """

    backend: Backend
    store: Callable[[bytes], None]
    present: str
    missing: str
    writable: str | None = None
    wrapped: bool = False
    denied: Callable[[], AbstractContextManager[object]] | None = None
    without_credential: Callable[[], AbstractContextManager[object]] | None = None
    unavailable: Callable[[], AbstractContextManager[object]] | None = None
    silent: Callable[[], AbstractContextManager[object]] | None = None


class BackendContract:
    """
    The public contract. A test class inherits it and defines a fixture `harness`.

    Only text is stored, because not every service keeps bytes.
    """

    timeout = 10.0

    def read(self, harness: Harness, ref: str) -> SecretValue:
        return harness.backend.read(SecretRef.parse(ref), timeout=self.timeout)

    def revealed(self, harness: Harness, value: SecretValue) -> bytes:
        from astro_token.secrets.fields import select_field

        return select_field(value, None).reveal() if harness.wrapped else value.reveal()

    def test_it_is_a_backend(self, harness: Harness) -> None:
        assert isinstance(harness.backend, Backend)

    def test_it_reads_what_was_stored(self, harness: Harness) -> None:
        for text in (make_token(), "x", "a" * 8000):
            self.store_and_compare(harness, text)

    def test_it_keeps_unicode_and_hostile_text(self, harness: Harness) -> None:
        for text in _HOSTILE:
            self.store_and_compare(harness, text)

    def store_and_compare(self, harness: Harness, text: str) -> None:
        harness.store(text.encode())
        assert text.encode() == self.revealed(harness, self.read(harness, harness.present))

    def test_it_reads_the_newest(self, harness: Harness) -> None:
        for _ in range(2):
            token = make_token()
            harness.store(token.encode())
            assert token.encode() == self.revealed(harness, self.read(harness, harness.present))

    def test_it_names_the_version_or_none(self, harness: Harness) -> None:
        harness.store(make_token().encode())
        version = self.read(harness, harness.present).version
        assert version is None or (version != "" and version.isprintable())

    def test_what_is_missing_is_not_found(self, harness: Harness) -> None:
        error = self.failure(harness, harness.missing)
        assert type(error) is SecretNotFoundError
        assert error.exit_code == 66

    def test_a_version_stays_readable_if_the_backend_takes_one(self, harness: Harness) -> None:
        stored = []
        for _ in range(2):
            token = make_token()
            harness.store(token.encode())
            version = self.read(harness, harness.present).version
            stored.append((token, version, _at_version(harness.present, version)))
        for token, version, ref in stored:
            if ref is None:
                return
            try:
                value = self.read(harness, ref)
            except InvalidRefError:  # it names the version, and reads the newest one only
                return
            assert (token.encode(), version) == (self.revealed(harness, value), value.version)

    def test_a_name_is_not_a_path_or_a_query(self, harness: Harness) -> None:
        token = make_token()
        harness.store(token.encode())
        present = SecretRef.parse(harness.present)
        for end in _HOSTILE_ENDS:
            try:
                ref = SecretRef(present.scheme, present.name + end, None, present.options)
                harness.backend.read(ref, timeout=self.timeout)
            except (InvalidRefError, SecretNotFoundError, AccessDeniedError) as error:
                assert appearances(token, reachable_text(_beyond_here(error))) == []
            else:
                raise AssertionError(f"a name that ends with {end} reads the secret without that end")

    def test_a_denial_is_denied(self, harness: Harness) -> None:
        error = self.check_outage(harness, harness.denied, AccessDeniedError)
        assert not isinstance(error, NoCredentialError), "a chain would continue after a denial"

    def test_a_missing_credential_is_no_denial(self, harness: Harness) -> None:
        self.check_outage(harness, harness.without_credential, NoCredentialError)

    def test_an_unavailable_service_can_be_tried_again(self, harness: Harness) -> None:
        self.check_outage(harness, harness.unavailable, BackendUnavailableError)

    def test_a_silent_service_is_left_at_the_deadline(self, harness: Harness) -> None:
        start = time.monotonic()
        self.check_outage(harness, harness.silent, BackendUnavailableError, timeout=0.5)
        assert harness.silent is None or time.monotonic() - start < _LATE, "the timeout was ignored"

    def check_outage(
        self,
        harness: Harness,
        outage: Callable[[], AbstractContextManager[object]] | None,
        expected: type[AstroTokenError],
        *,
        timeout: float | None = None,
    ) -> AstroTokenError | None:
        """Check and return the error within an outage. It holds no secret, and ends with the outage."""
        if outage is None:
            return None
        token = make_token()
        harness.store(token.encode())
        ref = SecretRef.parse(harness.present)
        error: AstroTokenError | None = None
        with outage():
            try:
                harness.backend.read(ref, timeout=timeout or self.timeout)
            except AstroTokenError as raised:
                error = raised
        assert isinstance(error, expected), f"{type(error).__name__} in place of {expected.__name__}"
        assert error.__cause__ is None
        assert error.__context__ is None
        assert "\n" not in error.message + (error.hint or "")
        assert appearances(token, reachable_text(_beyond_here(error))) == []
        assert token.encode() == self.revealed(harness, self.read(harness, harness.present))
        return error

    def test_an_unknown_option_is_refused(self, harness: Harness) -> None:
        harness.store(make_token().encode())
        backend, seconds = harness.backend, self.timeout
        _check_options(harness.present, lambda ref: backend.read(ref, timeout=seconds))
        if isinstance(backend, SupportsDescribe):
            _check_options(harness.present, lambda ref: backend.describe(ref, timeout=seconds))
        if isinstance(backend, SupportsWrite) and harness.writable is not None:
            value = self.as_stored(harness, make_token())
            _check_options(
                harness.writable,
                lambda ref: backend.write(ref, value, expected_version=None, timeout=seconds),
            )

    def test_an_error_is_one_line_and_keeps_no_other_exception(self, harness: Harness) -> None:
        error = self.failure(harness, harness.missing)
        assert "\n" not in error.message + (error.hint or "")
        assert error.__cause__ is None
        assert error.__context__ is None

    def test_an_error_holds_nothing_of_the_secret(self, harness: Harness) -> None:
        token = make_token()
        harness.store(token.encode())
        self.read(harness, harness.present)
        error = self.failure(harness, harness.missing)
        assert appearances(token, reachable_text(error)) == []

    def test_the_value_cannot_print_itself(self, harness: Harness) -> None:
        token = make_token()
        harness.store(token.encode())
        value = self.read(harness, harness.present)
        shown = f"{value} {value!r} {[value]}"
        assert appearances(token, shown) == []
        for escape in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
            with contextlib.suppress(TypeError):
                escape(value)
                raise AssertionError("the value could be copied")

    def test_nothing_is_logged_of_the_value_at_any_level(self, harness: Harness) -> None:
        token = make_token()
        harness.store(token.encode())
        records: list[str] = []
        with _recording(records):
            self.read(harness, harness.present)
        assert appearances(token, "\n".join(records)) == []

    def test_threads_may_share_it(self, harness: Harness) -> None:
        token = make_token()
        harness.store(token.encode())

        def read(ref: str) -> bytes:
            try:
                return self.revealed(harness, self.read(harness, ref))
            except SecretNotFoundError:
                return b""

        refs = (harness.present, harness.missing) * 4
        outcomes = _in_threads([functools.partial(read, ref) for ref in refs], self.timeout)
        assert [b""] * 4 + [token.encode()] * 4 == sorted(outcomes)

    def test_reading_many_has_a_result_for_each(self, harness: Harness) -> None:
        if not isinstance(harness.backend, SupportsReadMany):
            return
        token = make_token()
        harness.store(token.encode())
        refs = [SecretRef.parse(ref) for ref in (harness.missing, harness.present)]
        results = harness.backend.read_many(refs, timeout=self.timeout)
        assert set(results) == set(refs), "a reference has no result"
        missing, present = (results[ref] for ref in refs)
        assert type(missing) is SecretNotFoundError
        assert isinstance(present, SecretValue)
        assert token.encode() == self.revealed(harness, present)
        assert present.version == self.read(harness, harness.present).version

    def test_a_description_holds_no_value(self, harness: Harness) -> None:
        if not isinstance(harness.backend, SupportsDescribe):
            return
        token = make_token()
        harness.store(token.encode())
        metadata = harness.backend.describe(SecretRef.parse(harness.present), timeout=self.timeout)
        assert isinstance(metadata, SecretMetadata)
        assert metadata.version == self.read(harness, harness.present).version
        assert appearances(token, repr(metadata)) == []
        try:
            harness.backend.describe(SecretRef.parse(harness.missing), timeout=self.timeout)
        except SecretNotFoundError:
            return
        raise AssertionError("a missing secret was described")

    def test_the_check_of_a_write_writes_nothing(self, harness: Harness) -> None:
        backend = harness.backend
        if not isinstance(backend, SupportsCheckWrite) or harness.writable is None:
            return
        assert isinstance(backend, SupportsWrite)
        ref, token = SecretRef.parse(harness.writable), make_token()
        backend.check_write(ref, timeout=self.timeout)  # of a secret that does not exist yet
        version = backend.write(
            ref, self.as_stored(harness, token), expected_version=None, timeout=self.timeout
        )
        backend.check_write(ref, timeout=self.timeout)
        value = self.read(harness, harness.writable)
        assert (version, token.encode()) == (value.version, self.revealed(harness, value))

    def test_its_credential_variables_are_names(self, harness: Harness) -> None:
        if isinstance(harness.backend, SupportsCredentialVariables):
            names = harness.backend.credential_variables()
            assert not isinstance(names, str), "return a collection of names"
            assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in names)

    def test_writing_creates_and_replaces_and_compares(self, harness: Harness) -> None:
        backend = harness.backend
        if not isinstance(backend, SupportsWrite) or harness.writable is None:
            return
        ref = SecretRef.parse(harness.writable)
        first, second, third = (make_token() for _ in range(3))

        def write(token: str, expected: str | None) -> str:
            return backend.write(
                ref, self.as_stored(harness, token), expected_version=expected, timeout=self.timeout
            )

        created = write(first, "0")
        assert first.encode() == self.revealed(harness, self.read(harness, harness.writable))
        assert created == self.read(harness, harness.writable).version
        replaced = write(second, created)
        assert replaced != created
        try:
            write(third, created)
        except BackendUnavailableError as error:
            assert appearances(third, reachable_text(_beyond_here(error))) == []
        else:
            raise AssertionError("a stale version was accepted")
        assert second.encode() == self.revealed(harness, self.read(harness, harness.writable))
        write(third, None)
        assert third.encode() == self.revealed(harness, self.read(harness, harness.writable))

    def test_the_record_of_a_rotation_is_a_secret_of_its_own(self, harness: Harness) -> None:
        backend = harness.backend
        if not isinstance(backend, SupportsRotationRecord) or harness.writable is None:
            return
        assert isinstance(backend, SupportsWrite)
        ref = SecretRef.parse(harness.writable).without_field()
        record = backend.rotation_record(ref)
        assert (record.scheme, record.field, record.pinned) == (ref.scheme, None, False)
        assert record != ref
        token = make_token()
        backend.write(ref, self.as_stored(harness, token), expected_version=None, timeout=self.timeout)
        content = {"format": 1, "pending": {"id": "cl1", "value": make_token()}, "revoke_after": make_token()}
        secret = SecretValue(json.dumps(content).encode())
        backend.write(record, secret, expected_version=None, timeout=self.timeout)
        assert json.loads(backend.read(record, timeout=self.timeout).reveal()) == content
        assert token.encode() == self.revealed(harness, self.read(harness, harness.writable))

    def test_the_description_of_its_credential_holds_none(self, harness: Harness) -> None:
        token = make_token()
        harness.store(token.encode())
        records: list[str] = []
        with _recording(records):
            _check_descriptions(harness.backend, SecretRef.parse(harness.present), token, self.timeout)
            assert token.encode() == self.revealed(harness, self.read(harness, harness.present))
        assert appearances(token, "\n".join(records)) == []

    def test_closing_twice_is_harmless(self, harness: Harness) -> None:
        if isinstance(harness.backend, SupportsClose):
            start = time.monotonic()
            harness.backend.close()
            harness.backend.close()
            assert time.monotonic() - start < _LATE, "closing took too long"

    def as_stored(self, harness: Harness, token: str) -> SecretValue:
        text = json.dumps({"token": token}) if harness.wrapped else token
        return SecretValue(text.encode())

    def failure(self, harness: Harness, ref: str) -> AstroTokenError:
        try:
            self.read(harness, ref)
        except AstroTokenError as error:
            return error
        raise AssertionError(f"{ref} was read")


@dataclass(frozen=True)
class KeyHarness:
    """
    A key service, for its contract.

    Attributes:
        backend: ready to use.
        key: a reference to a key that may encrypt and decrypt.
        other: a reference to another such key.
        missing: a reference to a key that does not exist.
    """

    backend: SupportsDecrypt
    key: str
    other: str
    missing: str


class KeyContract:
    """The public contract of a key service, used like `BackendContract`."""

    timeout = 10.0

    def encrypt(self, harness: KeyHarness, text: str, key: str | None = None) -> bytes:
        assert isinstance(harness.backend, SupportsEncrypt)
        return harness.backend.encrypt(
            SecretRef.parse(key or harness.key), SecretValue(text.encode()), timeout=self.timeout
        )

    def decrypt(self, harness: KeyHarness, ciphertext: bytes, key: str | None = None) -> SecretValue:
        return harness.backend.decrypt(SecretRef.parse(key or harness.key), ciphertext, timeout=self.timeout)

    def refusal(self, harness: KeyHarness, ciphertext: bytes, key: str, secret: str) -> AstroTokenError:
        """Return the error, after a check that it holds neither the secret nor an SDK's exception."""
        try:
            self.decrypt(harness, ciphertext, key)
        except AstroTokenError as error:
            assert appearances(secret, reachable_text(_beyond_here(error))) == []
            assert "\n" not in error.message + (error.hint or "")
            assert error.__cause__ is None
            assert error.__context__ is None
            return error
        raise AssertionError("it was decrypted")

    def test_it_is_a_key_service(self, harness: KeyHarness) -> None:
        assert isinstance(harness.backend, SupportsDecrypt)
        assert not isinstance(harness.backend, Backend)

    def test_what_it_encrypts_it_decrypts(self, harness: KeyHarness) -> None:
        for text in (make_token(), "x", "naïve ✓ 日本", "two\nlines\n", "a" * 3500):
            ciphertext = self.encrypt(harness, text)
            assert len(text) < 2 or text.encode() not in ciphertext
            assert text.encode() == self.decrypt(harness, ciphertext).reveal()

    def test_the_ciphertext_of_two_times_differs(self, harness: KeyHarness) -> None:
        token = make_token()
        assert self.encrypt(harness, token) != self.encrypt(harness, token)

    def test_it_survives_being_stored_as_text(self, harness: KeyHarness) -> None:
        from astro_token.secrets.ciphertext import decode_ciphertext, encode_ciphertext

        token = make_token()
        stored = encode_ciphertext(self.encrypt(harness, token))
        assert stored.reveal().isascii()
        wrapped = SecretValue(b"\n".join(re.findall(rb".{1,64}", stored.reveal())) + b"\n")
        is_base64 = not any(mark in stored.reveal() for mark in b".:")
        for text in (stored, wrapped) if is_base64 else (stored,):
            assert token.encode() == self.decrypt(harness, decode_ciphertext(text)).reveal()

    def test_the_ciphertext_of_another_key_is_refused(self, harness: KeyHarness) -> None:
        token = make_token()
        error = self.refusal(harness, self.encrypt(harness, token, harness.other), harness.key, token)
        assert type(error) is DecryptError

    def test_a_damaged_ciphertext_is_refused(self, harness: KeyHarness) -> None:
        token = make_token()
        ciphertext = self.encrypt(harness, token)
        middle = len(ciphertext) // 2
        changed = ciphertext[:middle] + bytes([ciphertext[middle] ^ 1]) + ciphertext[middle + 1 :]
        for damaged in (changed, ciphertext[: middle * 2 - 20], b"", b"nonsense"):
            assert type(self.refusal(harness, damaged, harness.key, token)) is DecryptError

    def test_a_missing_key_is_refused(self, harness: KeyHarness) -> None:
        token = make_token()
        error = self.refusal(harness, self.encrypt(harness, token), harness.missing, token)
        # A ciphertext that names its own key fits no other key, whether or not the other key exists.
        assert type(error) in {SecretNotFoundError, DecryptError}

    def test_an_unknown_option_is_refused(self, harness: KeyHarness) -> None:
        ciphertext = self.encrypt(harness, make_token())
        _check_options(
            harness.key, lambda ref: harness.backend.decrypt(ref, ciphertext, timeout=self.timeout)
        )

    def test_nothing_is_logged_of_the_value_at_any_level(self, harness: KeyHarness) -> None:
        token = make_token()
        records: list[str] = []
        with _recording(records):
            self.decrypt(harness, self.encrypt(harness, token))
        assert appearances(token, "\n".join(records)) == []

    def test_the_description_of_its_credential_holds_none(self, harness: KeyHarness) -> None:
        token = make_token()
        records: list[str] = []
        with _recording(records):
            ciphertext = self.encrypt(harness, token)
            _check_descriptions(harness.backend, SecretRef.parse(harness.key), token, self.timeout)
            assert token.encode() == self.decrypt(harness, ciphertext).reveal()
        assert appearances(token, "\n".join(records)) == []

    def test_threads_may_share_it(self, harness: KeyHarness) -> None:
        token = make_token()
        ciphertext = self.encrypt(harness, token)
        decrypted = _in_threads([lambda: self.decrypt(harness, ciphertext).reveal()] * 4, self.timeout)
        assert [token.encode()] * 4 == decrypted


def _check_options(text: str, call: Callable[[SecretRef], object]) -> None:
    """Check that a call refuses an option that no backend has. A scheme's grammar may refuse it first."""
    try:
        call(SecretRef.parse(f"{text}{'&' if '?' in text else '?'}no-such-option=1"))
    except InvalidRefError:
        return
    raise AssertionError("an unknown option was ignored; raise InvalidRefError")


def _at_version(text: str, version: str | None) -> str | None:
    """Return a reference to a version; None if the backend names none, or takes no option for it."""
    scheme = BUILTIN.get(text.partition(":")[0])
    option = "version" if scheme is None else scheme.version_option
    return f"{text}{'&' if '?' in text else '?'}{option}={version}" if option and version else None


def _in_threads(calls: Sequence[Callable[[], bytes]], seconds: float) -> list[bytes]:
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda call=call: results.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return results


# -- descriptions of a backend -------------------------------------------------------------------


def _check_descriptions(backend: object, ref: SecretRef, secret: str, timeout: float) -> None:
    """Check that descriptions are one line, the same after a login, and without a secret."""
    before, after = (_descriptions(backend, ref, timeout) for _ in range(2))
    assert before == after
    for text in before:
        assert text
        assert text.isprintable()
        assert appearances(secret, text) == []
        held = (name for name in credential_variables() if _HELD.search(name))
        assert not [name for name in held if len(os.environ.get(name, "")) >= 8 and os.environ[name] in text]


def _descriptions(backend: object, ref: SecretRef, timeout: float) -> list[str]:
    descriptions = []
    if isinstance(backend, SupportsRoute):
        descriptions.append(backend.route(ref).address.origin)
    if isinstance(backend, SupportsCredentialSource):
        descriptions.append(backend.credential_source(ref, timeout=timeout))
    if isinstance(backend, SupportsLogIn):
        backend.log_in(ref, timeout=timeout)
    return descriptions


# Variables that hold a credential itself; the others hold the name of its file or service, which is shown.
_HELD = re.compile(r"(?:KEY|SECRET|TOKEN|PASSWORD|KEY_ID|ROLE_ID|USERNAME|SECRET_ID|HEADER)$")


# -- a secret in text and objects ----------------------------------------------------------------


def encodings(secret: str) -> dict[str, str]:
    """
    Return the encoded forms of a secret by name.

    They include the parts of a long secret, down to 24 characters;
    of a token only parts that differ between any two tokens.
    """
    from urllib.parse import quote

    data = secret.encode()
    forms = {"raw": secret, "reversed": secret[::-1], "url": quote(secret, safe="")}
    forms["hex"], forms["HEX"] = data.hex(), data.hex().upper()
    forms["json"] = json.dumps(secret)[1:-1]
    for offset in range(3):  # base64 of a text that has the secret anywhere in it
        middle = base64.b64encode(b"\0" * offset + data)[4:-4].decode()
        forms[f"base64+{offset}"] = middle
        forms[f"base64url+{offset}"] = middle.translate(str.maketrans("+/", "-_"))
    half = len(secret) // 2
    forms["first half"], forms["second half"] = secret[:half], secret[half:]
    random = secret
    if secret.count(".") == 2:
        for number, part in enumerate(secret.split(".")[1:], 2):
            forms[f"part {number}"] = random = part
            forms[f"start of part {number}"] = part[:48]
    fragments = (random[start : start + _FRAGMENT] for start in range(0, len(random), _FRAGMENT))
    forms |= {f"fragment {number}": fragment for number, fragment in enumerate(fragments)}
    return {name: form for name, form in forms.items() if len(form) >= _FRAGMENT or name == "raw"}


_FRAGMENT = 24  # shorter ones could be there by chance
# What wraps and widens a text: line ends, also of quoted-printable and of JSON, and the zeros of UTF-16.
_WRAPPING = re.compile(r"=?[\r\n]+|\\[rn]|\0")


def appearances(secret: str, text: str) -> list[str]:
    """Return the names of the forms of a secret that a text contains, also across line ends."""
    texts = {text, _WRAPPING.sub("", text)}
    return [name for name, form in encodings(secret).items() if any(form in text for text in texts)]


def reachable_text(error: BaseException) -> str:
    """
    Return all text that an exception leads to: its own, that of its causes, and the locals of every frame.

    A SecretValue may hold a secret, so its content is skipped.
    """
    texts = ["".join(traceback.format_exception(error))]
    seen: dict[int, object] = {}  # also keeps them alive, so that no number is given twice
    queue: collections.deque[object] = collections.deque([error])
    while queue and len(seen) < _MOST_OBJECTS:
        item = queue.popleft()
        if id(item) in seen:
            continue
        kind = type(item)
        if kind not in _COMMON and isinstance(item, (SecretValue, type)):
            continue
        seen[id(item)] = item
        if kind in _WITHOUT_TEXT:
            continue
        if type(item) is dict:  # the collector does not report its keys
            queue.extend(item)
            queue.extend(item.values())
        elif type(item) is list or type(item) is tuple:
            queue.extend(item)
        elif isinstance(item, str):
            texts.append(item)
        elif isinstance(item, bytes | bytearray | memoryview):
            texts.append(bytes(item).decode("latin-1"))
        elif isinstance(item, io.BytesIO | io.StringIO):
            queue.append(item.getvalue() if not item.closed else None)
        elif isinstance(item, dict):  # the collector does not report its keys
            queue.extend([*item.keys(), *item.values()])
        elif isinstance(item, types.TracebackType):
            queue.extend([*item.tb_frame.f_locals.values(), item.tb_next])
        elif isinstance(item, BaseException):  # some members are in no dictionary, such as the name of a file
            queue.extend([*vars(item).values(), *gc.get_referents(item), item.__traceback__])
        elif _holds_data(item):
            queue.extend(gc.get_referents(item))
    return "\n".join(texts)


_MOST_OBJECTS = 50_000
# Nearly all objects are of these types, which are looked up and not compared with one class after the other.
_WITHOUT_TEXT = frozenset({int, float, bool, type(None)})
_COMMON = _WITHOUT_TEXT | {str, bytes, dict, list, tuple}


def _beyond_here(error: BaseException) -> BaseException:
    """Drop the frames of this module, which hold the test's own secret."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return error.with_traceback(frames)


def _holds_data(item: object) -> bool:
    """
    True for containers and objects of ordinary classes. Others lead to every object of the process.

    The environment is skipped, because all code can reach it.
    """
    if callable(item) or isinstance(
        item, types.ModuleType | types.FrameType | types.CodeType | type(os.environ)
    ):
        return False
    return type(item).__module__ not in {"_thread", "threading", "logging"}


@contextlib.contextmanager
def _recording(records: list[str]) -> Iterator[None]:
    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(f"{record.getMessage()} {record.args}")

    root, recorder = logging.getLogger(), Recorder(level=0)
    level = root.level
    root.addHandler(recorder)
    root.setLevel(0)
    try:
        yield
    finally:
        root.removeHandler(recorder)
        root.setLevel(level)
