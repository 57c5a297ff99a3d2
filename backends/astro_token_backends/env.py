"""Environment variables: `env:VARIABLE`."""

from __future__ import annotations

import os

from astro_token.errors import SecretNotFoundError
from astro_token.secret import SecretValue
from astro_token.secrets.schemes import Scheme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["SCHEMES", "Environment"]

SCHEMES = {
    "env": Scheme(
        backend="astro_token_backends.env:Environment",
        description="an environment variable",
        form="VARIABLE",
        example="env:ASTRO_API_TOKEN",
        grammar=(r"(?!\d)(?:\w|%(?!3D)[0-9A-F]{2}){1,255}",),
        encoded=r"[^A-Za-z0-9_]",
        local=True,
    )
}


class Environment:
    """
    Backend that reads an environment variable, so that its token passes the same checks as any other.

    Credentials: none. Permissions: none.
    Reference: `env:ASTRO_API_TOKEN`.
    An empty variable counts as missing: CI systems set it when they cannot provide a secret.
    """

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:  # noqa: ARG002 (reading does not wait)
        value = os.environ.get(ref.name)
        if not value:
            raise SecretNotFoundError(
                f"{ref}: the variable is not set, or is empty",
                hint="set it, or name another one; in a CI system make the secret available to this job",
            )
        return SecretValue(value.encode("utf-8", errors="surrogateescape"))
