"""Tables and links of Markdown, and the sections of our docstrings."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Docstring", "code", "heading_link", "page", "table"]

NOTE = "<!-- Written by `make reference` from the code. Do not edit. -->"
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Remedy):(.*)")
_ENTRY = re.compile(r"([\w., ]+): (.*)")


class Docstring:
    """
    A docstring in parts.

    Attributes:
        text: the text before the sections.
        sections: entries by section, each with its term; a section of one line has the term "".
    """

    def __init__(self, item: object) -> None:
        self.text = ""
        self.sections: dict[str, dict[str, str]] = {}
        lines: list[str] = []
        entries: dict[str, str] | None = None
        term = shared = ""
        for line in inspect.cleandoc(getattr(item, "__doc__", None) or "").splitlines():
            if section := _SECTION.fullmatch(line):
                entries = self.sections.setdefault(section[1], {})
                term = ""
                if section[2]:
                    entries[""] = section[2].strip()
            elif entries is None:
                lines.append(line)
            elif re.fullmatch(r" {4}[\w, ]+,", line):  # the names continue in the next line
                shared = f"{line.strip()} "
            elif entry := (_ENTRY.fullmatch(line[4:]) if re.match(r" {4}\S", line) else None):
                term, shared = shared + entry[1], ""
                entries[term] = entry[2]
            elif line.strip():
                entries[term] = f"{entries.get(term, '')} {line.strip()}".strip()
        self.text = "\n".join(lines).strip()

    @property
    def summary(self) -> str:
        """The first paragraph, in one line."""
        return " ".join(self.text.partition("\n\n")[0].split())

    def entry(self, section: str, name: str = "") -> str:
        """Return the text about a name. Several names can share an entry, separated by commas."""
        for term, text in self.sections.get(section, {}).items():
            if name in term.replace(" ", "").split(","):
                return text
        return ""


def code(text: str) -> str:
    """Format a code span; a cell of a table has no bare `|`."""
    return f"`{text}`"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, *rows]
    text = [re.sub(r"(?<=\|)  (?=\|)", " ", f"| {' | '.join(map(cell, line))} |") for line in lines]
    return "\n".join([text[0], f"|{'---|' * len(head)}", *text[1:]])


def heading_link(text: str, heading: str, page: str = "") -> str:
    """Link to a heading, whose anchor GitHub and the site build in the same form."""
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    return f"[{text}]({page}#{anchor})"


def page(*blocks: str) -> str:
    """Join blocks of a generated page. The note follows the title, which stays in the first line."""
    title, *others = blocks
    return "\n\n".join([title, NOTE, *(block.strip("\n") for block in others if block)]) + "\n"
