"""Google Cloud: secrets of Secret Manager, parameters of Parameter Manager, keys of Cloud KMS."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LOGGERS", "SCHEMES"]

LOGGERS = ("google", "grpc", "requests", "urllib3")
_SERVICE: dict[str, Any] = {
    "extra": "gcp",
    "sdk": "google.cloud.secretmanager",
    "distributions": ("google-cloud-secret-manager", "google-cloud-kms", "google-auth", "grpcio"),
    "loggers": LOGGERS,
    "credentials": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_GHA_CREDS_PATH",
        "GOOGLE_API_CERTIFICATE_CONFIG",
        "CLOUDSDK_CONFIG",
        "CLOUDSDK_AUTH_ACCESS_TOKEN",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
        "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
    ),
    "settings": (
        "GCE_METADATA_HOST",
        "GCE_METADATA_IP",
        "GCE_METADATA_ROOT",
        "GCE_METADATA_TIMEOUT",
        "GOOGLE_API_USE_CLIENT_CERTIFICATE",
        "GOOGLE_API_USE_MTLS_ENDPOINT",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "GRPC_TRACE",
        "GRPC_VERBOSITY",
        "NO_GCE_CHECK",
        "ASTRO_TOKEN_GCP_AUDIENCE",
        "ASTRO_TOKEN_GCP_ENDPOINT",
        "ASTRO_TOKEN_GCP_IAM_ENDPOINT",
        "ASTRO_TOKEN_GCP_KMS_ENDPOINT",
        "ASTRO_TOKEN_GCP_PM_ENDPOINT",
        "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT",
        "ASTRO_TOKEN_GCP_STS_ENDPOINT",
        "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER",
    ),
    "prefixes": ("GOOGLE_", "CLOUDSDK_", "GCE_METADATA_", "NO_GCE_CHECK", "GRPC_"),
}
_PROJECT = r"[a-z0-9](?:[a-z0-9.:-]{0,98}[a-z0-9])?"
_SECRET = r"[A-Za-z0-9_-]{1,255}"
_VERSION = r"(?:latest|[1-9]\d{0,9}|[A-Za-z][A-Za-z0-9_-]{0,62})"
_LOCATION = r"[a-z0-9-]{1,63}"
_PARAMETER = r"[A-Za-z0-9_-]{1,63}"  # and its versions
_KEY = r"[A-Za-z0-9_-]{1,63}"

SCHEMES = {
    "gcp": Scheme(
        backend="astro_token_backends.gcp.secret_manager:SecretManager",
        description="Google Cloud Secret Manager",
        form="PROJECT/SECRET or projects/…/secrets/…",
        example="gcp:my-project/astro-prod",
        grammar=(
            rf"(?!projects/){_PROJECT}/{_SECRET}",
            rf"projects/{_PROJECT}(?:/locations/{_LOCATION})?/secrets/{_SECRET}(?:/versions/{_VERSION})?",
        ),
        options={"version": _VERSION},
        version_option="version",
        pinning_options=("version",),
        pins=r"/versions/(?!latest$)",
        canonical="astro_token_backends.gcp.secret_manager:canonical",
        rotation_suffix="-rotation",
        added_end="(.+)/versions/latest",
        **_SERVICE,
    ),
    "gcp-pm": Scheme(
        backend="astro_token_backends.gcp.parameter_manager:ParameterManager",
        description="Google Cloud Parameter Manager, rendered",
        form="PROJECT/PARAMETER?version=V or projects/…/versions/V",
        example="gcp-pm:my-project/astro-prod?version=v1",
        grammar=(
            rf"(?!projects/){_PROJECT}/{_PARAMETER}",
            rf"projects/{_PROJECT}/locations/{_LOCATION}/parameters/{_PARAMETER}(?:/versions/{_PARAMETER})?",
        ),
        options={"version": _PARAMETER, "location": _LOCATION},
        version_option="version",
        pinning_options=("version",),
        pins="/versions/",
        **{
            **_SERVICE,
            "sdk": "google.cloud.parametermanager",
            "distributions": ("google-cloud-parametermanager", "google-auth", "grpcio"),
        },
    ),
    "gcp-kms": Scheme(
        backend="astro_token_backends.gcp.kms:KMS",
        description="a key of Google Cloud KMS",
        form="projects/…/locations/…/keyRings/…/cryptoKeys/…",
        example="gcp-kms:projects/p/locations/europe-west1/keyRings/r/cryptoKeys/astro",
        grammar=(rf"projects/{_PROJECT}/locations/{_LOCATION}/keyRings/{_KEY}/cryptoKeys/{_KEY}",),
        options={"context.": r"[^\x00-\x1f\x7f]+"},
        key=True,
        **_SERVICE,
    ),
}
