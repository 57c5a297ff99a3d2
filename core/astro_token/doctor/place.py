"""Where we are: the settings, the CI system, and the identity that it gives the job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci import ci_systems, in_ci
from astro_token.ci.identity import job_identities
from astro_token.identity import NoIdentity
from astro_token.settings.project_file import find_project
from astro_token.settings.resolve import FALLBACK, TokenSettings, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.doctor.link import Chain

__all__ = ["ci", "identity", "settings"]


def settings(
    chain: Chain, token: str | None, *, decrypt: str | None, timeout: float | None, environ: Mapping[str, str]
) -> TokenSettings | None:
    def look() -> tuple[TokenSettings, str]:
        found = resolve(token, decrypt=decrypt, timeout=timeout, environ=environ)
        said = [
            f"{found.name}: {found.ref}" if found.name else str(found.ref),
            _source(token, found, environ),
        ]
        if found.decrypt:
            said.append(f"decrypted with {found.decrypt}")
        return found, ", ".join(said)

    return chain.look("settings", look)


def _source(token: str | None, found: TokenSettings, environ: Mapping[str, str]) -> str:
    if token is not None:
        by = "the command line"
    elif environ.get("ASTRO_TOKEN_REF"):
        by = "ASTRO_TOKEN_REF"
    elif environ.get("ASTRO_TOKEN_BACKEND"):
        by = "ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME"
    elif found.name:
        by = "the default"
    else:
        by = "nothing but its being set" if found.ref == FALLBACK else "the settings"
    file = find_project(Path.cwd()).path
    if file is None:
        return f"named by {by}; there is no project's file here"
    return f"named by {by}; the project's file is {file}"


def ci(chain: Chain, environ: Mapping[str, str]) -> None:
    systems = ci_systems(environ)
    if systems:
        shown = [system.description for system in systems]
        chain.add("ci", "ok", "; inside of it ".join(shown))
    elif in_ci(environ):
        chain.add("ci", "ok", "one that we do not know, by CI")
    else:
        chain.add("ci", "none", "this is no CI system")


def identity(chain: Chain, environ: Mapping[str, str]) -> None:
    """What could be exchanged for a credential. It is not asked for before a login needs it."""
    identities = job_identities(environ)
    if not identities:
        chain.add("identity", "none", "no CI system gives this process an identity")
    for each in identities:
        if isinstance(each, NoIdentity):
            chain.add("identity", "none", f"{each.source} gives this job none", each.hint)
        else:
            chain.add("identity", "ok", f"of {each.source}")
