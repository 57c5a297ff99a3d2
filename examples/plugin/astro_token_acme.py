"""Secrets of Acme: `acme:NAME[?version=N][#field]`. Permission: to read them."""

import os
import time
from urllib.parse import quote

from astro_token import AccessDeniedError, InvalidRefError, SecretNotFoundError, SecretRef, SecretValue
from astro_token.transport.client import Client
from astro_token.transport.route import Route

ERRORS = {401: AccessDeniedError, 403: AccessDeniedError, 404: SecretNotFoundError}
client = Client()  # one attempt until a deadline; the proxy and CA certificates of the route; no redirect


class Acme:
    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        if ref.options.keys() - {"version"}:
            raise InvalidRefError("acme takes the option version only", hint="remove the others")
        route = Route.to(os.environ.get("ACME_ADDR", ""), os.environ, service="Acme", variable="ACME_ADDR")
        target = f"/v1/secrets/{quote(ref.name)}/{quote(ref.options.get('version', 'latest'), safe='')}"
        headers = {"Authorization": f"Bearer {os.environ.get('ACME_TOKEN', '')}"}
        response = client.send(route, "GET", target, until=time.monotonic() + timeout, headers=headers)
        if error := ERRORS.get(response.status):
            raise error(f"Acme answers with {response.status}", hint="check the name and ACME_TOKEN")
        if failure := response.failure():
            raise failure
        if not (secret := response.json()) or not {"value", "version"} <= secret.keys():
            raise response.damaged()
        return SecretValue(secret["value"].encode(), version=str(secret["version"]))

    def credential_variables(self) -> set[str]:  # `exec` withholds them from its command
        return {"ACME_TOKEN"}
