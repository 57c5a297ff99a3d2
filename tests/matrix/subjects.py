"""Who meets the faults: each backend by what it does, each login; the rows of the matrix."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import resolve
from astro_token.tokens.chain import try_others
from astro_token.tokens.steps import READING, SELECTION, TokenPath, walk
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.errors import AstroTokenError
    from tests.matrix.faults import Fault

__all__ = ["FRONT", "OTHER", "Subject", "unique"]

FRONT = "{front}"
OTHER = "OTHER_TOKEN"
NOT_FOUND = 66


@dataclass(frozen=True)
class Subject:
    """
    Attributes:
        name: the backend, and what it does.
        scheme: the backend's.
        call: a method of the backend; or "chain", whose next reference is a good token in `OTHER`.
        ref: a reference; `FRONT` in it stands for the `host:port` at fault.
        upstream: the address of the service itself.
        canary: the value.
        variables: the environment; `FRONT` as in the reference.
        secrets: the credentials in it.
        grpc: speaks that.
        answer: the good one, where it is not taken from the wire, as over gRPC.
        requests: how many are made for it, where they are not counted on the wire.
        ciphertext: of the value, where it cannot be made by the backend.
        later: the fault is at the last request, and all those before are answered by the service.
        renews: a login that is refused is looked up, and made again once.
        others: addresses that are asked beside the one at fault.
    """

    name: str
    scheme: str
    call: str
    ref: str
    upstream: str
    canary: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False, hash=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    grpc: bool = False
    answer: bytes = field(default=b"", repr=False)
    requests: int = 1
    ciphertext: bytes = b""
    later: bool = False
    renews: bool = False
    others: tuple[str, ...] = ()

    @property
    def ports(self) -> set[int]:
        """Where connections are fine, beside the one at fault."""
        return {
            urlsplit(url if "//" in url else f"//{url}").port or 0 for url in (self.upstream, *self.others)
        }

    def code_after(self, fault: Fault) -> int:
        """The exit code that a fault should have."""
        return 0 if self.call == "chain" and fault.code == NOT_FOUND else fault.code

    def at(self, address: str) -> dict[str, str]:
        """The environment that leads there."""
        return {name: value.replace(FRONT, address) for name, value in self.variables.items()}

    def action(self, backend: Any, call: str, address: str, ciphertext: bytes) -> Callable[[float], object]:
        """What is done, in this many seconds."""
        ref = SecretRef.parse(self.ref.replace(FRONT, address))
        value = SecretValue(self.canary.encode())
        return {
            "read": lambda seconds: backend.read(ref, timeout=seconds),
            "describe": lambda seconds: backend.describe(ref, timeout=seconds),
            "write": lambda seconds: backend.write(ref, value, expected_version=None, timeout=seconds),
            "decrypt": lambda seconds: backend.decrypt(ref, ciphertext, timeout=seconds),
            "encrypt": lambda seconds: backend.encrypt(ref, value, timeout=seconds),
            "chain": lambda seconds: _read_chain(f"{ref},env:{OTHER}", seconds),
        }[call]


def _read_chain(chain: str, seconds: float) -> SecretValue:
    """As `read_token` does, but with one attempt for each reference."""
    path = TokenPath(resolve(chain, environ={}), Deadline(seconds, attempts=1))
    error = _attempt(path)
    if error is not None and (error := try_others(path, error, _attempt)):
        raise error
    return path.selected


def _attempt(path: TokenPath) -> AstroTokenError | None:
    return walk(path, (*READING, *SELECTION))


def unique() -> str:
    return f"m-{secrets.token_hex(6)}"
