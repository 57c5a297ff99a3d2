"""The page of environment variables."""

from __future__ import annotations

import tomllib
from pathlib import Path

from astro_token.policy.rules import PREFIX, RULES
from astro_token.record import Record
from astro_token.secrets.admin import ADMIN_VARIABLE
from astro_token.secrets.schemes import credential_variables
from reference import markdown
from reference.markdown import code, table

__all__ = ["Group", "groups", "page"]

_FILE = Path(__file__).with_name("variables.toml")
_NOTE = "note"


class Group(Record):
    """
    Variables with one subject.

    Attributes:
        variables: descriptions by name.
    """

    title: str
    note: str
    variables: dict[str, str]


def groups() -> list[Group]:
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    result = [
        Group(title, entries.get(_NOTE, ""), {name: text for name, text in entries.items() if name != _NOTE})
        for title, entries in content.items()
    ]
    policy = {rule.variable: f"{_upwards(rule.doc)}: `{_example(rule.example)}`" for rule in RULES.values()}
    note = f"Each sets a floor, which the [project file](project-file.md#policy) can only tighten. An unknown variable with `{PREFIX}` in front is an error."
    return [*result[:2], Group("Policy", note, policy), *result[2:]]


def _example(text: str) -> str:
    """Write a value of TOML as the text of a variable."""
    if text.startswith("{"):
        return text.strip("{ }").replace('"', "").replace(" = ", "=")
    return text.strip('"')


def _upwards(text: str) -> str:
    return text.replace("](", "](../")


def page() -> str:
    withheld = {*credential_variables(), ADMIN_VARIABLE}
    blocks = [
        "# Environment variables",
        (
            "Every variable that `astro-token` reads, withholds or warns about, with those that the SDKs read. An empty variable counts as unset, and a\n"
            "line end at the end of a value is ignored. A misspelt `ASTRO_TOKEN_…` variable causes a warning."
        ),
        (
            "*Withheld* marks credentials: `exec` removes them from the environment of its command, unless `--keep-env` names them\n"
            "([exec.md](../exec.md))."
        ),
    ]
    for group in groups():
        rows = [
            (code(name), f"{text}. *Withheld.*" if name in withheld else text)
            for name, text in group.variables.items()
        ]
        blocks += [f"## {group.title}", group.note, table(("variable", "meaning"), rows)]
    return markdown.page(*blocks)
