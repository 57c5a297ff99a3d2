"""The commands that documents show, with their output."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from tests.documents import FENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = frozenset({"|", "^|^|", "||", "&&", ";", "<", ">", ">>", "(", ")"})


def sessions(text: str) -> list[tuple[str, str]]:
    """Each command of the console blocks, with the output that is shown under it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = entry.partition("\n")
            found.append((command, output))
    return found


def matches(shown: str, real: str) -> bool:
    """… stands for anything, and runs of blanks for each other: a table is as wide as its cells."""

    def squeezed(text: str) -> list[str]:
        return [re.sub(r"[ \t]+", " ", line).strip() for line in text.splitlines()]

    pattern = "\n".join(".*?".join(re.escape(part) for part in line.split("…")) for line in squeezed(shown))
    return re.fullmatch(pattern, "\n".join(squeezed(real)), re.DOTALL) is not None


def after(diff: str) -> str:
    """A comparison without the lines that go."""
    return _side(diff, "+")


def before(diff: str) -> str:
    """A comparison without the lines that come."""
    return _side(diff, "-")


def _side(diff: str, sign: str) -> str:
    return "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[:1] in {sign, " "})


def without_old_lines(text: str) -> str:
    """A document without what its comparisons replace, which is not ours."""
    return FENCE.sub(lambda block: after(block[3]) if block[2] == "diff" else block[0], text)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `astro-token …` in a document: in blocks, and in code that is a command."""
    blocks = [code for _, language, code in FENCE.findall(text) if language not in {"text", "diff"}]
    blocks += [after(code) for _, language, code in FENCE.findall(text) if language == "diff"]
    prose = FENCE.sub("", text)
    blocks += re.findall(r"(?:^    .*\n)+", prose, re.MULTILINE)
    code = [line for block in blocks for line in re.sub(r"\\\n", " ", block).splitlines()]
    code += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)
    for line in code:
        for found in re.finditer(r"(?:^|[\s(\"'])astro-token (?=[a-z]|--)", line):
            words = _words(line[found.end() :])
            if words:
                yield words


def _words(text: str) -> list[str]:
    """The words up to the end of the command; none for prose."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    lexer.commenters = ""  # it would take the field of a reference for a comment
    words: list[str] = []
    try:
        for word in lexer:
            if word in _END or word.startswith("#"):
                break
            words.append(word)
    except ValueError:  # the quote of a string around the command ends it
        return words
    return words
