"""What Azure refuses, and what that means for the caller. Nothing of an answer gets into an error."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    DecryptError,
    InvalidRefError,
    SecretNotFoundError,
)
from astro_token_backends import network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token_backends.azure.address import Address

__all__ = ["Asked", "asking", "bad_credential", "translated"]


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What was asked of a vault.

    Attributes:
        address: of what.
        kind: `secret` or `key`.
        verb: what for, as `az` calls the key's operation.
        needs: the permission, in words that an administrator can act on.
    """

    address: Address
    kind: str
    verb: str
    needs: str

    def refused(self, answer: Any) -> AstroTokenError:
        """The error that an answer stands for, which is not the one that was wanted."""
        status, said = answer.status_code, (answer.own() or {}).get("error")
        own = isinstance(said, dict) and isinstance(said.get("code"), str)
        inner = _inner(said)
        if status == 401:  # noqa: PLR2004
            return bad_credential()
        if status == 403:  # noqa: PLR2004
            return self._forbidden(inner)
        if not own or not 400 <= status < 500:  # noqa: PLR2004
            return network.damaged()
        if status == 404:  # noqa: PLR2004
            return self.missing()
        if status == 409:  # noqa: PLR2004
            return self._in_conflict(inner)
        if status == 400 and self.verb == "unwrapKey":  # noqa: PLR2004
            return DecryptError(
                "the vault cannot unwrap that with this key", hint="see that it was encrypted with this key"
            )
        if status == 400:  # noqa: PLR2004
            return InvalidRefError("Azure does not accept the request", hint="check the name and the version")
        return BackendError(f"Azure refuses the request (status {status})", hint="check the vault's log")

    def missing(self) -> SecretNotFoundError:
        address = self.address
        if address.version is not None:
            return SecretNotFoundError(
                f"there is no such {self.kind}, or not that version of it",
                hint="check the name and the version",
            )
        of = f"{address.in_cli} --name {address.name}"
        make = "set --value placeholder" if self.kind == "secret" else "create --kty RSA --size 3072"
        verb, _, rest = make.partition(" ")
        return SecretNotFoundError(
            f"there is no such {self.kind}, or it is deleted",
            hint=f"`az keyvault {self.kind} {verb} {of} {rest}` creates it, "
            f"`az keyvault {self.kind} recover {of}` brings it back; check the vault too",
        )

    def disabled(self) -> SecretNotFoundError:
        address = self.address
        version = f" --version {address.version}" if address.version else ""
        return SecretNotFoundError(
            f"the {self.kind} is disabled",
            hint=f"`az keyvault {self.kind} set-attributes {address.in_cli} --name {address.name}{version} "
            "--enabled true`, if it was not meant",
        )

    def _forbidden(self, inner: str) -> AstroTokenError:
        if inner in {"SecretDisabled", "KeyDisabled"}:
            return self.disabled()
        if inner == "KeyOperationForbidden":
            return AccessDeniedError(
                f"the key may not be used for {self.verb}",
                hint=f"give it this operation: `az keyvault key set-attributes {self.address.in_cli} "
                f"--name {self.address.name} --ops wrapKey unwrapKey`",
            )
        if self.kind == "key" and re.search(r"Expired|NotYetValid", inner):
            return DecryptError(
                "the key is outside of its validity", hint="make a new version of it, or change its dates"
            )
        return AccessDeniedError(
            f"Azure denies access to the {self.kind}", hint=f"grant {self.needs}; check the vault's firewall"
        )

    def _in_conflict(self, inner: str) -> AstroTokenError:
        if inner == "ObjectIsDeletedButRecoverable":
            return self.missing()
        return BackendUnavailableError("somebody else is changing it", hint="try again later")


@contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """Translates a refusal of the vault."""
    from azure.core.exceptions import DecodeError, HttpResponseError

    answer = None
    try:
        yield
    except DecodeError:
        pass
    except HttpResponseError as error:
        answer = error.response
    else:
        return
    raise network.damaged() if answer is None else asked.refused(answer)


def translated(error: Exception) -> AstroTokenError:
    """The error for whatever else the SDK raises."""
    from azure.core import exceptions as sdk

    match error:
        case (
            sdk.AzureError()
            | ValueError()
            | AttributeError()
            | TypeError()
            | LookupError()
            | RecursionError()
        ):
            return network.damaged()  # the SDK stumbled over it, or over its challenge
    return BackendError(f"the SDK of Azure failed with {type(error).__name__}")


def bad_credential() -> AccessDeniedError:
    return AccessDeniedError(
        "Azure does not accept the credential",
        hint="see that AZURE_TENANT_ID is the vault's tenant, and AZURE_CLIENT_ID an application or an "
        "identity of it; renew its secret, certificate or federated token",
    )


def _inner(said: object) -> str:
    # The service spells it in both ways.
    inner = (said.get("innererror") or said.get("innerError")) if isinstance(said, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, str) else ""
