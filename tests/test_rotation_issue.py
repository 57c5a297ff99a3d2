"""The script of the scheduled workflows that opens, updates and closes one issue."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT
from tests.servers.http1 import Answer
from tests.servers.issues import Issues

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "rotation_issue", ROOT / "examples" / "ci" / "rotation_issue.py"
)
assert _SPEC
assert _SPEC.loader
rotation_issue = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(rotation_issue)

MARK = "<!-- astro-token: rotation -->"
LABEL = "astro-token"
HOSTILE = "a`|]\n::error::x <!-- @team ![x](https://evil.example.com) ##[set-output]"


@pytest.fixture(params=["github", "gitlab"])
def issues(request: pytest.FixtureRequest) -> Iterator[Issues]:
    with Issues(request.param) as server:
        yield server


def token(name: str | None, code: int = 0, *verdicts: str, message: str = "") -> dict[str, Any]:
    error = (
        {"type": "RotationError", "exit_code": code, "message": message, "hint": message} if code else None
    )
    found = [{"code": kind, "level": "error", "message": message, "hint": message} for kind in verdicts]
    return {
        "name": name,
        "ref": message,
        "expires": "2026-12-24T12:30:00Z",
        "verdicts": found,
        "error": error,
    }


@dataclass(frozen=True)
class Run:
    returncode: int
    stdout: str
    stderr: str


class Script:
    """Runs the script in this process. The tests of the workflows run it as a program."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self.monkeypatch, self.output = folder, monkeypatch, output

    def __call__(
        self, issues: Issues, *documents: Sequence[dict[str, Any]] | None, status: str = "0", **environ: str
    ) -> Run:
        """Run it for these documents. None stands for a command that wrote nothing."""
        files = [self.folder / name for name in ("rotate.json", "check.json")]
        for file, tokens in zip(files, documents, strict=True):
            file.write_text("" if tokens is None else json.dumps({"tokens": tokens, "exit_code": 0}))
        job = {**issues.environment(), issues.variable: issues.token, "ROTATE_STATUS": status, **environ}
        for name, value in job.items():
            self.monkeypatch.setenv(name, value)
        try:
            code = rotation_issue.main([str(file) for file in files])
        except SystemExit as end:
            code = int(str(end.code))
        return Run(code, *self.output.readouterr())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    return Script(tmp_path, monkeypatch, capsys)


def test_one_issue_is_opened_updated_and_closed(issues: Issues, run: Script, canary: str) -> None:
    bad, good = token("prod", 81, message=canary), token("dev")
    done = run(issues, [bad, good], [good, token("old", 65, "expires-too-soon", message=canary)])
    assert (0, "the issue has 2 lines\n", "") == (done.returncode, done.stdout, done.stderr)
    (number,) = issues.texts()
    text = issues.texts()[number]
    assert text.startswith(f"{MARK}\n")
    assert "| `prod` | A person has to act now: the log has the instruction. |\n" in text
    assert "| `old` | `check`: expires-too-soon (2026-12-24 12:30 UTC). |\n" in text
    assert ("/77)" in text, "`dev`" in text, canary in text) == (True, False, False)
    assert [LABEL] == issues.issues[number]["labels"]
    assert not issues.saw(canary)
    # Another title changes nothing: the next run finds it by its label and its mark.
    issues.issues[number]["title"] = "renamed"
    done = run(issues, [token("dev", 66)], [good])
    assert (0, "the issue has 1 line\n", "") == (done.returncode, done.stdout, done.stderr)
    assert ([number], "renamed") == (list(issues.texts()), issues.issues[number]["title"])
    assert ("`prod`" in issues.texts()[number], "`dev`" in issues.texts()[number]) == (False, True)
    done = run(issues, [good], [good])
    assert (0, "nothing is left: the issue is closed\n", "") == (done.returncode, done.stdout, done.stderr)
    assert {} == issues.texts()
    done = run(issues, [good], [good])
    assert (0, "nothing needs a person\n", 1) == (done.returncode, done.stdout, len(issues.issues))


def test_the_issue_is_found_on_any_page_and_others_are_left_alone(issues: Issues, run: Script) -> None:
    own = issues.open(MARK, LABEL)
    second = issues.open(f"{MARK}\nopened by a run at the same time", LABEL)
    strangers = [issues.open(MARK), issues.open("text", LABEL), issues.open(MARK, LABEL, is_open=False)]
    if issues.system == "github":
        strangers.append(issues.open(MARK, LABEL, is_request=True))
    strangers += [issues.open("", LABEL) for _ in range(120)]
    before = {number: dict(issues.issues[number]) for number in strangers}
    done = run(issues, [token("prod", 81)], [token("prod")])
    assert (0, "") == (done.returncode, done.stderr)
    assert "`prod`" in issues.texts()[own]
    assert (second in issues.texts()) is False
    assert before == {number: issues.issues[number] for number in strangers}
    assert 2 == sum(request.method == "GET" for request in issues.requests)


def test_nothing_of_a_name_is_markup_or_a_command(issues: Issues, run: Script) -> None:
    done = run(issues, [token(HOSTILE, 77), token(None, 77)], [token(HOSTILE, 65, HOSTILE)])
    assert (0, "the issue has 2 lines\n", "") == (done.returncode, done.stdout, done.stderr)
    (text,) = issues.texts().values()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    cells = [row.split("|")[1] for row in rows]
    assert any("`?without?a?name?`" in cell for cell in cells)
    assert (2, [3, 3]) == (len(rows), [row.count("|") for row in rows])
    assert not set("@!<[:#\n") & set("".join(cells))
    assert "evil.example.com)" not in text


@pytest.mark.parametrize(("status", "count"), [("75", 0), ("78", 1), ("", 1)])
def test_a_missing_report_is_a_finding_unless_the_service_was_busy(
    issues: Issues, run: Script, status: str, count: int
) -> None:
    done = run(issues, None, None, status=status)
    assert (0, "", count) == (done.returncode, done.stderr, len(issues.issues))
    # Nothing is closed because a report is missing.
    own = issues.open(MARK, LABEL)
    assert 0 == run(issues, None, [token("prod")], status="75").returncode
    assert own in issues.texts() or count
    assert 0 == run(issues, [token("prod", 75)], [token("prod", 75)]).returncode


def test_a_long_list_is_cut(issues: Issues, run: Script) -> None:
    assert 0 == run(issues, [token(f"t{number}", 66) for number in range(1000)], []).returncode
    (text,) = issues.texts().values()
    assert ("and 900 more." in text, len(text) < 65536) == (True, True)


def test_a_busy_service_is_tried_again(issues: Issues, run: Script) -> None:
    busy, limit = Answer(429, headers={"Retry-After": "0"}), Answer(403, headers={"Retry-After": "0"})
    issues.faults += [busy, Answer(502, headers={"Retry-After": "0"}), None, limit]
    done = run(issues, [token("prod", 81)], [])
    assert (0, "") == (done.returncode, done.stderr)
    assert [1, 5] == [len(issues.texts()), issues.count]


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (Answer(429, headers={"Retry-After": "3600"}), 75, "the service of the issues is busy"),
        (Answer(403), 77, "the issues cannot be read or written (403)"),
        (Answer(302, headers={"Location": "http://127.0.0.1:1/"}), 76, "answered with a redirect"),
        (Answer(422), 70, "the service refuses the request (422)"),
        (Answer.json({"message": "no list"}), 76, "the response is not a list of issues"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_a_refusal_ends_with_one_line_and_a_hint(
    issues: Issues, run: Script, answer: Answer, code: int, message: str
) -> None:
    issues.faults += [answer]
    done = run(issues, [token("prod", 81)], [])
    lines = done.stderr.splitlines()
    assert (code, "", 2, 1) == (done.returncode, done.stdout, len(lines), issues.count), done.stderr
    assert message in lines[0]
    assert lines[1].startswith("rotation_issue: hint: ")
    assert issues.token not in done.stderr


def test_a_token_that_may_only_read_or_is_none(issues: Issues, run: Script) -> None:
    for value, status in ((issues.reader, 403), ("other", 401)):
        done = run(issues, [token("prod", 81)], [], **{issues.variable: value})
        assert (77, True) == (done.returncode, f"({status})" in done.stderr), done.stderr
        assert value not in done.stderr
    done = run(issues, [], [], **{issues.variable: ""})
    assert (78, True) == (done.returncode, f"{issues.variable} is not set" in done.stderr)
    assert 0 == len(issues.issues)


def test_the_token_is_sent_by_https_only(issues: Issues, run: Script) -> None:
    variable = {"github": "GITHUB_API_URL", "gitlab": "CI_API_V4_URL"}[issues.system]
    done = run(issues, [], [], **{variable: "http://localhost.example.com"})
    assert (78, True, 0) == (done.returncode, "not https" in done.stderr, issues.count)
