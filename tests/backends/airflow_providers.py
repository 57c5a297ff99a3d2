"""
Runs the real secrets backends of Airflow, in an environment that has them.

Standard input: a JSON list of cases (class, kwargs, kind, name, and the variables of the case).

`names`: prints for each the list of names that the backend requests, or null if it does not accept
the arguments. Nothing is sent.
`values`: prints for each what it reads from the test's servers: a list of "value" and the value,
of "nothing", or of "failed" and the exception's type. Their addresses are in variables.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
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


def names() -> list[list[str] | None]:
    import hvac.adapters
    from airflow.providers.google.cloud._internal_client import secret_manager_client
    from airflow.providers.google.cloud.secrets import secret_manager

    hvac.adapters.RawAdapter.request = hvac.adapters.JSONAdapter.request = vault_request
    secret_manager.get_credentials_and_project_id = lambda **_: (None, "")
    secret_manager_client._SecretManagerClient.client = Google()
    return [answer(case) for case in json.load(sys.stdin)]


# -- values -------------------------------------------------------------------------------------------


def lead_to_the_servers() -> None:
    """Some services have no setting for another address."""
    from functools import partial

    import google.auth.iam
    from airflow.providers.google.cloud._internal_client import secret_manager_client
    from airflow.providers.microsoft.azure import utils
    from airflow.providers.microsoft.azure.secrets import key_vault

    client: Any = secret_manager_client.SecretManagerServiceClient

    class Service(client):  # type: ignore[misc] # the providers are in another environment
        def access_secret_version(self, request: Any) -> Any:
            # The retries after a refused login last a minute.
            return super().access_secret_version(request=request, retry=None)

    endpoint = {"api_endpoint": os.environ["TEST_GCP_ENDPOINT"]}
    secret_manager_client.SecretManagerServiceClient = partial(Service, client_options=endpoint)
    accounts = f"{os.environ['TEST_GCP_LOGIN']}/v1/projects/-/serviceAccounts/"
    google.auth.iam._IAM_ENDPOINT = accounts + "{}:generateAccessToken"
    key_vault.SecretClient = partial(key_vault.SecretClient, verify_challenge_resource=False)
    for module, name in ((key_vault, "ClientSecretCredential"), (utils, "DefaultAzureCredential")):
        setattr(module, name, partial(getattr(module, name), disable_instance_discovery=True))


def value(case: dict[str, Any], backends: dict[str, Any]) -> list[Any]:
    """Read with one backend for each login: its clients take long to create."""
    from airflow.sdk.definitions.connection import Connection

    module, _, name = case["class"].rpartition(".")
    login = json.dumps([case["kwargs"], case["environ"]])
    try:
        if login not in backends:
            backends[login] = getattr(importlib.import_module(module), name)(**case["kwargs"])
        backend = backends[login]
        if case["kind"] == "variable":
            content = backend.get_variable(case["name"])
            return ["nothing"] if content is None else ["value", content]
        backend._set_connection_class(Connection)
        read = backend.get_connection(case["name"])
        if read is None:
            return ["nothing"]
        extra = {f"extra.{key}": part for key, part in read.extra_dejson.items() if isinstance(part, str)}
        fields = ("conn_type", "login", "password", "host", "port", "schema")
        named = {field: getattr(read, field) for field in fields}
        return [
            "value",
            {field: str(part) for field, part in named.items() if part not in {None, ""}} | extra,
        ]
    except Exception as error:
        return ["failed", type(error).__name__]


def values() -> list[list[Any]]:
    lead_to_the_servers()
    usual = dict(os.environ)
    found = []
    backends: dict[str, Any] = {}
    for case in json.load(sys.stdin):
        os.environ.update(case["environ"])
        found.append(value(case, backends))
        os.environ.clear()
        os.environ.update(usual)
    return found


if __name__ == "__main__":
    print("\n" + json.dumps({"names": names, "values": values}[sys.argv[1]]()))
