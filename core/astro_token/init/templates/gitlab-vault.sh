#!/bin/sh
# Creates, for @listed@, a policy that reads one secret, and a role for the jobs of one branch and environment.
# Run it as an operator of Vault or OpenBao. The secrets are in KV 2 at secret/.
# Without ref_type a tag named @branch@ would get the token of @environment@, and without ref_protected a branch that everyone may push to.
# With protected environments (Premium), add "environment_protected": "true".
set -eu
GITLAB=@host@
@lines bound_names
AUDIENCE=@audience@  # ASTRO_TOKEN_VAULT_AUDIENCE of the job
MOUNT=jwt  # a mount serves one issuer; the job names another mount in ASTRO_TOKEN_VAULT_MOUNT
ISSUER=https://$GITLAB

@lines vault_mount
for environment in @names@; do
  case $environment in @cases@ esac
  vault policy write "@name@-$environment" - <<EOF
path "secret/data/@secret@/$environment" { capabilities = ["read"] }
EOF
  vault write "auth/$MOUNT/role/@name@-$environment" - <<EOF
{"role_type": "jwt", "user_claim": "sub", "token_policies": "@name@-$environment", "token_ttl": "10m",
 "bound_audiences": "$AUDIENCE",
 "bound_claims": {@bound_claims@, "environment": "$environment", "ref": "$branch", "ref_type": "branch",
  "ref_protected": "true", "pipeline_source": @sources@}}
EOF
done
# Then, as somebody who may write the secrets: @put@
