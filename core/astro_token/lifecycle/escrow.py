"""The file that keeps a token's new value while its backend does not have it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.errors import InvalidTokenError, OutputError, UsageError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.system.files import refuse_special, remove
from astro_token.token import AstroToken
from astro_token.tokens.write import Current, read_current, write_secret

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token.transport.deadline import Deadline

__all__ = ["Escrow"]

_FILLING = b"-"
_LONGEST_TOKEN = 4096  # bytes; a longer one needs more room than was reserved


class Escrow:
    """
    A file that is encrypted to the age recipients, as a value in a file is, and never written through a link.

    Before there is a value, the file is reserved with filling, which proves that the folder, the disk and the
    keys are right.

    Attributes:
        has_value: it contains the value.
    """

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self.path, self._deadline = path, deadline
        self._ref = SecretRef("file", str(path.absolute()))
        self._current = Current(None, "0")
        self.has_value = False

    @property
    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def refuse_secret(self, *refs: SecretRef) -> None:
        """
        Raises:
            UsageError: the file is one of these secrets.
        """
        path = os.path.realpath(self.path)
        if any(ref.scheme == "file" and os.path.realpath(ref.name) == path for ref in refs):
            raise UsageError("--escrow names the token's own file", hint="name a new file")

    def open(self) -> AstroToken | None:
        """
        Return the token in the file; without a file, reserve it.

        Raises:
            OutputError: it is a link, or a file of another kind.
            AstroTokenError: it cannot be read or written.
        """
        refuse_special(self.path)
        self._current = read_current(self._ref, self._deadline)
        value = self._current.value
        if value is None or (self._current.version is not None and not value.reveal().strip(_FILLING)):
            # Also over the filling of an earlier run, or of somebody else: only a write proves anything.
            self._write(SecretValue(_FILLING * _LONGEST_TOKEN))
            return None
        self.has_value = True
        try:
            token = AstroToken.parse(value)
        except InvalidTokenError:
            token = None
        if token is None or self._current.version is None:
            raise OutputError(
                f"{self.path} exists, and is not a file that --escrow wrote", hint="name a new file"
            )
        return token

    def keep(self, value: SecretValue) -> None:
        """
        Write the value in place of the filling.

        Raises:
            AstroTokenError: writing failed, and the file is unchanged.
        """
        self._write(value)
        self.has_value = True

    def remove(self) -> None:
        """
        Raises:
            OSError: it cannot be removed.
        """
        remove(self.path)

    def _write(self, value: SecretValue) -> None:
        version = write_secret(self._ref, value, self._current, self._deadline)
        self._current = Current(value, version)
