"""The scripts of the examples, run as their CI systems run them, with programs that note their calls."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from astro_token.init.plan import PACKAGE_SOURCE
from tests.rows import each_row
from tests.schemas import assert_schema
from tests.test_examples import CI, EXAMPLES, PAIRED, backend_of, name

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOYMENTS = {"dev": "cldev00000000000000000", "prod": "cldep00000000000000000"}
# Stands for all programs: notes its words, or what exec was given, and makes the environment that venv would.
STUB = """\
#!/bin/bash
called=${0##*/}
(printf '%s\\0' "$called" "$@"; printf '\\n\\0') >>"$CALLS"
case $called:$* in
python*venv*) mkdir -p "${@: -1}/bin" && cp -P "$STUBS"/{pip,astro-token} "${@: -1}/bin" ;;
aws*) echo a-token-of-aws ;;
astro-token:exec* | "python:-I -m astro_token exec"*) env -0 >"$SEEN" ;;
*"check --deploy"*) pwd >"$CALLS.folder"; exit "${CHECK_STATUS:-0}" ;;
esac
"""
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
SH = ["sh", "-ec"]


@dataclass(frozen=True)
class Step:
    """A script of a job, with what the CI system puts into its environment."""

    shell: list[str]
    environ: dict[str, str]
    script: str


def _text(environ: dict[str, Any]) -> dict[str, str]:
    """Where the value is of a store of the CI system's, there is one."""
    return {key: value if isinstance(value, str) else f"stored-{key}" for key, value in environ.items()}


def jobs(path: Path) -> list[str]:
    """The environments that a file deploys to."""
    if path.parent.name not in PAIRED or path.stem.endswith("-image"):
        return ["prod"]
    return ["dev", "prod"]


CASES = [(path, job) for path in EXAMPLES for job in jobs(path)]
PAIRS = [(path, job) for path, job in CASES if path.parent.name in PAIRED]


def case(value: Path | str) -> str:
    return value if isinstance(value, str) else name(value)


def steps(path: Path, name: str = "prod") -> list[Step]:
    system = path.parent.name
    if system == "jenkins":
        return _of_jenkins(path.read_text())
    found = yaml.safe_load(path.read_text())
    if system == "github":
        job = found["jobs"][name]
        own = [step for step in job["steps"] if "run" in step]
        return [
            Step(BASH, _text({**found["env"], **job["env"], **step.get("env", {})}), step["run"])
            for step in own
        ]
    if system == "circleci":
        job = found["jobs"]["deploy"]
        return [Step(BASH, job["environment"], step["run"]) for step in job["steps"] if "run" in step]
    if system == "azure-pipelines":
        texts = [(s, s.get("script") or s.get("inputs", {}).get("inlineScript")) for s in found["steps"]]
        return [
            Step(BASH, {**found["variables"], **step.get("env", {})}, text) for step, text in texts if text
        ]
    # These have one shell for all lines.
    if system == "gitlab":
        job = {**found[found[name]["extends"]], **found[name]}
        shell, environ, lines = SH, {**found["variables"], **job["variables"]}, job["script"]
        environ["ASTRO_TOKEN_ID_TOKEN" if "id_tokens" in job else "ASTRO_TOKEN_AGE_KEY"] = "of-gitlab"
    elif system == "bitbucket":
        shell, environ = SH, {}
        lines = found["pipelines"]["branches"]["main"][0]["step"]["script"]
    elif system in {"drone", "woodpecker"}:
        shell, environ, lines = SH, _text(found["steps"][0]["environment"]), found["steps"][0]["commands"]
    elif system == "buildkite":
        shell, environ = BASH, found["steps"][0]["env"]
        # A single $ is replaced when the pipeline is uploaded, and not by the variables of a step.
        lines = [
            re.sub(r"\$\$|\$\{?\w+\}?", lambda dollar: "$" if dollar[0] == "$$" else "", line)
            for line in found["steps"][0]["command"]
        ]
    else:
        shell, environ = SH, found["env"]["variables"]
        lines = [line for phase in ("install", "build") for line in found["phases"][phase]["commands"]]
    return [Step(shell, environ, "\n".join(lines))]


def _of_jenkins(text: str) -> list[Step]:
    environ = dict(re.findall(r"^ {8}([A-Z_]+) = ['\"](.*)['\"]$", text, re.MULTILINE))
    environ["HOME"] = environ["HOME"].replace("${WORKSPACE_TMP}", "/tmp/of the job")
    # In single quotes: Groovy would put its own values into a script in double quotes.
    scripts = re.findall(r"\bsh '(.*)'$", text, re.MULTILINE)
    assert len(scripts) == len(re.findall(r"\bsh\b(?! \')", text)) + len(scripts)
    return [Step(["sh", "-xec"], {**environ, "ASTRO_TOKEN_ID_TOKEN": "of-jenkins"}, each) for each in scripts]


@dataclass(frozen=True)
class Ran:
    """
    Attributes:
        work: the checkout.
    """

    calls: list[list[str]]
    seen: dict[str, str]
    work: Path


def run(path: Path, folder: Path, job: str = "prod") -> Ran:
    stubs, work = folder / "stubs", folder / "work"
    stubs.mkdir()
    work.mkdir(exist_ok=True)
    stub = stubs / "stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    for program in ("pip", "python", "python3", "aws", "apt-get", "astro-token"):
        (stubs / program).symlink_to(stub)
    calls, seen = folder / "calls", folder / "seen"
    base = {
        "PATH": f"{stubs}:/usr/bin:/bin", "HOME": str(folder), "CALLS": str(calls), "SEEN": str(seen),
        "STUBS": str(stubs), "CI": "true",
    }  # fmt: skip
    (work / "astro-token.toml").touch()
    (work / "astro-token.toml").chmod(0o666)  # as GitLab's docker executor and Woodpecker check it out
    for step in steps(path, job):
        # A job's container has a /tmp of its own.
        environ = {key: value.replace("/tmp/", f"{folder}/") for key, value in step.environ.items()}
        done = subprocess.run(
            [*step.shell, step.script.replace("/tmp/", f"{folder}/").replace("/opt/", f"{folder}/")],
            env={**base, **environ}, cwd=work, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    words = [call.split("\0")[:-1] for call in calls.read_text().split("\n\0")[:-1]]
    pairs = (line.partition("=") for line in seen.read_text().split("\0") if line)
    return Ran(words, {key: value for key, _, value in pairs}, work)


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Ran]:
    """`run`, once for each job."""

    @cache
    def run_once(path: Path, job: str) -> Ran:
        return run(path, tmp_path_factory.mktemp("job"), job)

    return run_once


@pytest.mark.parametrize(("path", "job"), CASES, ids=case)
def test_an_example_installs_and_deploys_with_the_token(
    path: Path, job: str, ran_once: Callable[[Path, str], Ran]
) -> None:
    ran = ran_once(path, job)
    backend = backend_of(path)
    assert [] == [call for call in ran.calls if call[0].startswith("python") and "-I" not in call]
    (packages,) = [call[1:] for call in ran.calls if call[0] == "pip"]
    package = "astro-token" if backend == "file" else rf"astro-token\[[a-z,]*\b{backend}\b[a-z,]*\]"
    source = r" @ git\+https://github\.com/YOUR-ORG/astro-token@COMMIT"
    assert (2 + ("awscli" in packages), "install") == (len(packages), packages[0])
    assert re.fullmatch(package + source, packages[1])
    first, last = [call[1:] for call in ran.calls if call[0] == "astro-token"]
    assert ["install-cli", "--version"] == first[:2]
    assert re.fullmatch(r"1\.\d+\.\d+", first[2])
    # An `astro` in the checkout would be refused.
    assert ["--to"] == first[3:4] or first[3:] == []
    assert not first[4:] or (Path(first[4]).is_absolute() and not Path(first[4]).is_relative_to(ran.work))
    options = [] if path.stem.endswith("-image") else ["--dags"]
    assert ["exec", "--", "astro", "deploy", *options, DEPLOYMENTS[job]] == [last[0], *last[2:]]
    assert last[1] in path.read_text()
    assert last[1].startswith(f"{backend}:")
    assert job in last[1]


@pytest.mark.parametrize(("path", "job"), CASES, ids=case)
def test_what_the_backend_needs_reaches_it(
    path: Path, job: str, ran_once: Callable[[Path, str], Ran]
) -> None:
    """By the variables that a file names, which all have to be there when the token is read, and no other."""
    text = re.sub(r"^\s*(?:#|//).*$", "", path.read_text(), flags=re.MULTILINE)
    named = set(re.findall(r"\b(?:ASTRO_TOKEN|VAULT|AZURE|AWS|GOOGLE)_[A-Z_]+\b", text))
    ran = ran_once(path, job)
    # CodeBuild has its role and its region by itself, and GitLab its variables.
    assert bool(named) is (path.parts[-2:] not in {("codebuild", "aws.yml"), ("gitlab", "file.yml")})
    assert {} == {variable: ran.seen.get(variable) for variable in named if not ran.seen.get(variable)}
    if path.parts[-2:] in {("codebuild", "azure.yml"), ("codebuild", "gcp.yml")}:
        assert ran.seen["ASTRO_TOKEN_ID_TOKEN"] == "a-token-of-aws"
        (asked,) = [call for call in ran.calls if call[0] == "aws"]
        assert asked[asked.index("--audience") + 1].startswith(
            ("api://AzureADTokenExchange", "https://iam.g")
        )


@pytest.mark.parametrize(("path", "job"), PAIRS, ids=case)
def test_each_environment_has_settings_of_its_own(
    path: Path, job: str, ran_once: Callable[[Path, str], Ran]
) -> None:
    """No variable of one environment names the other."""
    seen = ran_once(path, job).seen
    other = {"dev": "prod", "prod": "dev"}[job]
    assert {} == {key: text for key, text in seen.items() if re.search(rf"\b{other}\b", text)}
    named = [key for key, text in seen.items() if re.search(rf"\b{job}\b", text)]
    assert {"REF"} <= set(named)


@pytest.mark.parametrize(
    ("path", "job"),
    [(p, job) for p, job in CASES if p.parent.name in {"gitlab", "woodpecker", "bitbucket"}],
    ids=case,
)
def test_a_project_file_that_a_runner_made_writable_for_all_is_no_longer_when_the_token_is_read(
    path: Path, job: str, ran_once: Callable[[Path, str], Ran]
) -> None:
    assert (ran_once(path, job).work / "astro-token.toml").stat().st_mode & 0o022 == 0


def test_images_contain_git() -> None:
    """astro-token is installed with it until there is a release, and a deploy's checks use it."""
    images = {
        image
        for path in [*EXAMPLES, CI / "gitlab" / "component" / "templates" / "astro-token.yml"]
        for image in re.findall(r"\b(?:image|default): ?'?(python:\S+?)'?$", path.read_text(), re.MULTILINE)
    }
    assert images == {"python:3.13", "python:3.13-trixie"}


def test_no_secret_of_drone_s_stays_in_the_environment(tmp_path: Path) -> None:
    ran = run(CI / "drone" / "gcp.yml", tmp_path)
    assert "GCP_KEY" not in ran.seen
    key = Path(ran.seen["GOOGLE_APPLICATION_CREDENTIALS"])
    assert ("stored-GCP_KEY", 0o600) == (key.read_text(), key.stat().st_mode & 0o777)


# -- what a file has to say so that its CI system does it ----------------------------------------------


def loaded(system: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for path in EXAMPLES if path.parent.name == system]


def test_azure_pipelines_gets_its_identity_in_a_task_that_names_the_connection() -> None:
    """A script has none: the service asks for a reference to the connection in the stage that uses it."""
    template = yaml.safe_load((CI / "azure-pipelines" / "template.yml").read_text())
    for found in [*loaded("azure-pipelines"), template]:
        (step,) = [one for one in found["steps"] if "SYSTEM_ACCESSTOKEN" in one.get("env", {})]
        assert step["task"] == "AzureCLI@2"
        assert {"azureSubscription", "scriptType", "scriptLocation", "inlineScript"} == step["inputs"].keys()


def test_only_the_branch_of_the_environment_deploys_and_no_pull_request() -> None:
    for found in loaded("azure-pipelines"):
        assert (["main"], "none") == (found["trigger"], found["pr"])
    for found in loaded("buildkite"):
        (step,) = found["steps"]
        assert 'build.branch == "main" && build.pull_request.id == null' == step["if"]
        assert "branches" not in step  # which cannot stand beside it
    for found in loaded("github"):
        branches = {job: {"dev": "dev", "prod": "main"}[job] for job in found["jobs"]}
        # YAML 1.1 takes `on` for a truth value.
        assert {"push": {"branches": list(branches.values())}} == found[True]
        for job, branch in branches.items():
            deploy = found["jobs"][job]
            assert (f"github.ref == 'refs/heads/{branch}'", job) == (deploy["if"], deploy["environment"])
    for found in loaded("gitlab"):
        for job, branch in {"dev": "dev", "prod": "main"}.items():
            if job in found:
                # Not for a schedule or a trigger, whose logins the roles refuse.
                rule = f'$CI_COMMIT_BRANCH == "{branch}" && $CI_PIPELINE_SOURCE =~ /^(push|web)$/'
                assert [{"if": rule}] == found[job]["rules"]
                assert job == found[job]["environment"]
    for found in loaded("drone"):
        assert {"branch": ["main"], "event": ["push"]} == found["trigger"]
    for found in loaded("woodpecker"):
        assert [{"event": "push", "branch": "main"}] == found["when"]
    for found in loaded("circleci"):
        (job,) = found["workflows"]["deploy"]["jobs"]
        assert {"branches": {"only": "main"}} == job["deploy"]["filters"]
    for found in loaded("bitbucket"):
        assert {"branches": {"main"}} == {kind: set(found["pipelines"][kind]) for kind in found["pipelines"]}
    for path in EXAMPLES:
        if path.parent.name == "jenkins":
            assert "when { branch 'main' }" in path.read_text()


# -- parts that take parameters ------------------------------------------------------------------------


HOSTILE = "vault]'\"; touch pwned; $(touch pwned) `touch pwned` #"
COMMAND = 'for d in a "b c"; do echo "$d: x" >> ran; done # \'x\''


def script(text: str, folder: Path, shell: list[str], environ: dict[str, str]) -> list[list[str]]:
    """The calls that it makes."""
    stub, installed = folder / "stub", folder / "astro-token" / "bin"
    stub.write_text(STUB.replace("{pip,astro-token}", "python"))
    stub.chmod(0o755)
    installed.mkdir(parents=True, exist_ok=True)
    for program in (folder / "python", folder / "python3", installed / "python"):
        program.unlink(missing_ok=True)
        program.symlink_to(stub)
    base = {
        "PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(folder / "calls"), "SEEN": str(folder / "seen"),
        "HOME": str(folder), "STUBS": str(folder), "AGENT_TEMPDIRECTORY": str(folder),
    }  # fmt: skip
    (folder / "calls").write_text("")
    text = text.replace("/opt/astro-token", str(installed.parent))
    (folder / "a b").mkdir(exist_ok=True)
    subprocess.run([*shell, text], env={**base, **environ}, cwd=folder, capture_output=True, timeout=60)
    assert not (folder / "pwned").exists()
    return modules([call.split("\0")[:-1] for call in (folder / "calls").read_text().split("\n\0")[:-1]])


def modules(calls: list[list[str]]) -> list[list[str]]:
    """The calls of `python -I -m MODULE` as calls of the module; those of venv are left out."""
    assert [] == [call for call in calls if call[0].startswith("python") and call[1:3] != ["-I", "-m"]]
    return [call[3:] for call in calls if call[3] != "venv"]


def component(**inputs: str) -> dict[str, Any]:
    """The job that GitLab makes of it: what is given replaces the text, and then it is read as YAML."""
    path = CI / "gitlab" / "component" / "templates" / "astro-token.yml"
    header, _, body = path.read_text().partition("\n---\n")
    known = yaml.safe_load(header)["spec"]["inputs"]
    for key, spec in known.items():
        value = inputs.get(key, spec.get("default"))
        assert re.search(spec.get("regex", ""), value), key
        body = body.replace(f"$[[ inputs.{key} ]]", value)
    assert "$[[" not in body
    assert "$[[" not in path.read_text().partition("  script:\n")[2].partition("  rules:\n")[0]
    return yaml.safe_load(body)  # type: ignore[no-any-return]


GIVEN = {"token": "vault:secret/astro/prod#token", "extras": "vault", "audience": "https://vault.example.com"}


def test_the_component_of_gitlab_is_a_job(tmp_path: Path) -> None:
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text(yaml.safe_dump(component(**GIVEN, command=COMMAND, job="a job")))
    assert_schema("vendor.gitlab-ci", file)
    assert [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}] == component(**GIVEN)["astro-deploy"]["rules"]


def test_the_component_of_gitlab_runs_nothing_but_its_command(tmp_path: Path) -> None:
    (job,) = component(**{**GIVEN, "token": HOSTILE}, command=COMMAND).values()
    given = job["variables"]
    # What GitLab would expand is not for it to expand.
    assert all(
        "$" not in text if isinstance(text, str) else text["expand"] is False for text in given.values()
    )
    environ = {key: text if isinstance(text, str) else text["value"] for key, text in given.items()}
    calls = script("\n".join(job["script"]), tmp_path, SH, environ)
    assert ["pip", "install", f"astro-token[vault] @ {PACKAGE_SOURCE}"] == calls[0]
    assert ["astro_token", "exec", HOSTILE, "--", "sh", "-euc", COMMAND] == calls[-1]
    with pytest.raises(AssertionError, match="extras"):
        component(**{**GIVEN, "extras": "vault]' && touch pwned #"})


def test_the_orb_is_a_part_of_a_pipeline(tmp_path: Path) -> None:
    orb = yaml.safe_load((CI / "circleci" / "orb.yml").read_text())
    body = {key: value for key, value in orb.items() if key != "version"}
    job = {"astro/deploy": {"token": "prod", "extras": "vault", "context": ["astro"]}}
    config = {"version": 2.1, "orbs": {"astro": body}, "workflows": {"deploy": {"jobs": [job]}}}
    file = tmp_path / "config.yml"
    file.write_text(yaml.safe_dump(config))
    assert_schema("vendor.circle-ci", file)


def _filled(value: str, given: dict[str, str]) -> str:
    return re.sub(r"(?:<<|\$\{\{) ?parameters\.(\w+) ?(?:>>|\}\})", lambda found: given[found[1]], value)


def test_parts_take_their_parameters_by_the_environment_under_names_of_their_own(tmp_path: Path) -> None:
    orb = yaml.safe_load((CI / "circleci" / "orb.yml").read_text())
    template = yaml.safe_load((CI / "azure-pipelines" / "template.yml").read_text())["steps"]
    pieces = [command["steps"][0]["run"] for command in orb["commands"].values()]
    parts = [(piece["command"], piece["environment"]) for piece in pieces]
    parts += [(template[1]["script"], template[1]["env"])]
    parts += [(template[2]["inputs"]["inlineScript"], template[2]["env"])]
    given = {
        "token": HOSTILE,
        "command": COMMAND,
        "extras": HOSTILE,
        "source": HOSTILE,
        "serviceConnection": "x",
        "folder": "a b",
    }
    for text, environ in parts:
        assert "parameters" not in text
        assert all(key.startswith(("ASTRO_TOKEN_", "SYSTEM_")) for key in environ)
        filled = {key: _filled(value, given) for key, value in environ.items()}
        calls = script(text, tmp_path, BASH, filled)
        if calls[0][0] == "pip":
            assert ["pip", "install", f"astro-token[{HOSTILE}] @ {HOSTILE}"] == calls[0]
        else:
            assert ["exec", HOSTILE, "--", "bash", "-euo", "pipefail", "-c", COMMAND] == calls[0][1:]


# -- what every part does before a deploy ---------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """
    A part whose installation is done.

    Attributes:
        environ: by which it gets token, command and folder.
    """

    shell: list[str]
    script: str
    environ: dict[str, str]


PARTS = ("action", "component", "orb", "template", "plugin", "library", "pipe")
TOKEN = "vault:secret/astro/prod#token"


def part(name: str, command: str, installed: Path, work: Path) -> Part:
    """
    Args:
        installed: a virtual environment.
        work: the checkout, with the project in the folder `a b`.
    """
    given = {"token": TOKEN, "command": command, "folder": "a b", "extras": "vault"}
    ours = {"ASTRO_TOKEN_REFERENCE": TOKEN, "ASTRO_TOKEN_CHILD_COMMAND": command, "ASTRO_TOKEN_FOLDER": "a b"}
    if name == "action":
        inputs = {"TOKEN": TOKEN, "COMMAND": command, "EXTRAS": "vault", "WORKING-DIRECTORY": "a b"}
        environ = {f"INPUT_{key}": text for key, text in inputs.items()}
        root = CI.parents[1]
        return Part(
            ["node"], str(root / "action" / "main.js"), {**environ, "RUNNER_TEMP": str(installed.parent)}
        )
    if name == "component":
        (job,) = component(**{**GIVEN, **given}).values()
        environ = {
            key: text if isinstance(text, str) else text["value"] for key, text in job["variables"].items()
        }
        return Part(SH, job["script"][-1].replace("/opt/astro-token", str(installed)), environ)
    if name == "orb":
        step = yaml.safe_load((CI / "circleci" / "orb.yml").read_text())["commands"]["exec"]["steps"][0][
            "run"
        ]
        environ = {key: _filled(value, given) for key, value in step["environment"].items()}
        return Part(BASH, step["command"], {**environ, "HOME": str(installed.parent)})
    if name == "template":
        step = yaml.safe_load((CI / "azure-pipelines" / "template.yml").read_text())["steps"][2]
        environ = {key: _filled(value, given) for key, value in step["env"].items()}
        return Part(
            [*BASH[:3], "-c"],
            step["inputs"]["inlineScript"],
            {**environ, "AGENT_TEMPDIRECTORY": str(installed.parent)},
        )
    if name == "plugin":
        settings = {f"BUILDKITE_PLUGIN_ASTRO_TOKEN_{key.upper()}": text for key, text in given.items()}
        hook = CI / "buildkite" / "plugin" / "hooks" / "command"
        return Part(BASH, str(hook), {**settings, "BUILDKITE_COMMAND": command})
    if name == "library":
        text = (CI / "jenkins" / "vars" / "astroToken.groovy").read_text()
        assert "dir(settings.folder)" in text
        return Part(["sh", "-xec"], "cd 'a b'; " + text.partition("sh '''")[2].partition("'''")[0], ours)
    pipe = {"TOKEN": TOKEN, "COMMAND": command, "FOLDER": "a b", "BITBUCKET_CLONE_DIR": str(work)}
    return Part(BASH, str(CI / "bitbucket" / "pipe" / "pipe.sh"), pipe)


@dataclass(frozen=True)
class Outcome:
    status: int
    calls: list[list[str]]
    checked: str


def start(name: str, command: str, folder: Path, **environ: str) -> Outcome:
    installed, stubs, work = folder / "astro-token", folder / "stubs", folder / "work"
    for each in (stubs, installed / "bin", work / "a b"):
        each.mkdir(parents=True)
    (stubs / "stub").write_text(STUB.replace("{pip,astro-token}", "python"))
    (stubs / "stub").chmod(0o755)
    for program in (stubs / "python", stubs / "python3", stubs / "astro-token", installed / "bin" / "python"):
        program.symlink_to(stubs / "stub")
    made = part(name, command, installed, work)
    base = {
        "PATH": f"{stubs}:/usr/bin:/bin", "STUBS": str(stubs), "CALLS": str(folder / "calls"),
        "SEEN": str(folder / "seen"), "TMPDIR": str(folder), "HOME": str(folder),
    }  # fmt: skip
    done = subprocess.run(
        [*made.shell, made.script],
        env={**base, **made.environ, **environ},
        cwd=work,
        capture_output=True,
        timeout=60,
    )
    calls = [call.split("\0")[:-1] for call in (folder / "calls").read_text().split("\n\0")[:-1]]
    of_ours = [call[call.index(word) :] for call in calls for word in ("check", "exec") if word in call]
    checked = folder / "calls.folder"
    return Outcome(done.returncode, of_ours, checked.read_text().strip() if checked.exists() else "")


@each_row("name", PARTS)
def test_a_part_checks_the_project_and_then_starts_the_deploy_itself(name: str, tmp_path: Path) -> None:
    """Without a shell, so that `exec` sees the deployment, and refuses another one than the token's."""
    outcome = start(name, f"astro deploy --dags {DEPLOYMENTS['prod']}", tmp_path)
    deploy = ["exec", TOKEN, "--", "astro", "deploy", "--dags", DEPLOYMENTS["prod"]]
    assert (0, [["check", "--deploy", TOKEN], deploy]) == (outcome.status, outcome.calls)
    assert str(tmp_path / "work" / "a b") == outcome.checked


@each_row("name", PARTS)
def test_a_part_does_not_deploy_what_fails_the_check(name: str, tmp_path: Path) -> None:
    outcome = start(name, "astro deploy --dags", tmp_path, CHECK_STATUS="65")
    assert (65, [["check", "--deploy", TOKEN]]) == (outcome.status, outcome.calls)


@each_row("name", PARTS)
@each_row(
    ("command", "is_checked"),
    [
        ("astro dev parse && astro deploy", True),
        ("astro deploy --description 'a b'", True),
        ("astro deploy; ls *", True),
        ("astro  deploy; astro\tdeploy", True),
        ("astro deployment list | cat", False),
        ("make deploy", False),
    ],
)
def test_a_part_leaves_other_commands_to_a_shell(
    name: str, command: str, is_checked: bool, tmp_path: Path
) -> None:
    outcome = start(name, command, tmp_path)
    shell = ["sh", "-euc"] if name in {"component", "library"} else ["bash", "-euo", "pipefail", "-c"]
    expected = [["check", "--deploy", TOKEN]] if is_checked else []
    assert (0, [*expected, ["exec", TOKEN, "--", *shell, command]]) == (outcome.status, outcome.calls)


def test_the_plugin_of_buildkite_runs_the_step_s_command(tmp_path: Path) -> None:
    folder, stubs = tmp_path / "place", tmp_path / "place" / "stubs"
    stubs.mkdir(parents=True)
    (stubs / "stub").write_text(STUB.replace("{pip,astro-token}", "{python,astro-token}"))
    (stubs / "stub").chmod(0o755)
    for program in ("python3", "python", "astro-token"):
        (stubs / program).symlink_to(stubs / "stub")
    environ = {
        "PATH": f"{stubs}:/usr/bin:/bin", "STUBS": str(stubs), "CALLS": str(folder / "calls"),
        "SEEN": str(folder / "seen"), "TMPDIR": str(folder),
        "BUILDKITE_COMMAND": COMMAND, "BUILDKITE_PLUGIN_ASTRO_TOKEN_TOKEN": HOSTILE,
        "BUILDKITE_PLUGIN_ASTRO_TOKEN_EXTRAS": "vault",
    }  # fmt: skip
    hook = CI / "buildkite" / "plugin" / "hooks" / "command"
    subprocess.run([hook], env=environ, cwd=folder, check=True, timeout=60)
    calls = [call.split("\0")[:-1] for call in (folder / "calls").read_text().split("\n\0")[:-1]]
    install, execute = modules(calls)
    assert ["pip", "install", "--quiet", f"astro-token[vault] @ {PACKAGE_SOURCE}"] == install
    assert ["astro_token", "exec", HOSTILE, "--", "bash", "-euo", "pipefail", "-c", COMMAND] == execute
    assert sorted(path.name for path in folder.iterdir()) == ["calls", "seen", "stubs"]
    assert os.access(hook, os.X_OK)
