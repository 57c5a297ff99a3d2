"""
The issues of one project, as GitHub and GitLab serve them.

Both demand a token and its permission, list by label and state in pages, and refuse unknown members.
GitHub lists pull requests among the issues, and demands a User-Agent.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.http1 import Request

REPOSITORY, PROJECT = "acme/dags", "4242"
_QUERY = {"labels", "state", "per_page", "page"}
_GITHUB_MEMBERS = {"title", "body", "labels", "state"}
_GITLAB_MEMBERS = {"title", "description", "labels", "confidential", "state_event"}


class Issues(HttpServer):
    """
    Args:
        system: "github" or "gitlab".

    Attributes:
        token: may read and write issues.
        reader: may read them only.
        issues: by number. Each has title, text, labels, is_open, and is_request for a pull request.
    """

    def __init__(self, system: str) -> None:
        self.system = system
        self.token, self.reader = (f"issues-{secrets.token_urlsafe(24)}" for _ in range(2))
        self.issues: dict[int, dict[str, Any]] = {}
        super().__init__(self._github if system == "github" else self._gitlab)

    def environment(self) -> dict[str, str]:
        """The variables of a job."""
        if self.system == "github":
            return {
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": self.url,
                "GITHUB_REPOSITORY": REPOSITORY,
                "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_RUN_ID": "77",
            }
        return {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": f"{self.url}/api/v4",
            "CI_PROJECT_ID": PROJECT,
            "CI_JOB_URL": "https://gitlab.example.com/acme/dags/-/jobs/77",
        }

    @property
    def variable(self) -> str:
        """The variable of the token."""
        return "GITHUB_TOKEN" if self.system == "github" else "ISSUES_TOKEN"

    def open(
        self, text: str, *labels: str, title: str = "old", is_open: bool = True, is_request: bool = False
    ) -> int:
        number = len(self.issues) + 1
        self.issues[number] = {
            "title": title, "text": text, "labels": list(labels), "is_open": is_open,
            "is_request": is_request,
        }  # fmt: skip
        return number

    def texts(self) -> dict[int, str]:
        """The texts of the open issues."""
        return {number: issue["text"] for number, issue in self.issues.items() if issue["is_open"]}

    # -- GitHub ---------------------------------------------------------------------------------------------

    def _github(self, request: Request) -> Answer:
        if not request.headers.get("user-agent"):
            return Answer.json({"message": "Request forbidden by administrative rules."}, 403)
        if request.bearer not in {self.token, self.reader}:
            return Answer.json({"message": "Bad credentials"}, 401)
        base = f"/repos/{REPOSITORY}/issues"
        if not (request.path == base or request.path.startswith(f"{base}/")):
            return Answer.json({"message": "Not Found"}, 404)
        if request.method != "GET" and request.bearer == self.reader:
            return Answer.json({"message": "Resource not accessible by integration"}, 403)
        return self._serve(
            request, request.path.removeprefix(base), "PATCH", _GITHUB_MEMBERS, self._as_github
        )

    def _as_github(self, number: int) -> dict[str, Any]:
        issue = self.issues[number]
        shown = {
            "number": number, "title": issue["title"], "body": issue["text"] or None,
            "state": "open" if issue["is_open"] else "closed",
            "labels": [{"name": name} for name in issue["labels"]],
        }  # fmt: skip
        return {**shown, "pull_request": {"url": "…"}} if issue["is_request"] else shown

    # -- GitLab ---------------------------------------------------------------------------------------------

    def _gitlab(self, request: Request) -> Answer:
        token = request.headers.get("private-token", "")
        if token not in {self.token, self.reader}:
            return Answer.json({"message": "401 Unauthorized"}, 401)
        base = f"/api/v4/projects/{PROJECT}/issues"
        if not (request.path == base or request.path.startswith(f"{base}/")):
            return Answer.json({"message": "404 Project Not Found"}, 404)
        if request.method != "GET" and token == self.reader:
            return Answer.json({"message": "403 Forbidden"}, 403)
        return self._serve(request, request.path.removeprefix(base), "PUT", _GITLAB_MEMBERS, self._as_gitlab)

    def _as_gitlab(self, number: int) -> dict[str, Any]:
        issue = self.issues[number]
        return {
            "id": 90000 + number, "iid": number, "title": issue["title"],
            "description": issue["text"] or None,
            "state": "opened" if issue["is_open"] else "closed", "labels": issue["labels"],
        }  # fmt: skip

    # -- both -----------------------------------------------------------------------------------------------

    def _serve(
        self,
        request: Request,
        path: str,
        update: str,
        members: set[str],
        show: Callable[[int], dict[str, Any]],
    ) -> Answer:
        if path == "" and request.method == "GET":
            return self._list(request, show)
        try:
            body = json.loads(request.body)
        except ValueError:
            return Answer.json({"message": "Problems parsing JSON"}, 400)
        if not isinstance(body, dict) or body.keys() - members or not body:
            return Answer.json({"message": "Validation Failed"}, 422)
        if path == "" and request.method == "POST":
            if not body.get("title"):
                return Answer.json({"message": "Validation Failed"}, 422)
            labels = body.get("labels", [])
            text = str(body.get("body") or body.get("description") or "")
            names = labels.split(",") if isinstance(labels, str) else labels
            return Answer.json(show(self.open(text, *names, title=body["title"])), 201)
        number = path.removeprefix("/")
        if request.method != update or not number.isdigit() or int(number) not in self.issues:
            return Answer.json({"message": "Not Found"}, 404)
        issue = self.issues[int(number)]
        issue["text"] = body.get("body") or body.get("description") or issue["text"]
        if body.get("state") == "closed" or body.get("state_event") == "close":
            issue["is_open"] = False
        return Answer.json(show(int(number)))

    def _list(self, request: Request, show: Callable[[int], dict[str, Any]]) -> Answer:
        query = request.query
        states = {"open", "closed", "all"} if self.system == "github" else {"opened", "closed", "all"}
        if query.keys() - _QUERY or query.get("state") not in states:
            return Answer.json({"message": "Validation Failed"}, 422)
        size, page = min(int(query.get("per_page", 30)), 100), int(query.get("page", 1))
        labels = {name for name in query.get("labels", "").split(",") if name}
        numbers = [
            number
            for number, issue in sorted(self.issues.items(), reverse=True)
            if labels <= set(issue["labels"])
            and (query["state"] == "all" or issue["is_open"] is (query["state"] != "closed"))
        ]
        shown = numbers[(page - 1) * size : page * size]
        has_more = page * size < len(numbers)
        headers = {"Link": f'<{self.url}/elsewhere?page={page + 1}>; rel="next"'} if has_more else {}
        return Answer.json([show(number) for number in shown], headers=headers)
