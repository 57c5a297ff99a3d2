"""The services of issues refuse what GitHub and GitLab refuse."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.issues import Issues

if TYPE_CHECKING:
    from collections.abc import Iterator

BASES = {"github": "/repos/acme/dags/issues", "gitlab": "/api/v4/projects/4242/issues"}
LIST = {"github": "?state=open", "gitlab": "?state=opened"}


@pytest.fixture(params=["github", "gitlab"])
def issues(request: pytest.FixtureRequest) -> Iterator[Issues]:
    with Issues(request.param) as server:
        yield server


def send(issues: Issues, method: str, path: str, body: object = None, **options: Any) -> tuple[int, Any, str]:
    token, agent = options.get("token", issues.token), options.get("agent", "tests")
    headers = {"PRIVATE-TOKEN": token, "Authorization": f"Bearer {token}", "User-Agent": agent}
    connection = http.client.HTTPConnection("127.0.0.1", issues.port, timeout=10)
    connection.request(method, f"{BASES[issues.system]}{path}", json.dumps(body), headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content, answer.headers.get("Link", "")


def test_credentials_and_permissions(issues: Issues) -> None:
    query = LIST[issues.system]
    assert 200 == send(issues, "GET", query)[0]
    assert 401 == send(issues, "GET", query, token="other")[0]
    assert 200 == send(issues, "GET", query, token=issues.reader)[0]
    assert 403 == send(issues, "POST", "", {"title": "x"}, token=issues.reader)[0]
    assert {"github": 403, "gitlab": 200}[issues.system] == send(issues, "GET", query, agent="")[0]
    assert {} == issues.issues


def test_malformed_requests(issues: Issues) -> None:
    assert 422 == send(issues, "GET", "?state=unknown")[0]
    assert 422 == send(issues, "GET", f"{LIST[issues.system]}&title=x")[0]
    assert 422 == send(issues, "POST", "", {"title": "x", "unknown": 1})[0]
    assert 422 == send(issues, "POST", "", {"labels": ["x"]})[0]
    assert 404 == send(issues, "DELETE", "/1", {"title": "x"})[0]
    wrong = {"github": "PUT", "gitlab": "PATCH"}[issues.system]
    issues.open("text")
    assert 404 == send(issues, wrong, "/1", {"title": "x"})[0]


def test_pages_and_labels(issues: Issues) -> None:
    for number in range(250):
        issues.open("text", *(["a"] if number % 2 else []))
    query = f"{LIST[issues.system]}&labels=a&per_page=200"
    pages = [send(issues, "GET", f"{query}&page={page}") for page in (1, 2)]
    assert [100, 25] == [len(content) for _, content, _ in pages]
    assert [True, False] == ['rel="next"' in link for _, _, link in pages]
