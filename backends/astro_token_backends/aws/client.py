"""The clients of all AWS services in a process, and their one login."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from astro_token.errors import result
from astro_token.log import logger, silence
from astro_token.transport.client import BODY_LIMIT
from astro_token_backends.aws import LOGGERS
from astro_token_backends.aws.batch import in_batches
from astro_token_backends.aws.credential_chain import adapt_chain
from astro_token_backends.aws.credential_source import source_hint
from astro_token_backends.aws.endpoint import endpoint_url, region_of, resolve_region
from astro_token_backends.aws.errors import login_error, translated
from astro_token_backends.aws.login import Login
from astro_token_backends.aws.sdk_session import client_config, import_botocore, new_session
from astro_token_backends.aws.settings import Options, sdk_environment
from astro_token_backends.boundary import call_sdk
from astro_token_backends.login import LoginLock, one_per_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from astro_token.errors import AstroTokenError
    from astro_token.secret import SecretMetadata, SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route

    Outcome = SecretValue | AstroTokenError

__all__ = ["AwsService", "SecretService", "Session", "shared"]

_T = TypeVar("_T")

_ROUTE_SECONDS = 1.0


class _Open:
    """
    An open session of botocore.

    Attributes:
        region: of the profile.
        used: the credentials of the login that was made.
    """

    def __init__(self, of_reference: str | None, options: Options) -> None:
        from astro_token_backends.aws.adapter import Sender

        self.sdk = sdk = new_session(options.profile)
        self.sender = sender = Sender(sdk, options)
        self._options = options
        self.region: str | None = sdk.get_config_variable("region")
        # Logs in where the first secret is: an endpoint of another region may be out of reach.
        region = resolve_region(of_reference, self.region)
        sdk.set_config_variable("region", region)
        sdk.register("before-send", sender)
        chain, self.metadata = adapt_chain(sdk, sender)
        self.login = Login(
            sdk, chain, partial(self._sts, region), lambda: sender.until - time.monotonic(), options
        )
        sdk.register_component("credential_provider", self.login)
        self.used: Any = None
        self.clients: dict[tuple[str, str, str | None], Any] = {}

    def client(self, service: str, region: str, *, sign: bool = True, **options: Any) -> Any:
        from botocore import UNSIGNED

        return self.sdk.create_client(
            service,
            region_name=region,
            endpoint_url=self.endpoint(service),
            config=client_config() if sign else client_config(signature_version=UNSIGNED),
            **options,
        )

    def endpoint(self, service: str) -> str | None:
        """The address of a service; None for AWS's own."""
        options = self._options
        return (options.sts_endpoint if service == "sts" else options.endpoint) or endpoint_url(
            self.sdk, service
        )

    def _sts(self, region: str, credentials: Any | None) -> Any:
        with sdk_environment():
            if credentials is None:
                return self.client("sts", region, sign=False)
            frozen = credentials.get_frozen_credentials()
            return self.client(
                "sts",
                region,
                aws_access_key_id=frozen.access_key,
                aws_secret_access_key=frozen.secret_key,
                aws_session_token=frozen.token,
            )

    def credentials(self) -> Any:
        """The credentials, before any role is assumed."""
        from botocore.exceptions import NoCredentialsError

        try:
            credentials = self.sdk.get_credentials()
        except Exception:
            if self.metadata.failure is None:
                raise
            credentials = None
        if credentials is None:
            raise self.metadata.failure or NoCredentialsError
        return credentials

    def frozen_credentials(self) -> Any:
        """The credentials as they are now. They are renewed, and a role is assumed here."""
        credentials = self.credentials()
        if self.used is not credentials:
            logger.debug("logging in to AWS with %s", self.login.source)
        frozen = call_sdk(credentials.get_frozen_credentials, self._translated)
        self.used = credentials
        return frozen

    def _translated(self, error: Exception) -> AstroTokenError:
        hint = source_hint(str(self.credentials().method), self.sdk)
        return login_error(error, self.login.source, hint, is_local=not self.sender.has_sent)


class Session:
    """
    Reads the environment and logs in at first use, and renews credentials that expire.

    The methods raise AstroTokenErrors for the environment, the login and the network,
    and botocore's exceptions for the service's refusals and the profile.
    Regions are those of a reference; None stands for the environment's.

    Args:
        client: one of botocore's, in place of those that would be created.
        options: replace what the environment says.
    """

    def __init__(self, client: Any = None, *, options: Options | None = None) -> None:
        import_botocore()  # a missing package is reported here
        self._given = client
        self._options = options or Options()
        self._lock = LoginLock("AWS")
        silence(LOGGERS)
        self._open: _Open | None = None

    def call(
        self,
        service: str,
        operation: str,
        region: str | None,
        until: float,
        values: int = 1,
        **arguments: Any,
    ) -> Any:
        """
        Send one request, after the login if there was none.

        Args:
            until: the deadline, by the monotonic clock.
            values: the number of secrets that the response may hold.
        """
        if self._given is not None:
            return getattr(self._given, operation)(**arguments)
        with self._opened(region, until) as opened:
            name = resolve_region(region, opened.region)
            key = (service, name, opened.endpoint(service))
            opened.frozen_credentials()
            if key not in opened.clients:
                opened.clients[key] = opened.client(service, name)
            client = opened.clients[key]
            until = opened.sender.until  # a person may have typed a code meanwhile
        with opened.sender.within(until, BODY_LIMIT * values):
            return getattr(client, operation)(**arguments)

    def route(self, service: str, region: str | None) -> Route:
        """The route to a service. Nothing is sent."""
        from astro_token_backends.aws.adapter import aws_route

        if self._given is not None:
            return aws_route(str(self._given.meta.endpoint_url))
        with self._opened(region, time.monotonic() + _ROUTE_SECONDS) as opened:
            client = opened.client(service, resolve_region(region, opened.region), sign=False)
            return opened.sender.route(str(client.meta.endpoint_url), service)

    def credential_source(self, region: str | None, until: float) -> str:
        """Describe the credential that a login would use. No role is assumed."""
        if self._given is not None:
            return "the client that was given"
        with self._opened(region, until) as opened:
            opened.credentials()
            return opened.login.source

    def credentials(self, region: str | None, until: float) -> Any:
        """The frozen credentials of the login, to sign with; None if a client was given."""
        if self._given is not None:
            return None
        with self._opened(region, until) as opened:
            return opened.frozen_credentials()

    def forget(self) -> None:
        """Drop the session and the lock in a forked child: they belong to the parent."""
        self._open = None
        self._lock.forget()

    def close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened.sender.close()

    @contextmanager
    def _opened(self, region: str | None, until: float) -> Iterator[_Open]:
        """Admit one thread at a time: threads can share clients, but not a session."""
        with self._lock.within(until - time.monotonic()), sdk_environment():
            if self._open is None:
                self._open = call_sdk(lambda: _Open(region, self._options), _configuration_error)
                silence(LOGGERS)
            opened = self._open
            with opened.sender.within(until):
                yield opened


def _configuration_error(error: Exception) -> AstroTokenError:
    return login_error(error, "the AWS configuration", source_hint(""), is_local=True)


class AwsService:
    """
    Base of the backends of AWS.

    Args:
        client: one of botocore's, for all regions.
        session: in place of the one that the process shares.
    """

    _service: ClassVar[str]  # botocore's name for it

    def __init__(self, client: Any = None, *, session: Session | None = None) -> None:
        self._session = session or (Session(client) if client is not None else shared())

    def route(self, ref: SecretRef) -> Route:
        return call_sdk(lambda: self._session.route(self._service, region_of(ref)), translated)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:
        return self._within(timeout, lambda until: self._session.credential_source(region_of(ref), until))

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:
        self._within(timeout, lambda until: self._session.credentials(region_of(ref), until))

    def close(self) -> None:
        self._session.close()

    def _within(self, timeout: float, call: Callable[[float], _T]) -> _T:
        """Call with the deadline on the monotonic clock, and translate botocore's exceptions."""
        until = time.monotonic() + timeout
        return call_sdk(lambda: call(until), translated)

    def _call(self, ref: SecretRef, operation: str, until: float, values: int = 1, **arguments: Any) -> Any:
        return self._session.call(self._service, operation, region_of(ref), until, values, **arguments)


class SecretService(AwsService):
    """The methods of a backend for secrets. Subclasses define those with an underscore."""

    _batch_size: ClassVar[int]
    _single_options: ClassVar[frozenset[str]] = frozenset()  # a secret with one of them fits into no batch

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return self._within(timeout, lambda until: result(self._read(ref, until)))

    def read_many(self, refs: Sequence[SecretRef], *, timeout: float) -> dict[SecretRef, Outcome]:
        return self._within(
            timeout,
            lambda until: in_batches(
                refs,
                self._batch_size,
                lambda ref: None if self._single_options & ref.options.keys() else (region_of(ref),),
                lambda batch: self._read_batch(batch, until),
                lambda ref: result(self._read(ref, until)),
            ),
        )

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        return self._within(timeout, lambda until: self._describe(ref, until))

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        return self._within(timeout, lambda until: self._write(ref, value, expected_version, until))

    def _read(self, ref: SecretRef, until: float) -> Outcome:
        raise NotImplementedError

    def _read_batch(self, refs: Sequence[SecretRef], until: float) -> dict[SecretRef, Outcome]:
        """Read several secrets with one request. Those that are left out are read one by one."""
        raise NotImplementedError

    def _describe(self, ref: SecretRef, until: float) -> SecretMetadata:
        raise NotImplementedError

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, until: float) -> str:
        raise NotImplementedError


shared = one_per_process(Session)  # by all three services
