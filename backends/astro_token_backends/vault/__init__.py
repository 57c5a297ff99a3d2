"""HashiCorp Vault and OpenBao: secrets of the KV engines, keys of the transit engine."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LOGGERS", "SCHEMES"]

# The logins by aws and gcp sign with the SDKs of AWS and Google.
LOGGERS = ("hvac", "botocore", "google", "urllib3")
_SERVICE: dict[str, Any] = {
    "extra": "vault",
    "sdk": "hvac",
    "distributions": ("hvac",),
    "loggers": LOGGERS,
    "credentials": tuple(
        f"{prefix}_{name}"
        for prefix in ("VAULT", "BAO")  # OpenBao's own program reads its names first
        for name in (
            "TOKEN",
            "ROLE_ID",
            "SECRET_ID",
            "WRAPPED_SECRET_ID",
            "USERNAME",
            "PASSWORD",
            "CLIENT_CERT",
            "CLIENT_KEY",
        )
    ),
    "settings": (
        "VAULT_ADDR",
        "VAULT_NAMESPACE",
        "VAULT_CACERT",
        "VAULT_CAPATH",
        "VAULT_SKIP_VERIFY",
        "BAO_ADDR",
        "ASTRO_TOKEN_VAULT_AUDIENCE",
        "ASTRO_TOKEN_VAULT_AUTH",
        "ASTRO_TOKEN_VAULT_MOUNT",
        "ASTRO_TOKEN_VAULT_ROLE",
    ),
    "prefixes": ("VAULT_", "BAO_"),
}
_SEGMENT = r"[A-Za-z0-9_.-]{1,128}"
_ANY_SEGMENT = r"(?:[A-Za-z0-9_.-]|%[0-9A-F]{2}){1,128}"
_NAMESPACE_SEGMENT = rf"(?!\.\.?(?:/|$)){_SEGMENT}"
_NAMESPACE = rf"{_NAMESPACE_SEGMENT}(?:/{_NAMESPACE_SEGMENT})*/?"
# Vault's own paths serve logins and the seal, and contain no secret.
_OWN = "(?:sys|auth|identity|cubbyhole)/"

SCHEMES = {
    "vault": Scheme(
        backend="astro_token_backends.vault.kv:KeyValue",
        description="HashiCorp Vault or OpenBao, KV 1 and 2",
        form="MOUNT/PATH",
        example="vault:secret/astro/prod#token",
        grammar=(rf"(?!{_OWN}){_ANY_SEGMENT}(?:/{_ANY_SEGMENT})+",),
        encoded=r"[^A-Za-z0-9_./-]",
        options={"version": r"[1-9]\d{0,9}", "namespace": _NAMESPACE, "kv": "[12]"},
        version_option="version",
        pinning_options=("version",),
        canonical="astro_token_backends.vault.kv:canonical",
        rotation_suffix="-rotation",
        **_SERVICE,
    ),
    "vault-transit": Scheme(
        backend="astro_token_backends.vault.transit:Transit",
        description="a key of Vault's or OpenBao's transit engine",
        form="KEY or MOUNT/KEY",
        example="vault-transit:astro",
        # Vault's own paths may not follow a namespace either.
        grammar=(rf"(?!(?:[^/]+/)*{_OWN}){_SEGMENT}(?:/{_SEGMENT})*",),
        options={"namespace": _NAMESPACE},
        key=True,
        **_SERVICE,
    ),
}
