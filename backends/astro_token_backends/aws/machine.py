"""The roles of instances and containers, which the SDK asks the machine for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_token_backends.aws.transport import MachineSession

__all__ = ["ask_once_and_directly"]


def ask_once_and_directly(chain: Any) -> list[MachineSession]:
    """Where there is no such machine, the SDK fails if only the second version of the service is wanted."""
    from astro_token_backends.aws.transport import MachineSession

    machines = []
    for place, provider in enumerate(chain.providers):
        fetcher: Any = getattr(provider, "_role_fetcher", None) or getattr(provider, "_fetcher", None)
        if hasattr(fetcher, "_session"):
            fetcher._session = MachineSession()  # noqa: SLF001 (no other way)
            fetcher.RETRY_ATTEMPTS, fetcher.SLEEP_TIME = 1, 0
            machines.append(fetcher._session)  # noqa: SLF001 (as above)
        if getattr(provider, "METHOD", None) == "iam-role":
            chain.providers[place] = _Machine(provider)
    return machines


class _Machine:
    """The provider of an instance's role, which there may be none of."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.METHOD, self.CANONICAL_NAME = provider.METHOD, provider.CANONICAL_NAME

    def load(self) -> Any | None:
        from botocore.exceptions import MetadataRetrievalError

        try:
            return self._provider.load()
        except MetadataRetrievalError:
            return None
