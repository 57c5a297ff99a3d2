"""The token, the Astro CLI, and Astro."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.doctor.way import reached
from astro_token.errors import AstroTokenError, bare
from astro_token.policy.rules import enforce, moment
from astro_token.tokens.read import judged
from astro_token.transport.deadline import Deadline
from astro_token.transport.network import public_tls_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astro_token.doctor.link import Chain
    from astro_token.policy.rules import Verdict
    from astro_token.secret import SecretValue
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken

__all__ = ["api", "program", "token"]


def token(
    chain: Chain, settings: TokenSettings | None, value: SecretValue | None
) -> tuple[AstroToken, tuple[Verdict, ...]] | None:
    """What the value is, and whether policy and the project's expectations allow it."""
    if settings is None or value is None:
        chain.leave("token", "policy", why="there is no value")
        return None

    def look() -> tuple[tuple[AstroToken, tuple[Verdict, ...]], str]:
        found, verdicts = judged(settings, value)
        return (found, verdicts), _shown(found)

    outcome = chain.look("token", look)
    if outcome is None:
        chain.leave("policy", why="there is no token")
        return None
    _say(chain, "policy", outcome[1], "policy and expectations allow it")
    return outcome


def _shown(found: AstroToken) -> str:
    ends = f"expires at {moment(found.expires)}" if found.expires else "never expires"
    left = found.expires - datetime.now(UTC) if found.expires else None
    days = f", in {left.days} days" if left is not None and left.days > 0 else ""
    names = [
        f"{kind} {name}"
        for kind in ("organization", "workspace", "deployment")
        if (name := getattr(found, kind))
    ]
    named = f"id {found.token_id}, " if found.token_id else ""
    return f"{named}of {', '.join(names) or 'nothing that we know'}; {ends}{days}"


def _say(chain: Chain, name: str, verdicts: Iterable[Verdict], good: str) -> None:
    """A link for each verdict, or one for none."""
    said = False
    for verdict in verdicts:
        said = True
        words = f"{verdict.code}: {verdict.message}"
        if verdict.level == "warning":
            chain.add(name, "warning", words, verdict.hint)
            continue
        try:
            enforce((verdict,))
        except AstroTokenError as error:
            chain.fail(name, type(error)(words, hint=verdict.hint))
    if not said:
        chain.add(name, "ok", good)


def program(
    chain: Chain, environ: Mapping[str, str], settings: TokenSettings | None, found: AstroToken | None
) -> None:
    """
    The `astro` on PATH. What is wrong with it is a warning: what else needs the token may need no CLI.

    A project's file that cannot be read is not said again.
    """
    from astro_token.deploy.destination import destination_of
    from astro_token.deploy.programs import examine_astro
    from astro_token.settings.project_file import find_project

    folder = lock = None
    with suppress(AstroTokenError, OSError):  # also if the working folder was removed
        folder = Path.cwd()
        lock = find_project(folder).astro_cli
    destinations = [destination_of(str(settings.ref), found, settings.expected)] if settings else []
    cli = examine_astro(folder, environ, lock, destinations)
    for finding in cli.findings:
        chain.add("astro", "warning", f"{finding.code}: {finding.message}", finding.hint)
    if not cli.findings:
        chain.add("astro", "ok", f"{cli.version}, {cli.path}")


class _Once(Deadline):
    """One attempt at each question: a person waits, and wants to know what is so now."""

    retry = Deadline.once


def api(
    chain: Chain,
    settings: TokenSettings | None,
    outcome: tuple[AstroToken, tuple[Verdict, ...]] | None,
    environ: Mapping[str, str],
    seconds: float,
) -> None:
    """
    Astro's API: whether it is reached, and where there is a token, what it says of that.

    Args:
        seconds: for each of both.
    """
    from urllib.parse import urlsplit

    from astro_token.astro_api import AstroApi
    from astro_token.astro_api.address import api_address

    def look() -> tuple[bool, str]:
        url = api_address(environ)
        address = urlsplit(url)
        how = reached(address, public_tls_context(environ), environ, _Once(seconds), to="Astro's API")
        return True, f"{url} {how}"

    if settings is None or outcome is None:
        if chain.look("api", look):
            chain.leave("api", why="without a token Astro is not asked")
        return
    if not chain.look("api", look):
        return
    from astro_token.tokens.online import consult

    found, offline = outcome
    with AstroApi(environ) as opened:
        seen = consult(found, offline, settings, opened, _Once(seconds))
    if seen.error is not None:
        chain.fail("api", bare(seen.error))
    known = {verdict.code for verdict in offline}
    new = [verdict for verdict in seen.verdicts if verdict.code not in known]
    requests = ", ".join(f"{one.what} {one.status} {one.request_id or '-'}" for one in seen.asked)
    if seen.error is None or new:
        _say(chain, "api", new, f"Astro accepts the token (requests: {requests})")
