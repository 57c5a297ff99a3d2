"""
A chain: references for one token, which are tried in order.

    ref = ["keyring:astro/prod", "vault:secret/astro/prod#token"]       in the project file
    ASTRO_TOKEN_REF=keyring:astro/prod,vault:secret/astro/prod#token    as text

In the text a comma that belongs to a name is written as %2C.
"""

from __future__ import annotations

from astro_token.errors import InvalidRefError
from astro_token.policy.references import normalised
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import BUILTIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_CHAIN", "check_chain", "parse_chain"]

MAX_CHAIN = 8
_COMMA = "write a comma that belongs to a name as %2C"


def parse_chain(text: str) -> tuple[SecretRef, ...]:
    """
    Parse references that are separated by commas.

    Raises:
        InvalidRefError: a reference is malformed, or as `check_chain`. The message does not repeat the text.
    """
    refs = []
    for number, part in enumerate(map(str.strip, text.split(",")), 1):
        if ":" not in part:
            complaint = "is not a reference" if part else "is empty"
            raise InvalidRefError(f"reference {number} of the chain {complaint}", hint=_COMMA)
        try:
            refs.append(SecretRef.parse(part))
            continue
        except InvalidRefError as error:
            failure = InvalidRefError(f"reference {number} of the chain: {error.message}", hint=error.hint)
        raise failure
    check_chain(refs)
    return tuple(refs)


def check_chain(refs: Sequence[SecretRef]) -> None:
    """
    Raises:
        InvalidRefError: the chain is empty or too long, repeats a reference, or names a key.
    """
    if not refs:
        raise InvalidRefError("the chain is empty", hint="list at least one reference")
    if len(refs) > MAX_CHAIN:
        raise InvalidRefError(f"the chain has more than {MAX_CHAIN} references", hint="remove some of them")
    earlier: dict[object, int] = {}
    for number, ref in enumerate(refs, 1):
        if ref.scheme in BUILTIN and BUILTIN[ref.scheme].key:
            raise InvalidRefError(
                f"reference {number} of the chain names a key, and a chain names secrets",
                hint="name the key with --decrypt, ASTRO_TOKEN_DECRYPT, or decrypt in the project file",
            )
        first = earlier.setdefault((*normalised(ref), ref.field), number)
        if first != number:
            raise InvalidRefError(
                f"reference {number} of the chain repeats reference {first}", hint="remove one of them"
            )
