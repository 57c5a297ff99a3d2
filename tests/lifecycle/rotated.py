"""
Call the rotation function again and again, each time in a child, which may be killed.

Each line on standard input is an event. For each, standard output has the child's process id, and then its
status: 0, 1 after an exception, or `-9`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

LOADED = ("astro_token_backends.aws.secrets_manager", "astro_token_backends.aws.adapter", "tenacity")


class Context:
    """The part of Lambda's context that the function reads."""

    def __init__(self, seconds: float = 170.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


def call(event: dict[str, str]) -> int:
    from astro_token.lifecycle import perform, protocol
    from astro_token.lifecycle.aws_rotation import AwsRotationError, rotate

    protocol.LEASE_SECONDS = float(os.environ["TEST_LEASE_SECONDS"])
    perform._PROPAGATION_PAUSE = 0.1
    try:
        rotate(event, Context())
    except AwsRotationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main() -> None:
    for module in LOADED:
        importlib.import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(call(json.loads(line)))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
