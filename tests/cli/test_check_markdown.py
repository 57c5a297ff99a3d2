"""`check --format markdown`, the summary of a job, and the CI systems' own lists of errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from astro_token.ci.summary import LIMIT
from astro_token.cli.markdown import add_summary, code
from astro_token.cli.output import harmless
from astro_token.cli.remarks import Remark, annotation
from astro_token.testing import make_token
from tests.cli.deploy_project import make, tree
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.conftest import Program, Result

    Write = Callable[[str, str], Path]

HOSTILE = [
    "a|b",
    "`x` | y",
    "``|``",
    "\\`|\\",
    "[x](https://x.example)",
    "https://x.example www.x.example a@x.example @team #1",
    "<img src=x onerror=y>",
    "![x](y)",
    "##vso[task.complete result=Failed]x",
    "##[error]x",
    "::error::x",
    "$`x`$ $x$",
    "\u202ex\u200b",
]
WORDS = re.compile(r"[a-z, :\-]+|.*(UTC|ago|now|in [0-9]+ [a-z]+|never)")


def tables(markdown: str) -> list[list[list[tuple[str, str]]]]:
    """Of each table its rows, of each row its cells, of each cell how it is shown and its text."""
    found: list[list[list[tuple[str, str]]]] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level >= 3:
            (part,) = token.children or []
            found[-1][-1].append((part.type, part.content))
    return found


def markdown(program: Program, *arguments: str, **options: Any) -> Result:
    return program("check", "--format", "markdown", *arguments, **options)


# -- the tables -------------------------------------------------------------------------------------


def test_it_has_all_that_is_known_and_what_to_do(program: Program, planted: Planted, write: Write) -> None:
    planted.store(
        "prod", make_token(workspace="clws1", organization="clorg1", token_id="cltk1", expires_in=-5)
    )
    write("astro-token.toml", '[tokens.prod]\nref = "planted:prod"\n[tokens.lost]\nref = "planted:lost"\n')
    result = markdown(program, "--all")
    tokens, faults = tables(result.stdout)
    assert (65, "### astro-token check") == (result.code, result.stdout.splitlines()[0])
    titles = ["Token", "Reference", "Backend", "Version", "Scope", "Organization", "Workspace", "Deployment"]
    assert [*titles, "Token id", "Issued", "Expires", "Verdict"] == [text for _, text in tokens[0]]
    good = ["prod", "planted:prod", "planted", "1", "workspace", "clorg1", "clws1", "-", "cltk1"]
    assert good == [text for _, text in tokens[1]][:9]
    assert ("text", "error: expired") == tokens[1][-1]
    assert ["lost", "planted:lost", "planted", *["-"] * 8, "failed"] == [text for _, text in tokens[2]]
    assert ["About", "Level", "Code", "What is wrong", "What to do"] == [text for _, text in faults[0]]
    assert [["prod", "error", "expired"], ["lost", "error", "-"]] == [
        [text for _, text in row][:3] for row in faults[1:]
    ]
    for row in faults[1:]:
        for _, text in row[3:]:
            assert f"{text}\n" in result.stderr, "the same words"


def test_a_table_of_references_alone_has_no_column_for_names(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token())
    result = markdown(program, "planted:prod")
    (tokens,) = tables(result.stdout)
    assert (0, "", ["Token", "Backend"]) == (result.code, result.stderr, [text for _, text in tokens[0]][:2])


def test_what_deploy_finds_is_there_too(program: Program, canary: str, tmp_path: Path) -> None:
    project = make(program, canary, tmp_path)
    environ = {"PATH": str(project.bin), "TOKEN": canary}
    assert "\nDeploy of `.`: ok\n" in markdown(program, "--deploy", "env:TOKEN", env=environ).stdout
    (project.folder / "dags" / "etl.py").unlink()
    result = markdown(program, "--deploy", "env:TOKEN", env=environ)
    _, faults = tables(result.stdout)
    assert (65, True) == (result.code, "\nDeploy of `.`: failed\n" in result.stdout)
    assert [["deploy", "error", "no-dags"], ["deploy", "error", "uncommitted"]] == [
        [text for _, text in row][:3] for row in faults[1:]
    ]


def test_no_name_breaks_out_of_its_cell(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token())
    names = [f"planted:{name}".replace("/", "_") for name in HOSTILE]
    result = markdown(program, "planted:prod", *names, "planted:lost")
    tokens, faults = tables(result.stdout)
    found = (len(tokens), {len(row) for row in tokens}, {len(row) for row in faults})
    assert (3 + len(HOSTILE), {11}, {5}) == found
    for row in (*tokens[1:], *faults[1:]):
        for kind, text in row:
            assert kind == "code_inline" or (kind == "text" and WORDS.fullmatch(text)), (kind, text)
    assert not re.search(r"##(vso)?\[", result.stdout)


@given(st.text(max_size=60))
def test_any_text_stays_one_code_span_in_one_cell(text: str) -> None:
    shown = code(text)
    table = tables(f"| a | b | c |\n|---|---|---|\n| x | {shown} | y |\n")
    _, row = table[0]
    assert [("text", "x"), ("text", "y")] == [row[0], row[2]]
    kind, content = row[1]
    assert kind == "code_inline" or shown == content == "-"
    assert content.isprintable()
    assert set() == set("`|\\") & set(content)
    plain = "".join(one for one in text if one.isalnum())
    assert plain == "".join(one for one in content if one.isalnum())


# -- the summary of a job ---------------------------------------------------------------------------


@pytest.fixture
def summary(program: Program) -> Path:
    """The file of a step of GitHub Actions, in which an earlier line left something without a line end."""
    file = program.folder / "runner" / "step_summary_1"
    file.parent.mkdir()
    file.write_text("earlier")
    program.environ |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(file),
        "RUNNER_TEMP": str(file.parent),
    }
    return file


def test_github_gets_it_at_the_end_of_the_steps_summary(
    program: Program, planted: Planted, summary: Path
) -> None:
    planted.store("prod", make_token())
    first = markdown(program, "planted:prod")
    size = len(first.stdout.encode())
    said = f"astro-token: added {size} bytes of Markdown to the job's summary, {summary}\n"
    assert (0, said) == (first.code, first.stderr)
    second = markdown(program, "planted:prod")
    assert f"earlier\n\n{first.stdout}\n\n{second.stdout}" == summary.read_text()
    assert 2 == len(tables(summary.read_text()))


@pytest.mark.parametrize("form", ["table", "json"])
def test_no_other_format_writes_it(program: Program, planted: Planted, summary: Path, form: str) -> None:
    planted.store("prod", make_token())
    assert "" == program("check", "--format", form, "planted:prod").stderr
    assert "earlier" == summary.read_text()


def test_without_the_ci_system_a_variable_of_its_name_means_nothing(
    program: Program, planted: Planted, summary: Path
) -> None:
    planted.store("prod", make_token())
    del program.environ["GITHUB_ACTIONS"]
    assert "" == markdown(program, "planted:prod").stderr
    assert "earlier" == summary.read_text()


KINDS = {
    "link": "is a link",
    "by a link above": "through a link to another folder: the runner keeps no such file there",
    "fifo": "is not a regular file",
    "hard link": "has a second name",
    "elsewhere": "but the runner keeps no such file there",
    "in the repository": "but the runner keeps no such file there",
    "missing": "does not exist",
    "no name": "not written: file name too long\n",
    "full": "it would be longer than 1024 KiB",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_summary_that_cannot_be_trusted_or_takes_no_more_is_left_alone_with_a_word(
    program: Program, planted: Planted, summary: Path, kind: str
) -> None:
    planted.store("prod", make_token())
    path = summary.with_name("other")
    if kind == "link":
        path.symlink_to(summary)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "hard link":
        path.hardlink_to(summary)
    elif kind == "elsewhere":
        path = program.work / "summary"
        path.write_text("")
    elif kind == "in the repository":
        del program.environ["RUNNER_TEMP"]
        (program.work / ".git").mkdir()
        path = program.work / "README.md"
        path.write_text("")
    elif kind == "by a link above":
        (program.work / "summary").write_text("")
        path.symlink_to(program.work)
        path /= "summary"
    elif kind == "no name":
        path = path.with_name("x" * 300)
    elif kind == "full":
        path.write_text("x" * (LIMIT - 100))
    before = path.read_bytes() if os.path.isfile(path) else None  # noqa: PTH113 (of any length)
    result = markdown(program, "planted:prod", env={"GITHUB_STEP_SUMMARY": str(path)})
    assert (0, 1) == (result.code, len(tables(result.stdout)))
    assert re.match(
        "astro-token: warning: the job's summary was not written: .*\nastro-token: hint: .*\n$", result.stderr
    )
    assert (True, False) == (KINDS[kind] in result.stderr, "or use exec" in result.stderr)
    assert ("earlier", before) == (summary.read_text(), path.read_bytes() if before is not None else None)


def test_the_outcome_is_that_of_the_check_whatever_becomes_of_the_summary(
    program: Program, planted: Planted, summary: Path
) -> None:
    summary.unlink()
    assert 66 == markdown(program, "planted:lost").code


def test_it_is_written_and_all_is_told_where_standard_output_takes_nothing(
    program: Program, planted: Planted, summary: Path
) -> None:
    planted.store("old", make_token(expires_in=-5))
    for form in ("markdown", "table"):
        done = subprocess.run(
            ["sh", "-c", f"{PROGRAM} check --format {form} planted:old >/dev/full"],
            env=program.environment(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (65, True) == (done.returncode, "planted:old: the token expired" in done.stderr)
    assert 1 == len(tables(summary.read_text())[1:])


def test_what_could_not_be_understood_is_in_it_too(program: Program, summary: Path) -> None:
    result = markdown(program, "usr:s3cr3t")
    tokens, faults = tables(summary.read_text())
    assert (78, "(number 1)", "failed") == (result.code, tokens[1][0][1], tokens[1][-1][1])
    assert (2, False) == (len(faults), "s3cr3t" in summary.read_text())


def test_azures_agent_gets_a_file_of_its_own_by_a_command(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token())
    folder = program.folder / "agent%temp"
    folder.mkdir()
    environ = {"TF_BUILD": "True", "AGENT_TEMPDIRECTORY": str(folder)}
    before = tree(program.work)
    result = markdown(program, "planted:prod", env=environ)
    (file,) = folder.iterdir()
    assert (0, result.stdout, 0o644) == (result.code, file.read_text(), file.stat().st_mode & 0o777)
    path = str(file).replace("%", "%AZP25")
    assert f"##vso[task.uploadsummary]{path}\n" == result.stderr.splitlines(keepends=True)[0]
    assert result.stderr.endswith(f"to the job's summary, {file}\n")
    link, source = program.folder / "link", {"BUILD_SOURCESDIRECTORY": str(program.work)}
    link.symlink_to(program.work)
    for place, words in (
        ("", "AGENT_TEMPDIRECTORY does not name a folder"),
        ("agent%temp", "AGENT_TEMPDIRECTORY does not name a folder"),
        (str(program.work), f"AGENT_TEMPDIRECTORY names {program.work}, but the agent keeps no"),
        (
            str(link),
            "AGENT_TEMPDIRECTORY leads through a link to another folder: the agent keeps no",
        ),
    ):
        result = markdown(program, "planted:prod", env={**environ, **source, "AGENT_TEMPDIRECTORY": place})
        assert (0, True) == (result.code, words in result.stderr)
        assert "##vso" not in result.stderr
    assert ([file], before) == (list(folder.iterdir()), tree(program.work))


AGENT = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], sys.stdin.read()]) + "\\n")
sys.exit({code})
"""


@pytest.mark.parametrize(
    ("job", "context", "styles"),
    [
        (
            "0193-ab",
            "astro-token-check-0193-ab",
            {"prod": "success", "eternal": "warning", "old": "error"},
        ),
        ("$(x)", "astro-token-check", {"prod": "success"}),
    ],
)
def test_buildkites_agent_gets_it_by_standard_input(
    program: Program, planted: Planted, job: str, context: str, styles: dict[str, str]
) -> None:
    import json

    planted.store("prod", make_token())
    planted.store("old", make_token(expires_in=-5))
    planted.store("eternal", make_token(expires_in=None))
    log, agent = program.folder / "log", program.folder / "bin" / "buildkite-agent"
    agent.parent.mkdir()
    agent.write_text(AGENT.format(python=sys.executable, log=str(log), code=0))
    agent.chmod(0o755)
    program.environ |= {
        "BUILDKITE": "true",
        "BUILDKITE_JOB_ID": job,
        "PATH": f"{agent.parent}:{os.environ['PATH']}",
    }
    for token, style in styles.items():
        result = markdown(program, f"planted:{token}")
        argv, text = json.loads(log.read_text().splitlines()[-1])
        assert ["annotate", f"--context={context}", f"--style={style}"] == argv
        assert result.stdout == text
        assert "astro-token: added " in result.stderr
    agent.write_text(AGENT.format(python=sys.executable, log=str(log), code=1))
    result = markdown(program, "planted:prod")
    assert (0, True) == (
        result.code,
        "the job's summary was not written: buildkite-agent annotate failed\n" in result.stderr,
    )
    agent.unlink()
    result = markdown(program, "planted:prod")
    assert (0, True) == (result.code, "not written: buildkite-agent is not on PATH\n" in result.stderr)


def test_a_buildkite_agent_of_the_checkout_is_not_run(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token())
    agent = program.work / "bin" / "buildkite-agent"
    agent.parent.mkdir()
    agent.write_text("#!/bin/sh\necho ran >> ../ran\n")
    agent.chmod(0o755)
    ran = program.folder / "ran"
    environ = {"BUILDKITE": "true", "PATH": f"{agent.parent}:/usr/bin:/bin"}
    elsewhere = {**environ, "BUILDKITE_BUILD_CHECKOUT_PATH": str(program.folder / "other")}
    assert (0, True) == (markdown(program, "planted:prod", env=elsewhere).code, ran.exists())
    ran.unlink()
    named = markdown(
        program, "planted:prod", env={**environ, "BUILDKITE_BUILD_CHECKOUT_PATH": str(program.work)}
    )
    (program.work / ".git").mkdir()
    for result in (named, markdown(program, "planted:prod", env=environ)):
        assert (0, False) == (result.code, ran.exists())
        assert "buildkite-agent is on PATH only in the checkout\n" in result.stderr


@pytest.mark.parametrize("mark", ["TF_BUILD", "BUILDKITE"])
@pytest.mark.parametrize("over", [0, 1])
def test_what_is_too_long_is_not_handed_to_an_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mark: str, over: int
) -> None:
    agent, folder = tmp_path / "bin" / "buildkite-agent", tmp_path / "temporary"
    agent.parent.mkdir()
    agent.write_text(f"#!/bin/sh\ncat > '{folder}/summary'\n")
    agent.chmod(0o755)
    folder.mkdir()
    environ = {
        mark: "true",
        "AGENT_TEMPDIRECTORY": str(folder),
        "PATH": f"{agent.parent}:/usr/bin:/bin",
        "BUILDKITE_BUILD_CHECKOUT_PATH": str(tmp_path / "checkout"),
    }
    add_summary("x" * (LIMIT + over), "ok", environ)
    told = capsys.readouterr().err
    assert (not over, bool(over)) == (bool(list(folder.iterdir())), "longer than 1024 KiB" in told)


@pytest.mark.parametrize("mark", ["GITLAB_CI", "CIRCLECI", "DRONE", "TRAVIS"])
def test_a_system_without_one_gets_none(program: Program, planted: Planted, mark: str) -> None:
    planted.store("prod", make_token())
    assert "" == markdown(program, "planted:prod", env={mark: "true", "CI": "true"}).stderr


# -- annotations ------------------------------------------------------------------------------------

GITHUB = {"GITHUB_ACTIONS": "true", "CI": "true"}
AZURE = {"TF_BUILD": "True"}


def commands(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if not line.startswith("astro-token: ")]


def test_each_error_and_warning_is_an_annotation_of_github_in_every_format(
    program: Program, canary: str, tmp_path: Path
) -> None:
    project = make(program, canary, tmp_path)
    (project.folder / "dags" / "etl.py").unlink()
    (project.bin / "docker").unlink()
    old = make_token(expires_in=-5)[:-300]
    environ = {"PATH": str(project.bin), "TOKEN": canary, "OLD": old, **GITHUB}
    for form in ("table", "json", "markdown"):
        result = program(
            "check", "--deploy", "--format", form, "env:OLD", "env:NONE", "env:TOKEN", env=environ
        )
        found = [
            re.match("::(error|warning) title=astro-token(?:%3A ([a-z-]+))?::", line)
            for line in commands(result)
        ]
        assert [
            ("warning", "signature-cut"),
            ("error", "expired"),
            ("error", None),
            ("error", "no-dags"),
            ("error", "uncommitted"),
            ("warning", "no-docker"),
        ] == [one.groups() for one in found if one]
        said = re.findall("^astro-token: (error|warning|hint): (.*)", result.stderr, re.MULTILINE)
        for line, (_, message), (_, hint) in zip(commands(result), said[::2], said[1::2], strict=True):
            assert line.endswith(f"::{message}%0A{hint}")


def test_azures_agent_gets_issues_with_their_codes(program: Program, planted: Planted) -> None:
    planted.store("old", make_token(expires_in=-5)[:-300])
    result = program("check", "planted:old", "planted:lost", env=AZURE)
    first, second, third = commands(result)
    assert first.startswith(
        "##vso[task.logissue type=warning;code=signature-cut;]astro-token: planted:old: the"
    )
    assert second.startswith(
        "##vso[task.logissue type=error;code=expired;]astro-token: planted:old: the token"
    )
    assert (
        "##vso[task.logissue type=error;]astro-token: planted:lost: no such secret; see what there is"
        == third
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CI": "true"},
        {"GITHUB_ACTIONS": "false"},
        {**GITHUB, "GITEA_ACTIONS": "true"},
        {**GITHUB, "FORGEJO_ACTIONS": "true"},
        {**GITHUB, "ACT": "true"},
        {"TEAMCITY_VERSION": "2025.1"},
        {"GITLAB_CI": "true"},
        {"BUILDKITE": "true"},
    ],
    ids=lambda environ: " ".join(environ) or "none",
)
def test_elsewhere_there_is_none(program: Program, planted: Planted, environ: dict[str, str]) -> None:
    result = program("check", "planted:lost", env=environ)
    assert (66, []) == (result.code, commands(result))
    assert "astro-token: error: planted:lost: no such secret\n" in result.stderr


def test_a_person_at_a_terminal_sees_none(program: Program, planted: Planted) -> None:
    environ = {**program.environment(), "TERM": "xterm", **GITHUB}
    with Terminal([str(PROGRAM), "check", "planted:lost"], env=environ, cwd=program.work) as terminal:
        assert 66 == terminal.finish()
    assert (True, False) == ("no such secret" in terminal.shown, "::error" in terminal.shown)


def test_a_person_at_a_terminal_makes_no_summary_of_azures(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token())
    folder = program.folder / "agent"
    folder.mkdir()
    environ = {**program.environment(), "TERM": "xterm", **AZURE, "AGENT_TEMPDIRECTORY": str(folder)}
    command = [str(PROGRAM), "check", "--format", "markdown", "planted:prod"]
    with Terminal(command, env=environ, cwd=program.work) as terminal:
        assert 0 == terminal.finish()
    assert (False, []) == ("##vso" in terminal.shown, list(folder.iterdir()))


def test_a_good_token_is_no_annotation(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token())
    for environ in (GITHUB, AZURE):
        assert "" == program("check", "planted:prod", env=environ).stderr


def test_what_could_not_be_understood_is_one_too(program: Program) -> None:
    result = program("check", "usr:s3cr3t", env=GITHUB)
    assert (78, True, False) == (
        result.code,
        "::error title=astro-token::" in result.stderr,
        "s3cr3t" in result.stderr,
    )


def decoded(line: str) -> tuple[str, str]:
    """As GitHub's runner reads a command: its properties and its data."""
    head, _, data = line[2:].partition("::")
    for text, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        head = head.replace(text, character)
        if character not in ":,":
            data = data.replace(text, character)
    return head, data


PIECES = st.sampled_from(
    [*"%:,;]\n\r\u2028\x1bx", "%0A", "%25", "%AZP25", "%3A", "##[", "##vso[", "::error::"]
)
TEXTS = st.text(max_size=40) | st.lists(PIECES, max_size=12).map("".join)


@given(TEXTS, TEXTS, st.sampled_from(["expired", None]))
def test_no_text_ends_a_command_or_starts_another(message: str, hint: str, found: str | None) -> None:
    remark = Remark("error", "prod", found, message, hint)
    line = annotation(remark, GITHUB) or ""
    head, data = decoded(line)
    title = "error title=astro-token" + (f": {found}" if found else "")
    assert (title, 1, True) == (head, len(line.splitlines()), line.startswith("::error title="))
    assert f"prod: {harmless(message)}\n{harmless(hint)}" == data
    assert "##" not in line
    line = annotation(remark, AZURE) or ""
    assert (1, 1) == (len(line.splitlines()), line.count("##"))
    shown = f"]astro-token: prod: {harmless(message)}" + (f"; {harmless(hint)}" if hint else "")
    assert line.partition("]")[1:] == ("]", shown[1:].replace("%", "%AZP25"))
