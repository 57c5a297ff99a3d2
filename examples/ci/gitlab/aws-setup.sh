#!/bin/sh
# Creates, for the environments dev and prod, a secret, and a role that reads it, for the jobs of one environment.
# AWS compares the audience and the subject only, so protect each branch in GitLab, and each environment if it offers that.
# A merge request from a branch of the same name in a fork has this subject too: read it before you run its pipeline in this project.
# Remove the commands that create what you have already.
set -eu
GITLAB=gitlab.example.com
PROJECT=acme/dags
ACCOUNT=123456789012 REGION=eu-west-1
ISSUER=$GITLAB

provider="arn:aws:iam::$ACCOUNT:oidc-provider/$ISSUER"
aws iam get-open-id-connect-provider --open-id-connect-provider-arn "$provider" >/dev/null 2>&1 ||
  aws iam create-open-id-connect-provider --url "https://$ISSUER" --client-id-list sts.amazonaws.com
for environment in dev prod; do
  case $environment in dev) branch=dev ;; prod) branch=main ;; esac
  aws secretsmanager create-secret --region "$REGION" --name "astro/$environment"
  trust=$(cat <<EOF
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "$provider"},
    "Condition": {"StringEquals": {
      "$GITLAB:aud": "sts.amazonaws.com",
      "$GITLAB:sub": "project_path:$PROJECT:ref_type:branch:ref:$branch"}}}]}
EOF
  )
  permission=$(cat <<EOF
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue",
    "Resource": "arn:aws:secretsmanager:$REGION:$ACCOUNT:secret:astro/$environment-??????"}]}
EOF
  )
  aws iam create-role --role-name "astro-$environment" --assume-role-policy-document "$trust"
  aws iam put-role-policy --role-name "astro-$environment" --policy-name astro-token --policy-document "$permission"
done
# Then, as somebody who may write the secrets: astro-token put 'aws:astro/dev#token', and the same for prod.
