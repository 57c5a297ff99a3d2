"""Describe the source of an AWS credential, for `doctor` and for errors."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from astro_token_backends.aws.settings import setting
from astro_token_backends.credential_source import option, printable, printable_path, renewal

__all__ = ["CONTAINER_VARIABLES", "PROFILE_VARIABLES", "describe_source", "source_hint", "unusable_file"]

CONTAINER_VARIABLES = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
PROFILE_VARIABLES = (
    "AWS_PROFILE or AWS_DEFAULT_PROFILE, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, and what they name"
)
_KEYS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    "AWS_CREDENTIAL_EXPIRATION",
)
_WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"
_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
# Of a profile, by botocore's name of the method: the setting that selects it, and its description.
_OF_PROFILES = {
    "shared-credentials-file": ("aws_access_key_id", "keys"),
    "config-file": ("aws_access_key_id", "keys"),
    "assume-role": ("role_arn", "the role"),
    "assume-role-with-web-identity": ("web_identity_token_file", "the web identity"),
    "sso": ("sso_account_id", "SSO"),
    "login": ("login_session", "`aws login`"),
    "custom-process": ("credential_process", "credential_process"),
}
_OTHERS = {
    "iam-role": "the instance's role",
    "ec2-credentials-file": "the file of AWS_CREDENTIAL_FILE",
    "boto-config": "boto's configuration",
    "explicit": "the keys that were given",
}
_HINTS = {
    "env": f"check {', '.join(_KEYS)}",
    "container-role": f"check {', '.join(CONTAINER_VARIABLES)} and AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "iam-role": "check AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "ec2-credentials-file": "check AWS_CREDENTIAL_FILE",
    "boto-config": "check BOTO_CONFIG",
    "explicit": "check the access key, the secret key and the session token",
    "custom-process": f"run credential_process by hand; check {PROFILE_VARIABLES}",
}
# The command of the AWS CLI that renews a profile's session, by a setting of the profile.
_SESSIONS = {
    "sso_session": "aws sso login",
    "sso_start_url": "aws sso login",
    "login_session": "aws login",
}
_OF_SESSIONS = ("sso", "login", "assume-role")


def describe_source(method: str, sdk: Any) -> str:
    """
    Args:
        method: botocore's name of a provider in its chain.
        sdk: the session with that chain.
    """
    if method == "env":
        return ", ".join(filter(setting, _KEYS))
    if method == "assume-role-with-web-identity" and setting(_WEB_IDENTITY):
        return f"the web identity in {printable_path(setting(_WEB_IDENTITY))} ({_WEB_IDENTITY})"
    if method in _OF_PROFILES:
        selector, description = _OF_PROFILES[method]
        profile = sdk.get_config_variable("profile") or "default"
        return f"{description} of the profile {printable(profile)} in {_file_with(sdk, profile, selector)}"
    if method == "container-role":
        return f"the container's role ({next(filter(setting, CONTAINER_VARIABLES), 'ECS')})"
    return _OTHERS.get(method, "a provider of botocore")


def source_hint(method: str, sdk: Any = None) -> str:
    """
    Name the remedy for a source that provides no credential.

    Args:
        sdk: the session, whose profile may have a person's login.
    """
    if sdk is not None and method in _OF_SESSIONS and (command := session_command(sdk)):
        instead = "set AWS_ROLE_ARN to a role for the identity of the job, and no profile"
        return f"{renewal(command, instead, os.environ)}; check {PROFILE_VARIABLES}"
    if method == "assume-role-with-web-identity" and setting(_WEB_IDENTITY):
        return f"check {_WEB_IDENTITY}, AWS_ROLE_ARN and AWS_ROLE_SESSION_NAME"
    return _HINTS.get(method, f"check {PROFILE_VARIABLES}")


def session_command(sdk: Any) -> str | None:
    """Return the command that renews the login of the profile, or of its source profile; None without one."""
    profiles = sdk.full_config.get("profiles", {})
    name = sdk.get_config_variable("profile") or "default"
    seen: list[str] = []
    while name in profiles and name not in seen:
        profile = profiles[name]
        for key, command in _SESSIONS.items():
            if key in profile:
                return command + ("" if name == "default" else option("--profile", name))
        seen.append(name)
        name = profile.get("source_profile")
    return None


def unusable_file() -> str | None:
    """Describe a file of profiles that botocore passes over in silence."""
    for name, default in _FILES.items():
        path = setting(name) or default
        try:
            with open(os.path.expanduser(path), "rb") as file:  # noqa: PTH111, PTH123 (a text)
                file.read(1)
        except FileNotFoundError:
            defect = "does not exist" if setting(name) else ""
        except (OSError, ValueError) as error:
            defect = "is a folder" if isinstance(error, IsADirectoryError) else "cannot be read"
        else:
            continue
        if defect:
            return f"the file that {name} names {defect}" if setting(name) else f"{default} {defect}"
    return None


def _file_with(sdk: Any, profile: str, selector: str) -> str:
    """The file that has this setting for a profile."""
    from botocore.configloader import raw_config_parse
    from botocore.exceptions import BotoCoreError

    keys, config = (str(sdk.get_config_variable(name)) for name in ("credentials_file", "config_file"))
    file = config
    with suppress(BotoCoreError):  # the file does not exist
        file = keys if selector in raw_config_parse(keys).get(profile, {}) else config
    return printable_path(os.path.expanduser(file))  # noqa: PTH111 (a text)
