"""
The path of the data, from settings to a checked token:

    TokenSettings -> SecretRef -> Backend.read -> (decrypt) -> AstroToken -> policy

What is the same for all backends is done here, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import InvalidTokenError, named
from astro_token.policy.rules import Verdict, enforce, judge
from astro_token.record import replace
from astro_token.secrets.ciphertext import is_ciphertext
from astro_token.secrets.read import prefixed_with, read_secret
from astro_token.settings.resolve import TokenSettings, resolve
from astro_token.token import AstroToken, normalise
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from astro_token.policy.rules import Policy
    from astro_token.secret import SecretValue
    from astro_token.secrets.protocols import Backend
    from astro_token.secrets.ref import SecretRef
    from astro_token.tokens.online import Online

__all__ = ["checked", "judged", "read_token"]


def read_token(
    token: str | SecretRef | None = None,
    *,
    decrypt: str | SecretRef | None = None,
    policy: Policy | None = None,
    backend: Backend | None = None,
    timeout: float | None = None,
) -> AstroToken:
    """
    Reads an Astro API token, checks it, and returns it with its claims.

        token = astro_token.read_token("vault:secret/astro/prod#token")

    Args:
        token: a reference, or a name from the project's file;
            None for what the environment or the project's file says.
        decrypt: the key of a key service, where the secret is ciphertext.
        policy: is tightened by the project's file and by the environment.
        backend: reads instead of the one that the reference's scheme names.
        timeout: seconds for the whole call; None for `ASTRO_TOKEN_TIMEOUT`, else 30.

    Raises:
        UsageError: the reference or the name.
        ConfigError: the settings, or a package that is not installed.
        SecretNotFoundError, AccessDeniedError, BackendUnavailableError, BackendDownError,
        IntegrityError, BackendError, DecryptError: what the backend met.
        InvalidTokenError: the secret is no Astro API token, or has expired.
        PolicyError: policy or the project's expectations do not allow it.
    """
    settings = resolve(token, decrypt=decrypt, policy=policy, timeout=timeout, any_scheme=backend is not None)
    found, verdicts = checked(settings, backend=backend)
    enforce(verdicts, found.ref)
    return found


def checked(
    settings: TokenSettings,
    *,
    backend: Backend | None = None,
    deadline: Deadline | None = None,
    online: bool = False,
) -> tuple[AstroToken, tuple[Verdict, ...]]:
    """
    Reads the token of these settings and judges it, without enforcing the verdicts.

    Args:
        deadline: one that several tokens share; None for one of its own.
        online: asks Astro too, as it does where policy wants it.
            Then the token has the scope and the expiry that Astro keeps, and the workspace of its deployment.
    """
    deadline = deadline or Deadline(settings.timeout)
    value = read_secret(settings.ref, decrypt=settings.decrypt, backend=backend, deadline=deadline)
    token, verdicts = judged(settings, value)
    if not (online or settings.policy.online):
        return token, verdicts
    seen = _consulted(token, verdicts, settings, deadline)
    if seen.error is not None:
        enforce(seen.verdicts, settings.ref)
        raise named(seen.error, settings.ref)
    return replace(seen.token, workspace=token.workspace or seen.workspace_id), seen.verdicts


def _consulted(
    token: AstroToken, verdicts: tuple[Verdict, ...], settings: TokenSettings, deadline: Deadline
) -> Online:
    """It raises nothing of what was asked: a request that is under way has the token in its header."""
    from astro_token.astro_api import AstroApi
    from astro_token.tokens.online import consult

    with AstroApi() as api:
        return consult(token, verdicts, settings, api, deadline)


def judged(settings: TokenSettings, value: SecretValue) -> tuple[AstroToken, tuple[Verdict, ...]]:
    """
    The token that a value is, and what there is to say of it.

    Raises:
        InvalidTokenError: it is none.
    """
    token = replace(prefixed_with(settings.ref, lambda: parse_stored(value)), ref=settings.ref)
    return token, judge(token, settings.policy, settings.expected)


def parse_stored(value: SecretValue) -> AstroToken:
    """
    Parse a token that was read from a backend.

    Raises:
        InvalidTokenError: it is not an Astro API token. The hint tells if it looks like ciphertext.
    """
    try:
        return AstroToken.parse(value)
    except InvalidTokenError as error:
        if is_ciphertext(normalise(value)):
            error.hint = "it looks like ciphertext: name its key, as in --decrypt vault-transit:astro"
        raise
