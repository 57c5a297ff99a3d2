#!/bin/sh
# Creates, for @listed@, a secret, and a role that reads it, for the jobs of one environment.
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
ACCOUNT=@account@ REGION=@region@
ISSUER=@issuer_name@

provider="arn:aws:iam::$ACCOUNT:oidc-provider/$ISSUER"
aws iam get-open-id-connect-provider --open-id-connect-provider-arn "$provider" >/dev/null 2>&1 ||
  aws iam create-open-id-connect-provider --url "https://$ISSUER" --client-id-list sts.amazonaws.com
for environment in @names@; do
  aws secretsmanager create-secret --region "$REGION" --name "@secret@/$environment"
  trust=$(cat <<EOF
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "$provider"},
    "Condition": {"StringEquals": {
      "$ISSUER:aud": "sts.amazonaws.com",
      "$ISSUER:sub": [
@if identifiers
        "repo:$ORGANIZATION@$ORGANIZATION_ID/$REPOSITORY@$REPOSITORY_ID:environment:$environment",
@end
        "repo:$ORGANIZATION/$REPOSITORY:environment:$environment"]}}}]}
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
