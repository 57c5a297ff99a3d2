"""Names of Python distributions."""

from __future__ import annotations

import re

__all__ = ["normalized"]


def normalized(name: str) -> str:
    """Return the name that all spellings of a distribution's name share (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
