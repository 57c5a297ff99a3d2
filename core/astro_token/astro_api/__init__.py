"""
The Astro API v1, as far as it is asked here: by whom, where, how often, and what is believed of its answers.

    address ──> client ──> records
    from the    one GET    what is needed of a body, each part of it
    environment each call  a word that Astro documents, a time, or an identifier

Nothing else of an answer gets any further: no name, no message.
"""

from __future__ import annotations

from astro_token.astro_api.client import Answer, AstroApi

__all__ = ["Answer", "AstroApi"]
