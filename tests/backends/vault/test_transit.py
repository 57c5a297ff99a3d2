"""Keys that never leave the server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import AccessDeniedError, DecryptError, IntegrityError, SecretNotFoundError
from astro_token.secret import SecretValue
from astro_token.secrets.protocols import Backend, SupportsClose, SupportsDecrypt, SupportsEncrypt
from astro_token.testing import appearances, reachable_text
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit
from tests.backends.vault import service
from tests.backends.vault.service import SECONDS, failure, ref, unique
from tests.rows import each_row
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer
from tests.servers.openbao import OpenBaoError

if TYPE_CHECKING:
    from tests.servers.openbao import OpenBao
    from tests.servers.wire import Wire


@pytest.fixture
def key(bao: OpenBao) -> str:
    name = unique("key")
    bao.api("POST", f"transit/keys/{name}")
    return name


def test_it_is_a_key_service_and_no_backend(transit: Transit) -> None:
    assert isinstance(transit, SupportsDecrypt)
    assert isinstance(transit, SupportsEncrypt)
    assert isinstance(transit, SupportsClose)
    assert not isinstance(transit, Backend)


@pytest.mark.parametrize("value", [b"x", b"", bytes(range(256)), "naïve ✓\n".encode(), b"a" * 20_000])
def test_what_was_encrypted_is_decrypted(transit: Transit, key: str, value: bytes) -> None:
    place = ref(f"vault-transit:{key}")
    ciphertext = transit.encrypt(place, SecretValue(value), timeout=SECONDS)
    assert ciphertext.startswith(b"vault:v1:")
    assert SecretValue(value) == transit.decrypt(place, ciphertext, timeout=SECONDS)
    assert SecretValue(value) == transit.decrypt(place, b" " + ciphertext + b"\r\n", timeout=SECONDS)


def test_it_reads_what_others_encrypted_and_they_read_what_it_did(
    bao: OpenBao, transit: Transit, key: str
) -> None:
    place = ref(f"vault-transit:{key}")
    plain = base64.b64encode(b"theirs").decode()
    theirs = bao.api("POST", f"transit/encrypt/{key}", {"plaintext": plain})["data"]["ciphertext"]
    assert SecretValue(b"theirs") == transit.decrypt(place, theirs.encode(), timeout=SECONDS)
    ours = transit.encrypt(place, SecretValue(b"ours"), timeout=SECONDS).decode()
    answer = bao.api("POST", f"transit/decrypt/{key}", {"ciphertext": ours})
    assert base64.b64decode(answer["data"]["plaintext"]) == b"ours"


def test_a_rotated_key_still_decrypts(bao: OpenBao, transit: Transit, key: str) -> None:
    place = ref(f"vault-transit:{key}")
    old = transit.encrypt(place, SecretValue(b"old"), timeout=SECONDS)
    bao.api("POST", f"transit/keys/{key}/rotate")
    assert SecretValue(b"old") == transit.decrypt(place, old, timeout=SECONDS)
    assert transit.encrypt(place, SecretValue(b"new"), timeout=SECONDS).startswith(b"vault:v2:")


def test_a_mount_of_another_name_and_a_namespace_are_named_before_the_key(
    bao: OpenBao, transit: Transit
) -> None:
    namespace = unique("ns")
    bao.api("POST", f"sys/namespaces/{namespace}", {})
    for place, where in (("team/keys", None), ("team/keys", namespace)):
        bao.api("POST", f"sys/mounts/{place}", {"type": "transit"}, namespace=where)
        bao.api("POST", f"{place}/keys/k", namespace=where)
    for text in ("vault-transit:team/keys/k", f"vault-transit:team/keys/k?namespace={namespace}"):
        ciphertext = transit.encrypt(ref(text), SecretValue(b"x"), timeout=SECONDS)
        assert SecretValue(b"x") == transit.decrypt(ref(text), ciphertext, timeout=SECONDS)


@pytest.mark.parametrize(
    "ciphertext",
    [b"", b"no ciphertext", b"vault:v1:", b"vault:v1:a b", b"\xff\xfe", b"vault:v1:\xc3\xa9", b"{}"],
)
def test_what_is_no_ciphertext_is_not_sent(bao: OpenBao, wire: Wire, ciphertext: bytes) -> None:
    transit = Transit(VaultClient({"VAULT_ADDR": wire.url, "VAULT_TOKEN": bao.root_token}))
    error = failure(lambda: transit.decrypt(ref("vault-transit:k"), ciphertext, timeout=SECONDS))
    assert type(error) is DecryptError
    assert wire.count == 0


def test_the_ciphertext_of_another_key_or_a_damaged_one_is_not_decrypted(
    bao: OpenBao, transit: Transit, key: str, canary: str
) -> None:
    other = unique("key")
    bao.api("POST", f"transit/keys/{other}")
    ciphertext = transit.encrypt(ref(f"vault-transit:{other}"), SecretValue(canary.encode()), timeout=SECONDS)
    last = b"A" if ciphertext[-5:-4] != b"A" else b"B"
    damaged = ciphertext[:-5] + last + ciphertext[-4:]
    for name, text in (
        (key, ciphertext),
        (other, damaged),
        (other, b"vault:v1:abcd"),
        (other, b"vault:v9:abcd"),
    ):
        place = ref(f"vault-transit:{name}")
        error = failure(lambda: transit.decrypt(place, text, timeout=SECONDS))  # noqa: B023
        assert type(error) is DecryptError
        assert appearances(canary, reachable_text(error)) == []


@each_row("data", [None, [], {}, {"plaintext": 7, "ciphertext": 7}, {"plaintext": "ä", "ciphertext": "x"}])
def test_an_answer_that_is_none_is_refused(data: object) -> None:
    with FaultServer(lambda _: Answer.json({"data": data})) as server:
        transit = Transit(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t"}))
        place = ref("vault-transit:k")
        for call in (
            lambda: transit.decrypt(place, b"vault:v1:abcd", timeout=SECONDS),
            lambda: transit.encrypt(place, SecretValue(b"x"), timeout=SECONDS),
        ):
            assert type(failure(call)) is IntegrityError


@pytest.mark.parametrize(
    ("place", "kind"),
    [("vault-transit:no-such-key", SecretNotFoundError), ("vault-transit:nowhere/k", AccessDeniedError)],
)
def test_a_missing_key_is_not_found_and_of_a_missing_mount_vault_tells_nothing(
    transit: Transit, place: str, kind: type[Exception]
) -> None:
    error = failure(lambda: transit.decrypt(ref(place), b"vault:v1:abcd", timeout=SECONDS))
    assert type(error) is kind


def test_no_engine_but_transit_is_written_to(bao: OpenBao, transit: Transit) -> None:
    """A request for a key would write a secret called decrypt/…, or encrypt/… with the value in it."""
    bao.api("POST", "sys/mounts/plain-kv", {"type": "kv", "options": {"version": "1"}})
    place = ref("vault-transit:plain-kv/k")
    for call in (
        lambda: transit.decrypt(place, b"vault:v1:abcd", timeout=SECONDS),
        lambda: transit.encrypt(place, SecretValue(b"x"), timeout=SECONDS),
    ):
        assert type(failure(call)) is SecretNotFoundError
    with pytest.raises(OpenBaoError):
        bao.api("LIST", "plain-kv/")


def test_a_denial_names_the_policy_that_is_missing_and_that_policy_is_enough(bao: OpenBao, key: str) -> None:
    place = ref(f"vault-transit:{key}")

    def transit(policy: str) -> Transit:
        environ = {"VAULT_ADDR": bao.address, "VAULT_TOKEN": service.token(bao, policy)}
        return Transit(VaultClient(environ))

    def encrypt(it: Transit) -> bytes:
        return it.encrypt(place, SecretValue(b"x"), timeout=SECONDS)

    def decrypt(it: Transit) -> SecretValue:
        return it.decrypt(place, ciphertext, timeout=SECONDS)

    needed = {
        verb: f'path "transit/{verb}/{key}" {{ capabilities = ["update"] }}'
        for verb in ("encrypt", "decrypt")
    }
    ciphertext = encrypt(transit(needed["encrypt"]))
    assert SecretValue(b"x") == decrypt(transit(needed["decrypt"]))
    for verb, other, call in (("encrypt", "decrypt", encrypt), ("decrypt", "encrypt", decrypt)):
        denied = transit(needed[other])
        error = failure(lambda: call(denied))  # noqa: B023
        assert type(error) is AccessDeniedError
        assert needed[verb] in (error.hint or "")


def test_without_the_right_to_create_no_key_is_made_by_encrypting(bao: OpenBao) -> None:
    policy = 'path "transit/encrypt/*" { capabilities = ["update"] }'
    transit = Transit(VaultClient({"VAULT_ADDR": bao.address, "VAULT_TOKEN": service.token(bao, policy)}))
    name = unique("key")
    error = failure(lambda: transit.encrypt(ref(f"vault-transit:{name}"), SecretValue(b"x"), timeout=SECONDS))
    assert error.exit_code in {66, 77}
    with pytest.raises(Exception, match="404"):
        bao.api("GET", f"transit/keys/{name}")


def test_one_login_serves_both_backends(bao: OpenBao, key: str, wire: Wire) -> None:
    name = unique()
    service.store(bao, name, token="x")
    rights = 'path "*" { capabilities = ["read", "update"] }'
    role = service.approle(bao, token_policies=service.policy(bao, rights))
    connection = VaultClient({"VAULT_ADDR": wire.url, **role})
    vault, transit = KeyValue(connection), Transit(connection)
    vault.read(ref(f"vault:secret/{name}"), timeout=SECONDS)
    transit.encrypt(ref(f"vault-transit:{key}"), SecretValue(b"x"), timeout=SECONDS)
    vault.close()
    transit.close()
    logins = [line for line in wire.lines() if "login" in line or "revoke" in line]
    assert ["POST /v1/auth/approle/login", "POST /v1/auth/token/revoke-self"] == logins
