"""Spellings of a pyproject.toml with the Astro CLI's table: what TOML allows, and what is nearly that."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

__all__ = ["combined", "mutated", "ordinary"]

_TEXTS = (
    '"x"', "'x'", '"""x"""', "'''x'''", '"""\\\n  x"""', '"""\nx\n"""', '"\\u0078"', '"\\x78"', '"\\e"',
    '"\\t"', '"\u017f"', '""', '"evil.example"', "'cloud.astronomer.io'", "3", "0x1F", "1e3", "inf", "true",
    "[]", "{}", "1979-05-27", "1979-05-27T07:32Z", "07:32", "['x']", "['x',\n]", "{a = 'x'}", "{a = 'x',}",
    "{\na = 'x'\n}", "{a = {b = 'x'}}", "x", "", '"x" # y', '"x"\ty', "0_0", "'x''y'",
)  # fmt: skip
_TOOL = ("tool", '"tool"', "'tool'", '"\\u0074ool"', "Tool", "TOOL", "tools", '"to\\x6fl"', "t")
_ASTRO = (
    "astro", '"astro"', "'astro'", '"\\u0061stro"', '"\\U00000061stro"', '"\\x61stro"', "Astro", "ASTRO",
    "a\u017ftro", '"a\u017ftro"', "astro-token", "astro_", "astronomer", '"astro "', "1astro",
    '"""astro"""', "as\\tro",
)  # fmt: skip
_KEYS = (
    "domain", "Domain", "workspace", '"workspace"', "'domain'", '"dom\\u0061in"', "runtime", "unknown",
    "deployments.prod.deployment", "deployments . 'prod' . deployment", "deployments", "deployments.prod.url",
    '""', "deployments.prod.auth.method", "deployments.local.deployment", "env.A", "a.b.c",
)  # fmt: skip
_FORMS = (
    "[{tool}.{astro}]\n{key} = {text}\n",
    "[ {tool} . {astro} ]\n{key}={text}\n",
    "[\t{tool}.{astro}\t] # x\n{key} = {text}",
    "[{tool}]\n{astro}.{key} = {text}\n",
    "[{tool}]\n{astro} = {{{key} = {text}}}\n",
    "{tool}.{astro}.{key} = {text}\n",
    "{tool} = {{{astro} = {{{key} = {text}}}}}\n",
    "[{tool}.{astro}.deployments.prod]\n{key} = {text}\n[{tool}.{astro}]\nworkspace = 'x'\n",
    "[[{tool}.{astro}]]\n{key} = {text}\n",
    "[[{tool}]]\n[{tool}.{astro}]\n{key} = {text}\n",
    "[{tool}.{astro}]\n{key} = {text}\n[{tool}.{astro}]\n",
    "[{tool}.{astro}]\n{key} = {text}\n[tool.ASTRO]\ndomain = 'y'\n",
    "[tool.ruff]\n[{tool}.{astro}]\n{key} = {text}\n[project]\nname = 'x'\n",
    "[tool.ruff.{astro}]\n{key} = {text}\n",
    "[{tool}\n.{astro}]\n{key} = {text}\n",
    "x = '''\n[{tool}.{astro}]\n{key} = {text}\n'''\n",
)
_FRAMES = ("{0}", "\ufeff{0}", "# x\n\n{0}", "{0}\n[broken", "\x00{0}", "{0}\r", "[project]\nname = 'a'\n{0}")
_PIECES = (
    b"[", b"]", b"{", b"}", b".", b",", b"=", b'"', b"'", b"'''", b'"""', b"\\", b"\n", b"\r", b"\r\n", b"\t",
    b" ", b"#", b"\x00", b"\x1f", b"\x7f", b"\xff", b"\xc5\xbf", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"tool",
    b"astro", b"A", b"[tool.astro]", b"domain = 'y'", b"1", b"_", b"-", b"+", b":", b"\\u0061", b"\\x61",
    b"true", b"e",
)  # fmt: skip


def ordinary() -> Iterator[bytes]:
    """Every form with every spelling of the two names; then with every key and text."""
    for form, tool, astro in product(_FORMS, _TOOL, _ASTRO):
        yield form.format(tool=tool, astro=astro, key="domain", text='"x"').encode()
    for form, key, text in product(_FORMS, _KEYS, _TEXTS):
        yield form.format(tool="tool", astro="astro", key=key, text=text).encode()


def combined(choose: random.Random) -> bytes:
    """Two forms in a frame, with any spelling of everything, and any line ends."""
    parts = [
        choose.choice(_FORMS).format(
            tool=choose.choice((*_TOOL, *["tool"] * 20)),
            astro=choose.choice((*_ASTRO, *["astro"] * 40)),
            key=choose.choice(_KEYS),
            text=choose.choice(_TEXTS),
        )
        for _ in range(choose.choice((1, 1, 1, 2)))
    ]
    text = choose.choice((*_FRAMES, *["{0}"] * 7)).format("".join(parts))
    return text.replace("\n", choose.choice((*["\n"] * 6, *["\r\n"] * 3, "\r"))).encode()


def mutated(data: bytes, choose: random.Random) -> bytes:
    for _ in range(choose.choice((1, 1, 1, 2, 3))):
        start = choose.randint(0, len(data))
        end = min(len(data), start + choose.choice((0, 0, 1, 1, 2, 5)))
        piece = choose.choice((b"", *_PIECES, data[start : start + 7]))
        data = data[:start] + piece + data[end:]
    return data
