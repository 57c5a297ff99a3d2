"""The components that hand the token to later steps, where their system can take it back or hide it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.conftest import PROGRAM, Result
from tests.formats.agents import AzureAgent
from tests.servers.ci_programs import write
from tests.test_action import PYTHON
from tests.test_examples import CI

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program

HOOKS = CI / "buildkite" / "plugin" / "hooks"
# The agent's program: keeps what `env set` and `redactor add` read.
AGENT = """\
#!/bin/sh
case "$1 $2" in
"env set") tee -a "{folder}/set" ;;
"redactor add") cat >>"{folder}/redacted" ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def stubs(program: Program, canary: str) -> Path:
    folder = program.folder / "stubs"
    text = PYTHON.format(python=PROGRAM.parent / "python", calls=folder / "python3.calls")
    write(folder, "python3", text)
    (folder / "python").symlink_to("python3")
    write(folder, "buildkite-agent", AGENT.format(folder=folder))
    program.environ |= {"PATH": f"{folder}:/usr/bin:/bin", "SECRET": canary}
    return folder


def hook(program: Program, name: str, **environ: str) -> tuple[int, dict[str, str], str]:
    """Source a hook as the agent does. Return its status, the environment after it, and its output."""
    script = f'. "{HOOKS / name}"; status=$?; env -0 >"{program.folder}/after"; exit $status'
    (program.folder / "after").write_text("")
    done = subprocess.run(
        ["bash", "-c", script], env=program.environment(environ), cwd=program.work,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    pairs = (line.partition("=") for line in (program.folder / "after").read_text().split("\0") if line)
    result = Result(done.returncode, done.stdout, done.stderr)
    assert [] == program.leaks(result)
    return done.returncode, {key: value for key, _, value in pairs}, done.stdout + done.stderr


PLUGIN = {
    "BUILDKITE": "true",
    "BUILDKITE_AGENT_JOB_API_SOCKET": "/run/agent.sock",
    "BUILDKITE_PLUGIN_ASTRO_TOKEN_TOKEN": "env:SECRET",
    "BUILDKITE_COMMAND": 'echo "${#ASTRO_API_TOKEN}"',
}


def test_the_plugin_hands_the_token_over_and_takes_it_back(
    program: Program, stubs: Path, canary: str
) -> None:
    exporting = {**PLUGIN, "BUILDKITE_PLUGIN_ASTRO_TOKEN_EXPORT": "true"}
    status, _, output = hook(program, "pre-command", **exporting)
    assert status == 0, output
    handed = json.loads((stubs / "set").read_text())
    assert (canary, "1") == (handed["ASTRO_API_TOKEN"], handed["ASTRO_TELEMETRY_DISABLED"])
    assert canary in json.loads((stubs / "redacted").read_text()).values()
    status, _, output = hook(program, "command", **exporting, **handed)
    assert (0, f"{len(canary)}\n") == (status, output)
    status, after, output = hook(program, "pre-exit", **exporting, **handed)
    assert (0, "", False) == (status, output, "ASTRO_API_TOKEN" in after)
    assert [] == list(program.temporary.iterdir())


def test_the_plugin_hands_nothing_over_by_default(program: Program, stubs: Path, canary: str) -> None:
    for name in ("pre-command", "command", "pre-exit"):
        status, after, output = hook(program, name, **PLUGIN, ASTRO_API_TOKEN="of the step")
        assert (0, name == "command") == (status, f"{len(canary)}\n" in output), output
    assert [] == [*stubs.glob("set"), *program.temporary.iterdir()]
    # A token that the step has by itself is left alone.
    assert after["ASTRO_API_TOKEN"] == "of the step"


def test_a_failed_export_ends_the_job(program: Program, stubs: Path) -> None:
    exporting = {**PLUGIN, "BUILDKITE_PLUGIN_ASTRO_TOKEN_EXPORT": "true"}
    status, after, output = hook(program, "pre-command", **{**exporting, "SECRET": ""})
    assert (66, {}) == (status, after), output
    assert [] == [*stubs.glob("set"), *program.temporary.iterdir()]


def test_the_template_of_azure_sets_a_secret_variable(program: Program, stubs: Path, canary: str) -> None:
    step = yaml.safe_load((CI / "azure-pipelines" / "template.yml").read_text())["steps"][2]
    subprocess.run([stubs / "python3", "-I", "-m", "venv", program.temporary / "astro-token"], check=True)
    environ = {
        "TF_BUILD": "True", "AGENT_TEMPDIRECTORY": str(program.temporary), "ASTRO_TOKEN_FOLDER": ".",
        "ASTRO_TOKEN_REFERENCE": "env:SECRET", "ASTRO_TOKEN_CHILD_COMMAND": "",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", step["inputs"]["inlineScript"]],
        env=program.environment(environ), cwd=program.work, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    agent = AzureAgent()
    agent.output(done.stdout)
    agent.output(done.stderr)
    assert (canary, True) == (agent.value("ASTRO_API_TOKEN"), "ASTRO_API_TOKEN" in agent.secret)
    assert canary not in "\n".join(agent.log)
