"""Airflow's backend for Vault."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, NoCredentialError
from astro_token.secret import SecretValue
from astro_token.system.files import read_credential
from astro_token.system.variables import secret_setting, setting
from astro_token_backends.airflow.aws import ROLE_ARGUMENTS
from astro_token_backends.airflow.lookup import Lookup
from astro_token_backends.aws.settings import Options, checked_role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token_backends.airflow.lookup import Question
    from astro_token_backends.airflow.settings import Kwargs

__all__ = ["vault"]

# By `auth_type`: our method, the variable of each argument, and the arguments without which Airflow fails.
_LOGINS: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "token": ("token", {"token": "VAULT_TOKEN"}, ()),
    "approle": ("approle", {"role_id": "VAULT_ROLE_ID", "secret_id": "VAULT_SECRET_ID"}, ("role_id",)),
    "kubernetes": (
        "kubernetes",
        {
            "kubernetes_role": "ASTRO_TOKEN_VAULT_ROLE",
            "kubernetes_jwt_path": "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
        },
        ("kubernetes_role",),
    ),
    "jwt": (
        "jwt",
        {"jwt_role": "ASTRO_TOKEN_VAULT_ROLE", "jwt_token": "ASTRO_TOKEN_ID_TOKEN"},
        ("jwt_role", "jwt_token"),
    ),
    "userpass": ("userpass", {"username": "VAULT_USERNAME", "password": "VAULT_PASSWORD"}, ()),
    "ldap": ("ldap", {"username": "VAULT_USERNAME", "password": "VAULT_PASSWORD"}, ()),
    # AWS keys are not variables of Vault: see `_aws_login`.
    "aws_iam": ("aws", {"role_id": "ASTRO_TOKEN_VAULT_ROLE", "region": "AWS_REGION"}, ("role_id",)),
    "gcp": (
        "gcp",
        {"role_id": "ASTRO_TOKEN_VAULT_ROLE", "gcp_key_path": "GOOGLE_APPLICATION_CREDENTIALS"},
        ("role_id",),
    ),
}
_NOT_POSSIBLE = {
    "azure": "Airflow does not log in with it: it would replace the configuration of the method",
    "radius": "Airflow does not log in with it: it would replace the configuration of the method",
    "github": "a job cannot log in with the GitHub token of a person",
}
# Airflow reads none of these. Those that the arguments do not replace are empty.
_NOT_READ = (
    *("VAULT_TOKEN", "VAULT_ROLE_ID", "VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID"),
    *("VAULT_USERNAME", "VAULT_PASSWORD", "VAULT_NAMESPACE", "ASTRO_TOKEN_ID_TOKEN"),
    *("ASTRO_TOKEN_VAULT_ROLE", "ASTRO_TOKEN_VAULT_MOUNT", "ASTRO_TOKEN_VAULT_AUDIENCE"),
    "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
)
_FOR_ALL = {
    "url": "VAULT_ADDR",
    "namespace": "VAULT_NAMESPACE",
    "auth_mount_point": "ASTRO_TOKEN_VAULT_MOUNT",
}


def vault(question: Question) -> Lookup:
    kwargs, key = question.kwargs, question.name
    bases = _bases(question)
    mount = kwargs.text("mount_point", "secret")
    version = kwargs.choice("kv_engine_version", 2, 1, 2)
    has_teams = kwargs.choice("use_team_secrets_path", True, True, False)
    login = _login(kwargs, question.environ)
    if not mount:
        mount, slash, key = key.partition("/")
        if not slash:
            raise question.excluded()
    if has_teams:
        question.check_team("/", key)
    if not bases:
        raise question.excluded()
    kv = {} if "/" in mount.strip("/") else {"kv": str(version)}
    paths = [f"{mount}/{base}/{key}" if base else f"{mount}/{key}" for base in bases]
    refs = tuple(question.ref("vault", path, **kv) for path in paths)
    return Lookup(refs, *login, is_vault=True)


def _bases(question: Question) -> list[str]:
    """Return the paths, which are tried in order."""
    kwargs, kind = question.kwargs, f"{question.kind}s"
    for other in ("connections", "variables", "config"):
        if other != kind:
            kwargs.texts(f"{other}_path")
    bases = [base.rstrip("/") for base in kwargs.texts(f"{kind}_path", kind)]
    common = kwargs.text("global_secrets_path")
    return bases if common is None else [*bases, common.rstrip("/")]


def _login(
    kwargs: Kwargs, environ: Mapping[str, str]
) -> tuple[dict[str, str], Options | None, dict[str, str]]:
    """Return the variables of the login, its keys of AWS, and the argument of each variable."""
    of_logins = {name for _, names, _ in _LOGINS.values() for name in names}
    named = sorted(of_logins | _FOR_ALL.keys() | {"token_path", "jwt_token_path"})
    texts = {name: kwargs.text(name) or "" for name in named}
    from_url = bool(texts["url"]) or not setting(environ, "VAULT_ADDR")
    given = {"url": from_url, "token": texts["token"] or texts["token_path"]}
    key_file = kwargs.object("gcp_keyfile_dict")
    aws = _aws_login(kwargs, texts["secret_id"])
    verify, certificate = kwargs.ca_file(), kwargs.texts("cert")
    _take_the_rest(kwargs)

    method, names, required = _method(kwargs)
    kwargs.finish()  # a misspelled argument is named before one that is missing
    if method == "token":
        texts["token"] = _token(kwargs, texts, environ)
    elif method == "jwt" and not texts["jwt_token"]:  # Airflow prefers the file of a token, but not of a JWT
        texts["jwt_token"] = _content(kwargs, "jwt_token_path", texts["jwt_token_path"])
    elif method == "gcp" and key_file:
        from astro_token_backends.airflow.gcp import key_text

        if texts["gcp_key_path"]:
            raise kwargs.wrong("gcp_keyfile_dict", "the only key: there is gcp_key_path")
        texts["gcp_key_path"] = key_text(key_file)
    for name in required:
        if not texts[name]:
            raise kwargs.missing(name, f"this auth_type needs it: {method}")
    variables = _FOR_ALL | names
    overlay = dict.fromkeys(_NOT_READ, "") | {"ASTRO_TOKEN_VAULT_AUTH": method}
    overlay |= {variable: texts[name] for name, variable in variables.items() if texts[name]}
    overlay |= dict(zip(("VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY"), certificate, strict=False))
    arguments = {variable: name for name, variable in variables.items() if given.get(name, name)}
    if certificate:
        arguments["VAULT_CLIENT_CERT or VAULT_CLIENT_KEY"] = "cert"
    if verify:
        overlay["VAULT_CACERT"], arguments["VAULT_CACERT"] = verify, "verify"
    return overlay, aws if method == "aws" else None, arguments


def _method(kwargs: Kwargs) -> tuple[str, dict[str, str], tuple[str, ...]]:
    name = kwargs.text("auth_type", "token") or ""
    if name in _LOGINS:
        return _LOGINS[name]
    why = f"{_NOT_POSSIBLE[name]}; " if name in _NOT_POSSIBLE else ""
    raise ConfigError(
        f"auth_type in {kwargs.variable} is not a login that is understood",
        hint=f"{why}use one of {', '.join(_LOGINS)}",
    )


def _token(kwargs: Kwargs, texts: Mapping[str, str], environ: Mapping[str, str]) -> str:
    if path := texts["token_path"]:
        return _content(kwargs, "token_path", path)
    if token := texts["token"] or secret_setting(environ, "VAULT_TOKEN"):
        return token
    raise NoCredentialError(
        f"no usable credential for Vault: {kwargs.variable} has no token",
        hint="add token or token_path, or set VAULT_TOKEN",
    )


def _aws_login(kwargs: Kwargs, secret: str) -> Options | None:
    """Return the login of `aws_iam`; None for that of the environment."""
    access = kwargs.secret("key_id")
    more = kwargs.object("assume_role_kwargs", "RoleArn", *ROLE_ARGUMENTS)
    if access and secret:
        return Options(keys=(access, SecretValue(secret.encode())))
    name = f"RoleArn of assume_role_kwargs in {kwargs.variable}"
    role = checked_role(str(more.get("RoleArn", "")), name)
    return Options(role=role, role_arguments={**more}) if role else None


def _take_the_rest(kwargs: Kwargs) -> None:
    """Take what makes no difference: arguments of other logins, and of hvac's own requests."""
    for name in ("gcp_scopes", "azure_tenant_id", "azure_resource", "radius_host", "radius_secret"):
        kwargs.text(name)
    kwargs.number("radius_port")
    kwargs.number("timeout")
    kwargs.choice("allow_redirects", None, None, True, False)


def _content(kwargs: Kwargs, name: str, path: str) -> str:
    text = ""
    with suppress(OSError, ValueError):
        text = read_credential(path).decode().strip()
    if text:
        return text
    raise ConfigError(
        f"the file of {name} in {kwargs.variable} cannot be read, or is empty", hint=f"check {name}"
    )
