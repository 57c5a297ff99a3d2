"""The environment variables of this project, and the search for misspelt ones."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["NAME", "PREFIX", "misspelt_variables", "own_variables"]

PREFIX = "ASTRO_TOKEN_"
NAME = "[A-Za-z0-9_]{1,64}"  # no service uses other names; they may be values by mistake
_LETTERS = 2
_CORE = frozenset(
    PREFIX + name
    for name in (
        "ADMIN_REF",
        "API_URL",
        "BACKEND",
        "CA_BUNDLE",
        "CLI_KEYS",
        "CLI_RELEASES_URL",
        "DECRYPT",
        "FIELD",
        "FILE_FOLDERS",
        "GRACE",
        "NAME",
        "PLAIN_IMPORTS",
        "PLUGINS",
        "PROGRAM_FOLDERS",
        "REF",
        "TIMEOUT",
        "VERSION",
    )
)


def own_variables() -> frozenset[str]:
    """Return every variable of this project. A test compares them with the sources."""
    return frozenset(name for names in _sources() for name in names if name.startswith(PREFIX))


def misspelt_variables(environ: Mapping[str, str], texts: Iterable[str] = ()) -> dict[str, str]:
    """
    Return the unknown `ASTRO_TOKEN_…` variables within two letters of a name of ours, with that name.

    A variable that a reference, an argument or a plugin names is not misspelt.

    Args:
        texts: references and arguments, in addition to those of the environment and the project file.
    """
    unknown = {name for name in environ if name.startswith(PREFIX) and environ[name]}
    for names in _sources():
        if not unknown:  # nearly always after the first
            return {}
        unknown.difference_update(names)
    from astro_token.wording import within

    own = sorted(name.removeprefix(PREFIX) for name in own_variables())
    misspelt = {name: within(_LETTERS, name.removeprefix(PREFIX), own) for name in sorted(unknown)}
    misspelt = {name: meant for name, meant in misspelt.items() if meant}
    if not misspelt:
        return {}
    import re

    named = {word for text in (*texts, *_references(environ)) for word in re.findall(r"[A-Za-z0-9_]+", text)}
    from astro_token.secrets.registry import declared_credentials

    named |= declared_credentials()
    return {
        name: PREFIX + meant
        for name, meant in misspelt.items()
        if meant and name not in named and re.fullmatch(NAME, name)
    }


def _sources() -> Iterator[Iterable[str]]:
    """Yield our names, the cheapest first: each source loads more modules."""
    yield _CORE
    from astro_token.policy.rules import RULES

    yield [rule.variable for rule in RULES.values()]
    from astro_token.ci import identity_variables
    from astro_token.secrets.schemes import BUILTIN

    for scheme in BUILTIN.values():
        yield (*scheme.credentials, *scheme.settings)
    yield identity_variables()


def _references(environ: Mapping[str, str]) -> list[str]:
    from astro_token.errors import AstroTokenError
    from astro_token.settings.project_file import find_project

    texts = [environ.get(PREFIX + name, "") for name in ("REF", "NAME", "DECRYPT", "ADMIN_REF")]
    try:
        tokens = find_project().tokens.values()
    except (AstroTokenError, OSError):  # the command reports it
        return texts
    return [*texts, *(str(ref) for token in tokens for ref in (*token.refs, token.decrypt))]
