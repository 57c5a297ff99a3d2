"""What the backends of AWS have in common: one session, and what they tell of the way to a service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from astro_token_backends.aws.place import region_of
from astro_token_backends.aws.refusals import translated
from astro_token_backends.aws.session import Session, shared
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    import ssl

    from astro_token.secrets.ref import SecretRef

__all__ = ["AwsService"]


class AwsService:
    """
    Args:
        client: one of the SDK's, for all regions.
        session: in place of the one that all of the process share.
    """

    _service: ClassVar[str]  # as the SDK names it

    def __init__(self, client: Any = None, *, session: Session | None = None) -> None:
        self._session = session or (Session(client) if client is not None else shared())

    def address(self, ref: SecretRef) -> str:
        return call_sdk(lambda: self._session.address(self._service, region_of(ref)), translated)

    def trust(self, ref: SecretRef) -> ssl.SSLContext:
        return call_sdk(lambda: self._session.trust(region_of(ref)), translated)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:
        until = time.monotonic() + timeout
        return call_sdk(lambda: self._session.credential_source(region_of(ref), until), translated)

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:
        until = time.monotonic() + timeout
        call_sdk(lambda: self._session.log_in(region_of(ref), until), translated)

    def close(self) -> None:
        self._session.close()
