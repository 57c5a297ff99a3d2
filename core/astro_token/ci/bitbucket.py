"""Bitbucket Pipelines: the lines of a step's script share a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.formats.rendering import Rendering, Variables
    from astro_token.identity import IdentityRequest, NoIdentity

_NAME = "Bitbucket Pipelines"
_TOKEN = "BITBUCKET_STEP_OIDC_TOKEN"


def identity(environ: Mapping[str, str]) -> IdentityRequest | NoIdentity | None:
    from astro_token.identity import IdentityRequest, NoIdentity
    from astro_token.identity.stored import token_in_variable

    if environ.get(_TOKEN):
        hint = (
            "its audience is always ari:cloud:bitbucket::workspace/UUID: expect that, here and in the service"
        )
        return IdentityRequest(_NAME, lambda *_: token_in_variable(_TOKEN, environ), hint)
    return NoIdentity(_NAME, "give the step `oidc: true`") if environ.get("BITBUCKET_BUILD_NUMBER") else None


def render(variables: Variables) -> Rendering:
    from astro_token.formats.posix import render_for_script

    return render_for_script(variables, "it lasts to the end of this step's script")


SYSTEMS = (
    CISystem(
        _NAME,
        "bitbucket",
        {"BITBUCKET_BUILD_NUMBER": ""},
        precedence=80,
        format="bitbucket",
        formats={"bitbucket": ExportFormat(render, evaluated=True)},
        identity=identity,
        identity_variables=(_TOKEN,),
    ),
)
