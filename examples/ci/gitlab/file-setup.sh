#!/bin/sh
# Creates, for the environments dev and prod, a key, and a file with the token, which only that key decrypts.
# The key becomes a protected variable of the environment in GitLab: a job of every protected branch that names the environment
# gets it, so protect the environments too, if GitLab offers that, or let the same people push to all these branches.
# Commit the files. Keep the keys: without them the files are lost. age-keygen is a program of age, glab GitLab's.
set -eu
PROJECT=acme/dags

unset ASTRO_TOKEN_AGE_KEY
for environment in dev prod; do
  key="$HOME/astro-$environment.key"
  [ -e "$key" ] || age-keygen -o "$key"
  ASTRO_TOKEN_AGE_KEY_FILE="$key" astro-token put "file:$environment.token.age"  # prompts for the token
  grep '^AGE-SECRET-KEY-' "$key" | glab variable set ASTRO_TOKEN_AGE_KEY --repo "$PROJECT" --scope "$environment" --masked --protected
done
