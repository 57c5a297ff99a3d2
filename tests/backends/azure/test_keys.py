from __future__ import annotations

import json
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING

import pytest
from jwcrypto import jwe, jwk

from astro_token.errors import AstroTokenError, DecryptError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances, reachable_text
from tests.backends.azure.service import environment, key_ref, vault
from tests.servers.azure import AzureServer, Fault
from tests.servers.faults import ConnectProxy, FaultServer
from tests.servers.web_tokens import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token_backends.azure.keys import Keys
    from tests.servers.azure_keys import KeyVersion
    from tests.servers.certificates import Certificates

HEADER = {"alg": "RSA-OAEP-256", "enc": "A256GCM"}


def kid(server: AzureServer, name: str, key: KeyVersion) -> str:
    return f"{server.url}/keys/{name}/{key.version}"


def public(key: KeyVersion) -> jwk.JWK:
    return jwk.JWK.from_pyca(key.private.public_key())


def made_elsewhere(key: KeyVersion, text: str, **header: object) -> bytes:
    """Encrypt with jwcrypto for the public key."""
    fields = {name: value for name, value in {**HEADER, **header}.items() if value is not None}
    box = jwe.JWE(text.encode(), json.dumps(fields))
    box.allowed_algs = [fields["alg"], fields["enc"]]
    box.add_recipient(public(key))
    return str(box.serialize(compact=True)).encode()


def encrypt(keys: Keys, ref: str, text: str) -> bytes:
    return keys.encrypt(SecretRef.parse(ref), SecretValue(text.encode()), timeout=10)


def decrypt(keys: Keys, ref: str, ciphertext: bytes, timeout: float = 10) -> str:
    return keys.decrypt(SecretRef.parse(ref), ciphertext, timeout=timeout).reveal().decode()


def refused(
    keys: Keys, ref: str, ciphertext: bytes | None, canary: str = "x" * 40, timeout: float = 10
) -> AstroTokenError:
    """Decrypt, or without ciphertext encrypt the canary, and return the error."""
    value = SecretValue(canary.encode())
    encrypted = partial(keys.encrypt, SecretRef.parse(ref), value, timeout=timeout)
    decrypted = partial(keys.decrypt, SecretRef.parse(ref), ciphertext or b"", timeout=timeout)
    call: Callable[[], object] = encrypted if ciphertext is None else decrypted
    with pytest.raises(AstroTokenError) as raised:
        call()
    error = raised.value
    assert raised.tb.tb_next is not None
    assert appearances(canary, reachable_text(error.with_traceback(raised.tb.tb_next))) == []
    assert (error.__cause__, error.__context__) == (None, None)
    return error


class TestRoundTrips:
    @pytest.mark.parametrize("text", ["x", "naïve ✓", "two\nlines\n", "a" * 20_000])
    def test_what_was_encrypted_is_decrypted(
        self, keys: Keys, server: AzureServer, name: str, text: str
    ) -> None:
        server.put_key(name)
        ciphertext = encrypt(keys, key_ref(server, name), text)
        assert text == decrypt(keys, key_ref(server, name), ciphertext)

    def test_the_ciphertext_is_a_compact_jwe_that_others_read(
        self, keys: Keys, server: AzureServer, name: str, canary: str
    ) -> None:
        key = server.put_key(name)
        ciphertext = encrypt(keys, key_ref(server, name), canary).decode()
        box = jwe.JWE()
        box.deserialize(ciphertext, jwk.JWK.from_pyca(key.private))
        assert canary == box.payload.decode()
        assert {**HEADER, "kid": kid(server, name, key)} == box.jose_header

    @pytest.mark.parametrize("bits", [2048, 3072])
    def test_what_others_encrypt_to_the_public_key_is_decrypted(
        self, keys: Keys, server: AzureServer, name: str, canary: str, bits: int
    ) -> None:
        key = server.put_key(name, bits=bits)
        for identifier in (kid(server, name, key), None):
            ciphertext = made_elsewhere(key, canary, kid=identifier)
            assert canary == decrypt(keys, key_ref(server, name), ciphertext)

    def test_an_older_version_still_decrypts_what_it_encrypted(
        self, keys: Keys, server: AzureServer, name: str, canary: str
    ) -> None:
        first = server.put_key(name)
        ciphertext = encrypt(keys, key_ref(server, name), canary)
        second = server.put_key(name)
        assert canary == decrypt(keys, key_ref(server, name), ciphertext)
        newer = encrypt(keys, key_ref(server, name), canary)
        assert kid(server, name, second).encode() in decode(newer.decode().partition(".")[0])
        pinned = encrypt(keys, key_ref(server, name, f"/{first.version}"), canary)
        assert kid(server, name, first).encode() in decode(pinned.decode().partition(".")[0])
        assert refused(keys, key_ref(server, name, f"?version={second.version}"), ciphertext).exit_code == 65

    def test_the_vault_never_sees_the_token(
        self, keys: Keys, server: AzureServer, name: str, canary: str
    ) -> None:
        server.put_key(name)
        decrypt(keys, key_ref(server, name), encrypt(keys, key_ref(server, name), canary))
        assert [request for request in server.requests if request.carries(canary)] == []

    def test_no_two_ciphertexts_of_a_token_are_alike(
        self, keys: Keys, server: AzureServer, name: str, canary: str
    ) -> None:
        server.put_key(name)
        first, other = (encrypt(keys, key_ref(server, name), canary).split(b".") for _ in range(2))
        assert first[0] == other[0]
        assert [part for part in range(1, 5) if first[part] == other[part]] == []

    def test_a_cold_decryption_takes_three_requests_and_the_next_one(
        self, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with AzureServer(certificates.server.context()) as fresh:
            for variable, setting in environment(fresh, certificates).items():
                monkeypatch.setenv(variable, setting)
            key = fresh.put_key("k")
            ciphertext = made_elsewhere(key, "value", kid=kid(fresh, "k", key))
            keys = open_backend("azure-keys")
            assert decrypt(keys, key_ref(fresh, "k"), ciphertext) == "value"
            assert ["POST", "POST", "POST"] == [request.method for request in fresh.requests]
            assert fresh.requests[0].body == b""
            decrypt(keys, key_ref(fresh, "k"), ciphertext)
            assert len(fresh.requests) == 4

    def test_secrets_and_keys_share_one_login(self, keys: Keys, server: AzureServer, name: str) -> None:
        server.put_key(name)
        server.put(name, "value")
        encrypt(keys, key_ref(server, name), "value")
        backend = open_backend("azure")
        backend.read(SecretRef.parse(f"azure:{server.url}/secrets/{name}"), timeout=10)
        logins = [request for request in server.requests if request.path.endswith("/token")]
        assert len(logins) == 1

    @pytest.mark.parametrize("domain", ["vault.azure.net", "managedhsm.azure.net"])
    def test_a_real_host_takes_two_requests(
        self,
        server: AzureServer,
        certificates: Certificates,
        principal: None,
        domain: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("ASTRO_TOKEN_AZURE_HOSTS")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        host = f"v{uuid.uuid4().hex[:8]}.{domain}"
        with AzureServer(
            certificates.issue(host, host, "127.0.0.1").context(), resource=f"https://{domain}"
        ) as fresh:
            for variable, setting in environment(fresh, certificates).items():
                if variable.startswith("AZURE_"):
                    monkeypatch.setenv(variable, setting)
            fresh.put_key("k")
            with ConnectProxy(routes={host: fresh.port}) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                keys = open_backend("azure-keys")
                encrypt(keys, f"azure-keys:https://{host}/keys/k", "value")
            assert ["/token", "/wrapkey"] == [
                f"/{request.path.rpartition('/')[2]}" for request in fresh.requests
            ]


class TestRefusedCiphertexts:
    @pytest.mark.parametrize(
        "change",
        [
            {"alg": "RSA-OAEP"},
            {"alg": "RSA1_5"},
            {"enc": "A128GCM"},
            {"enc": "A256CBC-HS512"},
            {"zip": "DEF"},
        ],
    )
    def test_another_kind_of_jwe(
        self, keys: Keys, server: AzureServer, name: str, canary: str, change: dict[str, str]
    ) -> None:
        key = server.put_key(name)
        ciphertext = made_elsewhere(key, canary, kid=kid(server, name, key), **change)
        assert type(refused(keys, key_ref(server, name), ciphertext, canary)) is DecryptError
        assert server.requests == []

    @pytest.mark.parametrize(
        "header",
        [
            b'{"alg":"RSA-OAEP-256","enc":"A256GCM","crit":["exp"]}',
            b'{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":1}',
            b'{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":null}',
            b'{"alg":"RSA-OAEP-256","enc":"A256GCM","enc":"A256GCM"}',
            b'["RSA-OAEP-256"]',
            b"{",
            b"\xff",
            b"[" * 5000,
        ],
    )
    def test_another_header(self, keys: Keys, server: AzureServer, name: str, header: bytes) -> None:
        key = server.put_key(name)
        parts = made_elsewhere(key, "value").decode().split(".")
        ciphertext = ".".join([encode(header), *parts[1:]]).encode()
        assert type(refused(keys, key_ref(server, name), ciphertext)) is DecryptError
        assert server.requests == []

    @pytest.mark.parametrize(
        "identifier",
        [
            "https://evil.vault.azure.net/keys/{name}/{version}",
            "https://127.0.0.1:1/keys/{name}/{version}",
            "{url}/keys/other/{version}",
            "{url}/secrets/{name}/{version}",
            "{url}/keys/{name}/{version}/..",
            "{url}/keys/{name}/{version}?x=y",
            "{url}/keys/{name}",
            "{version}",
            "http://{host}/keys/{name}/{version}",
            "https://user@{host}/keys/{name}/{version}",
            "",
        ],
    )
    def test_another_key_is_never_asked(
        self, keys: Keys, server: AzureServer, name: str, identifier: str
    ) -> None:
        key = server.put_key(name)
        host = f"127.0.0.1:{server.port}"
        named = identifier.format(url=server.url, name=name, version=key.version, host=host)
        error = refused(keys, key_ref(server, name), made_elsewhere(key, "value", kid=named))
        assert type(error) is DecryptError
        assert server.requests == []

    def test_damage_anywhere_is_found(self, keys: Keys, server: AzureServer, name: str) -> None:
        server.put_key(name)
        whole = encrypt(keys, key_ref(server, name), "a value").decode().split(".")
        for number in range(1, 5):
            parts = list(whole)
            data = bytearray(decode(parts[number]))
            data[0] ^= 1
            parts[number] = encode(bytes(data))
            assert type(refused(keys, key_ref(server, name), ".".join(parts).encode())) is DecryptError
        for damaged in (
            b"",
            b"not a jwe",
            ".".join(whole[:4]).encode(),
            ".".join([*whole, "x"]).encode(),
            ".".join([*whole[:4], whole[4][:-2]]).encode(),
            ".".join([*whole[:2], "", *whole[3:]]).encode(),
            ".".join([*whole[:1], "", *whole[2:]]).encode(),
            (".".join(whole) + "=").encode(),
            b"\xff" * 100,
            b"a" * 200_000,
        ):
            assert type(refused(keys, key_ref(server, name), damaged)) is DecryptError

    def test_the_header_is_bound_to_the_ciphertext(self, keys: Keys, server: AzureServer, name: str) -> None:
        key = server.put_key(name)
        parts = made_elsewhere(key, "value").decode().split(".")
        fields = {**HEADER, "kid": kid(server, name, key)}
        other = ".".join([encode(json.dumps(fields).encode()), *parts[1:]])
        assert type(refused(keys, key_ref(server, name), other.encode())) is DecryptError

    def test_one_of_another_key(self, keys: Keys, server: AzureServer, name: str) -> None:
        server.put_key(name)
        other = server.put_key(name)
        newest = server.put_key(name)
        ciphertext = made_elsewhere(other, "value", kid=kid(server, name, newest))
        assert type(refused(keys, key_ref(server, name), ciphertext)) is DecryptError


class TestRefusals:
    def test_a_key_that_is_not_there(self, keys: Keys, server: AzureServer, canary: str) -> None:
        error = refused(keys, key_ref(server, "nothing"), None, canary)
        assert error.exit_code == 66
        assert "az keyvault key create --vault-name" in str(error.hint)

    def test_a_disabled_key(self, keys: Keys, server: AzureServer, name: str, canary: str) -> None:
        key = server.put_key(name, enabled=False)
        for ciphertext in (None, made_elsewhere(key, canary)):
            error = refused(keys, key_ref(server, name), ciphertext, canary)
            assert (66, "the key is disabled") == (error.exit_code, error.message)

    def test_a_key_outside_of_its_validity_still_decrypts(
        self, keys: Keys, server: AzureServer, name: str, canary: str
    ) -> None:
        now = int(time.time())
        for exp, nbf in ((now - 60, now - 120), (now + 120, now + 60)):
            key = server.put_key(name, exp=exp, nbf=nbf)
            assert refused(keys, key_ref(server, name), None, canary).exit_code == 65
            assert canary == decrypt(keys, key_ref(server, name), made_elsewhere(key, canary))

    @pytest.mark.parametrize(
        ("operation", "right", "action"),
        [("wrapKey", "wrapkey", "keys/wrap/action"), ("unwrapKey", "unwrapkey", "keys/unwrap/action")],
    )
    def test_what_is_denied_is_named(
        self, keys: Keys, server: AzureServer, name: str, canary: str, operation: str, right: str, action: str
    ) -> None:
        key = server.put_key(name, operations=tuple({"wrapKey", "unwrapKey"} - {operation}))
        ciphertext = None if operation == "wrapKey" else made_elsewhere(key, canary)
        error = refused(keys, key_ref(server, name), ciphertext, canary)
        assert error.exit_code == 77
        assert operation in error.message
        server.restrict(server.client_id, *({"wrapkey", "unwrapkey"} - {right}))
        error = refused(keys, key_ref(server, name), ciphertext, canary)
        assert error.exit_code == 77
        assert f"Microsoft.KeyVault/vaults/{action}" in str(error.hint)
        assert "Key Vault Crypto User" in str(error.hint)

    def test_a_busy_vault(self, keys: Keys, server: AzureServer, name: str, canary: str) -> None:
        server.faults.append(Fault(429, headers={"Retry-After": "3"}))
        error = refused(keys, key_ref(server, name), None, canary)
        assert (75, 3.0) == (error.exit_code, vars(error)["retry_after"])

    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("cut-json", 76),
            ("short-body", 75),  # over TLS it has no end, as a reset has none
            ("short-body-ended", 76),
            ("empty", 76),
            ("html", 76),
            ("json-array", 76),
            ("json-int", 76),
            ("huge", 76),
            ("reset", 75),
            ("hang", 75),
            (200, 76),
            (204, 76),
            (307, 76),
            (308, 76),
            (400, 76),
            (401, 77),
            (403, 77),
            (404, 76),
            (503, 75),
        ],
    )
    def test_a_damaged_or_failing_answer(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        canary: str,
        mode: str | int,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(200, tls=certificates.server.context()) as trap:
            with vault(server, certificates, mode, redirect=trap.url) as other:
                monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
                keys = open_backend("azure-keys")
                ref = f"azure-keys:{other.url}/keys/k"
                assert code == refused(keys, ref, None, canary, timeout=1 if mode == "hang" else 10).exit_code
                # An open connection that ends before the response is replaced once.
                assert other.count == (3 if mode in {"reset", "close"} else 2)
            assert trap.connections == 0

    @pytest.mark.parametrize(
        "answer",
        [
            {"kid": "{url}/keys/other/{version}", "value": "AAAA"},
            {"kid": "{url}/keys/k/nonsense", "value": "AAAA"},
            {"kid": "{url}/keys/k/{version}", "value": "A"},
            {"kid": "{url}/keys/k/{version}", "value": ""},
            {"kid": "{url}/keys/k/{version}", "value": 1},
            {"kid": None, "value": "AAAA"},
        ],
    )
    def test_an_answer_without_what_it_must_have(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        answer: dict[str, object],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        text = json.dumps(answer).replace("{url}", "https://h").replace("{version}", "0" * 32)
        with vault(server, certificates, 200, text.encode()) as other:
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
            keys = open_backend("azure-keys")
            assert refused(keys, f"azure-keys:{other.url}/keys/k", None).exit_code == 76

    @pytest.mark.parametrize("host", ["evil.example", "a.managedhsm.azure.net.evil.example", "b.azure.net"])
    def test_a_host_that_nobody_vouches_for(self, keys: Keys, host: str) -> None:
        assert refused(keys, f"azure-keys:https://{host}/keys/k", None).exit_code == 78


def test_closing_twice_is_harmless(keys: Keys, server: AzureServer, name: str) -> None:
    server.put_key(name)
    ciphertext = encrypt(keys, key_ref(server, name), "value")
    keys.close()
    keys.close()
    assert decrypt(keys, key_ref(server, name), ciphertext) == "value"
