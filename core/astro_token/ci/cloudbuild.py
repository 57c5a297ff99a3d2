"""Google Cloud Build: a build has a machine of its own, whose identity is the build's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.identity import IdentityRequest


def identity(environ: Mapping[str, str], system: CISystem | None) -> IdentityRequest | None:
    if system is None:
        return None
    from astro_token.identity.google import metadata_request

    return metadata_request("Google Cloud Build", environ)


SYSTEMS = (
    CISystem(
        "Google Cloud Build",
        "cloudbuild",
        {"BUILDER_OUTPUT": ""},
        precedence=100,
        formats={
            "cloudbuild": ExportFormat(
                Refusal("Google Cloud Build", "its steps share files only", "script: {}")
            )
        },
        identity=identity,
    ),
)
