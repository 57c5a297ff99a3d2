"""
Claims of the identities of jobs, as GitHub and GitLab issue them, for the project of the examples.

    issuer.mint(github("prod") | {"aud": "https://vault.example.com"})
"""

from __future__ import annotations

BRANCHES = {"dev": "dev", "prod": "main"}
Claims = dict[str, object]


def github(environment: str, /, *, immutable: bool = False, **changed: object) -> Claims:
    """
    A job of a push to the environment's branch.

    Args:
        immutable: the subject of repositories that were created, renamed or moved since 15 July 2026.
        changed: claims in place of these; None leaves one out.
    """
    claims = {
        "repository": "acme/dags",
        "repository_id": "456789",
        "repository_owner": "acme",
        "repository_owner_id": "123456",
        "environment": environment,
        "ref": f"refs/heads/{BRANCHES[environment]}",
        "ref_type": "branch",
        "event_name": "push",
        **changed,
    }
    owner, _, name = str(claims["repository"]).partition("/")
    if immutable:
        owner, name = f"{owner}@{claims['repository_owner_id']}", f"{name}@{claims['repository_id']}"
    context = f"environment:{claims['environment']}" if claims["environment"] else f"ref:{claims['ref']}"
    return _without_none({"sub": f"repo:{owner}/{name}:{context}", **claims})


def gitlab(environment: str, /, **changed: object) -> Claims:
    """A job of a push to the environment's branch, which is protected."""
    claims = {
        "project_path": "acme/dags",
        "project_id": "4242",
        "environment": environment,
        "environment_protected": "false",
        "ref": BRANCHES[environment],
        "ref_type": "branch",
        "ref_protected": "true",
        "pipeline_source": "push",
        **changed,
    }
    subject = "project_path:{project_path}:ref_type:{ref_type}:ref:{ref}".format_map(claims)
    return _without_none({"sub": subject, **claims})


def github_strangers() -> dict[str, Claims]:
    """Jobs that must not get the token of prod. The subject of the last three is that of prod."""
    return {
        "the other environment": github("dev"),
        "a fork": github("prod", repository="eve/dags", repository_id="1", repository_owner_id="2"),
        "a pull request": github(
            "prod", environment=None, ref="refs/pull/7/merge", event_name="pull_request"
        ),
        "a job without an environment": github("prod", environment=None),
        "a repository that took the name": github(
            "prod", immutable=True, repository_id="1", repository_owner_id="2"
        ),
        "a pull request that names the environment": github(
            "prod", ref="refs/pull/7/merge", event_name="pull_request"
        ),
        "another branch that names the environment": github("prod", ref="refs/heads/dev"),
        "a tag named main": github("prod", ref="refs/tags/main", ref_type="tag"),
    }


def gitlab_strangers() -> dict[str, Claims]:
    """Jobs that must not get the token of prod. The subject of the last three is that of prod."""
    merge_request = {"pipeline_source": "merge_request_event"}
    return {
        "the other environment": gitlab("dev"),
        "a fork": gitlab("prod", project_path="eve/dags", project_id="1"),
        "a merge request": gitlab("prod", ref="feature", ref_protected="false", **merge_request),
        "another branch that names the environment": gitlab("prod", ref="dev"),
        "a tag named main": gitlab("prod", ref_type="tag"),
        "a branch that everyone may push to": gitlab("prod", ref_protected="false"),
        "a job without an environment": gitlab("prod", environment=None),
        "a merge request of a fork's branch main": gitlab("prod", **merge_request),
    }


def _without_none(claims: Claims) -> Claims:
    return {name: value for name, value in claims.items() if value is not None}
