"""From a credential in the environment to a token."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astro_token.errors import AccessDeniedError, ConfigError, IntegrityError
from astro_token.secret import SecretValue
from astro_token_backends.vault.refusals import StatusError
from astro_token_backends.vault.settings import path_from, text_from

__all__ = ["Login", "log_in"]

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_SECRET_IDS = ("VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID")
_LATER = ("ldap", "aws", "gcp", "azure")
# What an unset ASTRO_TOKEN_VAULT_AUTH means, by the variables that are set; the first wins.
_BY_VARIABLES = {
    "token": ("VAULT_TOKEN",),
    "approle": ("VAULT_ROLE_ID",),
    "jwt": ("ASTRO_TOKEN_VAULT_ROLE",),  # and an identity of the CI system, which is looked for then
}
_TO_LOG_IN = 0.2  # seconds that are left for Vault where the identity took all others
_MARGIN = 5.0  # a token that is about to end would end between two requests

Environ = Mapping[str, str]
Client = Callable[[str], Any]  # for a token, which may be empty


@dataclass(frozen=True, slots=True)
class Login:
    """
    Attributes:
        token: what requests carry.
        ends: when its lease is over, on the monotonic clock; None where it is not known to end.
        revocable: our login made it, and it can be revoked.
    """

    token: SecretValue
    ends: float | None = None
    revocable: bool = False

    def is_over(self) -> bool:
        return self.ends is not None and time.monotonic() >= self.ends


def log_in(environ: Environ, client: Client, unwrapped: dict[str, SecretValue], until: float) -> Login:
    """
    Args:
        environ: where the credential is.
        client: makes an `hvac.Client` with a token.
        unwrapped: keeps what came out of a wrapping token, which cannot be used again.
        until: the end of the time for it, on the monotonic clock.

    Raises:
        AstroTokenError: there is no usable credential, it was refused, or Vault did not answer.
    """
    method = _method(environ)
    if method == "token":
        return Login(SecretValue(_given_token(environ).encode()))
    mount = path_from(environ, "ASTRO_TOKEN_VAULT_MOUNT") or method
    started = time.monotonic()
    try:
        answer = _METHODS[method](_Asked(environ, client, mount, unwrapped, until))
    except StatusError as refused:
        hint = f"see that auth/{mount} is the mount, and that role and credential are right and not used up"
        if method == "approle" and not any(text_from(environ, name) for name in _SECRET_IDS):
            hint = "VAULT_SECRET_ID is not set, or is empty, as secrets are in the jobs of a fork"
        if refused.explained:
            raise AccessDeniedError(f"Vault refuses the login by {method}", hint=hint) from None
        raise refused.translated(hint) from None
    return _login(answer, method, started)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a method may need."""

    environ: Environ
    client: Client
    mount: str
    unwrapped: dict[str, SecretValue]
    until: float


def _method(environ: Environ) -> str:
    asked = environ.get("ASTRO_TOKEN_VAULT_AUTH", "").strip()
    known = ", ".join(("token", *_METHODS))
    if asked in _LATER:
        raise ConfigError(f"the Vault login {asked} is not built yet", hint=f"there are {known}")
    if asked:
        if asked not in {"token", *_METHODS}:
            raise ConfigError("ASTRO_TOKEN_VAULT_AUTH names no login method", hint=f"there are {known}")
        return asked
    for method, variables in _BY_VARIABLES.items():
        if all(text_from(environ, name) for name in variables):
            return method
    raise AccessDeniedError(
        "no usable credential for Vault",
        hint="looked for VAULT_TOKEN, VAULT_ROLE_ID, ASTRO_TOKEN_VAULT_ROLE with the CI system's identity "
        "or ASTRO_TOKEN_ID_TOKEN; "
        "other logins, and the token that `vault login` leaves, are chosen by ASTRO_TOKEN_VAULT_AUTH",
    )


def _given_token(environ: Environ) -> str:
    token = text_from(environ, "VAULT_TOKEN") or _from_file(
        Path(environ.get("HOME") or "/nonexistent") / ".vault-token",
        "VAULT_TOKEN is not set, and there is no token of `vault login`",
        hint="set VAULT_TOKEN, or log in with `vault login`",
    )
    return _header(token, "the Vault token")


def _approle(asked: _Asked) -> Any:
    role_id = _required(asked.environ, "VAULT_ROLE_ID", "approle")
    wrapped = text_from(asked.environ, "VAULT_WRAPPED_SECRET_ID")
    secret_id = (
        _unwrapped(wrapped, asked.client, asked.unwrapped)
        if wrapped
        else text_from(asked.environ, "VAULT_SECRET_ID")
    )
    return asked.client("").auth.approle.login(role_id, secret_id, mount_point=asked.mount)


def _unwrapped(wrapped: str, client: Client, unwrapped: dict[str, SecretValue]) -> str:
    name = hashlib.sha256(wrapped.encode()).hexdigest()
    if name not in unwrapped:
        try:
            answer = client(_header(wrapped, "VAULT_WRAPPED_SECRET_ID")).sys.unwrap()
        except StatusError as refused:
            hint = (
                "a wrapping token works once and not for long: make a new one; "
                "if nobody here has used it, its secret id may be stolen, and has to be destroyed"
            )
            if refused.explained:
                raise AccessDeniedError("Vault does not unwrap VAULT_WRAPPED_SECRET_ID", hint=hint) from None
            raise refused.translated(hint) from None
        secret_id = _text(answer, "data", "secret_id")
        if secret_id is None:
            raise AccessDeniedError(
                "VAULT_WRAPPED_SECRET_ID wraps something else than a secret id",
                hint="make it with `vault write -wrap-ttl=… -f auth/approle/role/ROLE/secret-id`",
            )
        unwrapped[name] = SecretValue(secret_id.encode())
    return unwrapped[name].reveal().decode()


def _jwt(asked: _Asked) -> Any:
    from astro_token.identity import ci_identity, identity_hint

    identity = ci_identity(
        text_from(asked.environ, "ASTRO_TOKEN_VAULT_AUDIENCE"),
        environ=asked.environ,
        timeout=asked.until - time.monotonic() - _TO_LOG_IN,
    )
    if identity is None:
        raise AccessDeniedError(
            "no usable credential for Vault: the login by jwt needs ASTRO_TOKEN_ID_TOKEN, "
            "or the identity that a CI system gives a job",
            hint=identity_hint(asked.environ)
            or "set ASTRO_TOKEN_ID_TOKEN to the token that the CI system gives the job",
        )
    role = text_from(asked.environ, "ASTRO_TOKEN_VAULT_ROLE")
    return asked.client("").auth.jwt.jwt_login(role, identity.reveal().decode(), path=asked.mount)


def _kubernetes(asked: _Asked) -> Any:
    role = _required(asked.environ, "ASTRO_TOKEN_VAULT_ROLE", "kubernetes")
    token = _from_file(
        Path(text_from(asked.environ, "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE") or _SERVICE_ACCOUNT),
        "the login by kubernetes finds no token of a service account",
        hint="run in a pod with a service account, or set ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
    )
    return asked.client("").auth.kubernetes.login(role, token, mount_point=asked.mount)


def _userpass(asked: _Asked) -> Any:
    user = _required(asked.environ, "VAULT_USERNAME", "userpass")
    # It becomes a part of the path; Vault takes no other names either.
    if not re.fullmatch(r"\w(?:[\w.@-]*\w)?", user, re.ASCII):
        raise ConfigError(
            "VAULT_USERNAME is no user name of Vault", hint="letters, digits, _ . @ and - are allowed"
        )
    password = _required(asked.environ, "VAULT_PASSWORD", "userpass")
    return asked.client("").auth.userpass.login(user, password, mount_point=asked.mount)


def _cert(asked: _Asked) -> Any:
    _required(asked.environ, "VAULT_CLIENT_CERT", "cert")  # the session shows it already
    return asked.client("").auth.cert.login(
        name=text_from(asked.environ, "ASTRO_TOKEN_VAULT_ROLE") or "", mount_point=asked.mount
    )


_METHODS: Mapping[str, Callable[[_Asked], Any]] = {
    "approle": _approle,
    "jwt": _jwt,
    "kubernetes": _kubernetes,
    "userpass": _userpass,
    "cert": _cert,
}


def _login(answer: Any, method: str, started: float) -> Login:
    token = _text(answer, "auth", "client_token")
    if token is None:
        auth = answer.get("auth")
        if isinstance(auth, dict) and auth.get("mfa_requirement"):
            raise AccessDeniedError(
                f"the login by {method} wants a second factor",
                hint="use a login that needs none for a machine",
            )
        raise IntegrityError(
            "the answer to the login holds no token", hint="see that VAULT_ADDR names Vault itself"
        )
    auth = answer["auth"]
    lease = auth.get("lease_duration")
    ends = None
    if isinstance(lease, int) and lease > 0:
        ends = started + max(lease - _MARGIN, lease / 2)
    # A batch token is no record in Vault: there is nothing to revoke.
    revocable = auth.get("token_type") != "batch"
    return Login(SecretValue(_header(token, "the token of the login").encode()), ends, revocable)


def _required(environ: Environ, name: str, method: str) -> str:
    value = text_from(environ, name)
    if value is None:
        raise AccessDeniedError(
            f"no usable credential for Vault: the login by {method} needs {name}", hint=f"set {name}"
        )
    return value


def _from_file(path: Path, missing: str, hint: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        text = ""
    if not text:
        raise AccessDeniedError(missing, hint=hint)
    return text


def _header(token: str, what: str) -> str:
    token = token.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise ConfigError(f"{what} contains a character that no token has", hint="set it again, as one line")
    return token


def _text(answer: Any, *path: str) -> str | None:
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer if isinstance(answer, str) and answer else None
