"""The settings of a login, and the environment that botocore reads."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError
from astro_token.record import Record
from astro_token.system.variables import secret_setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astro_token.secret import SecretValue

__all__ = [
    "Options",
    "assumed_role",
    "checked_role",
    "external_id",
    "job_role",
    "sdk_environment",
    "session_name",
    "setting",
]

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)


class Options(Record):
    """
    Settings of a session, in place of the environment's. An empty one is taken from the environment.

    Attributes:
        keys: the access key, the secret key, and the session token if there is one.
        role: to assume after the login, or with the identity in the token file.
        role_arguments: further arguments of that call.
        token_file: with a web identity for the role.
        endpoint: of the service itself.
        sts_endpoint: of the token service.
        ca_bundle: the file with the CA of the service itself.
    """

    profile: str = ""
    keys: tuple[SecretValue, ...] = ()
    role: str = ""
    role_arguments: Mapping[str, Any] = MappingProxyType({})
    token_file: str = ""
    endpoint: str = ""
    sts_endpoint: str = ""
    ca_bundle: str = ""


def setting(name: str) -> str:
    """A variable without a line end at its end; empty if it is unset."""
    return secret_setting(os.environ, name)


@contextmanager
def sdk_environment() -> Iterator[None]:
    """
    Let botocore read variables without a line end at their end, and empty ones as unset.

    SSLKEYLOGFILE is hidden: botocore opens that file with each client, even if that never connects.
    """
    originals = {}
    for name, value in os.environ.copy().items():
        is_read = name.startswith("AWS_") or name == "REQUESTS_CA_BUNDLE"
        if name == "SSLKEYLOGFILE" or (is_read and value != (setting(name) or None)):
            originals[name] = os.environ.pop(name)
            if name != "SSLKEYLOGFILE" and (text := secret_setting(originals, name)):
                os.environ[name] = text
    try:
        yield
    finally:
        os.environ.update(originals)


def job_role() -> str:
    """The role for a job with an identity of its CI system; empty if none is set."""
    return checked_role(setting("AWS_ROLE_ARN"), "AWS_ROLE_ARN")


def assumed_role() -> str:
    """The role to assume after the login; empty if none is set."""
    name = "ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN"
    return checked_role(setting(name), name)


def session_name() -> str:
    hint = "use 2 to 64 letters, digits and _ + = , . @ -"
    variable = "AWS_ROLE_SESSION_NAME"
    name = _matching(_SESSION_NAME, setting(variable), variable, "the name of a session", hint)
    return name or "astro-token"


def external_id() -> dict[str, str]:
    """The argument of AssumeRole, if there is one."""
    hint = "use 2 to 1224 letters, digits and _ + = , . @ : / -"
    name = "ASTRO_TOKEN_AWS_EXTERNAL_ID"
    value = _matching(_EXTERNAL_ID, setting(name), name, "an external id", hint)
    return {"ExternalId": value} if value else {}


def checked_role(value: str, name: str) -> str:
    """
    Return the ARN of a role, or an empty text.

    Raises:
        ConfigError: it is neither. The name of its setting is shown.
    """
    return _matching(_ROLE, value, name, "the ARN of a role", "use arn:aws:iam::ACCOUNT:role/NAME")


def _matching(pattern: re.Pattern[str], value: str, name: str, kind: str, hint: str) -> str:
    if value and not pattern.fullmatch(value):
        raise ConfigError(f"{name} is not {kind}", hint=hint)
    return value
