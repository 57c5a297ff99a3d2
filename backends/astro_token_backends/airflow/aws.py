"""Airflow's backends for Secrets Manager and Parameter Store of AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError
from astro_token.system.variables import path_setting, setting
from astro_token.transport.address import checked_address
from astro_token_backends.airflow.lookup import Lookup
from astro_token_backends.aws.settings import Options, checked_role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue
    from astro_token_backends.airflow.lookup import Question
    from astro_token_backends.airflow.settings import Kwargs

__all__ = ["ROLE_ARGUMENTS", "parameter_store", "secrets_manager"]

ROLE_ARGUMENTS = (
    *("RoleSessionName", "ExternalId", "DurationSeconds", "Policy", "PolicyArns"),
    *("Tags", "TransitiveTagKeys", "SourceIdentity"),
)
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_METHODS = ("assume_role", "assume_role_with_web_identity")
_TOKEN_FILE = "assume_role_with_web_identity_token_file"
# Of botocore's requests, which are ours.
_NO_DIFFERENCE = (
    *("connect_timeout", "read_timeout", "retries", "max_pool_connections", "tcp_keepalive"),
    *("user_agent", "user_agent_extra", "user_agent_appid"),
)
# Those of a connection that may have further names.
_FIELDS = ("user", "login", "password", "host", "port", "schema", "conn_type", "extra")
# In messages about a profile.
_ARGUMENTS = {"AWS_PROFILE or AWS_DEFAULT_PROFILE": "profile_name"}


def secrets_manager(question: Question) -> Lookup:
    kwargs = question.kwargs
    prefix = question.prefix("airflow/{}")
    separator = kwargs.text("sep", "/") or ""
    matches = question.matches()
    words = kwargs.words("extra_conn_words", *_FIELDS)
    # Options of older providers. A new one recognises the form itself, and its values are not encoded.
    kwargs.choice("full_url_mode", True, True, False)
    kwargs.choice("are_secret_values_urlencoded", False, False)
    region, options = _login(question, "SecretsManagerBackend", "2017-10-17")
    kwargs.finish()
    question.check_team("--")
    if prefix is None or not matches:
        raise question.excluded()
    prefix = prefix.rstrip(separator) if prefix and separator else prefix
    path = f"{prefix}{separator}{question.name}" if prefix else question.name
    ref = question.ref("aws", path, **region)
    return Lookup((ref,), aws=options, arguments=_ARGUMENTS, words=words, has_aliases=True)


def parameter_store(question: Question) -> Lookup:
    prefix = question.prefix("/airflow/{}")
    matches = question.matches()
    region, options = _login(question, "SystemsManagerParameterStoreBackend", "2014-11-06")
    question.kwargs.finish()
    question.check_team("--")
    if prefix is None or not matches:
        raise question.excluded()
    path = f"{prefix.rstrip('/')}/{question.name}"
    ref = question.ref("aws-ssm", path if path.startswith("/") else f"/{path}", **region)
    return Lookup((ref,), aws=options, arguments=_ARGUMENTS)


def _login(question: Question, name: str, api_version: str) -> tuple[dict[str, str], Options | None]:
    """
    Return the region as an option of the reference, and the login; None for that of the environment.

    Args:
        name: of Airflow's class. The session of an assumed role has it.
    """
    kwargs, environ = question.kwargs, question.environ
    # boto3 does not read AWS_REGION, so that it comes last.
    region = kwargs.text("region_name") or setting(environ, "AWS_DEFAULT_REGION")
    kwargs.choice("api_version", None, None, api_version)
    kwargs.choice("use_ssl", None, None, True)
    kwargs.object("config_kwargs", *_NO_DIFFERENCE)
    profile, keys = kwargs.text("profile_name") or "", _keys(kwargs)
    endpoint = _address(kwargs.text("endpoint_url"), "endpoint_url")
    services = kwargs.object("service_config", "sts")
    sts = services.get("sts") or {}
    if not isinstance(sts, dict) or sts.keys() - {"endpoint_url"}:
        raise kwargs.wrong("service_config", 'of the form {"sts": {"endpoint_url": "…"}}')
    options = Options(
        profile=profile,
        keys=keys,
        endpoint=endpoint,
        sts_endpoint=_address(sts.get("endpoint_url"), "endpoint_url of service_config"),
        ca_bundle=kwargs.ca_file(),
        **_role(kwargs, environ, f"airflow_{name.lower()}__connection"),
    )
    return {"region": region} if region else {}, options if options != Options() else None


def _role(kwargs: Kwargs, environ: Mapping[str, str], session: str) -> dict[str, Any]:
    """Return the options for a role, as Airflow names its session."""
    name = "role_arn"
    role = checked_role(kwargs.text(name) or "", f"{name} in {kwargs.variable}")
    method = kwargs.choice("assume_role_method", _METHODS[0], *_METHODS)
    more = kwargs.object("assume_role_kwargs", *ROLE_ARGUMENTS)
    kwargs.choice("assume_role_with_web_identity_federation", None, None, "file")
    file = kwargs.text(_TOKEN_FILE) or path_setting(environ, "AWS_WEB_IDENTITY_TOKEN_FILE")
    if not role:
        return {}
    if method == _METHODS[0]:
        return {"role": role, "role_arguments": {"RoleSessionName": session, **more}}
    if not file:
        raise kwargs.missing(_TOKEN_FILE, "add it, or set AWS_WEB_IDENTITY_TOKEN_FILE")
    return {"role": role, "role_arguments": more, "token_file": file}


def _keys(kwargs: Kwargs) -> tuple[SecretValue, ...]:
    given = {name: kwargs.secret(name) for name in _KEYS}
    older = kwargs.keys_of("session_kwargs", *_KEYS)
    if not all(given[name] for name in _KEYS[:2]) and all(older[name] for name in _KEYS[:2]):
        given |= {name: older[name] for name in _KEYS[:2]}
    access, secret, token = given[_KEYS[0]], given[_KEYS[1]], given[_KEYS[2]] or older[_KEYS[2]]
    if access and secret:
        return (access, secret, token) if token else (access, secret)
    if access or secret or token:
        raise ConfigError(
            f"{kwargs.variable} has only a part of the keys of AWS",
            hint=f"add {_KEYS[0]} and {_KEYS[1]}, or remove the others",
        )
    return ()


def _address(url: object, name: str) -> str:
    if not isinstance(url, str) or not url:
        return ""
    checked_address(url, name)
    return url.strip()
