"""Variables and connections of Airflow, read by the backend of the service that holds them."""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from collections import ChainMap
from typing import TYPE_CHECKING, Any, TypeVar

from astro_token.errors import AstroTokenError, SecretNotFoundError, result, sanitized
from astro_token.secret import SecretValue
from astro_token.secrets.fields import select_field
from astro_token.secrets.registry import open_backend
from astro_token_backends.airflow.lookup import Lookup, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route

__all__ = ["Airflow"]

_T = TypeVar("_T")


class Airflow:
    """
    Backend for the secrets backend that Airflow is configured with.

    Credentials: those in the arguments, else those of the service's own scheme.
    Permissions: to read the secret.
    Reference: `airflow:variable/NAME`, `airflow:connection/ID[#login|#extra.KEY]`; else the password is read.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._own: list[tuple[tuple[object, ...], Any]] = []  # by their logins

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        until = time.monotonic() + timeout
        return result(self._of_service(ref, lambda backend, lookup: _first(ref, backend, lookup, until)))

    def route(self, ref: SecretRef) -> Route:
        route: Route | AstroTokenError = self._of_service(
            ref, lambda backend, lookup: backend.route(lookup.refs[0])
        )
        return result(route)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:
        def described(backend: Any, lookup: Lookup) -> str:
            text = backend.credential_source(lookup.refs[0], timeout=timeout)
            for variable, name in lookup.arguments.items():
                text = text.replace(variable, f"the argument {name}")
            return f"that of {lookup.refs[0].scheme}: {text}"

        return result(self._of_service(ref, described))

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:
        result(self._of_service(ref, lambda backend, lookup: backend.log_in(lookup.refs[0], timeout=timeout)))

    def close(self) -> None:
        with self._lock:
            own, self._own = self._own, []
        for _, backend in own:
            backend.close()

    def _of_service(self, ref: SecretRef, ask: Callable[[Any, Lookup], _T]) -> _T | AstroTokenError:
        """Ask the backend of the service. An error is returned: no traceback may lead to a credential."""
        kind, _, name = ref.name.partition("/")
        arguments: Mapping[str, str] = {}
        try:
            lookup = look_up(kind, name, os.environ)
            arguments = lookup.arguments
            return ask(self._backend(lookup), lookup)
        except AstroTokenError as error:
            return _with_arguments(error, arguments)

    def _backend(self, lookup: Lookup) -> Any:
        """Return the backend of the service; one with a login of its own, if the arguments have one."""
        shared = open_backend(lookup.refs[0].scheme)
        if not lookup.environ and lookup.aws is None:
            return shared
        login = _login(lookup)
        with self._lock:
            for other, backend in self._own:
                if other == login:
                    return backend
            backend = _made(type(shared), lookup)
            self._own.append((login, backend))
            return backend


def _first(ref: SecretRef, backend: Any, lookup: Lookup, until: float) -> SecretValue:
    """Read the first secret that exists."""
    missing: SecretNotFoundError | None = None
    for each in lookup.refs:
        try:
            secret = backend.read(each, timeout=max(0.01, until - time.monotonic()))
        except SecretNotFoundError as error:
            missing = missing or error
        else:
            return result(_content(ref.name.partition("/")[0], secret, lookup))
    assert missing is not None  # noqa: S101 (there is a reference)
    raise missing


def _login(lookup: Lookup) -> tuple[object, ...]:
    """Identify a login. The variables contain a credential, to which no traceback may lead."""
    environ = SecretValue(repr(sorted(lookup.environ.items())).encode("utf-8", "surrogatepass"))
    return lookup.refs[0].scheme, environ, lookup.aws


def _made(backend: Any, lookup: Lookup) -> Any:
    """
    Create a backend whose login follows the arguments.

    Args:
        backend: the class of the service.
    """
    scheme = lookup.refs[0].scheme
    if scheme in {"aws", "aws-ssm"}:
        from astro_token_backends.aws.client import Session

        return backend(session=Session(options=lookup.aws))
    environ = ChainMap(dict(lookup.environ), os.environ)
    if scheme == "vault":
        from astro_token_backends.vault.client import VaultClient

        return backend(VaultClient(environ, aws=lookup.aws))
    if scheme == "gcp":
        from astro_token_backends.gcp.client import Connection

        return backend(connection=Connection(environ=environ))
    from astro_token_backends.azure.login import Login

    return backend(login=Login(environ=environ))


def _with_arguments(error: AstroTokenError, arguments: Mapping[str, str]) -> AstroTokenError:
    """Name the arguments of Airflow in place of our variables, because a person has to change those."""
    message, hint = error.message, error.hint or ""
    for variable, name in arguments.items():
        message, hint = message.replace(variable, name), hint.replace(variable, name)
    if (message, hint) != (error.message, error.hint or ""):
        error.message = message
        error.hint = f"{hint}; these are arguments of Airflow's secrets backend" if hint else None
    return sanitized(error)


def _content(kind: str, secret: SecretValue, lookup: Lookup) -> SecretValue | AstroTokenError:
    if kind == "connection":
        from astro_token_backends.airflow.connection import connection

        words = lookup.words if lookup.has_aliases else None
        return connection(secret, words=words, may_be_field=lookup.is_vault)
    return select_field(secret, "value") if lookup.is_vault else secret
