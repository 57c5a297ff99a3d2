"""Variables that lead the Astro CLI astray."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.environment.export import DEAD_VARIABLES
from astro_token.policy.deploy_codes import Fact
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["facts"]

# What the CLI takes for a domain of Astro's, but for forms with a scheme or a path, which it then fails on.
_ASTRO = re.compile(r"(?:pr[0-9]{4,6}\.)?(?:cloud\.)?astronomer(?:-(?:dev|stage|perf))?\.io")


def facts(environ: Mapping[str, str]) -> Iterator[Fact]:
    domain = environ.get("ASTRO_DOMAIN", "")
    shown = f", {domain}," if IDENTIFIER.fullmatch(domain) else ""
    if domain == "localhost":
        yield Fact(
            "local-domain",
            "ASTRO_DOMAIN is localhost: the Astro CLI sends the token over plain http to this machine",
            "unset it, unless this is a test",
        )
    elif domain and not _ASTRO.fullmatch(domain):
        yield Fact(
            "foreign-domain",
            f"ASTRO_DOMAIN{shown} is no domain of Astro's: the Astro CLI does not use the token there",
            "unset it, or set it to astronomer.io, without a scheme and a path",
        )
    dead = sorted(name for name in DEAD_VARIABLES if environ.get(name))
    if dead:
        yield Fact(
            "dead-keys",
            f"{' and '.join(dead)} {'is' if len(dead) == 1 else 'are'} set, which Astro no longer takes "
            "and the Astro CLI prefers to no token",
            "take them out of the job, and revoke them where they are still listed",
        )
