"""Drone, and the systems that come from it: Harness CI, Woodpecker."""

from __future__ import annotations

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat, Refusal

_FILES = "its steps share files only"


SYSTEMS = (
    CISystem(
        "Harness CI",
        "drone",
        {"HARNESS_BUILD_ID": ""},
        precedence=70,
        formats={
            "harness": ExportFormat(
                Refusal("Harness CI", "its outputs are shown in clear text", "command: {}")
            )
        },
    ),
    CISystem(
        "Woodpecker",
        "drone",
        {"CI": "woodpecker"},
        precedence=70,
        formats={"woodpecker": ExportFormat(Refusal("Woodpecker", _FILES, "commands: [{}]"))},
    ),
    CISystem("Woodpecker", "drone", {"CI_SYSTEM_NAME": "woodpecker"}, precedence=70),
    CISystem(
        "Drone",
        "drone",
        {"DRONE": "true"},
        precedence=70,
        formats={"drone": ExportFormat(Refusal("Drone", _FILES, "commands: [{}]"))},
    ),
)
