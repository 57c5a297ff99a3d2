"""
The command line: one module per command, each thin. This one parses nothing and exits once.

Every message goes to standard error, as `astro-token: error: …` and `astro-token: hint: …`.
"""

from __future__ import annotations

import gc
import os
import sys
from io import TextIOWrapper

TYPE_CHECKING = False  # typing's own would be imported for it, which takes longer than `--version` does
if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import NoReturn

__all__ = ["end_if_told", "main", "run"]

_UNAVAILABLE = 75
_LATE = 0.2  # seconds


class _EndedBySignal(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run() -> NoReturn:
    """The console script."""
    gc.disable()  # imports make hardly any garbage, and looking for it takes a twentieth of our time
    _stand_in_for_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without our characters is no failure
    code = 0
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        code = code or _report_io(error)
    except _EndedBySignal as ended:  # too late for `main`
        code = 128 + ended.number
    # A thread that a silent service left behind must not keep us: what matters is flushed and closed.
    os._exit(code)


def main(argv: list[str]) -> int:
    """Runs a command and returns the exit status. The only place where an error becomes one."""
    if argv == ["--version"]:
        from astro_token.version import __version__

        print(f"astro-token {__version__}")
        return 0
    tidying = 1.0
    try:
        from astro_token.child.hardening import close_to_onlookers

        inherited = close_to_onlookers()
        import signal

        for number in _ending():
            if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
                signal.signal(number, _end)
        from astro_token.cli.output import report
        from astro_token.cli.parser import parse
        from astro_token.errors import AstroTokenError

        try:
            arguments = parse(argv)
        except SystemExit:  # argparse has shown a help text
            return 0
        code: int = arguments.command(arguments, inherited)
        end_if_told()
    except _EndedBySignal as ended:  # first, because it can come before the imports
        return 128 + ended.number
    except AstroTokenError as error:
        if error.exit_code == _UNAVAILABLE:
            tidying = _LATE  # the time we were given is over
        return report(error.message, error.hint, error.exit_code)
    except OSError as error:
        return _report_io(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a traceback would be one more bug)
        return report(_bug(error), "report it with the command and the version, without any secret", 70)
    else:
        if code == _UNAVAILABLE:
            tidying = _LATE
        return code
    finally:
        if "astro_token.secrets.registry" in sys.modules:
            from astro_token.secrets.registry import close_backends

            close_backends(within=tidying)


def _ending() -> list[signal.Signals]:
    import signal

    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    import signal

    for ending in _ending():  # what is left to do is to tidy up, and a second signal must not cut it short
        signal.signal(ending, signal.SIG_IGN)
    _ended.append(number)
    raise _EndedBySignal(number)


_ended: list[int] = []


def end_if_told() -> None:
    """Ends us where a signal said so, and Python ignored what its handler raised."""
    if _ended:
        raise _EndedBySignal(_ended[0])


def _stand_in_for_closed_streams() -> None:
    """
    Opens a standard stream that we were started without, the wrong way round.

    Its use fails as before. But no other file gets its number, and errors do not go to standard output,
    where `print` sends them if there is no standard error. A child finds it closed, as it would without us.
    """
    for number, (name, flags) in enumerate(
        (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_RDONLY))
    ):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            if descriptor != number:
                os.dup2(descriptor, number, inheritable=False)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _report_io(error: OSError) -> int:
    from astro_token.cli.output import report
    from astro_token.errors import InputOutputError

    code = InputOutputError.exit_code
    if isinstance(error, BrokenPipeError):
        return report("the output was closed before all was written", "see why its reader ended early", code)
    reason = os.strerror(error.errno or 5).lower()
    if isinstance(error.filename, str | os.PathLike):
        return report(f"{error.filename}: {reason}", "correct what the path names", code)
    return report(reason, "see that the output has a place, with space left on it", code)


def _bug(error: BaseException) -> str:
    """The type and the place of an exception; never its text, which may hold a value."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = ""
    if frame is not None:
        file = os.path.basename(frame.tb_frame.f_code.co_filename)  # noqa: PTH119
        place = f" at {file}:{frame.tb_lineno}"
    return f"a bug here: {type(error).__name__}{place}"
