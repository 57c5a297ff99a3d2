"""
Replace a secret by `***` in a child's output, in any encoding.

`forms` lists the encodings, `Filter` finds them in an output that arrives in pieces,
and `outputs.Outputs`, on POSIX systems, connects a child to our own standard output and error.
"""

from __future__ import annotations

from astro_token.masker.filter import MASK, Filter
from astro_token.masker.forms import forms

__all__ = ["MASK", "Filter", "forms"]
