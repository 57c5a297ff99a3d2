#!/bin/sh
# Creates the environments dev and prod in GitHub. Only jobs of its own branch get into an environment.
# AWS, Azure and encrypted files need this rule: there nothing else depends on the branch of a job.
# If an environment exists already, look at its settings afterwards: it may admit other branches.
set -eu
ORGANIZATION=acme REPOSITORY=dags

for environment in dev prod; do
  case $environment in dev) branch=dev ;; prod) branch=main ;; esac
  address="repos/$ORGANIZATION/$REPOSITORY/environments/$environment"
  # Setting the rule also removes the reviewers of an environment.
  state=$(gh api --paginate "repos/$ORGANIZATION/$REPOSITORY/environments" --jq ".environments[] | select(.name == \"$environment\") |
    if .deployment_branch_policy.custom_branch_policies then \"branches\"
    elif any(.protection_rules[]; .type != \"branch_policy\") then \"rules\" else \"none\" end")
  case $state in
  branches) ;;
  rules)
    echo "$environment has reviewers or other rules: select its branch in the settings of the repository, and run this again" >&2
    exit 1
    ;;
  *)
    gh api --method PUT "$address" --input - <<EOF
{"deployment_branch_policy": {"protected_branches": false, "custom_branch_policies": true}}
EOF
    ;;
  esac
  gh api --method POST "$address/deployment-branch-policies" -f "name=$branch" -f type=branch
done
