"""SDKs are imported without the HTTP libraries that `transport` replaces, and work as if they were not."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# The newest and the oldest versions of the SDKs that the extras allow.
PYTHONS = (sys.executable, str(ROOT / ".venv-oldest" / "bin" / "python"))
HVAC = """
import sys
from astro_token.system.sdk_imports import allow_placeholders, import_sdk
{allow}
hvac = import_sdk("hvac", without={{"requests": ("Response",), "requests.exceptions": ()}})
print("requests" in sys.modules, "urllib3" in sys.modules)
"""
GOOGLE = """
import sys
from astro_token.system.sdk_imports import allow_placeholders, import_sdk
allow_placeholders()
package = "google.cloud.{package}"
service = import_sdk(package + ".types.service", unrun=(package, package + ".types"))
print(package in sys.modules, "google.api_core" in sys.modules)
"""


def run(python: str, code: str, tmp_path: Path, **environ: str) -> list[str]:
    done = subprocess.run(
        [python, "-W", "error", "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("python", PYTHONS)
def test_hvac_is_imported_without_requests_which_loads_at_first_use(python: str, tmp_path: Path) -> None:
    code = HVAC.format(allow="allow_placeholders()") + (
        "import hvac.adapters\n"
        "assert hvac.adapters.requests.Session.__module__ == 'requests.sessions'\n"
        "import requests, requests.exceptions\n"
        "assert requests.Response.__module__ == 'requests.models'\n"
        "assert hvac.adapters.requests.Response is requests.Response\n"
        "assert hvac.Client(url='http://127.0.0.1:1').adapter.session.__class__ is requests.Session\n"
        "print('requests' in sys.modules)\n"
    )
    assert run(python, code, tmp_path) == ["False False", "True"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("package", ["secretmanager_v1", "kms_v1"])
def test_google_messages_are_imported_without_their_clients(
    python: str, package: str, tmp_path: Path
) -> None:
    code = GOOGLE.format(package=package) + (
        f"import google.cloud.{package} as real, google.cloud.{package}.types as types\n"
        "name = next(name for name in dir(service) if name.endswith('Request'))\n"
        "print(getattr(real, name) is getattr(types, name) is getattr(service, name))\n"
    )
    assert run(python, code, tmp_path) == ["False False", "True"]


@pytest.mark.parametrize("python", PYTHONS)
def test_parts_of_grpc_and_google_auth_load_at_first_use(python: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from astro_token.system.sdk_imports import allow_placeholders, import_sdk\n"
        "allow_placeholders()\n"
        "grpc = import_sdk('grpc', without={'grpc.aio': ()})\n"
        "unused = {'cryptography.x509': (), 'google.auth.iam': (), 'google.oauth2._client': ()}\n"
        "import_sdk('google.oauth2.service_account', without=unused)\n"
        "print('grpc.aio' in sys.modules)\n"
        "import cryptography, google.auth.crypt\n"
        "print(grpc.aio.Channel.__name__, cryptography.x509.Certificate.__name__)\n"
        "import grpc.aio, cryptography.x509\n"
        "from google.auth import iam, impersonated_credentials\n"
        "assert iam.Signer and impersonated_credentials._client.jwt_grant\n"
        "print(type(grpc.aio).__name__, type(cryptography.x509).__name__)\n"
    )
    assert run(python, code, tmp_path) == ["False", "Channel Certificate", "module module"]


@pytest.mark.parametrize("python", PYTHONS)
def test_google_clients_are_those_of_an_ordinary_import_later(python: str, tmp_path: Path) -> None:
    code = GOOGLE.format(package="secretmanager_v1") + (
        "import google.cloud.secretmanager_v1 as real\n"
        "print(real.AccessSecretVersionRequest is service.AccessSecretVersionRequest)\n"
        "print(real.SecretManagerServiceClient.__name__)\n"
    )
    assert run(python, code, tmp_path) == ["False False", "True", "SecretManagerServiceClient"]


@pytest.mark.parametrize(
    ("allow", "environ"),
    [
        ("", {}),
        ("allow_placeholders()", {"ASTRO_TOKEN_PLAIN_IMPORTS": "1"}),
        ("allow_placeholders()", {"ASTRO_TOKEN_PLUGINS": "astro-token-sqlite"}),
        ("allow_placeholders()\nimport requests", {}),
    ],
)
def test_imports_are_ordinary_in_other_programs_and_on_request(
    allow: str, environ: dict[str, str], tmp_path: Path
) -> None:
    assert run(sys.executable, HVAC.format(allow=allow), tmp_path, **environ) == ["True True"]


def test_a_second_sdk_that_shares_a_module_is_imported_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("import shared\n")
    (tmp_path / "second.py").write_text("import shared\nvalue = shared.value\n")
    (tmp_path / "shared.py").write_text("value = 1\n")
    code = """
import sys
sys.path.insert(0, ".")
from astro_token.system.sdk_imports import allow_placeholders, import_sdk
allow_placeholders()
import_sdk("first", without={"shared": ()})
print("shared" in sys.modules)
print(import_sdk("second", without={"shared": ()}).value, "shared" in sys.modules)
"""
    assert run(sys.executable, code, tmp_path) == ["False", "1 True"]


@pytest.mark.parametrize(
    "source",
    [
        "import shared\nassert isinstance(shared.Base(), shared.Base)\nclass Own(shared.Base): pass\n",
        "import shared\nif shared.__version__ != '1': raise RuntimeError\n",
        "import sys, shared\nif type(sys.modules['shared']).__name__ != 'module': raise ImportError\n",
    ],
)
def test_an_sdk_that_does_more_at_import_gets_the_real_module(source: str, tmp_path: Path) -> None:
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "__init__.py").write_text(f"from sdk import part\n{source}")
    (tmp_path / "sdk" / "part.py").write_text("import shared\n")
    (tmp_path / "shared.py").write_text("__version__ = '1'\nclass Base: pass\n")
    code = """
import sys
sys.path.insert(0, ".")
from astro_token.system.sdk_imports import allow_placeholders, import_sdk
allow_placeholders()
sdk = import_sdk("sdk", without={"shared": ()})
print(sdk.shared.Base.__module__, sdk.part.shared.Base is sdk.shared.Base)
"""
    assert run(sys.executable, code, tmp_path) == ["shared True"]


def test_what_other_threads_import_meanwhile_stays_if_an_sdk_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "sdk.py").write_text("import here\nhere.inside.set()\nhere.go_on.wait(30)\n1 / 0\n")
    (tmp_path / "here.py").write_text(
        "import threading\ninside = threading.Event()\ngo_on = threading.Event()\n"
    )
    code = """
import sys
sys.path.insert(0, ".")
import here
from contextlib import suppress
from astro_token.system.sdk_imports import allow_placeholders, import_sdk
allow_placeholders()
def fail():
    with suppress(ZeroDivisionError):
        import_sdk("sdk", without={"requests": ()})
thread = here.threading.Thread(target=fail)
thread.start()
assert here.inside.wait(30)
import decimal
from astro_token.secrets import ref
here.go_on.set()
thread.join()
print(sys.modules.get("decimal") is decimal, sys.modules.get("astro_token.secrets.ref") is ref)
"""
    assert run(sys.executable, code, tmp_path) == ["True True"]


def test_a_missing_sdk_is_an_import_error(tmp_path: Path) -> None:
    code = """
from astro_token.system.sdk_imports import allow_placeholders, import_sdk
allow_placeholders()
for options in ({"without": {"nothing": ()}}, {"unrun": ("nothing",)}):
    try:
        import_sdk("nothing.at.all", **options)
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert run(sys.executable, code, tmp_path) == ["nothing", "nothing"]
