"""
From what is in the environment to credentials: the SDK's chain first, then the CI system's identity,
and from there to a further role, if one is named.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, ConfigError
from astro_token_backends import network
from astro_token_backends.aws.source import source_of
from astro_token_backends.credential_source import job_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token_backends.credential_source import JobIdentity

__all__ = ["NO_CREDENTIAL", "Login", "no_credential"]

NO_CREDENTIAL = "there is no AWS credential"

AUDIENCE = "sts.amazonaws.com"
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_TO_LOG_IN = 0.2  # seconds that are left for AWS where the identity took all others


class Login:
    """
    Stands in the place of the chain in a session of botocore, and begins with it.

    Args:
        sdk: the session.
        chain: the SDK's.
        sts: makes a client of STS, signing with credentials, or not at all.
        seconds: how many are left.

    Attributes:
        source: of what was found, for people.
    """

    def __init__(
        self, sdk: Any, chain: Any, sts: Callable[[Any | None], Any], seconds: Callable[[], float]
    ) -> None:
        self.source = ""
        self._sdk = sdk
        self._chain = chain
        self._sts = sts
        self._seconds = seconds

    def load_credentials(self) -> Any | None:
        """
        What botocore asks for. None where there is nothing to log in with.

        A role is not assumed before its credentials are wanted.
        """
        found = self._chain.load_credentials()
        if found is not None:
            self.source = source_of(found, self._sdk)
        else:
            found = self._of_job()
        role = os.environ.get("ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN")
        if found is None or not role:
            return found
        _see_that_it_is_a_role(role, "ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN")
        self.source += f", then the role {role}"

        def assume() -> dict[str, str]:
            answer = self._sts(found).assume_role(
                RoleArn=role, RoleSessionName=_session_name(), **_external_id()
            )
            return _credentials(answer)

        return _when_wanted(assume, "assume-role")

    def _of_job(self) -> Any | None:
        """The role in `AWS_ROLE_ARN`, for a job with an identity of its CI system."""
        role = os.environ.get("AWS_ROLE_ARN")
        if not role:
            return None

        def identity() -> JobIdentity | None:
            audience = os.environ.get("ASTRO_TOKEN_AWS_AUDIENCE") or AUDIENCE
            return job_identity(audience, environ=os.environ, timeout=self._seconds() - _TO_LOG_IN)

        first = identity()
        if first is None:
            return None
        _see_that_it_is_a_role(role, "AWS_ROLE_ARN")
        self.source = f"{first.source}, as the role {role} (AWS_ROLE_ARN)"
        kept = [first]

        def assume() -> dict[str, str]:
            # The first login takes what was got to see whether there is any; a later one needs its own.
            now = kept.pop() if kept else identity()
            if now is None:
                raise AccessDeniedError("the CI system gives no identity any more", hint="log in again")
            answer = self._sts(None).assume_role_with_web_identity(
                RoleArn=role, RoleSessionName=_session_name(), WebIdentityToken=now.token.reveal().decode()
            )
            return _credentials(answer)

        return _when_wanted(assume, "assume-role-with-web-identity")


def no_credential() -> AccessDeniedError:
    """The error where nothing was found, which says what was looked for, and how much of it there is."""
    from astro_token.identity import identity_hint

    container = _state("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    switched_off = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    job = _state("AWS_ROLE_ARN")
    if os.environ.get("AWS_ROLE_ARN"):
        job += f", but there is no such identity; {identity_hint() or 'set ASTRO_TOKEN_ID_TOKEN'}"
    return AccessDeniedError(
        NO_CREDENTIAL,
        hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or in CI AWS_ROLE_ARN; "
        "looked for: "
        f"the environment ({_state('AWS_ACCESS_KEY_ID')}), "
        f"a web identity's file ({_state('AWS_WEB_IDENTITY_TOKEN_FILE')}), "
        f"profiles, SSO and files ({_state('AWS_PROFILE')}: nothing there), "
        f"a container's role ({container}), "
        f"an instance's role ({'AWS_EC2_METADATA_DISABLED is set' if switched_off else 'none'}), "
        f"the CI system's identity ({job})",
    )


def _state(*names: str) -> str:
    for name in names:
        if name in os.environ:
            return f"{name} is {'set' if os.environ[name] else 'empty'}"
    return f"{names[0]} is not set"


def _see_that_it_is_a_role(arn: str, variable: str) -> None:
    if not _ROLE.fullmatch(arn):
        raise ConfigError(f"{variable} holds no role", hint="give arn:aws:iam::ACCOUNT:role/NAME")


def _session_name() -> str:
    name = os.environ.get("AWS_ROLE_SESSION_NAME") or "astro-token"
    if not _SESSION_NAME.fullmatch(name):
        raise ConfigError(
            "AWS_ROLE_SESSION_NAME is no name of a session",
            hint="use 2 to 64 letters, digits and _ + = , . @ -",
        )
    return name


def _external_id() -> dict[str, str]:
    given = os.environ.get("ASTRO_TOKEN_AWS_EXTERNAL_ID")
    if given and not _EXTERNAL_ID.fullmatch(given):
        raise ConfigError(
            "ASTRO_TOKEN_AWS_EXTERNAL_ID is no external id",
            hint="it has 2 to 1224 letters, digits and _ + = , . @ : / -",
        )
    return {"ExternalId": given} if given else {}


def _when_wanted(assume: Callable[[], dict[str, str]], method: str) -> Any:
    from botocore.credentials import DeferredRefreshableCredentials

    return DeferredRefreshableCredentials(assume, method)


def _credentials(answer: Mapping[str, Any]) -> dict[str, str]:
    given = answer.get("Credentials")
    fields = given if isinstance(given, dict) else {}
    key, secret, token = (fields.get(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    ends = fields.get("Expiration")
    if not (key and secret and token and isinstance(ends, datetime)):
        del answer, given, fields, key, secret, token
        raise network.damaged()
    return {
        "access_key": str(key),
        "secret_key": str(secret),
        "token": str(token),
        "expiry_time": ends.isoformat(),
    }
