"""The levels of the pre-deploy findings, by the project's policy and by the environment's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError
from astro_token.policy.codes import DEPLOY as CODES
from astro_token.policy.codes import Level
from astro_token.policy.deploy_codes import Finding, verdicts
from astro_token.policy.parsers import levels_text
from astro_token.policy.rules import Policy
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Mapping


@each_row(
    ("one", "other", "both"),
    [
        ({}, {}, {}),
        ({"no-docker": "off"}, {}, {"no-docker": "off"}),
        ({"no-docker": "off"}, {"no-docker": "warning"}, {"no-docker": "warning"}),
        ({"no-docker": "error"}, {"no-docker": "warning"}, {"no-docker": "error"}),
        ({"no-docker": "off"}, {"no-dags": "off"}, {"no-docker": "off", "no-dags": "off"}),
    ],
)
def test_of_two_policies_the_stricter_holds(
    one: Mapping[str, Level], other: Mapping[str, Level], both: Mapping[str, Level]
) -> None:
    assert both == Policy(deploy=one).tightened(Policy(deploy=other)).deploy
    assert both == Policy(deploy=other).tightened(Policy(deploy=one)).deploy
    assert hash(Policy(deploy=one)) == hash(Policy())


def test_errors_come_first_and_what_is_off_not_at_all() -> None:
    facts = [Finding("no-docker", "m", "h"), Finding("no-dags", "m", "h"), Finding("dead-keys", "m", "h")]
    found = verdicts(facts, Policy(deploy={"dead-keys": "error", "no-dags": "off"}), exported=False)
    assert [("dead-keys", "error"), ("no-docker", "warning")] == [(one.code, one.level) for one in found]


def test_the_environment_s_levels_are_read_in_full_or_refused() -> None:
    assert {"no-dags": "error", "no-docker": "off"} == levels_text(" no-dags=error , no-docker = off", "X")
    for text in ("", "no-dags", "no-dags=", "no-dags=ERROR", "no-dags=error=error", "x"):
        with pytest.raises(ConfigError):
            levels_text(text, "X")


def test_no_level_of_a_code_is_lower_where_the_token_is_exported() -> None:
    assert all(code.exported in {None, "error"} for code in CODES.values())


def test_the_hint_of_a_finding_is_the_remedy_of_its_code_unless_it_has_its_own() -> None:
    assert ("own", "keep one of them") == tuple(
        Finding("requirements-clash", "m", h).hint for h in ("own", "")
    )
    assert "`FROM`" in CODES["no-dockerfile"].remedy
    assert not any("`" in Finding(code, "m").hint for code in CODES)


def test_findings_of_another_major_version_are_left_out() -> None:
    facts = [Finding(code, "m", "h") for code in CODES]
    only_first = {
        "no-dockerfile", "requirements-clash", "unread-workspace", "uncommitted", "git-unknown",
        "stale-workspace", "home-in-project", "login-overwritten", "token-left", "home-locked",
    }  # fmt: skip
    only_second = {"manifest-invalid"}
    assert only_second == CODES.keys() - {one.code for one in verdicts(facts, Policy(), major=1)}
    assert only_first == CODES.keys() - {one.code for one in verdicts(facts, Policy(), major=2)}


def test_no_remedy_names_a_command_that_astro_cli_2_removed() -> None:
    assert not any("astro dev" in f"{code.remedy} {code.meaning}" for code in CODES.values())
