"""Drone, and the systems that come from it: Harness CI, Woodpecker."""

from __future__ import annotations

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat, Refusal

_FILES = "its steps share files only"


def _format(name: str, reason: str, line: str) -> ExportFormat:
    return ExportFormat(Refusal(name, reason, line))


SYSTEMS = (
    CISystem(
        "Harness CI",
        "drone",
        {"HARNESS_BUILD_ID": ""},
        precedence=70,
        formats={"harness": _format("Harness CI", "its outputs are shown in plain text", "command: {}")},
    ),
    CISystem(
        "Woodpecker",
        "drone",
        {"CI": "woodpecker"},
        precedence=70,
        formats={"woodpecker": _format("Woodpecker", _FILES, "commands: [{}]")},
    ),
    CISystem("Woodpecker", "drone", {"CI_SYSTEM_NAME": "woodpecker"}, precedence=70),
    CISystem(
        "Drone",
        "drone",
        {"DRONE": "true"},
        precedence=70,
        formats={"drone": _format("Drone", _FILES, "commands: [{}]")},
    ),
)
