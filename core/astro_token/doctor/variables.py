"""Environment variables that affect this program, by name only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.ci import identity_variables
from astro_token.policy.rules import RULES
from astro_token.secrets.schemes import BUILTIN
from astro_token.wording import closest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from astro_token.doctor.report import Report

__all__ = ["look", "own_variables"]

_PREFIX = "ASTRO_TOKEN_"
_CORE = frozenset(
    _PREFIX + name
    for name in (
        "API_URL",
        "BACKEND",
        "CA_BUNDLE",
        "CLI_KEYS",
        "CLI_RELEASES_URL",
        "DECRYPT",
        "FIELD",
        "NAME",
        "PLAIN_IMPORTS",
        "PLUGINS",
        "PROGRAM_FOLDERS",
        "REF",
        "TIMEOUT",
        "VERSION",
    )
).union(rule.variable for rule in RULES.values())
_OF_ALL = (
    "ASTRO_API_TOKEN",
    "ASTRO_DOMAIN",
    "ASTRO_HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")  # any other name is nobody's, and may be a value by mistake


def own_variables() -> frozenset[str]:
    """Every variable of this project. A test compares them with the sources."""
    declared = [name for scheme in BUILTIN.values() for name in (*scheme.credentials, *scheme.settings)]
    return _CORE.union(name for name in (*declared, *identity_variables()) if name.startswith(_PREFIX))


def look(report: Report, environ: Mapping[str, str], schemes: Iterable[str]) -> None:
    """
    Report the variables that are set, and warn about misspelt ones.

    Args:
        schemes: of the secret and of the key; the variables of their services count.
    """
    rows = [BUILTIN[scheme] for scheme in schemes if scheme in BUILTIN]
    prefixes = (_PREFIX, *(prefix for row in rows for prefix in row.prefixes))
    names = sorted(name for name, value in environ.items() if value and _NAME.fullmatch(name))
    present = [name for name in names if name in _OF_ALL or name.startswith(prefixes)]
    if present:
        report.add("variables", "ok", ", ".join(present))
    else:
        report.add("variables", "none", "no variable that matters here is set")
    own = own_variables()
    of_service = {name for row in rows for name in (*row.credentials, *row.settings)} - own
    for name in present:
        ours = name.startswith(_PREFIX)
        meant = _meant(name, own, 0.85) if ours else _meant(name, of_service, 0.9)
        if meant and (ours or not environ.get(meant)):
            report.add(
                "variables",
                "warning",
                f"{name} is unknown",
                f"rename it, if {meant} is meant",
            )


def _meant(name: str, known: Collection[str], alike: float) -> str | None:
    """Return the variable that a name misspells, or None if the name is known or resembles none."""
    return None if name in known else closest(name, sorted(known), alike=alike)
