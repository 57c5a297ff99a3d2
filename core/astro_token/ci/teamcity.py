"""
TeamCity: a service message sets a parameter for the steps after this one.

The log shows the message's value unless the parameter is declared as a password.
The type cannot be seen from here; the declaration can: each step then has it in its environment.
So the format is not the default, and TeamCity gets no annotations: they would be on standard output.
"""

from __future__ import annotations

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat
from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    from astro_token.errors import OutputError

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
    then = f"{variables.names} is set for the steps after this one; its type has to be password"
    return Rendering("\n" + "".join(lines), then=then)


def _escaped(text: str) -> str:
    from astro_token.formats.text import carry_line

    # TeamCity replaces a parameter's name between two `%`.
    text = carry_line("TeamCity", text, ("%",))
    return "".join(f"|{character}" if character in "|'[]" else character for character in text)


SYSTEMS = (
    CISystem(
        "TeamCity",
        "teamcity",
        {"TEAMCITY_VERSION": ""},
        precedence=60,
        formats={"teamcity": ExportFormat(render, exclusive=True, self_masking=True)},
    ),
)
