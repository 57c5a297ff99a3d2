"""Identity tokens that a CI system's own program prints."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, IntegrityError
from astro_token.identity.web_token import LONGEST, web_token

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["printed"]


def printed(argv: list[str], environ: Mapping[str, str], seconds: float, hint: str) -> SecretValue:
    """
    Runs a program, whose arguments hold no secret, and takes the token from its standard output.

    Args:
        hint: what to do where it is missing.

    Raises:
        AccessDeniedError: it is not on PATH (of whose folders only absolute ones count), or gives none.
        BackendUnavailableError: it did not end in time, and was killed.
        IntegrityError: what it printed is no token.
    """
    import subprocess
    from shutil import which

    name = argv[0]
    folders = filter(os.path.isabs, environ.get("PATH", "").split(os.pathsep))
    path = which(name, path=os.pathsep.join(folders))
    if path is None:
        raise AccessDeniedError(f"{name} gives the identity token, and is not on PATH", hint=hint)
    refused: AstroTokenError = AccessDeniedError(
        f"{name} gives no identity token",
        hint=f"run `{' '.join(argv[:3])} … >/dev/null` in the job to see why",
    )
    try:
        process = subprocess.Popen(
            [path, *argv[1:]],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        process = None
    if process is None:
        raise refused
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(max(0.0, seconds), end)
    timer.start()
    with process:
        # No more than a token can have; what is left unread ends with the program.
        output = process.stdout.read(LONGEST + 1) if process.stdout else b""
        if len(output) > LONGEST:
            _kill(process)
    timer.cancel()
    if late.is_set():
        raise BackendUnavailableError(f"{name} did not end in time", hint="try again later")
    if process.returncode != 0 and len(output) <= LONGEST:
        raise refused
    damaged = IntegrityError(f"what {name} printed is no identity token", hint=f"see which {name} is on PATH")
    return web_token(output, damaged)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and whatever it started, which could hold its output open."""
    import signal

    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
