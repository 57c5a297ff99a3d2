"""What is really asked for: the path on the wire is that of the reference, or nothing is sent."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING

import hvac
import pytest

from astro_token.errors import InvalidRefError, InvalidTokenError
from astro_token.secret import SecretValue
from astro_token.tokens.read import read_secret
from astro_token.transport.deadline import Deadline
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit
from tests.backends.vault.service import SECONDS, failure, ref
from tests.rows import each_row
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.openbao import OpenBao
    from tests.servers.wire import Wire

# As a reference writes them, in OpenBao and on the wire.
ENCODED = [
    "team%20a/prod",
    "a%2Bb%40c",
    "%C3%A9/%E6%97%A5%E6%9C%AC",
    "100%25",
    "a%3Bb%26c%3Dd",
    "a%23b%3Fc",
    "%2A%27%22%28%29",
]
QUESTION = "/v1/sys/internal/ui/mounts/"
EDGES = [
    "a/b",
    "A9_.-/x",
    "a/.hidden",
    "a/...",
    "a/..b",
    "a/b..",
    "a/b.",
    ".../...",
    "-/-",
    "_/_._",
    "a/sys/health",
    "a/auth/token/lookup-self",
    "a/data/b",
    "sysx/health",
    f"a/{'b' * 128}",
    f"{'a' * 128}/{'/'.join('b' * 100 for _ in range(10))}",
]
REFUSED = [
    "secret/../sys/health",
    "secret/./a",
    "secret/..",
    "../sys/health",
    "secret//a",
    "/secret/a",
    "secret/a/",
    "secret/%2e%2e/sys/health",
    "secret/%2E./a",
    "secret/a%2fb",
    "secret/a%00",
    "secret/a\\..\\b",
    "secret/a;b",
    "secret/a@b",
    "secret/a b",
    "secret/a\tb",
    "secret/a\r\nX-Evil: 1",
    "secret/é",
    "secret/\uff0e\uff0e/a",
    "secret",
    "sys/health",
    "auth/token/lookup-self",
    "identity/entity",
    "cubbyhole/a",
    "secret/a?version=0",
    "secret/a?version=-1",
    "secret/a?version=1&version=2",
    "secret/a?list=true",
    "secret/a?kv=3",
    "secret/a?namespace=../b",
    "secret/a?namespace=%2e%2e",
    "secret/a?namespace=a%0d%0aX-Evil:1",
    "https://evil.example/secret/a",
    "//user:password@secret/a",
    f"secret/{'a' * 129}",
]


def random_names(count: int) -> list[str]:
    source = random.Random(20261123)  # noqa: S311 (the same names in every run)
    letters = string.ascii_letters + string.digits + "_.-"
    names: list[str] = []
    while len(names) < count:
        parts = [
            "".join(source.choices(letters, k=source.randint(1, 12))) for _ in range(source.randint(2, 6))
        ]
        if not {".", ".."} & set(parts):
            names.append("/".join(parts))
    return names


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """Answers as if the first segment of any name were a mount of KV 2."""

    def answer(request: Request) -> Answer:
        if request.path.startswith(QUESTION):
            mount = request.path.removeprefix(QUESTION).partition("/")[0]
            return Answer.json({"data": {"path": f"{mount}/", "type": "kv", "options": {"version": "2"}}})
        return Answer.json({"data": {"data": {"token": "x"}, "metadata": {"version": 1}, "version": 2}})

    with HttpServer(answer) as server:
        yield server


@pytest.fixture
def vault(server: HttpServer) -> KeyValue:
    return KeyValue(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t"}))


@pytest.mark.parametrize("name", EDGES)
def test_a_name_at_the_edge_of_the_grammar_is_sent_as_it_is(
    server: HttpServer, vault: KeyValue, name: str
) -> None:
    mount, _, path = name.partition("/")
    vault.read(ref(f"vault:{name}"), timeout=SECONDS)
    vault.write(ref(f"vault:{name}"), SecretValue(b"x"), expected_version=None, timeout=SECONDS)
    vault.read(ref(f"vault:{name}?version=7"), timeout=SECONDS)
    assert [
        f"{QUESTION}{name}",
        f"/v1/{mount}/data/{path}",
        f"/v1/{mount}/data/{path}",
        f"/v1/{mount}/data/{path}?version=7",
    ] == [request.target for request in server.requests]


def test_so_are_two_hundred_others(server: HttpServer, vault: KeyValue) -> None:
    names = random_names(200)
    for name in names:
        vault.read(ref(f"vault:{name}"), timeout=SECONDS)
    sent = [request.target for request in server.requests if not request.path.startswith(QUESTION)]
    assert [f"/v1/{mount}/data/{path}" for mount, _, path in (name.partition("/") for name in names)] == sent


@pytest.mark.parametrize("kv", ["1", "2"])
def test_the_option_kv_takes_the_first_segment_for_the_mount(
    server: HttpServer, vault: KeyValue, kv: str
) -> None:
    vault.read(ref(f"vault:a/b/c?kv={kv}"), timeout=SECONDS)
    assert ["/v1/a/data/b/c" if kv == "2" else "/v1/a/b/c"] == [request.target for request in server.requests]


@each_row("name", REFUSED)
def test_a_name_that_could_lead_elsewhere_is_no_reference(name: str) -> None:
    with pytest.raises(InvalidRefError):
        ref(f"vault:{name}")


def test_hvac_alone_would_have_left_the_mount(server: HttpServer) -> None:
    client = hvac.Client(url=server.url, token="t")
    client.secrets.kv.v2.read_secret_version("../../sys/health", raise_on_deleted_version=True)
    assert ["/v1/sys/health"] == [request.target for request in server.requests]


@each_row(
    ("told", "code"),
    [
        ({"path": "other/", "type": "kv", "options": {"version": "2"}}, 76),
        ({"path": "sec/", "type": "kv", "options": {"version": "2"}}, 76),
        ({"path": "", "type": "kv"}, 76),
        ({"path": "/", "type": "kv"}, 76),
        ({"path": "secret/astro/prod/", "type": "kv"}, 66),
        ({"path": "secret/astro/prod/more/", "type": "kv"}, 76),
        ({"path": "../", "type": "kv"}, 76),
        ({"path": 7, "type": "kv"}, 76),
        ({"path": "secret/", "type": "pki"}, 66),
        ({"path": "secret/", "type": ["kv"]}, 66),
        ({"path": "secret/", "type": "kv", "options": {"version": "3"}}, 70),
        ({"path": "secret/", "type": "kv", "options": {"version": "../x"}}, 70),
        ([], 76),
        (None, 76),
    ],
)
def test_an_answer_about_another_mount_is_not_believed(told: object, code: int) -> None:
    with HttpServer(lambda _: Answer.json({"data": told})) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t"}))
        error = failure(lambda: vault.read(ref("vault:secret/astro/prod"), timeout=SECONDS))
        assert code == error.exit_code
        assert len(server.requests) == 1


@each_row("options", [None, {}, {"version": ""}, {"version": "1"}, {"version": 1}])
def test_a_mount_that_tells_no_version_is_kv_1(options: object) -> None:
    def answer(request: Request) -> Answer:
        about = {"path": "secret/", "type": "kv", "options": options}
        return Answer.json({"data": about if request.path.startswith(QUESTION) else {"token": "x"}})

    with HttpServer(answer) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t"}))
        vault.read(ref("vault:secret/astro/prod"), timeout=SECONDS)
        assert server.requests[-1].target == "/v1/secret/astro/prod"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("vault-transit:k", "/v1/transit/decrypt/k"),
        ("vault-transit:m/k", "/v1/m/decrypt/k"),
        ("vault-transit:a/b/k.1_-", "/v1/a/b/decrypt/k.1_-"),
    ],
)
def test_a_key_is_asked_for_where_its_reference_says(text: str, path: str) -> None:
    with HttpServer(lambda _: Answer.json({"data": {"plaintext": "eA==", "type": "transit"}})) as server:
        transit = Transit(VaultClient({"VAULT_ADDR": server.url, "VAULT_TOKEN": "t"}))
        assert SecretValue(b"x") == transit.decrypt(ref(text), b"vault:v1:abcd", timeout=SECONDS)
        mount = path.removeprefix("/v1/").partition("/decrypt/")[0]
        question = [] if mount == "transit" else [f"/v1/sys/internal/ui/mounts/{mount}"]
        assert [*question, path] == [request.target for request in server.requests]
        transit.decrypt(ref(text), b"vault:v1:abcd", timeout=SECONDS)
        assert path == server.requests[-1].target, "it is asked once"


@pytest.mark.parametrize("prefix", ["", "/vault", "/a/b/"])
def test_an_address_may_have_a_path_of_its_own(prefix: str) -> None:
    with HttpServer(lambda _: Answer.json({"data": {"token": "x"}})) as server:
        vault = KeyValue(VaultClient({"VAULT_ADDR": f"{server.url}{prefix}", "VAULT_TOKEN": "t"}))
        vault.read(ref("vault:secret/a?kv=1"), timeout=SECONDS)
        assert [f"{prefix.rstrip('/')}/v1/secret/a"] == [request.target for request in server.requests]


@pytest.mark.parametrize("options", ["", "?kv=2"])
@pytest.mark.parametrize("path", ENCODED)
def test_a_percent_encoded_name_is_one_secret_of_openbao(
    bao: OpenBao, wire: Wire, path: str, options: str, canary: str
) -> None:
    vault = KeyValue(VaultClient({"VAULT_ADDR": wire.url, "VAULT_TOKEN": bao.root_token}))
    reference = ref(f"vault:secret/{path}{options}")
    vault.write(
        reference, SecretValue(f'{{"token": "{canary}"}}'.encode()), expected_version=None, timeout=SECONDS
    )
    assert canary in vault.read(reference, timeout=SECONDS).reveal().decode()
    assert {f"/v1/secret/data/{path}"} == {
        request.path for request in wire.requests if request.path.startswith("/v1/secret/data/")
    }
    names = bao.api("GET", "secret/metadata?list=true")["data"]["keys"]
    assert reference.name.removeprefix("secret/").partition("/")[0] in {name.rstrip("/") for name in names}


def test_a_secret_above_the_limit_is_refused_with_its_size(bao: OpenBao, wire: Wire) -> None:
    vault = KeyValue(VaultClient({"VAULT_ADDR": wire.url, "VAULT_TOKEN": bao.root_token}))
    for size in (300 * 1024, 900 * 1024):
        bao.api("POST", "secret/data/large", {"data": {"token": "x", "more": '"' * size}})
        for text in ("vault:secret/large", "vault:secret/large#token"):
            with pytest.raises(InvalidTokenError, match="the secret is larger than 256 KiB"):
                read_secret(ref(text), backend=vault, deadline=Deadline(SECONDS))
