"""
The secret that an official secrets backend of Airflow would read for a variable or a connection.

The names are built as the providers build them; a test compares them with the real providers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, InvalidRefError, SecretNotFoundError
from astro_token.record import Record
from astro_token.secrets.ref import SecretRef
from astro_token.system.variables import setting
from astro_token_backends.airflow import BACKEND, KWARGS
from astro_token_backends.airflow.settings import Kwargs, backend_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Lookup", "look_up"]


class Lookup(Record):
    """
    Attributes:
        refs: of the secrets, tried in order.
        environ: variables that replace those of the process; only Vault has any.
        words: further names of a connection's fields.
        is_vault: a variable is the field `value` of the secret, and a connection may be its field `conn_uri`.
        has_aliases: the fields of a connection may have other names.
    """

    refs: tuple[SecretRef, ...]
    environ: Mapping[str, str]
    words: Mapping[str, list[str]]
    is_vault: bool = False
    has_aliases: bool = False

    _hidden = ("environ",)


def look_up(kind: str, name: str, environ: Mapping[str, str]) -> Lookup:
    """
    Args:
        kind: "variable" or "connection".

    Raises:
        ConfigError: a setting of Airflow is missing, malformed or not understood.
        SecretNotFoundError: the settings exclude the name from the lookup.
    """
    service = _SERVICES.get(backend_class(environ))
    if service is None:
        raise ConfigError(
            f"{BACKEND} names a class that is not understood",
            hint="it must be one of the official backends for Vault, AWS, Google Cloud or Azure",
        )
    kwargs = Kwargs(environ)
    for other in ("connection", "variable", "config"):
        if other != kind:
            for end in ("prefix", "path", "lookup_pattern"):
                _skip(kwargs, f"{other}s_{end}" if other != "config" else f"config_{end}")
    lookup = service(kind, name, kwargs, environ)
    kwargs.finish()
    return lookup


def _skip(kwargs: Kwargs, name: str) -> None:
    kwargs.texts(name, "")


def _excluded() -> SecretNotFoundError:
    return SecretNotFoundError(
        f"{KWARGS} excludes this name from the secrets backend",
        hint="check its prefix or path, and its lookup_pattern",
    )


def _matches(kwargs: Kwargs, kind: str, name: str) -> bool:
    pattern = kwargs.text(f"{kind}s_lookup_pattern")
    try:
        return not pattern or re.match(pattern, name, re.IGNORECASE) is not None
    except (re.error, RecursionError):
        pass
    raise ConfigError(f"{kind}s_lookup_pattern in {KWARGS} is not a regular expression", hint="correct it")


def _ref(scheme: str, name: str, **options: str) -> SecretRef:
    """
    Raises:
        ConfigError: the service allows no such name.
    """
    try:
        return SecretRef(scheme, name, options=options)
    except InvalidRefError:
        pass
    raise ConfigError(
        f"{KWARGS} and this name do not give the name of a secret", hint=f"check the prefix; see {scheme}:"
    )


# -- Vault --------------------------------------------------------------------------------------------

_VAULT_LOGINS = {
    "token": "token",
    "approle": "approle",
    "kubernetes": "kubernetes",
    "jwt": "jwt",
    "userpass": "userpass",
    "ldap": "ldap",
}
_VAULT_VARIABLES = {
    "url": "VAULT_ADDR",
    "namespace": "VAULT_NAMESPACE",
    "auth_mount_point": "ASTRO_TOKEN_VAULT_MOUNT",
    "token": "VAULT_TOKEN",
    "token_path": "VAULT_TOKEN",
    "role_id": "VAULT_ROLE_ID",
    "secret_id": "VAULT_SECRET_ID",
    "username": "VAULT_USERNAME",
    "password": "VAULT_PASSWORD",
    "kubernetes_role": "ASTRO_TOKEN_VAULT_ROLE",
    "kubernetes_jwt_path": "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
    "jwt_role": "ASTRO_TOKEN_VAULT_ROLE",
    "jwt_token_path": "ASTRO_TOKEN_ID_TOKEN",
    "jwt_token": "ASTRO_TOKEN_ID_TOKEN",
}
_FILES = ("token_path", "jwt_token_path")


def _vault(kind: str, name: str, kwargs: Kwargs, environ: Mapping[str, str]) -> Lookup:
    bases = [base.rstrip("/") for base in kwargs.texts(f"{kind}s_path", f"{kind}s")]
    common = kwargs.text("global_secrets_path")
    if common is not None:
        bases.append(common.rstrip("/"))
    kwargs.choice("use_team_secrets_path", True, True, False)
    mount = kwargs.text("mount_point", "secret")
    version = kwargs.choice("kv_engine_version", 2, 1, 2)
    method = kwargs.choice("auth_type", "token", *_VAULT_LOGINS)
    verify = kwargs.text("verify") if not kwargs.is_true("verify") else None
    overlay = kwargs.environment(_VAULT_VARIABLES, _file_or_text)
    overlay.setdefault("VAULT_NAMESPACE", "")  # Airflow does not read the variable
    overlay["ASTRO_TOKEN_VAULT_AUTH"] = _VAULT_LOGINS[method]
    if verify:
        overlay["VAULT_CACERT"] = verify
    key: str = name
    if not mount:
        mount, slash, key = name.partition("/")
        if not slash:
            raise _excluded()
    if not bases:
        raise _excluded()
    kv = {} if "/" in mount.strip("/") else {"kv": str(version)}
    paths = [f"{mount}/{base}/{key}" if base else f"{mount}/{key}" for base in bases]
    refs = tuple(_ref("vault", path, **kv) for path in paths)
    return Lookup(refs, {**environ, **overlay}, {}, is_vault=True)


def _file_or_text(name: str, text: str) -> str:
    if name not in _FILES:
        return text
    try:
        with open(text, encoding="utf-8") as file:  # noqa: PTH123
            return file.read(65536).strip()
    except (OSError, ValueError):
        pass
    raise ConfigError(f"the file of {name} in {KWARGS} cannot be read", hint=f"check {name}")


# -- AWS ----------------------------------------------------------------------------------------------

_AWS_VARIABLES = {
    "profile_name": "AWS_PROFILE",
    "role_arn": "ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN",
    "external_id": "ASTRO_TOKEN_AWS_EXTERNAL_ID",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}


def _aws_settings(kwargs: Kwargs, environ: Mapping[str, str], endpoint: str) -> dict[str, str]:
    for name, variable in {**_AWS_VARIABLES, "endpoint_url": endpoint}.items():
        kwargs.variable(name, variable, environ)
    if not kwargs.is_true("verify"):
        kwargs.variable("verify", "AWS_CA_BUNDLE", environ)
    region = kwargs.text("region_name")
    return {"region": region} if region else {}


def _aws_secrets(kind: str, name: str, kwargs: Kwargs, environ: Mapping[str, str]) -> Lookup:
    prefix = kwargs.text(f"{kind}s_prefix", f"airflow/{kind}s")
    separator = kwargs.text("sep", "/") or ""
    matches = _matches(kwargs, kind, name)
    words = kwargs.words("extra_conn_words")
    # Options of older providers. A new one recognises the form itself, and its values are not encoded.
    kwargs.choice("full_url_mode", True, True, False)
    kwargs.choice("are_secret_values_urlencoded", False, False)
    options = _aws_settings(kwargs, environ, "AWS_ENDPOINT_URL_SECRETS_MANAGER")
    if prefix is None or not matches:
        raise _excluded()
    prefix = prefix.rstrip(separator) if prefix and separator else prefix
    path = f"{prefix}{separator}{name}" if prefix else name
    return Lookup((_ref("aws", path, **options),), {}, words, has_aliases=True)


def _parameter_store(kind: str, name: str, kwargs: Kwargs, environ: Mapping[str, str]) -> Lookup:
    prefix = kwargs.text(f"{kind}s_prefix", f"/airflow/{kind}s")
    matches = _matches(kwargs, kind, name)
    options = _aws_settings(kwargs, environ, "AWS_ENDPOINT_URL_SSM")
    if prefix is None or not matches:
        raise _excluded()
    path = f"{prefix.rstrip('/')}/{name}"
    path = path if path.startswith("/") else f"/{path}"
    return Lookup((_ref("aws-ssm", path, **options),), {}, {})


# -- Google Cloud and Azure ---------------------------------------------------------------------------


def _google_secrets(kind: str, name: str, kwargs: Kwargs, environ: Mapping[str, str]) -> Lookup:
    prefix = kwargs.text(f"{kind}s_prefix", f"airflow-{kind}s")
    separator = kwargs.text("sep", "-") or ""
    project = kwargs.text("project_id") or setting(environ, "GOOGLE_CLOUD_PROJECT")
    kwargs.variable("gcp_key_path", "GOOGLE_APPLICATION_CREDENTIALS", environ)
    kwargs.variable("gcp_credential_config_file", "GOOGLE_APPLICATION_CREDENTIALS", environ)
    kwargs.text("gcp_scopes")  # one scope serves all of Google Cloud
    kwargs.variable("impersonation_chain", "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", environ)
    if prefix is None:
        raise _excluded()
    if not project:
        raise ConfigError(
            f"project_id is missing in {KWARGS}", hint="add it, or set GOOGLE_CLOUD_PROJECT to the project"
        )
    return Lookup((_ref("gcp", f"{project}/{prefix}{separator}{name}"),), {}, {})


def _key_vault(kind: str, name: str, kwargs: Kwargs, environ: Mapping[str, str]) -> Lookup:
    prefix = kwargs.text(f"{kind}s_prefix", f"airflow-{kind}s")
    separator = kwargs.text("sep", "-") or ""
    vault = (kwargs.text("vault_url") or "").rstrip("/")
    for argument, variable in {
        "tenant_id": "AZURE_TENANT_ID",
        "client_id": "AZURE_CLIENT_ID",
        "client_secret": "AZURE_CLIENT_SECRET",
        "managed_identity_client_id": "AZURE_CLIENT_ID",
        "workload_identity_tenant_id": "AZURE_TENANT_ID",
    }.items():
        kwargs.variable(argument, variable, environ)
    if prefix is None:
        raise _excluded()
    if not vault:
        raise ConfigError(f"vault_url is missing in {KWARGS}", hint="add the address of the Key Vault")
    prefix = prefix.rstrip(separator) if prefix and separator else prefix
    path = f"{prefix}{separator}{name}" if prefix else name
    path = path.replace("_", separator)
    if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", path):
        raise _excluded()
    return Lookup((_ref("azure", f"{vault}/secrets/{path}"),), {}, {})


_SERVICES: dict[str, Callable[[str, str, Kwargs, Mapping[str, str]], Lookup]] = {
    "airflow.providers.hashicorp.secrets.vault.VaultBackend": _vault,
    "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend": _aws_secrets,
    "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend": (
        _parameter_store
    ),
    "airflow.providers.google.cloud.secrets.secret_manager.CloudSecretManagerBackend": _google_secrets,
    "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend": _key_vault,
}
