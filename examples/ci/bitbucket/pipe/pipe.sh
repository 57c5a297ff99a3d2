#!/usr/bin/env bash
# The entry point of a Bitbucket pipe, in an image that has astro-token and the Astro CLI.
set -euo pipefail

: "${TOKEN:?a reference such as vault:secret/astro/prod#token, or a name from astro-token.toml}"
cd "${BITBUCKET_CLONE_DIR:-.}"
exec astro-token exec "$TOKEN" -- bash -euo pipefail -c "${COMMAND:-astro deploy --dags}"
