"""Secrets of Acme: `acme:NAME[?version=N][#field]`. Permission: to read them."""

import os
import time
from urllib.parse import quote

from astro_token import SecretRef, SecretValue, errors
from astro_token.transport.client import Client
from astro_token.transport.route import Route

ERRORS = {401: errors.AccessDeniedError, 403: errors.AccessDeniedError, 404: errors.SecretNotFoundError}
client = Client()  # one attempt until a deadline; the proxy and CA certificates of the route; no redirect


class AcmeBackend:
    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        if ref.options.keys() - {"version"}:
            raise errors.InvalidRefError("acme takes the option version only", hint="remove the others")
        route = Route.to(os.environ.get("ACME_ADDR", ""), os.environ, service="Acme", variable="ACME_ADDR")
        target = f"/v1/secrets/{quote(ref.name)}/{quote(ref.options.get('version', 'latest'), safe='')}"
        if not (token := os.environ.get("ACME_TOKEN", "").strip()):
            raise errors.NoCredentialError("ACME_TOKEN is not set", hint="set it to a token of Acme")
        headers = {"Authorization": f"Bearer {token}"}
        response = client.send(route, "GET", target, until=time.monotonic() + timeout, headers=headers)
        if error := ERRORS.get(response.status):
            raise error(f"Acme answers with {response.status}", hint="check the name and ACME_TOKEN")
        if response.failure() or not (secret := response.json()) or not {"value", "version"} <= secret.keys():
            raise response.failure() or response.damaged()
        return SecretValue(secret["value"].encode(), version=str(secret["version"]))

    def credential_variables(self) -> set[str]:  # `exec` withholds them from its command
        return {"ACME_TOKEN"}
