"""Report the environment variables that affect this program, by name only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.ci import identity_variables
from astro_token.policy.rules import RULES
from astro_token.secrets.schemes import BUILTIN
from astro_token.wording import closest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astro_token.doctor.report import Report

__all__ = ["check_variables", "own_variables"]

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
        "FILE_FOLDERS",
        "NAME",
        "PLAIN_IMPORTS",
        "PLUGINS",
        "PROGRAM_FOLDERS",
        "REF",
        "TIMEOUT",
        "VERSION",
    )
).union(rule.variable for rule in RULES.values())
_SHARED = (
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
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")  # no service uses other names; they may be values by mistake


def own_variables() -> frozenset[str]:
    """Return every variable of this project. A test compares them with the sources."""
    declared = [name for scheme in BUILTIN.values() for name in (*scheme.credentials, *scheme.settings)]
    return _CORE.union(name for name in (*declared, *identity_variables()) if name.startswith(_PREFIX))


def check_variables(report: Report, environ: Mapping[str, str], schemes: Iterable[str]) -> None:
    """
    Report the variables that are set, and warn about misspelt ones.

    Args:
        schemes: the schemes of the secret and of the key, whose variables are included.
    """
    rows = [BUILTIN[scheme] for scheme in schemes if scheme in BUILTIN]
    prefixes = (_PREFIX, *(prefix for row in rows for prefix in row.prefixes))
    present = sorted(
        name
        for name, value in environ.items()
        if value and _NAME.fullmatch(name) and (name in _SHARED or name.startswith(prefixes))
    )
    if present:
        report.add("variables", "ok", ", ".join(present))
    else:
        report.add("variables", "none", "no variable that matters here is set")
    own = own_variables()
    of_service = {name for row in rows for name in (*row.credentials, *row.settings)} - own
    for name in present:
        is_own = name.startswith(_PREFIX)
        names = own if is_own else of_service
        meant = None if name in names else closest(name, sorted(names), alike=0.85 if is_own else 0.9)
        if meant and (is_own or not environ.get(meant)):
            report.add("variables", "warning", f"{name} is unknown", f"rename it, if {meant} is meant")
