"""The logins of azure.identity: a certificate, the machine's identity, a developer's login."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError
from astro_token.record import Record
from astro_token_backends.azure.errors import bad_credential
from astro_token_backends.credential_source import printable_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token_backends.azure.adapter import LoginTransport

__all__ = ["SdkLogin", "certificate", "managed_identity", "probed_login"]

_REPLACED = ("environment", "workload_identity")  # by our own logins
_INTERACTIVE = ("shared_token_cache", "visual_studio_code", "broker", "interactive_browser")
_PROGRAMS = {"cli": "az", "powershell": "Azure PowerShell", "developer_cli": "azd"}
# A login leaves its folder in the home. To start a program that nobody has used takes seconds.
_FOLDERS = {
    "cli": ("AZURE_CONFIG_DIR", "~/.azure"),
    "powershell": ("", "~/.Azure"),
    "developer_cli": ("AZD_CONFIG_DIR", "~/.azd"),
}


class SdkLogin(Record):
    """
    Attributes:
        credential: of the SDK.
        source: of the credential, for people.
        fallback_error: makes the error, unless the network or the login service tells the reason.
        is_probe: the credential looks for an identity that may not exist.
    """

    tenant = None  # only the vault tells it
    _hidden = ("credential",)
    credential: Any
    source: str
    fallback_error: Callable[[], AstroTokenError]
    is_probe: bool = False

    def token(self, transport: LoginTransport, scope: str, tenant: str | None, claims: str | None) -> Any:
        options = {"tenant_id": tenant, "claims": claims}
        try:
            return self.credential.get_token(scope, **{name: text for name, text in options.items() if text})
        except Exception:  # noqa: BLE001 (the SDK does not tell a busy login from one that denies access)
            failure, denial = transport.attempt.failure, transport.attempt.denial
        is_busy = isinstance(failure, BackendUnavailableError) and denial is not None
        if self.is_probe and not is_busy:  # only a response shows that the identity exists
            raise self.fallback_error()
        failure = failure or denial
        # The login's own error tells more about a denial.
        raise failure if failure and not isinstance(failure, AccessDeniedError) else self.fallback_error()


def certificate(transport: LoginTransport, path: str) -> SdkLogin:
    from azure import identity

    # The authority comes from the environment, which is trusted. Instance discovery would verify it.
    credential = identity.EnvironmentCredential(
        transport=transport, retry_total=0, disable_instance_discovery=True
    )
    source = f"the certificate in {printable_path(path)} (AZURE_CLIENT_CERTIFICATE_PATH)"
    return SdkLogin(credential, source, bad_credential)


def managed_identity(transport: LoginTransport, client: str | None, variable: str) -> SdkLogin:
    from azure import identity

    credential = identity.ManagedIdentityCredential(client_id=client, transport=transport, retry_total=0)
    return SdkLogin(credential, _identity_of(variable, client), _no_token)


def probed_login(
    transport: LoginTransport, environ: Mapping[str, str], fallback_error: Callable[[], AstroTokenError]
) -> SdkLogin:
    """The first of the logins that only a request or a program can find."""
    from azure import identity

    excluded = [*_REPLACED, *_INTERACTIVE, *(name for name in _FOLDERS if not _has_folder(name, environ))]
    credential = identity.DefaultAzureCredential(
        transport=transport,
        retry_total=0,
        process_timeout=max(1, int(transport.attempt.seconds)),
        **{f"exclude_{name}_credential": True for name in excluded},
    )
    candidates = [
        _identity_of("this virtual machine", environ.get("AZURE_CLIENT_ID")),
        *(_PROGRAMS[name] for name in _FOLDERS if name not in excluded),
    ]
    limit = " that AZURE_TOKEN_CREDENTIALS allows" if environ.get("AZURE_TOKEN_CREDENTIALS") else ""
    source = f"the first of these{limit}: {', '.join(candidates)}"
    return SdkLogin(credential, source, fallback_error, is_probe=True)


def _identity_of(owner: str, client: str | None) -> str:
    return f"the managed identity of {owner}{' that AZURE_CLIENT_ID names' if client else ''}"


def _no_token() -> AccessDeniedError:
    return AccessDeniedError(
        "the managed identity gives no token",
        hint="check that the machine has an identity; set AZURE_CLIENT_ID for a user-assigned one only",
    )


def _has_folder(name: str, environ: Mapping[str, str]) -> bool:
    variable, default = _FOLDERS[name]
    return os.path.isdir(environ.get(variable) or os.path.expanduser(default))  # noqa: PTH111, PTH112
