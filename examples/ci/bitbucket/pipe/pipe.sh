#!/usr/bin/env bash
# The entry point of a Bitbucket pipe, in an image that has astro-token, git and the Astro CLI.
# If the command contains `astro deploy`, `check --deploy` runs first, and an error stops the step.
set -euo pipefail

: "${TOKEN:?a reference such as vault:secret/astro/prod#token, or a name from astro-token.toml}"
COMMAND="${COMMAND:-astro deploy --dags}"
# Bitbucket checks out with umask 0. A project file that everyone may write is refused.
chmod -R go-w "${BITBUCKET_CLONE_DIR:-.}"
cd -- "${BITBUCKET_CLONE_DIR:-.}/${FOLDER:-.}"
set -- bash -euo pipefail -c "$COMMAND"
# Without shell syntax a deploy is started directly: then exec refuses another deployment than the token's.
case "$COMMAND" in *[!a-zA-Z0-9_./=:,@+" "-]*) ;; "astro deploy"*) set -- $COMMAND ;; esac
case "$(printf '%s ' "$COMMAND" | tr -s '[:space:]' ' ')" in *"astro deploy"[!a-z]*) astro-token check --deploy "$TOKEN" ;; esac
exec astro-token exec "$TOKEN" -- "$@"
