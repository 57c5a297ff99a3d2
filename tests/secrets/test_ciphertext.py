"""Ciphertext in a place for text: what is stored, and what a key service gets back."""

from __future__ import annotations

import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.secret import SecretValue
from astro_token.secrets.ciphertext import decode_ciphertext, encode_ciphertext, is_ciphertext
from astro_token.testing import make_token
from tests.rows import each_row

BLOB = b"\x01\x02\x02\x00" + bytes(range(256))
TRANSIT = b"vault:v1:" + base64.b64encode(BLOB)
JWE = b"eyJhbGciOiJSU0EtT0FFUC0yNTYifQ.a_b.c-d.e.f"


@given(
    st.one_of(st.binary(max_size=200), st.text(alphabet="abcdef0123456789+/=", max_size=80).map(str.encode))
)
def test_whatever_a_key_service_gives_comes_back(ciphertext: bytes) -> None:
    assert ciphertext == decode_ciphertext(encode_ciphertext(ciphertext))


@given(st.binary(min_size=1, max_size=300).map(lambda tail: b"\x01" + tail))
def test_binary_ciphertext_is_stored_as_base64_and_comes_back(blob: bytes) -> None:
    stored = encode_ciphertext(blob)
    assert base64.b64encode(blob) == stored.reveal()
    assert blob == decode_ciphertext(stored)


@pytest.mark.parametrize("text", [TRANSIT, JWE])
def test_ciphertext_that_is_text_is_stored_as_it_is_and_comes_back(text: bytes) -> None:
    assert text == encode_ciphertext(text).reveal() == decode_ciphertext(encode_ciphertext(text))


@each_row(
    "stored",
    [
        base64.b64encode(BLOB),
        base64.encodebytes(BLOB),
        base64.b64encode(BLOB) + b"\r\n",
        b"\n  " + textwrap.fill(base64.b64encode(BLOB).decode(), 64).encode() + b"\n",
        BLOB,
    ],
)
def test_base64_in_any_layout_and_raw_bytes_are_the_same(stored: bytes) -> None:
    assert BLOB == decode_ciphertext(SecretValue(stored))


@each_row("stored", [b"", b"abcde", b"ab=c", b"a.b", TRANSIT + b"\n"])
def test_what_is_no_base64_is_left_as_it_is(stored: bytes) -> None:
    assert stored == decode_ciphertext(SecretValue(stored))


@each_row("stored", [TRANSIT, JWE, BLOB, base64.b64encode(BLOB), TRANSIT + b"\n"])
def test_ciphertext_is_recognised(stored: bytes) -> None:
    assert is_ciphertext(SecretValue(stored))


@each_row(
    "stored",
    [
        b"a.b.c",
        b"deadbeefdeadbeef" * 8,
        b"\x1f\x8b\x08\x00" + bytes(200),
        base64.b64encode(bytes(range(255, 100, -1))),
        "a token ✓".encode("utf-16"),
        b"",
        b"password",
        b'{"token": "x"}',
        "naïve ✓".encode(),
        b"cGFzc3dvcmQ=",
    ],
)
def test_plain_text_is_none(stored: bytes) -> None:
    assert not is_ciphertext(SecretValue(make_token().encode()))
    assert not is_ciphertext(SecretValue(stored))
