"""
The client credentials grant: an application proves its identity and receives a token.

azure.identity does the same with one request more, for the address of the tenant's login,
and takes 60 ms to import.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, result
from astro_token.record import Record
from astro_token_backends.azure.errors import bad_credential

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secret import SecretValue
    from astro_token.transport.client import Response
    from astro_token_backends.azure.adapter import LoginTransport

__all__ = ["ClientCredentials", "login_denial"]

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST = 86400
_TENANT_ID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
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


class ClientCredentials(Record):
    """
    Attributes:
        authority: the address of the login service. A vault's challenge cannot change it.
        tenant: of the application.
        client: the application.
        proof: returns its secret or its assertion.
        is_assertion: the proof is an assertion.
        source: of the proof, for people.
        audience: of the assertion, for people.
    """

    is_probe = False
    _hidden = ("proof",)
    authority: str
    tenant: str
    client: str
    proof: Callable[[], SecretValue]
    is_assertion: bool
    source: str
    audience: str = ""

    def token(self, transport: LoginTransport, scope: str, tenant: str | None, claims: str | None) -> Any:
        """
        Log in.

        Raises:
            AccessDeniedError: the login is denied, or the vault belongs to another tenant.
            AstroTokenError: as the proof and the network.
        """
        are_ids = tenant and re.fullmatch(_TENANT_ID, tenant) and re.fullmatch(_TENANT_ID, self.tenant)
        if are_ids and tenant and tenant.lower() != self.tenant.lower():
            raise AccessDeniedError(
                "the vault belongs to another tenant than the credential",
                hint="set AZURE_TENANT_ID to the vault's tenant, and check the vault",
            )
        return result(self._outcome(transport, scope, claims))

    def _outcome(self, transport: LoginTransport, scope: str, claims: str | None) -> Any | AstroTokenError:
        from urllib.parse import urlencode

        from azure.core.credentials import AccessToken

        form = {"grant_type": "client_credentials", "client_id": self.client, "scope": scope}
        if claims:
            form["claims"] = claims
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            proof = self.proof().reveal().decode()
            if self.is_assertion:
                form |= {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": proof}
            else:
                form["client_secret"] = proof
            url = f"{self.authority}/{self.tenant}/oauth2/v2.0/token"
            response = transport.exchange("POST", url, headers, urlencode(form).encode())
        except AstroTokenError as error:
            return error
        if response.status != 200:  # noqa: PLR2004
            return login_denial(response, self.audience if self.is_assertion else "")
        content = response.json() or {}
        token, seconds = content.get("access_token"), content.get("expires_in")
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            return response.damaged()
        if type(seconds) is not int or not 0 < seconds <= _LONGEST:
            return response.damaged()
        return AccessToken(token, int(time.time()) + seconds)


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
