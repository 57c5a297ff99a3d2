command -v vault >/dev/null || vault() { bao "$@"; }
vault auth list | grep -q "^$MOUNT/" || vault auth enable -path="$MOUNT" jwt
case "$(vault read "auth/$MOUNT/config" 2>&1)" in
  *"No value found"*) vault write "auth/$MOUNT/config" oidc_discovery_url="$ISSUER" bound_issuer="$ISSUER" ;;
esac
if [ "$(vault read -field=bound_issuer "auth/$MOUNT/config")" != "$ISSUER" ]; then
  echo "bound_issuer of auth/$MOUNT is not $ISSUER: change MOUNT" >&2
  exit 1
fi
