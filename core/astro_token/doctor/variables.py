"""Report the environment variables that affect this program, by name only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.secrets.registry import plugins
from astro_token.secrets.schemes import BUILTIN
from astro_token.settings.variables import NAME, PREFIX, misspelt_variables, own_variables
from astro_token.wording import closest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astro_token.doctor.report import Report
    from astro_token.secrets.ref import SecretRef

__all__ = ["check_variables"]

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
_UNUSED_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def check_variables(report: Report, environ: Mapping[str, str], refs: Iterable[SecretRef]) -> None:
    """
    Report the variables that are set, and warn about misspelt ones.

    Args:
        refs: those of the secret and of the key. The variables of their services are included.
    """
    refs = tuple(refs)
    rows = [BUILTIN[ref.scheme] for ref in refs if ref.scheme in BUILTIN]
    prefixes = (PREFIX, *(prefix for row in rows for prefix in row.prefixes))
    present = sorted(
        name
        for name, value in environ.items()
        if value and re.fullmatch(NAME, name) and (name in _SHARED or name.startswith(prefixes))
    )
    if present:
        report.add("variables", "ok", ", ".join(present))
    else:
        report.add("variables", "none", "no variable that matters here is set")
    unused = [name for name in _UNUSED_PROXIES if environ.get(name)]
    if unused and not any(environ.get(name) for name in ("HTTPS_PROXY", "https_proxy")):
        are = "is" if len(unused) == 1 else "are"
        report.add(
            "variables",
            "warning",
            f"{', '.join(unused)} {are} not used for https",
            "set HTTPS_PROXY, if services are reached through a proxy",
        )
    for problem in plugins().problems:
        report.add("variables", "warning", problem.message, problem.hint)
    misspelt = misspelt_variables(environ, map(str, refs))
    of_service = {name for row in rows for name in (*row.credentials, *row.settings)} - own_variables()
    for name in present:
        meant = misspelt.get(name)
        if not name.startswith(PREFIX) and name not in of_service:
            meant = closest(name, sorted(of_service), alike=0.9)
            meant = None if meant and environ.get(meant) else meant
        if meant:
            report.add("variables", "warning", f"{name} is unknown", f"rename it, if {meant} is meant")
