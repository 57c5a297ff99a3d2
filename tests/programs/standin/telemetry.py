"""
The telemetry of 1.46: each command starts a process that sends the command, with the token, and outlives it.

The real one's process reads, and so creates, the home's `config.yaml` at its start. If a caller removes
the home when the command ends, it depends on the machine's load whether the file is there again afterwards.
This one waits until its parent has ended and, for a second, until the home is gone: then it always is.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import VERSION
from .api import exchange
from .config import Config, put
from .errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

SEND = "_telemetry-send"
ADDRESS = "https://api.astronomer.io/v1alpha1/telemetry"
NOTICE = "3"
FRESH_SECONDS = 30
WAIT_SECONDS = 1.0


def track(cfg: Config, command: str) -> None:
    """Start the sender, and do not wait for it."""
    off = os.environ.get("ASTRO_TELEMETRY_DISABLED", "")
    if off == "1" or off.lower() == "true" or cfg.get("telemetry.enabled").lower() not in {"1", "t", "true"}:
        return
    import subprocess

    if cfg.home("telemetry.notice_shown") != NOTICE:
        print("The Astro CLI collects usage data", file=sys.stderr)
        put(cfg.tree, "telemetry.notice_shown", NOTICE)
        cfg.save()
    if not cfg.home("telemetry.anonymous_id"):
        import uuid

        put(cfg.tree, "telemetry.anonymous_id", str(uuid.uuid4()))
        cfg.save()
    payload = {
        "source": "astro-cli",
        "event": "CLI Command",
        "anonymousId": cfg.home("telemetry.anonymous_id"),
        "properties": {"command": command, "cli_version": VERSION},
        "api_url": os.environ.get("ASTRO_TELEMETRY_API_URL") or ADDRESS,
        "token": current_token(cfg),
        "parent": os.getpid(),
    }
    sender = subprocess.Popen(
        [str(Path(sys.argv[0]).resolve()), SEND],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if sender.stdin is not None:
        sender.stdin.write(json.dumps(payload).encode())
        sender.stdin.close()
    sender.returncode = 0  # Python neither waits for it nor complains


def current_token(cfg: Config) -> str:
    """The token of the variable, else of the context; "" unless it expires, and not within half a minute."""
    token = os.environ.get("ASTRO_API_TOKEN", "").removeprefix("Bearer ")
    if not token:
        try:
            token = cfg.context()["token"].removeprefix("Bearer ")
        except CommandError:
            return ""
    try:
        _, body, _ = token.split(".")
        expires = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"]
        return token if expires > time.time() + FRESH_SECONDS else ""
    except (ValueError, KeyError, TypeError):
        return ""


def send() -> None:
    """Run as the sender."""
    payload = json.load(sys.stdin)
    parent, token = payload.pop("parent"), payload.pop("token")
    home = Path(os.environ.get("ASTRO_HOME") or os.environ.get("HOME", "/"))
    _wait(lambda: os.getppid() != parent)
    _wait(lambda: not home.exists())
    Config()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    exchange("POST", payload.pop("api_url"), headers, json.dumps(payload).encode())


def _wait(done: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not done() and time.monotonic() < until:
        time.sleep(0.01)
