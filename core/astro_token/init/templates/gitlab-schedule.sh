#!/bin/sh
# Schedules the jobs that check the tokens of @listed@ every night. glab is GitLab's program.
set -eu
@if self_managed
export GITLAB_HOST=@host@
@end
PROJECT=@path@

for branch in @branch_names@; do
  glab schedule create --repo "$PROJECT" --ref "$branch" --cron "17 3 * * *" --description "astro-token check of $branch"
done
