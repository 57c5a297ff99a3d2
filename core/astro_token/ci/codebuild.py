"""AWS CodeBuild: the phases of a build share a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat

if TYPE_CHECKING:
    from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    from astro_token.formats.posix import render_for_script

    return render_for_script(variables, "it lasts through all phases if the buildspec says `version: 0.2`")


SYSTEMS = (
    CISystem(
        "AWS CodeBuild",
        "codebuild",
        {"CODEBUILD_BUILD_ARN": ""},
        precedence=90,
        format="codebuild",
        formats={"codebuild": ExportFormat(render, evaluated=True)},
    ),
)
