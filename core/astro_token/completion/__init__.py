"""
Completion scripts for shells.

They hold all they know: at completion time nothing of ours is run, and no file or secret is read.
"""

from __future__ import annotations

from astro_token.completion.bash import bash
from astro_token.completion.commands import Command, Kind, Option
from astro_token.completion.fish import fish
from astro_token.completion.zsh import zsh

__all__ = ["SHELLS", "Command", "Kind", "Option", "script"]

SHELLS = {"bash": bash, "fish": fish, "zsh": zsh}


def script(shell: str, program: str, commands: list[Command]) -> str:
    """
    A script to be read by a shell.

    Args:
        commands: the first one is the program itself.
            Names and choices are plain words: bash would expand anything else.
    """
    return SHELLS[shell](program, commands)
