"""A job's identity token from each CI system for the requested audience, or an error with its advice."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.identity import ci_identity
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)
from astro_token.identity.google import google_identity
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from tests.identity.cases import AUDIENCE, claims, failure, raised
from tests.rows import each_row
from tests.servers import ci_programs
from tests.servers.ci_identity import AZURE_AUDIENCE, BUILDKITE_AUDIENCE, GITHUB_AUDIENCE, SYSTEMS, CiIdentity
from tests.servers.faults import Egress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.jwks import Issuer

FIXED = {"azure-pipelines": AZURE_AUDIENCE}
HTTP = ("github", "azure-pipelines", "google")


@pytest.fixture
def server(issuer: Issuer) -> Iterator[CiIdentity]:
    with CiIdentity(issuer) as server:
        yield server


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    return ci_programs.install(tmp_path / "programs")


def token(environ: dict[str, str], audience: str | None = AUDIENCE) -> dict[str, object]:
    return claims(ci_identity(audience, environ=environ, timeout=5))


# -- each system --------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_gives_a_token_for_the_audience(system: str, server: CiIdentity, programs: Path) -> None:
    audience = FIXED.get(system, AUDIENCE)
    got = ci_identity(audience, environ=server.environment(system, programs), timeout=5)
    assert isinstance(got, SecretValue)
    assert got.reveal().decode() == server.issued[-1]
    assert claims(got)["aud"] == audience


def test_the_default_is_the_environment_of_the_process(
    server: CiIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment("github").items():
        monkeypatch.setenv(name, value)
    assert claims(ci_identity(AUDIENCE, timeout=5))["aud"] == AUDIENCE


@pytest.mark.parametrize(
    ("system", "audience"),
    [("github", GITHUB_AUDIENCE), ("azure-pipelines", AZURE_AUDIENCE), ("buildkite", BUILDKITE_AUDIENCE)],
)
def test_without_an_audience_it_is_the_systems_own(
    system: str, audience: str, server: CiIdentity, programs: Path
) -> None:
    assert token(server.environment(system, programs), None)["aud"] == audience


def test_circleci_gives_the_token_of_the_job_if_its_audience_fits(server: CiIdentity) -> None:
    environ = server.environment("circleci")  # without the program
    for audience in (None, server.organization):
        got = ci_identity(audience, environ=environ, timeout=5)
        assert got == SecretValue(environ["CIRCLE_OIDC_TOKEN_V2"].encode())
    assert server.requests == []


def test_circleci_issues_a_new_token_if_that_of_the_job_has_expired(
    server: CiIdentity, programs: Path
) -> None:
    server.claims = {"exp": int(time.time()) - 1}
    environ = server.environment("circleci", programs)
    server.claims = {}
    assert token(environ, server.organization)["exp"] == pytest.approx(time.time() + 300, abs=30)


def test_azure_pipelines_needs_no_service_connection(server: CiIdentity) -> None:
    environ = server.environment("azure-pipelines")
    assert str(token(environ, None)["sub"]).startswith("sc://")
    # What is set for us counts more than what a task left.
    environ["ASTRO_TOKEN_AZURE_SERVICE_CONNECTION"] = "another"
    assert type(failure(environ, audience=None)) is AccessDeniedError
    environ["ASTRO_TOKEN_AZURE_SERVICE_CONNECTION"] = server.connection
    environ["AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"] = "another"
    assert str(token(environ, None)["sub"]).startswith("sc://")
    environ["SYSTEM_OIDCREQUESTURI"] += "/"
    del environ["ASTRO_TOKEN_AZURE_SERVICE_CONNECTION"], environ["AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"]
    assert str(token(environ, None)["sub"]).startswith("p://")


@pytest.mark.parametrize("variable", ["ASTRO_TOKEN_ID_TOKEN", "BITBUCKET_STEP_OIDC_TOKEN"])
def test_a_variable_holds_the_token_itself(variable: str, issuer: Issuer) -> None:
    minted = issuer.mint({"aud": ["other", AUDIENCE]})
    got = ci_identity(AUDIENCE, environ={variable: f" {minted}\r\n"}, timeout=5)
    assert got == SecretValue(minted.encode())


def test_a_pods_token_is_read_from_its_file(tmp_path: Path, issuer: Issuer) -> None:
    data = tmp_path / "..data"
    data.write_text(issuer.mint({"aud": [AUDIENCE]}) + "\n")
    (tmp_path / "token").symlink_to(data)  # as Kubernetes mounts it
    environ = {"ASTRO_TOKEN_KUBERNETES_TOKEN_FILE": str(tmp_path / "token")}
    assert token(environ)["aud"] == [AUDIENCE]


def test_the_machines_identity_is_never_the_jobs(server: CiIdentity) -> None:
    environ = {"GCE_METADATA_HOST": server.environment("google")["GCE_METADATA_HOST"]}
    assert ci_identity(AUDIENCE, environ=environ, timeout=5) is None
    assert claims(google_identity(AUDIENCE, environ=environ, timeout=5))["aud"] == AUDIENCE


def test_one_request_is_made(server: CiIdentity) -> None:
    for system in HTTP:
        server.requests.clear()
        token(server.environment(system), FIXED.get(system, AUDIENCE))
        assert len(server.requests) == 1


# -- refused tokens -----------------------------------------------------------------------------------


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "for another": ({"aud": "https://elsewhere.example"}, "is for another audience"),
    "for several others": ({"aud": ["a", "b"]}, "is for another audience"),
    "for nobody": ({"aud": None}, "is for another audience"),
    "for a number": ({"aud": 1}, "is for another audience"),
    "expired long ago": ({"exp": 1700000000}, "has expired"),
    "expired just now": ({"exp": time.time()}, "has expired"),
}


@pytest.mark.parametrize(
    ("system", "why"),
    [("github", why) for why in REFUSED]
    + [(system, why) for system in SYSTEMS[1:] for why in ("for another", "expired long ago")],
)
def test_a_token_that_the_service_would_refuse_is_refused_here(
    system: str, why: str, server: CiIdentity, programs: Path
) -> None:
    server.claims, message = REFUSED[why]
    environ = server.environment(system, programs)
    error = failure(environ, audience=FIXED.get(system, AUDIENCE), canaries=server.issued)
    assert type(error) is AccessDeniedError
    assert message in error.message
    assert "elsewhere" not in error.message + str(error.hint)
    assert server.issued


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("ASTRO_TOKEN_ID_TOKEN", "the audience that the service expects"),
        ("BITBUCKET_STEP_OIDC_TOKEN", "ari:cloud:bitbucket"),
    ],
)
def test_a_fixed_audience_is_named_in_the_hint(variable: str, hint: str, issuer: Issuer) -> None:
    error = failure({variable: issuer.mint({"aud": "other"})})
    assert type(error) is AccessDeniedError
    assert AUDIENCE in error.message
    assert hint in str(error.hint)


def test_azure_pipelines_gives_no_other_audience(server: CiIdentity) -> None:
    error = failure(server.environment("azure-pipelines"), canaries=server.issued)
    assert (type(error), AZURE_AUDIENCE in str(error.hint)) == (AccessDeniedError, True)


@pytest.mark.parametrize("system", HTTP)
def test_a_refused_job_gets_the_advice_for_its_system(system: str, server: CiIdentity) -> None:
    environ = server.environment(system)
    for name in ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SYSTEM_ACCESSTOKEN"):
        if name in environ:
            environ[name] = make_token()
    if system == "google":
        server.secret = ""
        environ["GCE_METADATA_HOST"] += "/computeMetadata/elsewhere?"
    error = failure(environ)
    assert type(error) is AccessDeniedError
    advice = {
        "github": "permissions: id-token: write",
        "azure-pipelines": "SYSTEM_ACCESSTOKEN: $(System.AccessToken)",
        "google": "iam.serviceAccounts.getOpenIdToken",
    }
    assert advice[system] in str(error.hint)


@each_row("value", ["$VAULT_ID_TOKEN", "a.b", "a.b.c", "eyJ9.W10.c", "a.b.c.d", "hunter2", " \n"])
@each_row("variable", ["ASTRO_TOKEN_ID_TOKEN", "BITBUCKET_STEP_OIDC_TOKEN", "CIRCLE_OIDC_TOKEN_V2"])
def test_a_variable_that_holds_no_token_is_an_error(variable: str, value: str) -> None:
    error = failure({variable: value, "PATH": os.environ["PATH"]})
    assert (type(error), variable in error.message) == (ConfigError, True)
    assert value not in error.message


def test_a_variable_that_is_no_text_is_an_error() -> None:
    with pytest.raises(ConfigError):
        ci_identity(AUDIENCE, environ={"ASTRO_TOKEN_ID_TOKEN": "\udcff.e30.x"}, timeout=5)


def test_a_file_that_holds_no_token_is_an_error(tmp_path: Path, issuer: Issuer) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no token")
    (tmp_path / "huge").write_text(issuer.mint({"aud": AUDIENCE, "more": "a" * 20_000}))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("empty", "text", "huge", "folder", "fifo", "missing", "nul\0"):
        error = failure({"ASTRO_TOKEN_KUBERNETES_TOKEN_FILE": str(tmp_path / name)})
        assert type(error) is ConfigError
        assert "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE" in error.message


@pytest.mark.parametrize("audience", ["", "a\nb", "a\0b", "\udcff"])
def test_a_malformed_audience_is_refused(audience: str, server: CiIdentity) -> None:
    assert type(failure(server.environment("github"), audience=audience)) is ConfigError
    assert server.requests == []


def test_the_metadata_server_wants_an_audience(server: CiIdentity) -> None:
    assert type(failure(server.environment("google"), audience=None)) is ConfigError


def test_a_machine_without_a_metadata_server_is_an_error(server: CiIdentity) -> None:
    server.close()
    environ = server.environment("google")
    error = raised(lambda: google_identity(AUDIENCE, environ=environ, timeout=5), ())
    assert type(error) is BackendUnavailableError


def test_no_time_is_no_attempt(server: CiIdentity) -> None:
    assert type(failure(server.environment("github"), timeout=0)) is BackendUnavailableError
    assert server.requests == []


# -- programs -----------------------------------------------------------------------------------------

PROGRAM = {"buildkite": "buildkite-agent", "circleci": "circleci"}


def with_program(server: CiIdentity, folder: Path, system: str, script: str) -> dict[str, str]:
    ci_programs.write(folder, PROGRAM[system], f"#!/bin/sh\n{script}\n")
    return server.environment(system, folder)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("exit 1", AccessDeniedError),
        ("echo eyJhbGciOiJub25lIn0.e30.c2ln; exit 3", AccessDeniedError),
        ("kill -9 $$", AccessDeniedError),
        (":", IntegrityError),
        ("echo no token", IntegrityError),
        ("echo eyJhbGciOiJub25lIn0.e30.c2ln eyJhbGciOiJub25lIn0.e30.c2ln", IntegrityError),
        ("head -c 3000000 /dev/zero", IntegrityError),
    ],
)
def test_a_program_that_fails_is_an_error(
    script: str, kind: type[AstroTokenError], server: CiIdentity, tmp_path: Path
) -> None:
    system = "buildkite"
    error = failure(with_program(server, tmp_path / "bin", system, script))
    assert (type(error), PROGRAM[system] in error.message) == (kind, True)


def test_a_program_that_cannot_be_run_is_an_error(server: CiIdentity, tmp_path: Path) -> None:
    ci_programs.write(tmp_path / "bin", "buildkite-agent", "#!/nowhere/sh\n")
    error = failure(server.environment("buildkite", tmp_path / "bin"))
    assert (type(error), "buildkite-agent" in error.message) == (AccessDeniedError, True)


@pytest.mark.parametrize("system", PROGRAM)
def test_a_refused_program_says_nothing_of_its_own(
    system: str, server: CiIdentity, programs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environ = server.environment(system, programs)
    for name in ("BUILDKITE_AGENT_ACCESS_TOKEN", "TEST_CIRCLECI_SECRET"):
        environ |= {name: make_token()} if name in environ else {}
    error = failure(environ, canaries=[environ.get("TEST_CIRCLECI_SECRET", make_token())])
    assert type(error) is AccessDeniedError
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("system", PROGRAM)
def test_a_program_that_hangs_is_killed_in_time(system: str, server: CiIdentity, tmp_path: Path) -> None:
    # A child of it keeps the pipe open: nobody waits for that one.
    script = f"echo $$ > {tmp_path}/pid; sleep 3 & exec sleep 60"
    error = failure(with_program(server, tmp_path / "bin", system, script), timeout=0.3)
    assert type(error) is BackendUnavailableError
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("system", PROGRAM)
def test_a_program_is_taken_from_absolute_folders_of_path_only(
    system: str, server: CiIdentity, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = server.environment(system, programs)
    monkeypatch.chdir(programs)
    for path in ("", ".", ":", f"../{programs.name}", str(programs / "nothing")):
        error = failure({**environ, "PATH": path})
        assert (type(error), "not on PATH" in error.message) == (AccessDeniedError, True)
    assert server.requests == []
    assert token({**environ, "PATH": f".:{programs}:{os.environ['PATH']}"})["aud"] == AUDIENCE


@contextlib.contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    before, (there, here) = os.dup(0), os.pipe()
    os.write(here, data)
    os.close(here)
    os.dup2(there, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(there)


def test_a_program_gets_the_environment_and_no_input(server: CiIdentity, tmp_path: Path) -> None:
    lines = [
        f"cat > {tmp_path}/input",
        f'printf %s "$BUILDKITE_AGENT_ACCESS_TOKEN" > {tmp_path}/token',
        f'echo "$@" > {tmp_path}/argv',
    ]
    environ = with_program(server, tmp_path / "bin", "buildkite", "\n".join(lines))
    with standard_input(b"typed"):
        failure(environ)
    assert (tmp_path / "input").read_text() == ""
    assert (tmp_path / "token").read_text() == server.secret
    assert (tmp_path / "argv").read_text() == f"oidc request-token --audience {AUDIENCE}\n"


# -- what it leaves alone -----------------------------------------------------------------------------


def test_the_search_for_canaries_finds_them(issuer: Issuer) -> None:
    environ = {"ASTRO_TOKEN_ID_TOKEN": issuer.mint({"aud": "other"})}

    def leaks(environ: dict[str, str]) -> None:
        raise AccessDeniedError("no", hint=f"the environment is {len(environ)} long")

    with pytest.raises(AssertionError):
        raised(lambda: leaks(environ), environ.values())


def modules_after(statement: str, **variables: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_network_and_program_modules_are_loaded_only_when_used(issuer: Issuer, server: CiIdentity) -> None:
    modules = {"http.client", "ssl", "subprocess", "urllib.request", "tenacity"}
    asking = f"from astro_token.ci.identity import ci_identity; assert ci_identity({AUDIENCE!r}, timeout=5)"
    assert modules_after("import astro_token.ci.identity") & modules == set()
    held = modules_after(asking, ASTRO_TOKEN_ID_TOKEN=issuer.mint({"aud": AUDIENCE}))
    assert held & modules == set()
    assert "http.client" in modules_after(asking, **server.environment("github"))


def test_the_environment_and_the_disk_stay_as_they_are(
    server: CiIdentity, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("temporary", "work"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "work")
    before, files = dict(os.environ), sorted(tmp_path.rglob("*"))
    for system in SYSTEMS:
        token({**os.environ, **server.environment(system, programs)}, FIXED.get(system, AUDIENCE))
    assert (dict(os.environ), sorted(tmp_path.rglob("*"))) == (before, files)


def test_nothing_of_it_is_logged(
    server: CiIdentity, programs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    for system in SYSTEMS:
        token(server.environment(system, programs), FIXED.get(system, AUDIENCE))
    said = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "taking the identity of GitHub Actions" in said
    assert [canary for canary in (server.secret, *server.issued) if canary in said] == []


def test_a_loopback_address_is_direct(server: CiIdentity) -> None:
    with Egress() as egress:
        for system in HTTP:
            token({**server.environment(system), **egress.proxies()}, FIXED.get(system, AUDIENCE))
    assert egress.count == 0
