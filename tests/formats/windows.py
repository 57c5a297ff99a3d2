"""
What PowerShell and cmd.exe do with lines: models written after their documentation.

PowerShell's `'…'` ends at any of its quotation marks that is not doubled, and an empty value unsets.
"""

from __future__ import annotations

import re

_QUOTES = "'\u2018\u2019\u201a\u201b"


def powershell(script: str) -> dict[str, str]:
    """Of `Out-String | Invoke-Expression`: lines of ASCII come through whatever the encoding."""
    found: dict[str, str] = {}
    place = 0
    while place < len(script):
        start = re.compile(rf"\$env:(\w+) = (?:(\$null)|[{_QUOTES}])").match(script, place)
        if start is None:
            raise ValueError("no statement of ours")
        place = start.end()
        if start[2]:
            found.pop(start[1], None)
        else:
            value = ""
            while True:
                character, after = script[place], script[place + 1 : place + 2]
                if character in _QUOTES and not (after and after in _QUOTES):
                    break
                place += 2 if character in _QUOTES else 1
                value += character
            place += 1
            if value and value.isascii() and value.isprintable():
                found[start[1]] = value
        if script[place] != "\n":
            raise ValueError("something follows")
        place += 1
    return found


def cmd(script: str) -> dict[str, str]:
    """
    Of `for /f "usebackq delims=" %%l in (`…`) do %%l`, and of a batch file that is called.

    In the one `%` is no more special, in the other it is; so nothing may be there that either reads.
    """
    found: dict[str, str] = {}
    for line in script.split("\r\n"):
        if match := re.fullmatch(r'set "(\w+)=([^"]*)"', line):
            if re.search(r"[%!^&|<>]", match[2]) or not match[2].isascii():
                raise ValueError("read otherwise")
            if match[2]:
                found[match[1]] = match[2]
        elif line:
            raise ValueError("no line of ours")
    return found
