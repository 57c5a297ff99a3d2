"""
Microsoft Entra ID and managed identity, as far as a client needs them to reach a vault.

Refused are: another tenant, an unknown client, a wrong secret, a federated token whose signature, time,
issuer, subject or audience is wrong, an assertion that the application's certificate did not sign,
another grant, an unknown resource;
and by managed identity a request without its header, or one that was forwarded.
Not covered: users.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from tests.servers import web_tokens
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from tests.servers.http1 import Request
    from tests.servers.jwks import Issuer

VAULT = "https://vault.azure.net"
FEDERATED = "api://AzureADTokenExchange"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFETIME = 3599


@dataclass(frozen=True, slots=True)
class Token:
    """
    Attributes:
        client: whom it stands for.
        audience: whom it is for.
        end: in seconds since the epoch.
    """

    client: str
    audience: str
    end: float


@dataclass(frozen=True, slots=True)
class _Federation:
    issuer: Issuer
    subject: str
    audience: str


class _RefusedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Directory:
    """
    One tenant with one application, and one machine that has an identity.

    Args:
        resource: for which it issues tokens, beside the public cloud's vaults.
    """

    def __init__(self, resource: str = VAULT) -> None:
        self.tenant = str(uuid.uuid4())
        self.client_id = str(uuid.uuid4())
        self.client_secret = secrets.token_urlsafe(30)
        self.machine_id = str(uuid.uuid4())
        self.identity_header = secrets.token_hex(16)
        self._resources = {resource, VAULT}
        self._tokens: dict[str, Token] = {}
        self._federations: list[_Federation] = []
        self._certificates: list[RSAPublicKey] = []

    def issue(self, audience: str, client: str, lifetime: float = _LIFETIME) -> str:
        # Of the shape of a JWT, but only a name for what we remember.
        payload = json.dumps({"aud": audience, "tid": self.tenant, "jti": uuid.uuid4().hex}).encode()
        parts = (b'{"typ":"JWT","alg":"RS256"}', payload, secrets.token_bytes(32))
        token = ".".join(web_tokens.encode(part) for part in parts)
        self._tokens[token] = Token(client, audience, time.time() + lifetime)
        return token

    def token(self, bearer: str) -> Token | None:
        """What a bearer token stands for, expired or not; None if it was not issued here."""
        return self._tokens.get(bearer)

    def trust(self, issuer: Issuer, subject: str, audience: str) -> None:
        self._federations.append(_Federation(issuer, subject, audience))

    def trust_certificate(self, certificate: bytes) -> None:
        """Accepts what the key of a certificate (PEM) signs, in place of the client's secret."""
        key = load_pem_x509_certificate(certificate).public_key()
        if not isinstance(key, RSAPublicKey):
            raise TypeError("a certificate with an RSA key")
        self._certificates.append(key)

    # -- Entra -------------------------------------------------------------------------------

    def entra(self, request: Request) -> Answer:
        try:
            return self._entra(request)
        except _RefusedError as refused:
            return refused.answer

    def _entra(self, request: Request) -> Answer:
        base = f"https://{request.headers.get('host', '')}"
        tenant, _, path = request.path.removeprefix("/").partition("/")
        if request.method == "GET" and request.path == "/common/discovery/instance":
            return Answer.json(self._instance(base))
        if tenant != self.tenant:
            return _aadsts(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if request.method == "GET" and path == "v2.0/.well-known/openid-configuration":
            content = {
                "issuer": f"{base}/{self.tenant}/v2.0",
                "authorization_endpoint": f"{base}/{self.tenant}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/{self.tenant}/oauth2/v2.0/token",
            }
            return Answer.json(content)
        if request.method == "POST" and path == "oauth2/v2.0/token":
            return self._log_in(request.form, f"{base}{request.path}")
        return Answer.json({"error": "not_found"}, 404)

    def _instance(self, base: str) -> dict[str, object]:
        host = base.removeprefix("https://")
        return {
            "tenant_discovery_endpoint": f"{base}/{self.tenant}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        }

    def _log_in(self, form: dict[str, str], endpoint: str) -> Answer:
        resource = form.get("scope", "").partition(" ")[0].removesuffix("/.default")
        if form.get("grant_type") != "client_credentials":
            return _aadsts(
                400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."
            )
        if form.get("client_id") != self.client_id:
            return _aadsts(400, "unauthorized_client", 700016, "Application was not found in the directory.")
        self._check_client(form, endpoint)
        if not form.get("scope", "").partition(" ")[0].endswith("/.default"):
            return _aadsts(400, "invalid_scope", 1002012, "The provided value for scope is not valid.")
        if resource not in self._resources:
            return _aadsts(400, "invalid_resource", 500011, "The resource principal was not found.")
        token = self.issue(resource, self.client_id)
        return Answer.json(
            {
                "token_type": "Bearer",
                "expires_in": _LIFETIME,
                "ext_expires_in": _LIFETIME,
                "access_token": token,
            }
        )

    def _check_client(self, form: dict[str, str], endpoint: str) -> None:
        if "client_assertion" in form:
            if form.get("client_assertion_type") != _ASSERTION:
                raise _RefusedError(
                    _aadsts(400, "invalid_request", 900144, "The request body lacks a parameter.")
                )
            self._check_assertion(form["client_assertion"], endpoint)
        elif "client_secret" not in form:
            raise _RefusedError(_aadsts(401, "invalid_client", 7000218, "The request body lacks a secret."))
        elif not hmac.compare_digest(form["client_secret"].encode(), self.client_secret.encode()):
            raise _RefusedError(_aadsts(401, "invalid_client", 7000215, "Invalid client secret provided."))

    def _check_assertion(self, token: str, endpoint: str) -> None:
        """A federated token has to match one record, and be signed and valid; one's own has to be, too."""
        try:
            claims = web_tokens.claims(token)
        except web_tokens.InvalidTokenError:
            raise _RefusedError(
                _aadsts(401, "invalid_client", 50027, "JWT token is invalid or malformed.")
            ) from None
        if claims.get("iss") == claims.get("sub") == self.client_id:
            if claims.get("aud") != endpoint or claims.get("exp", 0) <= time.time():
                raise _RefusedError(_aadsts(401, "invalid_client", 700024, "Client assertion is not valid."))
            if not any(_signed(token, key) for key in self._certificates):
                raise _RefusedError(_aadsts(401, "invalid_client", 700027, "The key was not found."))
            return
        found = [known for known in self._federations if known.issuer.name == claims.get("iss")]
        for number, key in ((700211, "iss"), (700213, "sub"), (700212, "aud")):
            if key == "sub":
                found = [known for known in found if known.subject == claims.get("sub")]
            if key == "aud":
                found = [known for known in found if known.audience == claims.get("aud")]
            if not found:
                text = f"No matching federated identity record found for presented assertion's {key}."
                raise _RefusedError(_aadsts(401, "invalid_client", number, text))
        try:
            found[0].issuer.verify(token)
        except web_tokens.InvalidTokenError as error:
            why = error.why
        else:
            return
        number = 50013 if why == "signature" else 700024
        raise _RefusedError(_aadsts(401, "invalid_client", number, f"Client assertion failed: {why}."))

    # -- managed identity --------------------------------------------------------------------

    def managed_identity(self, request: Request) -> Answer:
        query = request.query
        machine = request.path == "/metadata/identity/oauth2/token"
        if request.method != "GET" or not (machine or request.path == "/msi/token"):
            return Answer.json({"error": "not_found", "error_description": "No such path."}, 404)
        given = request.headers.get("metadata" if machine else "x-identity-header", "")
        if given != ("true" if machine else self.identity_header) or "x-forwarded-for" in request.headers:
            return _identity_error("Required metadata header not specified")
        if not query.get("resource") or query.get("api-version") not in {"2018-02-01", "2019-08-01"}:
            return _identity_error("Required query variable 'resource' or 'api-version' is missing")
        if query.get("client_id", self.machine_id) != self.machine_id:
            return _identity_error("Identity not found")
        if query["resource"] not in self._resources:
            return _identity_error("AADSTS500011: The resource principal was not found.", "invalid_resource")
        token = self.issue(query["resource"], self.machine_id)
        content = {
            "access_token": token,
            "client_id": self.machine_id,
            "expires_in": str(_LIFETIME),
            "expires_on": str(int(time.time()) + _LIFETIME),
            "resource": query["resource"],
            "token_type": "Bearer",
        }
        return Answer.json(content)


def _signed(token: str, key: RSAPublicKey) -> bool:
    signed, _, signature = token.rpartition(".")
    # msal signs in either way, by how it was told the certificate.
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    way = pss if web_tokens.header(token).get("alg") == "PS256" else padding.PKCS1v15()
    try:
        key.verify(web_tokens.decode(signature), signed.encode(), way, hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _aadsts(status: int, error: str, number: int, text: str) -> Answer:
    content = {
        "error": error,
        "error_description": f"AADSTS{number}: {text}",
        "error_codes": [number],
        "trace_id": str(uuid.uuid4()),
        "correlation_id": str(uuid.uuid4()),
    }
    return Answer.json(content, status)


def _identity_error(text: str, error: str = "invalid_request") -> Answer:
    return Answer.json({"error": error, "error_description": text}, 400)
