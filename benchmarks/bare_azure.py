"""
The smallest script that reads a token from Key Vault with a client's secret, and becomes a command.

A vault on loopback is in no Azure cloud, hence the check that is off; its authority is in REQUESTS_CA_BUNDLE.
"""

import os
import sys

from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

vault, name, *command = sys.argv[1:]
credential = ClientSecretCredential(
    os.environ["AZURE_TENANT_ID"],
    os.environ["AZURE_CLIENT_ID"],
    os.environ["AZURE_CLIENT_SECRET"],
    disable_instance_discovery=True,
)
token = SecretClient(vault, credential, verify_challenge_resource=False).get_secret(name).value
os.execvpe(command[0], command, {**os.environ, "ASTRO_API_TOKEN": token or ""})
