"""The smallest script that reads a token with hvac, in the same two requests, and becomes a command."""

import os
import sys

import hvac

mount, path, field, *command = sys.argv[1:]
client = hvac.Client(url=os.environ["VAULT_ADDR"], token=os.environ["VAULT_TOKEN"])
engine = client.adapter.get(f"/v1/sys/internal/ui/mounts/{mount}/{path}")["data"]
if engine["options"]["version"] == "2":
    answer = client.secrets.kv.v2.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
    secret = answer["data"]["data"]
else:
    secret = client.secrets.kv.v1.read_secret(path, mount_point=mount)["data"]
os.execvpe(command[0], command, {**os.environ, "ASTRO_API_TOKEN": secret[field]})
