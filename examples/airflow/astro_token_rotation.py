"""
Rotate Astro API tokens with Airflow: one mapped task for each token that is due, shared by all workers.

    list_due ──> rotate (one for each token) ──> summary
                                            └──> audit

`astro-token` does the work; this file plans it. Tasks exchange names of tokens, never a value.
It runs with Airflow 3, and with Airflow 2.10 or later. docs/airflow.md describes the settings.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import Variable, dag, task
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:  # Airflow 2, and versions of 3 that have these elsewhere
    from airflow.decorators import dag, task
    from airflow.exceptions import AirflowException, AirflowFailException
    from airflow.models import Variable

# Exit codes after which the same command is run again: the service is busy, or the rotation is unfinished.
AGAIN = {75, 80}
# Of one run, of all workers: Astro admits 10 requests a second that create a token.
AT_ONCE = 8
# `core.max_map_length` of Airflow: the rest waits for the next run.
MOST = 1024

log = logging.getLogger("airflow.task")


def setting(name: str, default: str) -> str:
    """Read an Airflow variable, or `AIRFLOW_VAR_…` in the environment."""
    return str(Variable.get(f"astro_token_{name}", default))


def astro_token(*arguments: str) -> tuple[int, str]:
    """Run the program in the folder of the project file. Return its exit code and its output."""
    program = shutil.which(setting("program", "astro-token"))
    if program is None:
        raise AirflowFailException("astro-token is not installed: set the variable astro_token_program")
    folder = Path(setting("folder", ".")).absolute()
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    for line in done.stderr.splitlines():
        log.info("%s", line)
    return done.returncode, done.stdout


def check(code: int, command: str) -> None:
    """
    Translate an exit code.

    Raises:
        AirflowException: Airflow runs the task again.
        AirflowFailException: a person is needed.
    """
    if code in AGAIN:
        raise AirflowException(f"astro-token {command}: exit code {code}; the log has the reason")
    if code:
        raise AirflowFailException(f"astro-token {command}: exit code {code}; the log has the reason")


def due(report: dict[str, Any]) -> list[str]:
    """
    Return the names of the tokens to rotate or to finish, the first to expire first.

    A reference with several names is rotated once. The credential that manages tokens is left out.
    """
    names: dict[str, str] = {}
    tokens = sorted(report["tokens"], key=lambda token: token["expires"] or "9999")
    for token in tokens:
        if token["outcome"] in {"planned", "failed"} and token["name"]:
            names.setdefault(token["ref"], token["name"])
    if len(names) > MOST:
        log.warning("%d tokens wait for the next run", len(names) - MOST)
    return list(names.values())[:MOST]


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 (Airflow's time zone)
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
    tags=["astro-token"],
)
def astro_token_rotation() -> None:
    @task
    def list_due() -> list[str]:
        within = setting("if_expires_within", "14d")
        options = ("--all", "--dry-run", "--if-expires-within", within, "--format", "json")
        code, output = astro_token("rotate", *options)
        if not output:
            check(code, "rotate --all --dry-run")
        # A token that failed gets a task too, which reports its own failure.
        return due(json.loads(output))

    @task(max_active_tis_per_dagrun=AT_ONCE)
    def rotate(name: str) -> None:
        within = setting("if_expires_within", "14d")
        code, output = astro_token("rotate", name, "--if-expires-within", within, "--format", "json")
        for token in json.loads(output)["tokens"] if output else ():
            log.info("%s: %s, expires %s", name, token["outcome"], token["expires"])
        check(code, f"rotate {name}")

    # Two ends: the run fails if a rotation fails, and the audit takes place anyway.
    @task(trigger_rule="none_failed")
    def summary(names: list[str]) -> None:
        log.info("%d tokens were due or open, and none failed", len(names))

    @task(trigger_rule="all_done")
    def audit() -> None:
        options = ("--strict",) if setting("audit_strict", "") else ()
        code, output = astro_token("audit", *options, "--format", "markdown")
        for line in output.splitlines():
            log.info("%s", line)
        check(code, "audit")

    names = list_due()
    rotate.expand(name=names) >> [summary(names), audit()]


astro_token_rotation()
