"""Logging in to Google Cloud: with what the machine has, or else as the job that the CI system runs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from astro_token.errors import AccessDeniedError, AstroTokenError
from astro_token.identity import identity_hint
from astro_token_backends import network
from astro_token_backends.boundary import call_sdk
from astro_token_backends.credential_source import JobIdentity, job_identity, printable_path
from astro_token_backends.gcp import settings
from astro_token_backends.gcp.login_request import LoginRequest, NoMetadataServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Found", "find", "renew"]

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_DEFAULT_UNIVERSE = "googleapis.com"
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_OF_AWS = "urn:ietf:params:aws:token-type:aws4_request"
_QUOTA_PROJECT = "GOOGLE_CLOUD_QUOTA_PROJECT"
_FILE_LIMIT = 1 << 20


# By the type that its file gives.
_KINDS = {
    "service_account": "a service account's key",
    "authorized_user": "a user's login",
    "external_account": "an external account",
    "external_account_authorized_user": "an external user's login",
    "impersonated_service_account": "an impersonated service account",
}


class _NoIdentityError(Exception):
    """The CI system gives the job none."""


class Found(NamedTuple):
    """
    Attributes:
        source: what it is and where it is from, for people.
        credential: of google-auth; a metadata server's has its token already, which shows that it is there.
    """

    source: str
    credential: Any


def find(environ: Mapping[str, str], seconds: float) -> Found:
    """
    The credential to log in with.

    google.auth.default() is not asked: it looks for a project that nobody needs,
    pings a metadata server for seconds, and cannot be told what else there is.

    Raises:
        AccessDeniedError: there is none, or the machine's is refused.
        AstroTokenError: what else came in between.
    """
    request = LoginRequest(environ, time.monotonic() + seconds)
    return call_sdk(lambda: _found(environ, request), lambda error: _translated(error, request, environ))


def renew(credentials: Any, environ: Mapping[str, str], seconds: float) -> Any:
    """
    The same credential, with a token that is valid now.

    Raises:
        AccessDeniedError: it is refused.
        AstroTokenError: what else came in between.
    """
    request = LoginRequest(environ, time.monotonic() + seconds)
    return call_sdk(
        lambda: credentials if credentials.valid else _refreshed(credentials, request),
        lambda error: _translated(error, request, environ),
    )


def _found(environ: Mapping[str, str], request: LoginRequest) -> Found:
    file = environ.get(_FILE)
    if file:
        return _as_account(_loaded(Path(file), _FILE), environ)
    if (left := _gcloud_file(environ)).is_file():
        return _as_account(_loaded(left, "gcloud auth application-default login"), environ)
    if environ.get("NO_GCE_CHECK") != "true":
        try:
            return _as_account(_of_machine(environ, request), environ)
        except NoMetadataServerError:
            request.searching = False
    provider = settings.provider(environ)
    if provider:
        return _as_account(_of_job(provider, environ, request), environ)
    raise _no_credential(environ)


def _refreshed(credentials: Any, request: LoginRequest) -> Any:
    credentials.refresh(request)
    return credentials


def _as_account(found: Found, environ: Mapping[str, str]) -> Found:
    """The credential of the service account that it is to act as, where one is named."""
    source, credentials = found
    account = settings.service_account(environ)
    if account:
        from google.auth import impersonated_credentials

        acting: Any = impersonated_credentials.Credentials
        credentials = acting(credentials, account, [_SCOPE])
        source = f"{source}, acting as {account} ({settings.SERVICE_ACCOUNT})"
    from google.auth.credentials import CredentialsWithQuotaProject

    project = environ.get(_QUOTA_PROJECT)
    quoted: Any = credentials
    # A copy would have no token.
    if (
        project
        and isinstance(credentials, CredentialsWithQuotaProject)
        and quoted.quota_project_id != project
    ):
        credentials = quoted.with_quota_project(project)
    return Found(source, credentials)


# -- a file -------------------------------------------------------------------------------------------


def _gcloud_file(environ: Mapping[str, str]) -> Path:
    folder = environ.get("CLOUDSDK_CONFIG")
    if folder:
        return Path(folder, "application_default_credentials.json")
    home = Path(environ["APPDATA"]) if os.name == "nt" and "APPDATA" in environ else Path.home() / ".config"
    return home / "gcloud" / "application_default_credentials.json"


def _loaded(file: Path, where: str) -> Found:
    """
    Raises:
        AccessDeniedError: the file is no credential; `where` says who named or left it.
    """
    try:
        with file.open("rb") as opened:
            content = json.loads(opened.read(_FILE_LIMIT))
        kind = content.get("type")
        return Found(f"{_KINDS[kind]} in {printable_path(file)} ({where})", _of_type(kind, content))
    except Exception:  # noqa: BLE001, S110 (google-auth's own are of many kinds, and their texts hold the file's)
        pass
    raise AccessDeniedError(
        "the file with the Google Cloud credential cannot be read, or holds none that is known",
        hint=f"see the file of {where}: a service account's key, or what gcloud wrote",
    )


def _of_type(kind: object, content: dict[str, Any]) -> Any:
    # Each by its own class: the one loader for all of them is deprecated.
    made: Any
    scopes = [_SCOPE]
    if kind == "service_account":
        from google.oauth2 import service_account

        made = service_account.Credentials
        # It signs for itself, and its token_uri is never asked.
        return made.from_service_account_info(content, scopes=scopes).with_always_use_jwt_access(True)
    if kind == "authorized_user":
        from google.oauth2 import credentials

        made = credentials.Credentials
        return made.from_authorized_user_info(content)
    if kind == "external_account":
        return _external(content).from_info(content, scopes=scopes)
    if kind == "external_account_authorized_user":
        from google.auth import external_account_authorized_user

        made = external_account_authorized_user.Credentials
        return made.from_info(content)
    if kind == "impersonated_service_account":
        from google.auth import impersonated_credentials

        made = impersonated_credentials.Credentials
        return made.from_impersonated_service_account_info(content, scopes=scopes)
    raise ValueError


def _external(content: dict[str, Any]) -> Any:
    if content.get("subject_token_type") == _OF_AWS:
        from google.auth import aws

        return aws.Credentials
    if content.get("credential_source", {}).get("executable") is not None:
        from google.auth import pluggable

        class Executable(pluggable.Credentials):
            """The program that the file names, without our standard input, which belongs to the command."""

            def __init__(self, *given: Any, **named: Any) -> None:
                super().__init__(*given, **named)  # type: ignore[no-untyped-call]
                if os.name == "posix":
                    command = self._credential_source_executable_command
                    self._credential_source_executable_command = (
                        f"""/bin/sh -c 'exec "$0" "$@" </dev/null' {command}"""
                    )

        return Executable
    from google.auth import identity_pool

    return identity_pool.Credentials


# -- the machine, and the job -------------------------------------------------------------------------


def _of_machine(environ: Mapping[str, str], request: LoginRequest) -> Found:
    from google.auth import compute_engine

    class Machine(compute_engine.Credentials):
        def with_scopes(self, *_: object, **__: object) -> Machine:
            """The same: its token is good to act as an account with, too."""
            return self

    request.searching = True
    made: Any = Machine
    # With its universe said, which would be asked for otherwise.
    machine = made(
        default_scopes=[_SCOPE],
        universe_domain=_DEFAULT_UNIVERSE,
        quota_project_id=environ.get(_QUOTA_PROJECT) or None,
    )
    return Found("the metadata server's service account", _refreshed(machine, request))


def _of_job(provider: str, environ: Mapping[str, str], request: LoginRequest) -> Found:
    from google.auth import identity_pool

    wanted = environ.get("ASTRO_TOKEN_GCP_AUDIENCE") or f"https://iam.googleapis.com/{provider}"

    def identity(seconds: float) -> JobIdentity:
        found = job_identity(wanted, environ=environ, timeout=seconds)
        if found is None:
            raise _NoIdentityError
        return found

    first = identity(request.seconds)
    kept = [first]

    class Supplier(identity_pool.SubjectTokenSupplier):
        def get_subject_token(self, context: object, request: LoginRequest) -> str:  # noqa: ARG002
            now = kept.pop() if kept else identity(request.seconds)
            return now.token.reveal().decode()

    made: Any = identity_pool.Credentials
    credential = made(
        audience=f"//iam.googleapis.com/{provider}",
        subject_token_type=_JWT,
        subject_token_supplier=Supplier(),
        default_scopes=[_SCOPE],
    )
    return Found(f"{first.source}, with {provider} ({settings.PROVIDER})", credential)


# -- what went wrong ----------------------------------------------------------------------------------


def _translated(error: Exception, request: LoginRequest, environ: Mapping[str, str]) -> AstroTokenError:
    if isinstance(error, _NoIdentityError | NoMetadataServerError):
        return _no_credential(environ)
    if request.answered:
        return network.damaged()
    return AccessDeniedError(
        "the Google Cloud credential leads to nothing that can be used",
        hint=f"see the source that is named in its file: a file, an address or a program ({_FILE})",
    )


def _no_credential(environ: Mapping[str, str]) -> AccessDeniedError:
    machine = "not asked (NO_GCE_CHECK)" if environ.get("NO_GCE_CHECK") == "true" else "none that answers"
    if environ.get(settings.PROVIDER):
        job = f"set, and the CI system gives no identity ({identity_hint(environ) or 'none was found'})"
    else:
        job = "not set"
    return AccessDeniedError(
        "there is no Google Cloud credential",
        hint="set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login; looked for: "
        f"{_FILE} (not set), the file of gcloud (not there), the metadata server ({machine}), "
        f"{settings.PROVIDER} ({job})",
    )
