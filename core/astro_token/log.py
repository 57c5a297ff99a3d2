"""Our logger, and the silence of the SDKs' loggers."""

from __future__ import annotations

import logging

__all__ = ["logger", "silence_sdks"]

logger = logging.getLogger("astro_token")
logger.addHandler(logging.NullHandler())

# At DEBUG botocore logs the value seven times in one read and write, and session tokens too;
# azure.identity prints a rejected assertion's answer at WARNING.
_SDKS = (
    "azure",
    "boto3",
    "botocore",
    "google",
    "grpc",
    "httpcore",
    "httpx",
    "hvac",
    "msal",
    "requests",
    "s3transfer",
    "urllib3",
)


def silence_sdks() -> None:
    """
    Keeps what SDKs log from every handler, also from one that a program hung on the root logger.

    Done whenever a backend is opened, because a program can set levels at any time.
    """
    for name in _SDKS:
        sdk = logging.getLogger(name)
        sdk.setLevel(logging.CRITICAL + 1)
        sdk.propagate = False
        for child in list(logging.Logger.manager.loggerDict):
            if child.startswith(f"{name}."):
                logging.getLogger(child).setLevel(logging.NOTSET)
