#!/bin/sh
# Creates a policy that rotates tokens, and a role for the scheduled job of rotate.yml.
# Run it as an operator of Vault or OpenBao. The secrets are in KV 2 at secret/.
# Only scheduled pipelines of the protected branch main may log in.
set -eu
GITLAB=gitlab.example.com
PROJECT_ID=4242  # the settings of the project show it
SECRETS="astro/dev astro/prod"  # those of ASTRO_TOKEN_POLICY_REF, without the mount secret/
ADMIN=astro/admin  # that of ASTRO_TOKEN_ADMIN_REF
AUDIENCE=https://vault.example.com  # ASTRO_TOKEN_VAULT_AUDIENCE of the job
MOUNT=jwt  # a mount serves one issuer; the job names another mount in ASTRO_TOKEN_VAULT_MOUNT
ISSUER=https://$GITLAB

command -v vault >/dev/null || vault() { bao "$@"; }
vault auth list | grep -q "^$MOUNT/" || vault auth enable -path="$MOUNT" jwt
case "$(vault read "auth/$MOUNT/config" 2>&1)" in
  *"No value found"*) vault write "auth/$MOUNT/config" oidc_discovery_url="$ISSUER" bound_issuer="$ISSUER" ;;
esac
if [ "$(vault read -field=bound_issuer "auth/$MOUNT/config")" != "$ISSUER" ]; then
  echo "bound_issuer of auth/$MOUNT is not $ISSUER: change MOUNT" >&2
  exit 1
fi
# A path that ends with -rotation is the record of a rotation.
vault policy write astro-rotate - <<EOF
$(for secret in $SECRETS; do
  for path in "$secret" "$secret-rotation"; do
    echo "path \"secret/data/$path\" { capabilities = [\"read\", \"create\", \"update\"] }"
  done
done)
path "secret/data/$ADMIN" { capabilities = ["read"] }
EOF
vault write "auth/$MOUNT/role/astro-rotate" - <<EOF
{"role_type": "jwt", "user_claim": "sub", "token_policies": "astro-rotate", "token_ttl": "60m",
 "bound_audiences": "$AUDIENCE",
 "bound_claims": {"project_id": "$PROJECT_ID", "environment": "rotate", "ref": "main", "ref_type": "branch",
  "ref_protected": "true", "pipeline_source": "schedule"}}
EOF
# Then, as somebody who may write the secret: astro-token put 'vault:secret/astro/admin#token', for the token that manages the others.
