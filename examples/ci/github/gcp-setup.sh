#!/bin/sh
# Creates, for the environments dev and prod, a secret that only the jobs of one branch and environment read.
# The environment alone is not enough: a pull request can contain a job that names it.
# Remove the commands that create what you have already.
set -eu
ORGANIZATION_ID=123456 REPOSITORY_ID=456789  # gh api repos/acme/dags --jq '.owner.id, .id'
GCP_PROJECT=my-project GCP_NUMBER=123456789012  # gcloud projects describe my-project
POOL=ci

jobs="assertion.repository_owner_id == '$ORGANIZATION_ID' && assertion.repository_id == '$REPOSITORY_ID' && (
  (assertion.environment == 'dev' && assertion.ref == 'refs/heads/dev') ||
  (assertion.environment == 'prod' && assertion.ref == 'refs/heads/main'))"
gcloud services enable secretmanager.googleapis.com iam.googleapis.com sts.googleapis.com --project="$GCP_PROJECT"
gcloud iam workload-identity-pools create "$POOL" --location=global --project="$GCP_PROJECT"
gcloud iam workload-identity-pools providers create-oidc github --location=global --project="$GCP_PROJECT" \
  --workload-identity-pool="$POOL" --issuer-uri=https://token.actions.githubusercontent.com --attribute-condition="$jobs" \
  --attribute-mapping="google.subject=assertion.sub,attribute.job=assertion.repository_id + '/' + assertion.environment"
for environment in dev prod; do
  gcloud secrets create "astro-$environment" --replication-policy=automatic --project="$GCP_PROJECT"
  gcloud secrets add-iam-policy-binding "astro-$environment" --role=roles/secretmanager.secretAccessor --project="$GCP_PROJECT" \
    --member="principalSet://iam.googleapis.com/projects/$GCP_NUMBER/locations/global/workloadIdentityPools/$POOL/attribute.job/$REPOSITORY_ID/$environment"
done
# Then, as somebody who may write the secrets: astro-token put gcp:my-project/astro-dev, and the same for prod.
