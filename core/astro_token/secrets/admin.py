"""The reference of the credential that manages tokens. The project file cannot set it."""

from __future__ import annotations

from astro_token.errors import InvalidRefError, with_prefix
from astro_token.secrets.ref import SecretRef
from astro_token.system.variables import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ADMIN_VARIABLE", "admin_ref"]

ADMIN_VARIABLE = "ASTRO_TOKEN_ADMIN_REF"


def admin_ref(environ: Mapping[str, str], given: str | None = None) -> SecretRef | None:
    """
    Parse the reference; None if there is none.

    Args:
        given: as an argument.

    Raises:
        InvalidRefError: it is malformed, a name, or a chain.
    """
    source = ADMIN_VARIABLE if given is None else "--admin"
    text = setting(environ, ADMIN_VARIABLE) if given is None else given
    if not text and given is None:
        return None
    if "," in text:  # otherwise the other references could be read as a part of the name
        raise InvalidRefError(
            f"{source} names one secret, and takes no chain of references",
            hint="give one reference; write a comma that belongs to a name as %2C",
        )
    try:
        return SecretRef.parse(text)
    except InvalidRefError as error:
        failure = with_prefix(error, source)
    raise failure
