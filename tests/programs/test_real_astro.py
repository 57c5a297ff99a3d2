"""
What the Astro CLI does with its token, as far as we build on it.

    ASTRO_BIN=/path/to/astro python -m pytest tests/programs/test_real_astro.py

Each fact is asserted of the stand-in, and of a real program where ASTRO_BIN names one:
that is how the stand-in is kept true. Without ASTRO_BIN there are no tests of a real program.
The real one was 1.45.0 when these facts were found. It is pointed at a loopback API, without telemetry,
which `test_telemetry.py` is about.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import shutil
import stat
import sys
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from astro_token.environment.cli_config import problems_of, user_settings
from astro_token.testing import make_token
from tests.environment.cli_config_spellings import redirecting
from tests.programs.bench import PROGRAMS, STALE, Bench
from tests.servers.astro_api import (
    DEPLOYMENT,
    ORGANIZATION,
    OTHER_DEPLOYMENT,
    OTHER_WORKSPACE,
    WORKSPACE,
    AstroApi,
    organization,
)
from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ANNOUNCED = "Using an Astro API Token\n"
ORGANIZATIONS = "GET /v1/organizations?limit=100&offset=0"
PERMISSIONS = [f"organizationId:{ORGANIZATION}", f"workspaceId:{WORKSPACE}"]
NO_WORKSPACE = (
    "Error: failed to find a valid workspace: failed to get current Workspace: "
    "current workspace context not set, "
    "you can switch to a workspace with \n\tastro workspace switch WORKSPACEID\n"
)


@pytest.fixture(params=PROGRAMS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, astro_api: AstroApi) -> Bench:
    return Bench(PROGRAMS[request.param], tmp_path, astro_api)


def workspaces_of(org: str) -> str:
    return f"GET /v1/organizations/{org}/workspaces?limit=1000&offset=0&sorts=name%3Aasc"


def deployments_of(ws: str) -> str:
    return f"GET /v1/organizations/{ORGANIZATION}/deployments?limit=1000&offset=0&workspaceIds={ws}"


def jwt(head: object, body: object) -> str:
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body, b"signature")
    ]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


# -- which commands look at the token, and what they ask the API ------------------------------------


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("organization list", [ORGANIZATIONS]),
        ("workspace list", [workspaces_of(ORGANIZATION)]),
        ("deployment list", [deployments_of(WORKSPACE)]),
        ("deployment list --all", [deployments_of(WORKSPACE).partition("&workspaceIds")[0]]),
        ("auth token", []),
    ],
)
def test_an_authenticated_command_announces_the_token_and_asks_for_the_organizations_first(
    bench: Bench, command: str, asked: list[str]
) -> None:
    result = bench.run(*command.split(), token=bench.api.issue())
    assert (0, "") == (result.code, result.stderr)
    assert result.stdout.startswith(ANNOUNCED)
    assert [ORGANIZATIONS, *asked] == bench.api.lines()


def test_the_announcement_pollutes_what_is_asked_for(bench: Bench) -> None:
    token = bench.api.issue()
    assert f"{ANNOUNCED}{token}\n" == bench.run("auth", "token", token=token).stdout


def test_deployment_inspect_looks_at_the_token_without_a_word(bench: Bench) -> None:
    token = bench.api.issue()
    result = bench.run("deployment", "inspect", DEPLOYMENT, "--key", "metadata.workspace_id", token=token)
    assert (0, f"{WORKSPACE}\n") == (result.code, result.stdout)
    assert f"Bearer {token}" == bench.config("contexts.localhost.token")


@pytest.mark.parametrize(
    "command", ["version", "context list", "config get -g page_size", "config set -g page_size 5"]
)
def test_other_commands_neither_use_nor_store_the_token(bench: Bench, command: str) -> None:
    bench.seed(STALE)
    token = bench.api.issue()
    result = bench.run(*command.split(), token=token)
    assert (0, "") == (result.code, result.stderr)
    assert "Token" not in result.stdout
    assert token not in bench.file.read_text()
    assert [] == bench.api.requests


def test_dev_ignores_the_variable_and_uses_the_stored_token(bench: Bench) -> None:
    stored = bench.api.issue(ws=None)
    bench.seed(STALE.replace("clstaleorganization", ORGANIZATION) + f"    token: Bearer {stored}\n")
    # The real one then looks for uv, and would install an Airflow with it.
    (bench.elsewhere / "python3").symlink_to(sys.executable)
    alone = {"PATH": str(bench.elsewhere)}
    start = ("dev", "start", "--standalone", "--workspace-id", WORKSPACE)
    bench.run(*start, token=bench.api.issue(), cwd=bench.make_project(), env=alone)
    assert [f"/v1/organizations/{ORGANIZATION}/environment-objects"] == [r.path for r in bench.api.requests]
    assert [stored] == [request.bearer for request in bench.api.requests]
    assert f"Bearer {stored}" == bench.config("contexts.localhost.token")


def test_requests_name_the_client(bench: Bench) -> None:
    token = bench.api.issue()
    bench.run("auth", "token", token=token)
    bench.run("auth", "token", token=token, env={"GITHUB_ACTIONS": "true"})
    own, in_actions = (request.headers for request in bench.api.requests)
    assert (f"Bearer {token}", "cli") == (own["authorization"], own["x-astro-client-identifier"])
    assert f"astro-cli/{own['x-astro-client-version']}" == own["user-agent"]
    assert "github-action" == in_actions["x-astro-client-identifier"]


def test_lists_are_read_to_their_end(bench: Bench, tmp_path: Path) -> None:
    with AstroApi(page=1) as api:
        bench.api = api
        bench.seed()
        result = bench.run("workspace", "list", token=api.issue(ws=None))
    assert ["0", "1"] == [request.query["offset"] for request in api.requests[1:]]
    assert result.stdout.index("Development") < result.stdout.index("Production")


# -- what is left on disk -----------------------------------------------------------------------------


def test_the_token_is_stored_in_clear_before_it_is_looked_at(bench: Bench) -> None:
    result = bench.run("workspace", "list", token="no.such-thing")
    assert 1 == result.code
    assert "token: Bearer no.such-thing\n" in bench.file.read_text()
    assert [] == bench.api.requests


def test_a_file_that_it_makes_is_private_and_one_that_is_there_keeps_its_mode(bench: Bench) -> None:
    bench.file.chmod(0o644)
    bench.run("workspace", "list", token=bench.api.issue())
    assert "Bearer" in bench.file.read_text()
    assert 0o644 == stat.S_IMODE(bench.file.stat().st_mode)

    shutil.rmtree(bench.home)
    # Another command would look for a newer version, for nothing yet tells it not to.
    assert 0 == bench.run("config", "get", "-g", "page_size").code
    assert 0o600 == stat.S_IMODE(bench.file.stat().st_mode)
    assert 0o600 == stat.S_IMODE(bench.file.with_name("config.yaml.lock").stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    assert 0o775 & ~umask == stat.S_IMODE(bench.file.parent.stat().st_mode)


def test_the_expiry_on_disk_is_far_off_whatever_the_token_says(bench: Bench) -> None:
    bench.run("workspace", "list", token=bench.api.issue(expires_in=60))
    assert "208" == str(bench.config("contexts.localhost.expiresin"))[:3]


def test_workspace_organization_and_product_are_stored(bench: Bench) -> None:
    bench.run("workspace", "list", token=bench.api.issue())
    stored = bench.config("contexts.localhost")
    assert (WORKSPACE, ORGANIZATION) == (stored["workspace"], stored["organization"])
    assert "HOSTED" == stored["organization_product"]


def test_a_new_context_is_switched_to_and_has_no_domain(bench: Bench) -> None:
    bench.seed(STALE.replace("localhost", "astronomer.io", 1).replace("  localhost:", "  astronomer_io:"))
    bench.run("workspace", "list", token=bench.api.issue())
    assert "localhost" == bench.config("context")
    fields = {"expiresin", "organization", "organization_product", "token", "workspace"}
    assert fields == set(bench.config("contexts.localhost"))
    assert "clstaleworkspace" == bench.config("contexts.astronomer_io.workspace")


def test_without_a_domain_the_saved_context_is_used(bench: Bench) -> None:
    bench.seed(STALE)
    result = bench.run("workspace", "list", token=bench.api.issue(), env={"ASTRO_DOMAIN": None})
    assert 0 == result.code
    assert WORKSPACE == bench.config("contexts.localhost.workspace")
    assert "clstaleworkspace" == bench.config("contexts.localhost.last_used_workspace")


def test_a_login_is_overwritten_but_for_its_refresh_token(bench: Bench) -> None:
    token = bench.api.issue()
    bench.seed(STALE + "    token: Bearer of-a-login\n    refreshtoken: to-renew-it\n")
    bench.run("workspace", "list", token=token)
    assert "of-a-login" not in bench.file.read_text()
    assert f"Bearer {token}" == bench.config("contexts.localhost.token")
    assert "to-renew-it" == bench.config("contexts.localhost.refreshtoken")


def test_the_token_stays_in_use_when_the_variable_is_gone(bench: Bench) -> None:
    token = bench.api.issue()
    bench.run("workspace", "list", token=token)
    bench.api.requests.clear()
    result = bench.run("workspace", "list")
    assert 0 == result.code
    assert ANNOUNCED not in result.stdout
    assert [token] == [request.bearer for request in bench.api.requests]


def test_settings_outlive_a_run(bench: Bench) -> None:
    bench.seed('telemetry:\n  enabled: "false"\ncontainer:\n  binary: podman\npage_size: 7\n')
    bench.run("workspace", "list", token=bench.api.issue())
    assert ("false", "podman", "7") == tuple(
        bench.config(key) for key in ("telemetry.enabled", "container.binary", "page_size")
    )
    assert (
        "Setting page_size to 9 successfully\n\n" == bench.run("config", "set", "-g", "page_size", "9").stdout
    )
    assert "page_size: 9\n" == bench.run("config", "get", "-g", "page_size").stdout
    assert (
        "config does not exist, check your config key" in bench.run("config", "get", "-g", "nonsense").stderr
    )


def test_without_astro_home_the_file_is_in_the_home(bench: Bench) -> None:
    shutil.move(bench.home / ".astro", bench.elsewhere / ".astro")
    assert 0 == bench.run("workspace", "list", token=bench.api.issue(), env={"ASTRO_HOME": None}).code
    assert not bench.file.exists()
    assert "Bearer" in (bench.elsewhere / ".astro" / "config.yaml").read_text()


def test_it_waits_for_another_run_that_holds_the_lock(bench: Bench) -> None:
    with bench.file.with_name("config.yaml.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release = threading.Timer(0.3, fcntl.flock, (lock, fcntl.LOCK_UN))
        release.start()
        result = bench.run("workspace", "list", token=bench.api.issue())
        assert release.finished.is_set()
        release.join()
    assert 0 == result.code


# -- values that are not whole ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: f" {token}",
        lambda token: f"\t{token}",
        lambda token: f"Bearer {token}",
        lambda token: f'"{token}',
        lambda token: f'{{"token": "{token}"}}',
        lambda token: f"\ufeff{token}",
        lambda token: token.replace(".", "=.", 1),
        lambda token: token.rpartition(".")[0],
        lambda token: f"{token}.more",
        lambda _token: jwt({}, {"permissions": PERMISSIONS}),
        lambda _token: jwt({"alg": "made up"}, {"permissions": PERMISSIONS}),
        lambda _token: jwt({"alg": "HS256"}, {"permissions": "organizationId:x"}),
        lambda _token: jwt({"alg": "HS256"}, {"permissions": PERMISSIONS, "apiTokenId": 5}),
        lambda _token: jwt({"alg": "HS256"}, b"no JSON"),
    ],
    ids=[
        "leading space",
        "leading tab",
        "Bearer",
        "leading quote",
        "JSON",
        "byte order mark",
        "padding",
        "two segments",
        "four segments",
        "no algorithm",
        "unknown algorithm",
        "permissions as text",
        "id as number",
        "claims no JSON",
    ],
)
def test_a_malformed_token_is_refused_by_name(bench: Bench, spoil: Callable[[str], str]) -> None:
    result = bench.run("workspace", "list", token=spoil(bench.api.issue()))
    assert (1, ANNOUNCED) == (result.code, result.stdout)
    expected = "Error: API Token is invalid or malformed\nUsage:\n  astro workspace list [flags]\n"
    assert result.stderr.startswith(expected)
    assert [] == bench.api.requests


@pytest.mark.parametrize(
    ("head", "claims"),
    [
        ({"alg": "none"}, {"permissions": PERMISSIONS}),
        ({"alg": "HS256"}, {"permissions": PERMISSIONS, "exp": None}),
        ({"alg": "HS256"}, {"permissions": PERMISSIONS, "nbf": 99999999999}),
        ({"alg": "HS256"}, {"Permissions": PERMISSIONS}),
        ({"alg": "HS256"}, {"permissions": [*PERMISSIONS, f"deploymentId:{DEPLOYMENT}", "more:than:two"]}),
    ],
    ids=["unsigned", "never expires", "not yet valid", "names in any case", "other permissions"],
)
def test_what_is_not_looked_at_does_no_harm(
    bench: Bench, head: dict[str, str], claims: dict[str, object]
) -> None:
    assert 0 == bench.run("workspace", "list", token=bench.api.accept(jwt(head, claims))).code


@pytest.mark.parametrize("end", [" ", "\t"])
def test_white_space_at_the_end_does_no_harm(bench: Bench, end: str) -> None:
    token = bench.api.issue()
    assert 0 == bench.run("workspace", "list", token=token + end).code
    assert f"Bearer {token}{end}" == bench.config("contexts.localhost.token")


@pytest.mark.parametrize("spoil", ["{}\n", "{}\r\n", "\n{}", "{}\n\n"])
def test_a_line_end_passes_the_check_and_fails_in_the_header_of_the_request(bench: Bench, spoil: str) -> None:
    value = spoil.format(bench.api.issue())
    result = bench.run("workspace", "list", token=value)
    url = f"{bench.api.url}{workspaces_of('').removeprefix('GET ')}"
    refusal = f'Error: Get "{url}": net/http: invalid header field value for "Authorization"\n'
    assert (1, ANNOUNCED, refusal) == (result.code, result.stdout, result.stderr)
    assert [] == bench.api.requests
    # It stays in the file, and spoils the runs that come after.
    assert f"Bearer {value}" == bench.config("contexts.localhost.token")
    assert (1, "", refusal) == ((later := bench.run("workspace", "list")).code, later.stdout, later.stderr)


def test_an_expired_token_is_named_on_standard_output(bench: Bench) -> None:
    result = bench.run("workspace", "list", token=make_token(expires_in=-1, token_id="cltokenid"))
    assert (1, f"{ANNOUNCED}The given API Token cltokenid has expired \n") == (result.code, result.stdout)
    assert result.stderr.startswith("Error: API Token is expired\nUsage:\n  astro workspace list [flags]\n")
    assert [] == bench.api.requests


def test_a_token_without_permissions_is_passed_over_and_used(bench: Bench) -> None:
    bench.seed(STALE.replace("clstaleorganization", ORGANIZATION))
    result = bench.run("workspace", "list", token=bench.api.accept(make_token(permissions=[])))
    assert (0, "") == (result.code, result.stderr)
    assert [workspaces_of(ORGANIZATION)] == bench.api.lines()
    assert "clstaleworkspace" == bench.config("contexts.localhost.workspace")


def test_a_permission_without_a_colon_crashes_it(bench: Bench) -> None:
    result = bench.run("workspace", "list", token=make_token(permissions=[*PERMISSIONS, "no colon"]))
    assert 2 == result.code
    assert result.stderr.startswith(
        "panic: runtime error: index out of range [1] with length 1\n\ngoroutine 1 "
    )


# -- the token and the context --------------------------------------------------------------------------


def test_an_organization_s_token_keeps_a_stale_workspace(bench: Bench) -> None:
    bench.seed(STALE)
    result = bench.run("deployment", "list", token=bench.api.issue(ws=None))
    assert (0, f"{ANNOUNCED}no Deployments found in workspace clstaleworkspace\n") == (
        result.code,
        result.stdout,
    )
    assert (ORGANIZATION, "clstaleworkspace") == (
        bench.config("contexts.localhost.organization"),
        bench.config("contexts.localhost.workspace"),
    )


def test_an_organization_s_token_alone_has_no_workspace(bench: Bench) -> None:
    token = bench.api.issue(ws=None)
    result = bench.run("deployment", "list", token=token)
    assert 1 == result.code
    assert result.stderr.startswith(f"{NO_WORKSPACE}Usage:\n  astro deployment list [flags]\n")
    assert 0 == bench.run("deployment", "list", "--workspace-id", WORKSPACE, token=token).code


def test_the_token_goes_before_keys_and_an_empty_one_does_not_count(bench: Bench) -> None:
    bench.seed(STALE)
    keys = {"ASTRONOMER_KEY_ID": "id", "ASTRONOMER_KEY_SECRET": "secret"}
    assert bench.run("auth", "token", token=bench.api.issue(), env=keys).stdout.startswith(ANNOUNCED)
    bench.seed(STALE)
    assert bench.run("auth", "token", token="", env=keys).stdout.startswith(
        "Using an Astro API key\n\nWarning: "
    )


def test_without_any_token_it_goes_on_unauthenticated(bench: Bench) -> None:
    bench.seed(STALE)
    result = bench.run("workspace", "list")
    assert (1, "", "Error: Unauthorized\n") == (result.code, result.stdout, result.stderr)
    assert [workspaces_of("clstaleorganization")] == bench.api.lines()
    assert [""] == [request.headers["authorization"] for request in bench.api.requests]


def test_without_a_context_and_a_token_it_is_not_connected(bench: Bench) -> None:
    result = bench.run("workspace", "list")
    assert (1, "Error: not connected, have you authenticated to Astro? Run astro login and try again\n") == (
        result.code,
        result.stderr,
    )


# -- what the API answers ------------------------------------------------------------------------------------


def test_a_revoked_token_is_passed_over_and_the_stale_context_used(bench: Bench) -> None:
    token = bench.api.issue()
    bench.api.revoke(token)
    bench.seed(STALE)
    result = bench.run("workspace", "list", token=token)
    assert (1, ANNOUNCED, "Error: Unauthorized\n") == (result.code, result.stdout, result.stderr)
    assert [ORGANIZATIONS, workspaces_of("clstaleorganization")] == bench.api.lines()


def test_a_deploy_with_a_revoked_token_complains_of_the_workspace(bench: Bench) -> None:
    token = bench.api.issue()
    bench.api.revoke(token)
    result = bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=bench.make_project())
    assert 1 == result.code
    assert result.stderr.startswith(NO_WORKSPACE)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer.json({"message": "not for you", "requestId": "1", "statusCode": 403}, 403), "not for you"),
        (Answer(401, b"Jwt is expired", content_type="text/plain"), "failed to perform request, status 401"),
        (Answer(503, b"<html>", content_type="text/html"), "failed to perform request, status 503"),
    ],
)
def test_of_an_error_its_message_is_shown_or_its_status(bench: Bench, answer: Answer, shown: str) -> None:
    bench.api.faults += [answer, answer]
    result = bench.run("organization", "list", token=bench.api.issue())
    assert 1 == result.code
    assert result.stderr.startswith("Error: cannot connect to Astronomer. Try to log in with astro login")
    assert result.stderr.endswith(f"\n\nDetails{shown}\n")


def empty_list() -> Answer:
    return Answer.json({"organizations": [], "limit": 100, "offset": 0, "totalCount": 0})


def no_product() -> Answer:
    one = {"organizations": [organization(product=None)], "limit": 100, "offset": 0, "totalCount": 1}
    return Answer.json(one)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (empty_list(), "index out of range [0] with length 0"),
        (no_product(), "invalid memory address or nil pointer dereference"),
        (Answer(200, b"{}", content_type="text/plain"), "invalid memory address or nil pointer dereference"),
        (Answer(204, b""), "invalid memory address or nil pointer dereference"),
    ],
    ids=["no organization", "no product", "not said to be JSON", "nothing"],
)
def test_some_answers_crash_it(bench: Bench, answer: Answer, reason: str) -> None:
    bench.api.faults.append(answer)
    result = bench.run("workspace", "list", token=bench.api.issue())
    assert 2 == result.code
    assert result.stderr.startswith(f"panic: runtime error: {reason}\n")


# -- deploys, and what ends with 0 without one ---------------------------------------------------------------


def deploys() -> str:
    return f"/v1/organizations/{ORGANIZATION}/deployments/{DEPLOYMENT}"


def test_dags_are_deployed(bench: Bench) -> None:
    token = bench.api.issue()
    result = bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=bench.make_project())
    assert (0, "") == (result.code, result.stderr)
    ((name, deploy),) = bench.api.deploys.items()
    ((version, bundle),) = bench.api.uploads.values()
    assert [
        ORGANIZATIONS,
        f"GET {deploys()}",
        f"POST {deploys()}/deploys",
        f"PUT /upload/{name}?sig=made-up",
        f"POST {deploys()}/deploys/{name}/finalize",
    ] == bench.api.lines()
    assert [token, token, token, "", token] == [request.bearer for request in bench.api.requests]
    assert ("DAG_ONLY", "DEPLOYED") == (deploy["type"], deploy["status"])
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        assert ["dags/etl.py"] == tar.getnames()
    assert result.stdout.startswith(
        f"{ANNOUNCED}Authenticated to localhost \n\nInitiating DAG deploy for: {DEPLOYMENT}\n"
        f"Deployed DAG bundle:  {version}\n\nSuccessfully uploaded DAGs with version {version} to Astro. "
    )


def test_under_a_token_the_only_deployment_is_chosen(bench: Bench) -> None:
    result = bench.run("deploy", "--dags", token=bench.api.issue(), cwd=bench.make_project())
    assert 0 == result.code
    assert f"\n Deployment ID: {DEPLOYMENT}\n" in result.stdout
    assert [DEPLOYMENT] == [deploy["deploymentId"] for deploy in bench.api.deploys.values()]


def test_the_deployment_of_the_project_s_configuration_is_used(bench: Bench) -> None:
    project = bench.make_project(settings=f"  deployment: {DEPLOYMENT}\n")
    assert 0 == bench.run("deploy", "--dags", token=bench.api.issue(), cwd=project).code
    assert 1 == len(bench.api.uploads)


def test_a_name_finds_the_deployment_but_the_project_s_configuration_goes_before_it(bench: Bench) -> None:
    token, project = bench.api.issue(ws=None), bench.make_project()
    deploy = ("deploy", "--dags", "-n", "reports", "--workspace-id")
    unknown = bench.run(*deploy, WORKSPACE, token=token, cwd=project)
    assert (1, True) == (
        unknown.code,
        unknown.stdout.endswith("No Deployment with the name reports was found\n"),
    )
    assert unknown.stderr.startswith("Error: the Deployment specified was not found in this workspace.")
    bench.seed(STALE.replace("clstaleworkspace", OTHER_WORKSPACE))
    assert 0 == bench.run("deploy", "--dags", "-n", "reports", token=token, cwd=project).code
    (project / ".astro" / "config.yaml").write_text(f"project:\n  deployment: {DEPLOYMENT}\n")
    bench.commit()
    bench.seed(STALE.replace("clstaleworkspace", WORKSPACE))
    result = bench.run("deploy", "--dags", "-n", "reports", token=token, cwd=project)
    assert (0, True) == (
        result.code,
        f"supplied. The Deployment ID {DEPLOYMENT} will be used for the Deploy\n" in result.stdout,
    )
    assert [OTHER_DEPLOYMENT, DEPLOYMENT] == [one["deploymentId"] for one in bench.api.deploys.values()]


def test_a_deployment_for_ci_cd_only_takes_a_token(bench: Bench) -> None:
    bench.api.deployments[0]["isCicdEnforced"] = True
    assert (
        0 == bench.run("deploy", DEPLOYMENT, "--dags", token=bench.api.issue(), cwd=bench.make_project()).code
    )
    assert 1 == len(bench.api.uploads)


def test_changed_files_end_a_deploy_with_0_unless_forced(bench: Bench) -> None:
    token, project = bench.api.issue(), bench.make_project()
    (project / "dags" / "etl.py").write_text("# changed\n")
    result = bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=project)
    message = (
        "Project directory has uncommitted changes, use `astro deploy [deployment-id] -f` to force deploy.\n"
    )
    assert (0, f"{ANNOUNCED}{message}") == (result.code, result.stdout)
    assert {} == bench.api.deploys
    assert 0 == bench.run("deploy", DEPLOYMENT, "--dags", "-f", token=token, cwd=project).code
    assert 1 == len(bench.api.uploads)


def test_a_repository_without_a_commit_counts_as_changed_and_new_files_do_not(bench: Bench) -> None:
    token, project = bench.api.issue(), bench.make_project(commit=False)
    assert 0 == bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=project).code
    assert {} == bench.api.deploys
    bench.git("add", "--all")
    bench.git("-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--quiet", "-m", "First")
    (project / ".env").write_text("NEW=1\n")
    assert 0 == bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=project).code
    assert 1 == len(bench.api.uploads)


def test_another_workspace_ends_a_deploy_with_0(bench: Bench) -> None:
    token, project = bench.api.issue(ws=None), bench.make_project()
    wrong = bench.run(
        "deploy", DEPLOYMENT, "--dags", "--workspace-id", OTHER_WORKSPACE, token=token, cwd=project
    )
    message = f"Invalid workspace id {OTHER_WORKSPACE} was provided through the --workspace-id flag\n"
    assert (0, f"{ANNOUNCED}Authenticated to localhost \n\n{message}") == (wrong.code, wrong.stdout)
    # The stale workspace of a shared home does the same.
    bench.seed(STALE)
    stale = bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=project)
    assert (0, True) == (stale.code, "Invalid workspace id clstaleworkspace was provided" in stale.stdout)
    assert {} == bench.api.deploys


def test_no_dags_and_nobody_to_ask_ends_a_deploy_with_0(bench: Bench) -> None:
    project = bench.make_project()
    shutil.rmtree(project / "dags")
    bench.git("-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--quiet", "-am", "Second")
    result = bench.run("deploy", DEPLOYMENT, "--dags", token=bench.api.issue(), cwd=project)
    assert (0, True) == (result.code, result.stdout.endswith("Canceling deploy...\n"))
    assert {} == bench.api.uploads


def test_forced_no_dags_remove_what_is_deployed_without_a_question(bench: Bench) -> None:
    project = bench.make_project()
    (project / "dags" / "etl.py").rename(project / "dags" / "notes.txt")
    result = bench.run("deploy", DEPLOYMENT, "--dags", "-f", token=bench.api.issue(), cwd=project)
    assert (0, False) == (result.code, "No DAGs found" in result.stdout)
    ((_, bundle),) = bench.api.uploads.values()
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        assert ["dags/notes.txt"] == tar.getnames()
    assert ["DEPLOYED"] == [one["status"] for one in bench.api.deploys.values()]


def test_a_deployment_of_another_workspace_is_refused(bench: Bench) -> None:
    result = bench.run(
        "deploy", OTHER_DEPLOYMENT, "--dags", token=bench.api.issue(), cwd=bench.make_project()
    )
    assert (1, "Error: You do not have permission to perform this operation\n") == (
        result.code,
        result.stderr,
    )


def test_a_deploy_outside_of_a_project_is_refused_after_the_token_was_stored(bench: Bench) -> None:
    result = bench.run("deploy", DEPLOYMENT, token=bench.api.issue())
    assert (1, ANNOUNCED) == (result.code, result.stdout)
    assert result.stderr.startswith("Error: this is not an Astro project directory.\n")
    assert "Bearer" in bench.file.read_text()


# Values that a project's file may have, by key.
PROJECT_SETTINGS = {
    "airflow.expose_port": "true",
    "api-server.port": "8081",
    "container.binary": "podman",
    "deploy.git_metadata": "false",
    "dev.mode": "docker",
    "duplicate_volumes": "false",
    "machine.cpu": "4",
    "page_size": "50",
    "postgres.tag": "15.4",
    "project.deployment": DEPLOYMENT,
    "project.name": "demo: the 2nd # one",
    "remote.client_registry": "registry.example.com/team",
    "ruff.image": "ghcr.io/astral-sh/ruff:0.9",
    "skip_parse": "true",
    "verbosity": "info",
    "webserver.port": "8090",
}


def test_the_files_that_it_writes_are_understood_and_safe(bench: Bench) -> None:
    project = bench.make_project()
    for key, value in PROJECT_SETTINGS.items():
        assert 0 == bench.run("config", "set", key, value, cwd=project).code
        assert 0 == bench.run("config", "set", "-g", key, value).code
    bench.run("workspace", "list", token=bench.api.issue())
    config, problems = problems_of(project / ".astro" / "config.yaml", {"HOME": "/nonexistent"})
    assert (PROJECT_SETTINGS, []) == (dict(config.values) if config else None, problems)
    settings = user_settings({"ASTRO_HOME": str(bench.home)})
    assert PROJECT_SETTINGS.items() <= settings.items()
    # Every setting of the home is known, but for contexts.
    known, _ = problems_of(bench.file, {"ASTRO_HOME": str(bench.home)}, home=True)
    assert known is not None
    left_out = {name for name, value in known.values.items() if value and name not in settings}
    assert {"context"} == {name for name in left_out if not name.startswith("contexts.")}


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "stand-in"])
def test_the_listed_spellings_are_read_by_the_real_one_as_another_protocol(
    name: str, tmp_path: Path, astro_api: AstroApi
) -> None:
    """Otherwise a test that refuses them would prove nothing."""
    bench = Bench(PROGRAMS[name], tmp_path, astro_api)
    (bench.project / ".astro").mkdir(parents=True)
    read = []
    for data in dict.fromkeys(redirecting()):
        (bench.project / ".astro" / "config.yaml").write_bytes(data)
        result = bench.run("config", "get", "cloud.api.protocol", cwd=bench.project)
        read.append(result.stdout.rpartition("cloud.api.protocol: ")[2].removesuffix("\n"))
    redirected = len(read) - read.count("") - read.count("https")
    print(redirected, "of", len(read), "redirect the real program")
    assert 200 <= redirected


def test_a_checkout_can_have_the_token_sent_elsewhere(bench: Bench) -> None:
    token = bench.api.issue()
    with AstroApi() as other:
        project = bench.make_project(settings=f"local:\n  core: {other.url}\n")
        bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=project)
        assert [token] == [request.bearer for request in other.requests]
    assert [] == bench.api.requests


def test_the_protocol_begins_the_address_of_the_api_and_the_project_s_wins(bench: Bench) -> None:
    """The value need not be a protocol, so a file of the checkout can choose the server."""
    token = bench.api.issue()
    env = {"ASTRO_DOMAIN": None}
    target = "?://api.astronomer.io/v1/organizations?limit=100&offset=0"
    with HttpServer(lambda _: Answer(500)) as home, HttpServer(lambda _: Answer(500)) as project:
        setting = "cloud:\n  api:\n    protocol: {}/x?\n"
        bench.seed(setting.format(home.url))
        bench.run("workspace", "list", token=token, env=env)
        assert (f"/x{target}", token) == (home.requests[0].target, home.requests[0].bearer)
        home.forget()
        bench.make_project(settings=setting.format(project.url))
        bench.run("workspace", "list", token=token, cwd=bench.project, env=env)
        assert (f"/x{target}", token) == (project.requests[0].target, project.requests[0].bearer)
        assert [] == home.requests


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("workspace list --nonsense", "unknown flag: --nonsense"),
        ("deploy -q", "unknown shorthand flag: 'q' in -q"),
        ("deploy one two", "accepts at most 1 arg(s), received 2"),
    ],
)
def test_a_wrong_command_line_is_refused_before_the_token_is_stored(
    bench: Bench, command: str, message: str
) -> None:
    result = bench.run(*command.split(), token=bench.api.issue())
    assert (1, "") == (result.code, result.stdout)
    assert result.stderr.startswith(f"Error: {message}\nUsage:\n")
    assert "Bearer" not in bench.file.read_text()
