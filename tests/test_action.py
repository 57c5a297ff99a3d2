"""action.yml, run as GitHub's runner runs it: inputs, outputs, variables of later steps, the post step."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli import deploy_project
from tests.conftest import BASE, PROGRAM, ROOT, Result
from tests.github_job import RUNNERS_OWN, Job
from tests.timing import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program
    from tests.github_job import Done

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None and not os.environ.get("CI"), reason="the runner of JavaScript actions is not here"
)
# Makes a virtual environment and installs nothing. Everything else is this environment's Python.
PYTHON = """\
#!/bin/sh
echo "$*" >>"{calls}"
case "$*" in
"-I -m venv "*) echo "$PWD" >>"{calls}.folders"; install -D "$0" "$4/${{LAYOUT:-bin/python}}" ;;
*" -m pip "*) echo "$PWD" >>"{calls}.folders" ;;
*) exec "{python}" "$@" ;;
esac
"""


@pytest.fixture
def stubs(program: Program) -> Path:
    folder = program.folder / "stubs"
    folder.mkdir()
    (folder / "python3").write_text(
        PYTHON.format(python=PROGRAM.parent / "python", calls=folder / "python3.calls")
    )
    (folder / "python3").chmod(0o755)
    (folder / "python").symlink_to("python3")
    (folder / "node").symlink_to(NODE or "node")
    program.environ["PATH"] = f"{folder}:/usr/bin:/bin"
    return folder


@pytest.fixture
def job(program: Program, stubs: Path, canary: str) -> Job:
    assert (stubs / "python3").exists()
    program.environ["SECRET"] = canary
    return Job(program.temporary, program.work, program.environment())


def ran(program: Program, done: Done) -> Result:
    """A step with everything that the log shows, searched for the token."""
    result = Result(done.status or 0, done.stdout, done.stderr)
    assert [] == program.leaks(result)
    return result


def later(job: Job, script: str) -> str:
    """A later step's own output, before masks."""
    return job.run({"run": script}).stdout.strip()


def test_a_command_has_the_token_and_nothing_else_has(program: Program, job: Job, canary: str) -> None:
    command = 'test "$ASTRO_API_TOKEN" = "$EXPECTED" && echo "${#ASTRO_API_TOKEN}"; false | true'
    done = job.use(ROOT, {"token": "env:SECRET", "command": command}, {"EXPECTED": canary})
    assert (1, f"{len(canary)}\n") == (done.status, done.stdout), done.stderr  # pipefail
    assert {} == job.runner.environment
    assert [0] == [each.status for each in job.end()]
    ran(program, done)
    assert not (program.temporary / "astro-token").exists()


def test_later_steps_get_the_token_until_the_post_step(program: Program, job: Job, canary: str) -> None:
    done = job.use(ROOT, {"token": "env:SECRET"})
    assert (0, "") == (done.status, done.stdout), done.stderr
    assert f"::add-mask::{canary}\n" in done.stderr
    assert canary not in "\n".join(job.runner.log)
    assert canary == later(job, 'printf %s "$ASTRO_API_TOKEN"')
    assert {"ASTRO_API_TOKEN", "ASTRO_TELEMETRY_DISABLED"} == job.runner.environment.keys()
    (end,) = job.end()
    assert (0, "", "") == (end.status, end.stdout, end.stderr)
    # The post steps of actions before this one run now.
    assert "" == later(job, 'printf %s "$ASTRO_API_TOKEN"')
    assert not (program.temporary / "astro-token").exists()


def test_an_output_reaches_the_step_that_names_it_and_no_other(job: Job, canary: str) -> None:
    done = job.use(ROOT, {"token": "env:SECRET", "outputs": "true"}, ident="astro")
    assert (0, "") == (done.status, done.stdout), done.stderr
    assert {"ASTRO_API_TOKEN": canary} == done.outputs
    assert {} == job.runner.environment
    assert canary not in "\n".join(job.runner.log)
    print_it = 'printf %s "$ASTRO_API_TOKEN"'
    assert "" == later(job, print_it)
    env = {"ASTRO_API_TOKEN": "${{ steps.astro.outputs.ASTRO_API_TOKEN }}"}
    step = job.run({"run": print_it, "env": env})
    assert (canary, "***" in job.runner.log) == (step.stdout, True)
    (end,) = job.end()
    assert (0, "") == (end.status, end.stderr)
    assert {} == job.runner.environment


def test_a_failed_export_is_taken_back_too(job: Job) -> None:
    done = job.use(ROOT, {"token": "env:MISSING"})
    assert (66, "") == (done.status, done.stdout), done.stderr
    assert [0] == [each.status for each in job.end()]
    assert {"ASTRO_API_TOKEN": ""} == job.runner.environment


@pytest.mark.parametrize(
    "command", ["astro deploy --dags", "set -x; astro \\\n  deploy --dags && :", "astro  deploy --dags"]
)
def test_only_what_passes_the_check_is_deployed(
    program: Program, canary: str, stubs: Path, tmp_path: Path, command: str
) -> None:
    project = deploy_project.make(program, canary, tmp_path)
    project.script(
        "astro", 'case $1 in version) echo "Astro CLI Version: 1.48.0" ;; *) touch "$DEPLOYED" ;; esac'
    )
    program.environ |= {
        "PATH": f"{stubs}:{project.bin}:{BASE['PATH']}",
        "SECRET": canary,
        "DEPLOYED": str(tmp_path / "deployed"),
    }
    job = Job(program.temporary, project.folder, program.environment())
    given = {"token": "env:SECRET", "command": command}
    done = job.use(ROOT, given)
    assert (0, True) == (done.status, (tmp_path / "deployed").exists()), done.stdout + done.stderr
    (tmp_path / "deployed").unlink()
    (project.folder / "dags" / "etl.py").unlink()
    done = job.use(ROOT, given)
    assert (65, False) == (done.status, (tmp_path / "deployed").exists())
    assert "no-dags" in done.stdout
    assert canary not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["", "true"])
def test_an_input_is_never_run(program: Program, job: Job, command: str) -> None:
    evil = 'env:X$(touch pwned)`touch pwned`"; touch pwned; "'
    done = job.use(ROOT, {"token": evil, "command": command, "working-directory": "."})
    assert done.status == 64
    assert list(program.work.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"extras": "vault]; touch pwned #"}, "extras must be names"),
        ({"token": "--no-isolate"}, "not an option"),
        ({"outputs": "yes"}, "outputs must be true or false"),
        ({"outputs": "true", "command": "true"}, "command and outputs are both given"),
    ],
)
def test_an_input_that_is_wrong_is_refused_before_anything(
    program: Program, job: Job, stubs: Path, given: dict[str, str], message: str
) -> None:
    done = job.use(ROOT, given)
    lines = done.stderr.splitlines()
    assert (64, "", 2, True) == (done.status, done.stdout, len(lines), message in lines[0])
    assert lines[1].startswith("astro-token: hint: ")
    assert [] == [*program.work.iterdir(), *stubs.glob("*.calls")]


@pytest.mark.parametrize("command", ["", 'test "$PYTHONPATH" = .'])
def test_no_module_of_the_checkout_is_run(program: Program, stubs: Path, canary: str, command: str) -> None:
    for module in ("sitecustomize", "usercustomize", "astro_token"):
        (program.work / f"{module}.py").write_text("open('run', 'w').close()")
    program.environ |= {"PYTHONPATH": ".", "SECRET": canary}
    job = Job(program.temporary, program.work, program.environment())
    done = job.use(ROOT, {"token": "env:SECRET", "command": command})
    assert (0, False) == (done.status, (program.work / "run").exists()), done.stderr
    calls = (stubs / "python3.calls").read_text().splitlines()
    assert [] == [call for call in calls if not call.startswith("-I -m ")]


def test_the_command_has_the_environment_of_a_script(program: Program, stubs: Path, canary: str) -> None:
    """The runner gives an action more than a script. None of that is passed on."""
    program.environ |= {"SECRET": canary, "TOKEN": "of the job", "COMMAND": "too", **RUNNERS_OWN}
    identity = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://id", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "id"}
    job = Job(program.temporary, program.work, program.environment(identity))
    command = "env | cut -d= -f1"
    done = job.use(ROOT, {"token": "env:SECRET", "command": command})
    names = set(done.stdout.split())
    assert {"TOKEN", "COMMAND", "ASTRO_API_TOKEN"} <= names
    assert [] == [name for name in names if name.startswith(("INPUT_", "STATE_", "ACTIONS_"))]
    done = job.use(ROOT, {"token": "env:SECRET", "command": 'echo "$PATH"'})
    assert f"{stubs}:/usr/bin:/bin\n" == done.stdout


def test_the_identity_of_the_job_reaches_the_login(program: Program, job: Job) -> None:
    wanted = {"ASTRO_TOKEN_VAULT_ROLE": "astro-prod", "VAULT_ADDR": "http://127.0.0.1:9"}
    identity = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:9/?x=1",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "i",
    }
    given = {"token": "vault:secret/astro/prod#token"}
    with_identity = job.use(ROOT, given, {**wanted, **identity, "ASTRO_TOKEN_TIMEOUT": "1"})
    without = job.use(ROOT, given, {**wanted, "ASTRO_TOKEN_TIMEOUT": "1"})
    assert (75, 77) == (with_identity.status, without.status), with_identity.stderr + without.stderr


@pytest.mark.parametrize("command", ["", "true"])
def test_a_key_comes_from_the_input_or_from_the_job(job: Job, command: str) -> None:
    for key in ("", "vault-transit:input"):
        done = job.use(
            ROOT,
            {"token": "env:SECRET", "command": command, "decrypt": key},
            {"ASTRO_TOKEN_DECRYPT": "vault-transit:job"},
        )
        used = key or "vault-transit:job"
        said = f"error: env:SECRET: {used}: the secret's value is not a ciphertext of Vault"
        assert (65, True) == (done.status, said in done.stderr), done.stderr


def test_on_windows_the_token_is_exported_and_a_command_is_refused(
    program: Program, job: Job, stubs: Path, canary: str
) -> None:
    """The machine says that it is Windows: the interpreter is in another folder, and nothing needs bash."""
    preload = program.folder / "windows.js"
    preload.write_text('Object.defineProperty(process, "platform", { value: "win32" });')
    windows = {"NODE_OPTIONS": f"--require {preload}", "LAYOUT": "Scripts/python.exe"}
    (stubs / "python3").replace(stubs / "python")
    done = job.use(ROOT, {"token": "env:SECRET"}, windows)
    assert (0, canary) == (done.status, job.runner.environment.get("ASTRO_API_TOKEN")), done.stderr
    # Windows looks for a program in the current folder first, and the checkout may contain a python.exe.
    folders = (stubs / "python3.calls.folders").read_text().split()
    assert {str(program.temporary)} == set(folders)
    done = job.use(ROOT, {"token": "env:SECRET", "command": "true"}, windows)
    assert (64, True) == (done.status, "command needs Linux or macOS" in done.stderr)
    assert [0, 0] == [each.status for each in job.end()]
    assert "" == job.runner.environment["ASTRO_API_TOKEN"]


def test_a_cancelled_job_ends_the_command(program: Program, job: Job, canary: str) -> None:
    ready = program.work / "ready"
    command = f'trap "exit 9" TERM; touch {ready}; while :; do sleep 0.05; done'
    inputs = {"INPUT_TOKEN": "env:SECRET", "INPUT_COMMAND": command, "RUNNER_TEMP": str(program.temporary)}
    with subprocess.Popen(
        ["node", ROOT / "action" / "main.js"], env={**job.environ, **inputs}, cwd=program.work,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        wait_until(ready.exists)
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        output = running.communicate(timeout=20)
    assert 9 == running.returncode, output
    assert time.monotonic() - began < 10
    assert canary.encode() not in b"".join(output)


@pytest.mark.long
def test_what_is_locked_is_installed_and_nothing_of_the_checkout(program: Program, canary: str) -> None:
    for module in ("venv", "base64", "ssl", "pip"):
        (program.work / f"{module}.py").write_text("import sys; sys.exit('the checkout was run')")
    program.environ = {**os.environ, "SECRET": canary}
    job = Job(program.temporary, program.work, program.environment())
    done = job.use(ROOT, {"token": "env:SECRET", "extras": "vault"})
    assert done.status == 0, done.stderr
    target = program.temporary / "astro-token"
    command = [str(target / "bin" / "python"), "-I", "-m", "pip", "list", "--format=freeze"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    texts = [(ROOT / "requirements" / f"{name}.txt").read_text() for name in ("core", "vault")]
    locked = {line.split(" ")[0] for text in texts for line in text.splitlines() if "==" in line}
    others = {line.lower().replace("_", "-") for line in listed} - locked
    assert {"pip", "setuptools", "astro-token"} >= {line.partition("==")[0] for line in others}
    assert any(line.startswith("hvac==") for line in listed)
