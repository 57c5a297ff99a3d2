"""
Changes to botocore's credential chain.

It never prompts, because standard input and the terminal belong to the command;
and it calls the metadata services of containers and instances over our transport, once and directly.
"""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from astro_token.errors import AccessDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astro_token_backends.aws.adapter import MetadataSession, Sender

__all__ = ["adapt_chain"]

# botocore has no public interface for any of this.
# ruff: noqa: SLF001


def adapt_chain(chain: Any, sender: Sender) -> MetadataSession:
    """
    Change the providers of a chain, and those that a source profile adds to it.

    Return the session that asks for an instance's role.
    """
    from astro_token_backends.aws.adapter import MetadataSession

    instance, container = MetadataSession(sender), MetadataSession(sender, is_configured=True)
    for index, provider in enumerate(_silenced(chain.providers)):
        builder = getattr(provider, "_profile_provider_builder", None)
        if builder is not None:
            providers = builder.providers
            builder.providers = lambda *given, providers=providers, **named: _silenced(
                providers(*given, **named)
            )
        is_instance = getattr(provider, "METHOD", None) == "iam-role"
        client: Any = getattr(provider, "_role_fetcher" if is_instance else "_fetcher", None)
        if hasattr(client, "_session"):
            client._session = instance if is_instance else container
            client.RETRY_ATTEMPTS, client.SLEEP_TIME = 1, 0
        if is_instance:
            chain.providers[index] = _InstanceProvider(provider)
    return instance


def _silenced(providers: Iterable[Any]) -> list[Any]:
    silenced = list(providers)
    for provider in silenced:
        if hasattr(provider, "_prompter"):
            provider._prompter = _refuse
        if hasattr(provider, "_popen"):  # of credential_process
            provider._popen = partial(subprocess.Popen, stdin=subprocess.DEVNULL)
    return silenced


def _refuse(_prompt: str) -> NoReturn:
    raise AccessDeniedError(
        "the AWS profile requires an MFA code (mfa_serial), and astro-token does not ask for it",
        hint="log in first, for example with `aws sts get-session-token`, and set the temporary credentials, "
        "or set AWS_PROFILE to a profile without mfa_serial",
    )


class _InstanceProvider:
    """The role of an instance. botocore fails on other machines if version 1 of the service is disabled."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.METHOD, self.CANONICAL_NAME = provider.METHOD, provider.CANONICAL_NAME

    def load(self) -> Any | None:
        from botocore.exceptions import MetadataRetrievalError

        try:
            return self._provider.load()
        except MetadataRetrievalError:
            return None
