"""`check --deploy`: what it says of a project before it is deployed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.environment.export import telemetry_host
from astro_token.policy.codes import DEPLOY as CODES
from astro_token.testing import make_token
from tests.cli.deploy_project import DEPLOYMENT, WORKSPACE, Project, make, tree
from tests.conftest import ROOT
from tests.programs.bench import STANDIN, Bench
from tests.servers.astro_api import DEPLOYMENT as API_DEPLOYMENT
from tests.servers.astro_api import OTHER_WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from astro_token.policy.codes import Code
    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi

OF_ORGANIZATION = {"workspace": None}
TOML = '[tokens.prod]\nref = "env:TOKEN"\n'


@pytest.fixture
def project(program: Program, canary: str, tmp_path: Path) -> Iterator[Project]:
    """One in which `astro` only prints its version."""
    made = make(program, canary, tmp_path)
    made.script("astro", "echo Astro CLI Version: 1.45.0")
    yield made
    for file in made.open:
        file.close()


def codes(said: dict[str, Any]) -> list[str]:
    return [verdict["code"] for verdict in said["verdicts"]]


def test_a_project_that_can_be_deployed_is_ok(project: Project) -> None:
    (project.bin / "astro").unlink()
    (project.bin / "astro").symlink_to(STANDIN)
    assert {"path": ".", "status": "ok", "exit_code": 0, "verdicts": []} == project.deploy()
    shown = project.run("env:TOKEN")
    assert (0, "") == (shown.code, shown.stderr)
    assert shown.stdout.endswith("\n\nDEPLOY  VERDICT\n.       ok\n")


def test_without_the_option_nothing_is_said_of_the_project(project: Project) -> None:
    shutil.rmtree(project.folder / "dags")
    result = project.program("check", "env:TOKEN", "--format", "json", env={"TOKEN": project.canary})
    assert (0, {"tokens"}) == (result.code, set(json.loads(result.stdout)))


def test_strict_turns_a_warning_of_the_project_into_65(project: Project) -> None:
    shutil.rmtree(project.folder / "dags")
    project.policy(f'{TOML}[policy.deploy]\nno-dags = "warning"\nuncommitted = "off"\n')
    lenient, strict = (project.run("env:TOKEN", *option) for option in ((), ("--strict",)))
    assert (0, 65) == (lenient.code, strict.code)
    assert "astro-token: error: --strict does not accept warnings\n" in strict.stderr


# -- one finding after the other ------------------------------------------------------------------------


def committed(change: Callable[[Project], object]) -> Callable[[Project], object]:
    def arrange(project: Project) -> None:
        change(project)
        project.commit()

    return arrange


def new_repository(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    project.git("init")


def added(project: Project) -> None:
    project.write("new.py", "x")
    project.git("add", "new.py")


def organization_token(project: Project, toml: str = "") -> None:
    token = make_token(workspace=None)
    project.program.canaries.append(token)
    project.env["TOKEN"] = token
    if toml:
        project.policy(f'default = "prod"\n{TOML}{toml}')


def no_dags(project: Project) -> None:
    project.write("dags/happy.txt", "no Python\n")  # its name has `.py` in it for the CLI's pattern
    (project.folder / "dags" / "etl.py").unlink()
    project.commit()


def locked(project: Project) -> None:
    project.stored("workspace: clws0")
    lock = (project.home / ".astro" / "config.yaml.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    project.open.append(lock)


def expected(project: Project) -> None:
    project.policy(f'default = "prod"\n{TOML}deployment = "{DEPLOYMENT}"\n')
    project.settings("project:\n    name: demo\n    deployment: cldep0another\n")


def stale(project: Project) -> None:
    organization_token(project, f'workspace = "{WORKSPACE}"\ndeployment = "{DEPLOYMENT}"\n')
    project.stored("organization: clorg0\nworkspace: clws0stale")


def locked_version(project: Project) -> None:
    project.policy(f'{TOML}deployment = "{DEPLOYMENT}"\n[astro-cli]\nversion = "1.46.2"\n')


def in_project(project: Project) -> None:
    project.script("astro", "touch ../ran", project.folder / "tools")
    project.commit()
    project.env["PATH"] = f"{project.folder}/tools:{project.bin}"


def api(project: Project) -> None:
    project.settings("project:\n    name: demo\nlocal:\n    core: http://127.0.0.1:1\n")
    project.env["ASTRO_DOMAIN"] = "localhost"


# For each code: what brings it about, and what is said then.
FINDINGS: dict[str, tuple[Callable[[Project], object], str]] = {
    "no-project": (
        committed(lambda p: shutil.rmtree(p.folder / ".astro")),
        (
            "PROJECT is not an Astro project: "
            "it has no .astro/config.yaml, and no pyproject.toml with [tool.astro]"
        ),
    ),
    "no-dags": (
        no_dags,
        (
            "dags has no Python file: the Astro CLI finds no DAGs, "
            "and either ends with 0 and deploys nothing, or removes all that are deployed"
        ),
    ),
    "dags-ignored": (
        committed(lambda p: p.write("dags/.airflowignore", "# all\n*\n")),
        "a line of dags/.airflowignore ignores every DAG: they are deployed and not shown",
    ),
    "no-dockerfile": (
        committed(lambda p: (p.folder / "Dockerfile").unlink()),
        ". has no Dockerfile: only astro deploy --dags can work",
    ),
    "requirements-clash": (
        committed(lambda p: p.write("requirements.txt", "Some_Package[x] == 1.0 # a\nsome.package==2.0\n")),
        "requirements.txt requires 2 versions of some-package: the image cannot be built",
    ),
    "plain-http": (
        lambda p: p.settings("project:\n    name: demo\ncloud:\n    api:\n        protocol: http\n"),
        ".astro/config.yaml line 5: cloud.api.protocol decides where the Astro CLI sends the token",
    ),
    "other-api": (
        api,
        ".astro/config.yaml line 4: local.core decides where the Astro CLI sends the token",
    ),
    "other-registry": (
        lambda p: p.settings("remote:\n    base_image_registry: registry.example.com/images\n"),
        ".astro/config.yaml names a registry, and astro remote deploy sends the token to it",
    ),
    "project-deployment": (
        expected,
        (
            "astro deploy goes to deployment cldep0another, which .astro/config.yaml names, "
            "and prod is for cldep0expected"
        ),
    ),
    "unnamed-deployment": (
        lambda p: p.policy(TOML),
        (
            "prod names no deployment: unless the command names one, "
            "the Astro CLI takes the workspace's only one, or asks, which fails in CI"
        ),
    ),
    "unread-workspace": (
        lambda p: p.settings("project:\n    name: demo\n    workspace: clws0\n"),
        ".astro/config.yaml names a workspace, which the Astro CLI never reads",
    ),
    "debug-output": (
        lambda p: p.settings("project: {}\nverbosity: debug\n"),
        (
            ".astro/config.yaml makes the Astro CLI log each step, "
            "and the token with it when it pushes an image"
        ),
    ),
    "config-unread": (
        lambda p: p.settings("project: {name: demo, deployment: cldep0}\n"),
        (
            ".astro/config.yaml line 1 has a value that is not one bare or quoted text: "
            "the Astro CLI could send the token to another server"
        ),
    ),
    "uncommitted": (
        lambda p: p.write("dags/etl.py", "# changed\n"),
        "1 tracked file has uncommitted changes: the Astro CLI ends with 0 and deploys nothing",
    ),
    "git-unknown": (
        lambda p: (p.bin / "git").unlink(),
        "uncommitted changes cannot be detected: git is not on PATH",
    ),
    "no-workspace": (
        organization_token,
        (
            "env:TOKEN names no workspace, and none is expected: without --workspace-id "
            "the Astro CLI fails, or uses the workspace of an earlier run"
        ),
    ),
    "home-plain-http": (
        lambda p: p.stored("workspace: clws0", top="cloud:\n    api:\n        protocol: http"),
        "HOME/.astro/config.yaml line 3: cloud.api.protocol decides where the Astro CLI sends the token",
    ),
    "stale-workspace": (
        stale,
        (
            "prod names no workspace, so the Astro CLI uses clws0stale from HOME/.astro/config.yaml, "
            "and clws0expected is expected: it ends with 0 and deploys nothing"
        ),
    ),
    "stored-domain": (
        lambda p: p.stored("workspace: clws0", top="context: astro.example.com"),
        (
            "the current context in HOME/.astro/config.yaml is astro.example.com, "
            "which the Astro CLI uses, not astronomer.io"
        ),
    ),
    "home-in-project": (
        lambda p: p.env.update(ASTRO_HOME=str(p.folder / "home")),
        "ASTRO_HOME lies in the project: the token is written there in clear, and deployed with the rest",
    ),
    "odd-home": (
        lambda p: p.env.update(ASTRO_HOME="../elsewhere"),
        "ASTRO_HOME is a relative path: the home depends on the working folder of each step",
    ),
    "login-overwritten": (
        lambda p: p.stored("token: Bearer x\nrefreshtoken: y\nexpiresin: 2026-11-24T00:00:00Z"),
        "HOME/.astro/config.yaml holds a login, which the Astro CLI overwrites with the token",
    ),
    "token-left": (
        lambda p: p.stored("token: Bearer x\nrefreshtoken: y\nexpiresin: 2083-11-24T00:00:00Z"),
        (
            "HOME/.astro/config.yaml holds the token of an earlier run, "
            "which the Astro CLI uses if no other is given"
        ),
    ),
    "home-locked": (
        locked,
        (
            "another Astro CLI holds HOME/.astro/config.yaml: "
            "yours waits 10 seconds, and then ignores the token"
        ),
    ),
    "foreign-domain": (
        lambda p: p.env.update(ASTRO_DOMAIN="astro.example.com"),
        (
            "ASTRO_DOMAIN, astro.example.com, is not a domain of Astro: "
            "the Astro CLI does not use the token there"
        ),
    ),
    "local-domain": (
        lambda p: p.env.update(ASTRO_DOMAIN="localhost"),
        "ASTRO_DOMAIN is localhost: the Astro CLI sends the token over plain http to this machine",
    ),
    "telemetry-address": (
        lambda p: p.env.update(ASTRO_TELEMETRY_API_URL="http://user:secret@Listener.example:8080/x?y"),
        (
            "without exec, the Astro CLI's telemetry sends the token to listener.example, "
            "which ASTRO_TELEMETRY_API_URL names"
        ),
    ),
    "dead-keys": (
        lambda p: p.env.update(ASTRONOMER_KEY_ID="x", ASTRONOMER_KEY_SECRET="y"),
        (
            "ASTRONOMER_KEY_ID and ASTRONOMER_KEY_SECRET are set: "
            "Astro no longer accepts such keys, and the Astro CLI uses them if there is no token"
        ),
    ),
    "no-astro": (lambda p: (p.bin / "astro").unlink(), "astro is not on PATH"),
    "old-astro": (
        lambda p: p.script("astro", "echo Astro CLI Version: 1.26.0"),
        "the astro on PATH is 1.26.0, and before 1.27.1 an expired token is reported as a missing workspace",
    ),
    "unfit-astro": (
        lambda p: p.script("astro", "echo Astro CLI Version: 2.0.0"),
        "the astro on PATH is 2.0.0, and the project is one of Astro CLI 1.x",
    ),
    "other-astro": (
        locked_version,
        "the astro on PATH is 1.45.0, and the project's file pins 1.46.2",
    ),
    "no-lock": (
        lambda p: p.env.update(ASTRO_TOKEN_POLICY_CLI_LOCK="true"),
        "policy requires a lock of the Astro CLI (cli_lock), and the project file has none",
    ),
    "unknown-astro": (
        lambda p: p.script("astro", "echo v5.2.0 Build faster websites"),
        "the astro on PATH does not print its version as the Astro CLI does, and may be another program",
    ),
    "astro-in-project": (
        in_project,
        "the astro on PATH lies in the repository: it was not run here, and exec does not start it",
    ),
    "no-docker": (
        lambda p: (p.bin / "docker").unlink(),
        "neither docker nor podman is on PATH: only astro deploy --dags can work",
    ),
}


def test_policy_can_make_a_foreign_registry_an_error_and_list_the_own_ones(project: Project) -> None:
    FINDINGS["other-registry"][0](project)  # registry.example.com/images
    for registries, status in {
        "example.com": 65,
        "registry.example.co": 65,
        "registry.example.com": 0,
        "other.example, registry.example.com/images": 0,
        "registry.example.com/image": 65,
    }.items():
        env = {"ASTRO_TOKEN_POLICY_REGISTRIES": registries, "ASTRO_TOKEN_POLICY_DEPLOY": "other-registry=off"}
        result = project.run("env:TOKEN", env=env)
        assert (status, status == 65) == (result.code, "error: deploy: .astro/config" in result.stderr)
    # The file can only allow less than the environment.
    project.policy(f'default = "prod"\n{TOML}[policy]\nregistries = "registry.example.com"\n')
    assert [0, 65] == [
        project.run(env={"ASTRO_TOKEN_POLICY_REGISTRIES": other}).code for other in ("", "other.example")
    ]


def test_policy_can_require_digests_of_the_astro_cli_and_its_version(project: Project) -> None:
    floor = {"ASTRO_TOKEN_POLICY_CLI_LOCK": "1", "ASTRO_TOKEN_POLICY_DEPLOY": "other-astro=off"}
    digest = f'sha256 = {{ linux-amd64 = "{"a" * 64}" }}\n'
    for lock, status, message in (
        ('version = "1.45.0"\n', 78, "policy requires a lock of the Astro CLI"),
        (f'version = "1.46.2"\n{digest}', 65, "the astro on PATH is 1.45.0, and"),
        (f'version = "1.45.0"\n{digest}', 0, ""),
    ):
        project.policy(f'default = "prod"\n{TOML}[astro-cli]\n{lock}')
        result = project.run(env=floor)
        assert (status, bool(message)) == (result.code, f"error: deploy: {message}" in result.stderr)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://api.astronomer.io/v1alpha1/telemetry", None),
        ("", None),
        ("http://api.astronomer.io/v1", "api.astronomer.io"),
        ("https://astronomer.io.evil.example", "astronomer.io.evil.example"),
        ("https://api.astronomer.io@evil.example/x", "evil.example"),
        ("https://[::1]:8080/x", "::1"),
        ("http://127.0.0.1:1", "127.0.0.1"),
        ("evil", ""),
        (f"https://{'x' * 64}.example", ""),
        ("https://evil.example\n", "evil.example"),
        ("https://[evil", ""),
    ],
)
def test_only_the_host_of_a_foreign_telemetry_address_is_named(address: str, host: str | None) -> None:
    environ = {"ASTRO_TELEMETRY_API_URL": address}
    assert host == telemetry_host(environ)
    assert host == telemetry_host(environ | {"ASTRO_TELEMETRY_DISABLED": "0"})
    assert {None} == {telemetry_host(environ | {"ASTRO_TELEMETRY_DISABLED": off}) for off in ("1", "True")}


# These need a command, or a project of 2.0: test_second_version.py has them.
ELSEWHERE = {"other-workspace", "refused-command", "manifest-invalid"}


@pytest.mark.parametrize("code", [code for code in CODES if code not in ELSEWHERE])
def test_each_finding_has_its_code_and_is_told_in_words_without_a_change_to_the_project(
    code: str, project: Project
) -> None:
    arrange, message = FINDINGS[code]
    arrange(project)
    before = tree(project.folder)
    arguments = () if (project.folder / "astro-token.toml").exists() else ("env:TOKEN",)
    result = project.run(*arguments, "--format", "json")
    said = json.loads(result.stdout)["deploy"]
    assert before == tree(project.folder)
    (verdict,) = (verdict for verdict in said["verdicts"] if verdict["code"] == code)
    assert (CODES[code].level, message) == (
        verdict["level"],
        verdict["message"].replace(str(project.home), "HOME").replace(str(project.folder), "PROJECT"),
    )
    assert f"astro-token: {verdict['level']}: deploy: {verdict['message']}\n" in result.stderr
    assert f"astro-token: hint: {verdict['hint']}\n" in result.stderr
    if code not in {"other-api", "home-plain-http"}:  # which cannot be alone: a domain, another context
        assert [code] == codes(said)
    errors = [one["code"] for one in said["verdicts"] if one["level"] == "error"]
    status = CODES[code].exit_code if code in errors else 0
    assert (status, status) == (result.code, said["exit_code"])
    assert ("failed" if errors else "warning") == said["status"]
    assert not (project.folder.parent / "ran").exists()


def test_people_get_a_row_for_each_finding_and_all_of_them_in_words(project: Project) -> None:
    no_dags(project)
    (project.bin / "docker").unlink()
    project.write("dags/happy.txt", "changed\n")
    result = project.run("env:TOKEN", env={"COLUMNS": "80", "NO_COLOR": "1"})
    table = (
        "DEPLOY  VERDICT\n.       error: no-dags\n        error: uncommitted\n        warning: no-docker\n"
    )
    assert (65, True) == (result.code, result.stdout.endswith(f"\n\n{table}"))
    assert ["error", "hint", "error", "hint", "warning", "hint"] == re.findall(
        r"^astro-token: (\w+): ", result.stderr, re.MULTILINE
    )


def test_the_worst_of_token_and_project_decides(project: Project) -> None:
    project.env["TOKEN"] = make_token(exp=1_700_000_000)
    assert 65 == project.run("env:TOKEN").code
    shutil.rmtree(project.folder / ".astro")
    assert 78 == project.run("env:TOKEN").code
    # A token that cannot be read hides nothing of the project.
    result = project.run("env:NOTHING", "--format", "json")
    assert "no-project" in codes(json.loads(result.stdout)["deploy"])


# -- the command line and policy ------------------------------------------------------------------------


def test_a_token_after_the_option_is_a_token_and_the_folder_has_an_option_of_its_own(
    project: Project,
) -> None:
    elsewhere = project.program.temporary
    result = project.run(
        "env:TOKEN", "env:TOKEN", "--path", str(project.folder), "--format", "json", cwd=elsewhere
    )
    document = json.loads(result.stdout)
    assert (0, 2, str(project.folder)) == (result.code, len(document["tokens"]), document["deploy"]["path"])


def test_a_folder_alone_is_a_mistake(project: Project) -> None:
    result = project.program("check", "--path", ".", "env:TOKEN")
    assert (64, "astro-token: error: --path requires --deploy") == (
        result.code,
        result.stderr.splitlines()[0],
    )
    assert 64 == project.program("check", f"--deploy={project.folder}", "env:TOKEN").code


def test_a_folder_that_is_not_there_is_no_project(project: Project) -> None:
    result = project.run("env:TOKEN", "--path", "nowhere")
    assert 78 == result.code
    assert "nowhere is not an Astro project" in result.stderr


def test_the_project_that_a_folder_is_in_is_named(project: Project) -> None:
    result = project.run("env:TOKEN", "--path", "dags")
    assert 78 == result.code
    assert f"hint: go to {project.folder}, which is a project, or name it with --path\n" in result.stderr


@pytest.mark.parametrize("level", ["off", "warning"])
def test_no_policy_allows_plain_http_as_exec_starts_nothing_there(project: Project, level: str) -> None:
    FINDINGS["plain-http"][0](project)
    project.policy(f'{TOML}[policy.deploy]\nplain-http = "{level}"\n')
    assert 78 == project.run().code
    assert 78 == project.exec("astro", "deploy").code


def test_policy_says_what_is_an_error_and_the_environment_says_it_first(project: Project) -> None:
    levels = 'no-docker = "error"\nuncommitted = "off"\nno-astro = "warning"\n'
    project.policy(f'{TOML}deployment = "{DEPLOYMENT}"\n[policy.deploy]\n{levels}')
    project.write("dags/etl.py", "# changed\n")
    (project.bin / "docker").unlink()
    (project.bin / "astro").unlink()
    said = project.deploy("prod")
    assert [("no-docker", "error"), ("no-astro", "warning")] == [
        (one["code"], one["level"]) for one in said["verdicts"]
    ]
    floor = {"ASTRO_TOKEN_POLICY_DEPLOY": "uncommitted=error, no-docker=off"}
    assert [("uncommitted", "error"), ("no-docker", "error"), ("no-astro", "warning")] == [
        (one["code"], one["level"]) for one in project.deploy("prod", env=floor)["verdicts"]
    ]


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ('uncomitted = "off"', "policy.deploy.uncomitted is unknown", "did you mean uncommitted?"),
        (
            "uncommitted = false",
            "policy.deploy.uncommitted is not a level",
            "use one of off, warning, error",
        ),
        ('uncommitted = ["off"]', "policy.deploy.uncommitted is not a level", "use one of off"),
    ],
)
def test_a_mistake_in_the_project_s_policy_is_named(
    project: Project, text: str, complaint: str, hint: str
) -> None:
    project.policy(f"{TOML}[policy.deploy]\n{text}\n")
    result = project.run("prod")
    assert 78 == result.code
    assert complaint in result.stderr
    assert f"hint: {hint}" in result.stderr


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("uncomitted=off", " contains an unknown code", "did you mean uncommitted?"),
        ("\x1b[31m=off", " contains an unknown code", "the codes are no-project"),
        ("uncommitted=", ": uncommitted is not a level", "use one of off, warning, error"),
        ("uncommitted=error,", " contains an unknown code", "the codes are"),
    ],
)
def test_a_mistake_in_the_environment_s_policy_is_named(
    project: Project, text: str, complaint: str, hint: str
) -> None:
    result = project.run("env:TOKEN", env={"ASTRO_TOKEN_POLICY_DEPLOY": text})
    assert 78 == result.code
    assert f"astro-token: error: ASTRO_TOKEN_POLICY_DEPLOY{complaint}\n" in result.stderr
    assert f"hint: {hint}" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("code", [code for code in CODES if CODES[code].exported])
def test_what_is_wrong_with_the_home_is_an_error_once_the_token_is_exported(
    code: str, project: Project
) -> None:
    FINDINGS[code][0](project)
    if code == "home-in-project":
        (project.folder / "home").mkdir()
    arguments = () if (project.folder / "astro-token.toml").exists() else ("env:TOKEN",)
    exported = {"ASTRO_API_TOKEN": project.env.get("TOKEN", project.canary)}
    result = project.run(*arguments, "--format", "json", env=exported)
    said = json.loads(result.stdout)["deploy"]
    assert (code, "error") in [(one["code"], one["level"]) for one in said["verdicts"]]
    assert 0 != result.code


# -- what must not happen -------------------------------------------------------------------------------


def test_an_untrusted_checkout_runs_nothing(project: Project, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    evil = project.script("evil", f"echo $0 $1 >> {ran}; cat", project.folder / "tools")
    for name in ("git", "astro", "docker"):
        project.script(name, f"echo {name} >> {ran}", project.folder / "tools")
    project.write(".gitattributes", "*.py filter=evil diff=evil\n*.txt filter=a=b\n")
    project.write("a.txt", "text\n")
    project.commit()
    hook = project.folder / ".git" / "hooks" / "post-index-change"
    shutil.copy(evil, hook)
    for key, value in {
        "core.fsmonitor": str(evil),
        "core.pager": str(evil),
        "core.sshCommand": str(evil),
        "core.hooksPath": str(hook.parent),
        "filter.evil.clean": f"{evil} clean",
        "filter.evil.process": f"{evil} process",
        "filter.a=b.clean": f"{evil} equals",
        "diff.external": str(evil),
        "diff.evil.textconv": str(evil),
        "alias.status": f"!{evil}",
    }.items():
        project.git("config", key, value)
    for name in ("dags/etl.py", "a.txt"):  # their content has to be looked at
        os.utime(project.folder / name, (1, 1))
    before = tree(project.folder)
    said = project.deploy(env={"PATH": f"{project.folder}/tools:tools:{project.bin}"})
    assert not ran.exists()
    assert before == tree(project.folder)
    # That the repository's filters are not run can make files look changed, and is no reason to refuse.
    assert {"git-unknown", "astro-in-project"} == set(codes(said))
    said = project.deploy()
    assert not ran.exists()
    assert before == tree(project.folder)
    assert {"git-unknown"} >= set(codes(said))
    project.git("status")
    assert ran.exists(), "the trap would have caught nothing"


def test_a_git_that_passes_over_our_settings_is_not_let_near_the_repository(project: Project) -> None:
    """As those before 2.31 do, which would run its monitor."""
    ran = project.home / "ran"
    project.git("config", "core.fsmonitor", str(project.script("monitor", f"echo > {ran}")))
    assert [] == codes(project.deploy())
    real = shutil.which("git")
    project.script("git", f'unset GIT_CONFIG_COUNT; exec {real} "$@"')
    (verdict,) = project.deploy()["verdicts"]
    assert ("git-unknown", False) == (verdict["code"], ran.exists())
    assert verdict["message"].endswith(": git is too old, or fails")
    project.git("status")
    assert ran.exists(), "the trap would have caught nothing"


def test_the_user_s_own_filter_is_run_so_that_its_files_do_not_look_changed(project: Project) -> None:
    upper = project.script("upper", "exec /usr/bin/tr a-z A-Z")
    (project.home / ".gitconfig").write_text(f'[filter "upper"]\n\tclean = {upper}\n')
    project.write(".gitattributes", "*.txt filter=upper\n")
    project.write("a.txt", "text\n")
    project.commit()
    os.utime(project.folder / "a.txt", (1, 1))
    assert [] == codes(project.deploy())
    (project.home / ".gitconfig").unlink()
    os.utime(project.folder / "a.txt", (2, 2))
    assert ["uncommitted"] == codes(project.deploy())


def test_a_filter_of_the_repository_hides_no_change_of_a_file_that_it_is_not_for(project: Project) -> None:
    project.git("config", "filter.lfs.clean", "git-lfs clean -- %f")  # as `git lfs install --local` does
    project.write(".gitattributes", "*.bin filter=lfs\n")
    project.write("a.bin", "pointer\n")
    project.git("-c", "filter.lfs.clean=", "add", "--all")
    project.git("-c", "filter.lfs.clean=", "commit", "--quiet", "-m", "More")
    project.write("a.bin", "content\n")
    assert ["git-unknown"] == codes(project.deploy())
    project.write("dags/etl.py", "# changed\n")
    assert ["uncommitted"] == codes(project.deploy())
    project.git("checkout", "dags/etl.py")
    (project.folder / "a.bin").unlink()
    assert ["uncommitted"] == codes(project.deploy())


@pytest.mark.parametrize("count", ["x", "9" * 5000, "3", "-1"])
def test_settings_for_git_in_the_environment_that_make_no_sense_do_no_harm(
    project: Project, count: str
) -> None:
    assert project.deploy(env={"GIT_CONFIG_COUNT": count})["exit_code"] == 0


def test_settings_for_git_in_the_environment_hold(project: Project) -> None:
    (project.folder / "Dockerfile").chmod(0o755)
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fileMode", "GIT_CONFIG_VALUE_0": "false"}
    assert [["uncommitted"], []] == [codes(project.deploy()), codes(project.deploy(env=env))]


def test_links_that_lead_in_a_circle_are_no_bug(project: Project) -> None:
    loop = project.home / "loop"
    loop.symlink_to(loop)
    said = project.deploy(env={"ASTRO_HOME": str(loop), "PATH": f"{loop}:{project.bin}"})
    assert 0 == said["exit_code"]


def test_astro_is_asked_without_the_token_in_a_home_that_is_gone_afterwards(
    project: Project, homes: Path
) -> None:
    note = project.home / "note"
    project.script(
        "astro",
        f'echo Astro CLI Version: 1.45.0; {{ /usr/bin/env; pwd; /bin/ls "$ASTRO_HOME"/.astro; }} > {note}',
    )
    before = tree(project.folder)
    assert [] == codes(project.deploy(env={"ASTRO_API_TOKEN": project.canary, "HTTPS_PROXY": "x"}))
    text = note.read_text()
    variables = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert {"PATH", "HOME", "ASTRO_HOME", "ASTRO_TELEMETRY_DISABLED", "LC_ALL"} == set(variables) - {
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    }
    assert variables["ASTRO_HOME"].startswith(str(homes))
    assert not Path(variables["ASTRO_HOME"]).exists()
    assert "config.yaml" in text
    assert before == tree(project.folder)


def test_variables_of_git_lead_it_nowhere_else(project: Project, tmp_path: Path) -> None:
    project.write("dags/etl.py", "# changed\n")
    elsewhere = tmp_path / "elsewhere"
    trace = project.home / "trace"
    project.git("init", "--quiet", str(elsewhere))
    env = {"GIT_DIR": f"{elsewhere}/.git", "GIT_INDEX_FILE": str(tmp_path / "index"), "GIT_TRACE": str(trace)}
    (verdict,) = project.deploy(env=env)["verdicts"]
    assert verdict["message"].startswith("1 tracked file has uncommitted changes: ")
    assert not trace.exists()


def test_nothing_of_a_file_is_repeated_but_identifiers(project: Project) -> None:
    odd = "cl\\e[31m::error::"
    project.settings(f'project:\n  deployment: "{odd.replace(chr(92), "/")}"\nverbosity: {project.canary}\n')
    project.stored(f"workspace: {project.canary} x\ntoken: Bearer {project.canary}")
    organization_token(project, f'workspace = "{WORKSPACE}"\ndeployment = "{DEPLOYMENT}"\n')
    path = project.home / ".astro" / "config.yaml"
    result = project.program(
        "check",
        "--deploy",
        env={"PATH": str(project.bin), **project.env},
        cwd=project.folder,
        allowed=[path, project.folder / ".astro" / "config.yaml", *project.folder.rglob(".git/objects/**/*")],
    )
    assert 65 == result.code
    assert "goes to deployment another, which" in result.stderr
    assert "the Astro CLI uses another from" in result.stderr
    assert "::error::" not in result.stdout + result.stderr


# -- beside the Astro CLI itself; what has a thread in its tracker is in test_pain_points.py --------------


@pytest.fixture
def bench(tmp_path: Path, astro_api: AstroApi) -> Bench:
    return Bench(STANDIN, tmp_path, astro_api)


@pytest.fixture
def pain(project: Project, bench: Bench) -> Callable[..., tuple[int, str, list[str]]]:
    """Both programs in one project, whose astro-token.toml is committed."""

    def pain(
        token: str, *arguments: str, toml: str = "", change: Callable[[Path], object] = lambda _: None
    ) -> tuple[int, str, list[str]]:
        if not bench.project.exists():
            bench.make_project()
        (bench.project / "Dockerfile").write_text("FROM x\n")
        (bench.project / "astro-token.toml").write_text(f'default = "prod"\n{TOML}{toml}')
        (bench.project / "astro-token.toml").chmod(0o600)
        bench.git("add", "--all")
        bench.git("-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--quiet", "-m", "More")
        change(bench.project)
        project.program.canaries.append(token)
        env = bench.environment(ASTRO_API_TOKEN=token, TOKEN=token)
        env |= {"PATH": f"{project.bin}:{env['PATH']}"}
        said = project.program("check", "--deploy", "--format", "json", env=env, cwd=bench.project)
        result = bench.run("deploy", *arguments, token=token, cwd=bench.project)
        verdicts = json.loads(said.stdout)["deploy"]["verdicts"]
        errors = [one["code"] for one in verdicts if one["level"] == "error"]
        return result.code, result.stdout + result.stderr, errors

    return pain


def test_no_dags_that_end_a_deploy_with_0_are_told_before(
    pain: Any, bench: Bench, astro_api: AstroApi
) -> None:
    bench.make_project()
    shutil.rmtree(bench.project / "dags")
    code, shown, errors = pain(astro_api.issue(), API_DEPLOYMENT, "--dags")
    assert (0, {}, ["no-dags"]) == (code, astro_api.uploads, errors)
    assert shown.endswith("Canceling deploy...\n")


def test_a_checkout_that_has_the_token_sent_elsewhere_is_told_before(
    pain: Any, bench: Bench, astro_api: AstroApi
) -> None:
    bench.make_project(settings="local:\n  core: http://127.0.0.1:1\n")
    token = astro_api.issue()
    code, _, errors = pain(token, API_DEPLOYMENT, "--dags")
    assert (1, ["other-api"]) == (code, errors)
    assert [] == astro_api.requests


def test_a_deployment_of_the_project_s_configuration_that_is_not_the_expected_one_is_told_before(
    pain: Any, bench: Bench, astro_api: AstroApi
) -> None:
    bench.make_project(settings=f"  deployment: {API_DEPLOYMENT}\n")
    code, _, errors = pain(astro_api.issue(), "--dags", toml='deployment = "cldep0production"\n')
    assert (0, ["project-deployment"]) == (code, errors)
    assert [API_DEPLOYMENT] == [deploy["deploymentId"] for deploy in astro_api.deploys.values()]


def test_a_workspace_of_another_job_does_no_harm_to_a_token_that_names_its_own(project: Project) -> None:
    project.stored(f"workspace: {OTHER_WORKSPACE}")
    assert [] == codes(project.deploy())


# -- more of the same -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrange", "found"),
    [
        (lambda p: p.write("untracked.py", "x"), []),
        (added, ["uncommitted"]),
        (lambda p: (p.folder / "requirements.txt").unlink(), ["uncommitted"]),
        (lambda p: os.utime(p.folder / "Dockerfile", (1, 1)), []),
        (lambda p: shutil.rmtree(p.folder / ".git"), []),
        (new_repository, ["uncommitted"]),
        (lambda p: (p.folder / ".git" / "HEAD").write_text("broken"), ["git-unknown"]),
        (lambda p: p.script("git", "exit 3"), ["git-unknown"]),
        (lambda p: p.script("git", "exec yes"), ["git-unknown"]),
        (committed(lambda p: shutil.rmtree(p.folder / "dags")), ["no-dags"]),
        (lambda p: p.write("dags/.airflowignore", ".*\n!etl.py\n"), []),
        (lambda p: p.write("dags/.airflowignore", "helpers/\n"), []),
        (lambda p: p.write("requirements.txt", "a==1\na==1\nb>=2\nb==3; x\nb==4"), ["uncommitted"]),
        (lambda p: p.env.update(ASTRO_DOMAIN="cloud.astronomer.io"), []),
        (lambda p: p.env.update(ASTRO_DOMAIN="pr12345.astronomer-dev.io"), []),
        (lambda p: p.env.update(ASTRO_DOMAIN="https://astronomer.io"), ["foreign-domain"]),
        (lambda p: p.env.update(ASTRO_DOMAIN="127.0.0.1:8888"), ["foreign-domain"]),
        (lambda p: p.env.update(ASTRO_HOME=str(p.folder / "Dockerfile")), ["home-in-project", "odd-home"]),
        (lambda p: p.env.update(ASTRO_HOME=str(p.home / "fresh")), []),
        (lambda p: p.env.update(ASTRONOMER_KEY_ID=""), []),
        (lambda p: p.env.update(PATH=f"bin:{p.bin}"), []),
        (
            lambda p: p.settings("cloud: {api: {protocol: http}}\n"),
            ["config-unread"],
        ),
        (lambda p: p.stored("token: ''\nrefreshtoken: ''"), []),
        (lambda p: p.stored("token: ''").with_name("config.yaml.lock").touch(), []),
        (lambda p: p.script("astro", "echo Astro CLI Version: SNAPSHOT-1a2b"), []),
        (lambda p: p.script("astro", "echo Astro CLI Version: 1.45.0; exit 1"), ["unknown-astro"]),
        (lambda p: p.script("astro", "exec yes Astro"), ["unknown-astro"]),
        (lambda p: p.script("podman", "exit 1") and (p.bin / "docker").unlink(), []),
    ],
)
def test_what_is_and_what_is_not_a_finding(
    project: Project, arrange: Callable[[Project], object], found: list[str]
) -> None:
    arrange(project)
    assert found == sorted(codes(project.deploy()))


def test_a_link_in_place_of_the_dags_is_not_followed(project: Project) -> None:
    (project.folder / "dags").rename(project.folder / "elsewhere")
    (project.folder / "dags").symlink_to("elsewhere")
    project.commit()
    assert "dags is a link, which the Astro CLI does not follow" in project.deploy()["verdicts"][0]["message"]


def test_the_whole_repository_is_looked_at_as_the_astro_cli_does(project: Project) -> None:
    below = project.folder / "airflow"
    below.mkdir()
    for name in (".astro", "dags", "Dockerfile"):
        shutil.move(project.folder / name, below / name)
    project.commit()
    project.write("requirements.txt", "changed\n")
    said = project.deploy("env:TOKEN", "--path", "airflow")
    assert (["uncommitted"], "airflow") == (codes(said), said["path"])


def test_the_home_folder_is_no_project(project: Project) -> None:
    said = project.deploy(env={"HOME": str(project.folder)})
    assert (
        ". is the home folder, which the Astro CLI does not accept as a project"
        == said["verdicts"][0]["message"]
    )


def test_every_code_is_in_the_table_of_the_documentation_with_its_level_and_status() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| ([a-z_,` ]+) \| (\d+) \|",
        (ROOT / "docs" / "check-deploy.md").read_text(),
        re.MULTILINE,
    )
    actual = [(code, level, int(status)) for code, level, status in rows]
    expected = [(code, documented_level(one), one.exit_code) for code, one in CODES.items()]
    assert expected == actual


def documented_level(code: Code) -> str:
    worse = "exported" if code.exported else f"`{code.required}`" if code.required else ""
    return f"warning, error if {worse}" if code.level == "warning" and worse else code.level
