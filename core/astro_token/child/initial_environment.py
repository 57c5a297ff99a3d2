"""
The environment as this process was started with, which Linux shows in `/proc/PID/environ`.

It is a block of our memory. Changes of `os.environ` do not reach it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

__all__ = ["withdraw"]

# env_start and env_end in /proc/PID/stat, fields 50 and 51, counted from the third one.
_BOUNDS = slice(47, 49)


def withdraw(names: Collection[str]) -> None:
    """Remove variables from `os.environ`, and overwrite their values in the initial environment (Linux)."""
    present = [name for name in names if name in os.environ]
    for name in present:
        del os.environ[name]
    if present and sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError, ValueError):  # as in `harden_process`
            _overwrite({os.fsencode(name) for name in present})


def _overwrite(names: Collection[bytes]) -> None:
    """Overwrite each value of these variables with zeros. Names, separators and other variables stay."""
    start, end = _bounds()
    if not _is_writable(start, end):
        return
    import _ctypes  # ctypes itself takes ten times as long to import

    # Not /proc/self/mem: an undumpable process may not open it.
    byte = type("byte", (_ctypes._SimpleCData,), {"_type_": "B"})  # noqa: SLF001 (the base of c_ubyte)
    array: Any = type("block", (_ctypes.Array,), {"_type_": byte, "_length_": end - start})
    block = memoryview(array.from_address(start)).cast("B")
    at = 0
    for entry in bytes(block).split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and name in names:
            first = at + len(name) + 1
            block[first : first + len(value)] = bytes(len(value))
        at += len(entry) + 1


def _bounds() -> tuple[int, int]:
    """Return the address of the block and that after it; zeros if the kernel, or an emulator, has none."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 (pathlib is slow to load)
        fields = file.read().rpartition(b")")[2].split()[_BOUNDS]  # the name before may contain blanks
    start, end = map(int, fields or (0, 0))
    return start, end


def _is_writable(start: int, end: int) -> bool:
    """Check that the block lies in our memory: an emulator may report the addresses of its own process."""
    if not 0 < start < end:
        return False
    with open("/proc/self/maps", "rb") as file:  # noqa: PTH123
        for line in file:
            bounds, _, rest = line.partition(b" ")
            first, _, after = bounds.partition(b"-")
            if int(first, 16) <= start and end <= int(after, 16):
                return rest.startswith(b"rw")
    return False
