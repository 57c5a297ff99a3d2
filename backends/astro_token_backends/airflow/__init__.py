"""Variables and connections in the secrets backend that Airflow is configured with."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

__all__ = ["SCHEMES"]

SCHEMES = {
    "airflow": Scheme(
        backend="astro_token_backends.airflow.client:Airflow",
        description="a variable or a connection in the secrets backend of Airflow",
        form="variable/NAME or connection/ID",
        example="airflow:connection/astro",
        grammar=(r"(?:variable|connection)/[^\x00-\x1f\x7f]+",),
        # These hold logins of the service; so does each AIRFLOW__SECRETS__BACKEND_KWARG__….
        credentials=("AIRFLOW__SECRETS__BACKEND_KWARGS",),
        settings=("AIRFLOW__SECRETS__BACKEND",),
        prefixes=("AIRFLOW__SECRETS__",),
    )
}
