"""The CI systems: by what each is known, and how a job of it gets its identity token."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.identity.program import printed
from astro_token.identity.request import Question, ask, damaged
from astro_token.identity.web_token import LONGEST, fits, web_token
from astro_token.system.files import open_regular

if TYPE_CHECKING:
    from astro_token.secret import SecretValue

__all__ = ["Identity", "NoIdentity", "given", "machine", "present"]

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Attributes:
        system: where it comes from, for people.
        token: gets the token for an audience (None: as the system makes it by itself) within seconds.
        audience_hint: what to do where the token is for another one.
    """

    system: str
    token: Callable[[str | None, float], SecretValue] = field(repr=False)
    audience_hint: str = "give the token the audience that the service expects"


@dataclass(frozen=True, slots=True)
class NoIdentity:
    """A system that gives this job none, and what to do about it."""

    system: str
    mend: str


_Shown = Identity | NoIdentity | None


def given(environ: Environ) -> Identity | None:
    """What somebody set for us."""
    token, file = "ASTRO_TOKEN_ID_TOKEN", "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE"
    if environ.get(token):
        return Identity(token, lambda *_: _held(environ, token))
    if environ.get(file):
        return Identity(file, lambda *_: _in_file(environ, file))
    return None


def present(environ: Environ) -> list[Identity | NoIdentity]:
    """The CI systems that the environment shows: more than one where they are nested."""
    systems = (_actions, _gitlab, _circleci, _buildkite, _bitbucket, _azure_pipelines, _jenkins)
    found = [shown for system in systems if (shown := system(environ))]
    # A machine's identity is a job's only where the machine is there for that one job.
    return found or ([_metadata("Google Cloud Build", environ)] if environ.get("BUILDER_OUTPUT") else [])


def machine(environ: Environ) -> Identity:
    """The service account of this machine at Google Cloud."""
    return _metadata("Google's metadata server", environ)


_ID_TOKEN_WRITE = "give the job `permissions: id-token: write`; pull requests from forks never have it"
# Forgejo says that it is Gitea too, and these all say that they are GitHub.
_LIKE_GITHUB = {
    "FORGEJO_ACTIONS": ("Forgejo Actions", "set `enable-openid-connect: true` in the workflow"),
    "GITEA_ACTIONS": ("Gitea Actions", f"if this Gitea has identity tokens, {_ID_TOKEN_WRITE}"),
    "ACT": ("act", "it has no identity tokens: set ASTRO_TOKEN_ID_TOKEN, or log in in another way"),
}


def _actions(environ: Environ) -> _Shown:
    address, bearer = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
    system, mend = next(
        (said for mark, said in _LIKE_GITHUB.items() if _is_true(environ, mark)),
        ("GitHub Actions", _ID_TOKEN_WRITE),
    )

    def token(audience: str | None, seconds: float) -> SecretValue:
        url = _with_query(environ[address], {} if audience is None else {"audience": audience})
        headers = _authorization("bearer", environ, bearer)
        return _member("value", Question(system, address, mend, url, headers=headers), environ, seconds)

    if environ.get(address) and environ.get(bearer):  # a container may be given these two alone
        return Identity(system, token)
    return NoIdentity(system, mend) if _is_true(environ, "GITHUB_ACTIONS") else None


def _gitlab(environ: Environ) -> _Shown:
    if not _is_true(environ, "GITLAB_CI"):
        return None
    # Its tokens are in variables of the user's naming: which of them is for us is not ours to guess.
    pattern = re.compile(r"[A-Z][A-Z0-9_]{0,99}_ID_TOKEN")
    name = min((name for name, value in environ.items() if value and pattern.fullmatch(name)), default=None)
    other = f", or set ASTRO_TOKEN_ID_TOKEN to ${name}" if name else ""
    return NoIdentity("GitLab CI", f"give the job `id_tokens: ASTRO_TOKEN_ID_TOKEN: aud: …`{other}")


def _circleci(environ: Environ) -> _Shown:
    variable = "CIRCLE_OIDC_TOKEN_V2"

    def token(audience: str | None, seconds: float) -> SecretValue:
        made = _held(environ, variable)
        if audience is None or fits(made, audience):
            return made
        argv = ["circleci", "run", "oidc", "get", "--claims", json.dumps({"aud": audience})]
        return printed(argv, environ, seconds, "run us in the job itself, where CircleCI's own program is")

    if environ.get(variable):
        return Identity("CircleCI", token)
    mend = f"{variable} is not set: pass it to the container that the job has started"
    return NoIdentity("CircleCI", mend) if _is_true(environ, "CIRCLECI") else None


def _buildkite(environ: Environ) -> _Shown:
    mend = "where the job runs in a container, set `mount-buildkite-agent: true` in the docker plugin"

    def token(audience: str | None, seconds: float) -> SecretValue:
        named = [] if audience is None else ["--audience", audience]
        return printed(["buildkite-agent", "oidc", "request-token", *named], environ, seconds, mend)

    if environ.get("BUILDKITE_AGENT_ACCESS_TOKEN") and environ.get("BUILDKITE_JOB_ID"):
        return Identity("Buildkite", token)
    return NoIdentity("Buildkite", mend) if _is_true(environ, "BUILDKITE") else None


def _bitbucket(environ: Environ) -> _Shown:
    system, variable = "Bitbucket Pipelines", "BITBUCKET_STEP_OIDC_TOKEN"
    if environ.get(variable):
        hint = (
            "its audience is always ari:cloud:bitbucket::workspace/UUID: expect that, here and in the service"
        )
        return Identity(system, lambda *_: _held(environ, variable), hint)
    return NoIdentity(system, "give the step `oidc: true`") if environ.get("BITBUCKET_BUILD_NUMBER") else None


def _azure_pipelines(environ: Environ) -> _Shown:
    system, address, bearer = "Azure Pipelines", "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN"
    mend = "give the step `env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)`"
    hint = (
        f"{mend}; a service connection has to be named by a task of the same stage (azureSubscription), "
        "and the pipeline permitted to use it"
    )
    names = ("ASTRO_TOKEN_AZURE_SERVICE_CONNECTION", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")
    connection = next(filter(None, map(environ.get, names)), None)

    def token(_: str | None, seconds: float) -> SecretValue:
        query = {"api-version": "7.1", **({"serviceConnectionId": connection} if connection else {})}
        headers = {
            **_authorization("Bearer", environ, bearer),
            "Content-Type": "application/json",
            "X-TFS-FedAuthRedirect": "Suppress",  # else a refusal is a redirect to a page for people
        }
        url = _with_query(environ[address].rstrip("/"), query)
        question = Question(system, address, hint, url, "POST", headers)
        return _member("oidcToken", question, environ, seconds)

    able = environ.get(address) and environ.get(bearer)
    if able and not environ[bearer].startswith("$("):  # a macro that nothing defines stays as it is written
        fixed = "its audience is always api://AzureADTokenExchange: expect that, here and in the service"
        return Identity(system, token, fixed)
    return NoIdentity(system, mend) if _is_true(environ, "TF_BUILD") else None


def _jenkins(environ: Environ) -> _Shown:
    if not (environ.get("JENKINS_URL") and environ.get("BUILD_ID")):
        return None
    mend = "bind a token of the OpenID Connect Provider plugin to ASTRO_TOKEN_ID_TOKEN by withCredentials"
    return NoIdentity("Jenkins", mend)


_METADATA_HOSTS = frozenset({"metadata.google.internal", "169.254.169.254", "169.254.169.252"})
_METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def _metadata(system: str, environ: Environ) -> Identity:
    def token(audience: str | None, seconds: float) -> SecretValue:
        if audience is None:
            raise ConfigError(f"{system} gives identity tokens for an audience only", hint="name one")
        host = environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
        question = Question(
            system,
            "GCE_METADATA_HOST",
            "it takes a service account of your own that may get itself identity tokens "
            "(iam.serviceAccounts.getOpenIdToken)",
            _with_query(f"http://{host}{_METADATA_PATH}", {"audience": audience, "format": "full"}),
            headers={"Metadata-Flavor": "Google"},
            signature=("Metadata-Flavor", "Google"),
            plain_hosts=_METADATA_HOSTS,
        )
        return web_token(ask(question, environ, seconds), damaged(system))

    return Identity(system, token)


def _is_true(environ: Environ, name: str) -> bool:
    return environ.get(name, "").lower() == "true"


def _held(environ: Environ, variable: str) -> SecretValue:
    hint = "see that what it is set from is there, and spelled right"
    malformed = ConfigError(f"{variable} holds no identity token", hint=hint)
    return web_token(environ[variable].encode(errors="replace"), malformed)


def _in_file(environ: Environ, variable: str) -> SecretValue:
    hint = "name the file of a pod's projected service account token"
    data = b""
    with suppress(OSError, ValueError), open_regular(Path(environ[variable])) as file:
        data = file.read(LONGEST + 1)
    return web_token(data, ConfigError(f"{variable} leads to no identity token", hint=hint))


def _authorization(scheme: str, environ: Environ, variable: str) -> dict[str, str]:
    credential = environ[variable].strip()
    if not re.fullmatch(r"[!-~]+", credential):
        raise ConfigError(f"{variable} contains a character that no token has", hint="do not set it yourself")
    return {"Authorization": f"{scheme} {credential}"}


def _with_query(url: str, query: Mapping[str, str]) -> str:
    from urllib.parse import urlencode

    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url


def _member(name: str, question: Question, environ: Environ, seconds: float) -> SecretValue:
    try:
        content = json.loads(ask(question, environ, seconds).decode())
    except (ValueError, RecursionError):
        content = None
    text = content.get(name) if isinstance(content, dict) else None
    data = text.encode(errors="replace") if isinstance(text, str) else b""
    return web_token(data, damaged(question.system))
