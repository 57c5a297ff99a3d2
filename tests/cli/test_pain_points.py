"""
What people lost hours over with the Astro CLI, by the threads of its trackers, and what we say instead.

A stand-in for the CLI shows what one gets without us: `tests/programs` holds it against the real program.
Where the thread is about an older release than the stand-in's, and mended since, that is said.
docs/pain-points.md has the same as a table.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.testing import make_token
from tests.cli.conftest import child
from tests.cli.deploy_project import Project, make
from tests.conftest import ROOT, Result
from tests.servers.astro_api import (
    DEPLOYMENT,
    ORGANIZATION,
    OTHER_WORKSPACE,
    WORKSPACE,
    AstroApi,
    Grant,
    organization,
    workspace,
)
from tests.servers.http1 import Answer
from tests.servers.releases import Releases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.certificates import Certificates

CONTEXT = (
    "Error: failed to find a valid workspace: failed to get current Workspace: current workspace context"
)
STALE = f"organization: {ORGANIZATION}\nworkspace: clstaleworkspace"


@dataclass(frozen=True)
class Scene:
    """
    A committed Astro project, a token for it, and Astro.

    Attributes:
        home: the Astro CLI's where it runs without us; it writes the token there in clear.
    """

    project: Project
    api: AstroApi
    home: Path

    def use(self, token: str) -> str:
        """Makes it the token of what follows, and has it looked for everywhere."""
        self.project.program.canaries.append(token)
        self.project.env["TOKEN"] = token
        return token

    def expect(self, text: str, more: str = "") -> None:
        self.project.policy(f'default = "prod"\n[tokens.prod]\nref = "env:TOKEN"\n{text}\n{more}')

    def theirs(self, *arguments: str, token: str | None = None) -> Result:
        """The Astro CLI without us, with the token exported."""
        given = self.project.env.get("TOKEN", "") if token is None else token
        done = subprocess.run(
            [self.project.bin / "astro", *arguments],
            env={
                "PATH": str(self.project.bin),
                "HOME": str(self.home),
                "STANDIN_API_URL": self.api.url,
                "ASTRO_API_TOKEN": given,
                "ASTRO_TELEMETRY_DISABLED": "1",  # its notice would come before the lines that are looked at
            },
            cwd=self.project.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def leave(self, context: str) -> None:
        """What an earlier job left in the home."""
        (self.home / ".astro").mkdir(exist_ok=True)
        lines = "".join(f"    {line}\n" for line in ("domain: astronomer.io", *context.splitlines()))
        text = f"context: astronomer.io\ncontexts:\n  astronomer_io:\n{lines}"
        (self.home / ".astro" / "config.yaml").write_text(text)

    @property
    def left(self) -> str:
        return (self.home / ".astro" / "config.yaml").read_text()

    def ours(self, command: str, *arguments: str, **env: str) -> Result:
        """One of our commands, about the token."""
        token = () if (self.project.folder / "astro-token.toml").exists() else ("env:TOKEN",)
        here = {"PATH": str(self.project.bin), **self.project.env, **env}
        return self.project.program(command, *token, *arguments, env=here, cwd=self.project.folder)

    def astro(self, *arguments: str, **env: str) -> Result:
        """The Astro CLI by us."""
        return self.project.exec("astro", *arguments, env=env)

    def found(self, *arguments: str, of: str = "tokens", **env: str) -> list[str]:
        """The codes that `check` has, of the token or of the deploy."""
        document = json.loads(self.ours("check", "--format", "json", *arguments, **env).stdout)
        part: dict[str, Any] = document[of][0] if of == "tokens" else document[of]
        return [verdict["code"] for verdict in part["verdicts"]]


@pytest.fixture
def scene(program: Program, canary: str, tmp_path: Path, astro_api: AstroApi) -> Iterator[Scene]:
    project = make(program, canary, tmp_path)
    home = tmp_path / "job"
    home.mkdir()
    project.env |= {"STANDIN_API_URL": astro_api.url, "ASTRO_TOKEN_API_URL": astro_api.url}
    yield Scene(project, astro_api, home)
    for file in project.open:
        file.close()


# -- a token that is no longer good ---------------------------------------------------------------------


def test_astro_cli_1469_an_expired_token_is_named_and_no_missing_workspace(scene: Scene) -> None:
    """Releases before 1.27.1 blamed the workspace; the CLI names it now, once it has stored the token."""
    scene.use(scene.api.issue(expires_in=-8 * 86400))
    theirs = scene.theirs("deploy", DEPLOYMENT, "--dags")
    assert (1, True) == (theirs.code, theirs.stderr.startswith("Error: API Token is expired\n"))
    ours = scene.astro("deploy", DEPLOYMENT, "--dags")
    assert re.fullmatch(
        r"astro-token: error: env:TOKEN: the token expired at 20\S+ \S+ UTC\nastro-token: hint: .+\n",
        ours.stderr,
    )
    assert (65, "", []) == (ours.code, ours.stdout, scene.api.requests)


def test_astro_cli_1469_a_revoked_token_is_called_so_and_no_workspace_is_blamed(scene: Scene) -> None:
    scene.api.revoke(scene.use(scene.api.issue()))
    theirs = scene.theirs("deploy", DEPLOYMENT, "--dags")
    assert (1, True) == (theirs.code, theirs.stderr.startswith(CONTEXT))
    before = len(scene.api.requests)
    ours = scene.astro("deploy", DEPLOYMENT, "--dags", ASTRO_TOKEN_POLICY_ONLINE="true")
    assert (65, True) == (ours.code, "Astro does not accept the token: it was revoked" in ours.stderr)
    assert (False, 1) == ("workspace" in ours.stderr, len(scene.api.requests) - before)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_astro_cli_pr_1634_what_the_cli_passes_over_before_a_command_is_the_outcome(
    scene: Scene, status: int
) -> None:
    """That change named the expired token, and left all other failures unheard."""
    body = {"message": "told to nobody", "requestId": "r-1", "statusCode": status}
    scene.use(scene.api.issue())
    scene.api.faults = [Answer.json(body, status)]
    theirs = scene.theirs("workspace", "list")
    # It went on as if nothing were, without an organization.
    assert (1, True, False) == (theirs.code, "Not found" in theirs.stderr, "told to" in theirs.stderr)
    scene.api.faults = [Answer.json(body, status)] * 12
    ours = scene.ours("check", "--online", "--timeout", "3")
    assert {401: 65, 403: 65, 500: 75}[status] == ours.code
    assert ("told to nobody" in ours.stderr, "request" in ours.stderr) == (False, True)


def test_astro_cli_1312_the_gateway_s_words_are_not_passed_on(scene: Scene) -> None:
    """`API error (401): Jwt is expired`, in place of which token that is and since when."""
    scene.use(scene.api.issue(expires_in=-5))
    ours = scene.ours("check", "--online")
    assert (65, True) == (ours.code, "error: env:TOKEN: the token expired at 20" in ours.stderr)
    assert "Jwt" not in ours.stdout + ours.stderr


# -- tokens of an organization, and workspaces ----------------------------------------------------------


def test_astro_cli_1635_that_the_token_names_no_workspace_is_said_and_not_only_that_a_context_lacks(
    scene: Scene,
) -> None:
    scene.use(scene.api.issue(ws=None))
    theirs = scene.theirs("deploy", DEPLOYMENT, "--dags")
    assert (1, True) == (theirs.code, theirs.stderr.startswith(CONTEXT))
    said = "env:TOKEN names no workspace, and none is expected: without --workspace-id"
    checked = scene.ours("check", "--deploy")
    assert (65, True) == (checked.code, f"astro-token: error: deploy: {said}" in checked.stderr)
    ours = scene.astro("deploy", DEPLOYMENT, "--dags")
    assert ours.stderr.startswith(f"astro-token: warning: deploy: {said}")
    assert f"\n{CONTEXT}" in ours.stderr


def test_astro_cli_2181_and_pr_2182_no_workspace_id_is_needed_which_older_releases_pass_over(
    scene: Scene,
) -> None:
    """Mended in 1.44.0; before, the flag counted for nothing where no workspace was stored."""
    scene.use(scene.api.issue(ws=None))
    scene.expect(f'workspace = "{WORKSPACE}"\ndeployment = "{DEPLOYMENT}"')
    deployed = scene.astro("deploy", DEPLOYMENT, "--dags")
    assert (0, 1) == (deployed.code, len(scene.api.uploads))
    scene.project.script("astro", "echo Astro CLI Version: 1.43.1")
    assert [] == scene.found("--deploy", of="deploy", TOKEN=scene.api.issue())
    checked = scene.ours("check", "--deploy")
    assert (
        "astro-token: warning: deploy: the astro on PATH is 1.43.1, and before 1.44.0 "
        "--workspace-id is ignored for a token without a workspace\n"
        "astro-token: hint: run astro-token install-cli, and put its folder first on PATH\n" in checked.stderr
    )


def test_astro_cli_1635_and_2181_the_workspace_of_the_expected_deployment_is_found_out(scene: Scene) -> None:
    scene.use(scene.api.issue(ws=None))
    assert (1, True) == (
        (theirs := scene.theirs("deployment", "list")).code,
        theirs.stderr.startswith(CONTEXT),
    )
    scene.expect(f'deployment = "{DEPLOYMENT}"', "[policy]\nonline = true\n")
    ours = scene.astro("deployment", "list")
    assert (0, "", True, False) == (ours.code, ours.stderr, "etl" in ours.stdout, "reports" in ours.stdout)


def test_astro_cli_1206_a_token_that_may_see_no_workspace_is_told_so_and_shows_no_empty_list(
    scene: Scene,
) -> None:
    scene.use(scene.api.issue(ws=None, grant=Grant(workspaces=frozenset())))
    theirs = scene.theirs("workspace", "list")
    assert (0, ["NAME", "ID"]) == (theirs.code, theirs.stdout.splitlines()[-1].split())
    scene.expect(f'workspace = "{WORKSPACE}"')
    ours = scene.ours("check", "--online")
    assert (65, True, True) == (
        ours.code,
        f"Astro does not let the token read the workspace {WORKSPACE}\n" in ours.stderr,
        "hint: give the token a role in this workspace" in ours.stderr,
    )


def test_astro_cli_1388_and_1095_nobody_switches_between_organizations_and_workspaces(scene: Scene) -> None:
    """`workspace switch` fails under a token, and `organization switch` asks a person."""
    second = "clorganization0000000002"
    scene.api.organizations.append(organization(second, name="Second"))
    scene.api.workspaces.append(workspace("clworkspace000000000003", name="Third", org=second))
    tokens = {
        "ONE": scene.use(scene.api.issue(ws=None)),
        "TWO": scene.use(scene.api.issue(ws=None, org=second)),
    }
    # In one home for both, the second job goes on in the workspace of the first.
    scene.leave(f"organization: {ORGANIZATION}\nworkspace: {WORKSPACE}")
    scene.theirs("workspace", "list", token=tokens["TWO"])
    assert f"workspace: {WORKSPACE}" in scene.left
    scene.project.policy(
        f'[tokens.one]\nref = "env:ONE"\nworkspace = "{WORKSPACE}"\n'
        '[tokens.two]\nref = "env:TWO"\nworkspace = "clworkspace000000000003"\n'
    )
    env = {"PATH": str(scene.project.bin), **scene.project.env, **tokens}
    for name, shown, hidden in (
        ("one", "Production", "Third"),
        ("two", "Third", "Production"),
        ("one", "Production", "Third"),
    ):
        run = ("exec", name, "--", "astro", "workspace", "list")
        ours = scene.project.program(*run, env=env, cwd=scene.project.folder)
        # The current one is in bold.
        assert (0, True, False) == (ours.code, f"\x1b[1;32m {shown}" in ours.stdout, hidden in ours.stdout)


def test_astro_cli_1352_an_organization_s_token_asks_for_no_login_and_no_email(scene: Scene) -> None:
    """A release before asked for an email address all the same; a token is all that we need."""
    scene.use(scene.api.issue(ws=None))
    ours = scene.astro("organization", "list")
    assert (0, "", True) == (ours.code, ours.stderr, "Acme" in ours.stdout)
    # Where there is no token, nothing is started that could ask.
    ours = scene.astro("organization", "list", TOKEN="")
    assert (False, "") == (ours.code == 0, ours.stdout)


# -- a home that jobs share -----------------------------------------------------------------------------


def test_astro_cli_1376_a_workspace_of_another_job_ends_no_deploy_with_0(scene: Scene) -> None:
    scene.use(scene.api.issue(ws=None))
    scene.leave(STALE)
    theirs = scene.theirs("deploy", DEPLOYMENT, "--dags")
    assert (0, True, {}) == (
        theirs.code,
        "Invalid workspace id clstaleworkspace was provided through the --workspace-id flag" in theirs.stdout,
        scene.api.deploys,
    )
    scene.leave(STALE)
    scene.expect(f'workspace = "{WORKSPACE}"')
    # What would come of it is told before, and `exec` does not come by that workspace.
    job = {"ASTRO_HOME": str(scene.home)}
    exported = {**job, "ASTRO_API_TOKEN": scene.project.env["TOKEN"]}
    checked = scene.ours("check", "--deploy", **exported)
    assert (65, True) == (
        checked.code,
        "astro-token: error: deploy: prod names no workspace, so the Astro CLI uses clstaleworkspace from "
        in checked.stderr,
    )
    ours = scene.astro("deploy", DEPLOYMENT, "--dags", **job)
    assert (0, 1, False) == (ours.code, len(scene.api.uploads), "Bearer" in scene.left)
    assert "workspace: clstaleworkspace\n" in scene.left


def test_astro_cli_1376_a_stale_workspace_is_not_taken_where_none_is_expected(scene: Scene) -> None:
    scene.use(scene.api.issue(ws=None))
    scene.leave(STALE.replace("clstaleworkspace", OTHER_WORKSPACE))
    assert "reports" in scene.theirs("deployment", "list").stdout
    scene.leave(STALE.replace("clstaleworkspace", OTHER_WORKSPACE))
    ours = scene.astro("deployment", "list", ASTRO_HOME=str(scene.home))
    assert (1, True, False) == (ours.code, CONTEXT in ours.stderr, "reports" in ours.stdout)


def test_astro_cli_1376_a_deployment_of_another_workspace_is_no_success(scene: Scene) -> None:
    scene.use(scene.api.issue(ws=None))
    scene.expect(f'deployment = "{DEPLOYMENT}"\nworkspace = "{OTHER_WORKSPACE}"')
    theirs = scene.astro("deploy", DEPLOYMENT, "--dags")
    assert (0, True, {}) == (theirs.code, "Invalid workspace id" in theirs.stdout, scene.api.deploys)
    ours = scene.ours("check", "--online")
    assert (65, True) == (
        ours.code,
        f"is in workspace {WORKSPACE}, not in {OTHER_WORKSPACE}: "
        "the Astro CLI would deploy nothing and succeed" in ours.stderr,
    )
    online = {"ASTRO_TOKEN_POLICY_ONLINE": "true"}
    assert (65, {}) == (scene.astro("deploy", DEPLOYMENT, "--dags", **online).code, scene.api.deploys)


# -- where the token goes -------------------------------------------------------------------------------


def test_astro_cli_pr_2077_nothing_is_left_in_the_user_s_home(scene: Scene) -> None:
    token = scene.use(scene.api.issue())
    scene.theirs("deployment", "list")
    assert f"token: Bearer {token}\n" in scene.left
    ours = scene.astro("deployment", "list")
    # The program's own scan looks for every form of the token, wherever it could have been written.
    assert (0, "", []) == (ours.code, ours.stderr, list(scene.project.home.iterdir()))
    # The control: without isolation it does write there, and the scan finds it.
    bare = ("exec", "--no-isolate", "env:TOKEN", "--", "astro", "deployment", "list")
    env = {"PATH": str(scene.project.bin), **scene.project.env}
    with pytest.raises(AssertionError, match=r"config\.yaml"):
        scene.project.program(*bare, env=env, cwd=scene.project.folder)


def test_astro_cli_pr_2077_a_token_that_an_earlier_run_left_in_clear_is_found(scene: Scene) -> None:
    scene.use(scene.api.issue())
    scene.theirs("workspace", "list")
    home = {"ASTRO_HOME": str(scene.home)}
    assert ["token-left"] == scene.found("--deploy", of="deploy", **home)
    hint = "hint: run astro logout with this home, revoke that token if others can read the file"
    assert hint in scene.ours("check", "--deploy", **home).stderr


def test_astro_cli_pr_2077_a_login_that_the_token_would_overwrite_is_found(scene: Scene) -> None:
    scene.use(scene.api.issue())
    scene.leave("token: Bearer of-a-login\nuser_email: a@example.com")
    home = {"ASTRO_HOME": str(scene.home)}
    assert ["login-overwritten"] == scene.found("--deploy", of="deploy", **home)
    before = scene.left
    assert 0 == scene.astro("workspace", "list", **home).code
    assert before == scene.left
    scene.theirs("workspace", "list")
    assert "of-a-login" not in scene.left


def test_astro_cli_781_the_expiry_is_the_token_s_and_not_half_a_century_away(scene: Scene) -> None:
    scene.use(scene.api.issue(exp=4_000_000_000))
    scene.theirs("workspace", "list")
    assert re.search(r"expiresin: 208\d-", scene.left)
    said = json.loads(scene.ours("check", "--format", "json").stdout)
    assert "2096-10-02T07:06:40Z" == said["tokens"][0]["expires"]


def test_astro_cli_pr_1787_a_token_on_the_command_line_is_refused_and_not_repeated(scene: Scene) -> None:
    token = scene.use(make_token())
    for command in (("exec", token, "--", "true"), ("check", token), ("put", token), ("export", token)):
        ours = scene.project.program(*command)
        assert (
            Result(
                64,
                "",
                "astro-token: error: a token was given where its reference or name is wanted\n"
                "astro-token: hint: a command line is readable by every user of the machine: "
                "replace that token, and give the new one on standard input or in a variable\n",
            )
            == ours
        )


def test_astro_cli_pr_1564_what_prints_the_token_into_a_ci_log_prints_three_stars(scene: Scene) -> None:
    token = scene.use(scene.api.issue())
    assert token in scene.theirs("auth", "token").stdout
    ours = scene.astro("auth", "token", CI="true")
    assert Result(0, "Using an Astro API Token\n***\n", "") == ours
    show = (sys.executable, "-ISc", "import os; print(os.environ['ASTRO_API_TOKEN'])")
    assert Result(0, "***\n", "") == scene.project.exec(*show, env={"CI": "true"})
    assert "environ" in scene.project.exec(*child("tell"), env={"CI": "true"}).stdout


def test_astro_cli_1097_what_is_asked_for_is_all_there_is_on_standard_output(scene: Scene) -> None:
    """Mended for `deployment inspect`, `create` and `update`; other commands still print a line before."""
    token = scene.use(scene.api.issue())
    assert f"Using an Astro API Token\n{token}\n" == scene.theirs("auth", "token").stdout
    run = ("export", "--format", "value", "env:TOKEN")
    value = scene.project.program(*run, env={"TOKEN": token}, allowed=["stdout"])
    assert (0, token) == (value.code, value.stdout.strip())
    # And `exec` adds nothing to what the command prints.
    inspect = ("deployment", "inspect", DEPLOYMENT, "--key", "metadata.workspace_id")
    assert Result(0, f"{WORKSPACE}\n", "") == scene.astro(*inspect)


# -- what a token is for --------------------------------------------------------------------------------


def test_astro_cli_1556_and_pr_1559_a_deployment_s_token_works_without_a_workspace_of_its_own(
    scene: Scene,
) -> None:
    """The CLI looks for the workspace by what such a token may not ask, and says that it does not exist."""
    grant = Grant(workspaces=frozenset({WORKSPACE}), deployments=frozenset({DEPLOYMENT}))
    scene.use(scene.api.issue(ws=None, deployment=DEPLOYMENT, grant=grant))
    inspect = ("deployment", "inspect", DEPLOYMENT, "--key", "metadata.workspace_id")
    theirs = scene.theirs(*inspect)
    assert (1, True) == (theirs.code, theirs.stderr.startswith(CONTEXT))
    scene.expect(f'deployment = "{DEPLOYMENT}"', "[policy]\nonline = true\n")
    assert Result(0, f"{WORKSPACE}\n", "") == scene.astro(*inspect)
    (said,) = json.loads(scene.ours("check", "--format", "json").stdout)["tokens"]
    assert ("deployment", DEPLOYMENT, WORKSPACE) == (
        said["scope"],
        said["deployment"],
        said["online"]["workspace"],
    )
    # Of one that is expected to be a workspace's, it is said which it is and what to do.
    scene.expect(f'workspace = "{WORKSPACE}"')
    ours = scene.ours("check")
    assert ours.stderr.endswith(
        f": the token names no workspace; the project expects {WORKSPACE}\n"
        "astro-token: hint: use a token of workspace scope, "
        "or name its deployment in the project file, or check it with --online\n"
    )


def test_astro_cli_1160_a_token_that_is_shown_no_organization_is_told_so(scene: Scene) -> None:
    """`organization with id … not found` then; a crash now."""
    scene.use(scene.api.issue())
    scene.api.organizations.clear()
    theirs = scene.theirs("workspace", "list")
    assert (2, True) == (theirs.code, theirs.stderr.startswith("panic: runtime error: index out of range"))
    ours = scene.ours("check", "--online")
    assert (65, ["organization-missing"]) == (ours.code, scene.found("--online")[:1])
    assert "error: env:TOKEN: Astro shows no organization to the token" in ours.stderr


# -- changes that are not committed ---------------------------------------------------------------------


def test_astro_cli_1721_and_2257_and_pr_2004_a_deploy_of_uncommitted_changes_ends_with_no_0(
    scene: Scene,
) -> None:
    scene.use(scene.api.issue())
    scene.project.write("dags/etl.py", "# changed\n")
    theirs = scene.theirs("deploy", DEPLOYMENT, "--dags")
    assert (0, {}) == (theirs.code, scene.api.deploys)
    assert "use `astro deploy [deployment-id] -f` to force deploy" in theirs.stdout
    scene.api.requests.clear()
    said = (
        "deploy: 1 tracked file has uncommitted changes: the Astro CLI ends with 0 and deploys nothing\n"
        "astro-token: hint: commit or restore them (git status lists them), or deploy with --force\n"
    )
    checked = scene.ours("check", "--deploy")
    assert (65, True) == (checked.code, f"astro-token: error: {said}" in checked.stderr)
    warned = scene.astro("deploy", DEPLOYMENT, "--dags")
    assert (0, f"astro-token: warning: {said}") == (warned.code, warned.stderr)
    # A team makes it an error, and nothing is started.
    scene.expect("", '[policy.deploy]\nuncommitted = "error"\n')
    scene.project.write("dags/etl.py", "# changed again\n")
    scene.api.requests.clear()
    kept = scene.astro("deploy", DEPLOYMENT, "--dags")
    assert Result(65, "", f"astro-token: error: {said}") == kept
    assert [] == scene.api.requests
    forced = scene.astro("deploy", DEPLOYMENT, "--dags", "-f")
    assert (0, "", 1) == (forced.code, forced.stderr, len(scene.api.uploads))


# -- the action, and the release ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, ""])
def test_deploy_action_113_a_token_that_is_missing_is_named_before_anything_is_started(
    scene: Scene, value: str | None
) -> None:
    theirs = scene.theirs("deploy", DEPLOYMENT, "--dags", token="")
    assert (1, False) == (theirs.code, "ASTRO_API_TOKEN" in theirs.stdout + theirs.stderr)
    env = {"PATH": str(scene.project.bin), **({} if value is None else {"ASTRO_API_TOKEN": value})}
    run = ("exec", "--", "astro", "deploy", DEPLOYMENT, "--dags")
    ours = scene.project.program(*run, env=env, cwd=scene.project.folder)
    assert (
        Result(
            78,
            "",
            "astro-token: error: no token is configured\n"
            "astro-token: hint: give a reference such as vault:secret/astro/prod#token, set ASTRO_TOKEN_REF, "
            "or write astro-token.toml\n",
        )
        == ours
    )
    # By name, where the variable that a secret was to be in is empty or not there.
    given = {} if value is None else {"ASTRO_TOKEN": value}
    named = scene.project.program("exec", "env:ASTRO_TOKEN", "--", "astro", "deploy", env={**env, **given})
    assert (True, True) == (named.code in {65, 66}, "astro-token: error: env:ASTRO_TOKEN" in named.stderr)
    assert [] == scene.api.requests


def test_astro_cli_1689_and_deploy_action_25_and_pr_147_the_release_is_the_one_that_the_project_pins(
    scene: Scene, certificates: Certificates
) -> None:
    """The installer takes the latest of the day unless it is told."""
    scene.use(scene.api.issue())
    scene.expect(f'deployment = "{DEPLOYMENT}"', '[astro-cli]\nversion = "1.44.0"\n')
    checked = scene.ours("check", "--deploy")
    assert (
        "astro-token: warning: deploy: the astro on PATH is 1.45.0, and the project's file pins 1.44.0\n"
        "astro-token: hint: run astro-token install-cli, and put its folder first on PATH\n" in checked.stderr
    )
    folder = scene.project.home / "pinned"
    with Releases(certificates.server.context()) as releases:
        for version in ("1.44.0", "1.45.0"):
            releases.publish(version)
        env = {
            "ASTRO_TOKEN_CLI_RELEASES_URL": releases.url,
            "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
            "PATH": "/usr/bin:/bin",
        }
        run = ("install-cli", "--to", str(folder))
        assert 0 == scene.project.program(*run, env=env, cwd=scene.project.folder).code
    path = f"{folder}:{scene.project.bin}:/usr/bin:/bin"
    assert [] == scene.found("--deploy", of="deploy", PATH=path)
    assert "Astro CLI Version: 1.44.0\n" == scene.astro("version", PATH=path).stdout


def test_deploy_action_pr_137_an_astro_that_is_not_there_is_named_with_what_installs_it(
    scene: Scene,
) -> None:
    scene.use(scene.api.issue())
    (scene.project.bin / "astro").unlink()
    ours = scene.astro("deploy", DEPLOYMENT)
    assert (127, True) == (ours.code, "astro-token: error: astro: command not found\n" in ours.stderr)
    checked = scene.ours("check", "--deploy")
    assert (78, True) == (
        checked.code,
        "astro-token: error: deploy: astro is not on PATH\n"
        "astro-token: hint: install it with astro-token install-cli, and put its folder on PATH\n"
        in checked.stderr,
    )


# -- the documentation ----------------------------------------------------------------------------------


def test_every_thread_of_the_documentation_has_a_test_named_after_it() -> None:
    table = (ROOT / "docs" / "pain-points.md").read_text()
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| [")]
    threads = {number for row in rows for number in re.findall(r"\[(?:PR )?#(\d+)\]", row)}
    names = " ".join(name for name in globals() if name.startswith("test_"))
    assert threads == set(re.findall(r"_(\d{2,4})(?=_)", names))
    assert len(threads) > 25
