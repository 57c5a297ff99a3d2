"""The credential that manages tokens. The project file cannot name it, because anyone may write that file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.secrets.ref import SecretRef, refuse_token
from astro_token.secrets.registry import check_scheme

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ADMIN_VARIABLE", "admin_reference"]

ADMIN_VARIABLE = "ASTRO_TOKEN_ADMIN_REF"


def admin_reference(given: str | None, environ: Mapping[str, str]) -> SecretRef:
    """
    Return the reference of the credential that manages tokens.

    Args:
        given: the value of `--admin`; it precedes the variable.

    Raises:
        ConfigError: neither names it.
        InvalidRefError: it is not a reference.
        UnknownBackendError: no backend serves its scheme.
    """
    text = given if given is not None else environ.get(ADMIN_VARIABLE)
    if not text:
        raise ConfigError(
            "the credential that manages tokens is not named",
            hint=f"give --admin REF, or set {ADMIN_VARIABLE}, for example to vault:secret/astro/admin#token",
        )
    refuse_token(text)
    ref = SecretRef.parse(text)
    check_scheme(ref.scheme)
    return ref
