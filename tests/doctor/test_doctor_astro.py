"""`doctor` and the Astro CLI: its configuration, its telemetry's address, the lock that policy requires."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Program

STANDIN = Path(__file__).parent.parent / "programs"
TELEMETRY = (
    "telemetry-address: without exec, the Astro CLI's telemetry sends the token to evil.example, "
    "which ASTRO_TELEMETRY_API_URL names"
)
LOCK = "no-lock: policy requires a lock of the Astro CLI (cli_lock), and the project file has none"


@pytest.mark.parametrize(
    ("settings", "variables", "code", "finding"),
    [
        (
            "cloud:\n  api:\n    protocol: http\n",
            {},
            78,
            "CONFIG line 3: cloud.api.protocol decides where the Astro CLI sends the token",
        ),
        (
            "project: &x\n",
            {},
            78,
            (
                "CONFIG line 1 has a value that is not one bare or quoted text: "
                "the Astro CLI could send the token to another server"
            ),
        ),
        ("new: x\n", {}, 78, "CONFIG line 1: new is not in the list of harmless keys"),
        ("new: x\n", {"ASTRO_TOKEN_CLI_KEYS": "new"}, 0, ""),
        (
            "remote:\n  client_registry: example.com\n",
            {},
            0,
            "CONFIG names a registry that the Astro CLI sends the token to",
        ),
        (
            "remote:\n  client_registry: example.com\n",
            {"ASTRO_TOKEN_POLICY_REGISTRIES": "other.example"},
            65,
            "CONFIG names a registry that the Astro CLI sends the token to, and policy does not allow it",
        ),
        (
            "remote:\n  client_registry: example.com\n",
            {"ASTRO_TOKEN_POLICY_REGISTRIES": "example.com"},
            0,
            "",
        ),
    ],
)
def test_the_configuration_of_the_project_is_checked(
    settings: str,
    variables: dict[str, str],
    code: int,
    finding: str,
    program: Program,
    canary: str,
    write: Callable[[str, str], Path],
) -> None:
    file = write(".astro/config.yaml", settings)
    program.environ |= {"TOKEN": canary, "PATH": f"{STANDIN}:/usr/bin:/bin"}
    result = program("doctor", "--offline", "--format", "json", "env:TOKEN", env=variables)
    checks = [check for check in json.loads(result.stdout)["links"] if check["link"] == "astro"]
    expected = [("failed" if code else "warning", finding)] if finding else []
    found = [
        (check["state"], check["found"].replace(str(file), "CONFIG"))
        for check in checks
        if check["state"] != "ok"
    ]
    assert (code, expected) == (result.code, found)


def test_a_foreign_telemetry_address_and_a_missing_lock_are_warnings(
    program: Program, canary: str, write: Callable[[str, str], Path]
) -> None:
    write("astro-token.toml", '[tokens.prod]\nref = "env:TOKEN"\n')
    program.environ |= {"TOKEN": canary, "PATH": f"{STANDIN}:/usr/bin:/bin"}
    address = f"https://{canary}:hunter2@evil.example/{canary}"
    for variables, expected in (
        ({}, []),
        ({"ASTRO_TELEMETRY_API_URL": address}, [TELEMETRY]),
        ({"ASTRO_TELEMETRY_API_URL": address, "ASTRO_TELEMETRY_DISABLED": "1"}, []),
        ({"ASTRO_TOKEN_POLICY_CLI_LOCK": "true"}, [LOCK]),
    ):
        result = program("doctor", "--offline", "--format", "json", env=variables)
        found = [check for check in json.loads(result.stdout)["links"] if check["link"] == "astro"]
        assert expected == [check["found"] for check in found if check["state"] == "warning"]
        assert 1 == [check["state"] for check in found].count("ok")
        assert (0, "") == (result.code, result.stderr)
