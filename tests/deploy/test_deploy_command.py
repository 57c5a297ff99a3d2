"""What is read from a command line of `astro deploy`, as the Astro CLI's own parser of flags reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.deploy.command import deploy_of
from astro_token.policy.codes import DEPLOY as CODES
from tests.rows import each_row

FORCED = {"uncommitted", "git-unknown"}
NO_IMAGE = {"no-dockerfile", "requirements-clash"}
NO_DAGS = {"no-dags", "dags-ignored"}


@each_row(
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
    deploy = deploy_of(line.split())
    assert deploy is not None
    assert (deployment, dags, suppressed) == (deploy.deployment, deploy.dags, set(deploy.suppressed(1)))
    assert suppressed <= CODES.keys()


@each_row(
    ("line", "deployment", "workspace", "suppressed"),
    [
        ("deploy --deployment prod", "prod", None, set()),
        ("deploy --deployment=prod --output json --wait", "prod", None, set()),
        ("deploy --workspace clws0 prod", "prod", "clws0", {"no-workspace"}),
        ("deploy --workspace-id clws0 --deployment prod", "prod", "clws0", {"no-workspace"}),
        ("deploy -o json -w prod", "prod", None, set()),
        ("-o json deploy --output text prod", "prod", None, set()),
        ("deploy --dags --deployment prod", "prod", None, NO_IMAGE),
        ("deploy -d prod", "prod", None, NO_IMAGE),
        ("deploy --image prod", "prod", None, NO_DAGS),
        ("deploy -i mine prod", "prod", None, NO_IMAGE),
        ("deploy --deployment=", None, None, set()),
        # They are ignored, or refused by the Astro CLI itself.
        ("deploy --force -p prod", "prod", None, set()),
        ("deploy --dags --parse prod", "prod", None, NO_IMAGE),
        ("deploy -n etl -e .env -t tests", None, None, set()),
    ],
)
def test_the_flags_of_astro_cli_2_are_read_as_it_reads_them(
    line: str, deployment: str | None, workspace: str | None, suppressed: set[str]
) -> None:
    deploy = deploy_of(line.split())
    assert deploy is not None
    assert (deployment, workspace, suppressed) == (
        deploy.deployment,
        deploy.workspace,
        set(deploy.suppressed(2)),
    )
    assert not deploy.is_outside


@pytest.mark.parametrize(
    "line", ["deploy --non-dags --non-dags-mount-path x cldep0", "deploy cldep0 --non-dags"]
)
def test_a_folder_outside_of_any_project_is_deployed_to_a_deployment_too(line: str) -> None:
    deploy = deploy_of(line.split())
    assert deploy is not None
    assert ("cldep0", True) == (deploy.deployment, deploy.is_outside)


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


@each_row(
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
    ],
)
def test_other_commands_are_none_and_help_is_none(line: str) -> None:
    assert None is deploy_of(line.split())


@given(st.lists(st.text("-=fdnhw x", max_size=6), max_size=5))
def test_no_command_line_makes_it_fail(words: list[str]) -> None:
    deploy_of(["deploy", *words])
    deploy_of(words)
