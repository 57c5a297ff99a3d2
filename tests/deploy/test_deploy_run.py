"""Asking programs that are slow, talkative, or not there; and what policy makes of what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.deploy import run
from astro_token.deploy.run import Answer, ask, outside, program
from astro_token.errors import ConfigError
from astro_token.policy.codes import DEPLOY as CODES
from astro_token.policy.codes import Level
from astro_token.policy.deploy_codes import Fact, verdicts
from astro_token.policy.parsers import levels_text
from astro_token.policy.rules import Policy
from tests.timing import is_running, wait_until, within

if TYPE_CHECKING:
    from collections.abc import Mapping

SHELL = "/bin/sh"
GIVEN = {"PATH": "/usr/bin:/bin"}


def test_an_answer_is_a_status_and_what_was_printed(tmp_path: Path) -> None:
    assert Answer(3, b"out\n") == ask([SHELL, "-c", "echo out; echo err >&2; exit 3"], {}, tmp_path)


def test_it_gets_its_folder_and_its_environment_only(tmp_path: Path) -> None:
    answer = ask([SHELL, "-c", 'echo "$A" "$HOME"; pwd'], {"A": "b"}, tmp_path)
    assert Answer(0, f"b \n{tmp_path}\n".encode()) == answer


def test_one_that_does_not_end_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SECONDS", 0.2)
    child = tmp_path / "child"
    line = f"/bin/sleep 60 & echo $! > {child}; /bin/sleep 60"
    with within(0.2):
        assert None is ask([SHELL, "-c", line], {}, tmp_path)
    wait_until(lambda: not child.exists() or not is_running(int(child.read_text())))


@pytest.mark.parametrize("own", ["", "setsid "])
def test_what_it_leaves_behind_is_not_waited_for(tmp_path: Path, own: str) -> None:
    with within(0):
        assert Answer(0, b"said\n") == ask([SHELL, "-c", f"{own}/bin/sleep 20 & echo said"], GIVEN, tmp_path)


def test_one_that_says_too_much_is_ended(tmp_path: Path) -> None:
    answer = ask(
        [SHELL, "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"], {}, tmp_path
    )
    assert answer is not None
    assert None is answer.code


def test_one_that_cannot_be_started_gives_no_answer(tmp_path: Path) -> None:
    assert None is ask([str(tmp_path / "nothing")], {}, tmp_path)
    assert None is ask([SHELL, "-c", "exit"], {}, tmp_path / "nowhere")


def test_a_program_is_looked_for_in_absolute_folders_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it").write_text("#!/bin/sh\n")
    assert None is program("it", {"PATH": str(tmp_path)})
    (tmp_path / "it").chmod(0o755)
    assert None is program("it", {"PATH": ".:"})
    assert tmp_path / "it" == program("it", {"PATH": f"/nowhere:{tmp_path}"})


def test_a_link_to_the_checkout_is_not_outside(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "it").touch()
    (tmp_path / "it").symlink_to("checkout/it")
    assert not outside(tmp_path / "it", tmp_path / "checkout")
    assert outside(Path(SHELL), tmp_path)


@pytest.mark.parametrize(
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
    facts = [Fact("no-docker", "m", "h"), Fact("no-dags", "m", "h"), Fact("dead-keys", "m", "h")]
    found = verdicts(facts, {"dead-keys": "error", "no-dags": "off"}, exported=False)
    assert [("dead-keys", "error"), ("no-docker", "warning")] == [(one.code, one.level) for one in found]


def test_the_environment_s_levels_are_read_in_full_or_refused() -> None:
    assert {"no-dags": "error", "no-docker": "off"} == levels_text(" no-dags=error , no-docker = off", "X")
    for text in ("", "no-dags", "no-dags=", "no-dags=ERROR", "no-dags=error=error", "x"):
        with pytest.raises(ConfigError):
            levels_text(text, "X")


def test_no_level_of_a_code_is_lower_where_the_token_is_exported() -> None:
    assert all(code.exported in {None, "error"} for code in CODES.values())
