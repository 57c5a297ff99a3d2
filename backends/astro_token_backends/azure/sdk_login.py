"""The logins that azure.identity does: a certificate, the machine's identity, a developer's login."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError
from astro_token_backends.azure.client_credentials import login_refusal
from astro_token_backends.azure.refusals import bad_credential
from astro_token_backends.credential_source import printable_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token_backends.azure.wire import Wire

__all__ = ["SdkLogin", "certificate", "looked_for", "managed_identity"]

_OUR_OWN = ("environment", "workload_identity")
_OF_DESKTOPS = ("shared_token_cache", "visual_studio_code", "broker", "interactive_browser")
_PROGRAMS = {"cli": "az", "powershell": "Azure PowerShell", "developer_cli": "azd"}
# A login leaves its folder in the home. Starting the programs to be told so takes seconds.
_FOLDERS = {
    "cli": ("AZURE_CONFIG_DIR", "~/.azure"),
    "powershell": ("", "~/.Azure"),
    "developer_cli": ("AZD_CONFIG_DIR", "~/.azd"),
}


@dataclass(frozen=True, slots=True)
class SdkLogin:
    """
    Attributes:
        credential: of the SDK.
        source: what it takes, for people.
        otherwise: makes the error where it has no token, unless the network or the login service says why.
        sought: nobody has to be where an identity was only looked for.
    """

    credential: Any = field(repr=False)
    source: str
    otherwise: Callable[[], AstroTokenError]
    sought: bool = False

    def token(self, wire: Wire, scope: str, tenant: str | None, claims: str | None) -> Any:
        options = {"tenant_id": tenant, "claims": claims}
        try:
            given = {name: value for name, value in options.items() if value}
            return self.credential.get_token(scope, **given)
        except Exception:  # noqa: BLE001 (to the SDK a login that is busy, not there or refuses us is the same)
            failure, answer = wire.failure, wire.answer
        if self.sought:
            waits = isinstance(failure, BackendUnavailableError) and answer is not None
            raise failure if waits and failure else self.otherwise()
        if failure is None and answer is not None and answer.status_code >= 400:  # noqa: PLR2004
            failure = login_refusal(answer)
        # What was refused is best said by who knows which login it was.
        raise failure if failure and not isinstance(failure, AccessDeniedError) else self.otherwise()


def certificate(wire: Wire, path: str) -> SdkLogin:
    from azure import identity

    # The authority comes from the environment, which we trust: nobody needs to be asked about it.
    credential = identity.EnvironmentCredential(
        transport=wire, retry_total=0, disable_instance_discovery=True
    )
    source = f"the certificate in {printable_path(path)} (AZURE_CLIENT_CERTIFICATE_PATH)"
    return SdkLogin(credential, source, bad_credential)


def managed_identity(wire: Wire, client: str | None, variable: str) -> SdkLogin:
    from azure import identity

    credential = identity.ManagedIdentityCredential(client_id=client, transport=wire, retry_total=0)
    return SdkLogin(credential, _managed(variable, client), _no_identity)


def looked_for(wire: Wire, environ: Mapping[str, str], otherwise: Callable[[], AstroTokenError]) -> SdkLogin:
    from azure import identity

    left_out = [*_OUR_OWN, *_OF_DESKTOPS, *(name for name in _FOLDERS if not _has_folder(name, environ))]
    credential = identity.DefaultAzureCredential(
        transport=wire,
        retry_total=0,
        process_timeout=max(1, int(wire.seconds)),
        **{f"exclude_{name}_credential": True for name in left_out},
    )
    asked = [
        _managed("this virtual machine", environ.get("AZURE_CLIENT_ID")),
        *(_PROGRAMS[name] for name in _FOLDERS if name not in left_out),
    ]
    chosen = " that AZURE_TOKEN_CREDENTIALS allows" if environ.get("AZURE_TOKEN_CREDENTIALS") else ""
    return SdkLogin(credential, f"the first of these{chosen}: {', '.join(asked)}", otherwise, sought=True)


def _managed(whose: str, client: str | None) -> str:
    return f"the managed identity of {whose}{' that AZURE_CLIENT_ID names' if client else ''}"


def _no_identity() -> AccessDeniedError:
    return AccessDeniedError(
        "the managed identity gives no token",
        hint="see that the machine has one; AZURE_CLIENT_ID has to be the client id of a user-assigned one, "
        "and unset for the system's",
    )


def _has_folder(name: str, environ: Mapping[str, str]) -> bool:
    variable, usual = _FOLDERS[name]
    return os.path.isdir(environ.get(variable) or Path(usual).expanduser())  # noqa: PTH112 (takes any text)
