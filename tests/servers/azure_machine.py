"""
A virtual machine of Azure, or an app, as seen from its inside: the tokens of its identity, and where it is.

    GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=R   Metadata: true     a machine's
    GET /metadata/instance?api-version=2021-02-01                           Metadata: true
    GET /msi/token?api-version=2019-08-01&resource=R                        X-IDENTITY-HEADER  an app's

The tokens are an issuer's, signed, so that a service can check them.
Refused are: a request without its header, one that was forwarded, an unknown client, an unknown resource.
"""

from __future__ import annotations

import hmac
import secrets
import time
import uuid
from typing import TYPE_CHECKING

from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from tests.servers.jwks import Issuer

MANAGEMENT = "https://management.azure.com/"
_LIFETIME = 3600


class AzureMachine(HttpServer):
    """
    Args:
        issuer: stands for Entra ID.
        resources: for which it gives tokens, besides Azure's own management.
        scale_set: that it is a part of.

    Attributes:
        principal: the `oid` of its tokens.
        client_id: of its identity.
        subscription, group, name: where it is.
        claims: put over those of the tokens to come, for tokens that have to be refused.
        issued: all tokens so far.
        requests: what was asked.
    """

    def __init__(self, issuer: Issuer, *, resources: tuple[str, ...] = (), scale_set: str = "") -> None:
        self._issuer = issuer
        self._resources = {MANAGEMENT, *resources}
        self.scale_set = scale_set
        self.principal, self.client_id = str(uuid.uuid4()), str(uuid.uuid4())
        self.subscription = str(uuid.uuid4())
        self.group = f"group-{secrets.token_hex(3)}"
        self.name = f"vm-{secrets.token_hex(3)}"
        self.claims: dict[str, object] = {}
        self.issued: list[str] = []
        self._header = secrets.token_hex(16)
        super().__init__(self._answer)

    @property
    def machine_environment(self) -> dict[str, str]:
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url}

    @property
    def app_environment(self) -> dict[str, str]:
        return {"IDENTITY_ENDPOINT": f"{self.url}/msi/token", "IDENTITY_HEADER": self._header}

    @property
    def resource_id(self) -> str:
        """As the token names it."""
        kind, name = (
            ("virtualMachineScaleSets", self.scale_set) if self.scale_set else ("virtualMachines", self.name)
        )
        above = f"/subscriptions/{self.subscription}/resourcegroups/{self.group}"
        return f"{above}/providers/Microsoft.Compute/{kind}/{name}"

    def _answer(self, request: Request) -> Answer:
        query = request.query
        place = (request.method, request.path, query.get("api-version"))
        if "x-forwarded-for" in request.headers:
            return _refusal("Required metadata header not specified")
        if place == ("GET", "/msi/token", "2019-08-01"):
            given = request.headers.get("x-identity-header", "")
            return self._token(query) if hmac.compare_digest(given, self._header) else _refusal("header", 401)
        if request.headers.get("metadata") != "true":
            return _refusal("Required metadata header not specified")
        if place == ("GET", "/metadata/identity/oauth2/token", "2018-02-01"):
            return self._token(query)
        if place == ("GET", "/metadata/instance", "2021-02-01"):
            compute = {
                "subscriptionId": self.subscription,
                "resourceGroupName": self.group,
                "name": self.name,
                "vmScaleSetName": self.scale_set,
                "location": "westeurope",
            }
            return Answer.json({"compute": compute, "network": {}})
        return _refusal("Not found", 404)

    def _token(self, query: dict[str, str]) -> Answer:
        if query.get("client_id", self.client_id) != self.client_id:
            return _refusal("Identity not found")
        if query.get("resource") not in self._resources:
            return _refusal("AADSTS500011: The resource principal was not found.")
        claims = {
            "aud": query["resource"],
            "oid": self.principal,
            "sub": self.principal,
            "exp": int(time.time()) + _LIFETIME,
            "xms_mirid": self.resource_id,
        }
        self.issued.append(self._issuer.mint({**claims, **self.claims}))
        return Answer.json({"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": "3600"})


def _refusal(text: str, status: int = 400) -> Answer:
    return Answer.json({"error": "invalid_request", "error_description": text}, status)
