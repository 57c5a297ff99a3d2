"""What a team allows, compared with what a token says of itself."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from astro_token.errors import ConfigError, InvalidTokenError, PolicyError
from astro_token.policy.parsers import duration
from astro_token.policy.rules import OFFLINE, Expectations, Policy, Verdict, enforce, judge
from astro_token.record import replace
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.token import SCOPES, AstroToken, Scope
from tests.rows import each_row

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANY = Expectations()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def token(
    scope: Scope = "workspace",
    *,
    left: timedelta | None = 30 * DAY,
    starts: timedelta | None = None,
    age: timedelta | None = None,
    doubts: tuple[str, ...] = (),
) -> AstroToken:
    return AstroToken(
        SecretValue(b"x"),
        scope,
        organization="o1",
        workspace=None if scope == "organization" else "w1",
        deployment="d1" if scope == "deployment" else None,
        expires=None if left is None else NOW + left,
        not_before=None if starts is None else NOW + starts,
        issued=None if age is None else NOW - age,
        doubts=doubts,
    )


def found(
    judged: AstroToken, policy: Policy | None = None, expected: Expectations = ANY
) -> list[tuple[str, str]]:
    return [(verdict.code, verdict.level) for verdict in judge(judged, policy or Policy(), expected, now=NOW)]


@each_row(("widest", "scope"), list(itertools.product((None, *SCOPES), SCOPES)))
def test_a_scope_wider_than_allowed_is_an_error_and_no_other(widest: Scope | None, scope: Scope) -> None:
    order = {"organization": 3, "workspace": 2, "deployment": 1}
    too_wide = widest is not None and order[scope] > order[widest]
    assert ([("scope-too-wide", "error")] if too_wide else []) == found(
        token(scope), Policy(max_scope=widest)
    )


@each_row(
    ("left", "policy", "verdicts"),
    [
        (30 * DAY, Policy(), []),
        (timedelta(seconds=1), Policy(), []),
        (timedelta(), Policy(), [("expired", "error")]),
        (-DAY, Policy(), [("expired", "error")]),
        (-DAY, Policy(min_validity=HOUR, warn_validity=DAY), [("expired", "error")]),
        (None, Policy(), [("no-expiry", "warning")]),
        (None, Policy(require_expiry=True), [("no-expiry", "error")]),
        (None, Policy(min_validity=HOUR, warn_validity=DAY), [("no-expiry", "warning")]),
        (HOUR, Policy(min_validity=HOUR), []),
        (HOUR - timedelta(seconds=1), Policy(min_validity=HOUR), [("expires-too-soon", "error")]),
        (DAY, Policy(warn_validity=DAY), []),
        (DAY - timedelta(seconds=1), Policy(warn_validity=DAY), [("expires-soon", "warning")]),
        (HOUR, Policy(min_validity=2 * HOUR, warn_validity=DAY), [("expires-too-soon", "error")]),
        (
            2 * HOUR,
            Policy(require_expiry=True, min_validity=HOUR, warn_validity=DAY),
            [("expires-soon", "warning")],
        ),
    ],
)
def test_validity_is_judged(left: timedelta | None, policy: Policy, verdicts: list[tuple[str, str]]) -> None:
    assert verdicts == found(token(left=left), policy)


@pytest.mark.parametrize(
    ("starts", "verdicts"),
    [
        (-DAY, []),
        (timedelta(), []),
        (timedelta(seconds=120), []),
        (timedelta(seconds=121), [("not-yet-valid", "error")]),
    ],
)
def test_a_token_of_tomorrow_is_an_error_beyond_what_clocks_differ_by(
    starts: timedelta, verdicts: list[tuple[str, str]]
) -> None:
    assert verdicts == found(token(starts=starts))


def test_what_else_is_wrong_with_a_token_of_tomorrow_is_told_too() -> None:
    judged = token(starts=DAY, left=None)
    assert {("not-yet-valid", "error"), ("no-expiry", "error")} == set(
        found(judged, Policy(require_expiry=True))
    )
    assert ["expired", "not-yet-valid"] == [code for code, _ in found(token(starts=DAY, left=-DAY))]


@each_row(
    ("age", "policy", "verdicts"),
    [
        (1000 * DAY, Policy(), []),
        (None, Policy(), []),
        (90 * DAY, Policy(max_age=90 * DAY), []),
        (90 * DAY + timedelta(seconds=1), Policy(max_age=90 * DAY), [("too-old", "error")]),
        (timedelta(seconds=-120), Policy(max_age=DAY), []),
        (timedelta(seconds=-121), Policy(max_age=DAY), [("age-unproven", "warning")]),
        (-DAY, Policy(), []),
        (None, Policy(max_age=90 * DAY), [("age-unproven", "warning")]),
        (timedelta(seconds=1), Policy(max_age=timedelta()), [("too-old", "error")]),
    ],
)
def test_age_is_judged_by_when_the_token_was_issued(
    age: timedelta | None, policy: Policy, verdicts: list[tuple[str, str]]
) -> None:
    assert verdicts == found(token(age=age), policy)


def test_when_astro_created_or_rotated_it_counts_more_than_its_own_word() -> None:
    policy = Policy(max_age=90 * DAY)
    for age, since, expected in (
        (100 * DAY, 10 * DAY, []),
        (10 * DAY, 100 * DAY, ["too-old"]),
        (None, 10 * DAY, []),
    ):
        verdicts = judge(token(age=age), policy, ANY, now=NOW, since=NOW - since)
        assert expected == [verdict.code for verdict in verdicts]


def test_a_token_that_is_too_old_is_told_with_its_day_and_what_policy_allows() -> None:
    (verdict,) = judge(token(age=100 * DAY), Policy(max_age=90 * DAY), ANY, now=NOW)
    assert "the token dates from 2026-08-15 12:00 UTC, and policy allows an age of 90 days" == verdict.message
    with pytest.raises(PolicyError):
        enforce((verdict,))


def test_an_expired_token_is_invalid_though_it_is_too_old_as_well() -> None:
    verdicts = judge(token(left=-DAY, age=100 * DAY), Policy(max_age=DAY), ANY, now=NOW)
    assert ["expired", "too-old"] == [verdict.code for verdict in verdicts]
    with pytest.raises(InvalidTokenError):
        enforce(verdicts)


@each_row(
    ("scope", "expected", "verdicts"),
    [
        ("workspace", Expectations("o1", "w1"), []),
        ("workspace", Expectations("o2", "w1"), [("wrong-organization", "error")]),
        ("workspace", Expectations("o1", "w2"), [("wrong-workspace", "error")]),
        # A workspace's token covers its deployments: nothing is wrong, and Astro tells the rest.
        ("workspace", Expectations(deployment="d1"), []),
        ("workspace", Expectations("o1", "w1", "d1"), []),
        ("workspace", Expectations("o1", "w2", "d1"), [("wrong-workspace", "error")]),
        ("organization", Expectations(deployment="d1"), [("deployment-unproven", "warning")]),
        ("organization", Expectations(workspace="w1"), [("workspace-unproven", "warning")]),
        ("deployment", Expectations("o1", "w1", "d1"), []),
        ("deployment", Expectations("o9", "w9", "d9"), [(f"wrong-{scope}", "error") for scope in SCOPES]),
    ],
)
def test_what_the_project_expects_is_compared(
    scope: Scope, expected: Expectations, verdicts: list[tuple[str, str]]
) -> None:
    assert verdicts == found(token(scope), expected=expected)


@each_row(
    ("scope", "policy", "verdicts"),
    [
        ("workspace", Policy(organization="o1", workspace="w1"), []),
        ("workspace", Policy(organization="o2"), [("wrong-organization", "error")]),
        ("workspace", Policy(workspace="w2"), [("wrong-workspace", "error")]),
        ("deployment", Policy(deployment="d2"), [("wrong-deployment", "error")]),
        ("organization", Policy(workspace="w1"), [("workspace-unproven", "error")]),
        ("workspace", Policy(deployment="d1"), [("deployment-unproven", "error")]),
    ],
)
def test_what_policy_requires_is_an_error_also_without_proof(
    scope: Scope, policy: Policy, verdicts: list[tuple[str, str]]
) -> None:
    assert verdicts == found(token(scope), policy)
    (*_, required) = judge(token("deployment"), Policy(deployment="d2"), Expectations(), now=NOW)
    assert "the token is for deployment d1, and policy requires d2" == required.message


def test_a_deployment_that_the_project_chose_does_not_prove_the_required_workspace() -> None:
    chosen, judged = Expectations(deployment="d1"), replace(token("deployment"), workspace=None)
    assert [] == found(judged, expected=replace(chosen, workspace="w1"))
    assert [("workspace-unproven", "error")] == found(judged, Policy(workspace="w1"), chosen)
    assert [] == found(judged, Policy(workspace="w1", deployment="d1"), chosen)


def test_no_wider_token_is_advised_where_one_names_no_organization() -> None:
    judged = replace(token("deployment"), organization=None)
    (verdict,) = judge(judged, Policy(), Expectations("o1"), now=NOW)
    assert "organization-unproven" == verdict.code
    assert "use a token that names its organization, or check it with --online" == verdict.hint


def test_a_signature_that_looks_cut_off_is_a_warning() -> None:
    assert [("signature-cut", "warning")] == found(token(doubts=("signature-cut",)))


def test_errors_come_first() -> None:
    levels = [
        level
        for _, level in found(
            token("organization", left=None), Policy("workspace"), Expectations(workspace="w")
        )
    ]
    assert ["error", "warning", "warning"] == levels


def test_every_verdict_is_one_line_with_a_hint() -> None:
    everything = Policy("deployment", require_expiry=True, min_validity=HOUR, warn_validity=DAY)
    for left, expected in itertools.product(
        (None, -DAY, HOUR / 2, HOUR * 2), (ANY, Expectations("o9", "w9", "d9"))
    ):
        for verdict in judge(token("organization", left=left), everything, expected, now=NOW):
            assert 1 == len(verdict.message.splitlines()) == len(verdict.hint.splitlines())
            assert not verdict.message.endswith(".")


def test_every_code_can_be_found_and_has_its_level() -> None:
    strict = Policy("deployment", min_validity=HOUR, warn_validity=DAY, max_age=DAY)
    lefts, others = (None, -DAY, HOUR / 2, HOUR * 2), Expectations("o9", "w9", "d9")
    tokens = [
        *(token(scope, left=left) for scope in SCOPES for left in lefts),
        token(age=2 * DAY, doubts=("signature-cut",)),
        token(starts=DAY),
        AstroToken(SecretValue(b"x"), "organization"),
    ]
    assert {(code, one.level) for code, one in OFFLINE.items()} == {
        pair for judged in tokens for pair in found(judged, strict, others)
    }
    required = found(token(left=None), Policy(require_expiry=True))
    assert [("no-expiry", "error")] == required, "the one whose level is policy's"


def test_an_expired_token_is_invalid_and_any_other_error_is_policy() -> None:
    with pytest.raises(InvalidTokenError):
        enforce(judge(token(left=-DAY), Policy(), ANY, now=NOW))
    with pytest.raises(PolicyError):
        enforce(judge(token("organization"), Policy("workspace"), ANY, now=NOW))


def test_a_warning_is_not_enforced() -> None:
    enforce((Verdict("no-expiry", "warning", "m", "h"),))


def test_the_error_names_the_reference_where_there_is_one() -> None:
    with pytest.raises(PolicyError, match=r"^env:X: m$") as caught:
        enforce((Verdict("no-expiry", "error", "m", "h"),), SecretRef("env", "X"))
    assert "h" == caught.value.hint


def test_today_is_what_counts_where_no_time_is_given() -> None:
    verdicts = judge(
        AstroToken(SecretValue(b"x"), "workspace", expires=datetime.now(UTC) - HOUR), Policy(), ANY
    )
    assert ["expired"] == [verdict.code for verdict in verdicts]


POLICIES = [
    Policy(scope, expiry, low, high, age)
    for scope in (None, *SCOPES)
    for expiry in (False, True)
    for low in (timedelta(), HOUR)
    for high in (timedelta(), DAY)
    for age in (None, DAY, 3 * DAY)
]
TOKENS = [
    token(scope, left=left, age=age)
    for scope in SCOPES
    for left in (None, -DAY, HOUR / 2, HOUR * 2, 2 * DAY)
    for age in (HOUR, 2 * DAY)
]


def test_a_tightened_policy_refuses_all_that_either_refuses_and_no_more() -> None:
    @cache  # what two policies come to is mostly a third one of them
    def refused(policy: Policy) -> list[bool]:
        return [any(level == "error" for _, level in found(judged, policy)) for judged in TOKENS]

    for one, other in itertools.product(POLICIES, POLICIES):
        both = one.tightened(other)
        assert both == other.tightened(one)
        assert [a or b for a, b in zip(refused(one), refused(other), strict=True)] == refused(both)


@each_row(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("90s", 90),
        ("30m", 1800),
        ("1h", 3600),
        ("14d", 1209600),
        ("2w", 1209600),
        ("999999d", 999999 * 86400),
    ],
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert timedelta(seconds=seconds) == duration(text, "x")


@each_row(
    "text",
    [
        "",
        "1",
        "h",
        "1 h",
        " 1h",
        "1h ",
        "1h\n",
        "-1h",
        "+1h",
        "1.5h",
        "1e3s",
        "1H",
        "1y",
        "1h30m",
        "٣h",
        "1000000w",
        None,
        3600,
        1.5,
        True,
        ["1h"],
    ],
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ConfigError, match=r"^policy\.x is not a duration$"):
        duration(text, "policy.x")
