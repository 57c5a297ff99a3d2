#!/bin/sh
# Creates, for @listed@, a secret, and an application that reads it, for the jobs of one environment.
# Run @environments_script@ too: the subject names the environment, and not the branch.
@if identifiers
# Remove the form of the subject that your repository does not have: one that was created, renamed or moved since
# 15 July 2026 has the one with identifiers.
@end
@unless identifiers
# A repository that was created, renamed or moved since 15 July 2026 has another subject, with identifiers of the owner and
# the repository: give them to astro-token init as --owner-id and --repository-id.
@end
# Remove the commands that create what you have already.
set -eu
ORGANIZATION=@organization@ REPOSITORY=@repository@
@if identifiers
ORGANIZATION_ID=@owner_id@ REPOSITORY_ID=@repository_id@  # gh api repos/@path@ --jq '.owner.id, .id'
@end
KEY_VAULT=@key_vault@

trust() {
  az ad app federated-credential create --id "$client" --parameters "{
    \"name\": \"github-$1\", \"issuer\": \"@issuer@\",
    \"subject\": \"$2\", \"audiences\": [\"api://AzureADTokenExchange\"]}"
}
vault=$(az keyvault show --name "$KEY_VAULT" --query id --output tsv)
for environment in @names@; do
  client=$(az ad app create --display-name "@name@-$environment" --query appId --output tsv)
  principal=$(az ad sp create --id "$client" --query id --output tsv)
  trust "$environment" "repo:$ORGANIZATION/$REPOSITORY:environment:$environment"
@if identifiers
  trust "$environment-immutable" "repo:$ORGANIZATION@$ORGANIZATION_ID/$REPOSITORY@$REPOSITORY_ID:environment:$environment"
@end
  # Never over a token that is stored already, also if you may not read it.
  stored=$(az keyvault secret list --vault-name "$KEY_VAULT" --query "[?name=='@name@-$environment'].name" --output tsv)
  [ -n "$stored" ] ||
    az keyvault secret set --vault-name "$KEY_VAULT" --name "@name@-$environment" --value placeholder
  az role assignment create --role "Key Vault Secrets User" --scope "$vault/secrets/@name@-$environment" \
    --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal
  echo "AZURE_CLIENT_ID of $environment: $client"
done
# Then, as somebody who may write the secrets: @put@
