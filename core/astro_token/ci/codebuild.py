"""AWS CodeBuild: the phases of a build share a shell."""

from __future__ import annotations

from astro_token.ci.system import CISystem
from astro_token.formats import script_format

SYSTEMS = (
    CISystem(
        "AWS CodeBuild",
        "codebuild",
        {"CODEBUILD_BUILD_ARN": ""},
        precedence=90,
        format="codebuild",
        formats={
            "codebuild": script_format("it lasts through all phases if the buildspec says `version: 0.2`")
        },
    ),
)
