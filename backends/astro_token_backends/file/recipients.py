"""Recipients to encrypt for: those of the recipients' file, else the configured key's own."""

from __future__ import annotations

import os
from pathlib import Path

from astro_token.errors import AstroTokenError, ConfigError
from astro_token.system.variables import path_setting
from astro_token_backends.file.client import load_pyrage
from astro_token_backends.file.login import no_key
from astro_token_backends.file.settings import RECIPIENTS_FILE, key_lines, read_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astro_token_backends.file.client import Identity

__all__ = ["recipients"]


def recipients(own: Sequence[Identity]) -> list[Any]:
    """
    Return pyrage's objects of the recipients.

    Raises:
        NoCredentialError: there are none.
        AccessDeniedError: the file cannot be read, or can be written by others.
        ConfigError: the file is missing or malformed, or the configured key does not contain its public key.
    """
    named = path_setting(os.environ, RECIPIENTS_FILE)
    result: list[Any] | AstroTokenError
    if named:
        result = _listed(Path(named))
    elif not own:
        result = no_key("; `astro-token put --create-key` makes one")
    else:
        result = [_recipient(identity.public or "") for identity in own]
        if None in result:
            result = ConfigError(
                "the configured SSH key does not contain its public key",
                hint=f"name its .pub file in {RECIPIENTS_FILE}",
            )
    if isinstance(result, AstroTokenError):
        raise result
    return result


def _listed(path: Path) -> list[Any] | AstroTokenError:
    source = f"{RECIPIENTS_FILE} ({path})"
    text = read_keys(path, source, secret=False)
    if text is None:
        return ConfigError(f"{source} does not exist", hint=f"correct or unset {RECIPIENTS_FILE}")
    if isinstance(text, AstroTokenError):
        return text
    listed: dict[str, Any] = {}
    for number, line in key_lines(text):
        recipient = _recipient(line)
        if recipient is None:
            return ConfigError(
                f"{source}: line {number} is not a supported public key",
                hint="a line holds age1…, or an ssh-ed25519 or ssh-rsa public key",
            )
        # A key that is listed twice must not replace another one when recipients are counted.
        listed[" ".join(line.split()[:2]) if line.startswith("ssh-") else line.lower()] = recipient
    return list(listed.values()) or ConfigError(
        f"{source}: it lists no public key", hint="list public keys (age1…) in it"
    )


def _recipient(text: str) -> Any:
    """Parse a public key; None for any other text."""
    pyrage = load_pyrage()
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError:
        return None
