"""What all calls of a process share: the login, and a channel to each address."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from astro_token.errors import AstroTokenError, IntegrityError
from astro_token.log import logger, silence
from astro_token.transport.deadline import Deadline
from astro_token_backends import network
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp import LOGGERS
from astro_token_backends.gcp.refusals import refused
from astro_token_backends.gcp.settings import proxy_to
from astro_token_backends.login import LoginLock, one_per_process

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from astro_token_backends.gcp.credentials import Found
    from astro_token_backends.gcp.refusals import Need

__all__ = ["Connection", "quietly", "shared"]

# A secret has 64 KiB at the most, and so has what a key encrypts.
_ANSWER_LIMIT = 256 * 1024
_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
_NOISE = ("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", "GRPC_VERBOSITY")


class Connection:
    """
    Reads the environment and logs in when it is first used.

    Args:
        environ: in place of `os.environ`.
        credential: one of google-auth's, in place of the one that a login finds.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, credential: Any = None) -> None:
        self._environ: Callable[[], Mapping[str, str]] = lambda: os.environ if environ is None else environ
        self._given = credential
        self._found: Found | None = None
        self._login = LoginLock("Google Cloud")
        self._lock = threading.Lock()
        self._channels: dict[str, Any] = {}
        self._clients: dict[tuple[str, str], Any] = {}

    @property
    def environ(self) -> Mapping[str, str]:
        return self._environ()

    def ask(
        self,
        host: str,
        make: Callable[[Any], Any],
        call: Callable[..., Any],
        *,
        need: Need,
        meaning: Callable[[Exception], AstroTokenError | None],
        seconds: float,
        injected: Any = None,
    ) -> Any:
        """
        What one call of a service returns.

        Args:
            host: the service's `host:port`.
            make: a client of the SDK, on a channel.
            call: gets the client, and options for the SDK's call.
            need: what a denial's hint has to name.
            meaning: what the service's refusals mean in this call; None for those that mean the same in all.
            injected: a client that brings its own login.

        Raises:
            AstroTokenError: the environment, the login, or the call.
        """
        until = time.monotonic() + seconds

        def translated(error: Exception) -> AstroTokenError:
            from google.api_core import exceptions as sdk

            if isinstance(error, sdk.ServiceUnavailable) and not error.details:
                failure = refused(error, need)
                if isinstance(failure, IntegrityError):
                    return failure
                return self._unreachable(host, max(0.1, until - time.monotonic())) or failure
            if isinstance(error, sdk.Unauthorized):
                self._found = None  # the next attempt logs in again
            return meaning(error) or refused(error, need)

        def asked() -> Any:
            client = self._client(host, make) if injected is None else injected
            headers = self._authorization(until - time.monotonic()) if injected is None else []
            # The SDK's own retries are no part of the timeout, and last a minute.
            options = {"retry": None, "timeout": max(0.001, until - time.monotonic()), "metadata": headers}
            answer = call(client, **options)
            if answer is None:  # for gRPC that all is well is enough, even without a message
                raise network.damaged()
            return answer

        return call_sdk(asked, translated)

    def trust(self) -> ssl.SSLContext:
        """
        Raises:
            ConfigError: a file of authorities cannot be used.
        """
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=self._authorities().decode())
        context.set_alpn_protocols(["h2"])
        return context

    def credential_source(self, seconds: float) -> str:
        """
        What a login would take, in words.

        Raises:
            AstroTokenError: there is nothing, or what came in between.
        """
        until = time.monotonic() + seconds
        with self._login.within(seconds):
            if self._found is None:
                self._found = Deadline(until - time.monotonic()).once(self._find)
                if self._found.credential.valid:
                    _note(self._found)
            return self._found.source

    def log_in(self, seconds: float) -> None:
        """
        Raises:
            AstroTokenError: the environment or the login.
        """
        self._authorization(seconds)

    def forget(self) -> None:
        """Lets go of all without closing it: in a forked child it is the parent's."""
        self._found = None
        self._channels, self._clients = {}, {}
        self._lock = threading.Lock()
        self._login.forget()

    def close(self) -> None:
        with self._lock:
            channels, self._channels, self._clients = self._channels, {}, {}
            self._found = None
        for channel in channels.values():
            channel.close()

    def _authorization(self, seconds: float) -> list[tuple[str, str]]:
        """
        The headers of the login.

        Not left to the channel, to which a refused login is a service that is down.
        """
        with self._login.within(seconds):
            found, self._found = self._found, None
            if found is None or not found.credential.valid:
                # In a thread: a service that drips outlasts every timeout of a socket.
                found = Deadline(seconds).once(lambda left: self._with_token(found, left))
            self._found = found
        headers: dict[str, str] = {}
        found.credential.apply(headers)
        return [(name.lower(), value) for name, value in headers.items()]

    def _find(self, seconds: float) -> Found:
        from astro_token_backends.gcp.credentials import Found, find

        if self._given is not None:
            return Found("the credential that was given", self._given)
        return find(self.environ, seconds)

    def _with_token(self, found: Found | None, seconds: float) -> Found:
        from astro_token_backends.gcp.credentials import renew

        until = time.monotonic() + seconds
        found = found or self._find(seconds)
        _note(found)
        renew(found.credential, self.environ, until - time.monotonic())
        return found

    def _client(self, host: str, make: Callable[[Any], Any]) -> Any:
        key = (host, f"{make.__module__}.{make.__qualname__}")
        with self._lock:
            if host not in self._channels:
                self._channels[host] = self._channel(host)
            if key not in self._clients:
                self._clients[key] = make(self._channels[host])
            return self._clients[key]

    def _channel(self, host: str) -> Any:
        import grpc

        silence(LOGGERS)
        proxy = proxy_to(host, self.environ)
        return grpc.secure_channel(
            host,
            grpc.ssl_channel_credentials(root_certificates=self._authorities()),
            options=[
                ("grpc.enable_retries", 0),
                ("grpc.max_receive_message_length", _ANSWER_LIMIT),
                ("grpc.service_config_disable_resolution", 1),
                # gRPC by itself would read https_proxy only, and http_proxy too.
                ("grpc.http_proxy", proxy) if proxy else ("grpc.enable_http_proxy", 0),
            ],
        )

    def _authorities(self) -> bytes:
        """The certificates that gRPC trusts, and ours: it takes all or nothing."""
        import pkgutil

        own = self.environ.get(_ROOTS)
        trusted = (
            network.trusted_by(own, _ROOTS)
            if own
            else pkgutil.get_data("grpc", "_cython/_credentials/roots.pem")
        )
        return (trusted or b"") + b"\n" + (network.extra_authorities() or "").encode()

    def _unreachable(self, host: str, seconds: float) -> AstroTokenError | None:
        """Which of refused, unknown and not trusted it was: gRPC says the same of all."""
        try:
            return Deadline(seconds).once(lambda left: self._probe(host, left))
        except AstroTokenError as error:
            return error

    def _probe(self, host: str, seconds: float) -> AstroTokenError | None:
        from astro_token_backends.gcp.login_request import connect, login_failure

        connection = connect(host, self.environ, self.trust(), seconds)
        connection.set_debuglevel(0)
        try:
            connection.connect()
            speaks = cast("ssl.SSLSocket", connection.sock).selected_alpn_protocol()
        except OSError as error:
            return login_failure(error)
        finally:
            connection.close()
        return None if speaks == "h2" else network.damaged()  # some web server, which is not the service


def _note(found: Found) -> None:
    logger.debug("logging in to Google Cloud with %s", found.source)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """
    Keeps an import from learning that payloads are to be printed on standard error.

    gRPC prints headers if asked to, and why a handshake failed in any case, unless it is told not to.
    """
    before = {name: os.environ.pop(name) for name in _NOISE if name in os.environ}
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        yield
        from google.api_core import client_logging

        # The SDK asks the environment once what it may log, payloads included.
        cast("Any", client_logging).initialize_logging()
    finally:
        del os.environ["GRPC_VERBOSITY"]
        os.environ.update(before)


# For secrets and keys alike.
shared = one_per_process(Connection)
