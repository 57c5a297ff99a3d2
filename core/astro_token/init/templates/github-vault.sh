#!/bin/sh
# Creates, for @listed@, a policy that reads one secret, and a role for the jobs of one branch and environment.
# Run it as an operator of Vault or OpenBao. The secrets are in KV 2 at secret/.
# The environment alone is not enough: a pull request can contain a job that names it.
set -eu
@lines bound_names
AUDIENCE=@audience@  # ASTRO_TOKEN_VAULT_AUDIENCE of the job
MOUNT=jwt  # a mount serves one issuer; the job names another mount in ASTRO_TOKEN_VAULT_MOUNT
ISSUER=@issuer@

@lines vault_mount
for environment in @names@; do
  case $environment in @cases@ esac
  vault policy write "@name@-$environment" - <<EOF
path "secret/data/@secret@/$environment" { capabilities = ["read"] }
EOF
  vault write "auth/$MOUNT/role/@name@-$environment" - <<EOF
{"role_type": "jwt", "user_claim": "sub", "token_policies": "@name@-$environment", "token_ttl": "10m",
 "bound_audiences": "$AUDIENCE",
 "bound_claims": {@bound_claims@,
  "environment": "$environment", "ref": "refs/heads/$branch"}}
EOF
done
# Then, as somebody who may write the secrets: @put@
