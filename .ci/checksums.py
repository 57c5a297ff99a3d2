"""Write SHA256SUMS into a folder, for `sha256sum --check`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

NAME = "SHA256SUMS"


def checksums(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.name != NAME)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


if __name__ == "__main__":
    (Path(sys.argv[1]) / NAME).write_text(checksums(Path(sys.argv[1])), encoding="utf-8")
