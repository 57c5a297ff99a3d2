"""Jenkins, whose builds often start jobs of other systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat, Refusal
from astro_token.identity import NoIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

_REASON = "variables that a step sets in env are not masked and reach all stages"


def identity(_: Mapping[str, str], system: CISystem | None) -> NoIdentity | None:
    hint = "bind a token of the OpenID Connect Provider plugin to ASTRO_TOKEN_ID_TOKEN by withCredentials"
    return NoIdentity("Jenkins", hint) if system else None


SYSTEMS = (
    CISystem(
        "Jenkins",
        "jenkins",
        {"JENKINS_URL": "", "BUILD_ID": ""},
        precedence=900,
        formats={"jenkins": ExportFormat(Refusal("Jenkins", _REASON, "sh '{}'"))},
        identity=identity,
    ),
)
