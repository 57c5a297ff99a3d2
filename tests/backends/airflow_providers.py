"""
Runs the real secrets backends of Airflow, in an environment that has them, and prints what they request.

Standard input: a JSON list of cases (class, kwargs, kind, name). Standard output: for each a list of names,
or null if the backend does not accept the arguments. Nothing is sent.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import warnings
from types import SimpleNamespace
from typing import Any

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
requested: list[str] = []


class MissingError(Exception):
    pass


class Service:
    """The client of AWS or Azure: it notes the name, and has no secret."""

    exceptions = SimpleNamespace(
        **dict.fromkeys(
            (
                *("ResourceNotFoundException", "InvalidParameterException", "InvalidRequestException"),
                *("DecryptionFailure", "InternalServiceError", "ParameterNotFound"),
            ),
            MissingError,
        )
    )

    def get_secret_value(self, **named: str) -> None:
        requested.append(named["SecretId"])
        raise MissingError

    def get_parameter(self, **named: Any) -> None:
        requested.append(named["Name"])
        raise MissingError

    def get_secret(self, name: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        requested.append(name)
        raise ResourceNotFoundError


class Google:
    def secret_version_path(self, project: str, secret: str, version: str) -> str:
        return f"{project}/{secret}"

    def access_secret_version(self, request: dict[str, str]) -> None:
        from google.api_core import exceptions

        missing: Any = exceptions.NotFound
        requested.append(request["name"])
        raise missing("")


def vault_request(_adapter: Any, method: str, url: str, *_: Any, **__: Any) -> Any:
    from hvac.exceptions import InvalidPath

    if method.lower() == "post":
        return {"auth": {"client_token": "t"}}
    requested.append(url)
    raise InvalidPath


def answer(case: dict[str, Any]) -> list[str] | None:
    requested.clear()
    module, _, name = case["class"].rpartition(".")
    try:
        backend = getattr(importlib.import_module(module), name)(**case["kwargs"])
    except Exception:
        return None
    if "amazon" in module or "azure" in module:
        backend.__dict__["client"] = Service()
    method = backend.get_variable if case["kind"] == "variable" else backend.get_conn_value
    method(case["name"])
    return list(requested)


def main() -> None:
    import hvac.adapters
    from airflow.providers.google.cloud._internal_client import secret_manager_client
    from airflow.providers.google.cloud.secrets import secret_manager

    hvac.adapters.RawAdapter.request = hvac.adapters.JSONAdapter.request = vault_request
    secret_manager.get_credentials_and_project_id = lambda **_: (None, "")
    secret_manager_client._SecretManagerClient.client = Google()
    print("\n" + json.dumps([answer(case) for case in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
