"""Secrets, policies and logins in the test session's OpenBao, each test's own."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from astro_token.secret import SecretValue
    from tests.servers.openbao import OpenBao

SECONDS = 10.0
ROOT = Path(__file__).parents[3]


def unique(prefix: str = "t") -> str:
    return f"{prefix}-{secrets.token_hex(6)}"


def ref(text: str) -> SecretRef:
    return SecretRef.parse(text)


def fields(value: SecretValue) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value.reveal())
    return found


def failure(call: Callable[[], object]) -> AstroTokenError:
    """The error of a call, as a caller would meet it."""
    error = _raised(call)
    assert error is not None, "it should have failed"
    assert "\n" not in error.message + (error.hint or "")
    assert error.__cause__ is None
    assert error.__context__ is None
    return error.with_traceback(_without_ours(error))


def _raised(call: Callable[[], object]) -> AstroTokenError | None:
    try:
        call()
    except AstroTokenError as error:
        return error
    return None


def _without_ours(error: AstroTokenError) -> TracebackType | None:
    """The frames of the code under test: those of a test may hold what it looks for."""
    frame = error.__traceback__
    while frame is not None and "tests" in Path(frame.tb_frame.f_code.co_filename).parts:
        frame = frame.tb_next
    return frame


def mount(openbao: OpenBao, kv: str, path: str | None = None, namespace: str | None = None) -> str:
    """A KV mount of its own; returns its path."""
    path = path or unique("kv")
    openbao.api("POST", f"sys/mounts/{path}", {"type": "kv", "options": {"version": kv}}, namespace=namespace)
    if kv == "2":
        _wait_for_kv2(openbao, path, namespace)
    return path


def _wait_for_kv2(openbao: OpenBao, path: str, namespace: str | None) -> None:
    # KV 2 prepares itself after the mount is there, and answers 400 until it has done so.
    from tests.servers.openbao import OpenBaoError
    from tests.timing import wait_until

    def ready() -> bool:
        try:
            openbao.api("GET", f"{path}/config", namespace=namespace)
        except OpenBaoError:
            return False
        return True

    wait_until(ready)


def store(openbao: OpenBao, path: str, **values: Any) -> None:
    """A new version of a secret below `secret/`, of KV 2."""
    openbao.api("POST", f"secret/data/{path}", {"data": values})


def policy(openbao: OpenBao, text: str) -> str:
    name = unique("policy")
    openbao.api("PUT", f"sys/policies/acl/{name}", {"policy": text})
    return name


def token(openbao: OpenBao, text: str, **settings: Any) -> str:
    """A token with no more than this policy."""
    body = {"policies": [policy(openbao, text)], "no_default_policy": True, "ttl": "5m", **settings}
    made: str = openbao.api("POST", "auth/token/create", body)["auth"]["client_token"]
    return made


def expired(openbao: OpenBao, token: str) -> bool:
    from tests.servers.openbao import OpenBaoError

    try:
        openbao.api("POST", "auth/token/lookup", {"token": token})
    except OpenBaoError:
        return True
    return False


def approle(openbao: OpenBao, **settings: Any) -> dict[str, str]:
    """The variables of a role that may read all of `secret/`."""
    policies = policy(openbao, 'path "secret/*" { capabilities = ["create", "read", "update"] }')
    name = unique("role")
    openbao.api(
        "POST", f"auth/approle/role/{name}", {"token_policies": policies, "token_ttl": "5m", **settings}
    )
    role_id = openbao.api("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
    secret_id = openbao.api("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"]
    return {"VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id, "ROLE": name}
