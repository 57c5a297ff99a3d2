"""Patterns of references that policy allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError
from astro_token.policy.references import matches, references
from astro_token.secrets.ref import SecretRef
from tests.rows import each_row

if TYPE_CHECKING:
    from pathlib import Path


@each_row(
    ("pattern", "allowed", "refused"),
    [
        (
            "vault:secret/team/*",
            [
                "vault:secret/team/x",
                "vault://secret/team/x/y#f",
                "vault:secret/team/x?version=3",
                "vault:secret/team/x?kv=2",
            ],
            [
                "vault:secret/teams",
                "vault:secret/other/x",
                "vault:secret/team/x?namespace=other",
                "env:x",
                "vault-transit:secret/team",
            ],
        ),
        (
            "vault://secret/team/x#token",
            ["vault:secret/team/x#token"],
            ["vault:secret/team/x", "vault:secret/team/x#t", "vault:secret/team/x?version=1#token"],
        ),
        (
            "vault:secret/x?namespace=a#*",
            ["vault:secret/x?namespace=a", "vault:secret/x?namespace=a#f"],
            ["vault:secret/x#f", "vault:secret/x?namespace=ab#f", "vault:secret/xy?namespace=a#f"],
        ),
        ("vault:*", ["vault:secret/x"], ["env:vault", "vault:secret/x?namespace=a"]),
        ("env:ASTRO_*", ["env:ASTRO_PROD"], ["env:PROD"]),
        ("aws:a?stage=AWSPREVIOUS&region=eu-west-1", ["aws:a?region=eu-west-1&stage=AWSPREVIOUS"], ["aws:a"]),
        ("aws:team/*", ["aws:team/x?stage=AWSPREVIOUS"], ["aws:team/x?region=eu-west-1"]),
        ("azure:vault/*", ["azure:vault/x"], ["azure:vault-2/x"]),
        ("gcp:project/*", ["gcp:project/x", "gcp:project/x?version=2"], ["gcp:project2/x"]),
        ("other:a/*", ["other:a/b?version=1"], ["other:b/a", "other:a/b?tenant=x"]),
    ],
)
def test_a_pattern_allows_what_it_names(pattern: str, allowed: list[str], refused: list[str]) -> None:
    assert ((pattern,),) == references(f" {pattern} ", "X")
    assert allowed == [text for text in allowed + refused if matches(pattern, SecretRef.parse(text))]


def test_links_in_a_file_s_path_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "token").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "out").symlink_to("/etc/hostname")
    for folder in ("real", "link"):
        pattern = f"file:{tmp_path}/{folder}/*"
        assert matches(pattern, SecretRef.parse(f"file:{tmp_path}/link/token"))
        assert matches(f"file:{tmp_path}/{folder}/token", SecretRef.parse(f"file:{tmp_path}/real/token"))
        for name in ("out", "../token", "../other/x"):
            assert not matches(pattern, SecretRef.parse(f"file:{tmp_path}/{folder}/{name}"))


@each_row(
    "text",
    ["", "*", "env:", "vault:secret/*/x", "vault:s/x?version=*", "x", "env:A,,env:B", "a b:*", ["env:A"], 3],
)
def test_a_malformed_pattern_is_refused_without_its_text(text: object) -> None:
    with pytest.raises(ConfigError) as caught:
        references(text, "X")
    assert caught.value.message in {"X contains a malformed reference", "X is not a string"}
