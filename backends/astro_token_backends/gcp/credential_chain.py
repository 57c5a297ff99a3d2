"""
The chain of credentials, as Google's SDKs define it; after them, the CI system's identity.

The order: the file in GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, the metadata server,
ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER. google.auth.default() is not used: it looks up a project,
waits seconds for a metadata server, and its requests cannot be replaced.
"""

from __future__ import annotations

import os

from astro_token.errors import AccessDeniedError, ConfigError, NoCredentialError
from astro_token.record import Record
from astro_token.system.files import read_credential
from astro_token.system.programs import PROGRAM_FOLDERS, find_program
from astro_token.system.sdk_imports import import_sdk
from astro_token.system.variables import expanded, path_setting, setting
from astro_token_backends.credential_source import job_identity, printable_path, renewal
from astro_token_backends.gcp.login_request import NoMetadataServerError
from astro_token_backends.gcp.settings import (
    PROVIDER,
    SERVICE_ACCOUNT,
    provider,
    service_accounts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astro_token_backends.credential_source import JobIdentity
    from astro_token_backends.gcp.login_request import LoginRequest

__all__ = [
    "CREDENTIAL_FILE",
    "Credential",
    "NoIdentityError",
    "choose_credential",
    "no_credential",
    "renewal_hint",
]

CREDENTIAL_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_AUDIENCE = "ASTRO_TOKEN_GCP_AUDIENCE"
_GCLOUD = "gcloud auth application-default login"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_QUOTA_PROJECT = "GOOGLE_CLOUD_QUOTA_PROJECT"
_JWT = "urn:ietf:params:oauth:token-type:jwt"
# By the type in the credential's file.
_KINDS = {
    "service_account": "a service account's key",
    "authorized_user": "a user's login",
    "external_account": "an external account",
    "external_account_authorized_user": "an external user's login",
    "impersonated_service_account": "an impersonated service account",
}

_OF_PERSONS = ("authorized_user", "external_account_authorized_user")


class NoIdentityError(Exception):
    """The CI system gives the job no identity."""


class Credential(Record):
    """
    A credential of google-auth. That of a metadata server has a token already.

    Attributes:
        source: for people.
        is_of_person: a person has logged in with gcloud, and can do so again.
    """

    _hidden = ("value",)
    source: str
    value: Any
    is_of_person: bool = False


def choose_credential(environ: Mapping[str, str], request: LoginRequest) -> Credential:
    """
    Return the first credential that exists. If it fails later, no other one is tried.

    Raises:
        NoCredentialError: no credential exists.
        AccessDeniedError: the file of the credential is unusable.
        AstroTokenError: a setting, a CI identity's request, or the metadata server's failure.
        NoIdentityError: only the provider is set, and the CI system gives no identity.
    """
    if value := setting(environ, CREDENTIAL_FILE):
        return _as_account(_from_variable(value), environ)
    if os.path.isfile(file := _gcloud_file(environ)):  # noqa: PTH113 (pathlib is slow to load)
        return _as_account(_from_file(file, _GCLOUD), environ)
    failure = None
    if setting(environ, "NO_GCE_CHECK") != "true":
        try:
            return _as_account(_of_machine(environ, request), environ)
        except NoMetadataServerError as absent:
            failure = absent.failure
    if name := provider(environ):
        try:
            return _as_account(_of_job(name, environ, request), environ)
        except NoIdentityError:
            if failure is None:
                raise
    raise failure or no_credential(environ)


def no_credential(environ: Mapping[str, str]) -> NoCredentialError:
    from astro_token.ci.identity import identity_hint

    skipped = setting(environ, "NO_GCE_CHECK") == "true"
    machine = "skipped because of NO_GCE_CHECK" if skipped else "does not answer; NO_GCE_CHECK=true skips it"
    job = "not set"
    if setting(environ, PROVIDER):
        job = f"set, but the CI system gives no identity: {identity_hint(environ) or 'none was detected'}"
    return NoCredentialError(
        "no Google Cloud credential is configured",
        hint=f"set {CREDENTIAL_FILE}, or run {_GCLOUD}; tried: "
        f"{CREDENTIAL_FILE} (not set), gcloud's file (does not exist), the metadata server ({machine}), "
        f"{PROVIDER} ({job})",
    )


def renewal_hint(environ: Mapping[str, str]) -> str:
    """Name the remedy for a person's login that has ended."""
    hint = renewal(_GCLOUD, f"set {PROVIDER} to use the identity of the job", environ)
    # gcloud writes its own file.
    return f"{hint}; unset {CREDENTIAL_FILE}" if setting(environ, CREDENTIAL_FILE) else hint


def _as_account(credential: Credential, environ: Mapping[str, str]) -> Credential:
    """Let the credential act as ASTRO_TOKEN_GCP_SERVICE_ACCOUNT, and add the quota project."""
    source, value = credential.source, credential.value
    accounts, project = service_accounts(environ), setting(environ, _QUOTA_PROJECT)
    if accounts:
        from google.auth import impersonated_credentials

        *delegates, account = accounts
        acting: Any = impersonated_credentials.Credentials
        value = acting(value, account, [_SCOPE], delegates=delegates)
        source = f"{source}, acting as {account} ({SERVICE_ACCOUNT})"
    # with_quota_project makes a copy, which has no token.
    if project and hasattr(value, "with_quota_project") and value.quota_project_id != project:
        value = value.with_quota_project(project)
    return Credential(source, value, credential.is_of_person)


# -- a file -------------------------------------------------------------------------------------------


def _gcloud_file(environ: Mapping[str, str]) -> str:
    """The path of the file that gcloud writes."""
    home = environ["APPDATA"] if os.name == "nt" and "APPDATA" in environ else "~/.config"
    folder = path_setting(environ, "CLOUDSDK_CONFIG") or expanded(f"{home}/gcloud")
    return f"{folder}/application_default_credentials.json"


def _from_variable(value: str) -> Credential:
    """Load the credential of a file, or the credential itself, which CI systems keep in variables."""
    if value.startswith("{"):
        return _from_json(value, CREDENTIAL_FILE, CREDENTIAL_FILE)
    return _from_file(expanded(value), CREDENTIAL_FILE)


def _from_file(file: str, origin: str) -> Credential:
    """
    Load the credential in a file.

    Args:
        origin: the variable that names the file, or the command that wrote it.

    Raises:
        AccessDeniedError: the file cannot be read, or is not a credential.
    """
    try:
        content = read_credential(file)
    except (OSError, ValueError):
        content = None
    if content is not None:
        return _from_json(content, f"{printable_path(file)} ({origin})", f"the file of {origin}")
    raise AccessDeniedError(
        f"the file of {origin} cannot be read", hint="check that it exists, and that this user may read it"
    )


def _from_json(content: str | bytes, source: str, name: str) -> Credential:
    import json

    try:
        credential = json.loads(content)
        kind = credential["type"]
        return Credential(f"{_KINDS[kind]} in {source}", _of_type(kind, credential), kind in _OF_PERSONS)
    except Exception:  # noqa: BLE001, S110 (google-auth raises anything, and quotes the file)
        pass
    raise AccessDeniedError(
        f"{name} is not a Google Cloud credential",
        hint=f"set {CREDENTIAL_FILE} to the path of a service account's key, or of a file that gcloud wrote",
    )


def _of_type(kind: object, content: dict[str, Any]) -> Any:
    # Each by its own class: google-auth's loader of all types is deprecated.
    created: Any
    if kind == "service_account":
        # It signs its tokens itself: nothing is requested, and no certificate is read.
        unused = {"cryptography.x509": (), "google.auth.iam": (), "google.oauth2._client": ()}
        created = import_sdk("google.oauth2.service_account", without=unused).Credentials
        return created.from_service_account_info(content, scopes=[_SCOPE]).with_always_use_jwt_access(True)
    if kind == "authorized_user":
        from google.oauth2 import credentials

        created = credentials.Credentials
        return created.from_authorized_user_info(content)
    if kind == "external_account":
        return _external(content).from_info(content, scopes=[_SCOPE])
    if kind == "external_account_authorized_user":
        from google.auth import external_account_authorized_user

        created = external_account_authorized_user.Credentials
        return created.from_info(content)
    if kind == "impersonated_service_account":
        from google.auth import impersonated_credentials

        created = impersonated_credentials.Credentials
        return created.from_impersonated_service_account_info(content, scopes=[_SCOPE])
    raise ValueError


def _external(content: dict[str, Any]) -> Any:
    if content.get("subject_token_type") == "urn:ietf:params:aws:token-type:aws4_request":
        from google.auth import aws

        return aws.Credentials
    if content.get("credential_source", {}).get("executable") is not None:
        import shlex

        from google.auth import pluggable

        class Executable(pluggable.Credentials):
            """Run the program in the file without our standard input, which belongs to the command."""

            def __init__(self, *values: Any, **named: Any) -> None:
                super().__init__(*values, **named)  # type: ignore[no-untyped-call]
                command = self._credential_source_executable_command
                if os.name == "posix":
                    self._credential_source_executable_command = (
                        f"""/bin/sh -c 'exec "$0" "$@" </dev/null' {command}"""
                    )
                self._program = next(iter(shlex.split(command)), "")

            def retrieve_subject_token(self, request: Any) -> Any:
                if not find_program(self._program, os.environ):
                    raise ConfigError(
                        "the executable of the Google Cloud credential is missing, or lies in the checkout",
                        hint="name it by an absolute path; if it is in the checkout and you trust it, "
                        f"list its folder in {PROGRAM_FOLDERS}",
                    )
                return super().retrieve_subject_token(request)

        return Executable
    from google.auth import identity_pool

    return identity_pool.Credentials


# -- the machine, and the CI job ----------------------------------------------------------------------


def _of_machine(environ: Mapping[str, str], request: LoginRequest) -> Credential:
    from google.auth import compute_engine

    class Machine(compute_engine.Credentials):
        def with_scopes(self, *_: object, **__: object) -> Machine:
            """Return the same credential: its token may act as an account, too."""
            return self

    created: Any = Machine
    # Without the universe, google-auth requests it.
    machine = created(
        default_scopes=[_SCOPE],
        universe_domain="googleapis.com",
        quota_project_id=setting(environ, _QUOTA_PROJECT) or None,
    )
    request.probing = True
    machine.refresh(request)
    return Credential("the metadata server's service account", machine)


def _of_job(name: str, environ: Mapping[str, str], request: LoginRequest) -> Credential:
    from google.auth import identity_pool

    audience = f"https://iam.googleapis.com/{name}"

    def identity(seconds: float) -> JobIdentity:
        identity = job_identity(_AUDIENCE, audience, environ=environ, timeout=seconds)
        if identity is None:
            raise NoIdentityError
        return identity

    first = identity(request.seconds)
    unused = [first]

    class Supplier(identity_pool.SubjectTokenSupplier):
        def get_subject_token(self, context: object, request: LoginRequest) -> str:  # noqa: ARG002
            current = unused.pop() if unused else identity(request.seconds)
            return current.token.reveal().decode()

    created: Any = identity_pool.Credentials
    credential = created(
        audience=f"//iam.googleapis.com/{name}",
        subject_token_type=_JWT,
        subject_token_supplier=Supplier(),
        default_scopes=[_SCOPE],
    )
    return Credential(f"{first.source}, with {name} ({PROVIDER})", credential)
