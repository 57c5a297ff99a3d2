"""Create sessions of botocore: without its HTTP library, and with one attempt per request."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from astro_token.system.sdk_imports import import_sdk
from astro_token.transport.address import checked_address
from astro_token_backends.aws.endpoint import LOGIN_ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["client_config", "import_botocore", "new_session"]

# Ours, and those that the credential chain may call. Botocore would look through 440 folders for more.
_SERVICES = ("kms", "secretsmanager", "ssm", "sts", "sso", "sso-oidc", "signin")
_REPLACED = {
    "urllib3.util": (),
    "urllib3.connection": ("HTTPConnection", "VerifiedHTTPSConnection"),
    "urllib3.connectionpool": ("HTTPConnectionPool", "HTTPSConnectionPool"),
    "botocore.httpsession": ("URLLib3Session",),
    "botocore.docs.docstring": ("ClientMethodDocstring", "PaginatorDocstring", "WaiterDocstring"),
    "jmespath": (),
}
# Timeouts and retries are ours; a wrong value of the rest, which no request of ours depends on, does no harm.
_FIXED = {
    "defaults_mode": "legacy",
    "metadata_service_timeout": 1,
    "metadata_service_num_attempts": 1,
    "max_attempts": 1,
    "retry_mode": "standard",
    "csm_enabled": False,  # it sends the names of operations to a host of the environment's choice
    "account_id_endpoint_mode": "preferred",
    "request_checksum_calculation": "when_supported",
    "response_checksum_validation": "when_supported",
    "request_min_compression_size_bytes": 10240,
}
_UNRUN = ("urllib3", "botocore.docs")


def import_botocore() -> Any:
    """
    Import `botocore.session`.

    Raises:
        ImportError: botocore is not installed.
    """
    module = import_sdk("botocore.session", without=_REPLACED, unrun=_UNRUN)
    package = sys.modules["botocore"]
    if "botocore.httpsession" not in sys.modules:
        # The credential chain creates two sessions when it is built, which `MetadataSession` replaces.
        package.httpsession = SimpleNamespace(URLLib3Session=lambda *_, **__: None)  # type: ignore[attr-defined]
    return module


def new_session(profile: str = "") -> Any:
    """
    Create a session that reads the environment and the profile's files.

    Args:
        profile: in place of the environment's profile and keys.
    """
    sdk = import_botocore().Session(profile=profile or None)
    data_path = sdk.get_config_variable("data_path")
    paths = [os.path.expanduser(path) for path in data_path.split(os.pathsep)] if data_path else []  # noqa: PTH111
    sdk.register_component("data_loader", _loader(paths))
    for name, value in _FIXED.items():
        sdk.set_config_variable(name, value)
    if "AWS_EC2_METADATA_V1_DISABLED" not in os.environ:
        # Falling back to the first version is unsafe, and doubles the second that it takes
        # to find out that this is not an instance.
        sdk.set_config_variable("ec2_metadata_v1_disabled", True)
    # The clients of the credential chain follow the environment's addresses, but not those of a profile.
    for each in sdk.full_config.get("profiles", {}).values():
        each.pop("endpoint_url", None)
        each.pop("services", None)
    for name in LOGIN_ENDPOINTS:
        if os.environ.get(name):
            checked_address(os.environ[name], name)
    sdk.set_default_client_config(client_config(ignore_configured_endpoint_urls=False))
    return sdk


def client_config(**options: Any) -> Any:
    from botocore.config import Config

    # The environment's address is passed to each client.
    options = {"ignore_configured_endpoint_urls": True, **options}
    return Config(retries={"total_max_attempts": 1, "mode": "standard"}, **options)


def _loader(paths: list[str]) -> Any:
    from botocore.loaders import Loader

    class ShortLoader(Loader):  # type: ignore[misc]
        """Load no data of other services."""

        def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 (botocore's interface)
            return list(_SERVICES)

        def load_data_with_path(self, name: str) -> tuple[Any, str]:
            if name != "endpoints" or paths:
                return super().load_data_with_path(name)  # type: ignore[no-any-return]
            partitions, path = super().load_data_with_path("partitions")
            return {"version": 3, "partitions": list(_without_services(partitions))}, path

    return ShortLoader(extra_search_paths=paths)


def _without_services(partitions: Any) -> Iterator[dict[str, Any]]:
    """
    Build the content of `endpoints.json`, without its services, from the list of partitions.

    That file takes a seventh of a read to parse, and each service has rules of its own for its endpoint.
    """
    for partition in partitions["partitions"]:
        outputs = partition["outputs"]
        suffix, both = outputs["dnsSuffix"], outputs["dualStackDnsSuffix"]
        name, fips = "{service}.{region}.{dnsSuffix}", "{service}-fips.{region}.{dnsSuffix}"
        variants = [
            {"tags": ["fips"], "hostname": fips, "dnsSuffix": suffix},
            {"tags": ["dualstack"], "hostname": name, "dnsSuffix": both},
            {"tags": ["dualstack", "fips"], "hostname": fips, "dnsSuffix": both},
        ]
        defaults = {
            "hostname": name,
            "protocols": ["https"],
            "signatureVersions": ["v4"],
            "variants": variants,
        }
        yield {
            "partition": partition["id"],
            "dnsSuffix": suffix,
            "regionRegex": partition["regionRegex"],
            "regions": partition["regions"],
            "services": {},
            "defaults": defaults,
        }
