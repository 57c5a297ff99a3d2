"""One HTTP request that carries a credential to one place, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    IntegrityError,
)
from astro_token.transport.network import checked_address, connection_failure, opener, seconds_to_wait
from astro_token.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Question", "ask", "damaged"]

_BODY_LIMIT = 64 * 1024
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Question:
    """
    Attributes:
        system: whom we ask, for people.
        variable: the one that the address comes from.
        hint: what to do where it refuses.
        signature: a header and its value, by which an answer is known to be its own.
        plain_hosts: those beside this machine that may be asked over plain http.
    """

    system: str
    variable: str
    hint: str
    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    signature: tuple[str, str] | None = None
    plain_hosts: frozenset[str] = frozenset()


def ask(question: Question, environ: Mapping[str, str], seconds: float) -> bytes:
    """
    The body of the answer. A redirect is not followed, and nothing of an answer gets into an error.

    Raises:
        ConfigError: the address, the proxy or the file of authorities cannot be used.
        AccessDeniedError: it refuses.
        BackendDownError: its host name is unknown.
        BackendUnavailableError: it cannot be reached, is busy, or does not answer in time.
        IntegrityError: no trusted TLS, a redirect, a damaged answer.
    """
    from http.client import HTTPException
    from urllib import request

    address = checked_address(question.url, question.variable, plain=question.plain_hosts)
    headers = {"User-Agent": f"astro-token/{__version__}", **question.headers}
    asked = request.Request(question.url, headers=headers, method=question.method)  # noqa: S310
    by = opener(address, environ)
    try:
        with by.open(asked, timeout=seconds) as answer:
            body: bytes = answer.read(_BODY_LIMIT)
            failure = _refusal(question, answer)
    except (OSError, UnicodeError) as error:
        failure = connection_failure(error, question.system)
    except HTTPException:
        failure = damaged(question.system)
    if failure is not None:
        raise failure
    return body


def damaged(system: str) -> IntegrityError:
    return IntegrityError(
        f"the answer of {system} is damaged, or not its own", hint="see the proxy, and what else is between"
    )


def _refusal(question: Question, answer: Any) -> AstroTokenError | None:
    """What an answer means, of which the body was read, unless it is whole and good."""
    system, status, kind = question.system, answer.status, answer.status // 100
    if status in _PASSING or kind == 5:  # noqa: PLR2004
        return BackendUnavailableError(
            f"{system} cannot give an identity token now (status {status})",
            hint="try again later",
            retry_after=seconds_to_wait(answer.headers),
        )
    if kind == 3:  # noqa: PLR2004
        return IntegrityError(
            f"{system} sent us elsewhere, where we do not go", hint=f"see {question.variable}"
        )
    if kind == 4:  # noqa: PLR2004
        return AccessDeniedError(f"{system} gives no identity token (status {status})", hint=question.hint)
    name, value = question.signature or ("", None)
    good = status == 200 and answer.headers.get(name) == value  # noqa: PLR2004
    return None if good and not answer.length else damaged(system)  # its length is what is still to come
