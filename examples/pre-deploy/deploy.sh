#!/bin/sh
# A pre-deploy hook in one line: checks the token and deploys with it, isolated from this machine.
set -eu
exec astro-token exec "${1:-prod}" -- astro deploy --dags
