"""
The secret that an official secrets backend of Airflow would read for a variable or a connection.

The names are built as the providers build them. Tests compare them, and what is read, with the real ones.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, InvalidRefError, SecretNotFoundError
from astro_token.record import Record
from astro_token.secrets.ref import SecretRef
from astro_token.wording import did_you_mean
from astro_token_backends.airflow.settings import is_multi_team, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token_backends.airflow.settings import Kwargs
    from astro_token_backends.aws.settings import Options

__all__ = ["SERVICES", "Lookup", "Question", "look_up"]

# The module in this package, and its function.
SERVICES = {
    "airflow.providers.hashicorp.secrets.vault.VaultBackend": "vault:vault",
    "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend": "aws:secrets_manager",
    "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend": (
        "aws:parameter_store"
    ),
    "airflow.providers.google.cloud.secrets.secret_manager.CloudSecretManagerBackend": "gcp:secret_manager",
    "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend": "azure:key_vault",
}


class Lookup(Record):
    """
    Attributes:
        refs: of the secrets, tried in order.
        environ: variables of the login that replace those of the process.
        aws: what replaces the environment in a login to AWS.
        arguments: by variable, the argument that it comes from, for messages.
        words: further names of a connection's fields.
        is_vault: a variable is the field `value` of the secret, and a connection may be its field `conn_uri`.
        has_aliases: the fields of a connection may have other names.
    """

    refs: tuple[SecretRef, ...]
    environ: Mapping[str, str] = MappingProxyType({})
    aws: Options | None = None
    arguments: Mapping[str, str] = MappingProxyType({})
    words: Mapping[str, list[str]] = MappingProxyType({})
    is_vault: bool = False
    has_aliases: bool = False

    _hidden = ("environ",)


class Question(Record):
    """
    A request for one variable or connection, with the settings of Airflow.

    Attributes:
        kind: "variable" or "connection".
        kwargs: the arguments of the backend.
        environ: the variables of the process.
    """

    kind: str
    name: str
    kwargs: Kwargs
    environ: Mapping[str, str]

    _hidden = ("environ",)

    def ref(self, scheme: str, name: str, **options: str) -> SecretRef:
        """
        Raises:
            ConfigError: the service allows no such name.
        """
        try:
            return SecretRef(scheme, name, options=options)
        except InvalidRefError:
            pass
        raise ConfigError(
            f"{self.kwargs.variable} and this name do not give the name of a secret",
            hint=f"check the prefix; see {scheme}:",
        )

    def prefix(self, default: str) -> str | None:
        """Return the prefix of this kind. The default has `{}` in place of the kind."""
        for other in {"connection", "variable"} - {self.kind}:
            self.kwargs.text(f"{other}s_prefix")
        self.kwargs.text("config_prefix")
        return self.kwargs.text(f"{self.kind}s_prefix", default.format(f"{self.kind}s"))

    def matches(self) -> bool:
        """True if the name matches the pattern of this kind."""
        import re

        for other in ("connections", "variables", "config"):
            if other != f"{self.kind}s":
                self.kwargs.text(f"{other}_lookup_pattern")
        name = f"{self.kind}s_lookup_pattern"
        pattern = self.kwargs.text(name)
        try:
            return not pattern or re.match(pattern, self.name, re.IGNORECASE) is not None
        except (re.error, RecursionError):
            pass
        raise ConfigError(f"{name} in {self.kwargs.variable} is not a regular expression", hint="correct it")

    def check_team(self, separator: str, name: str | None = None) -> None:
        """
        Raises:
            SecretNotFoundError: with several teams, this name could be that of another team's secret.
        """
        if separator in (self.name if name is None else name) and is_multi_team(self.environ):
            raise SecretNotFoundError(
                f"with AIRFLOW__CORE__MULTI_TEAM, Airflow looks up no name with {separator}: "
                "it may be another team's",
                hint="name the secret by its own scheme",
            )

    def excluded(self) -> SecretNotFoundError:
        return SecretNotFoundError(
            f"{self.kwargs.variable} excludes this name from the secrets backend",
            hint="check its prefix or path, and its lookup_pattern",
        )


def look_up(kind: str, name: str, environ: Mapping[str, str]) -> Lookup:
    """
    Args:
        kind: "variable" or "connection".

    Raises:
        ConfigError: a setting of Airflow is missing, malformed or not understood.
        SecretNotFoundError: the settings exclude the name from the lookup.
    """
    from importlib import import_module

    backend, kwargs = read_settings(environ)
    service = SERVICES.get(backend)
    if service is None:
        raise ConfigError(
            f"{kwargs.variable.removesuffix('_KWARGS')} names a class that is not understood",
            hint=did_you_mean(backend, SERVICES)
            + "it must be one of the official classes, which docs/airflow-secrets.md lists",
        )
    module, _, function = service.partition(":")
    of_service = import_module(f"astro_token_backends.airflow.{module}")
    lookup: Lookup = getattr(of_service, function)(Question(kind, name, kwargs, environ))
    return lookup
