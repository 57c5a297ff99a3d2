"""Variables and connections in the secrets backend that Airflow is configured with."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

__all__ = ["SCHEMES", "SECRETS", "WORKERS"]

# The variables of Airflow's two sections: the class, its arguments, and the beginning of a variable for one
# argument (since Airflow 3.2). A task reads those of its workers first.
WORKERS = (
    "AIRFLOW__WORKERS__SECRETS_BACKEND",
    "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS",
    "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__",
)
SECRETS = (
    "AIRFLOW__SECRETS__BACKEND",
    "AIRFLOW__SECRETS__BACKEND_KWARGS",
    "AIRFLOW__SECRETS__BACKEND_KWARG__",
)

SCHEMES = {
    "airflow": Scheme(
        backend="astro_token_backends.airflow.client:Airflow",
        description="a variable or a connection in the secrets backend of Airflow",
        form="variable/NAME or connection/ID",
        example="airflow:connection/astro",
        grammar=(r"(?:variable|connection)/[^\x00-\x1f\x7f]+",),
        # These hold logins of the service.
        credentials=(SECRETS[1], WORKERS[1]),
        further_credentials=lambda environ: [
            name for name in environ if name.startswith((SECRETS[2], WORKERS[2]))
        ],
        settings=(SECRETS[0], WORKERS[0], "AIRFLOW__CORE__MULTI_TEAM", "AIRFLOW_CONFIG", "AIRFLOW_HOME"),
        prefixes=("AIRFLOW__SECRETS__", "AIRFLOW__WORKERS__SECRETS_"),
    )
}
