"""Titles of tokens: the text of the project, and the unique part that a rotation adds."""

from __future__ import annotations

import re

__all__ = ["title_base"]

_UNIQUE_PART = re.compile(r"~[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def title_base(title: str) -> str:
    """Return the title without the unique part."""
    base, tilde, unique = title.rpartition("~")
    return base if _UNIQUE_PART.fullmatch(tilde + unique) else title
