"""
What is the stand-in's own: what it adds, what it leaves out,
and what of the real one cannot be asked without a network, a registry or ten seconds of waiting.
The facts that it shares with the real one are in `test_real_astro.py`.
"""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.programs.bench import STALE, STANDIN, Bench
from tests.programs.standin import config as standin_config
from tests.programs.standin.api import base_url
from tests.programs.standin.block_yaml import Plain, read_yaml, write_yaml
from tests.programs.standin.config import Config, is_cloud
from tests.programs.standin.errors import CommandError, UnsupportedError
from tests.rows import each_row
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, WORKSPACE, AstroApi

if TYPE_CHECKING:
    from pathlib import Path

# As a private home is seeded: the strings are JSON strings, and there is no token.
SEEDED = f"""\
context: "astronomer.io"
contexts:
  "astronomer_io":
    domain: "astronomer.io"
    organization: "{ORGANIZATION}"
    workspace: "{WORKSPACE}"
    last_used_workspace: "{WORKSPACE}"
"""


@pytest.fixture
def bench(tmp_path: Path, astro_api: AstroApi) -> Bench:
    return Bench(STANDIN, tmp_path, astro_api)


@pytest.fixture
def config(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("ASTRO_HOME", str(bench.home))
    monkeypatch.chdir(bench.elsewhere)
    return Config()


# -- the network ------------------------------------------------------------------------------------------


def test_with_a_seeded_context_an_organization_s_token_deploys(bench: Bench) -> None:
    bench.seed(SEEDED)
    env = {"ASTRO_DOMAIN": None, "STANDIN_API_URL": bench.api.url}
    token = bench.api.issue(ws=None)
    result = bench.run("deploy", DEPLOYMENT, "--dags", token=token, cwd=bench.make_project(), env=env)
    assert (0, "") == (result.code, result.stderr)
    assert "\nAuthenticated to Astro \n" in f"\n{result.stdout}"
    assert "DEPLOYED" == next(iter(bench.api.deploys.values()))["status"]
    assert WORKSPACE == bench.config("contexts.astronomer_io.workspace")


def test_a_seeded_context_of_another_domain_is_of_no_use(bench: Bench) -> None:
    bench.seed(SEEDED)
    result = bench.run(
        "deploy", DEPLOYMENT, "--dags", token=bench.api.issue(ws=None), cwd=bench.make_project()
    )
    assert 1 == result.code
    assert "current workspace context not set" in result.stderr


def test_it_does_not_leave_the_machine(bench: Bench) -> None:
    bench.seed(SEEDED)
    result = bench.run("workspace", "list", token=bench.api.issue(), env={"ASTRO_DOMAIN": None})
    assert 1 == result.code
    assert result.stderr.endswith("dial tcp: lookup api.astronomer.io: no such host\n")
    # The setup failed in the same way, and nobody was told.
    assert ORGANIZATION == bench.config("contexts.astronomer_io.organization")


def test_an_api_that_is_not_there_is_a_refused_connection(bench: Bench, refused_api: str) -> None:
    bench.seed(STALE.replace("context:", f"local:\n  core: {refused_api}\ncontext:", 1))
    result = bench.run("workspace", "list", token=bench.api.issue())
    assert 1 == result.code
    assert result.stderr.endswith("connect: connection refused\n")


@pytest.fixture
def refused_api() -> str:
    with AstroApi() as gone:
        return gone.url


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        ("localhost", "http://127.0.0.1:1/v1"),
        ("astronomer.io", "https://api.astronomer.io/v1"),
        ("cloud.astronomer.io", "https://api.astronomer.io/v1"),
        ("https://cloud.astronomer.io/", "https://api.astronomer.io/v1"),
        ("astronomer-stage.io", "https://api.astronomer-stage.io/v1"),
        ("pr1234.astronomer-dev.io", "https://pr1234.api.astronomer-dev.io/v1"),
        ("localhost:8888", "https://api.localhost:8888/v1"),
        ("127.0.0.1", "https://api.127.0.0.1/v1"),
    ],
)
def test_the_address_of_the_api_follows_from_the_domain(config: Config, domain: str, url: str) -> None:
    config.tree["local"]["core"] = "http://127.0.0.1:1"
    assert url == base_url(config, domain)


def test_a_project_can_take_the_encryption_away(config: Config) -> None:
    config.project = {"cloud": {"api": {"protocol": "http"}}}
    assert "http://api.astronomer.io/v1" == base_url(config, "astronomer.io")


@pytest.mark.parametrize(
    ("domain", "cloud"),
    [
        ("astronomer.io", True),
        ("cloud.astronomer.io", True),
        ("astronomer-dev.io", True),
        ("pr12345.astronomer-dev.io", True),
        ("localhost", True),
        ("astronomer.io.example.com", False),
        ("astro.example.com", False),
    ],
)
def test_a_domain_is_told_from_one_of_the_software(
    config: Config, monkeypatch: pytest.MonkeyPatch, domain: str, *, cloud: bool
) -> None:
    monkeypatch.setenv("ASTRO_DOMAIN", domain)
    # Until a context is saved for it, any domain passes for Astro's, and is sent the token.
    assert is_cloud(config)
    config.create_context(domain)
    assert cloud == is_cloud(config)


def test_of_the_software_it_knows_nothing_and_leaves_the_token_alone(bench: Bench) -> None:
    bench.seed(
        SEEDED.replace("astronomer.io", "astro.example.com").replace("astronomer_io", "astro_example_com")
    )
    result = bench.run("workspace", "list", token=bench.api.issue(), env={"ASTRO_DOMAIN": None})
    assert (3, "") == (result.code, result.stdout)
    assert "Bearer" not in bench.file.read_text()


# -- the registry -----------------------------------------------------------------------------------------


def bash_of_ours(bench: Bench) -> tuple[Path, dict[str, str]]:
    """A bash that writes down its arguments, and the PATH on which it is the first."""
    folder, record = bench.elsewhere / "bin", bench.elsewhere / "arguments"
    folder.mkdir()
    (folder / "bash").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{record}\n')
    (folder / "bash").chmod(0o755)
    return record, {"PATH": f"{folder}:{bench.environment()['PATH']}"}


def test_on_request_the_token_stands_on_the_command_line_of_a_descendant(bench: Bench) -> None:
    token = bench.api.issue()
    record, path = bash_of_ours(bench)
    env = {**path, "STANDIN_REGISTRY_LOGIN": "1"}
    result = bench.run("deploy", DEPLOYMENT, token=token, cwd=bench.make_project(), env=env)
    assert (0, "stand-in: no image is built or pushed\n") == (result.code, result.stderr)
    assert f'-c\necho "{token}" | cat >/dev/null\n' == record.read_text()
    assert "IMAGE_AND_DAG" == next(iter(bench.api.deploys.values()))["type"]


@pytest.mark.parametrize(("arguments", "wish"), [((), None), (("--dags",), "1")])
def test_else_it_does_not(bench: Bench, arguments: tuple[str, ...], wish: str | None) -> None:
    record, path = bash_of_ours(bench)
    env = {**path, "STANDIN_REGISTRY_LOGIN": wish}
    result = bench.run(
        "deploy", DEPLOYMENT, *arguments, token=bench.api.issue(), cwd=bench.make_project(), env=env
    )
    assert 0 == result.code
    assert not record.exists()


def test_what_bash_would_carry_out_is_carried_out(bench: Bench) -> None:
    # An inference from the source of the real one; a token that was looked at cannot hold such characters.
    mark = bench.elsewhere / "mark"
    token = bench.api.issue()
    value = bench.api.accept(f"{token}$(touch {mark})")
    bench.run(
        "deploy", DEPLOYMENT, token=value, cwd=bench.make_project(), env={"STANDIN_REGISTRY_LOGIN": "1"}
    )
    assert mark.exists()


# -- what it does not do ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "login", "workspace", "workspace switch x", "deployment inspect x"])
def test_what_it_does_not_do_has_a_status_of_its_own(bench: Bench, command: str) -> None:
    bench.api.deployments[0]["id"] = "x"
    result = bench.run(*command.split(), token=bench.api.issue())
    assert (3, True) == (result.code, result.stderr.startswith("stand-in: not supported: "))


def test_dev_starts_nothing(bench: Bench) -> None:
    result = bench.run("dev", "start", cwd=bench.make_project())
    assert (0, "stand-in: no container is started\n") == (result.code, result.stderr)
    assert [] == bench.api.requests


def test_it_gives_up_waiting_for_the_lock(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 10 == standin_config.LOCK_SECONDS
    monkeypatch.setattr(standin_config, "LOCK_SECONDS", 0.05)
    with config.file.with_name("config.yaml.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="timed out after 10s waiting for config lock"):
            config.save()


# -- YAML -------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text(), max_size=4))
def test_any_text_is_read_as_it_was_written(tree: dict[str, str]) -> None:
    assert {"top": tree, "end": "x"} == read_yaml(write_yaml({"top": tree, "end": "x"}))


@each_row(
    ("value", "text"),
    [
        ("Bearer eyJ", "Bearer eyJ"),
        ("", '""'),
        ("true", '"true"'),
        ("8080", '"8080"'),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ('Bearer "eyJ', 'Bearer "eyJ'),
        ("Bearer eyJ ", "'Bearer eyJ '"),
        ("Bearer eyJ # x", "'Bearer eyJ # x'"),
        ("Bearer eyJ\n", "|\n    Bearer eyJ"),
        ("Bearer eyJ\n\n", "|+\n    Bearer eyJ\n"),
        ("Bearer e\nyJ", "|-\n    Bearer e\n    yJ"),
        ("Bearer eyJ\r\n", '"Bearer eyJ\\r\\n"'),
        ("Bearer \neyJ", '"Bearer \\neyJ"'),
        ("Bearer \ufeffeyJ", '"Bearer \\uFEFFeyJ"'),
        ("Bearer eyJ\t", '"Bearer eyJ\\t"'),
    ],
)
def test_text_is_written_as_the_real_one_does(value: str, text: str) -> None:
    assert f"token: {text}\n" == write_yaml({"token": value})


@each_row(
    ("text", "tree"),
    [
        ("", {}),
        ("# nothing\n---\n", {}),
        ("a:\n  b: 1 # one\n  c: it''s\n\nD: 'it''s'\n", {"a": {"b": "1", "c": "it''s"}, "d": "it's"}),
        ('a: "q\\"\\u00e9\\n" # x\nb:\nc: {}\n', {"a": 'q"é\n', "b": None, "c": {}}),
        ("a:\n# between\n    b: x\n", {"a": {"b": "x"}}),
    ],
)
def test_the_usual_forms_are_read(text: str, tree: dict[str, Any]) -> None:
    assert tree == read_yaml(text)


def test_what_is_no_text_is_written_as_it_was_read() -> None:
    text = "a: true\nb: 20\nc: 2084-10-15T19:03:08.965317477Z\nd: null\n"
    assert isinstance(read_yaml(text)["b"], Plain)
    assert text == write_yaml(read_yaml(text))


@pytest.mark.parametrize(
    "text", ["a: [1]\n", "- a\n", "a: &x 1\n", 'a: "open\n', "a: 1\n   b: 2\n", "just text\n"]
)
def test_other_forms_are_refused_and_not_guessed_at(bench: Bench, text: str) -> None:
    with pytest.raises(UnsupportedError):
        read_yaml(text)
    bench.file.write_text(text)
    assert 3 == bench.run("version").code


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])))
def test_json_strings_are_read(text: str) -> None:
    assert {"a": text} == read_yaml(f"a: {json.dumps(text)}\n")
