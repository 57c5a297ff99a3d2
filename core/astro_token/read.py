"""
The path of the data, from settings to a checked token:

    TokenSettings -> SecretRef -> Backend.read -> (decrypt) -> AstroToken -> policy

What is the same for all backends is done here, once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from astro_token.ciphertext import unpacked
from astro_token.deadline import Deadline
from astro_token.errors import AstroTokenError, BackendError, named
from astro_token.fields import choose
from astro_token.log import logger
from astro_token.policy import Verdict, enforce, judge
from astro_token.protocols import Backend, SupportsDecrypt
from astro_token.registry import open_backend, require
from astro_token.secret import SecretValue
from astro_token.settings import TokenSettings, resolve
from astro_token.token import AstroToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.online import Online
    from astro_token.policy import Policy
    from astro_token.ref import SecretRef

_T = TypeVar("_T")

__all__ = [
    "checked",
    "judged",
    "naming",
    "plain",
    "read_secret",
    "read_token",
    "read_whole",
    "secret_value",
]


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
    from astro_token.online import consult

    with AstroApi() as api:
        return consult(token, verdicts, settings, api, deadline)


def judged(settings: TokenSettings, value: SecretValue) -> tuple[AstroToken, tuple[Verdict, ...]]:
    """
    The token that a value is, and what there is to say of it.

    Raises:
        InvalidTokenError: it is none.
    """
    token = replace(naming(settings.ref, lambda: AstroToken.parse(value)), ref=settings.ref)
    return token, judge(token, settings.policy, settings.expected)


def read_secret(
    ref: SecretRef,
    *,
    deadline: Deadline,
    decrypt: SecretRef | None = None,
    backend: Backend | None = None,
) -> SecretValue:
    """
    Reads a secret, chooses its field, and decrypts it where a key is named.

    Raises:
        AstroTokenError: as `read_token`, the errors about tokens apart.
            The message names the reference. Neither cause nor traceback leads to the backend's frames.
    """

    def read() -> SecretValue:
        whole = read_whole(ref, backend or open_backend(ref.scheme), deadline)
        return plain(whole, ref, decrypt, deadline)

    return naming(ref, read)


def read_whole(ref: SecretRef, backend: object, deadline: Deadline) -> SecretValue:
    """A secret with all its fields, as the backend keeps it."""
    logger.debug("reading %s", ref)
    readable = require(backend, Backend, ref.scheme, "it names a key, not a secret")
    return secret_value(deadline.retry(lambda seconds: readable.read(ref, timeout=seconds)))


def plain(whole: SecretValue, ref: SecretRef, decrypt: SecretRef | None, deadline: Deadline) -> SecretValue:
    """The field that the reference means, decrypted where a key is named."""
    chosen = choose(whole, ref.field)
    if decrypt is None:
        return chosen
    logger.debug("decrypting with %s", decrypt)
    key = require(open_backend(decrypt.scheme), SupportsDecrypt, decrypt.scheme, "it cannot decrypt")
    ciphertext = unpacked(chosen)
    decrypted = naming(
        decrypt,
        lambda: secret_value(
            deadline.retry(lambda seconds: key.decrypt(decrypt, ciphertext, timeout=seconds))
        ),
    )
    return SecretValue(decrypted.reveal(), chosen.version)


def secret_value(answer: object) -> SecretValue:
    """
    What a backend returned.

    Raises:
        BackendError: it is something else, which may hold a secret that can print itself.
    """
    if not isinstance(answer, SecretValue):
        raise BackendError("the backend returned no SecretValue", hint="report it to the backend's makers")
    return answer


def naming(ref: SecretRef, call: Callable[[], _T]) -> _T:
    """Puts the reference in front of what went wrong with it, and takes off what hangs on it."""
    try:
        return call()
    except AstroTokenError as error:
        failure = named(error, ref)
    raise failure
