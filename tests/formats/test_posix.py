"""The format for POSIX shells, read by the shells themselves."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import render
from astro_token.errors import OutputError
from astro_token.formats.rendering import Rendering, Variables
from tests.formats.consumers import (
    NAME,
    PATH,
    SHELLS,
    WAYS,
    misread,
    ours,
    shell_reader,
    shells,
    shells_in_ways,
    there,
)
from tests.formats.texts import PIECES

if TYPE_CHECKING:
    from pathlib import Path


def text(value: str, *unset: str) -> str:
    return render("posix", Variables({NAME: value}, unset)).text


def in_shell(shell: str, script: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SHELLS[shell], *options, "-c", script],
        env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": str(folder), "ASTRONOMER_KEY_ID": "old"},
        capture_output=True,
        text=True,
        cwd=folder,
    )


def test_a_value_is_always_in_single_quotes() -> None:
    assert f"export {NAME}='a.b-c'\n" == text("a.b-c")
    assert f"export {NAME}='it'\\''s'\n" == text("it's")
    assert f"export {NAME}=''\n" == text("")


def test_what_competes_is_unset_first() -> None:
    assert f"unset A\nunset B\nexport {NAME}='x'\n" == text("x", "A", "B")


@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800", "a\udc80"])
def test_what_no_environment_can_hold_is_refused(value: str) -> None:
    with pytest.raises(OutputError, match="a shell cannot carry this value"):
        text(value)


@shells_in_ways(0)
def test_a_shell_reads_every_piece_alone(shell: str, way: str) -> None:
    assert [] == misread(ours("posix"), shell_reader(shell, way), PIECES)


@shells
def test_the_locale_does_not_matter(shell: str) -> None:
    """Beside UTF-8's, which the other tests have."""
    assert [] == misread(ours("posix"), shell_reader(shell, "eval", "C"), PIECES)


@shells
def test_the_value_is_exported_and_what_competes_is_gone(shell: str, tmp_path: Path) -> None:
    script = text("it's $HOME", "ASTRONOMER_KEY_ID", "NEVER_SET") + "env"
    lines = in_shell(shell, f"set -eu\n{script}", tmp_path).stdout.splitlines()
    assert f"{NAME}=it's $HOME" in lines
    assert [] == [line for line in lines if line.startswith("ASTRONOMER_KEY_ID")]


@shells
def test_nothing_is_run_or_printed_by_reading(shell: str, tmp_path: Path) -> None:
    value = "$(touch ran)`touch ran`'; touch ran; '\"; touch ran\n touch ran # \\"
    (tmp_path / "file").write_text(text(value))
    done = in_shell(shell, 'out="$(cat file)" && eval "$out"', tmp_path)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert not (tmp_path / "ran").exists()


@shells
def test_the_assignment_first_keeps_a_failure(shell: str, tmp_path: Path) -> None:
    failed = in_shell(shell, 'set -e; out="$(exit 7)" && eval "$out"', tmp_path)
    lost = in_shell(shell, 'set -e; eval "$(exit 7)"', tmp_path)
    assert (7, 0) == (failed.returncode, lost.returncode)


# -- the same check catches what is careless -------------------------------------------------------------


def bare(given: Variables) -> Rendering:
    return Rendering("".join(f"export {name}={value}\n" for name, value in given.set.items()))


def double_quoted(given: Variables) -> Rendering:
    return Rendering("".join(f'export {name}="{value}"\n' for name, value in given.set.items()))


def by_shlex(given: Variables) -> Rendering:
    return Rendering("".join(f"export {name}={shlex.quote(value)}\n" for name, value in given.set.items()))


@shells_in_ways(2)
def test_a_careless_rendering_is_caught(shell: str, way: str) -> None:
    for careless in (bare, double_quoted):
        wrong = misread(careless, shell_reader(shell, way), ["plain", "a b", "$HOME", "`id`", '"', "a\\b"])
        assert len(wrong) >= 3, careless


@pytest.mark.parametrize("zsh", there("zsh"))
@pytest.mark.parametrize("way", WAYS)
def test_the_quoting_of_the_standard_library_is_caught_in_zsh(zsh: str, way: str) -> None:
    # An assignment is spared by zsh; a word of its own is not.
    def word(given: Variables) -> Rendering:
        return Rendering(
            "".join(f'set -- {shlex.quote(value)}; export {name}="$1"\n' for name, value in given.set.items())
        )

    reader = shell_reader(zsh, way)
    assert ["=ls"] == misread(word, reader, ["=ls"])
    assert [] == misread(ours("posix"), reader, ["=ls"])
