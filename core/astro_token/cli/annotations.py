"""
Findings as messages for people, and as entries in the CI system's own list of errors and warnings.

An entry is a command in the log. Only the systems that document it have one.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from astro_token.ci import ci_system
from astro_token.ci.system import harmless, say
from astro_token.cli.output import line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astro_token.cli.remarks import Remark

__all__ = ["annotation", "tell"]


def tell(remarks: Iterable[Remark]) -> None:
    """Show remarks to people, and to the CI system if it has a list for them."""
    for remark in remarks:
        line(remark.level, remark.line)
        if remark.hint:
            line("hint", remark.hint)
        command = None if sys.stderr.isatty() else annotation(remark, os.environ)
        if command is not None:
            say(command)


def annotation(remark: Remark, environ: Mapping[str, str]) -> str | None:
    """Return the command for a remark; None if the CI system takes none."""
    system = ci_system(environ)
    if system is None or system.annotate is None:
        return None
    return system.annotate(
        remark.level, remark.code or "", harmless(remark.line), harmless(remark.hint or "")
    )
