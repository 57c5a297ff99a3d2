#!/bin/sh
# Creates, for the environments dev and prod, a secret, and an application that reads it, for the jobs of one environment.
# Azure compares the subject only, so protect each branch in GitLab, and each environment if it offers that.
# A merge request from a branch of the same name in a fork has this subject too: read it before you run its pipeline in this project.
# Remove the commands that create what you have already.
set -eu
GITLAB=gitlab.example.com
PROJECT=acme/dags
KEY_VAULT=my-vault

trust() {
  az ad app federated-credential create --id "$client" --parameters "{
    \"name\": \"gitlab-$1\", \"issuer\": \"https://$GITLAB\",
    \"subject\": \"$2\", \"audiences\": [\"api://AzureADTokenExchange\"]}"
}
vault=$(az keyvault show --name "$KEY_VAULT" --query id --output tsv)
for environment in dev prod; do
  client=$(az ad app create --display-name "astro-$environment" --query appId --output tsv)
  principal=$(az ad sp create --id "$client" --query id --output tsv)
  case $environment in dev) branch=dev ;; prod) branch=main ;; esac
  trust "$environment" "project_path:$PROJECT:ref_type:branch:ref:$branch"
  # Never over a token that is stored already, also if you may not read it.
  stored=$(az keyvault secret list --vault-name "$KEY_VAULT" --query "[?name=='astro-$environment'].name" --output tsv)
  [ -n "$stored" ] ||
    az keyvault secret set --vault-name "$KEY_VAULT" --name "astro-$environment" --value placeholder
  az role assignment create --role "Key Vault Secrets User" --scope "$vault/secrets/astro-$environment" \
    --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal
  echo "AZURE_CLIENT_ID of $environment: $client"
done
# Then, as somebody who may write the secrets: astro-token put azure:my-vault/astro-dev, and the same for prod.
