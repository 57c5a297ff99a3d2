"""
The command line: one module per command, each thin. This one parses nothing and exits once.

Every message goes to standard error, as `astro-token: error: …` and `astro-token: hint: …`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["main", "run"]

_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class _EndedBySignal(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run() -> NoReturn:
    """The console script."""
    code = main(sys.argv[1:])
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # None where it was closed before we started
                stream.flush()
    except OSError:
        code = code or 74
    # A thread that a silent service left behind must not keep us: what matters is flushed and closed.
    os._exit(code)


def main(argv: list[str]) -> int:
    """Runs a command and returns the exit status. The only place where an error becomes one."""
    if argv == ["--version"]:
        from astro_token.version import __version__

        print(f"astro-token {__version__}")
        return 0
    from astro_token.process import close_to_onlookers

    inherited = close_to_onlookers()
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    from astro_token.cli.output import report
    from astro_token.errors import EXIT_IO, AstroTokenError

    try:
        from astro_token.cli.parser import parse

        arguments = parse(argv)
        code: int = arguments.command(arguments, inherited)
    except AstroTokenError as error:
        return report(error.message, error.hint, error.exit_code)
    except _EndedBySignal as ended:
        return 128 + ended.number
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Nobody reads any more; what Python would flush at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return report("the output was closed before all was written", None, EXIT_IO)
    except OSError as error:
        where = f"{error.filename}: " if isinstance(error.filename, str | os.PathLike) else ""
        return report(
            f"{where}{os.strerror(error.errno or 5).lower()}", "correct what the path names", EXIT_IO
        )
    except Exception as error:  # noqa: BLE001 (a traceback would be one more bug)
        return report(_bug(error), "report it with the command and the version, without any secret", 70)
    else:
        return code
    finally:
        if "astro_token.registry" in sys.modules:
            from astro_token.registry import close_backends

            close_backends()


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise _EndedBySignal(number)


def _bug(error: Exception) -> str:
    """The type and the place of an exception; never its text, which may hold a value."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = ""
    if frame is not None:
        file = os.path.basename(frame.tb_frame.f_code.co_filename)  # noqa: PTH119
        place = f" at {file}:{frame.tb_lineno}"
    return f"a bug here: {type(error).__name__}{place}"
