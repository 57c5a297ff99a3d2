"""The classes of hvac are imported without requests, in every version that the extra allows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.backends.vault.service import ROOT

PYTHONS = (sys.executable, str(ROOT / ".venv-oldest" / "bin" / "python"))
USED = (
    "secrets_engines.kv_v1:KvV1",
    "secrets_engines.kv_v2:KvV2",
    "secrets_engines.transit:Transit",
    "auth_methods.approle:AppRole",
    "auth_methods.azure:Azure",
    "auth_methods.gcp:Gcp",
    "auth_methods.jwt:JWT",
    "auth_methods.kubernetes:Kubernetes",
    "auth_methods.ldap:Ldap",
    "auth_methods.token:Token",
    "auth_methods.userpass:Userpass",
    "system_backend.wrapping:Wrapping",
)
ADAPTER = """
import sys, threading, time
from astro_token.system.sdk_imports import allow_placeholders
{allow}
from astro_token.errors import AstroTokenError
from astro_token.transport.client import Client
from astro_token_backends.vault.adapter import VaultAdapter
from astro_token_backends.vault.settings import read_settings
settings = read_settings({{"VAULT_ADDR": "http://127.0.0.1:1"}})
adapter = VaultAdapter(Client(), settings, "t", None, time.monotonic() + 20)
"""


def run(python: str, code: str, allow: str = "allow_placeholders()") -> list[str]:
    done = subprocess.run(
        [python, "-W", "error", "-c", ADAPTER.format(allow=allow) + code],
        env={"PYTHONPATH": "core:backends"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_command_line_imports_the_classes_of_hvac_that_it_uses_and_no_http_library(python: str) -> None:
    code = f"""
made = [type(adapter.api(name)).__name__ for name in {USED!r}]
try:
    adapter.api("secrets_engines.kv_v2:KvV2").read_secret_version("a", raise_on_deleted_version=True)
except AstroTokenError as error:
    made.append(error.exit_code)
print(*made, {{"requests", "urllib3", "hvac", "hvac.api"}} & set(sys.modules) or "")
import hvac
print(hvac.Client(url="http://127.0.0.1:1").adapter.session.__class__.__module__)
"""
    names = [name.partition(":")[2] for name in USED]
    assert run(python, code) == [" ".join([*names, "75", ""]), "requests.sessions"]


@pytest.mark.parametrize("python", PYTHONS)
def test_threads_that_import_hvac_at_the_same_time_all_get_their_classes(python: str) -> None:
    code = f"""
sys.setswitchinterval(1e-6)
made, gate = [], threading.Barrier(16)
def use(names):
    gate.wait()
    made.extend(adapter.api(name) for name in names)
threads = [threading.Thread(target=use, args=({USED!r}[number % 5:],)) for number in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(made))
"""
    expected = sum(len(USED) - number % 5 for number in range(16))
    assert run(python, code) == [str(expected)]


def test_a_program_that_uses_us_gets_hvac_as_it_is() -> None:
    code = 'print("requests" in sys.modules, sys.modules["hvac"].Client.__name__)'
    assert run(sys.executable, code, allow="") == ["True Client"]
