"""The logins refuse what Vault's own would, and let everything else through to OpenBao."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.servers.aws_signature import InvalidSignatureError, Key, signer
from tests.servers.azure_machine import MANAGEMENT, AzureMachine
from tests.servers.gcp_identity import Identities
from tests.servers.jwks import Issuer, rsa_key
from tests.servers.openbao import OpenBao, OpenBaoError
from tests.servers.vault_logins import Role, VaultLogins
from tests.servers.web_tokens import sign

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:iam::111122223333:role/ci"
URL = "https://sts.amazonaws.com/"
BODY = "Action=GetCallerIdentity&Version=2011-06-15"
PLACE = ("us-east-1", "sts")


@pytest.fixture(scope="module")
def entra() -> Iterator[Issuer]:
    with Issuer() as entra:
        yield entra


@pytest.fixture
def logins(openbao: OpenBao, issuer: Issuer, entra: Issuer) -> Iterator[VaultLogins]:
    with VaultLogins(openbao, issuer, entra) as logins:
        yield logins


def status(logins: VaultLogins, path: str, **body: object) -> int:
    """Of a login; its token has to be one that OpenBao knows."""
    client = OpenBao()
    client.address = logins.url
    try:
        answer = client.api("POST", f"auth/{path}", body, token="")
        token = answer["auth"]["client_token"]
        assert client.api("GET", "auth/token/lookup-self", token=token)["data"]["id"] == token
    except OpenBaoError as error:
        return error.status
    return 200


# -- signatures ---------------------------------------------------------------------------------------


def signed(key: Key, *, region: str = "us-east-1", body: str = BODY, **headers: str) -> dict[str, str]:
    request = AWSRequest("POST", URL, headers=headers, data=body)
    SigV4Auth(Credentials(key.id, key.secret, key.session or None), "sts", region).add_auth(request)
    return dict(request.headers.items())


def who(key: Key, headers: dict[str, str], **changes: Any) -> str:
    given: dict[str, Any] = {"method": "POST", "url": URL, "body": BODY.encode(), **changes}
    keys = {key.id: key}
    try:
        return signer(given["method"], given["url"], headers, given["body"], keys=keys, place=PLACE).arn
    except InvalidSignatureError as error:
        return str(error)


@pytest.mark.parametrize("session", [False, True])
def test_what_the_sdk_signs_is_known(session: bool) -> None:
    key = Key.make(ARN, session=session)
    assert who(key, signed(key)) == ARN


def test_a_signature_for_something_else_is_refused() -> None:
    key, session = Key.make(ARN), Key.make(ARN, session=True)
    good = signed(key)
    answers = [
        who(key, signed(Key(ARN, key.id, "another"))),
        who(session, signed(Key(ARN, session.id, session.secret))),
        who(key, signed(Key.make(ARN))),
        who(key, signed(key, region="eu-west-1")),
        who(key, good, body=b"Action=AssumeRole"),
        who(key, good, url="https://sts.example/"),
        who(key, good, method="GET"),
        who(key, {**good, "X-Amz-Date": "20200101T000000Z"}),
        who(key, {name: value for name, value in good.items() if name != "X-Amz-Date"}),
        who(key, {**good, "Authorization": good["Authorization"].replace("x-amz-date", "x-amz-dat")}),
        who(key, {}),
    ]
    assert len(answers) == 11
    assert ARN not in answers


# -- each method --------------------------------------------------------------------------------------


def test_ldap_wants_the_users_password(logins: VaultLogins) -> None:
    logins.passwords["jo"] = "right"
    logins.roles["ldap", "jo"] = Role(["default"], {"jo"})
    assert status(logins, "ldap/login/jo", password="right") == 200
    assert status(logins, "ldap/login/jo", password="wrong") == 400
    assert status(logins, "ldap/login/jo", password="") == 400
    assert status(logins, "ldap/login/eve", password="right") == 400


def aws_body(signed: dict[str, str], **changes: str) -> dict[str, str]:
    def code(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    plain = {"url": URL, "body": BODY, "headers": json.dumps(signed)}
    coded = {f"iam_request_{name}": code(changes.pop(name, value)) for name, value in plain.items()}
    return {"role": "ci", "iam_http_request_method": "POST", **coded, **changes}


def test_aws_wants_a_signed_question_for_the_callers_identity(logins: VaultLogins) -> None:
    key = logins.aws_key(ARN)
    logins.roles["aws", "ci"] = Role(["default"], {ARN})
    logins.roles["aws", "other"] = Role(["default"], {"arn:else"})
    good = signed(key)
    assert status(logins, "aws/login", **aws_body(good)) == 200
    refused = [
        aws_body(signed(Key(ARN, key.id, "another"))),
        aws_body(good, role="none"),
        aws_body(good, role="other"),
        aws_body(good, url="https://sts.evil.example/"),
        aws_body(good, url="http://sts.amazonaws.com/"),
        aws_body(signed(key, body="Action=GetUser"), body="Action=GetUser"),
        aws_body(good, iam_http_request_method="GET"),
        aws_body(signed(key, **{"X-Amz-Target": "a"})),
        aws_body(good, headers="[]"),
        aws_body(good, more="x"),
        {**aws_body(good), "iam_request_url": "!"},
    ]
    assert [400] * 11 == [status(logins, "aws/login", **body) for body in refused]


def test_aws_wants_the_servers_id_among_what_is_signed(logins: VaultLogins) -> None:
    key = logins.aws_key(ARN)
    logins.roles["aws", "ci"] = Role(["default"], {ARN})
    logins.server_id = "vault.example.com"
    name = "X-Vault-AWS-IAM-Server-ID"
    assert status(logins, "aws/login", **aws_body(signed(key, **{name: logins.server_id}))) == 200
    assert status(logins, "aws/login", **aws_body(signed(key))) == 400
    assert status(logins, "aws/login", **aws_body(signed(key, **{name: "another"}))) == 400
    assert status(logins, "aws/login", **aws_body({**signed(key), name: logins.server_id})) == 400


def test_gcp_wants_a_short_lived_token_for_the_role(logins: VaultLogins) -> None:
    account = Identities().service_account()
    logins.accounts[account.key_id] = account
    logins.roles["gcp", "ci"] = Role(["default"], {account.email})
    logins.roles["gcp", "machines"] = Role(["default"], {account.email}, instances={"p1"})
    logins.roles["gcp", "other"] = Role(["default"], {"another"})

    def body(role: str = "ci", key: Any = account.key, **changes: object) -> dict[str, object]:
        claims = {"sub": account.email, "aud": f"vault/{role}", "exp": int(time.time()) + 300, **changes}
        return {"role": role, "jwt": sign(claims, key, kid=account.key_id)}

    assert status(logins, "gcp/login", **body()) == 200
    assert status(logins, "gcp/login", **body(aud="https://vault.example/vault/ci")) == 200
    refused = [
        body(key=rsa_key()),
        body(exp=int(time.time()) - 1),
        body(exp=int(time.time()) + 3600),
        body(aud="vault/other"),
        body(sub="another"),
        body("machines"),
        body("other"),
        body("none"),
        {**body(), "jwt": "a.b.c"},
    ]
    assert [400] * 9 == [status(logins, "gcp/login", **each) for each in refused]


def test_gcp_tells_instances_from_accounts(logins: VaultLogins, issuer: Issuer) -> None:
    logins.roles["gcp", "ci"] = Role(["default"], {"1"})
    logins.roles["gcp", "machines"] = Role(["default"], {"1"}, instances={"p1"})

    def body(role: str, **engine: str) -> dict[str, object]:
        claims = {"sub": "1", "aud": f"vault/{role}", "google": {"compute_engine": engine}}
        return {"role": role, "jwt": issuer.mint(claims)}

    good = {"instance_id": "1", "project_id": "p1"}
    assert status(logins, "gcp/login", **body("machines", **good)) == 200
    assert status(logins, "gcp/login", **body("machines", **{**good, "project_id": "p2"})) == 400
    assert status(logins, "gcp/login", **body("machines")) == 400
    assert status(logins, "gcp/login", **body("ci", **good)) == 400


def test_azure_wants_its_issuers_token_for_the_resource_and_the_place_that_it_names(
    logins: VaultLogins, entra: Issuer
) -> None:
    with AzureMachine(entra) as machine:
        place = {
            "subscription_id": machine.subscription,
            "resource_group_name": machine.group,
            "vm_name": machine.name,
        }
        named = "/".join(place.values())
        logins.roles["azure", "ci"] = Role(["default"], {machine.principal}, places={named})
        logins.roles["azure", "anywhere"] = Role(["default"], {machine.principal})

        def token(key: Any = None, **changes: object) -> str:
            claims = {"aud": MANAGEMENT, "oid": machine.principal, "xms_mirid": machine.resource_id}
            return entra.mint({**claims, **changes}, key=key)

        assert status(logins, "azure/login", role="ci", jwt=token(), **place) == 200
        assert status(logins, "azure/login", role="anywhere", jwt=token()) == 200
        refused: list[dict[str, str]] = [
            {"jwt": token(aud="https://vault.azure.net"), **place},
            {"jwt": token(exp=1), **place},
            {"jwt": token(oid="another"), **place},
            {"jwt": token(iss="https://sts.example"), **place},
            {"jwt": token(rsa_key()), **place},
            {"jwt": token()},
            {"jwt": token(), **place, "vm_name": "another"},
            {"jwt": token(), **place, "vmss_name": machine.name},
            {"jwt": token(xms_mirid="")},
        ]
        assert [400] * 9 == [status(logins, "azure/login", role="ci", **body) for body in refused]


def test_a_machine_gives_tokens_only_to_who_asks_as_it_should(entra: Issuer) -> None:
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    with AzureMachine(entra) as machine:
        address = urlsplit(machine.machine_environment["AZURE_POD_IDENTITY_AUTHORITY_HOST"])
        app = {"X-IDENTITY-HEADER": machine.app_environment["IDENTITY_HEADER"]}

        def ask(target: str, **headers: str) -> int:
            connection = HTTPConnection(str(address.hostname), address.port, timeout=30)
            connection.request("GET", target, headers=headers)
            status = connection.getresponse().status
            connection.close()
            return status

        token = f"/metadata/identity/oauth2/token?api-version=2018-02-01&resource={MANAGEMENT}"
        assert ask(token, Metadata="true") == 200
        assert ask("/metadata/instance?api-version=2021-02-01", Metadata="true") == 200
        assert ask(f"/msi/token?api-version=2019-08-01&resource={MANAGEMENT}", **app) == 200
        assert ask(token) == 400
        assert ask(token, Metadata="true", **{"X-Forwarded-For": "10.0.0.1"}) == 400
        assert ask(f"{token}&client_id=another", Metadata="true") == 400
        assert ask(token.replace("management", "other"), Metadata="true") == 400
        assert ask(token.replace("2018", "2010"), Metadata="true") == 404
        assert ask(f"/msi/token?api-version=2019-08-01&resource={MANAGEMENT}") == 401


def test_everything_else_is_openbaos(logins: VaultLogins, openbao: OpenBao) -> None:
    client = OpenBao()
    client.address = logins.url
    assert client.api("GET", "auth/token/lookup-self", token=openbao.root_token)["data"]["policies"] == [
        "root"
    ]
    with pytest.raises(OpenBaoError) as raised:
        client.api("POST", "auth/approle/login", {"role_id": "x"}, token="")
    assert raised.value.status in {400, 403, 404}
    assert ["GET", "POST"] == [request.method for request in logins.requests]
