"""Each server can be started by hand: it prints what to export, and ends with Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.rows import each_row

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@each_row(
    ("arguments", "names"),
    [
        (["openbao"], {"VAULT_ADDR", "VAULT_TOKEN"}),
        (["openbao", "--tls"], {"VAULT_ADDR", "VAULT_TOKEN", "VAULT_CACERT"}),
        (["ministack"], {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}),
        (["gcp"], {"ASTRO_TOKEN_GCP_ENDPOINT", "GOOGLE_APPLICATION_CREDENTIALS"}),
        (["azure"], {"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "ASTRO_TOKEN_AZURE_HOSTS"}),
        (["jwks"], {"ASTRO_TOKEN_ID_TOKEN"}),
        (["faults", "reset"], {"VAULT_ADDR"}),
        (["vault_logins", "azure"], {"VAULT_ADDR", "AZURE_POD_IDENTITY_AUTHORITY_HOST"}),
        (["wire", "http://127.0.0.1:1"], {"VAULT_ADDR", "AWS_ENDPOINT_URL"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_it_prints_its_environment_and_ends_when_asked(arguments: list[str], names: set[str]) -> None:
    with start(f"tests.servers.{arguments[0]}", *arguments[1:]) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while not names <= {line.removeprefix("export ").partition("=")[0] for line in lines} and lines[-1]:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    for line in lines:
        assert line.startswith("# ") or len(shlex.split(line)) == 2


def test_certificates_are_written_to_a_folder(tmp_path: Path) -> None:
    with start("tests.servers.certificates", str(tmp_path)) as process:
        output, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert f"export ASTRO_TOKEN_CA_BUNDLE={tmp_path}/ca.pem" in output
    assert {"ca.pem", "server.pem", "server.key", "expired.pem"} <= {file.name for file in tmp_path.iterdir()}
