"""Who is who in Google Cloud: access tokens, and service accounts that sign for themselves."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from tests.servers import web_tokens
from tests.servers.jwks import rsa_key

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "https://secretmanager.googleapis.com/"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
_LONGEST = 3600


class UnauthenticatedError(Exception):
    """The text is one that the service would give."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """
    Attributes:
        email: its name; the principal that its tokens stand for.
        key_id: of its only key.
        key: the private half.
    """

    email: str
    key_id: str
    key: rsa.RSAPrivateKey

    def write(self, file: Path, *, token_uri: str = "https://oauth2.googleapis.com/token") -> Path:
        """Writes the key file that `GOOGLE_APPLICATION_CREDENTIALS` can name, readable by its owner only."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account",
            "project_id": self.email.partition("@")[2].partition(".")[0],
            "private_key_id": self.key_id,
            "private_key": pem.decode(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }
        file.touch(0o600)
        file.write_text(json.dumps(content))
        return file


class Identities:
    """Those whom the test's Google Cloud knows; shared by the servers that are its parts."""

    def __init__(self) -> None:
        self._accounts: dict[str, ServiceAccount] = {}  # by the key's id
        self._tokens: dict[str, tuple[str, float, str]] = {}  # principal, end, scope

    def issue(
        self, principal: str = "tester@example.com", *, lifetime: float = 3600, scope: str = SCOPE
    ) -> str:
        """An access token; a lifetime of nothing makes one that has expired."""
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self._tokens[token] = (principal, time.time() + lifetime, scope)
        return token

    def revoke(self, token: str) -> None:
        del self._tokens[token]

    def service_account(self, name: str = "ci", *, project: str = "p1") -> ServiceAccount:
        """A new service account with a key."""
        account = ServiceAccount(
            f"{name}@{project}.iam.gserviceaccount.com",
            uuid.uuid4().hex,
            rsa_key(),
        )
        self._accounts[account.key_id] = account
        return account

    def principal(self, bearer: str, *, scope: str = SCOPE) -> str:
        """
        Whom a bearer token stands for, be it one that we issued or one that a service account signed.

        Args:
            scope: which is enough, as the one for all of Google Cloud is everywhere.

        Raises:
            UnauthenticatedError: nobody.
        """
        if not bearer:
            raise UnauthenticatedError("Request is missing required authentication credential.")
        principal, end, scopes = self._tokens.get(bearer, ("", 0.0, ""))
        enough = {SCOPE, scope}
        if principal and time.time() < end and enough & set(scopes.split()):
            return principal
        if bearer.startswith("eyJ"):
            account, claims = self.signed(bearer)
            # A token that a client signs itself names the service, or a scope in its place.
            if claims.get("aud") == AUDIENCE or enough & set(str(claims.get("scope", "")).split()):
                return account.email
        raise UnauthenticatedError("Request had invalid authentication credentials.")

    def signed(self, token: str) -> tuple[ServiceAccount, dict[str, object]]:
        """
        The account that signed a token, and what it claims; the audience is the caller's to check.

        Raises:
            UnauthenticatedError: no account of ours did, or it is not valid now.
        """
        try:
            account = self._accounts.get(str(web_tokens.header(token).get("kid")))
            claims = web_tokens.verify(token, account.key.public_key()) if account else {}
        except web_tokens.InvalidTokenError:
            account, claims = None, {}
        if (
            account is None
            or claims.get("iss") != account.email
            or claims.get("sub", account.email) != account.email
            or not isinstance(claims.get("iat"), int)
            or claims["exp"] - claims["iat"] > _LONGEST
        ):
            raise UnauthenticatedError("Request had invalid authentication credentials.")
        return account, claims
