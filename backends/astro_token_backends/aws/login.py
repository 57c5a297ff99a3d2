"""Credentials: botocore's chain, else the CI system's identity, and from there a further role."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, ConfigError
from astro_token.system.files import read_credential
from astro_token_backends.aws.credential_source import describe_source
from astro_token_backends.aws.errors import damaged
from astro_token_backends.aws.settings import (
    Options,
    assumed_role,
    external_id,
    job_role,
    session_name,
    setting,
)
from astro_token_backends.credential_source import job_identity, printable_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secret import SecretValue
    from astro_token_backends.credential_source import JobIdentity

__all__ = ["Login"]

_AUDIENCE = "ASTRO_TOKEN_AWS_AUDIENCE"
_SECONDS_FOR_AWS = 0.2  # if the identity took all others


class Login:
    """
    Replacement of the credential chain in a session of botocore. It tries that chain first.

    Args:
        sdk: the session.
        chain: the session's own credential chain.
        sts: creates a client of STS. The client signs with the given credentials; with None it does not sign.
        seconds: returns the seconds that are left.
        options: of the session.

    Attributes:
        source: the origin of the credential, for people.
    """

    def __init__(
        self,
        sdk: Any,
        chain: Any,
        sts: Callable[[Any | None], Any],
        seconds: Callable[[], float],
        options: Options,
    ) -> None:
        self.source = ""
        self._sdk = sdk
        self._chain = chain
        self._sts = sts
        self._seconds = seconds
        self._options = options

    def load_credentials(self) -> Any | None:
        """
        Return the credentials for botocore; None if there is nothing to log in with.

        A role is not assumed before its credentials are used.
        """
        options = self._options
        if options.token_file:
            return self._of_file(options.token_file)
        credentials = _given(options.keys) if options.keys else self._chain.load_credentials()
        if credentials is not None:
            self.source = describe_source(str(credentials.method), self._sdk)
        else:
            credentials = self._of_job()
        role = (options.role or assumed_role()) if credentials is not None else ""
        if not role:
            return credentials
        self.source += f", then the role {role}"
        arguments = {"RoleSessionName": session_name()}
        arguments |= options.role_arguments if options.role else external_id()

        def assume() -> dict[str, str]:
            return _credentials(self._sts(credentials).assume_role(**arguments, RoleArn=role))

        return _deferred(assume, "assume-role")

    def _of_file(self, path: str) -> Any:
        """The credentials of the options' role, for the web identity in a file, which may be replaced."""
        role, arguments = self._options.role, self._options.role_arguments
        self.source = f"the web identity in {printable_path(path)}, as the role {role}"

        def assume() -> dict[str, str]:
            identity = _identity_in(path)
            named = {"RoleSessionName": session_name(), **arguments}
            return _credentials(
                self._sts(None).assume_role_with_web_identity(
                    **named, RoleArn=role, WebIdentityToken=identity
                )
            )

        return _deferred(assume, "assume-role-with-web-identity")

    def _of_job(self) -> Any | None:
        """The credentials of the role in `AWS_ROLE_ARN`, for a job with an identity of its CI system."""
        if not setting("AWS_ROLE_ARN"):
            return None

        def identity() -> JobIdentity | None:
            seconds = self._seconds() - _SECONDS_FOR_AWS
            return job_identity(_AUDIENCE, "sts.amazonaws.com", environ=os.environ, timeout=seconds)

        first = identity()
        if first is None:
            return None
        role = job_role()
        self.source = f"{first.source}, as the role {role} (AWS_ROLE_ARN)"
        unused = [first]

        def assume() -> dict[str, str]:
            # Each login needs an identity of its own.
            current = unused.pop() if unused else identity()
            if current is None:
                raise AccessDeniedError("the CI system no longer provides an identity", hint="log in again")
            return _credentials(
                self._sts(None).assume_role_with_web_identity(
                    RoleArn=role,
                    RoleSessionName=session_name(),
                    WebIdentityToken=current.token.reveal().decode(),
                )
            )

        return _deferred(assume, "assume-role-with-web-identity")


def _identity_in(path: str) -> str:
    try:
        text = read_credential(path).decode().strip()
    except (OSError, ValueError):
        text = ""
    if text:
        return text
    raise ConfigError(
        f"the file of the web identity cannot be read, or is empty: {printable_path(path)}",
        hint="check assume_role_with_web_identity_token_file or AWS_WEB_IDENTITY_TOKEN_FILE",
    )


def _given(keys: tuple[SecretValue, ...]) -> Any:
    from botocore.credentials import Credentials

    return Credentials(*(key.reveal().decode() for key in keys), method="explicit")


def _deferred(assume: Callable[[], dict[str, str]], method: str) -> Any:
    from botocore.credentials import DeferredRefreshableCredentials

    return DeferredRefreshableCredentials(assume, method)


def _credentials(response: Any) -> dict[str, str]:
    content = response.get("Credentials")
    fields = content if isinstance(content, dict) else {}
    key, secret, token = (fields.get(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    expiry = fields.get("Expiration")
    if not (key and secret and token and isinstance(expiry, datetime)):
        del response, content, fields, key, secret, token
        raise damaged()
    return {
        "access_key": str(key),
        "secret_key": str(secret),
        "token": str(token),
        "expiry_time": expiry.isoformat(),
    }
