"""
Changes to botocore's credential chain.

It prompts for the code of an MFA device at the terminal only, because standard input belongs to the command;
it calls the metadata services of containers and instances over our transport, once and directly;
it runs `credential_process` within the deadline; and its errors name the source that failed.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

from astro_token.ci import in_ci
from astro_token.errors import AccessDeniedError, ConfigError
from astro_token.system.files import read_credential
from astro_token.system.programs import find_program
from astro_token.system.running import run_program
from astro_token.system.terminal import can_prompt, prompt
from astro_token.system.variables import path_setting
from astro_token.transport.deadline import paused_deadline
from astro_token_backends.aws.credential_source import describe_source, source_hint
from astro_token_backends.aws.errors import login_error
from astro_token_backends.aws.settings import setting
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astro_token.errors import AstroTokenError
    from astro_token_backends.aws.adapter import MetadataSession, Sender

__all__ = ["adapt_chain"]

# botocore has no public interface for any of this.
# ruff: noqa: SLF001

_OUTPUT_LIMIT = 64 * 1024
_MFA_CODE = re.compile(r"[0-9]{6}")
_codes: list[str] = []  # a retry sends the same one: a request that was lost has not used it up


def adapt_chain(sdk: Any, sender: Sender) -> tuple[Any, MetadataSession]:
    """
    Change the providers of a session's chain, and those that a source profile adds to it.

    Return the chain, and the session that requests an instance's role.
    """
    from astro_token_backends.aws.adapter import MetadataSession

    chain = sdk.get_component("credential_provider")
    instance, container = MetadataSession(sender), MetadataSession(sender, is_configured=True)

    def adapt(providers: Sequence[Any]) -> list[Any]:
        for provider in providers:
            for name, replacement in (
                ("_prompter", lambda text: _mfa_code(text, sender)),
                ("_popen", lambda argv, **_: _Process(argv, sender)),
                ("_token_loader_cls", lambda path: lambda: read_credential(path).decode().strip()),
            ):
                if hasattr(provider, name):
                    setattr(provider, name, replacement)
        return list(providers)

    for index, provider in enumerate(adapt(chain.providers)):
        builder = getattr(provider, "_profile_provider_builder", None)
        if builder is not None:
            providers = builder.providers
            builder.providers = lambda *given, providers=providers, **named: adapt(providers(*given, **named))
        if provider.METHOD == "iam-role":
            _redirect(provider._role_fetcher, instance)
        elif provider.METHOD == "container-role":
            _redirect(provider._fetcher, container)
            provider._build_headers = _container_headers
        chain.providers[index] = _Provider(provider, sdk, sender)
    return chain, instance


def _redirect(client: Any, session: MetadataSession) -> None:
    client._session = session
    client.RETRY_ATTEMPTS, client.SLEEP_TIME = 1, 0


class _Provider:
    """A provider of the chain. Its errors name the provider."""

    def __init__(self, provider: Any, sdk: Any, sender: Sender) -> None:
        self.METHOD, self.CANONICAL_NAME = provider.METHOD, provider.CANONICAL_NAME
        self._load: Callable[[], Any | None] = provider.load
        self._sdk = sdk
        self._sender = sender

    def load(self) -> Any | None:
        from botocore.exceptions import MetadataRetrievalError

        def load() -> Any | None:
            try:
                return self._load()
            except MetadataRetrievalError:
                # On machines that are not instances, if version 1 of the metadata service is disabled.
                if self.METHOD != "iam-role":
                    raise
                return None

        def translated(error: Exception) -> AstroTokenError:
            source = describe_source(self.METHOD, self._sdk)
            return login_error(
                error, source, source_hint(self.METHOD, self._sdk), is_local=not self._sender.has_sent
            )

        return call_sdk(load, translated)


class _Process:
    """A run of `credential_process`, with the interface of Popen that botocore uses."""

    def __init__(self, argv: Sequence[str], sender: Sender) -> None:
        path = find_program(argv[0], os.environ)
        completed = path and run_program(
            [path, *argv[1:]], os.environ, seconds=sender.until - time.monotonic(), limit=_OUTPUT_LIMIT
        )
        if not completed:
            raise FileNotFoundError
        if completed.late:
            raise TimeoutError
        self.returncode = completed.code
        self._output = completed.output

    def communicate(self) -> tuple[bytes, bytes]:
        return self._output, b""


def _container_headers() -> dict[str, str] | None:
    name = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
    token = setting(name)
    if path := path_setting(os.environ, f"{name}_FILE"):
        name, token = f"{name}_FILE", read_credential(path).decode().strip()
    if token and not (token.isascii() and token.isprintable()):
        raise ConfigError(
            f"{name} contains a character that an HTTP header cannot hold",
            hint="check the token for line ends and other control characters",
        )
    return {"Authorization": token} if token else None


def _mfa_code(text: str, sender: Sender) -> str:
    """
    Prompt for the MFA code of the profile, once per process. The deadline does not run meanwhile.

    Raises:
        AccessDeniedError: nobody can be prompted, or what was typed is not a code.
    """
    if not _codes:
        if in_ci(os.environ) or not can_prompt():
            raise AccessDeniedError(
                "the AWS profile requires an MFA code (mfa_serial), and no person can be prompted for it",
                hint="run it at a terminal, or log in first, for example with `aws sts get-session-token`, "
                "and set the temporary credentials, or set AWS_PROFILE to a profile without mfa_serial",
            )
        began = time.monotonic()
        with paused_deadline():
            _codes.append(prompt(f"astro-token: {text}".rstrip() + " ").decode("ascii", "replace").strip())
        sender.postpone(time.monotonic() - began)
    code = _codes[0]
    if not _MFA_CODE.fullmatch(code):
        raise AccessDeniedError(
            "what was typed is not an MFA code", hint="type the six digits that the device shows"
        )
    return code
