"""
Does a piece of work again and again, killed some steps later each time, and looks at what is left.

A step is a call of anything written in C, and so of the system: a kill falls between any two of them.

    killed.py {replace,create,key} FOLDER STEPS

Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from astro_token.errors import SecretNotFoundError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import appearances, make_token
from astro_token_backends.file.age_file import AgeFile

work, folder, every = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
path, key = folder / "prod.token.age", Path(os.environ["XDG_CONFIG_HOME"]) / "astro-token" / "age-key.txt"
target = key if work == "key" else path
ref = SecretRef("file", str(path))
backend = AgeFile()
old, new = make_token(), make_token()


def write(token: str) -> None:
    backend.write(ref, SecretValue(token.encode()), expected_version=None, timeout=5)


def content() -> str:
    try:
        return backend.read(ref, timeout=5).reveal().decode()
    except SecretNotFoundError:
        return ""


def killed_at(step: int) -> bool:
    """Works in a child that is killed at that step. False if the work has fewer."""
    child = os.fork()
    if child == 0:
        left = step

        def count(_: object, event: str, __: object) -> None:
            nonlocal left
            left -= event == "c_call"
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        if work == "key":
            backend.create_key()
        else:
            write(new)
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status not in {0, signal.SIGKILL}:
        raise SystemExit(f"the child ended with {status}")
    return status != 0


def in_clear() -> int:
    """How many files hold a token that is not encrypted."""
    files = [found for found in folder.parent.rglob("*") if found.is_file()]
    texts = [found.read_bytes().decode("latin-1") for found in files]
    return sum(bool(appearances(token, text)) for text in texts for token in (old, new))


def reset() -> None:
    """As it was before; what an earlier kill left beside it stays."""
    if work == "key":
        key.unlink(missing_ok=True)
    elif work == "create":
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(before)


if work == "key":
    backend.create_key()  # loads all that is loaded late, so that steps are those of the work
else:
    write(old)
    before = path.read_bytes()
    content()

seen: Counter[str] = Counter()
names = {old: "old", new: "new", "": "none"}
leaked = abandoned = step = 0
unmended: list[int] = []
while True:
    reset()
    if not killed_at(step):
        break
    if work == "key":
        lines = key.read_text().splitlines() if key.exists() else []
        seen["none" if not lines else "new" if len(lines) == 3 else "half"] += 1
    else:
        seen[names.get(content(), "half")] += 1
    leaked += in_clear()
    abandoned += any(entry.suffix == ".tmp" for entry in target.parent.iterdir())
    if step % (7 * every) == 0:
        if work == "key":
            key.unlink(missing_ok=True)
            path.unlink(missing_ok=True)  # of the key before
            backend.create_key()
        write(new)
        if content() != new or [entry.name for entry in target.parent.iterdir()] != [target.name]:
            unmended.append(step)
    step += every
report = {"steps": step, "seen": seen, "leaked": leaked, "abandoned": abandoned, "unmended": unmended}
print(json.dumps(report))
