"""The gate: nothing that is not an Astro token gets past it, and an Astro token always does."""

from __future__ import annotations

import base64
import json
import random
import re
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from astro_token.errors import InvalidTokenError
from astro_token.secret import SecretValue
from astro_token.testing import appearances, make_token, reachable_text
from astro_token.token import AstroToken
from tests.rows import each_row

LETTERS = (string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_").encode()
SIGNATURE = "s" * 342


# -- the rule, written a second time --------------------------------------------------------------------


def bits(part: bytes) -> bytes | None:
    """Base64url without padding, by hand."""
    if len(part) % 4 == 1:
        return None
    number = 0
    for letter in part:
        number = number * 64 + LETTERS.index(letter)
    size = len(part) * 6 // 8
    return (number >> (len(part) * 6 - size * 8)).to_bytes(size, "big")


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def json_object(part: bytes) -> dict[str, Any] | None:
    decoded = bits(part)
    if decoded is None:
        return None
    try:
        found = json.loads(decoded.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None
    return found if type(found) is dict else None


def an_identifier(text: object) -> bool:
    return (
        type(text) is str
        and 1 <= len(text) <= 128
        and text.isascii()
        and text[0].isalnum()
        and all(letter.isalnum() or letter in "._-" for letter in text)
    )


def is_astro_token(data: bytes) -> bool:
    parts = data.split(b".")
    if not 0 < len(data) <= 16384 or len(parts) != 3 or not all(parts):
        return False
    if any(byte not in LETTERS for part in parts for byte in part):
        return False
    header, claims = json_object(parts[0]), json_object(parts[1])
    if header is None or claims is None or type(header.get("alg")) is not str:
        return False
    permissions = claims.get("permissions")
    if type(permissions) is not list or not permissions:
        return False
    for permission in permissions:
        if type(permission) is not str or ":" not in permission:
            return False
        kind, name = permission.split(":", 1)
        if kind in {"organizationId", "workspaceId", "deploymentId"} and not an_identifier(name):
            return False
    if any(type(claims.get(name)) not in {int, float, type(None)} for name in ("iat", "nbf", "exp")):
        return False
    return claims.get("apiTokenId") is None or an_identifier(claims["apiTokenId"])


def unwrapped(data: bytes) -> bytes:
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    blank = b" \t\r\n"
    data = data.strip(blank)
    for quote in (b'"', b"'"):
        if len(data) >= 2 and data.startswith(quote) and data.endswith(quote):
            data = data[1:-1].strip(blank)
            break
    if re.match(rb"(?i)bearer ", data):
        data = data[len(b"bearer ") :].strip(blank)
    return data


def parse(text: str | bytes) -> AstroToken:
    return AstroToken.parse(SecretValue(text.encode() if isinstance(text, str) else text))


def past(data: bytes) -> bytes | None:
    """What gets past the gate, or None."""
    try:
        return parse(data).secret.reveal()
    except InvalidTokenError:
        return None


def encoded(part: object) -> bytes:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token_of(claims: object, header: object = {"alg": "RS256"}, signature: str = SIGNATURE) -> bytes:
    return b".".join([encoded(header), encoded(claims), signature.encode()])


PERMISSIONS = ["organizationId:clorg1"]
GOOD = {"permissions": PERMISSIONS, "exp": 4_000_000_000}

# -- near misses ----------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
permissions = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["organizationId", "workspaceId", "deploymentId", "apiId", "Id", "", "workspaceid"]),
        st.sampled_from([":", ":", ":", "", "::", " :", "\uff1a"]),
        st.sampled_from(
            ["clx1", "a.b-c_d", "", "-a", "a b", "a\n", "é", "٣", "a" * 128, "a" * 129, "$(id)", "a:b"]
        ),
    )
    | json_values,
    max_size=4,
)
claims = st.fixed_dictionaries(
    {},
    optional={
        "permissions": permissions | json_values,
        "exp": st.sampled_from([0, -1, 1.5, 10**30, 1e400, "1", True, None]) | json_values,
        "iat": st.integers() | json_values,
        "nbf": st.floats() | json_values,
        "apiTokenId": st.sampled_from(["cltk1", "", "a b", 7, None]) | json_values,
        "other": json_values,
    },
)
headers = (
    st.sampled_from([{"alg": "RS256"}, {"alg": "none"}, {"alg": 1}, {}, [], "x", {"alg": ""}]) | json_values
)
structured = st.builds(
    lambda header, claims, signature: token_of(claims, header, signature),
    st.just({"alg": "RS256"}) | headers,
    claims | st.just(GOOD) | json_values,
    st.sampled_from([SIGNATURE, "s", "", "s.s", "=", "sig nature", "é", "a+b/"]),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good token, or nearly one, with a few bytes put in, taken out, replaced or doubled."""
    data = bytearray(
        draw(structured | st.just(token_of(GOOD)) | st.just(make_token(token_id="cltk1").encode()))
    )
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        end = draw(st.integers(place, min(len(data), place + 4)))
        data[place:end] = draw(
            st.binary(max_size=3)
            | st.sampled_from(
                [b".", b"\n", b"\r\n", b" ", b'"', b"'", b"$(id)", b"`", b"\0", b"=", b"%0a", b"\xef\xbb\xbf"]
            )
        )
    before = draw(
        st.sampled_from(
            [b"", b"", b"\xef\xbb\xbf", b" \n", b"Bearer ", b"bearer \t", b'"', b"'", b"\x0b", b"Token "]
        )
    )
    after = draw(
        st.sampled_from([b"", b"", b"\n", b"\r\n", b" ", b'"', b"'", b"\0", b"\n\n", b";", b"\nx", b"\x0c"])
    )
    whole = before + bytes(data) + after
    if draw(st.integers(0, 9)) == 0:
        whole = b"\xff\xfe" + whole.decode("latin-1").encode("utf-16-le")
    return whole


@given(mutated())
@settings(max_examples=400)
@example(b"")
@example(b".")
@example(b"..")
@example(b"...")
@example(b"a.b.c")
@example(token_of(GOOD) + b"." + b"a" * 20)
@example(token_of({**GOOD, "pad": "x" * 20000}))
@example(token_of(json.dumps(GOOD).encode("utf-16")))
@example(token_of(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()))
@example(token_of(b'{"permissions": ["organizationId:a"], "exp": NaN}'))
@example(token_of(b'{"permissions": ["organizationId:a"], "exp": 1e999}'))
@example(token_of(b'{"permissions": ["organizationId:a"], "exp": ' + b"9" * 5000 + b"}"))
@example(token_of(b"[" * 9000))
@example(token_of(b'{"permissions":' * 900))
def test_the_gate_lets_through_exactly_what_the_rule_does(data: bytes) -> None:
    inside = unwrapped(data)
    assert (inside if is_astro_token(inside) else None) == past(data)


def test_the_gate_and_the_rule_agree_on_thousands_of_near_misses() -> None:
    chance = random.Random("near misses")  # noqa: S311
    good = [token_of(GOOD), *(make_token(token_id=f"cltk{number}").encode() for number in range(20))]
    single = [bytes([byte]) for byte in range(256)]
    pieces = [*single, b"", b"..", b"\r\n", b"Bearer ", b"\xef\xbb\xbf", b"$(id)"]
    wrong, passed = [], 0
    for _ in range(8000):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randrange(3)):
            place = chance.choice((0, len(data), chance.randrange(len(data))))
            data[place : place + chance.randrange(3)] = chance.choice(pieces)
        inside = unwrapped(bytes(data))
        got = past(bytes(data))
        passed += got is not None
        if got != (inside if is_astro_token(inside) else None):
            wrong.append(bytes(data))
    assert [] == wrong
    assert 2000 < passed < 6000, "both sides of the gate were seen"


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@settings(max_examples=500)
def test_no_bytes_make_the_gate_fail_otherwise(data: bytes) -> None:
    assert past(data) is None or is_astro_token(unwrapped(data))


def test_the_rule_itself_lets_a_made_token_through_and_keeps_others_out() -> None:
    assert is_astro_token(make_token().encode())
    assert is_astro_token(make_token(expires_in=None, workspace=None).encode())
    for wrong in (
        b"",
        b"a.b.c",
        b"hvs.CAESIJ",
        make_token().encode() + b"\n",
        make_token(permissions=[]).encode(),
    ):
        assert not is_astro_token(wrong)


def test_a_gate_that_only_looks_at_the_form_is_caught_by_the_same_comparison() -> None:
    naive = re.compile(rb"[\w-]+\.[\w-]+\.[\w-]+$")
    wrong = [
        data
        for data in (
            b"a.b.c",
            token_of(GOOD) + b"\n",
            token_of({}),
            token_of([1]),
            token_of(GOOD, {"alg": 1}),
        )
        if bool(naive.match(data)) != is_astro_token(data)
    ]
    assert 5 == len(wrong)


# -- what is taken off ----------------------------------------------------------------------------------

WRAPPED = {
    "as it is": "{}",
    "a line end": "{}\n",
    "a line end of Windows": "{}\r\n",
    "several line ends": "\n\n{}\n\n",
    "blanks and tabs": " \t{} \t",
    "double quotes": '"{}"',
    "single quotes": "'{}'",
    "quotes and a line end": '"{}"\n',
    "blanks inside of quotes": '" {} "',
    "Bearer": "Bearer {}",
    "bearer in small letters": "bearer {}",
    "BEARER and several blanks": "BEARER    {}",
    "quotes around Bearer": '"Bearer {}"\r\n',
    "quotes after Bearer": 'Bearer "{}"\n',
    "quotes around and after Bearer": "'Bearer \"{}\"'",
    "a byte-order mark": "\ufeff{}",
    "a byte-order mark and all else": "\ufeff 'Bearer {}'\r\n",
}
NOT_WRAPPED = {
    "an unmatched quote": '"{}',
    "different quotes": "\"{}'",
    "two pairs of quotes": "\"'{}'\"",
    "two Bearers": "Bearer Bearer {}",
    "Bearer without a blank": "Bearer{}",
    "another word": "Token {}",
    "an assignment": "ASTRO_API_TOKEN={}",
    "a field of JSON": '{{"token": "{}"}}',
    "a second line": "{}\nx",
    "a vertical tab": "{}\x0b",
    "a form feed": "\x0c{}",
    "a NUL": "{}\0",
    "a no-break space": "\xa0{}",
    "a zero-width space": "{}\u200b",
    "two byte-order marks": "\ufeff\ufeff{}",
    "a literal backslash n": "{}\\n",
    "typographic quotes": "\u201c{}\u201d",
    "a semicolon": "{};",
    "a command substitution": "{}$(id)",
}


@each_row("form", WRAPPED)
def test_what_people_put_around_a_token_is_taken_off(form: str, canary: str) -> None:
    assert canary == parse(WRAPPED[form].format(canary)).reveal()


@each_row("form", NOT_WRAPPED)
def test_anything_else_around_a_token_is_refused(form: str, canary: str) -> None:
    with pytest.raises(InvalidTokenError):
        parse(NOT_WRAPPED[form].format(canary))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_token_in_utf_16_with_its_mark_is_read(encoding: str, canary: str) -> None:
    mark = {"utf-16": b"", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}[encoding]
    assert canary == parse(mark + f"{canary}\r\n".encode(encoding)).reveal()


def test_a_token_in_utf_16_without_its_mark_is_refused(canary: str) -> None:
    with pytest.raises(InvalidTokenError):
        parse(canary.encode("utf-16-le"))


def test_the_version_stays_with_the_token(canary: str) -> None:
    assert "7" == AstroToken.parse(SecretValue(f" {canary}\n".encode(), "7")).secret.version


# -- what it says of itself -----------------------------------------------------------------------------


@each_row(
    ("names", "scope"),
    [
        ({"organization": "o1", "workspace": None, "deployment": None}, "organization"),
        ({"organization": "o1", "workspace": "w1", "deployment": None}, "workspace"),
        ({"organization": None, "workspace": "w1", "deployment": None}, "workspace"),
        ({"organization": "o1", "workspace": "w1", "deployment": "d1"}, "deployment"),
        ({"organization": "o1", "workspace": None, "deployment": "d1"}, "deployment"),
    ],
)
def test_the_scope_is_the_narrowest_kind_of_its_permissions(names: dict[str, str | None], scope: str) -> None:
    token = parse(make_token(**names))  # type: ignore[arg-type]
    assert scope == token.scope
    assert names == {
        "organization": token.organization,
        "workspace": token.workspace,
        "deployment": token.deployment,
    }


def test_a_permission_of_another_kind_is_passed_over() -> None:
    token = parse(token_of({"permissions": ["apiTokenId:x y", "workspaceId:w1", "fooId:"]}))
    assert ("w1", None, "workspace") == (token.workspace, token.organization, token.scope)


def test_of_several_of_a_kind_the_last_counts_as_for_the_astro_cli() -> None:
    assert "w2" == parse(token_of({"permissions": ["workspaceId:w1", "workspaceId:w2"]})).workspace


def test_thousands_of_permissions_are_read() -> None:
    many = [f"workspaceId:w{number}" for number in range(500)]
    assert "w499" == parse(token_of({"permissions": many})).workspace


def test_a_token_that_thousands_of_permissions_make_too_long_is_refused_for_that() -> None:
    many = [f"workspaceId:w{number}" for number in range(5000)]
    with pytest.raises(InvalidTokenError, match="longer than 16384 bytes"):
        parse(token_of({"permissions": many}))


def test_its_times_are_read() -> None:
    token = parse(token_of({"permissions": PERMISSIONS, "iat": 1, "nbf": 2.5, "exp": 3}))
    start = datetime(1970, 1, 1, tzinfo=UTC)
    assert (1.0, 2.5, 3.0) == tuple(
        (time - start) / timedelta(seconds=1)
        for time in (token.issued, token.not_before, token.expires)
        if time
    )


def test_missing_times_are_none() -> None:
    token = parse(token_of({"permissions": PERMISSIONS}))
    assert (None, None, None) == (token.issued, token.not_before, token.expires)


@pytest.mark.parametrize("end", [10**11, 10**18, 10**300, 1.7e308])
def test_an_expiry_beyond_all_calendars_is_the_end_of_time(end: float) -> None:
    expires = parse(token_of({**GOOD, "exp": end})).expires
    assert expires is not None
    assert expires.year > 5000


def test_an_expiry_before_1970_is_long_past() -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) == parse(token_of({**GOOD, "exp": -(10**30)})).expires


@each_row(
    ("changed", "complaint"),
    [
        ({"permissions": None}, "it has no permissions, like the token of a person's login"),
        ({"permissions": []}, "it has no permissions, like the token of a person's login"),
        ({"permissions": "organizationId:a"}, "its permissions are malformed"),
        ({"permissions": {"organizationId": "a"}}, "its permissions are malformed"),
        ({"permissions": [1]}, "its permissions are malformed"),
        ({"permissions": ["organizationId"]}, "one of its permissions has no colon"),
        ({"permissions": ["organizationId:"]}, "one of its permissions is malformed"),
        ({"permissions": ["workspaceId:a\nb: c"]}, "one of its permissions is malformed"),
        ({"permissions": ["workspaceId:" + "a" * 129]}, "one of its permissions is malformed"),
        ({"apiTokenId": 7}, "its apiTokenId is malformed"),
        ({"apiTokenId": ""}, "its apiTokenId is malformed"),
        ({"apiTokenId": "\x1b[31m"}, "its apiTokenId is malformed"),
        ({"exp": "4000000000"}, "its iat, nbf or exp is not a number"),
        ({"exp": True}, "its iat, nbf or exp is not a number"),
        ({"iat": [1]}, "its iat, nbf or exp is not a number"),
        ({"nbf": {}}, "its iat, nbf or exp is not a number"),
    ],
)
def test_a_claim_of_a_wrong_type_is_told(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidTokenError) as caught:
        parse(token_of({**GOOD, **changed}))
    assert f"the value is not an Astro API token: {complaint}" == caught.value.message


@each_row(
    ("data", "complaint"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        (b'""', "it is empty"),
        (b"Bearer ", "it does not consist of three parts"),
        (b"hvs.CAESIJ", "it does not consist of three parts"),
        (b"eyJ", "it does not consist of three parts"),
        (b"a" * 16385, "it is longer than 16384 bytes"),
        (token_of(GOOD, b"{"), "its first part is damaged or cut off"),
        (token_of(GOOD, {"typ": "JWT"}), "its first part is damaged or cut off"),
        (token_of(b'{"permissions": ["organ'), "its second part is damaged or cut off"),
        (token_of(b"\xff\xfe"), "its second part is damaged or cut off"),
        (token_of([GOOD]), "its second part is damaged or cut off"),
        (token_of(b'{"a":' * 2000), "its second part is damaged or cut off"),
        (token_of(b"[" * 11000), "its second part is damaged or cut off"),
    ],
)
def test_the_kind_of_defect_is_told(data: bytes, complaint: str) -> None:
    with pytest.raises(InvalidTokenError, match=re.escape(complaint)):
        parse(data)


def test_a_token_of_16384_bytes_passes_and_one_more_does_not() -> None:
    short = token_of(GOOD)
    whole = short + b"s" * (16384 - len(short))
    assert whole == past(whole)
    assert past(whole + b"s") is None


def test_a_cut_signature_is_doubted_and_a_whole_one_is_not() -> None:
    whole = make_token()
    assert () == parse(whole).doubts
    assert ("signature-cut",) == parse(whole[:-40]).doubts
    assert () == parse(token_of(GOOD, {"alg": "HS256"}, "s" * 43)).doubts
    assert ("signature-cut",) == parse(token_of(GOOD, {"alg": "ES256"}, "s" * 40)).doubts
    assert ("signature-cut",) == parse(token_of(GOOD, {"alg": "HS256"}, "s" * 45)).doubts, "no base64 ends so"


def damaged(canary: str) -> list[str]:
    header, claims, signature = canary.split(".")
    person = make_token(permissions=None, note=canary)
    return [f"{canary};", f"{header}.{claims[:-9]}.{signature}", f"{header}x.{claims}.{signature}", person]


def refused(value: SecretValue) -> InvalidTokenError:
    try:
        AstroToken.parse(value)
    except InvalidTokenError as error:
        return error
    raise AssertionError("it got past")


def test_an_error_holds_nothing_of_the_value(canary: str) -> None:
    for text in damaged(canary):
        error = refused(SecretValue(text.encode()))
        assert [] == appearances(canary, reachable_text(error))
        assert [] == appearances(text, reachable_text(error))
        assert error.__context__ is None


def test_a_token_shows_its_claims_and_not_itself(canary: str) -> None:
    shown = repr(parse(canary))
    assert [] == appearances(canary, shown)
    assert "clorg0000000000000000" in shown
