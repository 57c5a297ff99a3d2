"""The filter of `exec --mask`: no form of the secret goes out, everything else does, and at once."""

from __future__ import annotations

import base64
import json
import random
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.masker.filter import MASK, Filter
from astro_token.masker.forms import forms
from astro_token.testing import appearances, make_token
from tests.timing import SLACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPLITS = 3000
TOKEN = make_token()


def wrapped(text: bytes, width: int, end: bytes = b"\n") -> bytes:
    return end.join(re.findall(rb".{1,%d}" % width, text))


def coloured(text: bytes, size: int, colour: bytes = b"\x1b[01;31m") -> bytes:
    """Pieces of a text in a colour, as a search or a highlighter shows them."""
    return b"".join(
        b"%s\x1b[K%s\x1b[m" % (colour, text[at : at + size]) if at // size % 2 else text[at : at + size]
        for at in range(0, len(text), size)
    )


def part(number: int) -> Callable[[bytes], bytes]:
    return lambda token: token.split(b".")[number - 1]


def among(before: int, encode: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda token: encode(b"user:"[:before] + token + b" behind")


# Made by the standard library and by hand, not by the code under test.
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "bearer": lambda token: b"Authorization: Bearer " + token,
    "claims alone": part(2),
    "signature alone": part(3),
    "without its header": lambda token: token.partition(b".")[2],
    "url": lambda token: quote(token, safe="").encode(),
    "json": lambda token: json.dumps({"token": token.decode()}).encode(),
    "hex": lambda token: token.hex().encode(),
    "HEX": lambda token: token.hex().upper().encode(),
    "hex of the claims": lambda token: part(2)(token).hex().encode(),
    **{f"base64+{before}": among(before, base64.b64encode) for before in range(3)},
    **{f"base64url+{before}": among(before, base64.urlsafe_b64encode) for before in range(3)},
    "base64 of the claims": lambda token: base64.b64encode(part(2)(token)),
    "base64 of the signature": lambda token: base64.urlsafe_b64encode(b"ab" + part(3)(token)),
    "base64 in lines of 76": lambda token: base64.encodebytes(b"u:" + token),
    "base64 in lines of 64, CRLF": lambda token: wrapped(base64.b64encode(token), 64, b"\r\n"),
    "hex in lines of 60": lambda token: wrapped(token.hex().encode(), 60),
    "folded at 20": lambda token: wrapped(token, 20),
    "with colours in it": lambda token: coloured(token, 30),
    "base64 with colours in it": lambda token: coloured(base64.b64encode(token), 100, b"\x1b[38;5;208m"),
    "with colours and in lines": lambda token: coloured(wrapped(token, 80), 40),
    "a byte on a line": lambda token: wrapped(token, 1, b"\r\n"),
}


def pieces(data: bytes, source: random.Random) -> Iterator[bytes]:
    """The data in pieces: of a byte, of a few, or in two or three."""
    most = source.choice([1, 3, 17, 200, len(data)])
    while data:
        size = source.randint(1, most)
        yield data[:size]
        data = data[size:]


def through(filter_: Filter, parts: Iterator[bytes]) -> bytes:
    return b"".join([*map(filter_.feed, parts), filter_.end()])


# -- what goes out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODINGS)
def test_no_form_of_a_token_goes_out_however_it_is_split(name: str) -> None:
    """A part of the splits for each encoding, of which all are in `make test-long`."""
    assert [] == leaks(name, SPLITS // 50)


@pytest.mark.long
@pytest.mark.parametrize("name", ENCODINGS)
def test_no_form_of_a_token_goes_out_in_3000_splits(name: str) -> None:
    assert [] == leaks(name, SPLITS)


def leaks(name: str, count: int) -> list[str]:
    """What went out in spite of the filter; without line ends also whatever is not as it has to be."""
    source, known = random.Random(name), forms(TOKEN.encode())  # noqa: S311
    written = ENCODINGS[name](TOKEN.encode())
    given_ = b"before: %s\nbetween: %s behind\n" % (written, written)
    expected = through(Filter(known), iter([given_]))
    assert shown_of(written, given_)
    assert (True, []) == (expected.count(MASK) in {2, 4}, shown_of(written, expected))
    assert re.findall(rb"\x1b\[\d*m", given_)[-1:] == re.findall(rb"\x1b\[\d*m", expected)[-1:]
    assert (b"before: ", b" behind\n") == (expected[:8], expected[-8:])
    found = []
    for number in range(count):
        out = through(Filter(known), pieces(given_, source))
        if shown_of(written, out) or (not {b"\n"[0], b"\x1b"[0]} & set(written) and out != expected):
            found.append(f"{number}: {out!r}")
    return found


def shown_of(written: bytes, out: bytes) -> list[str]:
    """What of an encoded token is in an output: by the oracle of all tests, and half of the very text."""
    written, text = (re.sub(rb"[\r\n]|\x1b\[[0-9;]*[mK]", b"", each) for each in (written, out))
    half = written[len(written) // 4 : -len(written) // 4]
    return (
        appearances(TOKEN, out.decode())
        + appearances(TOKEN, text.decode())
        + (["half"] if half in text else [])
    )


def test_a_filter_that_does_not_look_across_pieces_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filter, "_begun", lambda *_: 0)
    with pytest.raises(AssertionError):
        test_no_form_of_a_token_goes_out_however_it_is_split("raw")


def test_what_stands_around_a_form_stays() -> None:
    token = TOKEN.encode()
    for given_, expected in {
        b"curl -H 'Authorization: Bearer %s' \\\n" % token: b"curl -H 'Authorization: Bearer ***' \\\n",
        b'{"a": "%s", "b": 1}' % token: b'{"a": "***", "b": 1}',
        b"%s%s" % (token, token): b"******",
        b"%s\n%s\n" % (token, token): b"***\n***\n",
        b"\0\xff%s\0\xfe" % token: b"\0\xff***\0\xfe",
        token.partition(b".")[0]: token.partition(b".")[0],  # the header alone tells nothing
        token[:-1] + b"!": token.rpartition(b".")[0].replace(part(2)(token), MASK)
        + b"."
        + part(3)(token)[:-1]
        + b"!",
    }.items():
        assert expected == through(Filter(forms(token)), iter([given_]))


@given(st.binary(max_size=3000), st.lists(st.integers(1, 400), max_size=20))
def test_output_without_the_token_is_not_changed(data: bytes, sizes: list[int]) -> None:
    filter_, out = Filter(forms(TOKEN.encode())), b""
    rest = data
    for size in sizes:
        out += filter_.feed(rest[:size])
        rest = rest[size:]
    assert data == out + filter_.feed(rest) + filter_.end()


TEXTS = st.binary(min_size=8, max_size=60) | st.text(min_size=8, max_size=40).map(str.encode)


@given(TEXTS, st.integers(0, 2**32))
def test_any_value_is_hidden_in_every_encoding(value: bytes, seed: int) -> None:
    """Also one that no token can be, with lines, quotes and bytes that are no text."""
    filter_ = Filter(forms(value))
    source = random.Random(seed)  # noqa: S311
    line = max(value.splitlines(), key=len)
    for written in (
        value,
        line.strip(),
        base64.b64encode(b"x" * (seed % 3) + value + b"yyy"),
        value.hex().encode(),
        quote(value, safe="").encode(),
        re.sub("%..", lambda found: found[0].lower(), quote(value)).encode(),
        json.dumps(value.decode(errors="replace")).encode(),
        json.dumps(value.decode(errors="replace"), ensure_ascii=False).encode(),
    ):
        given_ = b"[" + written + b"]"
        out = through(filter_, pieces(given_, source))
        if len(re.sub(rb"[\r\n]", b"", written)) >= 8:
            assert MASK in out, written
        assert out[:1] + out[-1:] == b"[]"


def test_values_and_lines_of_fewer_than_8_characters_are_left_alone() -> None:
    assert frozenset() == forms(b"123")
    assert b"1234 1234567 ***" == through(
        Filter(forms(b"1234567\n12345678\n1234")), iter([b"1234 1234567 12345678"])
    )
    assert b"anything" == through(Filter(forms(b"")), iter([b"anything"]))


# -- what is held back ------------------------------------------------------------------------------


def test_at_most_the_longest_form_less_a_byte_is_held_back() -> None:
    known = forms(TOKEN.encode())
    longest = max(map(len, known))
    for form in known:
        filter_ = Filter(known)
        out, most = 0, 0
        for number in range(len(form) - 1):
            out += len(filter_.feed(form[number : number + 1]))
            most = max(most, number + 1 - out)
        assert most <= longest - 1
        assert MASK == filter_.feed(form[-1:] + b"\n")[:3]


def test_what_cannot_begin_a_form_goes_out_at_once() -> None:
    filter_ = Filter(forms(TOKEN.encode()))
    token = TOKEN.encode()
    other = make_token().encode()
    same = next(at for at in range(len(token)) if token[at] != other[at])
    assert b"Password: " == filter_.feed(b"Password: ")
    assert b"a line " == filter_.feed(b"a line " + token[:300])
    assert b"" == filter_.feed(token[300:500])
    assert token[:500].replace(part(2)(token), MASK) + b"!" == filter_.feed(b"!")
    assert b"" == filter_.feed(other[:same])
    assert other[: same + 1] + b"!" == filter_.feed(other[same : same + 1] + b"!")
    assert b"" == filter_.end()


def test_the_end_of_a_form_goes_out_with_its_last_byte() -> None:
    for form in forms(TOKEN.encode()):
        filter_ = Filter([form])
        assert (b"", MASK) == (filter_.feed(form[:-1]), filter_.feed(form[-1:]))


def test_no_line_waits_for_the_next_one_because_of_its_last_letters() -> None:
    filter_ = Filter(forms(TOKEN.encode()))
    for size in range(1, 8):
        line = b"a line that ends in " + TOKEN.encode()[:size] + b"\n"
        assert line == filter_.feed(line)
    # A beginning that is longer is none by chance, as in the lines that `base64` writes.
    assert b"a line " == filter_.feed(b"a line " + TOKEN.encode()[:8] + b"\n")


def test_a_pause_shows_less_than_8_bytes_of_a_form_and_hides_the_rest() -> None:
    for form in forms(TOKEN.encode()):
        filter_, out = Filter([form]), b""
        for number in range(len(form)):
            out += filter_.feed(form[number : number + 1])
            assert filter_.waiting == (number + 1 < 8)
            out += filter_.pause()
            assert not filter_.waiting
        assert form[:7] + MASK + b"." == out + filter_.feed(b".") + filter_.end()


def test_at_the_end_goes_out_what_did_not_become_a_form() -> None:
    token = TOKEN.encode()
    filter_ = Filter(forms(token))
    assert (b"so ", token[:100]) == (filter_.feed(b"so " + token[:100]), filter_.end())
    # And of what did the forms in it are hidden.
    begun = token[:-10]
    filter_ = Filter(forms(token))
    assert (b"", begun.replace(part(2)(token), MASK)) == (filter_.feed(begun), filter_.end())


def test_endless_line_ends_are_not_held_back() -> None:
    filter_ = Filter(forms(TOKEN.encode()))
    out = len(filter_.feed(TOKEN.encode()[:20]))
    for number in range(1, 300):
        out += len(filter_.feed(b"\n" * 1000))
        assert 20 + 1000 * number - out < 10 * len(TOKEN)


def test_colours_in_a_form_go_out_behind_its_mask_so_that_none_lasts() -> None:
    token = TOKEN.encode()
    red, off = b"\x1b[31m", b"\x1b[0m"
    for written, expected in {
        red + token + off: red + MASK + off,
        red + token[:300] + off + token[300:] + b" x": red + MASK + off + b" x",
        token[:300] + red + token[300:] + off: MASK + red + off,
        b"plain " + red + b"red" + off + b" plain": b"plain " + red + b"red" + off + b" plain",
    }.items():
        assert expected == through(Filter(forms(token)), iter([written]))
        out = through(Filter(forms(token)), (written[at : at + 1] for at in range(len(written))))
        assert expected == out


def test_what_becomes_a_colour_only_without_another_one_is_text() -> None:
    token, red = TOKEN.encode(), b"\x1b[31m"
    given_ = token + b"\x1b" + red + b"[1;3"
    filter_ = Filter(forms(token))
    assert MASK + given_[len(token) :] == filter_.feed(given_) + filter_.end()
    filter_ = Filter(forms(token))
    assert given_[len(token) :] + MASK == filter_.feed(given_[len(token) :] + token) + filter_.end()


def test_a_beginning_with_a_colour_in_it_is_seen_at_the_end_of_much_output() -> None:
    filter_, token = Filter(forms(TOKEN.encode())), TOKEN.encode()
    much = b"\xff" * 20_000
    assert much == filter_.feed(much + token[:100] + b"\x1b[31m" + token[100:300])
    assert MASK + b"\x1b[31m" == filter_.feed(token[300:])


@pytest.mark.parametrize(
    "sequence", [b"\x1b", b"\x1b[", b"\x1b[1;3", b"\x1b[1;31m", b"\x1b>", b"\x1b[" + b";" * 99]
)
def test_a_colour_that_is_not_whole_is_held_back_only_behind_a_beginning(sequence: bytes) -> None:
    filter_ = Filter(forms(TOKEN.encode()))
    assert b"\xff" + sequence == filter_.feed(b"\xff" + sequence)
    shown = filter_.feed(b"\xff" + TOKEN.encode()[:3] + sequence)
    assert b"\xff" + TOKEN.encode()[:3] + sequence == shown + filter_.pause()
    assert b"" == filter_.end()


@given(
    st.lists(
        st.sampled_from([b"\x1b", b"[", b"1;3", b"m", b"\n", b"e", b"eyJhbGc", b" ", b"\x1b[0m"])
        | st.integers(0, 600).map(lambda at: TOKEN.encode()[at : at + 90]),
        max_size=30,
    )
)
def test_colours_and_beginnings_in_any_order_are_not_changed(parts: list[bytes]) -> None:
    filter_ = Filter([TOKEN.encode()])
    assert b"".join(parts) == b"".join(map(filter_.feed, parts)) + filter_.end()


def test_forms_that_overlap_are_one() -> None:
    filter_ = Filter([b"abcdefgh", b"efghijkl", b"ijklmnop"])
    assert b"-***-" == through(filter_, iter([b"-abcdefghijklmnop-"]))
    for at in range(1, 18):
        filter_ = Filter([b"abcdefgh", b"efghijkl", b"ijklmnop"])
        both = iter([b"-abcdefghijklmnop-"[:at], b"-abcdefghijklmnop-"[at:]])
        assert b"-***-" == through(filter_, both)


# -- its speed --------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "goal"),
    [
        ("text", 200),
        ("base64", 200),
        ("bytes", 200),
        ("short lines", 200),
        ("near misses", 200),
        ("colours on every line", 100),
    ],
)
def test_it_takes_about_200_mb_a_second(kind: str, goal: int) -> None:
    data = material(kind)
    chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    filter_ = Filter(forms(TOKEN.encode()))
    best = min(seconds(lambda: [filter_.feed(chunk) for chunk in chunks]) for _ in range(7))
    speed = len(data) / best / 1e6
    print(f"\n{kind}: {speed:.0f} MB/s")
    assert best < len(data) / goal / 1e6 + SLACK


def material(kind: str) -> bytes:
    source = random.Random(kind)  # noqa: S311
    size = 8 << 20
    words = [bytes(source.choices(range(97, 123), k=source.randint(2, 9))) for _ in range(500)]
    make: dict[str, Callable[[], bytes]] = {
        "text": lambda: b"\n".join(b" ".join(source.choices(words, k=12)) for _ in range(size // 60)),
        "base64": lambda: base64.encodebytes(source.randbytes(size)),
        "bytes": lambda: source.randbytes(size),
        "short lines": lambda: b"y\n" * (size // 2),
        "colours on every line": lambda: b"".join(
            b"\x1b[32mINFO\x1b[0m %s\n" % b" ".join(source.choices(words, k=9)) for _ in range(size // 50)
        ),
        "near misses": lambda: (TOKEN.encode()[:200] + b"!\n") * (size // 200),
    }
    return make[kind]()[:size]


def seconds(call: Callable[[], Any]) -> float:
    """Of this process alone: what else the machine does is no matter."""
    start = time.process_time()
    call()
    return time.process_time() - start
