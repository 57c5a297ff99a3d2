"""
Azure Pipelines: logging commands, and the job's identity from the service.

The agent reads commands from standard output and standard error, and keeps them out of the log.
It takes no secret of several lines; whether it decodes a `%` is a setting; and it replaces `$(name)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem, harmless, say
from astro_token.formats import ExportFormat
from astro_token.formats.rendering import JobFileRule, Rendering, Variables
from astro_token.identity import IdentityRequest, NoIdentity
from astro_token.system.variables import path_setting, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

_NAME = "Azure Pipelines"
_ADDRESS, _BEARER = "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN"
_CONNECTIONS = ("ASTRO_TOKEN_AZURE_SERVICE_CONNECTION", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")


def identity(environ: Mapping[str, str], system: CISystem | None) -> IdentityRequest | NoIdentity | None:
    access = "give the step `env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)`"
    hint = (
        f"{access}; a service connection has to be named by a task of the same stage (azureSubscription), "
        "and the pipeline permitted to use it"
    )
    connection = next(filter(None, (setting(environ, name) for name in _CONNECTIONS)), None)

    def fetch(_: str | None, seconds: float) -> SecretValue:
        from astro_token.identity.request import authorization, requested_token

        query = {"api-version": "7.1", **({"serviceConnectionId": connection} if connection else {})}
        headers = {
            **authorization("Bearer", environ, _BEARER),
            "Content-Type": "application/json",
            "X-TFS-FedAuthRedirect": "Suppress",  # otherwise a refusal redirects to a page for people
        }
        return requested_token(
            _NAME,
            _ADDRESS,
            setting(environ, _ADDRESS).rstrip("/"),
            environ,
            seconds,
            query=query,
            headers=headers,
            hint=f"{hint}; check {_BEARER} and {_CONNECTIONS[0]}",
            method="POST",
            member="oidcToken",
        )

    has_access = setting(environ, _ADDRESS) and setting(environ, _BEARER)
    if has_access and not environ[_BEARER].startswith("$("):  # a macro without a value
        fixed = "its audience is always api://AzureADTokenExchange: expect that, here and in the service"
        return IdentityRequest(_NAME, fetch, fixed)
    return NoIdentity(_NAME, access) if system else None


def render(variables: Variables) -> Rendering:
    """Set a secret variable for the steps after this one."""
    from astro_token.formats.text import carry_line

    lines = [
        f"##vso[task.setvariable variable={name}{';issecret=true' if name in variables.set else ''}]"
        f"{carry_line('the Azure Pipelines agent', text, ('%', '$('))}\n"
        for name, text in variables.assigned.items()
    ]
    mapped = "; ".join(f"{name}: $({name})" for name in variables.set)
    then = f"a step gets a secret variable only by its own `env: {mapped}`"
    return Rendering("".join(lines), then=then)


def masks(values: tuple[str, ...]) -> Rendering:
    from astro_token.masker.forms import texts_to_hide

    # Of a value with several lines, each line is masked.
    lines = [_escaped(text) for text in texts_to_hide(values) if not {"\r", "\n"} & set(text)]
    return Rendering("".join(f"##vso[task.setsecret]{line}\n" for line in lines), "log")


def annotate(level: str, code: str, message: str, hint: str) -> str:
    text = f"{message}; {hint}" if hint else message
    return f"##vso[task.logissue type={level};{f'code={code};' if code else ''}]astro-token: {_escaped(text)}"


def add_summary(data: bytes, _status: str, environ: Mapping[str, str]) -> str | None:
    """Write a file for the agent, and tell it by a command."""
    import secrets
    import sys
    from pathlib import Path

    if sys.stderr.isatty():
        return None
    from astro_token.ci.summary import checkout_folder, refuse_longer
    from astro_token.errors import OutputError
    from astro_token.system.files import create

    folder = Path(path_setting(environ, "AGENT_TEMPDIRECTORY"))
    if not folder.is_absolute() or not folder.is_dir():
        raise OutputError(
            "AGENT_TEMPDIRECTORY does not name a folder", hint="the agent sets it: do not set it yourself"
        )
    checkout = checkout_folder("BUILD_SOURCESDIRECTORY", environ)
    rule = JobFileRule("AGENT_TEMPDIRECTORY", "the agent", checkout=checkout)
    rule.refuse_name(folder)
    rule.refuse_target(folder)
    refuse_longer(data)
    path = folder / f"astro-token-check-{secrets.token_hex(8)}.md"
    create(path, data)
    path.chmod(0o644)  # in a container the agent may be another user
    say(f"##vso[task.uploadsummary]{_escaped(harmless(str(path)))}")
    return f"the job's summary, {path}"


def _escaped(text: str) -> str:
    return text.replace("%", "%AZP25")


SYSTEMS = (
    CISystem(
        _NAME,
        "azure-pipelines",
        {"TF_BUILD": "true"},
        precedence=40,
        format="azure-pipelines",
        formats={"azure-pipelines": ExportFormat(render, exclusive=True, aliases=("azure",))},
        masks=masks,
        identity=identity,
        # Tasks give the last two to a script on request.
        identity_variables=(_ADDRESS, _BEARER, *_CONNECTIONS, "idToken", "servicePrincipalKey"),
        annotate=annotate,
        add_summary=add_summary,
    ),
)
