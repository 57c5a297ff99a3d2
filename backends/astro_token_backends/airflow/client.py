"""Variables and connections of Airflow, read by the backend of the service that holds them."""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, SecretNotFoundError, result, sanitized
from astro_token.secret import SecretValue
from astro_token.secrets.fields import select_field
from astro_token.secrets.registry import open_backend
from astro_token_backends.airflow.lookup import Lookup, look_up

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["Airflow"]


class Airflow:
    """
    Backend for the secrets backend that `AIRFLOW__SECRETS__BACKEND` and `…_KWARGS` configure.

    Credentials: those in the arguments, else those of the service's own scheme.
    Permissions: to read the secret.
    Reference: `airflow:variable/NAME`, `airflow:connection/ID[#login|#extra.KEY]`; else the password is read.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._vaults: list[tuple[SecretValue, Any]] = []  # by the environment, which contains a login

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return result(self._read(ref, timeout))

    def _read(self, ref: SecretRef, timeout: float) -> SecretValue | AstroTokenError:
        """An error is returned, so that no traceback leads to the arguments of Airflow."""
        until = time.monotonic() + timeout
        kind, _, name = ref.name.partition("/")
        missing: AstroTokenError | None = None
        try:
            lookup = look_up(kind, name, dict(os.environ))
            backend = self._backend(lookup)
            for each in lookup.refs:
                try:
                    secret = backend.read(each, timeout=max(0.01, until - time.monotonic()))
                    return _content(kind, secret, lookup)
                except SecretNotFoundError as error:
                    missing = missing or sanitized(error)
        except AstroTokenError as error:
            return sanitized(error)
        assert missing is not None  # noqa: S101 (there is a reference)
        return missing

    def close(self) -> None:
        with self._lock:
            vaults, self._vaults = self._vaults, []
        for _, backend in vaults:
            backend.close()

    def _backend(self, lookup: Lookup) -> Any:
        """Return the backend of the service. That of Vault logs in with the arguments of Airflow."""
        backend = open_backend(lookup.refs[0].scheme)
        if not lookup.is_vault:
            return backend
        from astro_token_backends.vault.client import VaultClient
        from astro_token_backends.vault.kv import KeyValue

        environ = SecretValue(repr(sorted(lookup.environ.items())).encode())
        with self._lock:
            for other, vault in self._vaults:
                if other == environ:
                    return vault
            vault = KeyValue(VaultClient(lookup.environ))
            self._vaults.append((environ, vault))
            return vault


def _content(kind: str, secret: SecretValue, lookup: Lookup) -> SecretValue | AstroTokenError:
    if kind == "connection":
        from astro_token_backends.airflow.connection import connection

        return connection(secret, words=lookup.words if lookup.has_aliases else None)
    return select_field(secret, "value") if lookup.is_vault else secret
