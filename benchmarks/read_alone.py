"""Our own read of a secret and nothing else: what `check` does before it looks at what it read."""

import gc
import os
import sys

gc.disable()  # as the program does

from astro_token.child.hardening import harden_process  # noqa: E402
from astro_token.cli.parser import parse  # noqa: E402
from astro_token.secrets.registry import close_backends  # noqa: E402
from astro_token.settings.resolve import resolve  # noqa: E402
from astro_token.tokens.steps import READING, TokenPath, walk  # noqa: E402
from astro_token.transport.deadline import Deadline  # noqa: E402

harden_process()
arguments = parse(["check", *sys.argv[1:]])
settings = resolve(arguments.token[0])
error = walk(TokenPath(settings, Deadline(settings.timeout)), READING)
if error is not None:
    raise error
close_backends(within=1.0)
os._exit(0)
