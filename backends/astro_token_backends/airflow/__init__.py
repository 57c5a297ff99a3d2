"""Variables and connections in the secrets backend that Airflow is configured with."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

__all__ = ["BACKEND", "KWARG", "KWARGS", "SCHEMES"]

BACKEND = "AIRFLOW__SECRETS__BACKEND"
KWARGS = "AIRFLOW__SECRETS__BACKEND_KWARGS"
KWARG = "AIRFLOW__SECRETS__BACKEND_KWARG__"  # and a key: since Airflow 3.2

SCHEMES = {
    "airflow": Scheme(
        backend="astro_token_backends.airflow.client:Airflow",
        description="a variable or a connection in the secrets backend of Airflow",
        form="variable/NAME or connection/ID",
        example="airflow:connection/astro",
        grammar=(r"(?:variable|connection)/[^\x00-\x1f\x7f]+",),
        # These hold logins of the service.
        credentials=(KWARGS,),
        further_credentials=lambda environ: [name for name in environ if name.startswith(KWARG)],
        settings=(BACKEND,),
        prefixes=("AIRFLOW__SECRETS__",),
    )
}
