"""The input of a login method."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, ConfigError, NoCredentialError
from astro_token.record import Record
from astro_token.system.files import read_credential
from astro_token_backends.vault.settings import text_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.secret import SecretValue
    from astro_token_backends.aws.settings import Options

__all__ = ["Credential", "LoginContext", "missing_package", "read_file"]

_LOGIN_SECONDS = 0.2  # reserved for the login itself; getting the credential may take all the others


class Credential(Record):
    """
    Attributes:
        source: for people.
        log_in: sends the login, and returns Vault's response.
        hint: the advice if Vault refuses; None for the general one.
        causes: texts by which Vault's reason is recognized, each with the advice for it.
        claims: of the identity, for `doctor`.
    """

    source: str
    log_in: Callable[[], Any]
    hint: str | None = None
    causes: tuple[tuple[str, str], ...] = ()
    claims: str = ""


class LoginContext(Record):
    """
    Attributes:
        mount: of the method, without `auth/`.
        adapter: creates a `VaultAdapter` for a token, which may be empty.
        unwrapped: content of wrapping tokens, by their hash: they work once.
        until: deadline by the monotonic clock.
        aws: replaces the environment in the login by aws.
    """

    _hidden = ("environ",)
    method: str
    mount: str
    environ: Mapping[str, str]
    adapter: Callable[[str], Any]
    unwrapped: dict[str, SecretValue]
    until: float
    aws: Options | None = None

    @property
    def seconds(self) -> float:
        """Seconds remaining for the credential."""
        return self.until - time.monotonic() - _LOGIN_SECONDS

    def text(self, name: str) -> str | None:
        return text_setting(self.environ, name)

    def required(self, name: str) -> str:
        """
        Raises:
            AccessDeniedError: the variable is not set. The environment selects this login,
                so that a chain of references does not continue.
        """
        value = self.text(name)
        if value is None:
            raise AccessDeniedError(
                f"no usable credential for Vault: the login by {self.method} needs {name}",
                hint=f"set {name}",
            )
        return value

    def with_role(self, source: str) -> str:
        from astro_token_backends.credential_source import printable

        role = self.text("ASTRO_TOKEN_VAULT_ROLE")
        return f"{source}, {f'role {printable(role)}' if role else 'no role'}"

    def api(self, name: str) -> Any:
        """One of hvac's login methods, without a token: `approle:AppRole`."""
        return self.adapter("").api(f"auth_methods.{name}")

    def post(self, **body: str | None) -> Any:
        """Send a login whose class in hvac would read the credential itself."""
        url = f"/v1/auth/{self.mount}/login"
        return self.adapter("").post(url, json={name: text for name, text in body.items() if text})


def read_file(path: str, missing: str, hint: str) -> str:
    """
    The text of a file, without surrounding whitespace.

    Raises:
        NoCredentialError: it does not exist, or is empty. `missing` is the message.
        AccessDeniedError: it cannot be read.
    """
    try:
        text = read_credential(path).decode().strip()
    except (FileNotFoundError, NotADirectoryError):
        text = ""
    except (OSError, ValueError):
        text = None
    if text is None:
        raise AccessDeniedError(missing, hint=hint)
    if not text:
        raise NoCredentialError(missing, hint=hint)
    return text


def missing_package(method: str, package: str, extra: str) -> ConfigError:
    """Build the error of a configured login. Unlike that of a missing SDK, it ends a chain."""
    from astro_token.system.installation import install_hint

    return ConfigError(
        f"the login by {method} needs the Python package {package}, which is not installed",
        hint=install_hint("vault", extra),
    )
