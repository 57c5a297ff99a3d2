"""Airflow's backend for Azure Key Vault."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.system.variables import setting
from astro_token_backends.airflow.lookup import Lookup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token_backends.airflow.lookup import Question
    from astro_token_backends.airflow.settings import Kwargs

__all__ = ["key_vault"]

_APPLICATION = {
    "tenant_id": "AZURE_TENANT_ID",
    "client_id": "AZURE_CLIENT_ID",
    "client_secret": "AZURE_CLIENT_SECRET",
}
_IDENTITY = {
    "workload_identity_tenant_id": "AZURE_TENANT_ID",
    "managed_identity_client_id": "AZURE_CLIENT_ID",
}
_OF_ENVIRONMENT = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH")


def key_vault(question: Question) -> Lookup:
    kwargs = question.kwargs
    prefix = question.prefix("airflow-{}")
    separator = kwargs.text("sep", "-") or ""
    vault = (kwargs.text("vault_url") or "").rstrip("/")
    login = _login(kwargs, question.environ)
    if kwargs.choice("verify_challenge_resource", None, None, True, False) is False:
        raise ConfigError(
            f"verify_challenge_resource in {kwargs.variable} is false, but the vault is always verified",
            hint="remove it, and list the host of your vault in ASTRO_TOKEN_AZURE_HOSTS",
        )
    kwargs.finish()
    question.check_team("--", question.name.replace("_", separator))
    if prefix is None:
        raise question.excluded()
    if not vault:
        raise kwargs.missing("vault_url", "add the address of the Key Vault")
    prefix = prefix.rstrip(separator) if prefix and separator else prefix
    path = f"{prefix}{separator}{question.name}" if prefix else question.name
    path = path.replace("_", separator)
    if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", path):
        raise question.excluded()
    ref = question.ref("azure", f"{vault}/secrets/{path}")
    variables = {variable: text for variable, (_, text) in login.items()}
    return Lookup((ref,), variables, arguments={variable: name for variable, (name, _) in login.items()})


def _login(kwargs: Kwargs, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """
    Return the variables that the arguments replace, with the name and the value of each argument.

    As in Airflow, a group of arguments counts only if it is complete, and the environment's application
    comes before a managed identity.
    """
    given = {name: kwargs.text(name) or "" for name in (*_APPLICATION, *_IDENTITY)}
    for group in (_APPLICATION, _IDENTITY):
        if not all(given[name] for name in group):
            continue
        if group is _APPLICATION or not any(setting(environ, name) for name in _OF_ENVIRONMENT):
            return {variable: (name, given[name]) for name, variable in group.items()}
    return {}
