"""
Get an Astro API token out of a secrets backend and into the Astro CLI, safely.

    import subprocess, astro_token

    token = astro_token.read_token("vault:secret/astro/prod#token")
    with astro_token.isolated(token) as environ:
        subprocess.run(["astro", "deploy", "--dags"], env=environ, check=True)

The names of `__all__` are the whole interface.
A name's module is imported when the name is first used, and an SDK when its backend is.
"""

from __future__ import annotations

from importlib import import_module

from astro_token.version import __version__

TYPE_CHECKING = False  # typing's own would be imported for it
if TYPE_CHECKING:
    from astro_token.errors import (
        AccessDeniedError,
        AstroTokenError,
        BackendDownError,
        BackendError,
        BackendUnavailableError,
        CommandError,
        ConfigError,
        DecryptError,
        InputOutputError,
        IntegrityError,
        InvalidRefError,
        InvalidTokenError,
        MissingDependencyError,
        OutputError,
        PolicyError,
        SecretNotFoundError,
        UnknownBackendError,
        UnsupportedOperationError,
        UsageError,
    )
    from astro_token.exporter import CliEnvironment, Context, export, isolated
    from astro_token.many import read_tokens
    from astro_token.policy import Expectations, Policy, Verdict, enforce, judge
    from astro_token.protocols import (
        Backend,
        SupportsAddress,
        SupportsClose,
        SupportsCreateKey,
        SupportsCredentialSource,
        SupportsCredentialVariables,
        SupportsDecrypt,
        SupportsDescribe,
        SupportsEncrypt,
        SupportsLogIn,
        SupportsReadCurrent,
        SupportsReadMany,
        SupportsTrust,
        SupportsWrite,
        SupportsWriteCiphertext,
    )
    from astro_token.read import read_secret, read_token
    from astro_token.ref import SecretRef
    from astro_token.registry import close_backends, open_backend
    from astro_token.secret import SecretMetadata, SecretValue
    from astro_token.settings import TokenSettings, resolve
    from astro_token.token import AstroToken

__all__ = [
    "AccessDeniedError",
    "AstroToken",
    "AstroTokenError",
    "Backend",
    "BackendDownError",
    "BackendError",
    "BackendUnavailableError",
    "CliEnvironment",
    "CommandError",
    "ConfigError",
    "Context",
    "DecryptError",
    "Expectations",
    "InputOutputError",
    "IntegrityError",
    "InvalidRefError",
    "InvalidTokenError",
    "MissingDependencyError",
    "OutputError",
    "Policy",
    "PolicyError",
    "SecretMetadata",
    "SecretNotFoundError",
    "SecretRef",
    "SecretValue",
    "SupportsAddress",
    "SupportsClose",
    "SupportsCreateKey",
    "SupportsCredentialSource",
    "SupportsCredentialVariables",
    "SupportsDecrypt",
    "SupportsDescribe",
    "SupportsEncrypt",
    "SupportsLogIn",
    "SupportsReadCurrent",
    "SupportsReadMany",
    "SupportsTrust",
    "SupportsWrite",
    "SupportsWriteCiphertext",
    "TokenSettings",
    "UnknownBackendError",
    "UnsupportedOperationError",
    "UsageError",
    "Verdict",
    "__version__",
    "close_backends",
    "enforce",
    "export",
    "isolated",
    "judge",
    "open_backend",
    "read_secret",
    "read_token",
    "read_tokens",
    "resolve",
]

_MODULES = {
    "exporter": ("CliEnvironment", "Context", "export", "isolated"),
    "many": ("read_tokens",),
    "policy": ("Expectations", "Policy", "Verdict", "enforce", "judge"),
    "read": ("read_secret", "read_token"),
    "ref": ("SecretRef",),
    "registry": ("close_backends", "open_backend"),
    "secret": ("SecretMetadata", "SecretValue"),
    "settings": ("TokenSettings", "resolve"),
    "token": ("AstroToken",),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        module = "errors" if name.endswith("Error") else "protocols"
    value = getattr(import_module(f"astro_token.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
