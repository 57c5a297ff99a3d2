"""What all three services share in a process: region, endpoint, authorities, and one login."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astro_token.errors import BackendUnavailableError
from astro_token.log import logger, silence
from astro_token_backends import network
from astro_token_backends.aws import LOGGERS, place
from astro_token_backends.aws.login import Login, no_credential
from astro_token_backends.aws.machine import ask_once_and_directly
from astro_token_backends.aws.prompts import never_prompt
from astro_token_backends.login import LoginLock, one_per_process

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from astro_token_backends.aws.transport import MachineSession, OneRequest

__all__ = ["Session", "shared"]

# Where the SDK's chain of credentials may send an identity.
_LOGIN_ENDPOINTS = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC")
# Ours, and those that the chain of credentials may ask. The SDK would look through 440 folders for more.
_MODELS = ("kms", "secretsmanager", "ssm", "sts", "sso", "sso-oidc", "signin")
_ADDRESS_SECONDS = 1.0
_GIVEN = "the client that was given"


@dataclass(slots=True)
class _Open:
    """
    Attributes:
        machines: by which a machine or a container is asked for its role.
        used: the credentials of the login that was made.
    """

    sdk: Any
    login: Login
    transport: OneRequest
    machines: list[MachineSession]
    region: str | None
    used: Any = None
    clients: dict[tuple[str, str, str | None], Any] = field(default_factory=dict)


class Session:
    """
    Reads the environment and logs in when it is first used, and renews what expires.

    Args:
        client: one of the SDK's, in place of those that would be made.
    """

    def __init__(self, client: Any = None) -> None:
        import botocore.session  # noqa: F401 (what is not installed has to show here)

        self._given = client
        self._lock = LoginLock("AWS")
        silence(LOGGERS)
        self._open: _Open | None = None

    def call(
        self,
        service: str,
        operation: str,
        arguments: Mapping[str, Any],
        *,
        region: str | None,
        until: float,
        answers: int = 1,
    ) -> Any:
        """
        One request, after the login where there was none.

        Args:
            region: of the reference; None for the environment's.
            until: the end of the time for it, on the monotonic clock.
            answers: how many secrets the answer may hold.

        Raises:
            AstroTokenError: the environment, the login or the network.
            Exception: the SDK's, for what AWS refuses.
        """
        if self._given is not None:
            return getattr(self._given, operation)(**arguments)
        client, transport = self._client(service, region, until)
        from astro_token_backends.aws.transport import BODY_LIMIT

        with transport.within(until, BODY_LIMIT * answers):
            return getattr(client, operation)(**arguments)

    def forget(self) -> None:
        """Lets go of everything: in a forked child it is the parent's."""
        self._open = None
        self._lock.forget()

    def close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened.transport.close()

    # -- clients --------------------------------------------------------------------------------------

    def address(self, service: str, region: str | None) -> str:
        """
        Where a service is asked, without asking.

        Args:
            region: of the reference; None for the environment's.

        Raises:
            AstroTokenError: the environment.
            Exception: the SDK's, for what is wrong with its configuration.
        """
        if self._given is not None:
            return str(self._given.meta.endpoint_url)
        from botocore import UNSIGNED

        with self._alone(time.monotonic() + _ADDRESS_SECONDS):
            opened = self._opened(region)
            client = opened.sdk.create_client(
                service,
                region_name=place.region(region, opened.region),
                endpoint_url=place.endpoint(opened.sdk, service),
                config=_config(signature_version=UNSIGNED),  # which needs no credentials
            )
            return str(client.meta.endpoint_url)

    def trust(self, region: str | None) -> ssl.SSLContext:
        """
        Raises:
            AstroTokenError: the environment, a file of authorities above all.
        """
        with self._alone(time.monotonic() + _ADDRESS_SECONDS):
            return place.trust(self._opened(region).sdk)

    def credential_source(self, region: str | None, until: float) -> str:
        """
        What a login would take, in words; no role is assumed for it.

        Raises:
            AstroTokenError: there is nothing, or the environment or the network.
            Exception: the SDK's.
        """
        if self._given is not None:
            return _GIVEN
        with self._alone(until):
            opened = self._opened(region)
            with opened.transport.within(until):
                _found(opened)
            return opened.login.source

    def log_in(self, region: str | None, until: float) -> None:
        """
        Raises:
            AstroTokenError: as `credentials`.
            Exception: the SDK's.
        """
        if self._given is None:
            self.credentials(region, until)

    def credentials(self, region: str | None, until: float) -> Any:
        """
        The frozen credentials of the login, for whoever signs with them.

        Raises:
            AstroTokenError: there are none, or the network.
            Exception: the SDK's.
        """
        with self._alone(until):
            opened = self._opened(region)
            with opened.transport.within(until):
                return _logged_in(opened)

    def _client(self, service: str, region: str | None, until: float) -> tuple[Any, OneRequest]:
        with self._alone(until):
            opened = self._opened(region)
            where = place.region(region, opened.region)
            endpoint = place.endpoint(opened.sdk, service)
            key = (service, where, endpoint)
            if key not in opened.clients:
                with opened.transport.within(until):
                    _logged_in(opened)
                    opened.clients[key] = opened.sdk.create_client(
                        service, region_name=where, endpoint_url=endpoint, config=_config()
                    )
            return opened.clients[key], opened.transport

    @contextmanager
    def _alone(self, until: float) -> Iterator[None]:
        """Admit one thread at a time: its clients are safe between threads, a session is not."""
        with self._lock.within(until - time.monotonic()), _no_key_log():
            yield

    def _opened(self, region: str | None) -> _Open:
        if self._open is None:
            from astro_token_backends.aws.transport import OneRequest

            sdk = _sdk()
            of_profile = sdk.get_config_variable("region")
            # Logs in where the first secret is: an endpoint of another region may be out of reach.
            where = place.region(region, of_profile)
            sdk.set_config_variable("region", where)
            transport = OneRequest(lambda: place.trust(sdk))
            sdk.register("before-send", transport)
            chain = sdk.get_component("credential_provider")
            never_prompt(chain)
            machines = ask_once_and_directly(chain)
            login = Login(sdk, chain, lambda credentials: _sts(sdk, where, credentials), transport.seconds)
            sdk.register_component("credential_provider", login)
            self._open = _Open(sdk, login, transport, machines, of_profile)
            silence(LOGGERS)
        return self._open


def _logged_in(opened: _Open) -> Any:
    """The credentials as they are now, frozen; where they are those of a role, it is assumed here."""
    found = _found(opened)
    if opened.used is not found:
        logger.debug("logging in to AWS with %s", opened.login.source)
    now = found.get_frozen_credentials()
    opened.used = found
    return now


def _found(opened: _Open) -> Any:
    try:
        found = opened.sdk.get_credentials()
    except Exception:
        if not _is_busy(opened):
            raise
        found = None
    if found is None:
        raise _no_answer() if _is_busy(opened) else no_credential()
    return found


def _is_busy(opened: _Open) -> bool:
    return any(machine.busy for machine in opened.machines)


def _no_answer() -> BackendUnavailableError:
    return BackendUnavailableError(
        "what gives this machine or container its role is busy, or failed", hint="try again later"
    )


def _sdk() -> Any:
    import botocore.session
    from botocore.loaders import Loader

    class Models(Loader):  # type: ignore[misc]
        def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 (botocore's interface)
            return list(_MODELS)

    sdk = botocore.session.Session()
    data_path = sdk.get_config_variable("data_path")
    paths = [os.path.expanduser(path) for path in data_path.split(os.pathsep)] if data_path else []  # noqa: PTH111
    sdk.register_component("data_loader", Models(extra_search_paths=paths))
    sdk.set_config_variable("metadata_service_num_attempts", 1)
    if "AWS_EC2_METADATA_V1_DISABLED" not in os.environ:
        # Falling back to the first version is unsafe, and doubles the second that it takes
        # to find out that this is no instance.
        sdk.set_config_variable("ec2_metadata_v1_disabled", True)
    # A profile's addresses are not followed, by the clients that the chain makes for itself either:
    # these take the environment's.
    for profile in sdk.full_config.get("profiles", {}).values():
        profile.pop("endpoint_url", None)
        profile.pop("services", None)
    for name in _LOGIN_ENDPOINTS:
        if os.environ.get(name):
            network.refuse_plain_http(os.environ[name], name)
    sdk.set_default_client_config(_config(ignore_configured_endpoint_urls=False))
    return sdk


def _config(**further: Any) -> Any:
    from botocore.config import Config

    # The environment's address is given with the client.
    options = {"ignore_configured_endpoint_urls": True, **further}
    return Config(retries={"total_max_attempts": 1, "mode": "standard"}, **options)


def _sts(sdk: Any, region: str, credentials: Any | None) -> Any:
    from botocore import UNSIGNED

    endpoint = place.endpoint(sdk, "sts")
    with _no_key_log():
        if credentials is None:
            return sdk.create_client(
                "sts",
                region_name=region,
                endpoint_url=endpoint,
                config=_config(signature_version=UNSIGNED),
            )
        now = credentials.get_frozen_credentials()
        return sdk.create_client(
            "sts",
            region_name=region,
            endpoint_url=endpoint,
            config=_config(),
            aws_access_key_id=now.access_key,
            aws_secret_access_key=now.secret_key,
            aws_session_token=now.token,
        )


@contextmanager
def _no_key_log() -> Iterator[None]:
    """Botocore opens the file that SSLKEYLOGFILE names with each client, whether or not that ever sends."""
    name = os.environ.pop("SSLKEYLOGFILE", None)
    try:
        yield
    finally:
        if name is not None:
            os.environ["SSLKEYLOGFILE"] = name


# For all three services.
shared = one_per_process(Session)
