"""Variables that make the Astro CLI use another server or credential."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.environment.export import DEAD_VARIABLES
from astro_token.policy.deploy_codes import Finding
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["findings"]

# The domains that the CLI accepts as Astro's, except forms with a scheme or a path, on which it fails later.
_ASTRO = re.compile(r"(?:pr[0-9]{4,6}\.)?(?:cloud\.)?astronomer(?:-(?:dev|stage|perf))?\.io")


def findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Examine ASTRO_DOMAIN and the obsolete API keys."""
    domain = environ.get("ASTRO_DOMAIN", "")
    if domain == "localhost":
        yield Finding(
            "local-domain",
            "ASTRO_DOMAIN is localhost: the Astro CLI sends the token over plain http to this machine",
        )
    elif domain and not _ASTRO.fullmatch(domain):
        named = f", {domain}," if is_identifier(domain) else ""
        yield Finding(
            "foreign-domain",
            f"ASTRO_DOMAIN{named} is not a domain of Astro: the Astro CLI does not use the token there",
        )
    dead = sorted(name for name in DEAD_VARIABLES if environ.get(name))
    if dead:
        yield Finding(
            "dead-keys",
            f"{' and '.join(dead)} {'is' if len(dead) == 1 else 'are'} set: "
            "Astro no longer accepts such keys, and the Astro CLI uses them if there is no token",
        )
