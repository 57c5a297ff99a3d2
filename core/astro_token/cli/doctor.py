"""`doctor`: each link of the chain with its state and its mend."""

from __future__ import annotations

import platform
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from astro_token.cli.output import harmless, print_json, report
from astro_token.doctor import examine
from astro_token.system.programs import settle_platform
from astro_token.version import __version__

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.doctor import Chain, Link
    from astro_token.settings.resolve import TokenSettings


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    settings, chain = examine(arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout)
    if arguments.format == "json":
        print_json(_document(settings, chain))
    else:
        for link in chain.links:
            _show(link)
    failed = list(dict.fromkeys(link.name for link in chain.links if link.state == "failed"))
    if failed:
        what = "a link does" if len(failed) == 1 else f"{len(failed)} links do"
        report(
            f"{what} not hold: {', '.join(failed)}",
            "mend the first one, and look again",
            chain.exit_code,
        )
    return chain.exit_code


def _show(link: Link) -> None:
    """Lines for people: folded at a terminal, and nowhere else, because they are there to be searched too."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    head = f"{link.state:13}{link.name:16}"
    lines = [harmless(link.found), *([f"hint: {harmless(link.hint)}"] if link.hint else [])]
    for line in lines:
        folded = textwrap.wrap(line, width - len(head), break_on_hyphens=False) if width > 60 else [line]  # noqa: PLR2004
        for piece in folded or [""]:
            print(f"{head}{piece}".rstrip())
            head = " " * len(head)


def _document(settings: TokenSettings | None, chain: Chain) -> dict[str, Any]:
    settle_platform()
    return {
        "astro_token": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "name": settings.name if settings else None,
        "ref": str(settings.ref) if settings else None,
        "decrypt": str(settings.decrypt) if settings and settings.decrypt else None,
        "exit_code": chain.exit_code,
        "links": [_link(link) for link in chain.links],
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "link": link.name,
        "state": link.state,
        "found": link.found,
        "hint": link.hint,
        "exit_code": link.exit_code,
    }
