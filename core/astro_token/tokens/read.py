"""Read one secret or one token. Reading stops at the first step that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import with_prefix
from astro_token.policy.rules import enforce
from astro_token.record import replace
from astro_token.settings.resolve import TokenSettings, resolve
from astro_token.tokens.steps import DECRYPTION, READING, SELECTION, TokenPath, steps, walk
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from astro_token.errors import AstroTokenError
    from astro_token.policy.rules import Policy, Verdict
    from astro_token.secret import SecretValue
    from astro_token.secrets.protocols import Backend
    from astro_token.secrets.ref import SecretRef
    from astro_token.token import AstroToken

__all__ = ["read_and_verify", "read_secret", "read_token"]


def read_token(
    token: str | SecretRef | None = None,
    *,
    decrypt: str | SecretRef | None = None,
    policy: Policy | None = None,
    backend: Backend | None = None,
    timeout: float | None = None,
) -> AstroToken:
    """
    Read an Astro API token, verify it, and return it with its claims.

        token = astro_token.read_token("vault:secret/astro/prod#token")

    Args:
        token: a reference, several in the order in which they are tried, separated by commas,
            or a name from astro-token.toml;
            None for the token that the environment or that file selects.
        decrypt: the key of a key service, if the secret is ciphertext.
        policy: the minimum; astro-token.toml and the environment can only make it stricter.
        backend: used instead of the backend of the reference's scheme.
        timeout: seconds for the whole call; None for `ASTRO_TOKEN_TIMEOUT`, else 30.

    Raises:
        UsageError: the reference or the name is invalid.
        ConfigError: the settings are invalid, or a package is not installed.
        SecretNotFoundError, AccessDeniedError, BackendUnavailableError, BackendDownError,
        IntegrityError, BackendError, DecryptError: the backend failed.
        InvalidTokenError: the secret is not an Astro API token, or has expired.
        PolicyError: policy or the project's expectations do not allow the token.
    """
    settings = resolve(token, decrypt=decrypt, policy=policy, timeout=timeout, any_scheme=backend is not None)
    verified, verdicts = read_and_verify(settings, backend=backend)
    enforce(verdicts, verified.ref)
    return verified


def read_and_verify(
    settings: TokenSettings,
    *,
    backend: Backend | None = None,
    online: bool = False,
) -> tuple[AstroToken, tuple[Verdict, ...]]:
    """
    Read a token and evaluate it, without enforcing the verdicts.

    Args:
        online: check it with Astro even if policy does not require that. The token then has the scope and
            the expiry that Astro stores, and the workspace of its deployment.

    Raises:
        AstroTokenError: a step failed. The message names the reference.
    """
    path = TokenPath(settings, Deadline(settings.timeout), given=backend)
    error = _read_selected(path)
    if error is not None and path.is_chain:
        from astro_token.tokens.chain import try_others

        error = try_others(path, error, _read_selected)
    if error is None:
        error = walk(path, steps(settings, online=online or settings.policy.online))
    if error is not None:
        enforce(path.verdicts, path.settings.ref)
        raise with_prefix(error, path.settings.ref)
    token = path.token
    if path.online is not None:
        token = replace(token, workspace=token.workspace or path.online.workspace_id)
    return token, path.verdicts


def _read_selected(path: TokenPath) -> AstroTokenError | None:
    return walk(path, (*READING, *SELECTION))


def read_secret(
    ref: SecretRef,
    *,
    deadline: Deadline,
    decrypt: SecretRef | None = None,
    backend: Backend | None = None,
) -> SecretValue:
    """
    Read a secret, select its field, and decrypt it if a key is named.

    Raises:
        AstroTokenError: as `read_token`, apart from the errors about tokens.
            The message names the reference. Neither cause nor traceback leads to the backend's frames.
    """
    path = TokenPath(TokenSettings(ref, decrypt=decrypt), deadline, given=backend)
    error = walk(path, (*READING, *SELECTION, *(DECRYPTION if decrypt else ())))
    if error is not None:
        raise with_prefix(error, ref)
    return path.value
