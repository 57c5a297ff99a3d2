"""Tells what it was given, as JSON on standard output or in the file TELL, and ends as it is asked to."""

import json
import os
import resource
import sys
from pathlib import Path


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(path.stat().st_mode & 0o7777)
        for path in [folder, *folder.rglob("*")]
    }


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


HOME = Path(os.environ.get("ASTRO_HOME", ""))
umask = os.umask(0)
os.umask(umask)
facts = {
    "argv": sys.argv[1:],
    "cwd": str(Path.cwd()),
    "environ": dict(os.environ),
    "fds": [number for number in range(256) if is_open(number)],
    "files": files(HOME) if HOME.is_absolute() and HOME.is_dir() else {},
    "group": os.getpgrp(),
    "pid": os.getpid(),
    "ppid": os.getppid(),
    "rlimit_core": resource.getrlimit(resource.RLIMIT_CORE),
    "umask": oct(umask),
}
if "TELL" in os.environ:
    Path(os.environ["TELL"]).write_text(json.dumps(facts))
else:
    print(json.dumps(facts))
sys.exit(int(sys.argv[1]) if sys.argv[1:] else 0)
