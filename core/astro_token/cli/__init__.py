"""
The command line: one thin module per command, and the only exit point.

Messages go to standard error, as `astro-token: error: …` and `astro-token: hint: …`.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from io import TextIOWrapper

from astro_token.system.sdk_imports import allow_placeholders
from astro_token.system.terminal import allow_prompts, restore_echo

TYPE_CHECKING = False  # importing typing takes longer than `--version` does
if TYPE_CHECKING:
    import signal
    from sys import UnraisableHookArgs
    from types import FrameType
    from typing import NoReturn

__all__ = ["end_if_signalled", "main", "run"]


class _EndedBySignal(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run() -> NoReturn:
    """Run the console script."""
    allow_placeholders()
    allow_prompts()
    sys.unraisablehook = _pass_over
    gc.disable()  # imports create hardly any garbage, and collecting it takes a twentieth of our time
    _replace_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals without some of our characters
    code = 0
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        code = code or _report_io(error)
    except _EndedBySignal as ended:  # too late for `main`
        code = 128 + ended.number
    restore_echo()
    if "astro_token.system.running" in sys.modules:
        from astro_token.system.running import end_running

        end_running()
    os._exit(code)  # everything is flushed and closed; a thread may still wait for a silent service


def main(argv: list[str]) -> int:
    """Run a command, and translate errors into the exit status."""
    if argv == ["--version"]:
        from astro_token.version import __version__

        print(f"astro-token {__version__}")
        return 0
    code = 0
    try:
        from astro_token.child.hardening import harden_process

        limits = harden_process()
        import signal

        for number in _ending_signals():
            if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
                signal.signal(number, _end)
        if hasattr(signal, "SIGCHLD") and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
            # We were started like this: the system would not keep the exit status of any program.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        from astro_token.cli.output import report
        from astro_token.cli.parser import parse
        from astro_token.errors import AstroTokenError

        try:
            arguments = parse(argv)
        except SystemExit:  # argparse has printed a help text
            return 0
        if any(name.startswith("ASTRO_TOKEN_") for name in os.environ):
            _warn_of_misspelt_variables(arguments.name, argv)
        command = import_module(f"astro_token.cli.{arguments.name.replace('-', '_')}")
        code = command.run(arguments, limits)
        end_if_signalled()
    except _EndedBySignal as ended:  # first, because it can arrive before the imports
        code = 128 + ended.number
    except AstroTokenError as error:
        code = report(error.message, error.hint, error.exit_code)
    except OSError as error:
        code = _report_io(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a traceback would be one more bug)
        from astro_token.system.os_errors import exhausted

        bug = "report it with the command and the version, without any secret"
        failure = exhausted(error)
        code = report(failure.message, failure.hint, 74) if failure else report(_bug(error), bug, 70)
    finally:
        if "astro_token.secrets.registry" in sys.modules:
            from astro_token.secrets.registry import close_backends

            close_backends()
    return code


def _warn_of_misspelt_variables(command: str, argv: list[str]) -> None:
    if command in {"doctor", "completion"}:  # it reports them itself; it writes to a line that is being typed
        return
    from astro_token.log import logger
    from astro_token.settings.variables import misspelt_variables

    own = argv[: argv.index("--")] if "--" in argv else argv
    for name, meant in misspelt_variables(os.environ, own).items():
        logger.warning("%s is unknown; rename it, if %s is meant", name, meant)


def _ending_signals() -> list[signal.Signals]:
    import signal

    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    import signal

    for ending in _ending_signals():  # a second signal must not interrupt the cleanup
        signal.signal(ending, signal.SIG_IGN)
    _ended.append(number)
    raise _EndedBySignal(number)


_ended: list[int] = []


def end_if_signalled() -> None:
    """End if a signal arrived and Python ignored the exception of our signal handler."""
    if _ended:
        raise _EndedBySignal(_ended[0])


def _pass_over(ignored: UnraisableHookArgs) -> None:
    """Print nothing about an end by a signal that Python ignored: `end_if_signalled` does not ignore it."""
    if not isinstance(ignored.exc_value, _EndedBySignal):
        sys.__unraisablehook__(ignored)


def _replace_closed_streams() -> None:
    """
    Open each standard stream that was closed at our start, in the wrong direction.

    Using it fails as before, but no other file gets its number, and `print` does not send errors to
    standard output for lack of a standard error. A child finds the stream closed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            source, target = os.pipe()  # a container may have no /dev/null
            wrong, other = (source, target) if number else (target, source)
            if wrong != number:
                os.dup2(wrong, number, inheritable=False)
                os.close(wrong)
            if other != number:
                os.close(other)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _report_io(error: OSError) -> int:
    from astro_token.cli.output import report
    from astro_token.errors import InputOutputError

    code = InputOutputError.exit_code
    if isinstance(error, BrokenPipeError):
        return report(
            "the output was closed before everything was written", "check why its reader ended early", code
        )
    from astro_token.system.os_errors import exhausted, reason, remedy

    if isinstance(error.filename, str | os.PathLike):
        hint = remedy(error, "correct the path or the file")
        return report(f"{os.fspath(error.filename)}: {reason(error)}", hint, code)
    if failure := exhausted(error):
        return report(failure.message, failure.hint, code)
    # Readers and writers of files name them.
    hint = "check that the output can be written and has space left"
    return report(f"standard output: {reason(error)}", hint, code)


def _bug(error: BaseException) -> str:
    """Name the type and the line of an exception; never its text, which may hold a value."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    line = ""
    if frame is not None:
        file = os.path.basename(frame.tb_frame.f_code.co_filename)  # noqa: PTH119
        line = f" at {file}:{frame.tb_lineno}"
    return f"a bug in astro-token: {type(error).__name__}{line}"
