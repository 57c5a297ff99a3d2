"""Each place gives a token to a job that asks as its system documents it, and refuses what that refuses."""

from __future__ import annotations

import contextlib
import http.client
import json
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from astro_token.ci.identity import ci_identity
from astro_token.identity.web_token import describe_identity
from tests.rows import each_row
from tests.servers import ci_programs
from tests.servers.ci_identity import AZURE_AUDIENCE, BUILDKITE_AUDIENCE, GITHUB_AUDIENCE, SYSTEMS, CiIdentity
from tests.servers.test_by_hand import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.jwks import Issuer

FLAVOR = {"Metadata-Flavor": "Google"}
METADATA = "/computeMetadata/v1/instance/service-accounts/default/identity"


@pytest.fixture
def server(issuer: Issuer) -> Iterator[CiIdentity]:
    with CiIdentity(issuer) as server:
        yield server


def sent(
    server: CiIdentity, method: str, target: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def github(server: CiIdentity) -> str:
    address = urlsplit(server.environment("github")["ACTIONS_ID_TOKEN_REQUEST_URL"])
    return f"{address.path}?{address.query}"


def azure(server: CiIdentity) -> str:
    return urlsplit(server.environment("azure-pipelines")["SYSTEM_OIDCREQUESTURI"]).path


def test_github_gives_a_token_for_the_audience_or_its_own(server: CiIdentity, issuer: Issuer) -> None:
    bearer = {"Authorization": f"bearer {server.secret}"}
    status, body = sent(server, "GET", f"{github(server)}&audience=a%20b", bearer)
    content = json.loads(body)
    assert (status, content["count"]) == (200, len(content["value"]))
    assert issuer.verify(content["value"])["aud"] == "a b"
    _, body = sent(server, "GET", github(server), bearer)
    assert issuer.verify(json.loads(body)["value"])["aud"] == GITHUB_AUDIENCE


@pytest.mark.parametrize(
    ("status", "method", "more", "credential"),
    [
        (401, "GET", "&audience=a", ""),
        (401, "GET", "&audience=a", "bearer wrong"),
        (401, "GET", "&audience=a", "Basic {}"),
        (405, "POST", "&audience=a", "bearer {}"),
        (400, "GET", "&audience=", "bearer {}"),
        (400, "GET", "&audience=a&audience=b", "bearer {}"),
        (400, "GET", "&aud=a", "bearer {}"),
        (404, "GET", "/more", "bearer {}"),
    ],
)
def test_github_refuses(server: CiIdentity, status: int, method: str, more: str, credential: str) -> None:
    target = github(server) + more if more.startswith("&") else more
    assert sent(server, method, target, {"Authorization": credential.format(server.secret)})[0] == status


def test_azure_pipelines_gives_a_token_for_its_one_audience(server: CiIdentity, issuer: Issuer) -> None:
    bearer = {"Authorization": f"Bearer {server.secret}"}
    for more, subject in (("", "p://"), (f"&serviceConnectionId={server.connection}", "sc://")):
        status, body = sent(server, "POST", f"{azure(server)}?api-version=7.1{more}", bearer)
        found = issuer.verify(json.loads(body)["oidcToken"])
        assert (status, found["aud"]) == (200, AZURE_AUDIENCE)
        assert found["sub"].startswith(subject)


@pytest.mark.parametrize(
    ("status", "method", "query", "headers"),
    [
        (302, "POST", "api-version=7.1", {"Authorization": "Bearer wrong"}),
        (401, "POST", "api-version=7.1", {"X-TFS-FedAuthRedirect": "Suppress"}),
        (405, "GET", "api-version=7.1", {"Authorization": "Bearer {}"}),
        (400, "POST", "", {"Authorization": "Bearer {}"}),
        (400, "POST", "api-version=1.0", {"Authorization": "Bearer {}"}),
        (404, "POST", "api-version=7.1&serviceConnectionId=x", {"Authorization": "Bearer {}"}),
    ],
)
def test_azure_pipelines_refuses(
    server: CiIdentity, status: int, method: str, query: str, headers: dict[str, str]
) -> None:
    headers = {name: value.format(server.secret) for name, value in headers.items()}
    assert sent(server, method, f"{azure(server)}?{query}", headers)[0] == status


def test_google_gives_a_token_as_text(server: CiIdentity, issuer: Issuer) -> None:
    status, body = sent(server, "GET", f"{METADATA}?audience=a&format=full", FLAVOR)
    assert (status, issuer.verify(body.decode())["aud"]) == (200, "a")


@pytest.mark.parametrize(
    ("status", "query", "headers"),
    [
        (403, "?audience=a", {}),
        (403, "?audience=a", {**FLAVOR, "X-Forwarded-For": "10.0.0.1"}),
        (400, "", FLAVOR),
        (400, "?audience=", FLAVOR),
        (400, "?audience=a&format=short", FLAVOR),
    ],
)
def test_google_refuses(server: CiIdentity, status: int, query: str, headers: dict[str, str]) -> None:
    assert sent(server, "GET", METADATA + query, headers)[0] == status


def run(server: CiIdentity, folder: Path, system: str, *argv: str, **variables: str) -> tuple[int, str]:
    environ = {**server.environment(system, ci_programs.install(folder)), **variables}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.strip()


def test_the_programs_print_a_token(server: CiIdentity, issuer: Issuer, tmp_path: Path) -> None:
    request = ("buildkite-agent", "oidc", "request-token")
    for system, argv, audience in (
        ("buildkite", request, BUILDKITE_AUDIENCE),
        ("buildkite", (*request, "--audience", "a b"), "a b"),
        ("circleci", ("circleci", "run", "oidc", "get", "--claims", '{"aud": "a"}'), "a"),
    ):
        code, token = run(server, tmp_path, system, *argv)
        assert (code, issuer.verify(token)["aud"]) == (0, audience)


@pytest.mark.parametrize(
    ("system", "argv", "variables"),
    [
        ("buildkite", "buildkite-agent oidc request-token --aud a", {}),
        ("buildkite", "buildkite-agent oidc request-token --audience", {}),
        ("buildkite", "buildkite-agent oidc request-token", {"BUILDKITE_AGENT_ACCESS_TOKEN": "wrong"}),
        ("buildkite", "buildkite-agent oidc request-token", {"BUILDKITE_JOB_ID": "another"}),
        ("circleci", "circleci run oidc get", {}),
        ("circleci", """circleci run oidc get --claims '{"sub": "x"}'""", {}),
        ("circleci", """circleci run oidc get --claims '{"aud": ["x"]}'""", {}),
        ("circleci", """circleci run oidc get --claims '{"aud": "x"}'""", {"TEST_CIRCLECI_SECRET": "wrong"}),
    ],
)
def test_the_programs_refuse(
    server: CiIdentity, tmp_path: Path, system: str, argv: str, variables: dict[str, str]
) -> None:
    assert run(server, tmp_path, system, *shlex.split(argv), **variables) == (1, "")


def test_by_hand_it_can_be_the_job_of_an_environment() -> None:
    with start("tests.servers.ci_identity", "github", "--job", "prod") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(7)]
        environ = dict(shlex.split(line)[1].split("=", 1) for line in lines[4:])
        token = ci_identity("https://vault.example.com", environ=environ, timeout=10)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert token is not None
    issuer = lines[1].removeprefix("# issuer: ").strip()
    shown = f"iss {issuer}, aud https://vault.example.com, sub repo:acme/dags:environment:prod, "
    assert describe_identity(token).startswith(shown)


@each_row("system", SYSTEMS)
def test_by_hand_it_prints_what_leads_a_shell_to_it(system: str) -> None:
    with start("tests.servers.ci_identity", system) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while not lines[-1].startswith("export "):
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert lines[0] == f"# a job of {system}\n"
