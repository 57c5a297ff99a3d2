"""What a method gets, and how it reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from astro_token.errors import AccessDeniedError, MissingDependencyError
from astro_token_backends.credential_source import printable
from astro_token_backends.vault.settings import text_from

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token.secret import SecretValue

__all__ = ["Asked", "Client", "Credential", "Environ", "from_file", "missing_package"]

_TO_LOG_IN = 0.2  # seconds that are left for Vault where the credential took all others

Environ = Mapping[str, str]
Client = Callable[[str], Any]  # for a token, which may be empty


class Credential(NamedTuple):
    """
    What a method found.

    Attributes:
        source: what it is and where it is from, for people.
        log_in: asks Vault with it, and returns what Vault answers.
    """

    source: str
    log_in: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Attributes:
        method: its name.
        mount: where it is mounted.
        environ: where the credential is.
        client: makes an `hvac.Client` with a token.
        unwrapped: keeps what came out of a wrapping token, which cannot be used again.
        until: the end of the time for it, on the monotonic clock.
    """

    method: str
    mount: str
    environ: Environ
    client: Client
    unwrapped: dict[str, SecretValue]
    until: float

    @property
    def seconds(self) -> float:
        """What is left for getting a credential."""
        return self.until - time.monotonic() - _TO_LOG_IN

    def text(self, name: str) -> str | None:
        return text_from(self.environ, name)

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise AccessDeniedError(
                f"no usable credential for Vault: the login by {self.method} needs {name}",
                hint=f"set {name}",
            )
        return value

    def with_role(self, source: str) -> str:
        role = self.text("ASTRO_TOKEN_VAULT_ROLE")
        return f"{source}, {f'role {printable(role)}' if role else 'no role'}"

    def post(self, **body: str | None) -> Any:
        """What Vault answers to a login; for methods whose class in hvac would make the body by itself."""
        url = f"/v1/auth/{self.mount}/login"
        return self.client("").adapter.post(url, json={k: v for k, v in body.items() if v is not None})


def from_file(path: Path, missing: str, hint: str) -> str:
    """
    The text of a file.

    Raises:
        AccessDeniedError: it cannot be read, or there is nothing in it.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        text = ""
    if not text:
        raise AccessDeniedError(missing, hint=hint)
    return text


def missing_package(method: str, package: str, extra: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"the login by {method} needs the Python package {package}, which is not installed",
        hint=f"pip install 'astro-token[vault,{extra}]'",
    )
