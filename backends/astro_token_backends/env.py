"""An environment variable: `env:VARIABLE`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.errors import SecretNotFoundError
from astro_token.secret import SecretValue

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["Environment"]


class Environment:
    """
    Reads an environment variable, so that a laptop and a CI variable go through the same checks as a backend.

    Credentials: none. Permissions: none.
    Reference: `env:ASTRO_API_TOKEN`.
    A variable that is set to nothing counts as missing: so CI systems set a secret that they could not get.
    """

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:  # noqa: ARG002 (nothing here can wait)
        value = os.environ.get(ref.name)
        if not value:
            raise SecretNotFoundError(
                f"{ref}: the variable is not set, or is empty",
                hint="set it, or name another one; in a CI system see that the secret is given to this job",
            )
        return SecretValue(value.encode("utf-8", errors="surrogateescape"))
