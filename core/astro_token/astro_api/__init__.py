"""
Client of the Astro API v1.

    address ──> client ──> records
    from the    one GET    the fields that are needed: documented words, times and identifiers
    environment per call

Nothing else of a response is passed on: no name, no message.
"""

from __future__ import annotations

from astro_token.astro_api.client import ApiResponse, AstroApi

__all__ = ["ApiResponse", "AstroApi"]
