"""Claims that are missing, of the wrong type, or absurd: a verdict or 65, never a bug."""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astro_token.errors import InvalidTokenError
from astro_token.policy.parsers import duration
from astro_token.policy.rules import OFFLINE, Expectations, Policy, judge
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from astro_token.token import AstroToken
from tests.cli.test_check_document import CHECK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.conftest import Program

    Write = Callable[[str, str], Path]

POLICY = """\
[policy]
max_scope = "workspace"
require_expiry = true
min_validity = "1h"
warn_validity = "14d"
max_age = "90d"
"""
EXPECTED = 'organization = "o1"\nworkspace = "w1"\ndeployment = "d1"\n'
WHOLE = {"permissions": ["organizationId:o1", "workspaceId:w1"], "exp": 4_000_000_000, "iat": 1_500_000_000}
HUGE = int("9" * 400)
UNPROVEN = {"organization-unproven", "workspace-unproven", "deployment-unproven"}


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"permissions": None}, "it has no permissions, like the token of a person's login"),
    ({"permissions": []}, "it has no permissions, like the token of a person's login"),
    ({"permissions": "workspaceId:w1"}, "its permissions are malformed"),
    ({"permissions": {"workspaceId": "w1"}}, "its permissions are malformed"),
    ({"permissions": ["workspaceId:w1", 7]}, "its permissions are malformed"),
    ({"permissions": ["workspaceId:w1", None]}, "its permissions are malformed"),
    ({"permissions": ["workspaceId"]}, "one of its permissions has no colon"),
    ({"permissions": ["workspaceId:w1", ""]}, "one of its permissions has no colon"),
    ({"permissions": ["workspaceId:"]}, "one of its permissions is malformed"),
    ({"permissions": ["workspaceId:a b"]}, "one of its permissions is malformed"),
    ({"permissions": ["workspaceId:" + "x" * 200]}, "one of its permissions is malformed"),
    ({"permissions": [f"workspaceId:w{n}" for n in range(5000)]}, "it is longer than 16384 bytes"),
    ({"iat": "yesterday"}, "its iat, nbf or exp is not a number"),
    ({"exp": True}, "its iat, nbf or exp is not a number"),
    ({"nbf": [1]}, "its iat, nbf or exp is not a number"),
    ({"apiTokenId": 7}, "its apiTokenId is malformed"),
    ({"apiTokenId": "a\nb"}, "its apiTokenId is malformed"),
]
ABSURD: list[tuple[dict[str, Any], set[str]]] = [
    ({"exp": HUGE}, {"too-old"}),
    ({"exp": 1e308}, {"too-old"}),
    ({"exp": -1}, {"expired", "too-old"}),
    ({"exp": -HUGE}, {"expired", "too-old"}),
    ({"exp": 0}, {"expired", "too-old"}),
    ({"exp": None}, {"no-expiry", "too-old"}),
    ({"nbf": HUGE}, {"not-yet-valid", "too-old"}),
    ({"nbf": HUGE, "exp": 0}, {"not-yet-valid", "expired", "too-old"}),
    ({"nbf": 0.5}, {"too-old"}),
    ({"iat": HUGE}, {"age-unproven"}),
    ({"iat": None}, {"age-unproven"}),
    ({"iat": -5}, {"too-old"}),
    ({"permissions": ["a:b"]}, {*UNPROVEN, "scope-too-wide", "too-old"}),
    (
        {"permissions": [f"deploymentId:d{n}" for n in range(400)]},
        {"organization-unproven", "workspace-unproven", "wrong-deployment", "too-old"},
    ),
    ({"unknown": {"deep": [[[]]]}}, {"too-old"}),
]
NO_CLAIMS = [
    "a.b.c",
    "..",
    "eyJ.eyJ.x",
    "",
    " ",
    "\0",
    "x" * 200_000,
]


def signed(claims: object, header: object = MappingProxyType({"alg": "RS256"})) -> str:
    """Any claims in the form of a token."""
    head = dict(header) if isinstance(header, Mapping) else header
    parts = [json.dumps(part).encode() for part in (head, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"s" * 256))


@pytest.fixture
def checked(
    program: Program, planted: Planted, write: Write
) -> Callable[[list[str]], tuple[int, list[dict[str, Any]], str]]:
    """Checks tokens by a policy and against expectations that leave nothing out."""

    def check(tokens: list[str]) -> tuple[int, list[dict[str, Any]], str]:
        program.canaries.clear()
        tables = [POLICY]
        for number, token in enumerate(tokens):
            planted.store(f"t{number}", token)
            tables.append(f'[tokens.t{number}]\nref = "planted:t{number}"\n{EXPECTED}')
        write("astro-token.toml", "\n".join(tables))
        result = program("check", "--all", "--format", "json")
        document = json.loads(result.stdout)
        CHECK.validate(document)
        assert "a bug in astro-token" not in result.stderr
        return result.code, document["tokens"], result.stderr

    return check


def test_a_malformed_claim_is_no_token(
    checked: Callable[[list[str]], tuple[int, list[dict[str, Any]], str]],
) -> None:
    code, found, stderr = checked([signed({**WHOLE, **claims}) for claims, _ in MALFORMED])
    assert (65, {("InvalidTokenError", 65)}) == (
        code,
        {(one["error"]["type"], one["error"]["exit_code"]) for one in found},
    )
    complaints = [one["error"]["message"].partition("not an Astro API token: ")[2] for one in found]
    assert [complaint for _, complaint in MALFORMED] == complaints
    lines = re.findall("^astro-token: error: (.*)", stderr, re.MULTILINE)
    start = "t{0} (planted:t{0}): the value is not an Astro API token: {1}"
    assert [start.format(number, complaint) for number, complaint in enumerate(complaints)] == lines


def test_what_has_no_claims_is_no_token(
    checked: Callable[[list[str]], tuple[int, list[dict[str, Any]], str]],
) -> None:
    no_object = [signed(claims) for claims in ([], "x", 7, None, True, [["x"]])]
    headers: list[object] = [[], {"alg": 7}, {"typ": "JWT"}, None, "RS256"]
    no_header = [signed(WHOLE, header) for header in headers]
    code, found, _ = checked([*no_object, *no_header, *NO_CLAIMS])
    assert (65, ["InvalidTokenError"] * 18) == (code, [one["error"]["type"] for one in found])


def test_an_absurd_claim_is_a_verdict(
    checked: Callable[[list[str]], tuple[int, list[dict[str, Any]], str]],
) -> None:
    _, found, _ = checked([signed({**WHOLE, **claims}) for claims, _ in ABSURD])
    assert [codes for _, codes in ABSURD] == [
        {verdict["code"] for verdict in one["verdicts"]} for one in found
    ]
    for one in found:
        errors = [verdict["level"] == "error" for verdict in one["verdicts"]]
        assert (65 if any(errors) else None) == (one["error"] and one["error"]["exit_code"])


# -- whatever there may be ----------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
IDENTIFIERS = st.text(string.ascii_letters + string.digits + "._-: \n", max_size=140)
PERMISSIONS = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["organizationId", "workspaceId", "deploymentId", "dagId", "", "Id"]),
        st.sampled_from([":", ":", "", "::"]),
        IDENTIFIERS | st.sampled_from(["o1", "w1", "d1"]),
    ),
    max_size=30,
)
TIMES = st.integers(-(10**30), 10**30) | st.integers(1_500_000_000, 2_500_000_000) | st.floats(-1e300, 1e300)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "permissions": PERMISSIONS | ANYTHING,
        "exp": TIMES | ANYTHING,
        "iat": TIMES | ANYTHING,
        "nbf": TIMES | ANYTHING,
        "apiTokenId": IDENTIFIERS | ANYTHING,
        "iss": ANYTHING,
        "isAstronomerGenerated": ANYTHING,
    },
)
STRICT = Policy(
    "deployment",
    require_expiry=True,
    min_validity=duration("1h", ""),
    warn_validity=duration("14d", ""),
    max_age=duration("90d", ""),
)


# Fewer in an ordinary run.
A_FEW = settings(max_examples=100)
MORE = settings(max_examples=400)


def judge_or_refuse(claims: object) -> None:
    try:
        token = AstroToken.parse(SecretValue(signed(claims).encode()))
    except InvalidTokenError:
        return
    for verdict in judge(token, STRICT, Expectations("o1", "w1", "d1")):
        assert verdict.code in OFFLINE
        assert (verdict.message + verdict.hint).isprintable()


@A_FEW
@given(CLAIMS | ANYTHING)
def test_any_claims_are_judged_or_refused(claims: object) -> None:
    judge_or_refuse(claims)


@pytest.mark.long
@MORE
@given(CLAIMS | ANYTHING)
def test_more_claims_are_judged_or_refused(claims: object) -> None:
    judge_or_refuse(claims)


def many(number: int) -> st.SearchStrategy[list[object]]:
    return st.lists(CLAIMS | ANYTHING, min_size=number, max_size=number)


@pytest.mark.parametrize("form", ["json", "table", "markdown"])
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(claims=many(12))
def test_any_claims_get_through_the_program(
    program: Program, planted: Planted, claims: list[object], form: str
) -> None:
    """A dozen at a time, and a good one, in each format."""
    get_through(program, planted, claims, form)


@pytest.mark.long
@pytest.mark.parametrize("form", ["json", "table", "markdown"])
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(claims=many(40))
def test_more_claims_get_through_the_program(
    program: Program, planted: Planted, claims: list[object], form: str
) -> None:
    get_through(program, planted, claims, form)


def get_through(program: Program, planted: Planted, claims: list[object], form: str) -> None:
    names = [f"planted:t{number}" for number in range(len(claims))]
    program.canaries.clear()
    for number, one in enumerate(claims):
        planted.store(f"t{number}", signed(one))
    planted.store("good", make_token())
    policy = {"MAX_AGE": "90d", "REQUIRE_EXPIRY": "true", "MIN_VALIDITY": "1h", "MAX_SCOPE": "workspace"}
    environ = {f"ASTRO_TOKEN_POLICY_{name}": text for name, text in policy.items()}
    result = program("check", "--format", form, *names, "planted:good", env=environ)
    assert result.code in {0, 65}
    assert "a bug in astro-token" not in result.stderr
    assert result.stdout.replace("\n", "").isprintable()
    if form == "json":
        document = json.loads(result.stdout)
        CHECK.validate(document)
        assert [*names, "planted:good"] == [one["ref"] for one in document["tokens"]]
        assert "ok" == document["tokens"][-1]["status"]
        failed = {one["error"]["exit_code"] for one in document["tokens"] if one["error"]}
        assert failed <= {65}
