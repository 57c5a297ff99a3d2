"""Travis CI."""

from __future__ import annotations

from astro_token.ci.system import CISystem

SYSTEMS = (CISystem("Travis CI", "travis", {"TRAVIS": "true"}, precedence=110, terminal=True),)
