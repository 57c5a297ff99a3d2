"""What the tests of the three clouds have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import appearances, reachable_text
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def read(backend: Any, ref: str, *, timeout: float = 10.0) -> SecretValue:
    value = backend.read(SecretRef.parse(ref), timeout=timeout)
    assert isinstance(value, SecretValue)
    return value


def failure(
    backend: Any, ref: str, *, canaries: Sequence[str] = (), timeout: float = 10.0
) -> AstroTokenError:
    """The error that reading ends with, after a look for what it must not hold."""
    try:
        read(backend, ref, timeout=timeout)
    except AstroTokenError as caught:
        error = caught
    else:
        raise AssertionError(f"{ref} was read")
    # From here on, only what the backend left: the frames of the test itself know the canaries.
    frames = error.__traceback__
    assert frames is not None
    assert frames.tb_next is not None
    assert frames.tb_next.tb_next is not None
    beyond = frames.tb_next.tb_next.tb_next
    while beyond is not None:  # the boundary raises what it was returned, and holds nothing else
        assert beyond.tb_frame.f_code.co_filename.endswith(("/boundary.py", "/errors.py"))
        beyond = beyond.tb_next
    error = error.with_traceback(frames.tb_next.tb_next)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "\n" not in error.message + (error.hint or "")
    text = reachable_text(error)
    assert [appearances(canary, text) for canary in canaries] == [[] for _ in canaries]
    return error


def told(backend: Any, ref: str) -> tuple[str, str]:
    """The address and the source of the credential, as `doctor` asks for them, and then logs in."""
    parsed = SecretRef.parse(ref)
    address = backend.route(parsed).address.origin
    source = backend.credential_source(parsed, timeout=10.0)
    backend.log_in(parsed, timeout=10.0)
    assert f"{address}{source}".isprintable()
    return address, source


def source_failure(backend: Any, ref: str) -> AstroTokenError:
    """The error where no source is found, which is that of reading."""
    parsed = SecretRef.parse(ref)
    errors: list[AstroTokenError] = []
    for call in (backend.credential_source, backend.log_in, backend.read):
        try:
            call(parsed, timeout=10.0)
        except AstroTokenError as error:
            errors.append(error)
    assert [(None, None)] * 3 == [(error.__cause__, error.__context__) for error in errors]
    assert len({(type(error), error.message, error.hint) for error in errors}) == 1
    return errors[0]


def quick_failure(backend: Any, ref: str) -> AstroTokenError:
    """The same, long before the timeout."""
    with within(1):
        return failure(backend, ref, timeout=30)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """All that was logged, arguments included."""
    return "\n".join(f"{record.getMessage()} {record.args} {vars(record)}" for record in caplog.records)


def in_a_process(statements: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Runs Python in a fresh interpreter, with this environment and these changes to it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", statements],
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def modules_after(statement: str) -> set[str]:
    """The names of the modules that a fresh interpreter has after a statement."""
    done = in_a_process(f"{statement}; import sys; print(*sys.modules, sep='\\n')")
    assert done.returncode == 0
    return set(done.stdout.split())
