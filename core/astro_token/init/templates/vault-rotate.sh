# A path that ends with -rotation is the record of a rotation.
vault policy write @name@-rotate - <<EOF
$(for secret in $SECRETS; do
  for path in "$secret" "$secret-rotation"; do
    echo "path \"secret/data/$path\" { capabilities = [\"read\", \"create\", \"update\"] }"
  done
done)
path "secret/data/$ADMIN" { capabilities = ["read"] }
EOF
