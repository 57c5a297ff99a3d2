#!/bin/sh
# Passes a token from an encrypted file to the environment of a command. Run by `make demo`.
# The token is invented, and all files are in a folder that is removed at the end.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
HOME=$folder XDG_CONFIG_HOME=$folder/config
export HOME XDG_CONFIG_HOME
unset ASTRO_API_TOKEN ASTRO_TOKEN_REF ASTRO_TOKEN_AGE_KEY ASTRO_TOKEN_AGE_KEY_FILE

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '$ %s\n' "$*"; }

token=$(python -c 'from astro_token.testing import make_token; print(make_token())')

step '1. put encrypts the token into a file, which you can commit with the DAGs'
show 'astro-token put --create-key file:prod.token.age < the-token'
printf '%s\n' "$token" | astro-token put --create-key file:prod.token.age
show 'head -n 2 prod.token.age'
head -n 2 prod.token.age

step '2. check reports on the token without showing it'
show 'astro-token check file:prod.token.age'
astro-token check file:prod.token.age

step '3. exec gives the token to a command, with a private home'
show 'astro-token exec file:prod.token.age -- sh -c "…"'
# shellcheck disable=SC2016
astro-token exec file:prod.token.age -- sh -c '
  echo "the child has a token of ${#ASTRO_API_TOKEN} characters, and ASTRO_HOME=$ASTRO_HOME"
  sed "s/^/    /" "$ASTRO_HOME/.astro/config.yaml"
  printf "%s" "$ASTRO_HOME" > home'

step '4. Nothing remains afterwards'
if [ -e "$(cat home)" ]; then echo 'the home is still there'; exit 1; fi
echo 'the private home is gone, and no file here contains the token in clear text:'
show 'grep -rl "$ASTRO_API_TOKEN" . || echo none'
if grep -rlF "$token" .; then exit 1; else echo none; fi
printf '\ndone: README.md shows the same with Vault and in CI\n'
