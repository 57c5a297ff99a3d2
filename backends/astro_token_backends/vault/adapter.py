"""
The adapter through which hvac sends: hvac defines each request, transport sends it.

Importing this module loads hvac, in the command line's process without requests.
"""

from __future__ import annotations

import json
import urllib.parse  # hvac uses it and relies on requests to load it
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from astro_token.system.sdk_imports import import_sdk
from astro_token_backends.vault.errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.transport.client import Client
    from astro_token_backends.vault.settings import Settings

__all__ = ["VaultAdapter"]

# hvac uses inspect for its deprecated methods only.
_REPLACED: dict[str, tuple[str, ...]] = {"requests": ("Response",), "requests.exceptions": (), "inspect": ()}
_Adapter: Any = import_sdk("hvac.adapters", without=_REPLACED, unrun=("hvac",)).Adapter


class VaultAdapter(_Adapter):  # type: ignore[misc]
    """
    Each call is one request, and returns a JSON object.

    Attributes:
        repeatable: the requests change nothing if they are sent twice; None means as their method does.
        renew: called after the first 403; returns another token to try with, or None.
        confirm_denial: called if that token is denied too.
        renewal: returns the remedy for a token that Vault does not accept; None for the tokens of our logins.

    Raises:
        StatusError: a status of 400 or more.
        AstroTokenError: there is no response, or it is not Vault's.
    """

    def __init__(
        self, client: Client, settings: Settings, token: str, namespace: str | None, until: float
    ) -> None:
        # hvac's own __init__ opens a session of requests.
        self.token = token
        self.namespace = namespace or settings.namespace
        self._client = client
        self._settings = settings
        self._until = until
        self.repeatable: bool | None = None
        self.renew: Callable[[], str | None] | None = None
        self.confirm_denial: Callable[[], None] | None = None
        self.renewal: Callable[[], str] | None = None

    def api(self, name: str) -> Any:
        """One of hvac's classes, which sends through this adapter: `auth_methods.token:Token`."""
        module, _, class_name = f"hvac.api.{name}".partition(":")
        parents = module.split(".")[:-1]
        unrun = tuple(".".join(parents[: end + 1]) for end in range(len(parents)))
        return getattr(import_sdk(module, unrun=unrun), class_name)(self)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002 (hvac's interface)
        **options: Any,
    ) -> dict[str, Any]:
        try:
            return self._send(method, url, headers, options)
        except StatusError as refused:
            if refused.status != HTTPStatus.FORBIDDEN or self.renew is None:
                raise
            renew, self.renew = self.renew, None
            token = renew()
            if token is None:
                raise
        self.token = token
        try:
            return self._send(method, url, headers, options)
        except StatusError as refused:
            if refused.status == HTTPStatus.FORBIDDEN and self.confirm_denial is not None:
                self.confirm_denial()
            raise

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        target, body = f"{self._settings.base}{url}", None
        if options.get("params"):
            target += f"?{urllib.parse.urlencode(options['params'])}"
        own = {"X-Vault-Request": "true", "X-Vault-Token": self.token, "X-Vault-Namespace": self.namespace}
        if options.get("json") is not None:
            body = json.dumps(options["json"]).encode()
            own["Content-Type"] = "application/json"
        response = self._client.send(
            self._settings.route,
            method.upper(),
            target,
            until=self._until,
            headers={**(headers or {}), **{name: value for name, value in own.items() if value}},
            body=body,
            repeatable=self.repeatable,
        )
        if response.status == HTTPStatus.NO_CONTENT:
            return {}
        content = response.json()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise StatusError(response, content, self.renewal)
        if response.status >= HTTPStatus.MULTIPLE_CHOICES or content is None:
            raise response.failure() or response.damaged()
        return content

    def get_login_token(self, response: dict[str, Any]) -> str:  # noqa: ARG002 (hvac's interface)
        return ""  # `parse_login` reads the response itself
