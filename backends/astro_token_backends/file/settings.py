"""Variables and files with age keys: the identities that decrypt, and the recipients to encrypt for."""

from __future__ import annotations

from astro_token.errors import AccessDeniedError, AstroTokenError, ConfigError
from astro_token.log import logger
from astro_token.secret import SecretValue
from astro_token.system.files import open_regular, others_can_read, others_can_write, owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KEY", "KEY_FILE", "RECIPIENTS_FILE", "default_key_path", "key_lines", "read_keys"]

KEY = "ASTRO_TOKEN_AGE_KEY"
KEY_FILE = "ASTRO_TOKEN_AGE_KEY_FILE"
RECIPIENTS_FILE = "ASTRO_TOKEN_AGE_RECIPIENTS_FILE"
_MAX_BYTES = 64 * 1024


def default_key_path() -> Path | None:
    """Return the key's path in the user's configuration; None for a user without a home, as in containers."""
    from platformdirs import user_config_path

    try:
        path = user_config_path("astro-token", appauthor=False) / "age-key.txt"
    except RuntimeError:
        return None
    # Older versions return a relative path then, and the current folder may belong to anybody.
    return path if path.is_absolute() else None


def read_keys(path: Path, source: str, *, secret: bool) -> SecretValue | AstroTokenError | None:
    """Read a file of keys, None if it does not exist, unless another user could have put a key into it."""
    try:
        with open_regular(path) as file:
            if not secret and not owned(file):
                return AccessDeniedError(
                    f"{source}: it belongs to another user, who could add a key", hint=f"chown {path}"
                )
            if others_can_write(file):
                return AccessDeniedError(f"{source}: other users can write it", hint=f"chmod go-w {path}")
            if secret and others_can_read(file):
                logger.warning("%s: every user of this machine can read this key: chmod go-r it", source)
            text = SecretValue(file.read(_MAX_BYTES + 1))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return AccessDeniedError(
            f"{source}: permission to read it is denied", hint="allow the current user to read it"
        )
    except OSError:
        return ConfigError(f"{source}: it is not a readable file", hint="name a regular file")
    if len(text.reveal()) > _MAX_BYTES:
        return ConfigError(f"{source}: it is too large", hint="name a file that holds only keys")
    return text


def key_lines(text: SecretValue) -> list[tuple[int, str]]:
    """Return the lines with keys and their numbers, without comments and empty lines."""
    lines = text.reveal().decode("utf-8-sig", "replace").splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]
