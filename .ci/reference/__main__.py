"""Write `docs/reference`, the schema of the project file and the man page: `make reference`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.pages import write

if __name__ == "__main__":
    write()
