"""
`exec --mask` against `exec --no-mask`: what it costs to filter an output, and to have nothing to filter.

A part of `make bench`; alone it is `python -m benchmarks.mask`.
As in the other benchmarks each line is a ratio of medians, taken in turns.
"""

from __future__ import annotations

import argparse
import base64
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from astro_token.testing import make_token
from benchmarks.services import PROGRAM

BLOCK = 16 << 20


def seconds(command: list[str], *, wall: bool) -> float:
    """Until the last byte is read, or the CPU time of all processes but the reader."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    while process.stdout.read(1 << 20):
        pass
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return taken if wall else usage.ru_utime + usage.ru_stime


def compare(name: str, one: list[str], other: list[str], runs: int, *, wall: bool, size: int = 0) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for command, taken in zip((one, other), times, strict=True):
            taken.append(seconds(command, wall=wall))
    first, second = (statistics.median(taken) for taken in times)
    speed = f"   {size / (first - second) / 1e6:.0f} MB/s" if size and first > second else ""
    print(
        f"{name:<46} {first / second:5.2f}   {first * 1000:6.1f} / {second * 1000:6.1f} ms{speed}", flush=True
    )


def compare_all(runs: int, blocks: int) -> None:
    """
    Args:
        blocks: so many times the material is printed.
    """
    with tempfile.TemporaryDirectory() as name:
        token, material = Path(name, "token"), Path(name, "material")
        token.touch(0o600)
        token.write_text(make_token())
        material.write_bytes(base64.encodebytes(os.urandom(BLOCK))[:BLOCK])
        filtered, plain = ([PROGRAM, "exec", f"--{no}mask", f"file:{token}", "--"] for no in ("", "no-"))
        cat = ["cat", *([str(material)] * blocks)]
        size = BLOCK * blocks
        # Lines of base64 are what is likest to a token.
        compare("time of exec --mask -- cat / cat", filtered + cat, cat, runs, wall=True, size=size)
        compare("CPU of exec --mask -- cat / cat", filtered + cat, cat, runs, wall=False, size=size)
        for wall, what in ((False, "CPU"), (True, "time")):
            compare(
                f"{what} of exec --mask -- true / exec --no-mask",
                [*filtered, "true"],
                [*plain, "true"],
                3 * runs,
                wall=wall,
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mask")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--blocks", type=int, default=25, help=f"of {BLOCK >> 20} MiB to print")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compare_all(arguments.runs, arguments.blocks)


if __name__ == "__main__":
    main()
