"""The identity of a secret: one text for all spellings of its reference."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from astro_token.errors import AstroTokenError
from astro_token.record import replace
from astro_token.secrets.schemes import BUILTIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["identity"]


def identity(ref: SecretRef) -> str:
    """
    Return a text that is the same for all references to one token, as far as they and the environment tell.

    The version is not a part of it. No field means the field `token`.
    """
    field = "" if ref.field in {None, "token"} else ref.field
    return f"{ref.scheme}:{_canonical(ref)}#{field}"


def _canonical(ref: SecretRef) -> str:
    scheme = BUILTIN.get(ref.scheme)
    if scheme is not None and scheme.canonical is not None:
        module, _, name = scheme.canonical.partition(":")
        with suppress(AstroTokenError):  # a setting cannot be used: reading the secret will tell
            return str(getattr(import_module(module), name)(ref))
    return str(replace(ref, field=None, options=dict(sorted(ref.options.items()))))
