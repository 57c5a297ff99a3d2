#!/bin/sh
# Creates, for the environments dev and prod, a secret, and a role that reads it, for the jobs of one environment.
# Run environments-setup.sh too: the subject names the environment, and not the branch.
# Remove the form of the subject that your repository does not have: one that was created, renamed or moved since
# 15 July 2026 has the one with identifiers.
# Remove the commands that create what you have already.
set -eu
ORGANIZATION=acme REPOSITORY=dags
ORGANIZATION_ID=123456 REPOSITORY_ID=456789  # gh api repos/acme/dags --jq '.owner.id, .id'
ACCOUNT=123456789012 REGION=eu-west-1
ISSUER=token.actions.githubusercontent.com

provider="arn:aws:iam::$ACCOUNT:oidc-provider/$ISSUER"
aws iam get-open-id-connect-provider --open-id-connect-provider-arn "$provider" >/dev/null 2>&1 ||
  aws iam create-open-id-connect-provider --url "https://$ISSUER" --client-id-list sts.amazonaws.com
for environment in dev prod; do
  aws secretsmanager create-secret --region "$REGION" --name "astro/$environment"
  trust=$(cat <<EOF
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "$provider"},
    "Condition": {"StringEquals": {
      "$ISSUER:aud": "sts.amazonaws.com",
      "$ISSUER:sub": [
        "repo:$ORGANIZATION@$ORGANIZATION_ID/$REPOSITORY@$REPOSITORY_ID:environment:$environment",
        "repo:$ORGANIZATION/$REPOSITORY:environment:$environment"]}}}]}
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
