"""
POSIX-only calls on this process: closed to onlookers at the start, put back as it was for a child.

Importable everywhere; where a call is missing, its step is left out.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import NamedTuple

__all__ = ["Inherited", "close_to_onlookers"]

_PR_SET_DUMPABLE = 4
_UMASK = 0o077


class Inherited(NamedTuple):
    """What this process was given and then changed."""

    umask: int | None = None
    core_limit: tuple[int, int] | None = None

    def restore(self) -> None:
        """Puts it back, right before a child is started or takes over."""
        if self.umask is not None:
            os.umask(self.umask)
        if self.core_limit is not None:
            import resource

            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_CORE, self.core_limit)


def close_to_onlookers() -> Inherited:
    """
    Keeps the memory of this process out of core files, and on Linux away from other processes of the user.

    New files are readable for us alone.
    """
    umask = core_limit = None
    if hasattr(os, "geteuid"):
        umask = os.umask(_UMASK)
        import resource

        with suppress(ValueError, OSError):
            core_limit = resource.getrlimit(resource.RLIMIT_CORE)
            resource.setrlimit(resource.RLIMIT_CORE, (0, core_limit[1]))
        _undumpable()
    return Inherited(umask, core_limit)


def _undumpable() -> None:
    """Lasts until exec. Without ctypes, or off Linux, it is left out: the limit on core files stands."""
    import sys

    if sys.platform != "linux":
        return
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


# Python ignores these at its start; a child expects them as the system has them.
CHANGED_BY_PYTHON = tuple(
    getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name)
)
