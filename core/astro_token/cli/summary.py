"""
The summary that a CI system shows with a job, where it has one for Markdown.

GitHub's runner reads the end of a file, Azure's agent takes a file by a command, Buildkite's by a program.
Neither file nor program may be in the checkout: the check leaves no trace in it, and runs nothing of it.
That it could not be written is a warning: the check has its own outcome.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci.system import ci_system
from astro_token.errors import AstroTokenError, BackendUnavailableError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LIMIT", "add"]

LIMIT = 1024 * 1024  # bytes: GitHub drops a longer one, Buildkite refuses it
_PROGRAM_SECONDS = 30.0
_STYLES = {"ok": "success", "warning": "warning", "failed": "error"}


def add(text: str, status: str, environ: Mapping[str, str]) -> None:
    """
    Adds Markdown to the job's summary, and says so; does nothing where there is none.

    Args:
        status: the worst: ok, warning, failed.
    """
    from astro_token.cli.output import line, note

    system = ci_system(environ)
    write = _WRITERS.get(system.key) if system else None
    if write is None:
        return
    data = text.encode(errors="replace")
    try:
        place = write(data, status, environ)
    except AstroTokenError as error:
        line("warning", f"the job's summary was not written: {error.message}")
        # It was written for a value, for which there is another way.
        hint = (error.hint or "").removesuffix(", or use exec")
        line("hint", hint or "see the result on standard output")
    except OSError as error:
        line("warning", f"the job's summary was not written: {os.strerror(error.errno or 5).lower()}")
        line("hint", "see that its place can be written, and has space left")
    else:
        if place:
            note(f"added {len(data)} bytes of Markdown to {place}")


def _github(data: bytes, _status: str, environ: Mapping[str, str]) -> str | None:
    if not environ.get("GITHUB_STEP_SUMMARY"):
        return None
    from astro_token.formats.github import runners_file
    from astro_token.system.files import append

    checkout = _checkout("GITHUB_WORKSPACE", environ)
    file = runners_file("GITHUB_STEP_SUMMARY", {**environ, "GITHUB_WORKSPACE": str(checkout or "")})
    path = file.path
    if file.place is not None:
        file.place.refuse_by_links(path)
    # The empty lines end what an earlier command of the step wrote: a table needs one in front.
    data = b"\n\n" + data
    _limit(data, path.lstat().st_size if path.exists() else 0)
    append(path, data)
    return f"the job's summary, {path}"


def _azure(data: bytes, _status: str, environ: Mapping[str, str]) -> str | None:
    if sys.stderr.isatty():
        return None
    from astro_token.cli.annotations import azure_data, say
    from astro_token.formats.rendering import Place
    from astro_token.system.files import create

    folder = Path(environ.get("AGENT_TEMPDIRECTORY") or "")
    if not folder.is_absolute() or not folder.is_dir():
        raise OutputError(
            "AGENT_TEMPDIRECTORY names no folder", hint="the agent sets it: do not set it yourself"
        )
    place = Place("AGENT_TEMPDIRECTORY", "the agent", checkout=_checkout("BUILD_SOURCESDIRECTORY", environ))
    place.refuse(folder)
    place.refuse_by_links(folder)
    _limit(data)
    path = folder / f"astro-token-check-{secrets.token_hex(8)}.md"
    create(path, data)
    path.chmod(0o644)  # in a container the agent may be another user
    say(f"##vso[task.uploadsummary]{azure_data(str(path))}")
    return f"the job's summary, {path}"


def _buildkite(data: bytes, status: str, environ: Mapping[str, str]) -> str:
    from astro_token.formats.program import feed
    from astro_token.formats.rendering import Program
    from astro_token.system.programs import find_program, why_missing

    checkout = _checkout("BUILDKITE_BUILD_CHECKOUT_PATH", environ)
    agent = find_program("buildkite-agent", environ, roots=[checkout] if checkout else ())
    if agent is None:
        raise OutputError(
            f"buildkite-agent {why_missing('buildkite-agent', environ)}",
            hint="add the folder of the job's own agent to PATH",
        )
    _limit(data)
    # One for each job: the agent replaces what has the same context.
    job = environ.get("BUILDKITE_JOB_ID", "")
    context = f"astro-token-check-{job}" if re.fullmatch(r"[A-Za-z0-9-]{1,64}", job) else "astro-token-check"
    argv = (agent, "annotate", f"--context={context}", f"--style={_STYLES[status]}")
    failure = feed(Program(argv), data, environ, _PROGRAM_SECONDS)
    if failure is not None:
        late = isinstance(failure, BackendUnavailableError)
        raise OutputError(
            "buildkite-agent annotate " + ("did not end in time" if late else "failed"),
            hint="see that it is the agent of this job; the result is on standard output too",
        )
    return "the build's annotations"


def _checkout(variable: str, environ: Mapping[str, str]) -> Path | None:
    """The folder that the CI system names, else the repository that we run in."""
    if named := environ.get(variable):
        return Path(named)
    here = Path.cwd()
    return next((one for one in (here, *here.parents) if os.path.lexists(one / ".git")), None)


def _limit(data: bytes, before: int = 0) -> None:
    if before + len(data) > LIMIT:
        raise OutputError(
            f"it would be longer than {LIMIT // 1024} KiB, which the CI system does not take",
            hint="check fewer tokens in one step",
        )


_WRITERS: dict[str, Callable[[bytes, str, Mapping[str, str]], str | None]] = {
    "github": _github,
    "azure-pipelines": _azure,
    "buildkite": _buildkite,
}
