"""The Markdown documents of the project: their links, headings and code."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(`{3,}|~{3,})(.*)\n((?:.*\n)*?)\1[ ]*$", re.MULTILINE)


def prose(text: str) -> str:
    """Remove code, in which a bracket is no link and a # no heading."""
    text = FENCE.sub("", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", lambda span: "`" + "x" * (len(span[0]) - 2) + "`", text)


def links(text: str) -> Iterator[str]:
    """Yield the target of each link and picture."""
    text = prose(text)
    yield from re.findall(r"\]\(\s*<?([^)\s>]+)", text)
    yield from re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    yield from re.findall(r"<(?:img|a)\b[^>]*?(?:src|href)=\"([^\"]+)", text)


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    counts: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.*?)[ #]*$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor)
        counts[anchor] += 1
    return found


def broken_links(document: Path, text: str) -> list[str]:
    """List the links of a document to a missing file or heading of the project."""
    return [link for link in links(text) if _is_broken(document, text, link)]


def _is_broken(document: Path, text: str, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return not re.match(r"https://[\w.-]+(?:[/?#]|$)|mailto:", link)
    name, _, anchor = link.partition("#")
    if not name:
        return anchor not in anchors(text)
    target = document.parent / unquote(name)
    if not target.exists() or not target.resolve().is_relative_to(ROOT):
        return True
    return bool(anchor) and (
        target.suffix != ".md" or anchor not in anchors(target.read_text(encoding="utf-8"))
    )
