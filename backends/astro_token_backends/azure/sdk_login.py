"""The logins of azure.identity: a certificate, the machine's identity, a developer's login."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, ConfigError
from astro_token.record import Record
from astro_token.system.files import read_credential
from astro_token.system.variables import path_setting, secret_setting, setting
from astro_token_backends.azure.errors import bad_credential
from astro_token_backends.credential_source import printable_path, renewal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token_backends.azure.adapter import LoginTransport

__all__ = ["SdkLogin", "certificate", "managed_identity", "probed_login"]

_TOKEN_CREDENTIALS = "AZURE_TOKEN_CREDENTIALS"
_REPLACED = ("environment", "workload_identity")  # by our own logins
_INTERACTIVE = ("shared_token_cache", "visual_studio_code", "broker", "interactive_browser")
# Error codes of Entra: the session has ended, was revoked, or requires a person.
_ENDED = ("50076", "50078", "50079", "50132", "50133", "50173", "70008", "70043", "70044", "700082", "700084")

# Texts of the SDK about a program that is not installed, or in which nobody is logged in.
_ABSENT = r"not found on path|could not be found|is not installed|^Please run|Failed to execute"


class _Program(Record):
    """
    Attributes:
        credential: the SDK's class.
        folder: in the home, created by its login. To start a program that nobody has used takes seconds.
        folder_variable: names another folder.
    """

    name: str
    login: str
    credential: str
    folder: str
    folder_variable: str = ""

    def is_used(self, environ: Mapping[str, str]) -> bool:
        return os.path.isdir(path_setting(environ, self.folder_variable) or os.path.expanduser(self.folder))  # noqa: PTH111, PTH112


# By the SDK's name in the options of DefaultAzureCredential, in its order.
_PROGRAMS = {
    "cli": _Program("az", "az login", "AzureCliCredential", "~/.azure", "AZURE_CONFIG_DIR"),
    "powershell": _Program("Azure PowerShell", "Connect-AzAccount", "AzurePowerShellCredential", "~/.Azure"),
    "developer_cli": _Program(
        "azd", "azd auth login", "AzureDeveloperCliCredential", "~/.azd", "AZD_CONFIG_DIR"
    ),
}


class SdkLogin(Record):
    """
    Attributes:
        credential: of the SDK.
        source: of the credential, for people.
        fallback_error: makes the error, unless the network or the login service gives the reason.
        is_probe: the credential searches for an identity that may not exist.
        programs: names of the programs that it may start.
    """

    tenant = None  # known to the vault only
    _hidden = ("credential",)
    credential: Any
    source: str
    fallback_error: Callable[[], AstroTokenError]
    is_probe: bool = False
    programs: tuple[str, ...] = ()

    def token(self, transport: LoginTransport, scope: str, tenant: str | None, claims: str | None) -> Any:
        options = {"tenant_id": tenant, "claims": claims}
        given = {name: text for name, text in options.items() if text}
        try:
            return self.credential.get_token(scope, **given)
        except Exception as error:  # noqa: BLE001 (the SDK does not tell a busy login from a denial)
            refused = _refused_program(error)
        failure, denial = transport.attempt.failure, transport.attempt.denial
        is_busy = isinstance(failure, BackendUnavailableError) and denial is not None
        if self.programs and not transport.attempt.seconds:
            raise BackendUnavailableError(
                f"the login with {' or '.join(self.programs)} did not end in time",
                hint="try again, or raise ASTRO_TOKEN_TIMEOUT",
            )
        if self.is_probe and not is_busy:  # only a response shows that the identity exists
            raise refused or transport.attempt.silence or self.fallback_error()
        failure = failure or denial
        # The login's own error tells more about a denial.
        raise failure if failure and not isinstance(failure, AccessDeniedError) else self.fallback_error()


def certificate(
    transport: LoginTransport, environ: Mapping[str, str], authority: str, tenant: str, client: str
) -> SdkLogin:
    from azure import identity

    variable = "AZURE_CLIENT_CERTIFICATE_PATH"
    path = path_setting(environ, variable)
    credential = _created(
        lambda: identity.CertificateCredential(
            tenant,
            client,
            certificate_data=read_credential(path),
            password=secret_setting(environ, "AZURE_CLIENT_CERTIFICATE_PASSWORD") or None,
            send_certificate_chain=bool(setting(environ, "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")),
            authority=authority,
            # The authority comes from the environment, which is trusted. Instance discovery would verify it.
            disable_instance_discovery=True,
            transport=transport,
            retry_total=0,
        ),
        f"{variable} does not name a file with a certificate and its RSA key",
        "name a file in PEM or PKCS #12 format; for an encrypted key set AZURE_CLIENT_CERTIFICATE_PASSWORD",
    )
    source = f"the certificate in {printable_path(path)} ({variable})"
    return SdkLogin(credential, source, bad_credential)


def managed_identity(transport: LoginTransport, client: str | None, variable: str) -> SdkLogin:
    from azure import identity

    credential = _created(
        lambda: identity.ManagedIdentityCredential(client_id=client, transport=transport, retry_total=0),
        f"the managed identity of {variable} cannot be used",
        f"check {variable} and AZURE_CLIENT_ID",
    )
    return SdkLogin(credential, _identity_of(variable, client), lambda: _no_token(variable))


def probed_login(
    transport: LoginTransport,
    environ: Mapping[str, str],
    client: str | None,
    fallback_error: Callable[[], AstroTokenError],
) -> SdkLogin:
    """The first of the logins that only a request or a program can find."""
    from azure import identity

    used = [key for key, program in _PROGRAMS.items() if program.is_used(environ)]
    excluded = (*_REPLACED, *_INTERACTIVE, *(_PROGRAMS.keys() - used))

    def create() -> Any:
        return identity.DefaultAzureCredential(
            transport=transport,
            retry_total=0,
            process_timeout=max(1.0, transport.attempt.seconds),
            managed_identity_client_id=client,
            **{f"exclude_{name}_credential": True for name in excluded},
        )

    _created(
        create,
        f"{_TOKEN_CREDENTIALS} allows no login that exists here",
        f"log in with the program that {_TOKEN_CREDENTIALS} names, such as az login, or unset it",
    )
    programs = tuple(_PROGRAMS[key].name for key in used)
    candidates = ", ".join([_identity_of("this virtual machine", client), *programs])
    limit = f" that {_TOKEN_CREDENTIALS} allows" if setting(environ, _TOKEN_CREDENTIALS) else ""
    source = f"the first of these{limit}: {candidates}"
    return SdkLogin(_Probe(create), source, fallback_error, is_probe=True, programs=programs)


class _Probe:
    """A chain of the SDK, created anew until it succeeds: its time limit for programs cannot be changed."""

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = create
        self._credential: Any = None

    def get_token(self, scope: str, **options: str) -> Any:
        credential = self._credential or self._create()
        token = credential.get_token(scope, **options)
        self._credential = credential
        return token


def _created(create: Callable[[], Any], message: str, hint: str) -> Any:
    """
    Create a credential of the SDK, which raises any kind of exception for a wrong setting.

    Raises:
        ConfigError: with this message and hint.
    """
    try:
        return create()
    except Exception:  # noqa: BLE001, S110
        pass
    raise ConfigError(message, hint=hint)


def _refused_program(error: Exception) -> AccessDeniedError | None:
    """
    Return the error for a program that failed with a login; None if there is no login.

    The SDK's text quotes the program, which quotes the login service's error code.
    """
    for program in _PROGRAMS.values():
        quoted = re.search(rf"\b{program.credential}: ([^\t]*)", str(error))
        if quoted is None:
            continue
        if refusal := re.search(r"AADSTS(\d+)", quoted[1]):
            state = "has ended" if refusal[1] in _ENDED else "gives no access to the vault's tenant"
            hint = f"{_renewal(program.login)}, with an account of the vault's tenant"
            return AccessDeniedError(f"the session of {program.name} {state}", hint=hint)
        if not re.search(_ABSENT, quoted[1]):
            return AccessDeniedError(f"the login of {program.name} failed", hint=_renewal(program.login))
    return None


def _renewal(command: str) -> str:
    instead = "set AZURE_TENANT_ID and AZURE_CLIENT_ID to use the identity of the job"
    return renewal(command, instead, os.environ)


def _identity_of(owner: str, client: str | None) -> str:
    return f"the managed identity of {owner}{' that AZURE_CLIENT_ID names' if client else ''}"


def _no_token(variable: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"the managed identity of {variable} gives no token",
        hint="check that the machine has an identity; set AZURE_CLIENT_ID for a user-assigned one only",
    )
