"""Write the examples of CI systems from the templates of `astro-token init`: `make examples`."""

from __future__ import annotations

from pathlib import Path

from astro_token.init.files import example_files

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "ci"

for name, text in example_files().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
