"""Keep botocore from reading standard input and the terminal: both belong to the command."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from astro_token.errors import AccessDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["never_prompt"]


def never_prompt(chain: Any) -> None:
    """Change the providers of a credential chain, and those that a source profile adds to it."""
    for provider in _silenced(chain.providers):
        builder = getattr(provider, "_profile_provider_builder", None)
        if builder is not None:
            providers = builder.providers
            builder.providers = lambda *given, providers=providers, **named: _silenced(
                providers(*given, **named)
            )


def _silenced(providers: Iterable[Any]) -> list[Any]:
    silenced = list(providers)
    for provider in silenced:
        if hasattr(provider, "_prompter"):
            provider._prompter = _refuse  # noqa: SLF001 (botocore has no other interface)
        if hasattr(provider, "_popen"):  # of credential_process
            provider._popen = partial(subprocess.Popen, stdin=subprocess.DEVNULL)  # noqa: SLF001 (as above)
    return silenced


def _refuse(_prompt: str) -> NoReturn:
    raise AccessDeniedError(
        "the AWS profile requires an MFA code (mfa_serial), and astro-token does not ask for it",
        hint="log in first, for example with `aws sts get-session-token`, and set the temporary credentials, "
        "or set AWS_PROFILE to a profile without mfa_serial",
    )
