#!/bin/sh
# Creates @listed@ in GitHub. Only jobs of its own branch get into an environment.
# AWS, Azure and encrypted files need this rule: there nothing else depends on the branch of a job.
# If an environment exists already, look at its settings afterwards: it may admit other branches, or have lost its reviewers.
set -eu
@if self_managed
export GH_HOST=@host@
@end
ORGANIZATION=@organization@ REPOSITORY=@repository@

for environment in @names@; do
  case $environment in @cases@ esac
  address="repos/$ORGANIZATION/$REPOSITORY/environments/$environment"
  gh api --method PUT "$address" --input - <<EOF
{"deployment_branch_policy": {"protected_branches": false, "custom_branch_policies": true}}
EOF
  gh api --method POST "$address/deployment-branch-policies" -f "name=$branch" -f type=branch
done
