"""The chain before a backend that does what it likes, a proxy in the way, and a folder that is no more."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from astro_token.doctor import Report, examine
from astro_token.doctor.connectivity import probe
from astro_token.doctor.investigation import probe_service
from astro_token.doctor.variables import check_variables
from astro_token.errors import AstroTokenError, ConfigError
from astro_token.secrets.ref import SecretRef
from astro_token.testing import make_token
from astro_token.transport.deadline import Deadline
from astro_token.transport.route import Route
from tests.rows import each_row
from tests.servers.faults import ConnectProxy, FaultServer, refused_port
from tests.servers.http1 import Answer
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.astro_api import AstroApi

REF = SecretRef("env", "X")
SECONDS = 0.3
WORD = "hunter2"


class Telling:
    """A backend whose route a test decides."""

    def __init__(self, route: Callable[[], object], source: object = "a variable") -> None:
        self._route, self._source = route, source

    def route(self, _ref: SecretRef) -> object:
        return self._route()

    def credential_source(self, _ref: SecretRef, *, timeout: float) -> object:
        return self._source


def raising(error: BaseException) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


def probed(backend: object) -> dict[str, tuple[str, str, int]]:
    report = Report()
    probe_service(report, REF, backend, Deadline(5, attempt=SECONDS))
    return {check.name: (check.state, check.detail, check.exit_code) for check in report.checks}


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (raising(SystemExit(3)), "the backend failed with SystemExit"),
        (raising(RuntimeError(WORD)), "the backend failed with RuntimeError"),
        (lambda: None, "the backend does not return a Route"),
        (lambda: f"https://{WORD}", "the backend does not return a Route"),
    ],
)
def test_a_backend_without_a_route_fails_its_own_check_only(route: Callable[[], object], said: str) -> None:
    found = probed(Telling(route))
    assert ("failed", said, 70) == found["network"]
    assert ("not reached", "skipped: the service is not reached", 0) == found["login"]


def test_a_backend_that_does_not_tell_its_address_in_time_is_left_behind() -> None:
    found = probed(Telling(lambda: time.sleep(60)))
    assert ("failed", 75) == (found["network"][0], found["network"][2])


def test_a_credential_s_source_that_is_no_text_is_not_shown() -> None:
    found = probed(Telling(lambda: Route.to("http://127.0.0.1:1", {}), source=WORD.encode()))
    assert ("failed", "the backend does not name the source of its credential", 70) == found["credential"]


def test_the_path_and_the_query_of_an_address_are_not_shown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        found = probed(Telling(lambda: Route.to(f"http://{host}/{WORD}?key={WORD}", {})))
    assert ("ok", f"http://{host} can be reached", 0) == found["network"]


# -- the proxy ----------------------------------------------------------------------------------------


def described(proxy: str) -> str:
    return probe(Route.to("https://api.example.com/v1", {"HTTPS_PROXY": proxy}), Deadline(5))


def test_a_proxy_is_named_by_its_variable() -> None:
    with ConnectProxy(status=407) as proxy, pytest.raises(ConfigError) as raised:
        described(proxy.url)
    message = "https://api.example.com: the proxy requires a user and a password"
    assert (message, ["api.example.com:443"]) == (raised.value.message, proxy.targets)


@each_row("rest", ["[::", "host:abc", "host:99999", "host:0", ":80"])
def test_a_malformed_proxy_is_a_setting_and_not_repeated(rest: str) -> None:
    with pytest.raises(ConfigError) as raised:
        described(f"http://user:{WORD}@{rest}")
    assert WORD not in f"{raised.value.message} {raised.value.hint}"


# -- the whole chain ------------------------------------------------------------------------------------


def links(environ: dict[str, str], timeout: float | None = None) -> dict[str, tuple[str, str, int]]:
    _, report = examine("env:X", environ={"PATH": "", **environ}, timeout=timeout)
    return {check.name: (check.state, check.detail, check.exit_code) for check in report.checks}


def test_a_working_folder_that_is_no_more_breaks_the_settings_and_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    found = links({"ASTRO_TOKEN_API_URL": f"http://127.0.0.1:{refused_port()}"})
    said = "the working folder cannot be read: no such file or directory"
    assert ("failed", said, 74) == found["settings"]
    assert ("warning", "failed") == (found["astro"][0], found["api"][0])


def test_each_question_to_astro_is_asked_once_whatever_it_asks_us_to_wait(
    astro_api: AstroApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X", make_token())
    busy = Answer(503, b"{}", {"Retry-After": "1"}, content_type="application/json")
    astro_api.faults = [busy] * 6
    found = links({"ASTRO_TOKEN_API_URL": astro_api.url})
    assert (("failed", 75), 1) == ((found["api"][0], found["api"][2]), len(astro_api.requests))


def test_astro_gets_no_more_time_than_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", make_token())
    with FaultServer("hang") as server, within(SECONDS):
        found = links({"ASTRO_TOKEN_API_URL": server.url}, timeout=SECONDS)
    assert 75 == found["api"][2]


def test_what_policy_has_said_is_not_said_by_the_api_again(
    astro_api: AstroApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X", astro_api.issue(expires_in=None))
    found = links({"ASTRO_TOKEN_API_URL": astro_api.url})
    assert ("warning", "ok") == (found["policy"][0], found["api"][0])


def test_astro_is_run_once(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "astro"
    program.write_text(f"#!/bin/sh\necho x >> {ran}; echo Astro CLI Version: 1.45.0\n")
    program.chmod(0o755)
    found = links({"PATH": f"{tmp_path}:/usr/bin:/bin", "ASTRO_DOMAIN": "localhost"})
    assert (("ok", f"1.45.0, {program}", 0), "x\n") == (found["astro"], ran.read_text())


def test_a_token_whose_permissions_name_nothing_that_we_know_is_shown_as_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("X", make_token(permissions=["dagId:x"]))
    found = links({"ASTRO_TOKEN_API_URL": f"http://127.0.0.1:{refused_port()}"})
    assert "of no known scope; " in found["token"][1]


def test_a_name_that_no_variable_has_is_not_shown() -> None:
    token = make_token().replace(".", "_").replace("-", "_")
    names = ("ASTRO_TOKEN_REFF", f"ASTRO_TOKEN_{token}", "ASTRO_TOKEN_A\n::error::", "ASTRO_TOKEN_\udcff", "")
    report = Report()
    check_variables(report, dict.fromkeys(names, "x"), [SecretRef.parse("vault:a/b")])
    assert ["ASTRO_TOKEN_REFF", "ASTRO_TOKEN_REFF is unknown"] == [check.detail for check in report.checks]


def test_all_errors_of_a_look_are_links() -> None:
    report = Report()
    for error in (AstroTokenError("one"), FileNotFoundError(2, "two"), PermissionError()):
        assert None is report.run("settings", raising(error))  # type: ignore[arg-type]
    assert [70, 74, 74] == [check.exit_code for check in report.checks]


@each_row(
    ("given", "said"),
    [
        ({"HTTP_PROXY": "http://x:1"}, "HTTP_PROXY is not used for https"),
        ({"http_proxy": "x", "ALL_PROXY": "y"}, "http_proxy, ALL_PROXY are not used for https"),
        ({"HTTP_PROXY": "http://x:1", "https_proxy": "http://x:1"}, ""),
        ({"all_proxy": "x", "HTTPS_PROXY": ""}, "all_proxy is not used for https"),
        ({"ALL_PROXY": ""}, ""),
        ({}, ""),
    ],
)
def test_a_proxy_that_is_not_used_for_https_is_a_warning(given: dict[str, str], said: str) -> None:
    report = Report()
    check_variables(report, given, [])
    warnings = [(check.detail, check.hint) for check in report.checks if check.state == "warning"]
    assert ([(said, "set HTTPS_PROXY, if services are reached through a proxy")] if said else []) == warnings


def test_the_permission_for_a_file_that_does_not_exist_is_not_known(tmp_path: Path) -> None:
    def checks(ref: str) -> dict[str, tuple[str, str]]:
        report = examine(ref, offline=True)[1]
        return {check.name: (check.state, check.detail) for check in report.checks}

    missing = checks(f"file:{tmp_path}/missing")
    assert ("not reached", "skipped: there is nothing to read") == missing["permission"]
    assert "failed" == missing["secret"][0]
    (tmp_path / "token").write_text(make_token())
    (tmp_path / "token").chmod(0o600)
    assert ("ok", "may read") == checks(f"file:{tmp_path}/token")["permission"]
    assert ("not reached", "skipped: there is nothing to read") == checks("env:MISSING")["permission"]
