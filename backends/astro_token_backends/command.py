"""Programs that print a value, by the protocol of summon's providers: `command:PROGRAM/NAME`."""

from __future__ import annotations

import os

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    DecryptError,
    IntegrityError,
    InvalidRefError,
    NoStoreError,
    SecretNotFoundError,
    UnusableSecretError,
    result,
)
from astro_token.secret import SecretValue
from astro_token.secrets.schemes import Scheme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secrets.ref import SecretRef

__all__ = ["SCHEMES", "Command"]

COMMANDS = "ASTRO_TOKEN_COMMANDS"
COMMANDS_KEEP = "ASTRO_TOKEN_COMMANDS_KEEP"


def _kept(environ: Mapping[str, str]) -> list[str]:
    from astro_token.system.variables import setting

    return setting(environ, COMMANDS_KEEP).replace(",", " ").split()


SCHEMES = {
    "command": Scheme(
        backend="astro_token_backends.command:Command",
        description="a program that prints the value, such as a provider of summon",
        form="PROGRAM/NAME",
        example="command:summon-conjur/astro/prod/token",
        # A name that begins with a hyphen would be an option of the program.
        grammar=(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*/(?!-)[^\x00-\x1f\x7f]+",),
        opaque=True,
        further_credentials=lambda environ: frozenset(_kept(environ)) - _NO_CREDENTIALS,
        settings=(COMMANDS, COMMANDS_KEEP),
    )
}

_PATH = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin"))
_GIVEN = ("HOME", "LANG", "TMPDIR")
_WINDOWS = ("SYSTEMROOT", "TEMP", "TMP", "USERPROFILE")  # most programs there do not start without them
# A program may need these variables, and none is a credential: the command of `exec` keeps them.
_NO_CREDENTIALS: frozenset[str] = frozenset(
    (
        *(*_GIVEN, *_WINDOWS, "PATH", "LC_ALL", "TERM", "USER", "LOGNAME", "TZ", "DISPLAY"),
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
        *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    )
)
_SHELL_SIGNAL = 128  # a shell adds the number of the signal that ended its command
_MOST_SIGNALS = 64  # some programs fail with a status near 255, which stands for no signal
_CANNOT_RUN = (126, 127)


class Command:
    """
    Backend that runs a program with the secret's name as its only argument, and reads its standard output.

    Credentials: those of the program, from its own files or the variables in `ASTRO_TOKEN_COMMANDS_KEEP`.
    Permissions: those that the program needs.
    Reference: `command:PROGRAM/NAME`; `ASTRO_TOKEN_COMMANDS` lists the path of each program.
    """

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        program, _, name = ref.name.partition("/")
        return result(_printed([_path_of(program), name], _environment(), timeout))


def _path_of(program: str) -> str:
    """
    Return the path that the environment lists for a program.

    Raises:
        NoStoreError: the environment lists no programs at all.
        ConfigError: it lists none or several of this name, or the program may not be started.
    """
    from astro_token.system.programs import PROGRAM_FOLDERS, find_program, in_checkout, listed_paths

    listed = set(listed_paths(os.environ, COMMANDS, "path"))
    paths = [path for path in listed if os.path.basename(path) == program]  # noqa: PTH119
    if not listed:
        raise NoStoreError(f"{COMMANDS} is not set", hint=f"set it to the absolute path of {program}")
    if not paths:
        raise ConfigError(
            f"{COMMANDS} does not list a program named {program}",
            hint=f"add its absolute path; separate paths with {os.pathsep}",
        )
    if len(paths) > 1:
        raise ConfigError(
            f"{COMMANDS} lists several programs named {program}", hint="list one of them, or rename it"
        )
    path = find_program(paths[0], os.environ)
    if path is not None:
        return path
    if in_checkout(paths[0], os.environ):
        raise ConfigError(
            f"the program {program} lies in the checkout",
            hint=f"install it elsewhere, or list its folder in {PROGRAM_FOLDERS} if you trust it",
        )
    raise ConfigError(
        f"the path of {program} in {COMMANDS} is not that of an executable file",
        hint="correct the path, or make the file executable",
    )


def _environment() -> dict[str, str]:
    """
    Return all that the program gets: no credential of ours, and no folder of the checkout in its PATH.

    Raises:
        ConfigError: the environment does not list the names of variables.
    """
    from astro_token.system.programs import trusted_path
    from astro_token.system.variables import without_line_end

    if not all(name.isascii() and name.replace("_", "a").isalnum() for name in _kept(os.environ)):
        raise ConfigError(
            f"{COMMANDS_KEEP} is not a list of variables", hint="list their names, separated by commas"
        )
    names = (*_GIVEN, *(() if os.name == "posix" else _WINDOWS), *_kept(os.environ))
    environ = {name: without_line_end(os.environ[name]) for name in names if name in os.environ}
    environ["PATH"] = trusted_path(environ if "PATH" in environ else {"PATH": _PATH})
    return environ


def _printed(argv: list[str], environ: dict[str, str], timeout: float) -> SecretValue | AstroTokenError:
    """Run the program. An error is returned, so that no traceback leads to the value."""
    from astro_token.secrets.read import SIZE_LIMIT, too_large
    from astro_token.system.running import run_program
    from astro_token.transport.deadline import extend_attempt

    done = run_program(
        argv,
        environ,
        seconds=max(timeout, extend_attempt()),  # a program may need longer than a request
        limit=SIZE_LIMIT,
        # Some read settings from the working folder, which the checkout controls: Conjur's address, for one.
        folder=os.path.abspath(os.sep),  # noqa: PTH100
    )
    if done is None:
        return ConfigError(
            "the program cannot be started", hint="check the interpreter in its first line, and the limits"
        )
    if done.late:
        return BackendUnavailableError(
            "the program did not end in time, and was killed",
            hint="check that it prompts for nothing; try again later, or raise ASTRO_TOKEN_TIMEOUT",
        )
    if done.too_long:
        return too_large()
    if done.code is None:
        return BackendDownError(
            "the system has lost the exit status of the program",
            hint="do not ignore SIGCHLD, and do not wait for children that your own code has not started",
        )
    if done.code:
        return _failure(done.code)
    if not done.output.strip(b"\r\n"):
        # Not that of a missing secret: in a shell, a pipeline hides the failure of its first program.
        return UnusableSecretError(
            "the program printed no value",
            hint="check the name after the program's, and the variables in ASTRO_TOKEN_COMMANDS_KEEP",
        )
    return SecretValue(done.output)


def _failure(code: int) -> AstroTokenError:
    """
    Translate an exit status: those of `sysexits.h` have their meaning, as in our own exit statuses.

    The protocol itself only distinguishes success from failure.
    """
    by_signal = -code if code < 0 else code - _SHELL_SIGNAL
    hint = "run it with this name as its only argument to see its reason on standard error"
    if 0 < by_signal <= _MOST_SIGNALS:
        return BackendDownError(f"the program was ended by signal {by_signal}", hint=hint)
    ended = f"the program ended with status {code}"
    if code in _CANNOT_RUN:
        return ConfigError(
            f"{ended}: it cannot run another program",
            hint=f"its PATH is {_PATH}, unless {COMMANDS_KEEP} names PATH; {hint}",
        )
    kind, meaning = _STATUSES.get(code, (BackendDownError, ""))
    return kind(f"{ended}{meaning}", hint=hint)


_STATUSES: dict[int, tuple[type[AstroTokenError], str]] = {
    64: (InvalidRefError, ", a malformed name"),
    65: (DecryptError, ", malformed data"),
    66: (SecretNotFoundError, ", no such secret"),
    69: (BackendDownError, ", the service is down"),
    75: (BackendUnavailableError, ", try again later"),
    76: (IntegrityError, ", a malformed response"),
    77: (AccessDeniedError, ", denied"),
    78: (ConfigError, ", its configuration"),
}
