"""Errors for Azure's denials. Nothing of a response gets into an error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    DecryptError,
    IntegrityError,
    InvalidRefError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.record import Record
from astro_token.transport import failure
from astro_token.transport.address import Address
from astro_token.transport.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token.transport.client import Response
    from astro_token_backends.azure.settings import ObjectId

__all__ = ["Operation", "bad_credential", "damaged", "login_denial", "translated"]

# Error codes of Entra: transient failures, and defects of an assertion.
_TRANSIENT = frozenset({90033, 90055, 50196, 1000031})
_ASSERTION_DEFECTS = {
    700211: "no federated credential of the application has the issuer of the identity token",
    700213: "no federated credential of the application has the subject of the identity token",
    700212: "no federated credential of the application has the audience of the identity token",
    70021: "no federated credential of the application fits the identity token",
    700024: "the identity token has expired, or this machine's clock is wrong",
    50013: "Azure cannot verify the identity token",
}
_OTHER_DEFECTS = {
    90002: ("the Azure tenant does not exist", "check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST"),
    700016: ("the tenant has no such application", "check AZURE_CLIENT_ID and AZURE_TENANT_ID"),
    500011: (
        "the login service does not serve the vault's cloud",
        "set AZURE_AUTHORITY_HOST to the login service of the vault's cloud",
    ),
}


class Operation(Record):
    """
    An operation on an object of a vault.

    Attributes:
        target: the object.
        kind: `secret` or `key`.
        verb: its name, for a key as in the options of `az`.
        permission: the permission that it requires, for an administrator.
    """

    target: ObjectId
    kind: str
    verb: str
    permission: str

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Translate the vault's denial."""
        from azure.core.exceptions import DecodeError, HttpResponseError

        response = None
        try:
            yield
            return
        except DecodeError:
            pass
        except HttpResponseError as error:
            response = error.response
        raise damaged() if response is None else self.denial(response)

    def denial(self, response: Any) -> AstroTokenError:
        """The error that stands for an SDK's response other than success."""
        status = response.status_code
        content = response.received.json() if response.received else None
        error = (content or {}).get("error")
        inner = _inner_code(error)
        if status == 401:  # noqa: PLR2004
            return bad_credential()
        if status == 403:  # noqa: PLR2004
            return self._forbidden(inner)
        is_azure = isinstance(error, dict) and isinstance(error.get("code"), str)
        if not is_azure or not 400 <= status < 500:  # noqa: PLR2004
            return damaged()
        if status == 404 or inner == "ObjectIsDeletedButRecoverable":  # noqa: PLR2004
            return self.missing()
        if status == 409:  # noqa: PLR2004
            return BackendUnavailableError(
                f"another client is changing the {self.kind}", hint="try again later"
            )
        if status == 400 and self.verb == "unwrapKey":  # noqa: PLR2004
            return DecryptError(
                "the vault cannot unwrap the ciphertext's key with this key",
                hint="check which key the token was encrypted with",
            )
        if status == 400:  # noqa: PLR2004
            return InvalidRefError("Azure does not accept the request", hint="check the name and the version")
        return BackendError(f"Azure refuses the request (status {status})", hint="check the vault's log")

    @property
    def _options(self) -> str:
        """The options of `az` for the object."""
        return f"{self.target.cli_option} --name {self.target.name}"

    def missing(self) -> SecretNotFoundError:
        kind, options = self.kind, self._options
        if self.target.version is not None:
            return SecretNotFoundError(
                f"the {kind} or this version of it does not exist", hint="check the name and the version"
            )
        create = f"set {options} --value placeholder"
        if kind == "key":
            create = f"create {options} --kty RSA --size 3072"
        return SecretNotFoundError(
            f"the {kind} does not exist, or is deleted",
            hint=f"create it with `az keyvault {kind} {create}`, or restore it with "
            f"`az keyvault {kind} recover {options}`; check the vault too",
        )

    def _forbidden(self, inner: str) -> AstroTokenError:
        kind, options = self.kind, self._options
        if inner in {"SecretDisabled", "KeyDisabled"}:
            version = f" --version {self.target.version}" if self.target.version else ""
            return UnusableSecretError(
                f"the {kind} is disabled",
                hint=f"enable it with `az keyvault {kind} set-attributes {options}{version} --enabled true`",
            )
        if inner == "KeyOperationForbidden":
            return AccessDeniedError(
                f"the key does not allow {self.verb}",
                hint=f"allow it with `az keyvault key set-attributes {options} --ops wrapKey unwrapKey`",
            )
        if kind == "key" and ("Expired" in inner or "NotYetValid" in inner):
            return DecryptError(
                "the key is outside its validity period", hint="create a new version, or change its dates"
            )
        return AccessDeniedError(
            f"Azure denies access to the {kind}", hint=f"grant {self.permission}; check the vault's firewall"
        )


def login_denial(response: Response, audience: str = "") -> AstroTokenError:
    """
    The error that stands for the login service's response without a token.

    Args:
        audience: of the identity token, if one was sent.
    """
    content = response.json() or {}
    if not isinstance(content.get("error"), str) and response.status not in {401, 403}:
        return response.damaged()
    listed = content.get("error_codes")
    codes = {code for code in listed if isinstance(code, int)} if isinstance(listed, list) else set()
    if content.get("error") == "temporarily_unavailable" or codes & _TRANSIENT:
        return BackendUnavailableError("the Azure login service is busy, or failed", hint="try again later")
    for code, (message, hint) in _OTHER_DEFECTS.items():
        if code in codes:
            return AccessDeniedError(message, hint=hint)
    defect = next((text for code, text in _ASSERTION_DEFECTS.items() if code in codes), None)
    if audience or defect:
        return AccessDeniedError(
            defect or "Azure does not accept the identity token",
            hint="give the application of AZURE_CLIENT_ID in AZURE_TENANT_ID a federated credential with the "
            f"issuer and the subject of this job's identity token and the audience {audience or 'of it'}",
        )
    return bad_credential()


def translated(error: Exception) -> AstroTokenError:
    """The error that stands for any other exception of the SDK."""
    from azure.core.exceptions import AzureError

    # The SDK raises any of these for a response, or a vault's challenge, that it does not expect.
    if isinstance(error, AzureError | ValueError | AttributeError | TypeError | LookupError | RecursionError):
        return damaged()
    return BackendError(f"the SDK of Azure failed with {type(error).__name__}")


def damaged() -> IntegrityError:
    """The error for a damaged response of a vault."""
    return failure.damaged(Route(Address("https", "", 443), "Azure Key Vault", "the reference"))


def bad_credential() -> AccessDeniedError:
    return AccessDeniedError(
        "Azure does not accept the credential",
        hint="check that AZURE_TENANT_ID is the vault's tenant and AZURE_CLIENT_ID an application or an "
        "identity in it; renew AZURE_CLIENT_SECRET, or the file of AZURE_CLIENT_CERTIFICATE_PATH or "
        "AZURE_FEDERATED_TOKEN_FILE",
    )


def _inner_code(error: object) -> str:
    # The service uses both spellings.
    inner = (error.get("innererror") or error.get("innerError")) if isinstance(error, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, str) else ""
