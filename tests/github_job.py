"""
A job of GitHub Actions, with the real shell and the real node.

    job = Job(folder, work, environ, context={"github.ref": "refs/heads/main"})
    job.run(step)                                 # a step with `run`
    job.use(ROOT, {"token": "env:SECRET"})        # a step with `uses`, of a JavaScript action
    job.end()                                     # the post steps, the last one first

The runner's files are read by `tests.formats.runner`. A JavaScript action gets more than a script does:
its inputs, its state, and the runner's own credentials.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tests.formats.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
FILES = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
# What the runner gives to JavaScript actions and not to scripts.
RUNNERS_OWN = {
    "ACTIONS_RUNTIME_TOKEN": "runtime",
    "ACTIONS_RUNTIME_URL": "https://pipelines.example.com",
    "ACTIONS_CACHE_URL": "https://cache.example.com",
    "ACTIONS_RESULTS_URL": "https://results.example.com",
}


@dataclass(frozen=True)
class Done:
    """A step that was run; a step that was skipped has the status None."""

    status: int | None
    stdout: str = ""
    stderr: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        return {None: "skipped", 0: "success"}.get(self.status, "failure")


@dataclass
class Job:
    """
    Attributes:
        environ: of the machine and of the job.
        context: values of expressions, such as `github.token`.
        runner: the variables that steps have set, the masks and the log.
        summary: the text of the job's summary.
    """

    temporary: Path
    work: Path
    environ: Mapping[str, str]
    context: dict[str, str] = field(default_factory=dict)
    runner: Runner = field(default_factory=Runner)
    has_failed: bool = False
    summary: str = ""
    _posts: list[tuple[Path, str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def run_all(self, steps: list[dict[str, Any]]) -> list[Done]:
        """Run the steps that have a script; those of others' actions only prepare the machine."""
        return [self.run(step) for step in steps if "run" in step]

    def run(self, step: Mapping[str, Any]) -> Done:
        if not self._condition(step.get("if", "success()")):
            return self._finish(step, Done(None))
        own = {name: self.filled(str(text)) for name, text in step.get("env", {}).items()}
        assert "${{" not in step["run"], "text that is inserted into a script would be run"
        return self._finish(step, self._start([*BASH, step["run"]], own))

    def use(
        self, action: Path, given: Mapping[str, str], env: Mapping[str, str] = {}, *, ident: str = ""
    ) -> Done:
        """Run a JavaScript action, and remember its post step."""
        described = yaml.safe_load((action / "action.yml").read_text())
        assert set(given) <= set(described["inputs"]), "the runner warns of unexpected inputs"
        values = {
            name: given.get(name, spec.get("default", "")) for name, spec in described["inputs"].items()
        }
        inputs = {f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in values.items()}
        runs, state = described["runs"], dict[str, str]()
        done = self._start(
            ["node", str(action / runs["main"])], {**RUNNERS_OWN, **env, **inputs}, state=state
        )
        if "post" in runs:
            condition = runs.get("post-if", "always()")
            self._posts.append((action / runs["post"], condition, {**RUNNERS_OWN, **env, **inputs}, state))
        return self._finish({"id": ident}, done)

    def end(self) -> list[Done]:
        """Run the post steps."""
        done = []
        for script, condition, environ, state in reversed(self._posts):
            if self._condition(condition):
                kept = {f"STATE_{name}": value for name, value in state.items()}
                done.append(self._start(["node", str(script)], {**environ, **kept}))
        return done

    def filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda match: self.context.get(match[1], ""), text)

    def _condition(self, text: object) -> bool:
        expression = re.sub(r"^\$\{\{(.*)\}\}$", r"\1", str(text).strip())
        code = re.sub(
            r"\b(?:github|steps)(?:\.[\w-]+)+", lambda m: repr(self.context.get(m[0], "")), expression
        )
        for name, value in (("success()", not self.has_failed), ("always()", True), ("cancelled()", False)):
            code = code.replace(name, str(value))
        code = code.replace("&&", " and ").replace("||", " or ").replace("!cancelled", "not cancelled")
        code = re.sub(r"!(?!=)", " not ", code).strip()
        # A condition without a function is met after successful steps only.
        return bool(eval(code)) and ("(" in expression or not self.has_failed)  # noqa: S307

    def _start(self, command: list[str], own: Mapping[str, str], state: dict[str, str] | None = None) -> Done:
        number = next(self._numbers)
        folder = self.temporary / "_runner_file_commands"
        folder.mkdir(exist_ok=True)
        files = {name: folder / f"{name.lower()}_{number}" for name in FILES}
        for file in files.values():
            file.touch()
        fixed = {
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "RUNNER_TEMP": str(self.temporary),
            "RUNNER_OS": "Linux",
        }
        fixed |= {"GITHUB_WORKSPACE": str(self.work), **{name: str(file) for name, file in files.items()}}
        environ = {**self.environ, **self.runner.environment, **fixed, **own}
        done = subprocess.run(
            command, env=environ, cwd=self.work, capture_output=True, text=True, timeout=120
        )
        self.runner.output(done.stdout)
        self.runner.output(done.stderr)
        self.runner.end_step(files["GITHUB_ENV"].read_bytes())
        read = {name: Runner() for name in ("GITHUB_OUTPUT", "GITHUB_STATE")}
        for name, reader in read.items():
            reader.end_step(files[name].read_bytes())
        if state is not None:
            state |= read["GITHUB_STATE"].environment
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        for file in files.values():
            file.unlink()
        return Done(done.returncode, done.stdout, done.stderr, read["GITHUB_OUTPUT"].environment)

    def _finish(self, step: Mapping[str, Any], done: Done) -> Done:
        if name := step.get("id"):
            self.context |= {f"steps.{name}.outputs.{key}": value for key, value in done.outputs.items()}
            self.context[f"steps.{name}.outcome"] = done.outcome
        self.has_failed |= done.outcome == "failure"
        return done
