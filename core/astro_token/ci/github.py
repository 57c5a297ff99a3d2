"""
GitHub Actions, and the systems that run its workflows: Forgejo Actions, Gitea Actions, act.

The runner's files carry a value to the steps after this one: `GITHUB_ENV` as a variable, `GITHUB_OUTPUT` as
an output. The runner reads `NAME<<DELIMITER`, then lines until one that is exactly the delimiter.
The delimiter is random, so that no value can end its own block and name further variables,
and the form `NAME=value` is never used: a value with a line end would be printed in the runner's error.
A mask is a workflow command, which the runner removes from the log and obeys from then on.
Gitea, Forgejo and act take the same files and commands, but hide only the exact text of a mask,
so the encodings are masked too. They show an annotation as a line of the log, so they get none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat
from astro_token.formats.rendering import File, Rendering, Variables, job_file
from astro_token.identity import IdentityRequest, NoIdentity
from astro_token.record import replace
from astro_token.system.variables import path_setting, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

_ID_TOKEN_WRITE = "give the job `permissions: id-token: write`; pull requests from forks never have it"
# Name, variable, and the advice for a job without an identity. Forgejo sets the variable of Gitea too.
_VARIANTS = (
    ("Forgejo Actions", "FORGEJO_ACTIONS", "set `enable-openid-connect: true` in the workflow"),
    ("Gitea Actions", "GITEA_ACTIONS", f"if this Gitea has identity tokens, {_ID_TOKEN_WRITE}"),
    ("act", "ACT", "it has no identity tokens: set ASTRO_TOKEN_ID_TOKEN, or use another login"),
)
_REQUEST_URL, _REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


def identity(environ: Mapping[str, str], system: CISystem | None) -> IdentityRequest | NoIdentity | None:
    name = system.name if system else "GitHub Actions"
    hint = next((hint for variant, _, hint in _VARIANTS if variant == name), _ID_TOKEN_WRITE)

    def fetch(audience: str | None, seconds: float) -> SecretValue:
        from astro_token.identity.request import authorization, requested_token

        return requested_token(
            name,
            _REQUEST_URL,
            environ[_REQUEST_URL],
            environ,
            seconds,
            query={} if audience is None else {"audience": audience},
            headers=authorization("bearer", environ, _REQUEST_TOKEN),
            hint=f"{hint}; the runner sets {_REQUEST_TOKEN}: do not set it yourself",
            member="value",
        )

    if setting(environ, _REQUEST_URL) and setting(
        environ, _REQUEST_TOKEN
    ):  # a container may get these two alone
        return IdentityRequest(name, fetch)
    return NoIdentity(name, hint) if system else None


def environment(variables: Variables) -> Rendering:
    then = f"{variables.names} is set for the steps after this one"
    return _appended(variables, variables.assigned, "GITHUB_ENV", then)


def output(variables: Variables) -> Rendering:
    names = " ".join(f"steps.ID.outputs.{name}" for name in variables.set)
    then = f"{names} is set for the steps after this one: use it in `env:`, never in a script or another job"
    return _appended(variables, variables.set, "GITHUB_OUTPUT", then)


def masks(values: tuple[str, ...]) -> Rendering:
    from astro_token.masker.forms import texts_to_hide

    commands = [f"::add-mask::{_escaped(text)}\n" for text in texts_to_hide(values)]
    # A command has to start a line: the empty line ends one that an earlier command left open.
    return Rendering("\n" + "".join(commands), "log")


def runner_file(variable: str, environ: Mapping[str, str]) -> File:
    """
    Return a file of the runner.

    Raises:
        OutputError: the variable is not set, or names a location where the runner keeps no files.
    """
    from pathlib import Path

    temporary = path_setting(environ, "RUNNER_TEMP")
    # The related systems keep their files in other folders.
    is_variant = any(setting(environ, mark).lower() == "true" for _, mark, _ in _VARIANTS)
    # A container of an action has the runner's files in the second folder, whatever RUNNER_TEMP says.
    folders = () if is_variant or not temporary else (Path(temporary), Path("/github/file_commands"))
    hint = "use this format in a step of GitHub Actions, or use exec"
    return job_file(variable, environ, "the runner", checkout="GITHUB_WORKSPACE", hint=hint, folders=folders)


def refuse_log(environ: Mapping[str, str]) -> None:
    from astro_token.formats.delivery import refuse_destination

    refuse_destination(Rendering("", runner_file("GITHUB_ENV", environ)), environ)


def annotate(level: str, code: str, message: str, hint: str) -> str:
    title = _escaped(f"astro-token: {code}" if code else "astro-token", ":,")
    return f"::{level} title={title}::{_escaped(message)}%0A{_escaped(hint)}"


def add_summary(data: bytes, _status: str, environ: Mapping[str, str]) -> str | None:
    """Append to the file that the runner names."""
    if not setting(environ, "GITHUB_STEP_SUMMARY"):
        return None
    from astro_token.ci.summary import checkout_folder, refuse_longer
    from astro_token.system.files import append

    checkout = checkout_folder("GITHUB_WORKSPACE", environ)
    file = runner_file("GITHUB_STEP_SUMMARY", {**environ, "GITHUB_WORKSPACE": str(checkout or "")})
    if file.rule is not None:
        file.rule.refuse_target(file.path)
    # The empty lines end the text of an earlier command of the step: a table needs one before it.
    data = b"\n\n" + data
    refuse_longer(data, file.path.lstat().st_size if file.path.exists() else 0)
    append(file.path, data)
    return f"the job's summary, {file.path}"


def _appended(variables: Variables, texts: Mapping[str, str], variable: str, then: str) -> Rendering:
    to = runner_file(variable, variables.environ)
    # The empty line ends one that an earlier command of the step left open, as `echo -n` does.
    # Without it the value would stand on a line of its own, and in the runner's error.
    text = "\n" + "".join(_block(name, value) for name, value in texts.items())
    return Rendering(text, to, then=then)


def _block(name: str, value: str) -> str:
    import secrets

    from astro_token.formats.text import carry, refuse

    value = carry("GitHub's runner", value)
    if "\r" in value:
        raise refuse("GitHub's runner", "it reads a carriage return as a line end on some systems")
    delimiter = f"ghadelimiter_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _escaped(text: str, more: str = "") -> str:
    text = text.replace("%", "%25")
    for character in f"\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


_GITHUB = CISystem(
    "GitHub Actions",
    "github",
    {"GITHUB_ACTIONS": "true"},
    precedence=10,
    format="github",
    formats={
        "github": ExportFormat(environment, exclusive=True, aliases=("github-actions",)),
        "github-output": ExportFormat(output, exclusive=True),
    },
    proof="GITHUB_ENV",
    masks=masks,
    refuse_log=refuse_log,
    identity=identity,
    identity_variables=(_REQUEST_URL, _REQUEST_TOKEN),
    annotate=annotate,
    add_summary=add_summary,
)
SYSTEMS = (
    *(
        replace(_GITHUB, name=name, marks={**_GITHUB.marks, mark: "true"}, formats={}, annotate=None)
        for name, mark, _ in _VARIANTS
    ),
    _GITHUB,
)
