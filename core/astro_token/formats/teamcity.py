"""
TeamCity: a parameter for the steps after this one, by a service message.

The log shows the message's value unless the parameter is declared as a password.
That cannot be seen from here; that it is declared at all can: each step has it in its environment then.
"""

from __future__ import annotations

import re

from astro_token.errors import OutputError
from astro_token.formats import carry_line
from astro_token.formats.rendering import Rendering, Variables

_ESCAPED = re.compile(r"([|'\[\]])")


def render(variables: Variables) -> Rendering:
    for name in variables.set:
        if name not in variables.environ:
            raise OutputError(
                f"TeamCity would show the value in its log: the parameter env.{name} is not declared",
                hint=f"declare env.{name} with the type password in the build configuration, or use exec",
            )
    # The empty line ends one that an earlier command left open.
    lines = [
        f"##teamcity[setParameter name='env.{name}' value='{_escaped(text)}']\n"
        for name, text in variables.assigned.items()
    ]
    then = f"{' '.join(variables.set)} is set for the steps after this one; the type has to be password"
    return Rendering("\n" + "".join(lines), then=then)


def _escaped(text: str) -> str:
    # Between two `%` would be the name of another parameter.
    return _ESCAPED.sub(r"|\1", carry_line("TeamCity", text, ("%",)))
