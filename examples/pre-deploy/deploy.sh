#!/bin/sh
# A pre-deploy hook in one line: checks the token and deploys with it, isolated from this machine.
# `deploy.sh`, or `deploy.sh staging cldep…`
set -eu
exec astro-token exec "${1:-prod}" -- astro deploy --dags "${2:-cldep00000000000000000}"
