"""
Every link of the chain from the settings to Astro, in order, each with its state and its mend.

    place ──> service ──> secret ──> astro
    settings  backend     permission  token
    variables sdk         secret      policy
    ci        credential  version     astro (the program)
    identity  network     field       api
              login       decryption

A link that fails does not end the look: what does not need it is looked at all the same.
Each is tried once, and nothing is written anywhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.doctor import astro, place, secret, service, variables
from astro_token.doctor.link import LINKS, STATES, Chain, Link
from astro_token.transport.deadline import DEFAULT_SECONDS, Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue
    from astro_token.settings.resolve import TokenSettings

__all__ = ["LINKS", "STATES", "Chain", "Link", "examine"]

_ATTEMPT = 5.0  # seconds for one link: a person waits


def examine(
    token: str | None = None,
    *,
    decrypt: str | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[TokenSettings | None, Chain]:
    """
    Looks at the chain of a token, and raises nothing of what it finds.

    Args:
        token, decrypt, timeout: as `settings.resolve` takes them.
    """
    environ = os.environ if environ is None else environ
    chain = Chain()
    settings = place.settings(chain, token, decrypt=decrypt, timeout=timeout, environ=environ)
    refs = [ref for ref in (settings.ref, settings.decrypt) if ref] if settings else []
    variables.look(chain, environ, [ref.scheme for ref in refs])
    place.ci(chain, environ)
    place.identity(chain, environ)
    seconds = settings.timeout if settings else DEFAULT_SECONDS
    value = _value(chain, settings, Deadline(seconds, attempt=_ATTEMPT))
    outcome = astro.token(chain, settings, value)
    astro.program(chain, environ, settings, outcome[0] if outcome else None)
    astro.api(chain, settings, outcome, environ, min(seconds, _ATTEMPT))
    return settings, chain


def _value(chain: Chain, settings: TokenSettings | None, deadline: Deadline) -> SecretValue | None:
    if settings is None:
        between = LINKS[LINKS.index("backend") : LINKS.index("key-backend")]
        chain.leave(*between, why="it is not known which token is meant")
        return None
    ref, key = settings.ref, settings.decrypt
    backend = service.open_service(chain, ref, deadline)
    chosen = secret.field_of(chain, ref, secret.read(chain, ref, backend, deadline))
    if key is None:
        return chosen
    keeper = service.open_service(chain, key, deadline, "key-")
    return secret.decrypted(chain, key, keeper, chosen, deadline)
