"""Our own read of a secret and nothing else: what `check` does before it looks at what it read."""

import gc
import os
import sys

gc.disable()  # as the program does

from astro_token.child.hardening import harden_process  # noqa: E402
from astro_token.cli.parser import parse  # noqa: E402
from astro_token.secrets.read import read_whole  # noqa: E402
from astro_token.secrets.registry import close_backends, open_backend  # noqa: E402
from astro_token.settings.resolve import resolve  # noqa: E402
from astro_token.transport.deadline import Deadline  # noqa: E402

harden_process()
arguments = parse(["check", *sys.argv[1:]])
settings = resolve(arguments.token[0])
read_whole(settings.ref.without_field(), open_backend(settings.ref.scheme), Deadline(settings.timeout))
close_backends(within=1.0)
os._exit(0)
