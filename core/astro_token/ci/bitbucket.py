"""Bitbucket Pipelines: the lines of a step's script share a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import script_format
from astro_token.identity import IdentityRequest, NoIdentity
from astro_token.system.variables import secret_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "Bitbucket Pipelines"
_TOKEN = "BITBUCKET_STEP_OIDC_TOKEN"


def identity(environ: Mapping[str, str], system: CISystem | None) -> IdentityRequest | NoIdentity | None:
    from astro_token.identity.stored import token_in_variable

    if secret_setting(environ, _TOKEN):
        hint = (
            "its audience is always ari:cloud:bitbucket::workspace/UUID: expect that, here and in the service"
        )
        return IdentityRequest(_NAME, lambda *_: token_in_variable(_TOKEN, environ), hint, is_stored=True)
    return NoIdentity(_NAME, "give the step `oidc: true`") if system else None


SYSTEMS = (
    CISystem(
        _NAME,
        "bitbucket",
        {"BITBUCKET_BUILD_NUMBER": ""},
        precedence=80,
        format="bitbucket",
        formats={"bitbucket": script_format("it lasts to the end of this step's script")},
        identity=identity,
        identity_variables=(_TOKEN,),
    ),
)
