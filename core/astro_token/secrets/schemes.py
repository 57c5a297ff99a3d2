"""
Schemes: the grammar, settings and requirements of each backend, readable without its SDK.

Each backend defines its `Scheme` records in `SCHEMES`, in the `__init__.py` of its folder or in its module.
`astro_token_backends` lists them; it is loaded by name, so that the core does not import backends.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = ["BUILTIN", "RESERVED", "Scheme", "credential_variables"]


class Scheme(Record):
    """
    Description of one scheme.

    The grammar of a name is that of the service, so that no name reaches a path that it does not spell out.

    Attributes:
        backend: factory, as `module:attribute`.
        description: short, for people.
        form: form of a name, for people.
        example: complete reference.
        grammar: regular expressions; a name must match one of them completely, as a reference writes it.
        encoded: regular expression; a character that it matches is percent-encoded in a reference.
            `%`, `?` and `#` always are.
        options: for each option, a regular expression that its value must match completely.
            A name that ends with "." stands for every name that begins with it.
        version_option: option that `ASTRO_TOKEN_VERSION` sets.
        pinning_options: options that select one version.
        pins: regular expression; a name that contains it selects one version.
        canonical: function, as `module:attribute`, that returns the same text for all references to one
            secret, as far as they and the environment tell; None if there is one spelling.
        rotation_suffix: added to the name of a secret for the record of its rotations; None without records.
        added_end: regular expression whose first group is a name without an end that the service adds to it.
        key: True if references name keys of a key service. They take no field.
        opaque: True if the backend does not send the name as a path to a service.
            It may contain empty segments and an encoded slash.
        local: True if secrets are on this machine. Names may contain `..` and empty segments,
            and reading cannot hang, so that it needs no thread.
        extra: extra that installs the SDK, or None.
        sdk: module of the SDK; the extra is installed if it can be found.
        distributions: distributions whose versions `doctor` shows; the one that the extra is for comes first.
        loggers: loggers of the SDK, which print secrets or responses and are silenced.
        credentials: environment variables that hold a credential, or name a file or a folder with one,
            a profile or a service that gives one. `exec` withholds them.
        further_credentials: lists those that depend on the environment.
        settings: other environment variables that the backend reads. `doctor` recognises their misspellings.
        prefixes: beginnings of the variables that `doctor` lists.
    """

    backend: str
    description: str
    form: str
    example: str
    grammar: tuple[str, ...]
    encoded: str = ""
    options: Mapping[str, str] = MappingProxyType({})
    version_option: str | None = None
    pinning_options: tuple[str, ...] = ()
    pins: str | None = None
    canonical: str | None = None
    rotation_suffix: str | None = None
    added_end: str | None = None
    key: bool = False
    opaque: bool = False
    local: bool = False
    extra: str | None = None
    sdk: str | None = None
    distributions: tuple[str, ...] = ()
    loggers: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    further_credentials: Callable[[Mapping[str, str]], Collection[str]] | None = None
    settings: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class _Builtin(Mapping[str, Scheme]):
    """Built-in schemes by name. A record is loaded when it is first read."""

    def __init__(self, package: str) -> None:
        self._module_of = {
            scheme: f"{package}.{module}"
            for module, schemes in import_module(package).MODULES.items()
            for scheme in schemes
        }
        self._loaded: dict[str, Scheme] = {}

    def __getitem__(self, name: str) -> Scheme:
        if name not in self._loaded:
            self._loaded |= import_module(self._module_of[name]).SCHEMES
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._module_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._module_of)

    def __len__(self) -> int:
        return len(self._module_of)


BUILTIN: Mapping[str, Scheme] = _Builtin("astro_token_backends")

# Plugins may not serve these: a scheme that changes hands would hand over secrets.
RESERVED = frozenset(BUILTIN)


def credential_variables(environ: Mapping[str, str] = MappingProxyType({})) -> frozenset[str]:
    """Return the variables that built-in backends and CI systems use as credentials, whether used or not."""
    from astro_token.ci import identity_variables

    schemes = BUILTIN.values()
    further = (each.further_credentials(environ) for each in schemes if each.further_credentials)
    return identity_variables().union(*(each.credentials for each in schemes), *further)
