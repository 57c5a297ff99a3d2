"""Identity tokens of the Google Cloud machine that runs this process, from its metadata server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, result
from astro_token.identity import IdentityRequest, request_token
from astro_token.system.variables import setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["google_identity", "metadata_request"]

_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def google_identity(
    audience: str, *, environ: Mapping[str, str] | None = None, timeout: float
) -> SecretValue:
    """
    Return the token of the machine's service account, for a caller that is configured to use it.

    Raises:
        AstroTokenError: the token cannot be obtained.
    """
    request = metadata_request("Google's metadata server", os.environ if environ is None else environ)
    outcome = request_token(request, audience, timeout)
    del environ, request  # a traceback with them would lead to all the secrets in them
    return result(outcome)


def metadata_request(source: str, environ: Mapping[str, str]) -> IdentityRequest:
    def fetch(audience: str | None, seconds: float) -> SecretValue:
        from astro_token.identity.request import requested_token

        if audience is None:
            raise ConfigError(f"{source} gives identity tokens for an audience only", hint="name one")
        host = setting(environ, "GCE_METADATA_HOST") or "metadata.google.internal"
        return requested_token(
            source,
            "GCE_METADATA_HOST",
            f"http://{host}{_PATH}",
            environ,
            seconds,
            query={"audience": audience, "format": "full"},
            headers={"Metadata-Flavor": "Google"},
            hint="use a service account of your own that may create identity tokens for itself "
            "(iam.serviceAccounts.getOpenIdToken)",
        )

    return IdentityRequest(source, fetch, of_machine=True)
