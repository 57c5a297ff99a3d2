from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AstroTokenError, BackendUnavailableError, UnusableSecretError
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances, reachable_text
from tests.backends.azure.service import ref, vault
from tests.backends.clouds import failure, read
from tests.servers.azure import Fault
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token_backends.azure.key_vault import KeyVault
    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates


def write(backend: KeyVault, where: str, value: str | bytes, expected: str | None = None) -> str:
    data = value.encode() if isinstance(value, str) else value
    return backend.write(SecretRef.parse(where), SecretValue(data), expected_version=expected, timeout=10)


def describe(backend: KeyVault, where: str) -> SecretMetadata:
    return backend.describe(SecretRef.parse(where), timeout=10)


def refused(call: Callable[[], Any], canary: str) -> AstroTokenError:
    with pytest.raises(AstroTokenError) as raised:
        call()
    error = raised.value
    frames = raised.tb
    while frames.tb_next is not None and "/astro_token_backends/" not in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    assert appearances(canary, reachable_text(error.with_traceback(frames))) == []
    assert (error.__cause__, error.__context__) == (None, None)
    return error


class TestValidity:
    def test_an_expired_secret_and_one_that_is_not_valid_yet_are_told_apart(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        now = int(time.time())
        server.put(name, canary, exp=now - 60)
        expired = failure(backend, ref(server, name), canaries=[canary])
        assert (65, True) == (expired.exit_code, "has expired" in expired.message)
        server.put(name, canary, nbf=now + 60)
        early = failure(backend, ref(server, name), canaries=[canary])
        assert (65, True) == (early.exit_code, "not valid yet" in early.message)
        server.put(name, canary, nbf=now - 60, exp=now + 60)
        assert canary.encode() == read(backend, ref(server, name)).reveal()

    def test_a_disabled_secret_is_told_from_none(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        server.put(name, canary, enabled=False)
        disabled = failure(backend, ref(server, name), canaries=[canary])
        assert (66, "the secret is disabled") == (disabled.exit_code, disabled.message)
        assert type(disabled) is UnusableSecretError
        server.delete(name)
        gone = failure(backend, ref(server, name), canaries=[canary])
        assert gone.exit_code == 66
        assert f"az keyvault secret recover --vault-name VAULT --name {name}" in str(gone.hint)


class TestDescribing:
    def test_all_but_the_value_is_told(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        now = int(time.time())
        server.put(name, "older")
        version = server.put_with(
            name,
            {
                "value": canary,
                "attributes": {"exp": now + 60, "created": now + 1, "updated": now + 2},
                "tags": {"team": "a"},
            },
        )
        server.restrict(server.client_id, "list")
        metadata = describe(backend, ref(server, name))
        created, updated, expires = (datetime.fromtimestamp(now + later, UTC) for later in (1, 2, 60))
        assert (
            SecretMetadata(version, created, updated, expires, enabled=True, labels={"team": "a"}) == metadata
        )
        assert appearances(canary, repr(metadata)) == []

    def test_a_version_that_is_disabled_or_named(
        self, backend: KeyVault, server: AzureServer, name: str
    ) -> None:
        first = server.put(name, "x")
        server.put(name, "x", created=int(time.time()) + 5, enabled=False)
        assert describe(backend, ref(server, name)).enabled is False
        assert first == describe(backend, ref(server, name, f"?version={first}")).version
        with pytest.raises(AstroTokenError) as raised:
            describe(backend, ref(server, name, f"/{uuid.uuid4().hex}"))
        assert raised.value.exit_code == 66

    def test_a_long_history_comes_in_pages(self, backend: KeyVault, server: AzureServer, name: str) -> None:
        now = int(time.time())
        versions = [server.put(name, "x", created=now + number) for number in range(30)]
        assert versions[-1] == describe(backend, ref(server, name)).version

    def test_a_link_to_the_next_page_leads_nowhere_else(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(200, tls=certificates.server.context()) as trap:
            page = b'{"value":[],"nextLink":"%s/secrets/s/versions?api-version=7.6"}' % trap.url.encode()
            with vault(server, certificates, 200, page) as other:
                monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port},127.0.0.1:{trap.port}")
                backend: Any = open_backend("azure")
                with pytest.raises(AstroTokenError) as raised:
                    describe(backend, f"azure:{other.url}/secrets/s")
            assert trap.connections == 0
        assert raised.value.exit_code == 76

    def test_no_versions_at_all_are_no_secret(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with vault(server, certificates, 200, b'{"value":[],"nextLink":null}') as other:
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
            backend: Any = open_backend("azure")
            with pytest.raises(AstroTokenError) as raised:
                describe(backend, f"azure:{other.url}/secrets/s")
        assert raised.value.exit_code == 66

    def test_a_denial_names_what_describing_needs(
        self, backend: KeyVault, server: AzureServer, name: str
    ) -> None:
        server.put(name, "x")
        server.restrict(server.client_id, "get")
        with pytest.raises(AstroTokenError) as raised:
            describe(backend, ref(server, name))
        assert raised.value.exit_code == 77
        assert "Microsoft.KeyVault/vaults/secrets/readMetadata/action" in str(raised.value.hint)


class TestWriting:
    def test_a_new_version_is_added_where_the_expected_one_is_current(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        first = server.put(name, "old")
        second = write(backend, ref(server, name), canary, first)
        assert (canary.encode(), second) == ((got := read(backend, ref(server, name))).reveal(), got.version)
        error = refused(lambda: write(backend, ref(server, name), canary, first), canary)
        assert type(error) is BackendUnavailableError
        assert len(server.versions(name)) == 2
        write(backend, ref(server, name), "third", None)
        assert read(backend, ref(server, name)).reveal() == b"third"

    def test_content_type_and_tags_stay_and_old_dates_do_not_lock_the_new_value_away(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        now = int(time.time())
        dates = {"exp": now - 60, "nbf": now - 120}
        about = {"contentType": "text/plain", "tags": {"team": "a"}}
        server.put_with(name, {"value": "old", "attributes": dates, **about})
        write(backend, ref(server, name), canary)
        newest = server.versions(name)[-1]
        assert ("text/plain", {"team": "a"}) == (newest["contentType"], newest["tags"])
        assert {"exp", "nbf"} & {key for key, value in newest["attributes"].items() if value} == set()
        assert canary.encode() == read(backend, ref(server, name)).reveal()

    def test_a_secret_that_is_not_there_is_not_made(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        error = refused(lambda: write(backend, ref(server, name), canary, "0"), canary)
        assert error.exit_code == 66
        assert f"az keyvault secret set --vault-name VAULT --name {name}" in str(error.hint)
        assert server.versions(name) == []

    @pytest.mark.parametrize(("missing", "action"), [("get", "getSecret"), ("set", "setSecret")])
    def test_a_denial_names_what_writing_needs(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str, missing: str, action: str
    ) -> None:
        server.put(name, "old")
        server.restrict(server.client_id, *({"get", "set"} - {missing}))
        error = refused(lambda: write(backend, ref(server, name), canary), canary)
        assert error.exit_code == 77
        assert f"Microsoft.KeyVault/vaults/secrets/{action}/action" in str(error.hint)
        assert len(server.versions(name)) == 1

    @pytest.mark.parametrize("value", ["x" * 25_601, b"\xff\xfe"])
    def test_what_the_service_cannot_keep_is_not_sent(
        self, backend: KeyVault, server: AzureServer, name: str, value: str | bytes
    ) -> None:
        server.put(name, "old")
        with pytest.raises(AstroTokenError) as raised:
            write(backend, ref(server, name), value)
        assert (65, []) == (raised.value.exit_code, server.requests)
        assert write(backend, ref(server, name), "x" * 25_600) == server.versions(name)[-1]["id"][-32:]

    def test_one_that_is_deleted_in_the_meantime(
        self, backend: KeyVault, server: AzureServer, certificates: Certificates, name: str, canary: str
    ) -> None:
        server.put(name, "old")
        read(backend, ref(server, name))
        # The second request of writing meets what the service says to the name of a deleted secret.
        server.faults += [Fault(409, "Conflict", inner="ObjectIsBeingRecovered")]
        assert refused(lambda: write(backend, ref(server, name), canary), canary).exit_code == 75
        server.faults += [Fault(409, "Conflict", inner="ObjectIsDeletedButRecoverable")]
        assert refused(lambda: write(backend, ref(server, name), canary), canary).exit_code == 66

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_the_value_follows_no_redirect(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        canary: str,
        name: str,
        status: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server.put(name, "old")
        tls = certificates.server.context()
        with FaultServer(200, tls=tls) as trap:

            def answer(request: Request) -> Answer:
                if request.method == "PUT" and request.bearer:
                    return Answer(status, headers={"Location": f"{trap.url}{request.target}"})
                return server._answer(request)

            with HttpServer(answer, tls=tls) as other:
                monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
                backend: Any = open_backend("azure")
                where = f"azure:{other.url}/secrets/{name}"
                assert refused(lambda: write(backend, where, canary), canary).exit_code == 76
                assert [request.method for request in other.requests if request.carries(canary)] == ["PUT"]
            assert trap.connections == 0
