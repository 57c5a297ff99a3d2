#!/bin/sh
# Creates, for the environments dev and prod, a secret that only the jobs of one branch and environment read.
# Without ref_type a tag named main would get the token of prod, and without ref_protected a branch that everyone may push to.
# Remove the commands that create what you have already.
set -eu
GITLAB=gitlab.example.com
PROJECT_ID=4242  # the settings of the project show it
GCP_PROJECT=my-project GCP_NUMBER=123456789012  # gcloud projects describe my-project
POOL=ci

jobs="assertion.project_id == '$PROJECT_ID' && assertion.ref_type == 'branch' && assertion.ref_protected == 'true' && (
  assertion.pipeline_source == 'push' || assertion.pipeline_source == 'web') && (
  (assertion.environment == 'dev' && assertion.ref == 'dev') ||
  (assertion.environment == 'prod' && assertion.ref == 'main'))"
gcloud services enable secretmanager.googleapis.com iam.googleapis.com sts.googleapis.com --project="$GCP_PROJECT"
gcloud iam workload-identity-pools create "$POOL" --location=global --project="$GCP_PROJECT"
gcloud iam workload-identity-pools providers create-oidc gitlab --location=global --project="$GCP_PROJECT" \
  --workload-identity-pool="$POOL" --issuer-uri=https://$GITLAB --attribute-condition="$jobs" \
  --attribute-mapping="google.subject=assertion.sub,attribute.job=assertion.project_id + '/' + assertion.environment"
for environment in dev prod; do
  gcloud secrets create "astro-$environment" --replication-policy=automatic --project="$GCP_PROJECT"
  gcloud secrets add-iam-policy-binding "astro-$environment" --role=roles/secretmanager.secretAccessor --project="$GCP_PROJECT" \
    --member="principalSet://iam.googleapis.com/projects/$GCP_NUMBER/locations/global/workloadIdentityPools/$POOL/attribute.job/$PROJECT_ID/$environment"
done
# Then, as somebody who may write the secrets: astro-token put gcp:my-project/astro-dev, and the same for prod.
