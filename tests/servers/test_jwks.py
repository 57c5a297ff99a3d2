"""Identity tokens: what is signed and valid now is accepted, anything else is not."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from tests.servers import web_tokens
from tests.servers.jwks import Issuer, ec_key, rsa_key

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD: dict[str, object] = {"sub": "repo:acme/dags", "aud": "openbao"}


@pytest.fixture(params=["RSA", "EC"])
def signer(request: pytest.FixtureRequest) -> Iterator[Issuer]:
    with Issuer(ec_key() if request.param == "EC" else rsa_key(2048)) as issuer:
        yield issuer


def test_a_token_of_ours_is_accepted(signer: Issuer) -> None:
    claims = signer.verify(signer.mint(GOOD), audiences={"openbao"})
    assert (claims["iss"], claims["sub"], claims["aud"]) == (signer.name, "repo:acme/dags", "openbao")


def test_a_claim_can_be_left_out(signer: Issuer) -> None:
    assert "nbf" not in web_tokens.claims(signer.mint({**GOOD, "nbf": None}))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": int(time.time()) - 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "tomorrow"}, "expired"),
        ({"nbf": int(time.time()) + 86400}, "not yet valid"),
        ({"iat": int(time.time()) + 86400}, "not yet valid"),
        ({"aud": "other"}, "audience"),
        ({"aud": ["other", "more"]}, "audience"),
        ({"aud": None}, "audience"),
    ],
)
def test_claims_that_do_not_fit_are_refused(signer: Issuer, claims: dict[str, object], why: str) -> None:
    with pytest.raises(web_tokens.InvalidTokenError) as raised:
        signer.verify(signer.mint({**GOOD, **claims}), audiences={"openbao"})
    assert raised.value.why == why


def test_another_signature_is_refused(signer: Issuer) -> None:
    head, payload, signature = signer.mint(GOOD).split(".")
    changed = web_tokens.encode(json.dumps({**GOOD, "exp": int(time.time()) + 900}).encode())
    unsigned = web_tokens.encode(b'{"alg":"none"}')
    for token in (
        signer.mint(GOOD, key=rsa_key()),
        signer.mint(GOOD, key=ec_key()),
        f"{head}.{changed}.{signature}",
        f"{head}.{payload}.",
        f"{unsigned}.{payload}.",
        f"{unsigned}.{payload}.{signature}",
    ):
        with pytest.raises(web_tokens.InvalidTokenError, match="signature"):
            signer.verify(token)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512"])
def test_the_algorithm_is_not_the_tokens_choice(signer: Issuer, algorithm: str) -> None:
    claims = web_tokens.claims(signer.mint(GOOD))
    assert signer.verify(web_tokens.sign(claims, signer.key)) == claims
    with pytest.raises(web_tokens.InvalidTokenError, match="signature"):
        signer.verify(web_tokens.sign(claims, signer.key, alg=algorithm))


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.W10.x", "e30.e30.e30.e30"])
def test_what_is_no_token_is_refused(signer: Issuer, token: str) -> None:
    with pytest.raises(web_tokens.InvalidTokenError, match="malformed"):
        signer.verify(token)


def test_its_keys_are_published(signer: Issuer) -> None:
    with urlopen(f"{signer.name}/.well-known/openid-configuration", timeout=30) as answer:
        assert json.load(answer)["jwks_uri"] == signer.jwks_url
    with urlopen(signer.jwks_url, timeout=30) as answer:
        (key,) = json.load(answer)["keys"]
    assert (key["kid"], key["alg"]) == (signer.key_id, web_tokens.header(signer.mint(GOOD))["alg"])
    # Another implementation makes of it what we made.
    import jwt

    claims = jwt.decode(
        signer.mint(GOOD), jwt.PyJWK(key).key, algorithms=[key["alg"]], audience="openbao", issuer=signer.name
    )
    assert claims["sub"] == "repo:acme/dags"
