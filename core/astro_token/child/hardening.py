"""
Limits of this process: restricted at the start, restored for a child.

Importable everywhere; a step that the system does not support is left out.
"""

from __future__ import annotations

import os
from contextlib import suppress

from astro_token.record import Record

__all__ = ["SavedLimits", "harden_process"]

_UMASK = 0o077
_PR_SET_DUMPABLE = 4


class SavedLimits(Record):
    """The limits of this process before `harden_process` changed them; None if it did not."""

    umask: int | None = None
    core_limit: tuple[int, int] | None = None

    def restore(self) -> None:
        """Restore the limits, right before a child is started or replaces us."""
        if self.umask is not None:
            os.umask(self.umask)
        if self.core_limit is not None:
            import resource

            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_CORE, self.core_limit)


def harden_process() -> SavedLimits:
    """
    Disable core dumps, and keep other users from reading new files.

    On Linux, also keep other processes from reading our memory.
    """
    if not hasattr(os, "geteuid"):
        return SavedLimits()
    import resource

    umask = os.umask(_UMASK)
    core_limit = None
    with suppress(ValueError, OSError):
        core_limit = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, core_limit[1]))
    _deny_access_to_memory()
    return SavedLimits(umask, core_limit)


def _deny_access_to_memory() -> None:
    """Make this process undumpable until exec. Without ctypes only the limit on core files remains."""
    import sys

    if sys.platform != "linux":
        return
    with suppress(ImportError, OSError, AttributeError):
        import _ctypes  # ctypes itself takes ten times as long to import

        program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program
        prctl = _ctypes.dlsym(program, "prctl")
        _ctypes.call_cdeclfunction(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0))
