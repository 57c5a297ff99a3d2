#!/bin/sh
# Creates, for @listed@, a secret that only the jobs of one branch and environment read.
# The environment alone is not enough: a pull request can contain a job that names it.
# Remove the commands that create what you have already.
set -eu
@lines bound_names
GCP_PROJECT=@gcp_project@ GCP_NUMBER=@gcp_number@  # gcloud projects describe @gcp_project@
POOL=ci

jobs="@bound_condition@ && (
  @lines job_conditions
gcloud services enable secretmanager.googleapis.com iam.googleapis.com sts.googleapis.com --project="$GCP_PROJECT"
gcloud iam workload-identity-pools create "$POOL" --location=global --project="$GCP_PROJECT"
gcloud iam workload-identity-pools providers create-oidc @provider@ --location=global --project="$GCP_PROJECT" \
  --workload-identity-pool="$POOL" --issuer-uri=@issuer@ --attribute-condition="$jobs" \
  --attribute-mapping="google.subject=assertion.sub,attribute.job=assertion.@bound_claim@ + '/' + assertion.environment"
for environment in @names@; do
  gcloud secrets create "@name@-$environment" --replication-policy=automatic --project="$GCP_PROJECT"
  gcloud secrets add-iam-policy-binding "@name@-$environment" --role=roles/secretmanager.secretAccessor --project="$GCP_PROJECT" \
    --member="principalSet://iam.googleapis.com/projects/$GCP_NUMBER/locations/global/workloadIdentityPools/$POOL/attribute.job/@bound_value@/$environment"
done
# Then, as somebody who may write the secrets: @put@
