#!/bin/sh
# Creates, for @listed@, a secret, and a role that reads it, for the jobs of one environment.
# AWS compares the audience and the subject only, so protect each branch in GitLab, and each environment if it offers that.
# A merge request from a branch of the same name in a fork has this subject too: read it before you run its pipeline in this project.
# Remove the commands that create what you have already.
set -eu
GITLAB=@host@
PROJECT=@path@
ACCOUNT=@account@ REGION=@region@
ISSUER=$GITLAB

provider="arn:aws:iam::$ACCOUNT:oidc-provider/$ISSUER"
aws iam get-open-id-connect-provider --open-id-connect-provider-arn "$provider" >/dev/null 2>&1 ||
  aws iam create-open-id-connect-provider --url "https://$ISSUER" --client-id-list sts.amazonaws.com
for environment in @names@; do
  case $environment in @cases@ esac
  aws secretsmanager create-secret --region "$REGION" --name "@secret@/$environment"
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
    "Resource": "arn:aws:secretsmanager:$REGION:$ACCOUNT:secret:@secret@/$environment-??????"}]}
EOF
  )
  aws iam create-role --role-name "@name@-$environment" --assume-role-policy-document "$trust"
  aws iam put-role-policy --role-name "@name@-$environment" --policy-name astro-token --policy-document "$permission"
done
# Then, as somebody who may write the secrets: @put@
