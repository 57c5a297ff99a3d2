"""
Buildkite: the agent's program sets variables, hides values, annotates the build and issues identity tokens.

It reads JSON from standard input. A failed `env set` exits with 0 all the same, but names no variable then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat
from astro_token.formats.rendering import Program, Rendering, Variables
from astro_token.identity import IdentityRequest, NoIdentity
from astro_token.system.variables import setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

_AGENT = "buildkite-agent"
_SOCKET = "BUILDKITE_AGENT_JOB_API_SOCKET"
_IDENTITY = ("BUILDKITE_AGENT_ACCESS_TOKEN", "BUILDKITE_JOB_ID")
_LINE_LIMIT = 60_000  # the agent reads the JSON as one line of less than 64 KiB
_SUMMARY_SECONDS = 30.0
_STYLES = {"ok": "success", "warning": "warning", "failed": "error"}


def identity(environ: Mapping[str, str], system: CISystem | None) -> IdentityRequest | NoIdentity | None:
    hint = "if the job runs in a container, set `mount-buildkite-agent: true` in the docker plugin"

    def fetch(audience: str | None, seconds: float) -> SecretValue:
        from astro_token.identity.program import printed_token

        options = [] if audience is None else ["--audience", audience]
        return printed_token([_AGENT, "oidc", "request-token", *options], environ, seconds, hint, _IDENTITY)

    if all(setting(environ, name) for name in _IDENTITY):
        return IdentityRequest("Buildkite", fetch)
    return NoIdentity("Buildkite", hint) if system else None


def render(variables: Variables) -> Rendering:
    """Set variables for the hooks and commands after this one."""
    from json import dumps

    from astro_token.formats.text import carry, refuse

    (name, *_) = variables.set
    text = dumps({name: carry("Buildkite's agent", text) for name, text in variables.assigned.items()})
    if len(text) > _LINE_LIMIT:
        raise refuse("Buildkite's agent", "it is too long")
    argv = (_AGENT, "env", "set", "--input-format=json", "--output-format=json", "-")
    then = f"{variables.names} is set for the hooks and the command after this one"
    return Rendering(text + "\n", Program(argv, confirms=f'"{name}"'), then=then)


def masks(values: tuple[str, ...]) -> Rendering:
    from json import dumps

    from astro_token.masker.forms import texts_to_hide

    text = dumps({str(number): text for number, text in enumerate(texts_to_hide(values))})
    return Rendering(text + "\n", Program((_AGENT, "redactor", "add", "--format=json")))


def refuse_log(environ: Mapping[str, str]) -> None:
    from astro_token.errors import OutputError
    from astro_token.formats.delivery import refuse_destination

    refuse_destination(masks(("placeholder",)), environ)
    if not setting(environ, _SOCKET):
        raise OutputError(f"{_SOCKET} is not set", hint="run astro-token in the job itself")


def add_summary(data: bytes, status: str, environ: Mapping[str, str]) -> str:
    """Annotate the build by the agent's program."""
    import re

    from astro_token.ci.summary import checkout_folder, refuse_longer
    from astro_token.errors import BackendUnavailableError, OutputError
    from astro_token.formats.delivery import feed
    from astro_token.system.programs import find_program, why_missing

    checkout = checkout_folder("BUILDKITE_BUILD_CHECKOUT_PATH", environ)
    agent = find_program(_AGENT, environ, roots=[checkout] if checkout else ())
    if agent is None:
        raise OutputError(
            f"{_AGENT} {why_missing(_AGENT, environ)}", hint="add the folder of the job's own agent to PATH"
        )
    refuse_longer(data)
    # One annotation for each job: the agent replaces one of the same context.
    job = setting(environ, "BUILDKITE_JOB_ID")
    context = f"astro-token-check-{job}" if re.fullmatch(r"[A-Za-z0-9-]{1,64}", job) else "astro-token-check"
    argv = (agent, "annotate", f"--context={context}", f"--style={_STYLES[status]}")
    failure = feed(Program(argv), data, environ, _SUMMARY_SECONDS)
    if failure is not None:
        late = isinstance(failure, BackendUnavailableError)
        raise OutputError(
            "buildkite-agent annotate " + ("did not end in time" if late else "failed"),
            hint="check that it is the agent of this job; the result is on standard output too",
        )
    return "the build's annotations"


SYSTEMS = (
    CISystem(
        "Buildkite",
        "buildkite",
        {"BUILDKITE": "true"},
        precedence=50,
        format="buildkite",
        formats={"buildkite": ExportFormat(render, exclusive=True)},
        proof=_SOCKET,
        terminal=True,
        masks=masks,
        refuse_log=refuse_log,
        identity=identity,
        identity_variables=("BUILDKITE_AGENT_ACCESS_TOKEN",),
        add_summary=add_summary,
    ),
)
