"""
A process that writes: for each line "TOKEN EXPECTED" of standard input it says what came of it.

    writer.py PATH [--limit BYTES]
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

from astro_token.errors import AstroTokenError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token_backends.file.age_file import AgeFile

parser = argparse.ArgumentParser()
parser.add_argument("path", type=Path)
parser.add_argument("--limit", type=int, help="no file may get larger, as on a disk that is full")
arguments = parser.parse_args()
if arguments.limit:
    sys.dont_write_bytecode = True  # a cut .pyc file would break every later run
    resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.limit, arguments.limit))
ref = SecretRef("file", str(arguments.path))
backend = AgeFile()
for line in sys.stdin:
    token, expected = line.split()
    try:
        version = backend.write(
            ref,
            SecretValue(token.encode()),
            expected_version=None if expected == "any" else expected,
            timeout=5,
        )
    except AstroTokenError as error:
        print("error", error.exit_code, error.message.removeprefix(f"{ref}: "), flush=True)
    else:
        print("written", version, flush=True)
