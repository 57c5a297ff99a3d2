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
    from astro_token.environment.context import Context
    from astro_token.environment.export import CliEnvironment, export, isolated
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
        NoCredentialError,
        NoStoreError,
        OutputError,
        PolicyError,
        SecretNotFoundError,
        UnknownBackendError,
        UnsupportedOperationError,
        UnusableSecretError,
        UsageError,
    )
    from astro_token.policy.rules import Expectations, Policy, Verdict, enforce, judge
    from astro_token.secret import SecretMetadata, SecretValue
    from astro_token.secrets.protocols import (
        Backend,
        SupportsCheckWrite,
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
        SupportsRotationRecord,
        SupportsRoute,
        SupportsWrite,
        SupportsWriteCiphertext,
    )
    from astro_token.secrets.ref import SecretRef
    from astro_token.secrets.registry import close_backends, open_backend
    from astro_token.settings.resolve import TokenSettings, resolve
    from astro_token.token import AstroToken
    from astro_token.tokens.read import read_secret, read_token
    from astro_token.tokens.read_many import read_tokens

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
    "NoCredentialError",
    "NoStoreError",
    "OutputError",
    "Policy",
    "PolicyError",
    "SecretMetadata",
    "SecretNotFoundError",
    "SecretRef",
    "SecretValue",
    "SupportsCheckWrite",
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
    "SupportsRotationRecord",
    "SupportsRoute",
    "SupportsWrite",
    "SupportsWriteCiphertext",
    "TokenSettings",
    "UnknownBackendError",
    "UnsupportedOperationError",
    "UnusableSecretError",
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
    "environment.context": ("Context",),
    "environment.export": ("CliEnvironment", "export", "isolated"),
    "policy.rules": ("Expectations", "Policy", "Verdict", "enforce", "judge"),
    "secret": ("SecretMetadata", "SecretValue"),
    "secrets.ref": ("SecretRef",),
    "secrets.registry": ("close_backends", "open_backend"),
    "settings.resolve": ("TokenSettings", "resolve"),
    "token": ("AstroToken",),
    "tokens.read": ("read_secret", "read_token"),
    "tokens.read_many": ("read_tokens",),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        module = "errors" if name.endswith("Error") else "secrets.protocols"
    value = getattr(import_module(f"astro_token.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
