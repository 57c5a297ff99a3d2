"""
The client credentials grant: an application proves who it is and gets a token.

azure.identity does the same in one request more, in which it asks where the tenant's login is,
and takes 60 ms to import.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, result
from astro_token_backends import network
from astro_token_backends.azure.refusals import bad_credential

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secret import SecretValue
    from astro_token_backends.azure.wire import Wire

__all__ = ["ClientCredentials", "login_refusal"]

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST = 86400
_IS_A_TENANT = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Of Entra's error codes those that stand for a moment, and those that say what is wrong with an assertion.
_PASSING_CODES = frozenset({90033, 90055, 50196, 1000031})
_OF_ASSERTIONS = {
    700211: "no federated credential of the application has the issuer of the identity token",
    700213: "no federated credential of the application has the subject of the identity token",
    700212: "no federated credential of the application has the audience of the identity token",
    70021: "no federated credential of the application fits the identity token",
    700024: "the identity token has expired, or this machine's clock is wrong",
    50013: "Azure cannot verify the identity token",
}


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """
    Attributes:
        authority: the address of the login service. Nothing that a vault says leads to another.
        tenant: where the application is.
        client: the application.
        proof: gets its secret or its assertion, and says which of the two it is.
        is_assertion: which.
        source: of the proof, for people.
        audience: whom the assertion is for, for people.
    """

    authority: str
    tenant: str
    client: str
    proof: Callable[[], SecretValue] = field(repr=False)
    is_assertion: bool
    source: str
    audience: str = ""

    def token(self, wire: Wire, scope: str, tenant: str | None, claims: str | None) -> Any:
        """
        Raises:
            AccessDeniedError: it is refused, or the vault belongs to another tenant.
            AstroTokenError: as the proof and the network.
        """
        both = tenant and _IS_A_TENANT.fullmatch(tenant) and _IS_A_TENANT.fullmatch(self.tenant)
        if both and tenant and tenant.lower() != self.tenant.lower():
            raise AccessDeniedError(
                "the vault belongs to another tenant than the credential",
                hint="AZURE_TENANT_ID has to be the tenant of the vault; see that the vault is the right one",
            )
        return result(self._outcome(wire, scope, claims))

    def _outcome(self, wire: Wire, scope: str, claims: str | None) -> Any | AstroTokenError:
        from azure.core.credentials import AccessToken
        from azure.core.rest import HttpRequest

        form = {"grant_type": "client_credentials", "client_id": self.client, "scope": scope}
        try:
            proof = self.proof().reveal().decode()
        except AstroTokenError as error:
            return error
        if self.is_assertion:
            form |= {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": proof}
        else:
            form["client_secret"] = proof
        if claims:
            form["claims"] = claims
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url = f"{self.authority}/{self.tenant}/oauth2/v2.0/token"
        try:
            answer = wire.send(HttpRequest("POST", url, headers=headers, content=urlencode(form).encode()))
        except AstroTokenError as error:
            return error
        content = answer.own() or {}
        token, seconds = content.get("access_token"), content.get("expires_in")
        if answer.status_code != 200:  # noqa: PLR2004
            return login_refusal(answer, self.audience if self.is_assertion else "")
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            return network.damaged()
        if type(seconds) is not int or not 0 < seconds <= _LONGEST:
            return network.damaged()
        return AccessToken(token, int(time.time()) + seconds)


def login_refusal(answer: Any, audience: str = "") -> AstroTokenError:
    """
    What it means that the login service gives no token.

    Args:
        audience: that of the identity token, where it was one that was refused.
    """
    content = answer.own() or {}
    if not isinstance(content.get("error"), str) and answer.status_code not in {401, 403}:
        return network.damaged()
    codes = content.get("error_codes")
    known = {code for code in codes if isinstance(code, int)} if isinstance(codes, list) else set()
    if content.get("error") == "temporarily_unavailable" or known & _PASSING_CODES:
        return BackendUnavailableError("the login service is busy, or failed", hint="try again later")
    if 90002 in known:  # noqa: PLR2004
        return AccessDeniedError(
            "there is no such Azure tenant", hint="check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST"
        )
    if 700016 in known:  # noqa: PLR2004
        return AccessDeniedError(
            "the tenant has no such application", hint="check AZURE_CLIENT_ID and AZURE_TENANT_ID"
        )
    if 500011 in known:  # noqa: PLR2004
        return AccessDeniedError(
            "the login service knows no such vaults",
            hint="check AZURE_AUTHORITY_HOST: it has to be of the vault's cloud",
        )
    wrong = next((text for code, text in _OF_ASSERTIONS.items() if code in known), None)
    if audience or wrong:
        return AccessDeniedError(
            wrong or "Azure does not accept the identity token",
            hint="give the application of AZURE_CLIENT_ID in AZURE_TENANT_ID a federated credential with the "
            f"issuer and the subject of this job's identity token and the audience {audience or 'of it'}",
        )
    return bad_credential()
