"""Where the tests of the file backend put keys and files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
import pytest

from astro_token.errors import AstroTokenError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import appearances, reachable_text
from astro_token_backends.file.age_file import AgeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

# Asked here, because the tests themselves run in an empty environment.
IN_CI = bool(os.environ.get("CI"))


@dataclass(frozen=True)
class Scene:
    """A folder, a key that is configured, and a reference to a file that is not there yet."""

    folder: Path
    identity: Any
    backend: AgeFile = field(default_factory=AgeFile)

    @property
    def path(self) -> Path:
        return self.folder / "prod.token.age"

    @property
    def ref(self) -> SecretRef:
        return self.to(self.path)

    def to(self, path: Path) -> SecretRef:
        return SecretRef("file", str(path))

    def encrypt(self, text: str | bytes, *, armoured: bool = True, to: list[Any] | None = None) -> bytes:
        data = text.encode() if isinstance(text, str) else text
        whole: bytes = pyrage.encrypt(data, to or [self.identity.to_public()], armored=armoured)
        return whole

    def read(self, path: Path | None = None) -> bytes:
        return self.backend.read(self.to(path or self.path), timeout=5).reveal()

    def write(self, text: str, expected: str | None = None, path: Path | None = None) -> str:
        return self.backend.write(
            self.to(path or self.path), SecretValue(text.encode()), expected_version=expected, timeout=5
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def failure(call: Callable[[], object], *secrets: str) -> AstroTokenError:
    """The error of a call, which keeps no other exception, and in whose frames none of the secrets is."""
    error = _raised(call)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "\n" not in error.message + (error.hint or "")
    assert error.message == error.message.rstrip(".")
    text = reachable_text(error.with_traceback(_ours(error.__traceback__)))
    assert [] == [form for secret in secrets for form in appearances(secret, text)]
    return error


def _raised(call: Callable[[], object]) -> AstroTokenError:
    try:
        call()
    except AstroTokenError as error:
        return error
    raise AssertionError("nothing was raised")


def _ours(frames: TracebackType | None) -> TracebackType | None:
    """The frames of the code under test, without those of the tests, which hold the secrets themselves."""
    tests = str(Path(__file__).parent)
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(tests):
        frames = frames.tb_next
    return frames


def required(name: str) -> str:
    """The path of a program that these tests need: a laptop may lack it, a CI system must not."""
    found = shutil.which(name)
    if found is None:
        if IN_CI:
            pytest.fail(f"{name} is not installed, and a CI system has to have it")
        pytest.skip(f"{name} is not installed")
    return found


def ssh_key(path: Path, kind: str = "ed25519", *options: str, passphrase: str = "") -> tuple[Path, str]:
    """A new SSH key: the private half's path and the public half's text."""
    if kind == "rsa":
        options = (*options, "-b", "2048")  # the smallest that age takes, and the soonest made
    subprocess.run(
        [required("ssh-keygen"), "-q", "-t", kind, "-N", passphrase, *options, "-f", path],
        check=True,
        capture_output=True,
    )
    return path, path.with_name(f"{path.name}.pub").read_text()


def environment(**variables: object) -> dict[str, str]:
    """That of a process of the tests, which finds the same packages."""
    extra = {name: str(value) for name, value in variables.items()}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **extra}


@contextmanager
def unprivileged() -> Iterator[None]:
    """
    Without root's right to read and write everything, also where the tests run as root.

    Only relative paths lead anywhere then: the folders above the test's own are open to their owner alone.
    """
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)
