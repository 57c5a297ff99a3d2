"""Tekton, which sets no variables of its own, so it is never detected."""

from __future__ import annotations

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat, Refusal

SYSTEMS = (
    CISystem(
        "Tekton",
        "tekton",
        {},
        formats={
            "tekton": ExportFormat(Refusal("Tekton", "its results are stored in clear text", "script: {}"))
        },
    ),
)
