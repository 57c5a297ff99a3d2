"""The smallest script that decrypts a token with pyrage and becomes a command with it."""

import os
import sys

import pyrage

path, *command = sys.argv[1:]
with open(os.environ["ASTRO_TOKEN_AGE_KEY_FILE"]) as file:  # noqa: PTH123
    lines = [line.strip() for line in file if not line.startswith("#")]
identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line]
with open(path, "rb") as file:  # noqa: PTH123
    token = pyrage.decrypt(file.read(), identities).decode().strip()
os.execvpe(command[0], command, {**os.environ, "ASTRO_API_TOKEN": token})
