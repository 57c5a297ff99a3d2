#!/bin/sh
# Creates, for @listed@, a key, and a file with the token, which only that key decrypts.
# The key becomes a secret of the environment in GitHub. Run @environments_script@ before: else a job of any branch that names
# the environment gets the key. Commit the files. Keep the keys: without them the files are lost.
# age-keygen is a program of age, gh GitHub's.
set -eu
@if self_managed
export GH_HOST=@host@
@end
ORGANIZATION=@organization@ REPOSITORY=@repository@

unset ASTRO_TOKEN_AGE_KEY
for environment in @names@; do
  key="$HOME/@name@-$environment.key"
  [ -e "$key" ] || age-keygen -o "$key"
  ASTRO_TOKEN_AGE_KEY_FILE="$key" astro-token put "file:$environment.token.age"  # prompts for the token
  grep '^AGE-SECRET-KEY-' "$key" | gh secret set ASTRO_TOKEN_AGE_KEY --repo "$ORGANIZATION/$REPOSITORY" --env "$environment"
done
