"""The settings of a login, and the environment that botocore reads."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.system.variables import secret_setting

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "assumed_role",
    "external_id",
    "job_role",
    "sdk_environment",
    "session_name",
    "setting",
]

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)


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
    return _role("AWS_ROLE_ARN")


def assumed_role() -> str:
    """The role to assume after the login; empty if none is set."""
    return _role("ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN")


def session_name() -> str:
    hint = "use 2 to 64 letters, digits and _ + = , . @ -"
    name = _matching(_SESSION_NAME, "AWS_ROLE_SESSION_NAME", "the name of a session", hint)
    return name or "astro-token"


def external_id() -> dict[str, str]:
    """The argument of AssumeRole, if there is one."""
    hint = "use 2 to 1224 letters, digits and _ + = , . @ : / -"
    value = _matching(_EXTERNAL_ID, "ASTRO_TOKEN_AWS_EXTERNAL_ID", "an external id", hint)
    return {"ExternalId": value} if value else {}


def _role(name: str) -> str:
    return _matching(_ROLE, name, "the ARN of a role", "use arn:aws:iam::ACCOUNT:role/NAME")


def _matching(pattern: re.Pattern[str], name: str, kind: str, hint: str) -> str:
    value = setting(name)
    if value and not pattern.fullmatch(value):
        raise ConfigError(f"{name} is not {kind}", hint=hint)
    return value
