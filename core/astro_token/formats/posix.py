"""
POSIX shells: `out="$(astro-token export --format posix)" && eval "$out"`.

Always in single quotes: `shlex.quote` leaves a bare `=word`, which zsh expands.
"""

from __future__ import annotations

from astro_token.formats import Rendering, Variables, carry


def render(variables: Variables) -> Rendering:
    lines = [f"unset {name}\n" for name in variables.unset]
    lines += [f"export {name}={_quoted(carry('a shell', text))}\n" for name, text in variables.set.items()]
    return Rendering("".join(lines))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
