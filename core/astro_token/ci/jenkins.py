"""Jenkins, whose builds often start jobs of other systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat, Refusal
from astro_token.identity import NoIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKS = {"JENKINS_URL": "", "BUILD_ID": ""}
_REASON = "variables that a step sets in env are not masked and reach all stages"


def identity(environ: Mapping[str, str]) -> NoIdentity | None:
    if not all(map(environ.get, _MARKS)):
        return None
    hint = "bind a token of the OpenID Connect Provider plugin to ASTRO_TOKEN_ID_TOKEN by withCredentials"
    return NoIdentity("Jenkins", hint)


SYSTEMS = (
    CISystem(
        "Jenkins",
        "jenkins",
        _MARKS,
        precedence=900,
        formats={"jenkins": ExportFormat(Refusal("Jenkins", _REASON, "sh '{}'"))},
        identity=identity,
    ),
)
