"""The smallest script that reads a token with boto3, in the same one request, and becomes a command."""

import json
import os
import sys

import boto3

name, field, *command = sys.argv[1:]
secret = json.loads(boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
os.execvpe(command[0], command, {**os.environ, "ASTRO_API_TOKEN": secret[field]})
