"""
The client credentials grant: an application proves its identity and receives a token.

azure.identity does the same with one request more, for the address of the tenant's login,
and takes 60 ms to import.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError
from astro_token.record import Record
from astro_token_backends.azure.errors import login_denial

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secret import SecretValue
    from astro_token_backends.azure.adapter import LoginTransport

__all__ = ["ClientCredentials"]

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST = 86400
_TENANT_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class ClientCredentials(Record):
    """
    Attributes:
        authority: the address of the login service. A vault's challenge cannot change it.
        tenant: of the application.
        client: the application.
        proof: returns its secret or its assertion.
        is_assertion: the proof is an assertion.
        source: of the proof, for people.
        audience: of an assertion, for people; else empty.
    """

    is_probe = False
    programs = ()
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
        from azure.core.credentials import AccessToken
        from azure.core.rest import HttpRequest

        tenants = {name.lower() for name in (tenant or self.tenant, self.tenant)}
        # A tenant has names besides its id, so only ids can be compared.
        if len(tenants) > 1 and all(re.fullmatch(_TENANT_ID, name) for name in tenants):
            raise AccessDeniedError(
                "the vault belongs to another tenant than the credential",
                hint="set AZURE_TENANT_ID to the vault's tenant, and check the vault",
            )
        form = {"grant_type": "client_credentials", "client_id": self.client, "scope": scope}
        if claims:
            form["claims"] = claims
        proof = self.proof().reveal().decode()
        if self.is_assertion:
            form |= {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": proof}
        else:
            form["client_secret"] = proof
        url = f"{self.authority}/{self.tenant}/oauth2/v2.0/token"
        request = HttpRequest("POST", url, headers={"Accept": "application/json"}, data=form)
        response = transport.send(request).received
        if response.status != 200:  # noqa: PLR2004
            raise login_denial(response, self.audience)
        content = response.json() or {}
        token, seconds = content.get("access_token"), content.get("expires_in")
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise response.damaged()
        if type(seconds) is not int or not 0 < seconds <= _LONGEST:
            raise response.damaged()
        return AccessToken(token, int(time.time()) + seconds)
