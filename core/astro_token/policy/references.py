"""
Patterns of references that policy allows: complete references, or beginnings of them that end with `*`.

References are compared after normalisation: `scheme://name` is `scheme:name`, the order of options does not
matter, and links in a file's path are resolved.
"""

from __future__ import annotations

import os

from astro_token.errors import ConfigError, InvalidRefError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import BUILTIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    Patterns = tuple[tuple[str, ...], ...]  # lists; a reference must match a pattern of each list

__all__ = ["matches", "normalised", "references"]

_ENDS = ("x", "x/x")  # one of them completes the beginning of a name, in the grammar of any scheme


def references(value: object, name: str) -> Patterns:
    """Parse references, separated by commas, each perhaps with `*` at its end."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is not a string", hint='write references, as in "vault:secret/team/*"')
    patterns = tuple(pattern.strip() for pattern in value.split(","))
    for pattern in patterns:
        try:
            ref, _ = _parsed(pattern)
        except InvalidRefError as error:
            complaint, hint = "contains a malformed reference", error.hint
        else:
            if ref.scheme != "file" or os.path.isabs(ref.name):  # noqa: PTH117 (names are text)
                continue
            complaint, hint = "contains a relative path", "write an absolute path after file:"
        raise ConfigError(f"{name} {complaint}", hint=hint)
    return (patterns,)


def _parsed(pattern: str) -> tuple[SecretRef, str]:
    """
    Parse a pattern. Return a reference that it matches, and the text that stands for `*` in it.

    Raises:
        InvalidRefError: it is malformed.
    """
    if not pattern.endswith("*"):
        return SecretRef.parse(pattern), ""
    beginning = pattern[:-1]
    failure = InvalidRefError("* is misplaced", hint="write * at the end of a name, or after # for fields")
    if "?" not in beginning or "#" in beginning:
        for end in _ENDS:
            try:
                return SecretRef.parse(beginning + end), end
            except InvalidRefError as error:
                failure = error
    raise failure


def matches(pattern: str, ref: SecretRef) -> bool:
    """
    True if a pattern allows a reference.

    A `*` after a name covers the end of the name, the version and the field. It does not cover options that
    select another secret of this name, such as a namespace or a region.
    """
    sample, end = _parsed(pattern)
    if not end:
        return normalised(sample) == normalised(ref) and sample.field == ref.field
    if sample.field is not None:
        field = ref.field or ""
        return normalised(sample) == normalised(ref) and field.startswith(sample.field.removesuffix(end))
    name, scheme = sample.name, BUILTIN.get(ref.scheme)
    if sample.scheme == "file":
        name = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))  # noqa: PTH118, PTH119, PTH120
    # `kv` only saves a request.
    covered = {"version"} if scheme is None else {*scheme.pinning_options, "kv"}
    return (
        sample.scheme == ref.scheme
        and _path(ref).startswith(name.removesuffix(end))
        and covered.issuperset(ref.options)
    )


def normalised(ref: SecretRef) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Return what two spellings of a secret have in common. The field is left out."""
    return ref.scheme, _path(ref), tuple(sorted(ref.options.items()))


def _path(ref: SecretRef) -> str:
    return os.path.realpath(ref.name) if ref.scheme == "file" else ref.name
