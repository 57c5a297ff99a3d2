"""
Opens, updates or closes one issue about the tokens that a scheduled rotation needs a person for.

    python3 -I rotation_issue.py rotate.json check.json

The arguments are the documents of `astro-token rotate` and `astro-token check` with `--format json`.
ROTATE_STATUS is the exit status of `rotate`. In GitHub Actions it needs GITHUB_TOKEN (`issues: write`);
in GitLab CI it needs ISSUES_TOKEN, a project access token with the scope `api` and the role Planner.
Python 3.11 is enough.

The issue contains names of tokens, dates, codes, and sentences of this file. No message and no reference
gets there, and nothing that a service has sent. A label and a hidden mark identify it, so its title may be
changed. Anybody can write the mark, but only members can set the label.
"""

import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

LABEL, MARK = "astro-token", "<!-- astro-token: rotation -->"
TITLE = "Astro API tokens need a person"
RETRIED = 75  # the next run continues
REMEDIES = {
    64: "Its reference is not valid: correct astro-token.toml.",
    65: "It is not valid, or violates policy: correct its entry, or replace it with `astro-token create`.",
    66: "The secret, or its rotation record, does not exist: create it.",
    69: "Its backend is down: an operator of the backend is needed.",
    73: "Something refuses to be replaced: read the log.",
    76: "A response was corrupt, or came from another server: investigate before the next run.",
    77: "The login, or the credential that manages tokens, may not do this: correct the permissions.",
    78: "A setting is missing or wrong: correct it.",
    80: "Its rotation is not finished, and the token before still works. The next run continues. "
    "If this line stays, something still uses the token before.",
    81: "A person has to act now: the log has the instruction.",
}
ATTEMPTS, LONGEST_WAIT, LARGEST = 4, 60, 8_000_000
ROWS = 100
REDIRECT, SERVER_ERROR = 3, 5  # hundreds of a status
PERMISSIONS = (
    "GitHub: give the job `issues: write`; GitLab: check the scope, the role and the expiry of ISSUES_TOKEN"
)


def main(files: list[str]) -> int:
    tracker = _tracker(os.environ)
    rows, is_complete = _rows([_document(Path(file)) for file in files], os.environ.get("ROTATE_STATUS", ""))
    issues = sorted(issue for issue, text in tracker.open_issues() if MARK in text)
    own = issues[0] if issues else None
    for issue in issues[1:]:
        tracker.close(issue)
    if rows:
        tracker.write(own, _text(rows, tracker.run))
        print(f"the issue has {len(rows)} lines" if len(rows) > 1 else "the issue has 1 line")
    elif not is_complete:
        print("a report is missing, so that the issue stays as it is")
    elif own is not None:
        tracker.close(own)
        print("nothing is left: the issue is closed")
    else:
        print("nothing needs a person")
    return 0


# -- the issue's text -------------------------------------------------------------------------------------


def _document(file: Path) -> list[dict[str, Any]] | None:
    """Return the tokens of a document; None if the command has written none."""
    try:
        tokens = json.loads(file.read_bytes())["tokens"]
        return [dict(token) for token in tokens]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _rows(documents: list[list[dict[str, Any]] | None], status: str) -> tuple[dict[str, list[str]], bool]:
    """Return what to do for each token, and whether every document is there."""
    rows: dict[str, list[str]] = {}
    is_complete = None not in documents
    if not is_complete and status != str(RETRIED):
        rows["(all)"] = ["A command ended without a report: read the log."]
    for token in (token for document in documents for token in document or ()):
        for line in _lines(token):
            lines = rows.setdefault(_name(token.get("name")), [])
            lines += [line] if line not in lines else []
    return rows, is_complete


def _lines(token: dict[str, Any]) -> Iterator[str]:
    error = token.get("error") or {}
    code = int(error.get("exit_code", 0))
    verdicts = [verdict for verdict in token.get("verdicts", ()) if verdict.get("level") == "error"]
    for verdict in verdicts:
        kind = re.sub(r"[^a-z-]", "", str(verdict.get("code")))[:40]
        yield f"`check`: {kind}{_expiry(token) if kind.startswith('expire') else ''}."
    if code and code != RETRIED and not verdicts:
        yield REMEDIES.get(code, "Read the log.")


def _expiry(token: dict[str, Any]) -> str:
    try:
        return f" ({datetime.fromisoformat(token['expires']):%Y-%m-%d %H:%M} UTC)"
    except (KeyError, TypeError, ValueError):
        return ""


def _name(name: object) -> str:
    """Keep what neither Markdown nor a log gives a meaning to, within a code span."""
    return re.sub(r"[^A-Za-z0-9_.-]", "?", str(name or "(without a name)"))[:64]


def _text(rows: Mapping[str, list[str]], run: str) -> str:
    table = [f"| `{name}` | {' '.join(lines)} |" for name, lines in sorted(rows.items())]
    more = [f"\nand {len(table) - ROWS} more."] if len(table) > ROWS else []
    said = (
        f"The scheduled rotation needs a person for these tokens. [The log of the last run]({run}) explains."
    )
    return "\n".join(
        [
            MARK,
            said,
            "",
            "| token | what to do |",
            "|---|---|",
            *table[:ROWS],
            *more,
            "",
            "Each run updates this issue, and closes it when nothing is left.",
            "",
        ]
    )


# -- the service ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tracker:
    """
    The issues of GitHub or GitLab.

    Attributes:
        number, text: the members of an issue that have its number and its text.
        opened: the state of an open issue.
        creation, closing: further members of a request.
        run: the address of this run.
        authorities: a file of certificates, in place of the system's.
    """

    url: str
    headers: Mapping[str, str]
    number: str
    text: str
    update: str
    opened: str
    creation: Mapping[str, object]
    closing: Mapping[str, str]
    run: str
    authorities: str | None = None

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        context = ssl.create_default_context(cafile=self.authorities)
        return urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))

    def open_issues(self) -> Iterator[tuple[int, str]]:
        """Yield the number and the text of each open issue with the label."""
        page, has_more = 1, True
        while has_more:
            query = urlencode({"labels": LABEL, "state": self.opened, "per_page": 100, "page": page})
            issues, has_more = self._send("GET", f"{self.url}?{query}")
            try:
                # GitHub lists pull requests too.
                yield from [
                    (int(issue[self.number]), str(issue[self.text]))
                    for issue in issues
                    if "pull_request" not in issue
                ]
            except (TypeError, KeyError, ValueError):
                _end(76, "the response is not a list of issues", f"check the address {self.url}")
            page += 1

    def write(self, issue: int | None, text: str) -> None:
        """Update the issue, or open one."""
        if issue is None:
            self._send("POST", self.url, {"title": TITLE, self.text: text, **self.creation})
        else:
            self._send(self.update, f"{self.url}/{issue}", {self.text: text})

    def close(self, issue: int) -> None:
        self._send(self.update, f"{self.url}/{issue}", self.closing)

    def _send(self, method: str, url: str, body: Mapping[str, object] | None = None) -> tuple[Any, bool]:
        """Send a request, again if the service is busy. Return the response, and whether a page follows."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "User-Agent": "astro-token", "Content-Type": "application/json"}
        for attempt in range(ATTEMPTS):
            request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 (see _address)
            try:
                with self._opener.open(request, timeout=30) as response:
                    has_more = 'rel="next"' in response.headers.get("Link", "")
                    return json.loads(response.read(LARGEST)), has_more
            except urllib.error.HTTPError as error:
                wait = _wait(error, method, attempt)
            except (OSError, ValueError):
                # A response to a POST can be lost after the issue was opened: the next run updates that one.
                wait = None if method == "POST" else 2**attempt
            if wait is None or attempt == ATTEMPTS - 1:
                break
            time.sleep(wait)
        return _end(75, "the service of the issues is busy, or cannot be reached", "run the job again")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whoever a redirect names does not get the token."""

    def redirect_request(self, *_: object) -> None:
        return None


def _wait(error: urllib.error.HTTPError, method: str, attempt: int) -> float | None:
    """Return the seconds until the next attempt, or None for none. End the program if none can succeed."""
    status, after = error.code, error.headers.get("Retry-After", "")
    kind = status // 100
    is_limit = status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.FORBIDDEN and bool(after))
    if is_limit or (kind == SERVER_ERROR and method != "POST"):
        seconds = float(after) if after.isdigit() else 2.0**attempt
        return seconds if seconds <= LONGEST_WAIT else None
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        _end(77, f"the issues cannot be read or written ({status})", PERMISSIONS)
    if kind == REDIRECT:
        _end(76, "the service answered with a redirect, which is not followed", "was the repository moved?")
    if kind != SERVER_ERROR:
        _end(70, f"the service refuses the request ({status})", "check that the project has issues")
    return None


def _tracker(environ: Mapping[str, str]) -> Tracker:
    if environ.get("GITLAB_CI") == "true":
        api, project, token, run = _settings(
            environ, "CI_API_V4_URL", "CI_PROJECT_ID", "ISSUES_TOKEN", "CI_JOB_URL"
        )
        return Tracker(
            f"{_address(api)}/projects/{quote(project, safe='')}/issues", {"PRIVATE-TOKEN": token},
            "iid", "description", "PUT", "opened",
            {"labels": LABEL, "confidential": True}, {"state_event": "close"},
            run, environ.get("CI_SERVER_TLS_CA_FILE") or None,
        )  # fmt: skip
    api, repository, token, server, run = _settings(
        environ, "GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN", "GITHUB_SERVER_URL", "GITHUB_RUN_ID"
    )
    headers = {"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": "2022-11-28"}
    return Tracker(
        f"{_address(api)}/repos/{quote(repository)}/issues", headers,
        "number", "body", "PATCH", "open", {"labels": [LABEL]}, {"state": "closed"},
        f"{server}/{repository}/actions/runs/{run}",
    )  # fmt: skip


def _settings(environ: Mapping[str, str], *names: str) -> list[str]:
    for name in names:
        if not environ.get(name):
            _end(
                78,
                f"{name} is not set",
                "run this in a job of GitHub Actions or GitLab CI, and read its first lines",
            )
    return [environ[name].strip() for name in names]


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost"}:
        _end(78, "the address of the service is not https", "check the address of your GitHub or GitLab")
    return url.rstrip("/")


def _end(code: int, message: str, hint: str) -> NoReturn:
    print(f"rotation_issue: error: {message}\nrotation_issue: hint: {hint}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
