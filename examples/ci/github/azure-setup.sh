#!/bin/sh
# Creates, for the environments dev and prod, a secret, and an application that reads it, for the jobs of one environment.
# Run environments-setup.sh too: the subject names the environment, and not the branch.
# Remove the form of the subject that your repository does not have: one that was created, renamed or moved since
# 15 July 2026 has the one with identifiers.
# Remove the commands that create what you have already.
set -eu
ORGANIZATION=acme REPOSITORY=dags
ORGANIZATION_ID=123456 REPOSITORY_ID=456789  # gh api repos/acme/dags --jq '.owner.id, .id'
KEY_VAULT=my-vault

trust() {
  az ad app federated-credential create --id "$client" --parameters "{
    \"name\": \"github-$1\", \"issuer\": \"https://token.actions.githubusercontent.com\",
    \"subject\": \"$2\", \"audiences\": [\"api://AzureADTokenExchange\"]}"
}
vault=$(az keyvault show --name "$KEY_VAULT" --query id --output tsv)
for environment in dev prod; do
  client=$(az ad app create --display-name "astro-$environment" --query appId --output tsv)
  principal=$(az ad sp create --id "$client" --query id --output tsv)
  trust "$environment" "repo:$ORGANIZATION/$REPOSITORY:environment:$environment"
  trust "$environment-immutable" "repo:$ORGANIZATION@$ORGANIZATION_ID/$REPOSITORY@$REPOSITORY_ID:environment:$environment"
  # Never over a token that is stored already, also if you may not read it.
  stored=$(az keyvault secret list --vault-name "$KEY_VAULT" --query "[?name=='astro-$environment'].name" --output tsv)
  [ -n "$stored" ] ||
    az keyvault secret set --vault-name "$KEY_VAULT" --name "astro-$environment" --value placeholder
  az role assignment create --role "Key Vault Secrets User" --scope "$vault/secrets/astro-$environment" \
    --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal
  echo "AZURE_CLIENT_ID of $environment: $client"
done
# Then, as somebody who may write the secrets: astro-token put azure:my-vault/astro-dev, and the same for prod.
