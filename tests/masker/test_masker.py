"""The filter of `exec --mask`: no form of the secret goes out, everything else does, and at once."""

from __future__ import annotations

import base64
import json
import random
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.masker.filter import MASK, Filter
from astro_token.masker.forms import forms
from astro_token.testing import appearances, make_token
from tests.masker import streams
from tests.timing import SLACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPLITS = 3000
# The tests write `between` and `behind` after its claims, and `b` must not be its next letter. They cut its
# last character, and a dash before that may go out or not.
TOKEN = next(token for token in iter(make_token, "") if ".b" not in token and token[-2].isalnum())


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
    "hex with colons": lambda token: token.hex(":").encode(),
    "hex as `xxd` writes it": lambda token: wrapped(token.hex(" ", 2).encode(), 40),
    "every byte percent-encoded": lambda token: "".join(f"%{byte:02X}" for byte in token).encode(),
    "base64 twice": lambda token: base64.b64encode(base64.b64encode(token)),
    "without its last character": lambda token: token[:-1],
    "with character sets": lambda token: token[:200] + b"\x1b(B" + token[200:],
    "with links": lambda token: token[:90] + b"\x1b]8;;https://x.y\x1b\\" + token[90:],
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
    assert [] == leaks(name, SPLITS // 300)


@pytest.mark.long
@pytest.mark.parametrize("name", ENCODINGS)
def test_no_form_of_a_token_goes_out_in_3000_splits(name: str) -> None:
    assert [] == leaks(name, SPLITS)


def leaks(name: str, count: int) -> list[str]:
    """What went out in spite of the filter; without line ends also whatever is not as it has to be."""
    source = random.Random(name)  # noqa: S311
    written = ENCODINGS[name](TOKEN.encode())
    given_ = b"before: %s\nbetween: %s behind\n" % (written, written)
    expected = through(Filter(TOKEN.encode()), iter([given_]))
    assert shown_of(written, given_)
    assert (True, []) == (expected.count(MASK) in {2, 4}, shown_of(written, expected))
    assert re.findall(rb"\x1b\[\d*m", given_)[-1:] == re.findall(rb"\x1b\[\d*m", expected)[-1:]
    assert (b"before: ", b" behind\n") == (expected[:8], expected[-8:])
    found = []
    for number in range(count):
        out = through(Filter(TOKEN.encode()), pieces(given_, source))
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
    monkeypatch.setattr(Filter, "_open", lambda _, __, data, ___: len(data))
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
        token[:-1].rstrip(b"-_") + b"!": b"***!",
        b"x " + token[:-200].rstrip(b"-_") + b"\n": b"x ***\n",
        b"x " + token[100:].lstrip(b"-_") + b"\n": b"x ***\n",
    }.items():
        assert expected == through(Filter(token), iter([given_]))


@given(st.binary(max_size=3000), st.lists(st.integers(1, 400), max_size=20))
def test_output_without_the_token_is_not_changed(data: bytes, sizes: list[int]) -> None:
    filter_, out = Filter(TOKEN.encode()), b""
    rest = data
    for size in sizes:
        out += filter_.feed(rest[:size])
        rest = rest[size:]
    assert data == out + filter_.feed(rest) + filter_.end()


@given(st.binary(min_size=8, max_size=60) | st.text(min_size=8, max_size=40).map(str.encode))
def test_the_forms_of_any_value_are_listed(value: bytes) -> None:
    """For the masks of CI systems; also of one that no token can be, with lines, quotes and bytes."""
    listed = forms(value)
    for written in (
        value,
        max(value.splitlines(), key=len).strip(),
        value.hex().encode(),
        quote(value, safe="").encode(),
        re.sub("%..", lambda found: found[0].lower(), quote(value)).encode(),
        json.dumps(value.decode(errors="replace"))[1:-1].encode(),
        json.dumps(value.decode(errors="replace"), ensure_ascii=False)[1:-1].encode(),
    ):
        assert (written in listed) == (len(written) >= 8)
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + value + b"yyy")
        assert any(form in encoded for form in listed if len(form) >= 8)
    assert frozenset() == forms(b"123")


ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@given(st.text(ALPHABET, min_size=8, max_size=60), st.integers(0, 2**32))
def test_any_value_is_hidden_in_every_encoding(value: str, seed: int) -> None:
    """Also one that is not a JWT."""
    source = random.Random(seed)  # noqa: S311
    text = value.encode()
    for written in (
        text,
        text.hex().encode(),
        text.hex().upper().encode(),
        text.hex(":").encode(),
        "".join(f"%{byte:02x}" for byte in text).encode(),
        base64.b64encode(b"x" * (seed % 3) + text + b"yyy"),
        base64.b64encode(base64.b64encode(text) + b"yyy"),
        value.encode("utf-16-le"),
        value.encode("utf-16-be"),
        quote(value, safe="").encode(),
        json.dumps({value: "\n"}).encode(),
    ):
        out = through(Filter(text), pieces(b"[" + written + b"]", source))
        assert MASK in out, written
        assert out[:1] + out[-1:] == b"[]"


@pytest.mark.parametrize("form", ["raw", *streams.FORMS])
def test_every_piece_is_found_at_every_offset(form: str) -> None:
    signature = TOKEN.encode().rpartition(b".")[2]
    text, size, _ = streams.FORMS[form](signature) if form != "raw" else (signature, 8, 0)
    for at in range(4, len(text) - size - 4):  # the first and last characters of base64 depend on others
        piece = text[at : at + size]
        if piece.isalnum():
            for offset in range(4):
                before = re.sub(rb"[^A-Za-z0-9]", b"", text[:at])[-1:]  # other characters do not count
                given_ = (b"y" if before == b"z" else b"z") * offset + b" %s." % piece
                assert given_.replace(piece, MASK) == through(Filter(TOKEN.encode()), iter([given_]))


@pytest.mark.parametrize("width", range(1, 8))
def test_a_few_characters_on_each_line_of_a_large_output(width: int) -> None:
    """Line ends are not letters."""
    log = streams.large_log()[: 30_000 + width]
    for written in (TOKEN.encode(), TOKEN.encode().hex().encode(), base64.b64encode(TOKEN.encode())):
        filter_ = Filter(TOKEN.encode())
        out = filter_.feed(log + b"\n" + wrapped(written, width) + b"\n" + log) + filter_.end()
        assert (log, log) == (out[: len(log)], out[-len(log) :])
        assert not out[len(log) : -len(log)].translate(None, b"*=\n")


def test_dashes_and_dots_may_be_percent_encoded() -> None:
    token = TOKEN.encode()
    upper = token.replace(b"-", b"%2D").replace(b".", b"%2E").replace(b"_", b"%5F")
    for written in (upper, upper.replace(b"%2D", b"%2d").replace(b"%5F", b"%5f")):
        shown = unquote(through(Filter(token), iter([b"/" + written + b"?"])).decode()).encode()
        windows = (token[at : at + 24] for at in range(len(token) - 24))
        # An encoded dash ends a piece, and a token may have one in each few letters.
        assert not [each for each in windows if re.search(rb"[A-Za-z0-9]{8}", each) and each in shown]


def test_less_than_8_characters_are_left_alone() -> None:
    assert b"1234567" == through(Filter(b"1234567"[:6]), iter([b"1234567"]))
    assert b"1234 *** 123456" == through(Filter(b"12345678"), iter([b"1234 12345678 123456"]))
    assert b"anything" == through(Filter(b""), iter([b"anything"]))


# -- what is held back ------------------------------------------------------------------------------


def test_what_cannot_begin_a_piece_goes_out_at_once() -> None:
    filter_ = Filter(TOKEN.encode())
    token, other = TOKEN.encode(), make_token().encode()
    header = token.partition(b".")[0]
    assert b"Password: " == filter_.feed(b"Password: ")
    assert b"a line " == filter_.feed(b"a line " + header)  # it may be of this token
    assert header + b" or not!" == filter_.feed(b" or not!")
    assert other + b"!" == filter_.feed(other) + filter_.feed(b"!")
    assert MASK == filter_.feed(token[:500].rstrip(b"-_"))
    assert b"! " == filter_.feed(b"! ")
    assert b"" == filter_.end()


def test_what_is_held_back_has_a_limit() -> None:
    claims = base64.urlsafe_b64encode(json.dumps([*range(2000)]).encode()).rstrip(b"=")
    header, _, signature = TOKEN.encode().split(b".")
    token = b"%s.%s.%s" % (header, claims, signature)
    filter_, out, most = Filter(token), b"", 0
    for at in range(0, len(token), 100):
        out += filter_.feed(token[at : at + 100])
        most = max(most, at - len(out))
    assert 4096 < most < 9000
    assert out + filter_.end() == b"".join((token[: len(out.partition(MASK)[0])], MASK))


def test_a_masked_text_that_goes_on_is_masked_with_its_last_byte() -> None:
    for written in (TOKEN.encode(), TOKEN.encode().hex().encode(), base64.b64encode(TOKEN.encode())):
        filter_, out = Filter(TOKEN.encode()), b""
        for at in range(len(written)):
            out += filter_.feed(written[at : at + 1])
        assert MASK == out


def test_a_pause_shows_less_than_8_characters_and_at_a_terminal_also_what_many_tokens_share() -> None:
    token = TOKEN.encode()
    header, _, signature = token.split(b".")
    filter_, out = Filter(token), b""
    for number in range(len(signature)):
        out += filter_.feed(signature[number : number + 1]) + filter_.pause()
    assert signature.startswith(out.partition(MASK)[0])
    assert len(re.sub(rb"[-_*]", b"", out)) < 8
    for at_once, shown in ((False, b""), (True, header)):
        filter_ = Filter(token, at_once=at_once)
        assert (b"", at_once, shown) == (filter_.feed(header), filter_.waiting, filter_.pause())
        assert not filter_.waiting
        assert MASK == (filter_.feed(token[len(header) :]) + filter_.end())[-3:]


def test_no_line_waits_for_the_next_one_because_of_its_last_letters() -> None:
    filter_ = Filter(TOKEN.encode())
    for size in range(1, 8):
        line = b"a line that ends in " + TOKEN.encode()[:size] + b"\n"
        assert line == filter_.feed(line)
    # A beginning that is longer is none by chance, as in the lines that `base64` writes.
    assert b"a line " == filter_.feed(b"a line " + TOKEN.encode()[:8] + b"\n")


def test_at_the_end_goes_out_what_did_not_become_a_piece_of_this_token() -> None:
    header = TOKEN.encode().partition(b".")[0]
    filter_ = Filter(TOKEN.encode())
    assert (b"so ", header) == (filter_.feed(b"so " + header), filter_.end())


def test_endless_line_ends_are_not_held_back() -> None:
    filter_ = Filter(TOKEN.encode())
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
        assert expected == through(Filter(token), iter([written]))
        out = through(Filter(token), (written[at : at + 1] for at in range(len(written))))
        assert expected == out


def test_what_becomes_a_colour_only_without_another_one_is_text() -> None:
    token, red = TOKEN.encode(), b"\x1b[31m"
    given_ = token + b"\x1b" + red + b"[1;3"
    filter_ = Filter(token)
    assert MASK + given_[len(token) :] == filter_.feed(given_) + filter_.end()
    filter_ = Filter(token)
    assert given_[len(token) :] + MASK == filter_.feed(given_[len(token) :] + token) + filter_.end()


def test_a_beginning_with_a_colour_in_it_is_seen_at_the_end_of_much_output() -> None:
    filter_, token = Filter(TOKEN.encode()), TOKEN.encode()
    much = b"\xff" * 20_000
    assert much == filter_.feed(much + token[:20] + b"\x1b[31m" + token[20:40])
    assert MASK + b"\x1b[31m" == filter_.feed(token[40:])


@pytest.mark.parametrize(
    "sequence", [b"\x1b", b"\x1b[", b"\x1b[1;3", b"\x1b[1;31m", b"\x1b>", b"\x1b[" + b";" * 99]
)
def test_a_colour_that_is_not_whole_is_held_back_only_behind_a_beginning(sequence: bytes) -> None:
    filter_ = Filter(TOKEN.encode())
    assert b"\xff" + sequence == filter_.feed(b"\xff" + sequence)
    shown = filter_.feed(b"\xff" + TOKEN.encode()[:3] + sequence)
    assert b"\xff" + TOKEN.encode()[:3] + sequence == shown + filter_.pause()
    assert b"" == filter_.end()


@given(
    st.lists(
        st.sampled_from([b"\x1b", b"[", b"1;3", b"m", b"\n", b"e", b"eyJhbGc", b" ", b"\x1b[0m"])
        | st.integers(0, 20).map(lambda at: TOKEN.encode()[at : at + 20]),
        max_size=30,
    )
)
def test_colours_and_beginnings_in_any_order_are_not_changed(parts: list[bytes]) -> None:
    filter_ = Filter(TOKEN.encode())
    assert b"".join(parts) == b"".join(map(filter_.feed, parts)) + filter_.end()


# -- generated outputs ------------------------------------------------------------------------------

STREAMS = 20_000


def test_generated_outputs_show_no_24_characters() -> None:
    assert [] == list(shown_pieces(STREAMS // 150))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_20000_generated_outputs_show_no_24_characters() -> None:
    assert [] == list(shown_pieces(STREAMS))


def shown_pieces(count: int) -> Iterator[tuple[int, list[bytes]]]:
    token = b""
    for number in range(count):
        if number % 50 == 0:
            token = make_token().encode()
        stream = streams.Stream(number, token)
        assert stream.shown(stream.data)
        if shown := stream.shown(streams.through(Filter(token), stream.data, number)):
            yield number, shown


def test_ordinary_output_is_not_changed() -> None:
    assert not changed(2)


def test_a_token_with_a_similar_identifier_is_not_changed() -> None:
    header, claims, signature = TOKEN.encode().split(b".")
    decoded = base64.urlsafe_b64decode(claims + b"==")
    identifier = json.loads(decoded)["apiTokenId"].encode()
    other = identifier[:-12] + b"~~~" + identifier[-9:-3] + b"~~~"
    changed = decoded.replace(identifier, other)
    assert decoded != changed
    written = b"%s.%s.%s" % (header, base64.urlsafe_b64encode(changed), signature[::-1])
    assert written == through(Filter(TOKEN.encode()), iter([written]))
    # It is that of this token if it is complete, also in short lines.
    assert b"." + MASK == through(Filter(TOKEN.encode()), iter([b"." + claims]))
    lines = b"".join(b"# %s\n" % claims[at : at + 8] for at in range(0, len(claims), 8))
    shown = through(Filter(TOKEN.encode()), iter([lines])).translate(None, b"#\n *")
    assert len(shown) < 24


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_100_mb_of_ordinary_output_and_foreign_tokens_are_not_changed() -> None:
    assert not changed(100)


def changed(megabytes: int) -> list[int]:
    filter_ = Filter(TOKEN.encode())
    return [
        number
        for number in range(megabytes)
        if (data := streams.ordinary(number, 1 << 20)) != filter_.feed(data) + filter_.end()
    ]


# -- its speed --------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "goal"),
    [
        ("log lines", 100),
        ("hashes", 40),
        ("base64", 40),
        ("bytes", 100),
        ("short lines", 100),
        ("foreign tokens", 40),
        ("colours on every line", 40),
    ],
)
def test_its_speed(kind: str, goal: int) -> None:
    data = material(kind)
    chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    filter_ = Filter(TOKEN.encode())
    best = min(seconds(lambda: [filter_.feed(chunk) for chunk in chunks]) for _ in range(7))
    speed = len(data) / best / 1e6
    print(f"\n{kind}: {speed:.0f} MB/s")
    assert best < len(data) / goal / 1e6 + SLACK


def material(kind: str) -> bytes:
    source = random.Random(kind)  # noqa: S311
    size = 8 << 20
    words = [bytes(source.choices(range(97, 123), k=source.randint(2, 9))) for _ in range(500)]
    make: dict[str, Callable[[], bytes]] = {
        "log lines": lambda: b"".join(
            b"2026-01-02T03:04:05.%03dZ INFO %s\n"
            % (source.randrange(1000), b" ".join(source.choices(words, k=8)))
            for _ in range(size // 60)
        ),
        "hashes": lambda: b"".join(
            b"layer sha256:%s done\n" % source.randbytes(32).hex().encode() for _ in range(size // 80)
        ),
        "base64": lambda: base64.encodebytes(source.randbytes(size)),
        "bytes": lambda: source.randbytes(size),
        "short lines": lambda: b"y\n" * (size // 2),
        "colours on every line": lambda: b"".join(
            b"\x1b[32mINFO\x1b[0m %s\n" % b" ".join(source.choices(words, k=9)) for _ in range(size // 50)
        ),
        "foreign tokens": lambda: b"".join(
            b"2026-01-02 INFO Bearer %s\n" % make_token().encode() for _ in range(size // 700)
        ),
    }
    return make[kind]()[:size]


def seconds(call: Callable[[], Any]) -> float:
    """Of this process alone: what else the machine does is no matter."""
    start = time.process_time()
    call()
    return time.process_time() - start
