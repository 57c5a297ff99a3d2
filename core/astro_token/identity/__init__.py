"""
The broker of identity tokens: obtains an OIDC token by a request, and checks that it is for the audience.

The request comes from the caller: `ci/` knows the CI systems.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from astro_token.errors import AstroTokenError, ConfigError, bare
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secret import SecretValue

__all__ = ["IdentityRequest", "NoIdentity", "request_token"]


class IdentityRequest(Record):
    """
    A source of identity tokens that is available now.

    Attributes:
        source: for people.
        fetch: gets a token for an audience (None: the source's default) within seconds.
        audience_hint: the advice if the token is for another audience.
        of_machine: the token identifies the machine, not the job.
        is_stored: without an audience, `fetch` sends no request.
    """

    _hidden = ("fetch",)
    source: str
    fetch: Callable[[str | None, float], SecretValue]
    audience_hint: str = "request the token for the audience that the service expects"
    of_machine: bool = False
    is_stored: bool = False


class NoIdentity(Record):
    """A source that gives this job no token, and the advice for that."""

    source: str
    hint: str
    of_machine: ClassVar[bool] = False


def request_token(
    request: IdentityRequest, audience: str | None, timeout: float
) -> SecretValue | AstroTokenError:
    """Obtain a token. Returns its error, so that no traceback leads to the credentials of the request."""
    from astro_token.transport.deadline import Deadline

    try:
        return Deadline(timeout).once(partial(_checked, request, audience))
    except AstroTokenError as error:
        return bare(error)


def _checked(request: IdentityRequest, audience: str | None, seconds: float) -> SecretValue:
    from astro_token.identity.web_token import refuse_unusable
    from astro_token.log import logger

    if audience is not None and not (audience and audience.isprintable()):
        raise ConfigError("the audience of the identity token is malformed", hint="use printable characters")
    logger.debug("taking the identity of %s", request.source)
    token = request.fetch(audience, seconds)
    refuse_unusable(token, audience, request.source, request.audience_hint)
    return token
