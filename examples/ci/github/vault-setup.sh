#!/bin/sh
# Creates, for the environments dev and prod, a policy that reads one secret, and a role for the jobs of one branch and environment.
# Run it as an operator of Vault or OpenBao. The secrets are in KV 2 at secret/.
# The environment alone is not enough: a pull request can contain a job that names it.
set -eu
ORGANIZATION_ID=123456 REPOSITORY_ID=456789  # gh api repos/acme/dags --jq '.owner.id, .id'
AUDIENCE=https://vault.example.com  # ASTRO_TOKEN_VAULT_AUDIENCE of the job
MOUNT=jwt  # a mount serves one issuer; the job names another mount in ASTRO_TOKEN_VAULT_MOUNT
ISSUER=https://token.actions.githubusercontent.com

command -v vault >/dev/null || vault() { bao "$@"; }
vault auth list | grep -q "^$MOUNT/" || vault auth enable -path="$MOUNT" jwt
case "$(vault read "auth/$MOUNT/config" 2>&1)" in
  *"No value found"*) vault write "auth/$MOUNT/config" oidc_discovery_url="$ISSUER" bound_issuer="$ISSUER" ;;
esac
if [ "$(vault read -field=bound_issuer "auth/$MOUNT/config")" != "$ISSUER" ]; then
  echo "bound_issuer of auth/$MOUNT is not $ISSUER: change MOUNT" >&2
  exit 1
fi
for environment in dev prod; do
  case $environment in dev) branch=dev ;; prod) branch=main ;; esac
  vault policy write "astro-$environment" - <<EOF
path "secret/data/astro/$environment" { capabilities = ["read"] }
EOF
  vault write "auth/$MOUNT/role/astro-$environment" - <<EOF
{"role_type": "jwt", "user_claim": "sub", "token_policies": "astro-$environment", "token_ttl": "10m",
 "bound_audiences": "$AUDIENCE",
 "bound_claims": {"repository_owner_id": "$ORGANIZATION_ID", "repository_id": "$REPOSITORY_ID",
  "environment": "$environment", "ref": "refs/heads/$branch"}}
EOF
done
# Then, as somebody who may write the secrets: astro-token put 'vault:secret/astro/dev#token', and the same for prod.
