"""The Astro CLI's configuration files: which are understood, and which are safe."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.environment.cli_config import (
    ConfigSyntaxError,
    parse,
    problems_of,
    refuse_unsafe,
    user_settings,
    warn_unsafe,
)
from astro_token.errors import ConfigError
from tests.environment.cli_config_spellings import harmless, redirecting
from tests.programs.standin.block_yaml import write_yaml

if TYPE_CHECKING:
    from pathlib import Path

HOME = {"HOME": "/nonexistent"}
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
VALUES = st.text("abc019 .:/#'\"-\\{}[]&*!|>%@`,?~", max_size=12)
TREES = st.recursive(
    VALUES, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / ".astro").mkdir()
    return tmp_path / ".astro" / "config.yaml"


def accepted(config: Path, data: bytes, environ: dict[str, str] = HOME) -> bool:
    config.write_bytes(data)
    return not problems_of(config, environ)[1]


# -- what is refused, and what is not ------------------------------------------------------------------


def test_no_spelling_that_redirects_the_astro_cli_is_accepted(config: Path) -> None:
    spellings = set(redirecting())
    assert 200 <= len(spellings)
    assert [] == [spelling for spelling in spellings if accepted(config, spelling)]


def test_no_file_that_is_written_in_practice_is_refused(config: Path) -> None:
    files = set(harmless())
    assert 100 <= len(files)
    assert [] == [file for file in files if not accepted(config, file)]


@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=3))
def test_what_the_astro_cli_writes_is_read_as_it_was_or_refused(tree: dict[str, object]) -> None:
    try:
        values = parse(write_yaml(tree).encode()).values
    except ConfigSyntaxError:
        return
    expected = flat(tree)
    assert expected.keys() == values.keys()
    assert all(value in {expected[name], "…"} or _null(expected[name]) for name, value in values.items())


def _null(value: str) -> bool:
    return value in {"~", "null", "{}", "[]"}


def flat(tree: object, prefix: str = "") -> dict[str, str]:
    if not isinstance(tree, dict):
        return {prefix[:-1]: str(tree)}
    return {
        key: value for name, below in tree.items() for key, value in flat(below, f"{prefix}{name}.").items()
    }


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_nothing_else_makes_it_fail(data: bytes) -> None:
    lines = 1
    try:
        parse(data)
    except ConfigSyntaxError as error:
        lines = error.line
    assert lines in range(1, data.count(b"\n") + 2)


@pytest.mark.parametrize(
    "data", [b" " * 60_000 + b"x", b"a" * 60_000, b"a: " + b" #" * 30_000, b"a:\n" * 20_000]
)
def test_a_hostile_file_costs_no_more_than_its_length(data: bytes) -> None:
    start = time.process_time()
    with suppress(ConfigSyntaxError):
        parse(data)
    assert time.process_time() - start < 1


def test_a_deep_file_costs_no_more_than_its_length() -> None:
    data = "".join(f"{' ' * depth}a:\n" for depth in range(350)).encode()
    start = time.process_time()
    assert 1 == len(parse(data).values)
    assert time.process_time() - start < 1


def test_values_are_read_with_their_lines_and_secrets_are_not_kept() -> None:
    config = parse(
        b"A:\n  b: 'c # d' # e\n  list:\n  - x\n  - y\n"
        b"contexts:\n  d:\n    token: Bearer z\n    refreshtoken: ''\n"
    )
    assert {
        "a.b": "c # d",
        "a.list": ("x", "y"),
        "contexts.d.token": "…",
        "contexts.d.refreshtoken": "",
    } == dict(config.values)
    assert (2, 8) == (config.lines["a.b"], config.lines["contexts.d.token"])


# -- the project --------------------------------------------------------------------------------------


def refused(folder: Path, environ: dict[str, str] = HOME) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        refuse_unsafe(folder, environ)
    return raised.value


def test_the_error_names_the_line_and_the_key(config: Path) -> None:
    folder = config.parent.parent
    config.write_text("project:\n  name: demo\ncloud:\n  api:\n    protocol: http\n")
    assert (
        f"{config} line 5: cloud.api.protocol decides where the Astro CLI sends the token",
        "remove cloud.api.protocol from it, and check who added it",
    ) == (refused(folder).message, refused(folder).hint)
    config.write_text("project:\n  name: demo\n  new: x\n")
    assert (
        f"{config} line 3: project.new is not in the list of harmless keys",
        "correct or remove project.new; if it is harmless, add it to ASTRO_TOKEN_CLI_KEYS",
    ) == (refused(folder).message, refused(folder).hint)
    config.write_text("project:\n  name: !!str demo\n")
    assert refused(folder).message == (
        f"{config} line 2 has a value that is not one bare or quoted text: "
        "the Astro CLI could send the token to another server"
    )


def test_the_environment_can_accept_further_keys_but_none_that_redirects(config: Path) -> None:
    assert accepted(config, b"project:\n  new: x\n", {**HOME, "ASTRO_TOKEN_CLI_KEYS": "other, Project.New,"})
    for key in (
        "cloud.api.protocol",
        "Cloud.new",
        "context",
        "contexts.x",
        "local.core",
        "remote.base_image_registry",
    ):
        error = refused(config.parent.parent, {**HOME, "ASTRO_TOKEN_CLI_KEYS": f"a,{key}"})
        assert "ASTRO_TOKEN_CLI_KEYS" in error.message


def test_a_folder_without_a_project_is_accepted(tmp_path: Path) -> None:
    refuse_unsafe(tmp_path / "elsewhere", HOME)
    (tmp_path / ".astro").touch()
    refuse_unsafe(tmp_path, HOME)


def test_what_cannot_be_read_is_refused_and_not_waited_for(config: Path) -> None:
    os.mkfifo(config)
    assert "cannot be read" in refused(config.parent.parent).message
    config.unlink()
    config.write_bytes(b"#" * 70_000)
    assert "is longer than 64 KiB" in refused(config.parent.parent).message


def test_a_registry_that_gets_the_token_is_warned_of(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text("remote:\n  base_image_registry: registry.example.com\n")
    with caplog.at_level(logging.WARNING, logger="astro_token"):
        refuse_unsafe(config.parent.parent, HOME)
    assert [f"{config} names a registry that the Astro CLI sends the token to"] == caplog.messages


def test_the_users_home_as_the_working_folder_may_hold_contexts(config: Path) -> None:
    text = b"context: astronomer.io\ncontexts:\n  astronomer_io:\n    token: Bearer x\nnew: x\n"
    assert accepted(config, text, {"HOME": str(config.parent.parent)})
    assert accepted(config, text, {"ASTRO_HOME": str(config.parent.parent), "HOME": "/nonexistent"})
    assert not accepted(config, text)
    link = config.parent.parent.with_name("link-to-home")
    link.symlink_to(config.parent.parent)
    assert accepted(config, text, {"HOME": str(link)})


def test_a_token_that_is_handed_over_is_warned_about(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text("cloud:\n  api:\n    protocol: http\n")
    with caplog.at_level(logging.WARNING, logger="astro_token"):
        warn_unsafe(config.parent.parent, HOME)
    assert [
        f"{config} line 3: cloud.api.protocol decides where the Astro CLI sends the token"
    ] == caplog.messages


# -- the user's home ----------------------------------------------------------------------------------


def test_known_settings_of_the_home_are_copied_and_no_others(config: Path) -> None:
    environ = {"HOME": str(config.parent.parent)}
    config.write_text(
        "cloud:\n  api:\n    protocol: https\ncontainer:\n  binary: /usr/bin/podman\nnew: x\ncontext: a\n"
        "contexts:\n  a:\n    token: x\nlocal:\n  core: http://127.0.0.1:8871\n"
    )
    assert {
        "cloud.api.protocol": "https",
        "container.binary": "/usr/bin/podman",
        "local.core": "http://127.0.0.1:8871",
    } == user_settings(environ)


@pytest.mark.parametrize(
    "text",
    [
        "cloud:\n  api:\n    protocol: http\n",
        "local:\n  core: http://evil.example\n",
        "local:\n  core: http://127.0.0.1:1@evil.example\n",
        "local:\n  core: http://localhost.evil.example\n",
        "page_size: !!int 7\n",
    ],
)
def test_nothing_is_copied_from_a_home_that_is_not_safe(
    config: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    config.write_text(f"page_size: 7\n{text}" if "page_size" not in text else text)
    assert {} == user_settings({"HOME": str(config.parent.parent)})
    assert 1 == len(caplog.messages)
    assert caplog.messages[0].endswith(": the command gets none of your settings")


def test_nothing_is_copied_from_a_home_that_another_user_can_change(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config.write_text("page_size: 7\n")
    environ = {"ASTRO_HOME": str(config.parent.parent)}
    assert {"page_size": "7"} == user_settings(environ)
    config.chmod(0o666)
    assert {} == user_settings(environ)
    config.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(config, 65534, -1)
        assert {} == user_settings(environ)
        assert "belongs to another user" in caplog.messages[-1]
    assert "can be written by other users" in caplog.messages[0]
