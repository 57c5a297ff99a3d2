"""What a checkout makes the Astro CLI do with the token."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from astro_token.environment.checkout import refuse_clear_text
from astro_token.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / ".astro").mkdir()
    return tmp_path / ".astro" / "config.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "cloud:\n  api:\n    protocol: http\n",
        "cloud:\n  api:\n    protocol: 'http'",
        'cloud: {api: {"protocol": "http"}}\n',
        "cloud:\n  api:\n    # for a test\n    protocol:\n      # this\n      http\n",
        "cloud:\n  api:\n    protocol: HTTP # for a test\n",
        "#" * 300_000 + "\ncloud:\n  api:\n    protocol: http\n",
    ],
)
def test_plain_http_is_refused(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(ConfigError) as raised:
        refuse_clear_text(config.parent.parent)
    assert str(config) in raised.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cloud:\n  api:\n    protocol: https\n",
        "cloud:\n  api:\n    # protocol: http\n    protocol: https\n",
        "#protocol: http",
        "project:\n  name: protocol-http\n",
        "\0\xff",
    ],
)
def test_other_projects_are_not(config: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text(text)
    refuse_clear_text(config.parent.parent)
    assert [] == caplog.records


def test_a_folder_without_a_project_and_a_fifo_hold_nothing_up(tmp_path: Path, config: Path) -> None:
    refuse_clear_text(tmp_path / "elsewhere")
    os.mkfifo(config)
    refuse_clear_text(tmp_path)


def test_a_registry_that_gets_the_token_is_warned_of(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text("remote:\n  base_image_registry: registry.example.com\n")
    with caplog.at_level(logging.WARNING, logger="astro_token"):
        refuse_clear_text(config.parent.parent)
    assert [f"{config} names a registry that the Astro CLI sends the token to"] == caplog.messages
