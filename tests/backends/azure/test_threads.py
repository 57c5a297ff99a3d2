"""Several threads use the SDK at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.backends.azure.test_key_vault import PYTHONS

# A class that is not complete yet is completed by its first object, while another thread may use it.
PROGRAM = """
import json
import sys

from astro_token.secrets.registry import open_backend

found = {}
for scheme, kind in {"azure": "secrets", "azure-keys": "keys"}.items():
    open_backend(scheme)
    models = sys.modules[f"azure.keyvault.{kind}._generated.models"]
    found[kind] = {
        name: f"{model.__module__}.{model.__qualname__}" in model._calculated
        for name, model in vars(models).items()
        if isinstance(model, type) and hasattr(model, "_calculated")
    }
print(json.dumps(found))
"""


USED = {
    "secrets": {"SecretBundle", "SecretAttributes", "SecretItem"},
    "keys": {"KeyBundle", "JsonWebKey", "KeyOperationResult"},
}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_sdks_classes_of_responses_are_complete_before_a_thread_uses_one(python: str) -> None:
    ran = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(ran.stdout)
    if python != sys.executable:
        assert {} == found.pop("keys")  # its oldest version completes them at once
    for kind, models in found.items():
        assert USED[kind] <= models.keys()
        assert [] == [name for name, is_complete in models.items() if not is_complete]
