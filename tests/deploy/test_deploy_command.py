"""What is read from a command line of `astro deploy`, as the Astro CLI's own parser of flags reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.deploy.command import Deploy, deploy_of
from astro_token.policy.codes import DEPLOY as CODES
from astro_token.record import replace

FORCED = {"uncommitted", "git-unknown"}
NO_IMAGE = {"no-dockerfile", "requirements-clash"}
NO_DAGS = {"no-dags", "dags-ignored"}


@pytest.mark.parametrize(
    ("line", "deployment", "dags", "suppressed"),
    [
        ("deploy", None, None, set()),
        ("deploy cldep0", "cldep0", None, set()),
        ("deploy -f cldep0", "cldep0", None, FORCED),
        ("deploy --force cldep0", "cldep0", None, FORCED),
        ("-f deploy cldep0", "cldep0", None, FORCED),
        ("deploy --force=true", None, None, FORCED),
        ("deploy --force=false", None, None, set()),
        ("deploy -f=0", None, None, set()),
        ("deploy --force --force=false", None, None, set()),
        ("deploy -df", None, None, FORCED | NO_IMAGE),
        ("deploy -fd cldep0", "cldep0", None, FORCED | NO_IMAGE),
        ("deploy --dags", None, None, NO_IMAGE),
        ("deploy --dags --parse", None, None, set()),
        ("deploy --dags --pytest", None, None, set()),
        ("deploy --dags --pytest=false", None, None, NO_IMAGE),
        ("deploy --dags --dags-path other", None, "other", NO_IMAGE),
        ("deploy --dags --dags-path=other", None, "other", NO_IMAGE),
        ("deploy --dags-path= cldep0", "cldep0", None, set()),
        ("deploy --image", None, None, NO_DAGS),
        ("deploy --image-name mine cldep0", "cldep0", None, NO_IMAGE),
        ("deploy -imine", None, None, NO_IMAGE),
        ("deploy -n etl", None, None, set()),
        ("deploy -netl -f", None, None, FORCED),
        ("deploy -n=etl cldep0", "cldep0", None, set()),
        ("deploy -fn etl", None, None, FORCED),
        ("deploy --deployment-name etl -d", None, None, NO_IMAGE),
        ("deploy --deployment-name -f", None, None, set()),
        ("deploy --workspace-id clws0 cldep0", "cldep0", None, {"no-workspace"}),
        ("deploy --workspace-id=", None, None, set()),
        ("deploy --description -f cldep0", "cldep0", None, set()),
        ("deploy --build-secret id=x,src=y -w --wait-time 9m cldep0", "cldep0", None, set()),
        ("--verbosity debug deploy cldep0", "cldep0", None, set()),
        ("--verbosity=debug deploy", None, None, set()),
        ("deploy -- -f", "-f", None, set()),
        ("deploy -", "-", None, set()),
        ("deploy --new-one cldep0", "cldep0", None, set()),
        ("deploy -n", None, None, set()),
    ],
)
def test_flags_are_read_as_the_astro_cli_reads_them(
    line: str, deployment: str | None, dags: str | None, suppressed: set[str]
) -> None:
    assert Deploy(deployment, dags, frozenset(suppressed)) == replace(deploy_of(line.split()), workspace=None)  # type: ignore[type-var]
    assert suppressed <= CODES.keys()


@pytest.mark.parametrize(
    ("line", "workspace"),
    [
        ("deploy --workspace-id clws0 cldep0", "clws0"),
        ("deploy --workspace-id=clws0", "clws0"),
        ("deploy --workspace-id=", None),
        ("deploy cldep0", None),
    ],
)
def test_the_workspace_that_is_named_is_known(line: str, workspace: str | None) -> None:
    found = deploy_of(line.split())
    assert found is not None
    assert workspace == found.workspace


@pytest.mark.parametrize(
    "line",
    [
        "",
        "version",
        "deployment list",
        "deployment create deploy",
        "dbt deploy",
        "remote deploy",
        "--verbosity deploy",
        "help deploy",
        "deploy --help",
        "deploy -fh",
        "deploy --non-dags --non-dags-mount-path x cldep0",
    ],
)
def test_other_commands_are_none_and_help_is_none(line: str) -> None:
    assert None is deploy_of(line.split())


@given(st.lists(st.text("-=fdnhw x", max_size=6), max_size=5))
def test_no_command_line_makes_it_fail(words: list[str]) -> None:
    deploy_of(["deploy", *words])
    deploy_of(words)
