"""`doctor` and the Astro CLI: the address of its telemetry, and the lock that policy requires."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Program

STANDIN = Path(__file__).parent.parent / "programs"
TELEMETRY = (
    "telemetry-address: without exec, the Astro CLI's telemetry sends the token to evil.example, "
    "which ASTRO_TELEMETRY_API_URL names"
)
LOCK = "no-lock: policy requires a lock of the Astro CLI (cli_lock), and the project file has none"


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
        assert expected == [check["detail"] for check in found if check["state"] == "warning"]
        assert 1 == [check["state"] for check in found].count("ok")
        assert (0, "") == (result.code, result.stderr)
