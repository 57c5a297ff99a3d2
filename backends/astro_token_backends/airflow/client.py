"""Variables and connections of Airflow, read by the backend of the service that holds them."""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, SecretNotFoundError, result
from astro_token.secrets.fields import select_field
from astro_token.secrets.registry import open_backend
from astro_token_backends.airflow.lookup import Lookup, look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue
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
        self._vaults: list[tuple[Mapping[str, str], Any]] = []

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        until = time.monotonic() + timeout
        kind, _, name = ref.name.partition("/")
        lookup = look_up(kind, name, dict(os.environ))
        backend = self._backend(lookup)
        missing: AstroTokenError | None = None
        for each in lookup.refs:
            try:
                secret = backend.read(each, timeout=max(0.01, until - time.monotonic()))
                return result(_content(kind, secret, lookup))
            except SecretNotFoundError as error:
                missing = missing or error
        assert missing is not None  # noqa: S101 (there is a reference)
        raise missing

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

        with self._lock:
            for environ, vault in self._vaults:
                if environ == lookup.environ:
                    return vault
            vault = KeyValue(VaultClient(lookup.environ))
            self._vaults.append((lookup.environ, vault))
            return vault


def _content(kind: str, secret: SecretValue, lookup: Lookup) -> SecretValue | AstroTokenError:
    if kind == "connection":
        from astro_token_backends.airflow.connection import connection

        return connection(secret, words=lookup.words if lookup.has_aliases else None)
    return select_field(secret, "value") if lookup.is_vault else secret
