"""
The summary that a CI system shows with a job, if it has one for Markdown.

Neither its file nor its program may be in the checkout: the check leaves no trace there, and runs no program
of it.
A summary that cannot be written is a warning: the check has its own outcome.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.ci import ci_system
from astro_token.errors import AstroTokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["add"]


def add(text: str, status: str, environ: Mapping[str, str]) -> None:
    """
    Add Markdown to the job's summary, and say so; do nothing if there is none.

    Args:
        status: the worst: ok, warning, failed.
    """
    from astro_token.cli.output import line, note

    system = ci_system(environ)
    if system is None or system.add_summary is None:
        return
    data = text.encode(errors="replace")
    try:
        destination = system.add_summary(data, status, environ)
    except AstroTokenError as error:
        line("warning", f"the job's summary was not written: {error.message}")
        # The hint of a format offers exec instead, which writes no summary.
        hint = (error.hint or "").removesuffix(", or use exec")
        line("hint", hint or "see the result on standard output")
    except OSError as error:
        line("warning", f"the job's summary was not written: {os.strerror(error.errno or 5).lower()}")
        line("hint", "check that its file can be written, and that the disk has space left")
    else:
        if destination:
            note(f"added {len(data)} bytes of Markdown to {destination}")
