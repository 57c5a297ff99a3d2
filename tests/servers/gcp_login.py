"""
The ways to an access token of Google Cloud, strict:

    /token                  a service account's signed assertion, or a user's login   (TLS)
    /v1/token               a CI system's identity token: workload identity          (TLS)
    …:generateAccessToken   for a service account, by one who may act for it         (TLS)
    metadata                the machine's own account, as on Compute Engine and GKE  (plain HTTP)

    with GcpLogin(gcp.identities, certificates.server.context()) as login:
        provider = login.trust(issuer, subject="repo:acme/dags")
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.servers import web_tokens
from tests.servers.gcp_identity import IAM_SCOPE, SCOPE, UnauthenticatedError
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    import ssl

    from tests.servers.gcp_identity import Identities
    from tests.servers.jwks import Issuer

_POOL = "projects/{number}/locations/global/workloadIdentityPools/ci"
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_OF_AWS = "urn:ietf:params:aws:token-type:aws4_request"
_IMPERSONATE = re.compile(r"/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken")
_FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}


@dataclass(frozen=True, slots=True)
class _Trust:
    issuer: Issuer
    subject: str
    accounts: frozenset[str]


class GcpLogin(HttpServer):
    """
    Args:
        identities: of the server that the tokens are for.
        tls: of the endpoints that Google has on https.
        project: that the metadata server names.

    Attributes:
        url: of the token endpoints, `https://127.0.0.1:PORT`; the workload identity one is at `/v1/token`.
        port: of the token endpoints.
        metadata_host: for `GCE_METADATA_HOST` and `GCE_METADATA_IP`.
        machine_account: the machine's own service account; the metadata server has no other.
        requests: to the token endpoints.
        metadata_requests: to the metadata server.
    """

    def __init__(self, identities: Identities, tls: ssl.SSLContext, *, project: str = "p1") -> None:
        self._identities = identities
        self._project = project
        self._trusts: dict[str, _Trust] = {}
        self._may_act_for: dict[str, frozenset[str]] = {}
        self._users: dict[str, str] = {}  # by their refresh token
        self._aws: dict[str, str] = {}  # access key ids, by provider
        self._lock = threading.Lock()
        self.machine_account = f"machine@{project}.iam.gserviceaccount.com"
        self._metadata_server = HttpServer(self._metadata)
        self.metadata_host = f"127.0.0.1:{self._metadata_server.port}"
        self.metadata_requests = self._metadata_server.requests
        super().__init__(self._answer, tls=tls)

    def trust(self, issuer: Issuer, *, subject: str, accounts: tuple[str, ...] = ()) -> str:
        """
        Accepts an issuer's tokens for one subject.

        Args:
            issuer: of the identity tokens.
            subject: their `sub`.
            accounts: the service accounts that it may act for.

        Returns:
            the provider's resource name; with `https:` before it, the `aud` that tokens have to have.
        """
        with self._lock:
            pool = _POOL.format(number=123456789012)
            provider = f"//iam.googleapis.com/{pool}/providers/ci-{len(self._trusts)}"
            self._trusts[provider] = _Trust(issuer, subject, frozenset(accounts))
        return provider

    def trust_aws(self, access_key_id: str) -> str:
        """Accepts the identity of an AWS key, of which not the signature but all else is checked."""
        with self._lock:
            pool = _POOL.format(number=123456789012)
            provider = f"//iam.googleapis.com/{pool}/providers/aws-{len(self._aws)}"
            self._aws[provider] = access_key_id
        return provider

    def allow(self, principal: str, *accounts: str) -> None:
        """Lets somebody act for these service accounts, and no others."""
        with self._lock:
            self._may_act_for[principal] = frozenset(accounts)

    def user(self, name: str = "developer@example.com") -> dict[str, str]:
        """The file that `gcloud auth application-default login` leaves."""
        token = f"1//{secrets.token_urlsafe(48)}"
        with self._lock:
            self._users[token] = name
        client = {"client_id": "764086051850.apps.googleusercontent.com", "client_secret": "not-a-secret"}
        return {"type": "authorized_user", "refresh_token": token, **client}

    def close(self, grace: float = 0.0) -> None:
        super().close(grace)
        self._metadata_server.close(grace)

    # -- token endpoints ---------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        path = unquote(request.path)
        if request.method != "POST":
            return Answer.json({"error": "not_found"}, 404)
        if path == "/token":
            return self._assertion(request.form)
        if path == "/v1/token":
            return self._exchange(request.form)
        if match := _IMPERSONATE.fullmatch(path):
            return self._impersonate(request, match[1])
        return Answer.json({"error": "not_found"}, 404)

    def _assertion(self, form: dict[str, str]) -> Answer:
        if form.get("grant_type") == "refresh_token":
            user = self._users.get(form.get("refresh_token", ""))
            return self._token(user) if user else _refuse("invalid_grant", "Bad Request")
        if form.get("grant_type") != _ASSERTION:
            return _refuse("unsupported_grant_type", "Invalid grant_type")
        try:
            account, claims = self._identities.signed(form.get("assertion", ""))
        except UnauthenticatedError:
            return _refuse("invalid_grant", "Invalid JWT Signature.")
        if claims.get("aud") not in {f"{self.url}/token", "https://oauth2.googleapis.com/token"}:
            return _refuse("invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = str(claims.get("scope", "")).split()
        if not {SCOPE, IAM_SCOPE} & set(scopes):
            return _refuse("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return self._token(account.email, " ".join(scopes))

    def _exchange(self, form: dict[str, str]) -> Answer:
        provider = form.get("audience", "")
        if form.get("subject_token_type") == _OF_AWS:
            return self._exchange_aws(provider, form)
        trust = self._trusts.get(provider)
        if form.get("grant_type") != _EXCHANGE or form.get("requested_token_type") != _ACCESS_TOKEN:
            return _refuse("invalid_request", "Invalid grant type or requested token type.")
        if trust is None or form.get("subject_token_type") not in {_JWT, _ID_TOKEN}:
            return _refuse("invalid_target", "The target service indicated by the audience is invalid.")
        try:
            claims = trust.issuer.verify(
                form.get("subject_token", ""), audiences={provider, f"https:{provider}"}
            )
        except web_tokens.InvalidTokenError as error:
            return _refuse("invalid_grant", f"The ID token is not acceptable: {error.why}.")
        if claims.get("iss") != trust.issuer.name or claims.get("sub") != trust.subject:
            return _refuse(
                "unauthorized_client", "The given credential is rejected by the attribute condition."
            )
        pool = provider.partition("/providers/")[0].removeprefix("//")
        principal = f"principal://{pool}/subject/{trust.subject}"
        with self._lock:
            self._may_act_for[principal] = trust.accounts
        return self._token(principal, form.get("scope", ""), issued_token_type=_ACCESS_TOKEN)

    def _exchange_aws(self, provider: str, form: dict[str, str]) -> Answer:
        asked = json.loads(unquote(form.get("subject_token", "{}")))
        headers = {header["key"].lower(): header["value"] for header in asked.get("headers", ())}
        url, signature = str(asked.get("url")), headers.get("authorization", "")
        key = self._aws.get(provider, "nobody's")
        if (
            headers.get("x-goog-cloud-target-resource") != provider
            or not re.fullmatch(r"https://sts\.[a-z0-9-]+\.amazonaws\.com\?Action=GetCallerIdentity&.*", url)
            or not signature.startswith(f"AWS4-HMAC-SHA256 Credential={key}/")
        ):
            return _refuse("invalid_grant", "The AWS request is not acceptable.")
        return self._token(
            f"principal:{provider}/{key}", form.get("scope", ""), issued_token_type=_ACCESS_TOKEN
        )

    def _impersonate(self, request: Request, account: str) -> Answer:
        wanted = json.loads(request.body or b"{}")
        if request.method != "POST" or SCOPE not in wanted.get("scope", ()):
            return _error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
        try:
            principal = self._identities.principal(request.bearer, scope=IAM_SCOPE)
        except UnauthenticatedError as error:
            return _error(401, "UNAUTHENTICATED", str(error))
        if account not in self._may_act_for.get(principal, frozenset()):
            return _error(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied")
        end = datetime.now(UTC) + timedelta(hours=1)
        token = self._identities.issue(account)
        return Answer.json({"accessToken": token, "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def _token(self, principal: str, scope: str = SCOPE, **more: str) -> Answer:
        token = self._identities.issue(principal, scope=scope)
        return Answer.json({"access_token": token, "expires_in": 3599, "token_type": "Bearer", **more})

    # -- metadata server ---------------------------------------------------------------------

    def _metadata(self, request: Request) -> Answer:
        if request.path == "/":
            return _metadata_text("0.1/\ncomputeMetadata/\n")
        if request.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in request.headers:
            return Answer(403, b"Missing Metadata-Flavor:Google header.", _FLAVOR, "text/html")
        account = "/computeMetadata/v1/instance/service-accounts/"
        rest = request.path.removeprefix(account).partition("/")
        if request.path.startswith(account) and rest[0] in {"default", self.machine_account}:
            return self._machine(rest[2], request)
        if request.path == "/computeMetadata/v1/project/project-id":
            return _metadata_text(self._project)
        if request.path == "/computeMetadata/v1/universe/universe-domain":
            return _metadata_text("googleapis.com")
        return Answer(404, b"not found", _FLAVOR, "text/html")

    def _machine(self, what: str, request: Request) -> Answer:
        if what == "token":
            token = self._identities.issue(self.machine_account)
            content = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
            return Answer.json(content, headers=_FLAVOR)
        if what == "email":
            return _metadata_text(self.machine_account)
        if what == "" and request.query.get("recursive") == "true":
            content = {"aliases": ["default"], "email": self.machine_account, "scopes": [SCOPE]}
            return Answer.json(content, headers=_FLAVOR)
        return Answer(404, b"not found", _FLAVOR, "text/html")


def _metadata_text(text: str) -> Answer:
    return Answer(200, text.encode(), _FLAVOR, "application/text")


def _refuse(error: str, description: str) -> Answer:
    return Answer.json({"error": error, "error_description": description}, 400)


def _error(code: int, status: str, message: str) -> Answer:
    return Answer.json({"error": {"code": code, "message": message, "status": status}}, code)
