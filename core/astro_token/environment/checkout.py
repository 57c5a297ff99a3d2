"""
What a checkout's own `.astro/config.yaml` makes the Astro CLI do with the token.

The CLI takes these settings from the working folder before the user's home:
a repository can make it send the token in clear, or to a registry of its own.
The file is searched for the words, not parsed: this catches mistakes and plain mischief.
Whoever may write the repository has other ways, and reviews are against those.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.log import logger
from astro_token.system.files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["REGISTRY", "in_clear_text", "refuse_clear_text"]

_MAX_BYTES = 256 * 1024
_CLEAR_TEXT = re.compile(r"""\bprotocol["']?\s*:\s*["']?http["']?\s*(?:[,}\n#]|$)""", re.IGNORECASE)
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
REGISTRY = re.compile(r"""\bbase_image_registry["']?\s*:\s*["']?[^\s"',}#]""")


def in_clear_text(settings: str) -> bool:
    """Whether these settings make the Astro CLI send the token over plain http. A comment makes nothing."""
    return _CLEAR_TEXT.search(_COMMENT.sub("", settings)) is not None


def refuse_clear_text(folder: Path, *, registry: bool = True) -> None:
    """
    Looks at the Astro project in a folder before the Astro CLI is started there.

    A registry that would get the token is warned of, because remote execution needs one.

    Args:
        registry: whether it is; False where somebody else does.

    Raises:
        ConfigError: the project would make the CLI send the token over plain http.
    """
    path = folder / ".astro" / "config.yaml"
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError:  # none that the CLI could read either
        return
    text = data.decode("utf-8", errors="replace")
    if len(data) > _MAX_BYTES:
        raise ConfigError(
            f"{path} is too long to be looked at before the Astro CLI gets a token",
            hint=f"shorten it to less than {_MAX_BYTES // 1024} KiB",
        )
    if in_clear_text(text):
        raise ConfigError(
            f"{path} makes the Astro CLI send the token over plain http",
            hint="take cloud.api.protocol out of it, and see who put it there",
        )
    if registry and REGISTRY.search(text):
        logger.warning("%s names a registry that the Astro CLI sends the token to", path)
