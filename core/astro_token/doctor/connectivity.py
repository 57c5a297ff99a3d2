"""Probe a route."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, with_prefix
from astro_token.transport.client import Client

if TYPE_CHECKING:
    from astro_token.transport.deadline import Deadline
    from astro_token.transport.route import Route

__all__ = ["probe"]

_PROTOCOLS = ("h2", "http/1.1")  # gRPC refuses a connection without h2


def probe(route: Route, deadline: Deadline) -> str:
    """
    Connect, and describe the route.

    Raises:
        AstroTokenError: the connection failed. The message names the address.
    """
    address = route.address.origin
    try:
        deadline.once(lambda seconds: Client().probe(route, time.monotonic() + seconds, _PROTOCOLS))
    except AstroTokenError as error:
        failure = with_prefix(error, address)
    else:
        proxy = f" through the proxy of {route.proxy.variable}" if route.proxy else ""
        return f"{address} can be reached{proxy}"
    raise failure
