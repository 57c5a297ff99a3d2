"""Create an age key in the user's configuration."""

from __future__ import annotations

import os

from astro_token.errors import OutputError
from astro_token.secret import SecretValue
from astro_token.system.files import create, locked, sweep
from astro_token.system.os_errors import reason
from astro_token.system.variables import setting
from astro_token_backends.file.client import load_pyrage
from astro_token_backends.file.settings import KEY, KEY_FILE, RECIPIENTS_FILE, default_key_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["create_key"]

_LOCK_SECONDS = 5.0


def create_key() -> str | None:
    """
    Create the key, and return a line for the user.

    Returns:
        None if a key is configured already, or if recipients are:
        who writes only for others needs no key, and a new one would not be among them.

    Raises:
        OutputError: the key cannot be written.
    """
    path = default_key_path()
    configured = any(setting(os.environ, name) for name in (KEY, KEY_FILE, RECIPIENTS_FILE))
    if configured or (path is not None and os.path.lexists(path)):
        return None
    if path is None:
        raise OutputError("the user has no home folder for a key", hint=f"set {KEY_FILE} or HOME")
    failure = ""
    try:
        _make_folder(path.parent)
        with locked(path.parent, seconds=_LOCK_SECONDS):
            sweep(path)
            create(path, _new_key().reveal())
    except OSError as error:
        failure = reason(error)
    if failure:
        raise OutputError(f"{path}: the key cannot be written: {failure}", hint=f"set {KEY_FILE} or HOME")
    return f"created an age key in {path}: back it up, because secrets written with it are lost without it"


def _make_folder(folder: Path) -> None:
    """Create missing folders for their owner only, as the XDG specification requires."""
    for part in reversed([folder, *folder.parents]):
        if not part.exists():
            part.mkdir(0o700, exist_ok=True)


def _new_key() -> SecretValue:
    from datetime import UTC, datetime

    private = load_pyrage().x25519.Identity.generate()
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"# created: {created}\n# public key: {private.to_public()}\n{private}\n"
    return SecretValue(text.encode())
