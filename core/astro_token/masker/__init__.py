"""
Keeps a secret out of what a child prints: `***` in its place, whatever the form it is in.

`forms` says what is looked for, `Filter` finds it in an output that comes in pieces,
and `outputs.Outputs`, for POSIX systems, stands between a child and our own standard output and error.
"""

from __future__ import annotations

from astro_token.masker.filter import MASK, Filter
from astro_token.masker.forms import forms

__all__ = ["MASK", "Filter", "forms"]
