"""The man page, from the parser and the exit codes."""

from __future__ import annotations

import re

from astro_token.cli.parser import build
from reference.codes import exit_rows
from reference.commands import arguments, paragraphs, subparsers, usage
from reference.project_file import KEYS
from reference.variables import groups

__all__ = ["manual"]

# The variables that a user of the command line sets most often; the page of variables has all.
_MAIN = (
    "ASTRO_TOKEN_REF",
    "ASTRO_TOKEN_DECRYPT",
    "ASTRO_TOKEN_TIMEOUT",
    "ASTRO_TOKEN_ADMIN_REF",
    "ASTRO_API_TOKEN",
    "VAULT_ADDR",
)


def manual() -> str:
    described = {name: text for group in groups() for name, text in group.variables.items()}
    lines = [
        '.\\" Written by `make reference` from the code. Do not edit.',
        # No date and no version: the page is the same in every build.
        '.TH ASTRO\\-TOKEN 1 "" "astro\\-token" "User Commands"',
        ".SH NAME",
        r"astro\-token \- hand an Astro API token from a secrets backend to the Astro CLI",
        ".SH SYNOPSIS",
    ]
    for _, parser in subparsers().values():
        command, _, rest = usage(parser).partition(" ")
        name, _, rest = rest.partition(" ")
        lines += [
            ".br" if lines[-1] != ".SH SYNOPSIS" else "",
            f".B {escaped(command)} {escaped(name)}",
            escaped(rest),
        ]
    lines += [".SH DESCRIPTION"]
    text, _ = paragraphs(build())
    lines += [*_paragraphs(text), ".SH OPTIONS"]
    lines += _items([*arguments(build()), ("--help", "show the commands; after a command, its options")])
    lines += [".SH COMMANDS"]
    for name, (summary, parser) in subparsers().items():
        text, examples = paragraphs(parser)
        lines += [
            f'.SS "{escaped(name)} \\- {escaped(summary)}"',
            *_paragraphs(text),
            *_items(arguments(parser)),
        ]
        if examples:
            lines += [
                ".PP",
                "Examples:",
                ".PP",
                ".nf",
                ".RS",
                *map(escaped, examples.splitlines()),
                ".RE",
                ".fi",
            ]
    lines += [".SH EXIT STATUS"]
    lines += _items((", ".join(map(str, codes)), meaning) for codes, meaning, _, _ in exit_rows())
    lines += [".SH ENVIRONMENT"]
    lines += _items((name, described[name]) for name in _MAIN)
    lines += [".SH FILES"]
    lines += _items(
        [
            (
                "astro-token.toml",
                f"names tokens, expectations and policy. Its tables: {', '.join(filter(None, KEYS))}",
            )
        ]
    )
    lines += [".SH SEE ALSO", r".BR astro (1),", r".BR age (1),", r".BR vault (1)"]
    return "\n".join(line for line in lines if line) + "\n"


def escaped(text: str) -> str:
    r"""Escape a line for groff: `\` is its escape, `-` would become a hyphen, and `.` and `'` begin a request."""
    text = (
        text.replace("\\", r"\e")
        .replace("-", r"\-")
        .replace("'", r"\(aq")
        .replace("`", "")
        .replace('"', r"\(dq")
    )
    text = text.replace("…", "...").replace("^", r"\(ha").replace("~", r"\(ti")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _paragraphs(text: str) -> list[str]:
    """One line for each sentence, as groff wants it to set the distance between sentences."""
    lines = []
    for paragraph in text.split("\n\n"):
        sentences = re.split(r"(?<=[.:]) (?=[A-Z])", " ".join(paragraph.split()))
        lines += [".PP", *map(escaped, sentences)]
    return lines


def _items(rows: object) -> list[str]:
    lines = []
    for term, text in rows:  # type: ignore[attr-defined]
        lines += [
            ".TP",
            f".B {escaped(term)}",
            *map(escaped, re.split(r"(?<=[.:]) (?=[A-Z])", _unlinked(text))),
        ]
    return lines


def _unlinked(text: str) -> str:
    return re.sub(r"\[(.*?)\]\(.*?\)", r"\1", " ".join(text.split()))
