"""
Stand-ins for the programs of CI systems that print an identity token, which ask `ci_identity` for it.

    buildkite-agent oidc request-token [--audience A]
    circleci run oidc get --claims '{"aud": "A"}'

They take no other arguments, and talk on standard error as the real ones do, which nobody should read.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAMS = {
    "buildkite-agent": """
match sys.argv[1:]:
    case ["oidc", "request-token"]:
        body = {}
    case ["oidc", "request-token", "--audience", audience]:
        body = {"audience": audience}
    case _:
        sys.exit("flag provided but not defined")
endpoint, job = os.environ["BUILDKITE_AGENT_ENDPOINT"], os.environ["BUILDKITE_JOB_ID"]
print("# Requesting an OIDC token", file=sys.stderr)
print(ask(f"{endpoint}/jobs/{job}/oidc/tokens", "Token", os.environ["BUILDKITE_AGENT_ACCESS_TOKEN"], body))
""",
    "circleci": """
match sys.argv[1:]:
    case ["run", "oidc", "get", "--claims", text]:
        claims = json.loads(text)
    case _:
        sys.exit("Error: unknown command or flag")
if list(claims) != ["aud"] or not isinstance(claims["aud"], str):
    sys.exit("Error: only the aud claim can be customized")
print(ask(os.environ["TEST_CIRCLECI_ADDRESS"], "Bearer", os.environ["TEST_CIRCLECI_SECRET"], claims), end="")
""",
}
_ASK = """
import json, os, sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

def ask(url, scheme, credential, body):
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname, address.port, timeout=10)
    connection.request("POST", address.path, json.dumps(body), {"Authorization": f"{scheme} {credential}"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"fatal: {answer.status} {text} for {credential}")
    return json.loads(text)["token"]
"""


def install(folder: Path) -> Path:
    """Writes the programs to a folder for PATH, and returns it."""
    for name, text in _PROGRAMS.items():
        write(folder, name, f"#!{sys.executable} -IS\n{_ASK}{text}")
    return folder


def write(folder: Path, name: str, text: str) -> None:
    """Writes one program."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)
