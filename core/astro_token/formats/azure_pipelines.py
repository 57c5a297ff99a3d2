"""
Azure Pipelines: a secret variable for the steps after this one, by a logging command.

The agent reads commands from standard output and standard error, and keeps them out of the log.
It takes no secret of several lines; whether it decodes a `%` is a setting; and it replaces `$(name)`.
"""

from __future__ import annotations

from astro_token.formats import carry_line
from astro_token.formats.hiding import hidden
from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    lines = [
        f"##vso[task.setvariable variable={name};issecret=true]{_carried(text)}\n"
        for name, text in variables.set.items()
    ]
    lines += [
        f"##vso[task.setvariable variable={name}]{_carried(text)}\n"
        for name, text in variables.public.items()
    ]
    mapped = "; ".join(f"{name}: $({name})" for name in variables.set)
    then = f"a secret variable is in no step's environment by itself: write `env: {mapped}` there"
    return Rendering("".join(lines), then=then)


def masks(values: tuple[str, ...]) -> Rendering:
    """The commands that make the agent hide values; of one with several lines, each line."""
    lines = [text.replace("%", "%AZP25") for text in hidden(values) if not {"\r", "\n"} & set(text)]
    return Rendering("".join(f"##vso[task.setsecret]{line}\n" for line in lines), "log")


def _carried(text: str) -> str:
    return carry_line("the Azure Pipelines agent", text, ("%", "$("))
