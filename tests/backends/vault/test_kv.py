"""What is read and written, on the real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigError,
    InvalidTokenError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.secrets.fields import select_field
from astro_token.testing import appearances, reachable_text
from tests.backends.vault import service
from tests.backends.vault.service import SECONDS, failure, fields, ref, unique

if TYPE_CHECKING:
    from astro_token_backends.vault.kv import KeyValue
    from tests.backends.vault.conftest import Connect
    from tests.servers.openbao import OpenBao
    from tests.servers.wire import Wire


# -- requests -----------------------------------------------------------------------------------------


def test_a_cold_read_with_a_login_takes_four_requests(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    name = unique()
    service.store(bao, name, token="x")
    vault = connect(VAULT_ADDR=wire.url, **service.approle(bao))
    vault.read(ref(f"vault:secret/{name}"), timeout=SECONDS)
    vault.close()
    assert [
        "POST /v1/auth/approle/login",
        f"GET /v1/sys/internal/ui/mounts/secret/{name}",
        f"GET /v1/secret/data/{name}",
        "POST /v1/auth/token/revoke-self",
    ] == wire.lines()
    assert wire.connections == 1


@pytest.mark.parametrize(
    ("login", "option", "expected"), [(True, "?kv=2", 3), (False, "", 2), (False, "?kv=2", 1)]
)
def test_a_given_token_and_the_option_kv_save_requests(
    bao: OpenBao, connect: Connect, wire: Wire, login: bool, option: str, expected: int
) -> None:
    name = unique()
    service.store(bao, name, token="x")
    credential = service.approle(bao) if login else {"VAULT_TOKEN": bao.root_token}
    vault = connect(VAULT_ADDR=wire.url, **credential)
    vault.read(ref(f"vault:secret/{name}{option}"), timeout=SECONDS)
    vault.close()
    assert expected == wire.count


def test_later_reads_of_a_mount_take_one_request(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    one, other = unique(), unique()
    service.store(bao, one, token="x")
    service.store(bao, other, token="y")
    vault = connect(VAULT_ADDR=wire.url, VAULT_TOKEN=bao.root_token)
    vault.read(ref(f"vault:secret/{one}"), timeout=SECONDS)
    wire.forget()
    vault.read(ref(f"vault:secret/{one}"), timeout=SECONDS)
    vault.read(ref(f"vault:secret/{other}"), timeout=SECONDS)
    assert [f"GET /v1/secret/data/{one}", f"GET /v1/secret/data/{other}"] == wire.lines()


def test_closing_forgets_the_mounts_too(bao: OpenBao, connect: Connect, wire: Wire) -> None:
    mount = service.mount(bao, "1")
    bao.api("POST", f"{mount}/a", {"token": "old"})
    vault = connect(VAULT_ADDR=wire.url, VAULT_TOKEN=bao.root_token)
    place = ref(f"vault:{mount}/a")
    assert {"token": "old"} == fields(vault.read(place, timeout=SECONDS))
    bao.api("DELETE", f"sys/mounts/{mount}")
    service.mount(bao, "2", mount)
    bao.api("POST", f"{mount}/data/a", {"data": {"token": "new"}})
    vault.close()
    assert {"token": "new"} == fields(vault.read(place, timeout=SECONDS))


def test_every_request_says_who_it_is_from_and_that_it_wants_nothing_packed(
    bao: OpenBao, connect: Connect, wire: Wire
) -> None:
    vault = connect(VAULT_ADDR=wire.url, VAULT_TOKEN=bao.root_token)
    failure(lambda: vault.read(ref("vault:secret/nothing?namespace=elsewhere"), timeout=SECONDS))
    request = wire.requests[0]
    assert bao.root_token == request.headers["x-vault-token"]
    assert request.headers["x-vault-namespace"] == "elsewhere"
    assert request.headers["x-vault-request"] == "true"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("astro-token/")


# -- versions -----------------------------------------------------------------------------------------


def test_a_version_can_be_named(bao: OpenBao, vault: KeyValue) -> None:
    name = unique()
    for number in ("one", "two"):
        service.store(bao, name, token=number)
    read = vault.read(ref(f"vault:secret/{name}?version=1"), timeout=SECONDS)
    assert {"token": "one"} == fields(read)
    assert read.version == "1"
    assert vault.read(ref(f"vault:secret/{name}"), timeout=SECONDS).version == "2"


def test_a_version_that_is_not_there_is_not_found(bao: OpenBao, vault: KeyValue) -> None:
    name = unique()
    service.store(bao, name, token="x")
    error = failure(lambda: vault.read(ref(f"vault:secret/{name}?version=7"), timeout=SECONDS))
    assert type(error) is SecretNotFoundError
    assert "version 7" in error.message


def test_a_deleted_secret_is_not_found_and_tells_which_version_a_new_one_follows(
    bao: OpenBao, vault: KeyValue
) -> None:
    name = unique()
    place = ref(f"vault:secret/{name}")
    for _ in range(3):
        service.store(bao, name, token="x")
    bao.api("DELETE", f"secret/data/{name}")
    error = failure(lambda: vault.read(place, timeout=SECONDS))
    assert isinstance(error, SecretNotFoundError)
    assert error.version == "3"
    assert "deleted" in error.message
    assert type(error) is UnusableSecretError
    assert f"vault kv undelete -versions=3 secret/{name}" in (error.hint or "")
    assert vault.describe(place, timeout=SECONDS).enabled is False
    assert vault.write(place, SecretValue(b"new"), expected_version=error.version, timeout=SECONDS) == "4"
    assert {"token": "new"} == fields(vault.read(place, timeout=SECONDS))


def test_a_destroyed_version_is_not_found(bao: OpenBao, vault: KeyValue) -> None:
    name = unique()
    service.store(bao, name, token="x")
    bao.api("POST", f"secret/destroy/{name}", {"versions": [1]})
    error = failure(lambda: vault.read(ref(f"vault:secret/{name}"), timeout=SECONDS))
    assert isinstance(error, SecretNotFoundError)
    assert error.version == "1"
    assert "destroyed" in error.message
    assert type(error) is UnusableSecretError
    assert vault.describe(ref(f"vault:secret/{name}"), timeout=SECONDS).enabled is False


def test_kv_1_has_no_versions_to_name(bao: OpenBao, vault: KeyValue) -> None:
    bao.api("POST", "kv1/v", {"token": "x"})
    error = failure(lambda: vault.read(ref("vault:kv1/v?version=1"), timeout=SECONDS))
    assert type(error) is UnusableSecretError


# -- describe -----------------------------------------------------------------------------------------


def test_describing_tells_version_times_and_labels(bao: OpenBao, vault: KeyValue) -> None:
    name = unique()
    before = datetime.now(UTC) - timedelta(seconds=5)
    bao.api("POST", f"secret/metadata/{name}", {"custom_metadata": {"owner": "data team"}})
    for _ in range(2):
        service.store(bao, name, token="x")
    told = vault.describe(ref(f"vault:secret/{name}"), timeout=SECONDS)
    assert told.version == "2"
    assert told.created is not None
    assert told.updated is not None
    assert before < told.created <= told.updated < datetime.now(UTC) + timedelta(seconds=5)
    assert told.enabled is True
    assert told.expires is None
    assert {"owner": "data team"} == told.labels
    assert vault.describe(ref(f"vault:secret/{name}?version=1"), timeout=SECONDS).version == "1"


def test_describing_tells_when_a_version_will_be_deleted(bao: OpenBao, vault: KeyValue) -> None:
    name = unique()
    bao.api("POST", f"secret/metadata/{name}", {"delete_version_after": "1h"})
    service.store(bao, name, token="x")
    told = vault.describe(ref(f"vault:secret/{name}"), timeout=SECONDS)
    assert told.expires is not None
    assert timedelta(minutes=59) < told.expires - datetime.now(UTC) <= timedelta(hours=1)
    assert told.enabled is True


def test_describing_nothing_is_not_found(bao: OpenBao, vault: KeyValue) -> None:
    name = unique()
    service.store(bao, name, token="x")
    for missing in (f"{name}?version=9", "no/such/secret"):
        error = failure(lambda: vault.describe(ref(f"vault:secret/{missing}"), timeout=SECONDS))  # noqa: B023
        assert type(error) is SecretNotFoundError


def test_a_secret_of_which_there_is_only_metadata_is_not_found(bao: OpenBao, vault: KeyValue) -> None:
    name = unique()
    bao.api("POST", f"secret/metadata/{name}", {"custom_metadata": {"a": "b"}})
    place = ref(f"vault:secret/{name}")
    for call in (vault.read, vault.describe):
        error = failure(lambda: call(place, timeout=SECONDS))  # noqa: B023
        assert type(error) is SecretNotFoundError


# -- write --------------------------------------------------------------------------------------------


def test_a_map_is_stored_as_it_is_and_anything_else_as_the_field_token(bao: OpenBao, vault: KeyValue) -> None:
    place = ref(f"vault:secret/{unique()}")
    for value, expected in (
        (b'{"token": "a", "owner": "b", "n": 1, "deep": {"list": [1, null]}}', None),
        (b"plain text", {"token": "plain text"}),
        (b'["a list"]', {"token": '["a list"]'}),
        (b"12", {"token": "12"}),
        ("naïve ✓ \u2028".encode(), {"token": "naïve ✓ \u2028"}),
    ):
        vault.write(place, SecretValue(value), expected_version=None, timeout=SECONDS)
        read = vault.read(place, timeout=SECONDS)
        assert (expected or fields(SecretValue(value))) == fields(read)


def test_bytes_that_are_no_text_are_refused_before_they_are_sent(connect: Connect, wire: Wire) -> None:
    vault = connect(VAULT_ADDR=wire.url)
    error = failure(
        lambda: vault.write(
            ref("vault:secret/x?kv=2"), SecretValue(b"\xff"), expected_version=None, timeout=SECONDS
        )
    )
    assert type(error) is InvalidTokenError
    assert wire.count == 0


def test_of_two_writers_with_the_same_version_one_loses(vault: KeyValue) -> None:
    place = ref(f"vault:secret/{unique()}")
    first = vault.write(place, SecretValue(b"1"), expected_version="0", timeout=SECONDS)
    vault.write(place, SecretValue(b"2"), expected_version=first, timeout=SECONDS)
    for stale in (first, "0"):
        error = failure(
            lambda: vault.write(place, SecretValue(b"3"), expected_version=stale, timeout=SECONDS)  # noqa: B023
        )
        assert type(error) is BackendUnavailableError
        assert "somebody else" in error.message
    assert {"token": "2"} == fields(vault.read(place, timeout=SECONDS))


def test_the_version_of_another_backend_is_none_of_kv_2(vault: KeyValue) -> None:
    place = ref(f"vault:secret/{unique()}")
    error = failure(lambda: vault.write(place, SecretValue(b"1"), expected_version="abc", timeout=SECONDS))
    assert type(error) is BackendUnavailableError


def test_a_mount_that_demands_check_and_set_is_only_written_with_it(bao: OpenBao, vault: KeyValue) -> None:
    mount = service.mount(bao, "2")
    bao.api("POST", f"{mount}/config", {"cas_required": True})
    place = ref(f"vault:{mount}/a")
    error = failure(lambda: vault.write(place, SecretValue(b"1"), expected_version=None, timeout=SECONDS))
    assert type(error) is ConfigError
    assert vault.write(place, SecretValue(b"1"), expected_version="0", timeout=SECONDS) == "1"


def test_kv_1_names_no_versions_and_tells_only_whether_there_is_a_secret(vault: KeyValue) -> None:
    place = ref(f"vault:kv1/{unique()}")
    assert "" == vault.write(place, SecretValue(b"1"), expected_version="0", timeout=SECONDS)
    assert vault.read(place, timeout=SECONDS).version is None
    assert SecretMetadata() == vault.describe(place, timeout=SECONDS)
    error = failure(lambda: vault.write(place, SecretValue(b"2"), expected_version="0", timeout=SECONDS))
    assert type(error) is BackendUnavailableError
    assert {"token": "1"} == fields(vault.read(place, timeout=SECONDS))
    vault.write(place, SecretValue(b"2"), expected_version=None, timeout=SECONDS)
    assert {"token": "2"} == fields(vault.read(place, timeout=SECONDS))


def test_a_value_that_could_not_be_written_stays_out_of_the_error(
    bao: OpenBao, connect: Connect, vault: KeyValue, canary: str
) -> None:
    name = unique()
    service.store(bao, name, token="x")
    value = SecretValue(f'{{"{canary}": "{canary}"}}'.encode())
    reader = connect(VAULT_TOKEN=service.token(bao, 'path "secret/data/*" { capabilities = ["read"] }'))
    for backend, kind in ((reader, AccessDeniedError), (vault, BackendUnavailableError)):
        error = failure(
            lambda: backend.write(  # noqa: B023
                ref(f"vault:secret/{name}"), value, expected_version="0", timeout=SECONDS
            )
        )
        assert type(error) is kind
        assert appearances(canary, reachable_text(error)) == []


# -- mounts -------------------------------------------------------------------------------------------


def test_a_mount_may_have_several_segments(bao: OpenBao, vault: KeyValue) -> None:
    top = unique("org")
    for kv in ("1", "2"):
        mount = service.mount(bao, kv, f"{top}/team/kv{kv}")
        vault.write(
            ref(f"vault:{mount}/a/b"), SecretValue(kv.encode()), expected_version="0", timeout=SECONDS
        )
        assert {"token": kv} == fields(vault.read(ref(f"vault:{mount}/a/b"), timeout=SECONDS))
    assert {"data": {"token": "1"}} == {"data": bao.api("GET", f"{top}/team/kv1/a/b")["data"]}


def test_a_mount_is_not_taken_for_another_whose_name_begins_the_same(bao: OpenBao, vault: KeyValue) -> None:
    short, kind = unique("kv"), unique("kv")
    long = f"{short}-{kind}"
    service.mount(bao, "1", short)
    service.mount(bao, "2", long)
    bao.api("POST", f"{short}/a", {"token": "1"})
    bao.api("POST", f"{long}/data/a", {"data": {"token": "2"}})
    read = [fields(vault.read(ref(f"vault:{mount}/a"), timeout=SECONDS)) for mount in (short, long)]
    assert [{"token": "1"}, {"token": "2"}] == read


def test_one_name_is_two_secrets_in_two_namespaces(bao: OpenBao, vault: KeyValue) -> None:
    mount = unique("kv")
    spaces = {unique("ns"): "2", unique("ns"): "1"}
    for namespace, kv in spaces.items():
        bao.api("POST", f"sys/namespaces/{namespace}", {})
        service.mount(bao, kv, mount, namespace)
        place = ref(f"vault:{mount}/a?namespace={namespace}")
        vault.write(place, SecretValue(namespace.encode()), expected_version="0", timeout=SECONDS)
    read = [fields(vault.read(ref(f"vault:{mount}/a?namespace={name}"), timeout=SECONDS)) for name in spaces]
    assert [{"token": name} for name in spaces] == read


def test_the_namespace_of_the_environment_holds_unless_the_reference_names_one(
    bao: OpenBao, connect: Connect
) -> None:
    inner, outer = unique("ns"), unique("ns")
    for namespace in (inner, outer):
        bao.api("POST", f"sys/namespaces/{namespace}", {})
        mount = service.mount(bao, "2", "kv", namespace)
        bao.api("POST", f"{mount}/data/a", {"data": {"token": namespace}}, namespace=namespace)
    vault = connect(VAULT_TOKEN=bao.root_token, VAULT_NAMESPACE=f"{outer}/")
    assert {"token": outer} == fields(vault.read(ref("vault:kv/a"), timeout=SECONDS))
    assert {"token": inner} == fields(vault.read(ref(f"vault:kv/a?namespace={inner}"), timeout=SECONDS))


def test_a_namespace_that_is_not_there_is_not_found_or_denied(vault: KeyValue) -> None:
    error = failure(lambda: vault.read(ref("vault:secret/a?namespace=nowhere"), timeout=SECONDS))
    assert error.exit_code in {66, 77}


def test_an_engine_that_is_not_kv_is_no_place_for_secrets(bao: OpenBao, vault: KeyValue) -> None:
    error = failure(lambda: vault.read(ref("vault:transit/keys"), timeout=SECONDS))
    assert type(error) is UnusableSecretError
    assert "not KV" in error.message


def test_a_reference_to_a_mount_names_no_secret(bao: OpenBao, vault: KeyValue) -> None:
    mount = service.mount(bao, "2", f"{unique()}/kv")
    error = failure(lambda: vault.read(ref(f"vault:{mount}"), timeout=SECONDS))
    assert type(error) is UnusableSecretError
    assert "names a mount" in error.message


@pytest.mark.parametrize("kv", ["1", "2"])
@pytest.mark.parametrize("inside", ["auth/token/lookup-self", "sys/mounts", "deep/auth/token/lookup-self"])
def test_the_option_kv_does_not_lead_to_the_service_paths_of_a_namespace(
    bao: OpenBao, connect: Connect, wire: Wire, kv: str, inside: str
) -> None:
    namespace = unique("ns")
    bao.api("POST", f"sys/namespaces/{namespace}", {})
    if inside.startswith("deep/"):
        bao.api("POST", "sys/namespaces/deep", {}, namespace=namespace)
    assert bao.api("GET", f"{namespace}/{inside}")  # it is there to be read
    vault = connect(VAULT_ADDR=wire.url)
    error = failure(lambda: vault.read(ref(f"vault:{namespace}/{inside}?kv={kv}"), timeout=SECONDS))
    assert isinstance(error, AccessDeniedError | SecretNotFoundError)
    assert [f"GET /v1/sys/internal/ui/mounts/{namespace}/{inside}"] == wire.lines()


# -- hints --------------------------------------------------------------------------------------------


def test_a_denial_names_the_policy_that_is_missing(bao: OpenBao, connect: Connect) -> None:
    elsewhere = 'path "secret/data/elsewhere" { capabilities = ["read"] }'
    vault = connect(VAULT_TOKEN=service.token(bao, elsewhere))
    place, value = ref("vault:secret/astro/prod"), SecretValue(b"x")
    denials = {
        'path "secret/data/astro/prod" { capabilities = ["read"] }': lambda: vault.read(
            place, timeout=SECONDS
        ),
        'path "secret/metadata/astro/prod" { capabilities = ["read"] }': (
            lambda: vault.describe(place, timeout=SECONDS)
        ),
        'path "secret/data/astro/prod" { capabilities = ["create", "update"] }': (
            lambda: vault.write(place, value, expected_version=None, timeout=SECONDS)
        ),
    }
    for expected, call in denials.items():
        error = failure(call)
        assert type(error) is AccessDeniedError
        assert expected in (error.hint or "")


def test_the_policies_that_are_named_are_enough(bao: OpenBao, connect: Connect) -> None:
    name = unique()
    place = ref(f"vault:secret/{name}")
    policy = f"""
        path "secret/data/{name}"     {{ capabilities = ["create", "read", "update"] }}
        path "secret/metadata/{name}" {{ capabilities = ["read"] }}
    """
    vault = connect(VAULT_TOKEN=service.token(bao, policy))
    assert vault.write(place, SecretValue(b"x"), expected_version="0", timeout=SECONDS) == "1"
    assert vault.describe(place, timeout=SECONDS).version == "1"
    reader = connect(
        VAULT_TOKEN=service.token(bao, f'path "secret/data/{name}" {{ capabilities = ["read"] }}')
    )
    assert {"token": "x"} == fields(reader.read(place, timeout=SECONDS))


def test_a_policy_for_nothing_in_the_mount_is_a_denial_with_the_same_hint(
    bao: OpenBao, connect: Connect
) -> None:
    vault = connect(VAULT_TOKEN=service.token(bao, 'path "kv1/a" { capabilities = ["read"] }'))
    error = failure(lambda: vault.read(ref("vault:secret/astro/prod"), timeout=SECONDS))
    assert type(error) is AccessDeniedError
    assert 'path "secret/data/astro/prod" { capabilities = ["read"] }' in (error.hint or "")


def test_data_in_the_path_of_kv_2_is_pointed_out(vault: KeyValue) -> None:
    error = failure(lambda: vault.read(ref("vault:secret/data/astro/prod"), timeout=SECONDS))
    assert "remove data/" in (error.hint or "")


def test_a_missing_secret_comes_with_a_way_to_look(vault: KeyValue) -> None:
    error = failure(lambda: vault.read(ref("vault:secret/astro/none"), timeout=SECONDS))
    assert "`vault kv list secret/astro`" in (error.hint or "")


def test_a_secret_that_says_what_it_is_called_is_read_through_the_choice_of_fields(
    bao: OpenBao, vault: KeyValue
) -> None:
    name = unique()
    service.store(bao, name, token="a", other="b")
    value = vault.read(ref(f"vault:secret/{name}#other"), timeout=SECONDS)
    assert select_field(value, "other") == SecretValue(b"b")
    assert select_field(value, None) == SecretValue(b"a")
