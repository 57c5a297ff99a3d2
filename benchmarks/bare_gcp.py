"""The smallest script that reads a token with Google's client, in one request, and becomes a command."""

import os
import sys

from google.cloud import secretmanager

name, *command = sys.argv[1:]
client = secretmanager.SecretManagerServiceClient(
    client_options={"api_endpoint": os.environ["ASTRO_TOKEN_GCP_ENDPOINT"]}
)
token = client.access_secret_version(name=name).payload.data.decode().strip()
os.execvpe(command[0], command, {**os.environ, "ASTRO_API_TOKEN": token})
