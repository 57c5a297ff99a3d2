"""Describe the credential that botocore's provider chain resolved."""

from __future__ import annotations

import os
from typing import Any

from astro_token_backends.credential_source import printable, printable_path

__all__ = ["describe_source"]

# Of a profile, by botocore's name of the method: the setting that selects it, and its description.
_OF_PROFILES = {
    "shared-credentials-file": ("aws_access_key_id", "keys"),
    "config-file": ("aws_access_key_id", "keys"),
    "assume-role": ("role_arn", "its role"),
    "assume-role-with-web-identity": ("web_identity_token_file", "its web identity"),
    "sso": ("sso_account_id", "SSO"),
    "login": ("login_session", "the login of aws login"),
    "custom-process": ("credential_process", "its program"),
}
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


def describe_source(credentials: Any, sdk: Any) -> str:
    """
    Args:
        credentials: botocore's.
        sdk: the session that resolved them.
    """
    method = str(credentials.method)
    web_identity = os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if method == "env":
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
        return ", ".join(name for name in names if os.environ.get(name))
    if method == "assume-role-with-web-identity" and web_identity:
        return f"the web identity in {printable_path(web_identity)} (AWS_WEB_IDENTITY_TOKEN_FILE)"
    if method in _OF_PROFILES:
        setting, description = _OF_PROFILES[method]
        profile = sdk.get_config_variable("profile") or "default"
        return f"{description} of the profile {printable(profile)} in {_file_with(sdk, profile, setting)}"
    if method == "container-role":
        return f"the container's role ({next((name for name in _CONTAINER if name in os.environ), 'ECS')})"
    if method == "iam-role":
        return "the instance's role"
    if method == "ec2-credentials-file":
        return "the file of AWS_CREDENTIAL_FILE"
    return "boto's configuration" if method == "boto-config" else "a provider of botocore"


def _file_with(sdk: Any, profile: str, setting: str) -> str:
    """The file that has this setting for a profile."""
    from botocore.configloader import load_config, raw_config_parse
    from botocore.exceptions import BotoCoreError

    keys, config = (sdk.get_config_variable(name) for name in ("credentials_file", "config_file"))
    try:
        has_setting = setting in raw_config_parse(keys).get(profile, {})
        if not has_setting and setting in load_config(config)["profiles"].get(profile, {}):
            keys = config
    except BotoCoreError:  # one of them does not exist
        keys = keys if os.path.exists(os.path.expanduser(keys)) else config  # noqa: PTH110, PTH111 (texts)
    return printable_path(os.path.expanduser(keys))  # noqa: PTH111 (a text)
