"""
Limits of this process: restricted at the start, restored for a child.

Importable everywhere; a step that the system does not support is left out.
"""

from __future__ import annotations

import os

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
            _set_core_limit(self.core_limit)


def harden_process() -> SavedLimits:
    """
    Disable core dumps, deny other processes of the user our memory (Linux), and create files for us alone.
    """
    if not hasattr(os, "geteuid"):
        return SavedLimits()
    import resource

    umask = os.umask(_UMASK)
    try:
        core_limit = resource.getrlimit(resource.RLIMIT_CORE)
    except (ValueError, OSError):
        core_limit = None
    else:
        _set_core_limit((0, core_limit[1]))
    _deny_access_to_memory()
    return SavedLimits(umask, core_limit)


def _set_core_limit(limit: tuple[int, int]) -> None:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CORE, limit)
    except (ValueError, OSError):
        return


def _deny_access_to_memory() -> None:
    """Last until exec. Without ctypes, or on another system, only the limit on core files remains."""
    import sys

    if sys.platform != "linux":
        return
    try:
        import _ctypes  # ctypes itself takes ten times as long to import

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
        _ctypes.call_cdeclfunction(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0))
    except (ImportError, OSError, AttributeError):
        return
