"""The roles and names that a login takes from the environment."""

from __future__ import annotations

import os
import re

from astro_token.errors import ConfigError

__all__ = ["assumed_role", "audience", "external_id", "job_role", "session_name"]

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)


def job_role() -> str:
    """The role for a job with an identity of its CI system."""
    return _role("AWS_ROLE_ARN")


def assumed_role() -> str | None:
    """The role to assume after the login."""
    name = "ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN"
    return _role(name) if os.environ.get(name) else None


def audience() -> str:
    return os.environ.get("ASTRO_TOKEN_AWS_AUDIENCE") or "sts.amazonaws.com"


def session_name() -> str:
    name = os.environ.get("AWS_ROLE_SESSION_NAME") or "astro-token"
    if not _SESSION_NAME.fullmatch(name):
        raise ConfigError(
            "AWS_ROLE_SESSION_NAME is not the name of a session",
            hint="use 2 to 64 letters, digits and _ + = , . @ -",
        )
    return name


def external_id() -> dict[str, str]:
    """The argument of AssumeRole, if there is one."""
    value = os.environ.get("ASTRO_TOKEN_AWS_EXTERNAL_ID")
    if value and not _EXTERNAL_ID.fullmatch(value):
        raise ConfigError(
            "ASTRO_TOKEN_AWS_EXTERNAL_ID is not an external id",
            hint="use 2 to 1224 letters, digits and _ + = , . @ : / -",
        )
    return {"ExternalId": value} if value else {}


def _role(variable: str) -> str:
    arn = os.environ.get(variable, "")
    if not _ROLE.fullmatch(arn):
        raise ConfigError(f"{variable} is not the ARN of a role", hint="use arn:aws:iam::ACCOUNT:role/NAME")
    return arn
