"""
An issuer of identity tokens, as a CI system is one, with its keys published on plain loopback HTTP.

    with Issuer() as issuer:
        openbao.api("POST", "auth/jwt/config", {"jwks_url": issuer.jwks_url, "bound_issuer": issuer.name})
        token = issuer.mint({"sub": "repo:acme/dags", "aud": "openbao"})
"""

from __future__ import annotations

import time
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.servers import web_tokens
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Issuer(HttpServer):
    """
    Args:
        key: signs; an RSA key is made if there is none given. Some services take no other kind.

    Attributes:
        name: the `iss` of its tokens, and where its discovery document is.
        jwks_url: where its public keys are.
        requests: what was asked of it.
    """

    def __init__(self, key: web_tokens.PrivateKey | None = None) -> None:
        self._given = key
        self.key_id = uuid.uuid4().hex
        super().__init__(self._answer)
        self.name = self.url
        self.jwks_url = f"{self.name}/.well-known/jwks.json"

    @cached_property
    def key(self) -> web_tokens.PrivateKey:
        return self._given or rsa_key()

    @property
    def public_key_pem(self) -> str:
        """For services that are told the key itself."""
        return (
            self.key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def mint(self, claims: Mapping[str, object], *, key: web_tokens.PrivateKey | None = None) -> str:
        """
        A token for five minutes from now.

        Args:
            claims: added to `iss`, `iat`, `nbf`, `exp` and `jti`, or in their place; None leaves one out.
            key: signs in place of ours and under our name, for a token that has to be refused.
        """
        now = int(time.time())
        whole = {
            "iss": self.name,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": uuid.uuid4().hex,
            **claims,
        }
        whole = {name: value for name, value in whole.items() if value is not None}
        return web_tokens.sign(whole, key or self.key, kid=self.key_id)

    def verify(self, token: str, *, audiences: Collection[str] | None = None) -> dict[str, Any]:
        """
        The claims of a token of ours that is valid now.

        Raises:
            web_tokens.InvalidTokenError: it is not.
        """
        return web_tokens.verify(token, self.key.public_key(), audiences=audiences)

    def _answer(self, request: Request) -> Answer:
        documents: dict[str, object] = {
            "/.well-known/openid-configuration": {
                "issuer": self.name,
                "jwks_uri": self.jwks_url,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [web_tokens.algorithm(self.key)],
            },
            "/.well-known/jwks.json": {"keys": [self._jwk()]},
        }
        if request.method != "GET" or request.path not in documents:
            return Answer.json({"error": "not found"}, 404)
        return Answer.json(documents[request.path])

    def _jwk(self) -> dict[str, str]:
        public = self.key.public_key()
        known = {"kid": self.key_id, "use": "sig", "alg": web_tokens.algorithm(public)}
        if isinstance(public, rsa.RSAPublicKey):
            modulus = public.public_numbers()
            return {**known, "kty": "RSA", "n": _integer(modulus.n), "e": _integer(modulus.e)}
        point = public.public_numbers()
        return {**known, "kty": "EC", "crv": "P-256", "x": _integer(point.x, 32), "y": _integer(point.y, 32)}


def rsa_key(bits: int = 1024) -> rsa.RSAPrivateKey:
    """A small key protects nothing and saves time: a client checks it at each login, 2048 bits for 50 ms."""
    return rsa.generate_private_key(65537, bits)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _integer(number: int, size: int | None = None) -> str:
    return web_tokens.encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def main() -> None:
    import argparse

    from tests.servers import by_hand

    parser = argparse.ArgumentParser(description="Issue identity tokens.")
    parser.add_argument("--subject", default="repo:acme/dags:ref:refs/heads/main")
    parser.add_argument("--audience", default="openbao")
    options = parser.parse_args()
    with Issuer() as issuer:
        token = issuer.mint(
            {"sub": options.subject, "aud": options.audience, "exp": int(time.time()) + 86400}
        )
        by_hand.serve(
            "an issuer of identity tokens", {"ASTRO_TOKEN_ID_TOKEN": token}, f"keys: {issuer.jwks_url}"
        )


if __name__ == "__main__":
    main()
