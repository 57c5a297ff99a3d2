"""Texts that break careless renderings, always the same for the same seed."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from astro_token.testing import make_token

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each of these went wrong somewhere: in a shell, in a runner's parser, in an escape.
PIECES = (
    *(
        "'",
        '"',
        "`",
        "$",
        "\\",
        "!",
        "#",
        "~",
        "*",
        "?",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        "<",
        ">",
        "|",
        "&",
        ";",
        "=",
        "%",
        "^",
    ),
    *(
        "'\\''",
        "''",
        '\\"',
        "\\\\",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "$((1+1))",
        "!!",
        "~root",
        "=ls",
        "{a,b}",
        "*.py",
    ),
    *(
        " ",
        "  ",
        "\t",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\x0b",
        "\x0c",
        "\x1b[31m",
        "\x01",
        "\x7f",
        "\x81",
        "\x88",
        "\x85",
    ),
    *("\uf600", "\uf6ff", "\ufdd0", "\ufdef", "\ufffe", "\U0001ffff", "\U0010fffe", "\ue000"),
    *("é", "日本", "😀", "\u2028", "\u2029", "\u00a0", "\u200b", "\ufeff", "\u202e", "\ufffd", "\u0301"),
    *(
        "::add-mask::x",
        "::set-env name=X::y",
        "::stop-commands::x",
        "##[error]",
        "##vso[task.complete]",
        "%0A",
        "%25",
        "%0D",
    ),
    *(
        "EOF",
        "<<EOF",
        "A=1",
        "A<<B",
        "PATH=/evil",
        "ghadelimiter_",
        "##vso[task.setvariable variable=PATH]/evil",
        "##teamcity[setParameter name='env.PATH' value='/evil']",
        "']",
        "|'",
        "|n",
        "|",
        "%AZP25",
        "%3B",
        "%5D",
        "%env.PATH%",
        "$(PATH)",
        "${PATH:-x}",
        "%PATH%",
        "!PATH!",
        "\u2018",
        "\u2019",
        "ASTRO_API_TOKEN",
        "export X=1",
        "unset PATH",
    ),
    *(
        "-n",
        "-e",
        "--",
        "%s",
        "%n",
        "\\n",
        "\\x41",
        "\\u0041",
        "&#39;",
        "null",
        "true",
        "1e400",
        "{}",
        '{"a": 1}',
    ),
)
UNFIT = ("\0", "\ud800", "\udfff", "a\0b", "\udc80")


def texts(count: int, seed: str) -> Iterator[str]:
    """
    The texts, the empty one among them.

    About one in thirty can be held by no environment: it has a NUL or half a character in it.
    """
    chance = random.Random(seed)  # noqa: S311
    yield ""
    for number in range(1, count):
        kind = number % 10
        if kind == 0:
            yield make_token()
        elif kind == 1:  # any characters at all
            yield "".join(
                chr(chance.choice((chance.randrange(1, 128), chance.randrange(128, 0xD800))))
                for _ in range(chance.randrange(1, 40))
            )
        elif kind == 2:  # bytes, as a service may return them
            yield chance.randbytes(chance.randrange(1, 40)).replace(b"\0", b"").decode("latin-1")
        elif kind == 3 and number % 30 == 3:
            yield "".join(chance.choices((*PIECES, *UNFIT), k=3)) + chance.choice(UNFIT)
        elif kind == 4:  # lines
            yield "\n".join(
                "".join(chance.choices(PIECES, k=chance.randrange(0, 4)))
                for _ in range(chance.randrange(1, 6))
            )
        elif kind == 5:  # a token with something in it
            token = make_token()
            place = chance.randrange(len(token))
            yield token[:place] + chance.choice(PIECES) + token[place:]
        else:
            yield "".join(chance.choices(PIECES, k=chance.randrange(1, 12)))


_UNFIT = re.compile("[\0\ud800-\udfff]")


def unfit(text: str) -> bool:
    """True for a text that no environment variable of a UTF-8 system can be."""
    return _UNFIT.search(text) is not None
