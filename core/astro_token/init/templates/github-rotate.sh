#!/bin/sh
# Creates a policy that rotates tokens, and a role for the scheduled job of rotate.yml.
# Run it as an operator of Vault or OpenBao. The secrets are in KV 2 at secret/.
# The environment alone is not enough: a pull request can contain a job that names it.
set -eu
@lines bound_names
SECRETS="@secrets@"  # those of ASTRO_TOKEN_POLICY_REF, without the mount secret/
ADMIN=@secret@/admin  # that of ASTRO_TOKEN_ADMIN_REF
AUDIENCE=@audience@  # ASTRO_TOKEN_VAULT_AUDIENCE of the job
MOUNT=jwt  # a mount serves one issuer; the job names another mount in ASTRO_TOKEN_VAULT_MOUNT
ISSUER=@issuer@

@lines vault_mount
@lines vault_rotate
vault write "auth/$MOUNT/role/@name@-rotate" - <<EOF
{"role_type": "jwt", "user_claim": "sub", "token_policies": "@name@-rotate", "token_ttl": "60m",
 "bound_audiences": "$AUDIENCE",
 "bound_claims": {@bound_claims@,
  "environment": "rotate", "ref": "refs/heads/main"}}
EOF
# Then, as somebody who may write the secret: astro-token put 'vault:secret/@secret@/admin#token', for the token that manages the others.
