"""Write the examples of CI systems, and of a plugin, from the templates of the commands: `make examples`."""

from __future__ import annotations

from pathlib import Path

from astro_token.init.backend import example_backend
from astro_token.init.files import example_files

FOLDER = Path(__file__).resolve().parent.parent / "examples"

for folder, texts in {"ci": example_files(), "plugin": example_backend()}.items():
    for name, text in texts.items():
        (FOLDER / folder / name).write_text(text, encoding="utf-8")
