"""Set a variable to wrong values: the result is right, or names the variable."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import close_backends, open_backend
from astro_token.secrets.schemes import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import pytest

# Environments in which a call succeeds, each with another credential, by name.
Environments = dict[str, dict[str, str]]
# The exit code, the message and the hint of a call in an environment.
Outcome = tuple[int, str, str]
CODES = {64, 74, 77, 78}
# The variables of the transport, which every service shares.
SHARED = (
    "ASTRO_TOKEN_CA_BUNDLE",
    "HTTPS_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)


def variables(scheme: str) -> list[str]:
    """The variables in a scheme's record, those of the job's identity, and those of the transport."""
    record = BUILTIN[scheme]
    return list(dict.fromkeys((*record.credentials, *record.settings, "ASTRO_TOKEN_ID_TOKEN", *SHARED)))


def wrong_results(
    call: Callable[[dict[str, str]], Outcome],
    environments: Environments,
    variable: str,
    folder: Path,
    *,
    elsewhere: Collection[str] = (),
    everywhere: Collection[str] = ("nothing",),
    codes: Collection[int] = (),
    shown: Collection[str] = (),
    exact: Collection[str] = (),
) -> list[object]:
    """
    Call with wrong values of a variable, and list the results that are not right.

    Args:
        elsewhere: variables of which another valid value leads to another service: 66, 69 and 75 are right.
        everywhere: environments in which a variable that they do not set is tried too.
        codes: further exit codes that are right if the variable is named.
        shown: variables whose values a message may repeat.
        exact: variables of which a line end is a part.
    """
    values = {
        "text": "no such: {thing}, or {other}",
        "folder": str(folder),
        "unreadable": "/proc/self/mem" if os.path.exists("/proc/self/mem") else str(folder),  # noqa: PTH110
        "missing": str(folder / "none"),
    }
    wrong: list[object] = []
    for name, environ in environments.items():
        if variable not in environ and name not in everywhere:
            continue
        without = {key: value for key, value in environ.items() if key != variable}
        unset = usual = call(without)
        empty = call({**without, variable: ""})
        if empty[:2] != unset[:2]:
            wrong.append((name, "empty", empty, unset))
        if variable in environ:
            usual = call(environ)
            if name != "nothing" and usual[0]:
                wrong.append((name, "usual", usual))
            for end in ("\n", "\r\n") if variable not in exact else ():
                result = call({**environ, variable: environ[variable] + end})
                if result != usual:
                    wrong.append((name, "line end", result))
        for kind, value in values.items():
            result = call({**without, variable: value})
            is_named = result[0] in {*CODES, *codes} and variable in f"{result[1]} {result[2]}"
            is_elsewhere = variable in elsewhere and result[0] in {66, 69, 75}
            if not (result[0] == 0 or is_named or is_elsewhere or result in (unset, usual)):
                wrong.append((name, kind, result))
            if kind == "text" and variable not in shown and value in f"{result[1]} {result[2]}":
                wrong.append((name, "shown", result))
    return wrong


def reader(reference: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Outcome]:
    """Read a reference, in this process."""
    return lambda environ: _outcome(reference, environ, monkeypatch)


def _outcome(reference: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Outcome:
    ref = SecretRef.parse(reference)

    def unreachable(connection: socket.socket, address: Any) -> None:
        if connection.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise OSError(errno.ENETUNREACH, "only the test's own server can be reached")
        connect(connection, address)

    connect = socket.socket.connect
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", unreachable)
        for name, value in environ.items():
            patch.setenv(name, value)
        close_backends()
        try:
            open_backend(ref.scheme).read(ref, timeout=5)
        except AstroTokenError as error:
            return error.exit_code, error.message, error.hint or ""
        finally:
            close_backends()
    return 0, "", ""
