"""
The logins of Vault that OpenBao's build lacks: ldap, aws (iam), gcp and azure, in front of a real OpenBao.

    with VaultLogins(openbao, google, entra) as vault:
        key = vault.aws_key("arn:aws:iam::111122223333:role/ci")
        vault.roles["aws", "ci"] = Role(policies=["reading"], principals={key.arn})

A login is checked as Vault's own methods document it, and answered with a token that OpenBao made;
every other request goes to OpenBao as it is. Refused are:

    ldap    an unknown user, a wrong password
    aws     any request but GetCallerIdentity to the token service, a signature that is not of a known key,
            not of now or not for that service's region, a missing or unsigned X-Vault-AWS-IAM-Server-ID,
            headers of AWS that Vault does not pass on
    gcp     a JWT that is signed by nobody known, expired, too long-lived or for another role;
            for roles of instances one that is no instance's, for others one that is
    azure   a token of another issuer, expired or for another resource; a place that it does not name

and by all of them a role that does not exist, or that is bound to somebody else.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.servers import web_tokens
from tests.servers.aws_signature import InvalidSignatureError, Key, signer
from tests.servers.azure_machine import MANAGEMENT
from tests.servers.http1 import Answer, HttpServer, Reply, Request
from tests.servers.wire import forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao

_LOGIN = re.compile(r"/v1/auth/(ldap|aws|gcp|azure)/login(?:/([\w.@-]+))?", re.ASCII)
_LONGEST = 900  # of a JWT that a service account signs itself
_SKEW = 60
_AWS_HEADERS = {"x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
_SERVER_ID = "x-vault-aws-iam-server-id"
_FIELDS = {
    "ldap": {"password"},
    "aws": {
        "role",
        "iam_http_request_method",
        "iam_request_url",
        "iam_request_body",
        "iam_request_headers",
    },
    "gcp": {"role", "jwt"},
    "azure": {"role", "jwt", "subscription_id", "resource_group_name", "vm_name", "vmss_name"},
}


class RefusedError(Exception):
    """The text is the reason that Vault would give."""


@dataclass(frozen=True, slots=True)
class Role:
    """
    Attributes:
        policies: what a token of it may do.
        principals: who may have it: an ARN, the `sub` of a JWT, the `oid` of a machine, a user's name.
        instances: of gcp: the projects whose instances may have it; without any it is for accounts.
        places: of azure: the subscriptions, groups and machines that may have it, as `S/G/NAME`.
        token: more settings of the token, as `num_uses`.
    """

    policies: list[str]
    principals: set[str] = field(default_factory=set)
    instances: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    token: dict[str, object] = field(default_factory=dict)


class VaultLogins(HttpServer):
    """
    Args:
        openbao: makes the tokens, and answers all else.
        google: signs for instances, as Google does.
        entra: signs for machines, as Entra ID does.

    Attributes:
        url: for `VAULT_ADDR`.
        roles: by the method and the role's name; of ldap by the user's.
        passwords: of ldap, by the user's name.
        accounts: of gcp, by the id of the key.
        resource: of azure, the one that its tokens are for.
        server_id: of aws, the header's value that is demanded, where one is.
        token_service: of aws, the region and the host that Vault asks.
        requests: all that were sent here.
    """

    def __init__(self, openbao: OpenBao, google: Issuer, entra: Issuer) -> None:
        self._openbao = openbao
        self._google = google
        self._entra = entra
        self.roles: dict[tuple[str, str], Role] = {}
        self.passwords: dict[str, str] = {}
        self.accounts: dict[str, ServiceAccount] = {}
        self.resource = MANAGEMENT
        self.server_id = ""
        self.token_service = ("us-east-1", "sts.amazonaws.com")
        self._keys: dict[str, Key] = {}
        self._methods: dict[str, Callable[[Role, dict[str, str], str], str]] = {
            "ldap": self._ldap,
            "aws": self._aws,
            "gcp": self._gcp,
            "azure": self._azure,
        }
        super().__init__(self._answer)

    def aws_key(self, arn: str, *, session: bool = False) -> Key:
        key = Key.make(arn, session=session)
        self._keys[key.id] = key
        return key

    def _answer(self, request: Request) -> Reply:
        login = _LOGIN.fullmatch(request.path)
        if login and request.method in {"POST", "PUT"}:
            return self._login(request, login[1], login[2] or "")
        return forward(request, self._openbao.address)

    def _login(self, request: Request, method: str, user: str) -> Answer:
        try:
            body = _body(request, method)
            name = user if method == "ldap" else body.get("role", "")
            role = self.roles.get((method, name))
            if role is None:
                raise RefusedError("invalid role name, or the user is not known")
            principal = self._methods[method](role, body, name)
            if principal not in role.principals:
                raise RefusedError(f"{principal} is not authorized for the role")
        except RefusedError as refused:
            return Answer.json({"errors": [str(refused)]}, 400)
        token = {"policies": role.policies, "ttl": "5m", **role.token}
        made = self._openbao.api("POST", "auth/token/create", token)["auth"]
        return Answer.json({"auth": made, "data": None, "warnings": None})

    # -- each method -------------------------------------------------------------------------

    def _ldap(self, role: Role, body: dict[str, str], user: str) -> str:
        known = self.passwords.get(user, "")
        if not known or not hmac.compare_digest(known.encode(), body.get("password", "").encode()):
            raise RefusedError("ldap operation failed: failed to bind as user")
        return user

    def _aws(self, role: Role, body: dict[str, str], name: str) -> str:
        method, url = body.get("iam_http_request_method"), _decoded(body, "iam_request_url").decode()
        sent = _decoded(body, "iam_request_body")
        headers = _headers(_decoded(body, "iam_request_headers"))
        address, (region, host) = urlsplit(url), self.token_service
        if method != "POST" or address.query:
            raise RefusedError("invalid iam_http_request_method")
        if (address.scheme, address.netloc, address.path) != ("https", host, "/"):
            raise RefusedError("the request is not for the token service")
        if parse_qs(sent.decode()) != {"Action": ["GetCallerIdentity"], "Version": ["2011-06-15"]}:
            raise RefusedError("the request asks for something else")
        if any(each.startswith("x-amz-") and each not in _AWS_HEADERS for each in headers):
            raise RefusedError("invalid request header")
        if self.server_id:
            if not hmac.compare_digest(headers.get(_SERVER_ID, "").encode(), self.server_id.encode()):
                raise RefusedError("error validating X-Vault-AWS-IAM-Server-ID header")
            signed = re.search(r"SignedHeaders=([^,\s]+)", headers.get("authorization", ""))
            if signed is None or _SERVER_ID not in signed[1].split(";"):
                raise RefusedError("the header X-Vault-AWS-IAM-Server-ID is not signed")
        try:
            return signer(method, url, headers, sent, keys=self._keys, place=(region, "sts")).arn
        except InvalidSignatureError as error:
            raise RefusedError(f"error making upstream request: {error}") from None

    def _gcp(self, role: Role, body: dict[str, str], name: str) -> str:
        token = body.get("jwt", "")
        try:
            key_id = web_tokens.header(token).get("kid")
            account = self.accounts.get(str(key_id))
            if key_id == self._google.key_id:
                claims = self._google.verify(token)
            elif account and not role.instances and web_tokens.claims(token).get("sub") == account.email:
                claims = web_tokens.verify(token, account.key.public_key())
            else:
                raise RefusedError("unable to get public key for signed JWT")
        except web_tokens.InvalidTokenError as error:
            raise RefusedError(f"the JWT is not acceptable: {error.why}") from None
        instance = claims.get("google", {}).get("compute_engine", {})
        if not str(claims.get("aud", "")).endswith(f"vault/{name}"):
            raise RefusedError(f"the JWT claim 'aud' must end in vault/{name}")
        if role.instances and not (
            instance.get("instance_id") and instance.get("project_id") in role.instances
        ):
            raise RefusedError("expected JWT to have claims with GCE metadata, of a bound project")
        if not role.instances and instance:
            raise RefusedError("got GCE token, but the role does not allow GCE inference")
        if not instance and claims["exp"] > time.time() + _LONGEST + _SKEW:
            raise RefusedError("JWT must expire in 15 minutes")
        return str(claims.get("sub", ""))

    def _azure(self, role: Role, body: dict[str, str], name: str) -> str:
        try:
            claims = self._entra.verify(body.get("jwt", ""), audiences={self.resource})
        except web_tokens.InvalidTokenError as error:
            raise RefusedError(f"the token is not acceptable: {error.why}") from None
        if claims.get("iss") != self._entra.name:
            raise RefusedError("the token is of another issuer")
        if role.places:
            self._check_place(role, body, str(claims.get("xms_mirid", "")))
        return str(claims.get("oid", ""))

    def _check_place(self, role: Role, body: dict[str, str], machine: str) -> None:
        subscription, group = body.get("subscription_id", ""), body.get("resource_group_name", "")
        if not subscription or not group:
            raise RefusedError("subscription_id and resource_group_name are required")
        kind = "virtualMachineScaleSets" if body.get("vmss_name") else "virtualMachines"
        name = body.get("vmss_name") or body.get("vm_name", "")
        claimed = (
            f"/subscriptions/{subscription}/resourcegroups/{group}/providers/Microsoft.Compute/{kind}/{name}"
        )
        if claimed.lower() != machine.lower():
            raise RefusedError("the token does not match the machine")
        if f"{subscription}/{group}/{name}" not in role.places:
            raise RefusedError("subscription, group or machine not authorized")


def _body(request: Request, method: str) -> dict[str, str]:
    try:
        body = json.loads(request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
        raise RefusedError("error parsing JSON")
    if not set(body) <= _FIELDS[method]:
        raise RefusedError("unknown fields")
    return body


def _decoded(body: dict[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(body.get(name, ""), validate=True)
    except ValueError:
        raise RefusedError(f"failed to base64 decode {name}") from None


def _headers(data: bytes) -> dict[str, str]:
    try:
        content: Any = json.loads(data)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise RefusedError("failed to JSON decode iam_request_headers")
    return {
        name.lower(): ", ".join(value) if isinstance(value, list) else str(value)
        for name, value in content.items()
    }


def main() -> None:
    import argparse
    import contextlib
    import secrets

    from tests.servers import by_hand
    from tests.servers.azure_machine import AzureMachine
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao

    parser = argparse.ArgumentParser(
        description="Start OpenBao with the logins ldap, aws and azure before it."
    )
    parser.add_argument("method", nargs="?", choices=["ldap", "aws", "azure"], default="aws")
    method = parser.parse_args().method
    with contextlib.ExitStack() as stack:
        openbao = stack.enter_context(OpenBao())
        google, entra = stack.enter_context(Issuer()), stack.enter_context(Issuer())
        vault = stack.enter_context(VaultLogins(openbao, google, entra))
        openbao.api(
            "PUT", "sys/policies/acl/reading", {"policy": 'path "secret/*" { capabilities = ["read"] }'}
        )
        openbao.api("POST", "secret/data/astro/prod", {"data": {"token": "a value"}})
        exports = {"VAULT_ADDR": vault.url, "ASTRO_TOKEN_VAULT_AUTH": method, "ASTRO_TOKEN_VAULT_ROLE": "ci"}
        if method == "ldap":
            vault.passwords["jo"] = secrets.token_urlsafe(16)
            vault.roles[method, "jo"] = Role(["reading"], {"jo"})
            exports |= {"VAULT_USERNAME": "jo", "VAULT_PASSWORD": vault.passwords["jo"]}
        elif method == "aws":
            key = vault.aws_key("arn:aws:iam::111122223333:user/ci")
            vault.roles[method, "ci"] = Role(["reading"], {key.arn})
            exports |= key.environment
        else:
            machine = stack.enter_context(AzureMachine(entra))
            vault.roles[method, "ci"] = Role(["reading"], {machine.principal})
            exports |= machine.machine_environment
        by_hand.serve(
            "Vault's logins in front of OpenBao", exports, "a secret: vault:secret/astro/prod#token"
        )


if __name__ == "__main__":
    main()
