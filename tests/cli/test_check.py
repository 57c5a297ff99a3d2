"""`check`: what it says of tokens, to people and to programs."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.cli.findings import tabulate
from astro_token.cli.table import laid_out, show
from astro_token.errors import BackendUnavailableError, PolicyError
from astro_token.policy.rules import Verdict
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from astro_token.token import AstroToken
from astro_token.tokens.online import Online
from astro_token.tokens.read_many import TokenReport
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, Result
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.conftest import Program

    Write = Callable[[str, str], Path]

ISSUED, EXPIRES, PAST = 1_700_000_000, 4_102_444_800, 1_710_000_000
NEW = "create a new token with astro-token create, or in Astro, and store it instead"


def fixed(**options: Any) -> str:
    """A token whose every claim is known."""
    return make_token(**{
        "organization": "clorg1",
        "workspace": "clws1",
        "token_id": "cltk1",
        "iat": ISSUED,
        "exp": EXPIRES,
        **options,
    })  # fmt: skip


def described(stored: str, /, **changes: Any) -> dict[str, Any]:
    """What JSON says of a fixed token."""
    return {
        "name": None,
        "ref": f"planted:{stored}",
        "backend": "planted",
        "chain": [],
        "version": "1",
        "status": "ok",
        "scope": "workspace",
        "organization": "clorg1",
        "workspace": "clws1",
        "deployment": None,
        "token_id": "cltk1",
        "issued": "2023-11-14T22:13:20Z",
        "expires": "2100-01-01T00:00:00Z",
        "expires_in": 0,
        "verdicts": [],
        "error": None,
        "online": None,
        **changes,
    }


def verdict(code: str, level: str, message: str, hint: str) -> dict[str, Any]:
    return {"code": code, "level": level, "message": message, "hint": hint}


def error(kind: str, code: int, message: str, hint: str) -> dict[str, Any]:
    return {"type": kind, "exit_code": code, "message": message, "hint": hint}


NOTHING = dict.fromkeys(
    ("version", "scope", "organization", "workspace", "token_id", "issued", "expires", "expires_in"), None
)


def timeless(text: str) -> str:
    """Without what depends on the day of the run: how long until 2100, and since 2023."""
    return re.sub(r"(in )?[0-9]+ days( ago)?", lambda found: f"{found[1] or ''}N days{found[2] or ''}", text)


def untimed(found: dict[str, Any]) -> dict[str, Any]:
    """What JSON says, with each number of seconds left replaced by 0 once it is right."""
    for entry in found["tokens"]:
        if entry["expires"]:
            left = datetime.fromisoformat(entry["expires"]) - datetime.now(UTC)
            assert abs(entry["expires_in"] - left.total_seconds()) < 60
            entry["expires_in"] = 0
    return found


# -- for people -------------------------------------------------------------------------------------

BLOCK = """\
TOKEN         planted:prod
BACKEND       planted
VERSION       1
SCOPE         workspace
ORGANIZATION  clorg1
WORKSPACE     clws1
DEPLOYMENT    -
TOKEN ID      cltk1
ISSUED        2023-11-14 22:13 UTC, N days ago
EXPIRES       2100-01-01 00:00 UTC, in N days
VERDICT       ok
"""


def test_of_one_token_all_is_shown(program: Program, planted: Planted) -> None:
    planted.store("prod", fixed())
    result = program("check", "planted:prod")
    assert (0, BLOCK, "") == (result.code, timeless(result.stdout), result.stderr)


def test_each_verdict_has_a_line(program: Program, planted: Planted) -> None:
    planted.store("prod", fixed(deployment="cldep1", exp=PAST)[:-300])
    result = program("check", "planted:prod")
    lines = timeless(result.stdout).splitlines()[-3:]
    assert [
        "EXPIRES       2024-03-09 16:00 UTC, N days ago",
        "VERDICT       error: expired",
        "              warning: signature-cut",
    ] == lines


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (12 * 86400 + 60, "in 12 days"),
        (86400 + 3700, "in 25 hours"),
        (150, "in 2 minutes"),
        (-12 * 86400 - 60, "12 days ago"),
    ],
)
def test_how_long_a_token_is_valid_is_told_from_now(
    program: Program, planted: Planted, seconds: int, words: str
) -> None:
    planted.store("prod", make_token(expires_in=seconds))
    assert f" UTC, {words}\n" in program("check", "planted:prod").stdout


def test_several_are_shown_and_every_failure_too_and_the_worst_decides(
    program: Program, planted: Planted
) -> None:
    planted.store("prod", fixed())
    planted.store("old", fixed(exp=PAST)[:-300])
    planted.store("eternal", fixed(exp=None, workspace=None, expires_in=None))
    tokens = ("planted:prod", "planted:old", "planted:eternal", "planted:lost", "planted:denied")
    table = """\
TOKEN            SCOPE         EXPIRES                 VERDICT
planted:prod     workspace     2100-01-01, in N days  ok
planted:old      workspace     2024-03-09, N days ago  error: expired
                                                      warning: signature-cut
planted:eternal  organization  never                   warning: no-expiry
planted:lost     -             -                       failed
planted:denied   -             -                       failed
"""
    words = f"""\
astro-token: warning: planted:old: {CUT}
astro-token: hint: {WHOLE}
astro-token: error: planted:old: the token expired at 2024-03-09 16:00 UTC
astro-token: hint: {NEW}
astro-token: warning: planted:eternal: the token never expires
astro-token: hint: create one with an expiry, and rotate it
astro-token: error: planted:lost: no such secret
astro-token: hint: see what there is
astro-token: error: planted:denied: not for you
astro-token: hint: ask
"""
    result = program("check", *tokens)
    assert (77, squeezed(table), words) == (result.code, squeezed(result.stdout), result.stderr)
    heads = {line.index(word) for line in result.stdout.splitlines() for word in VERDICTS if word in line}
    assert 1 == len(heads), "all below each other"
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert [0, 65, 0, 66, 77] == [program("check", token).code for token in tokens]


VERDICTS = ("VERDICT", "ok", "error:", "warning:", "failed")
CUT = "the token's signature is too short for its algorithm, so its end is probably cut off"
WHOLE = "store the complete token as Astro showed it when it was created"


def squeezed(text: str) -> str:
    return re.sub(" +", " ", timeless(text))


def test_a_warning_alone_is_told_and_fails_nothing(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token(expires_in=None))
    expected = (
        "astro-token: warning: planted:prod: the token never expires\n"
        "astro-token: hint: create one with an expiry, and rotate it\n"
    )
    for form in ("table", "json", "markdown"):
        result = program("check", "--format", form, "planted:prod")
        assert (0, expected) == (result.code, result.stderr)


def test_strict_turns_a_warning_into_65(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token(expires_in=None))
    planted.store("fine", make_token())
    refusal = (
        "astro-token: error: --strict does not accept warnings\n"
        "astro-token: hint: fix them, or omit --strict\n"
    )
    for form in ("table", "json", "markdown"):
        result = program("check", "--strict", "--format", form, "planted:prod", "planted:fine")
        assert (65, True) == (result.code, result.stderr.endswith(refusal))
    result = program("check", "--strict", "planted:fine")
    assert (0, "") == (result.code, result.stderr)


def test_strict_does_not_hide_a_worse_failure(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token(expires_in=None))
    for other, code in (("denied", 77), ("missing", 65)):  # 65 is worse than 66
        result = program("check", "--strict", "planted:prod", f"planted:{other}")
        assert (code, False) == (result.code, "--strict" in result.stderr)


def test_every_error_of_a_token_is_told_and_not_the_first_alone(
    program: Program, planted: Planted, write: Write
) -> None:
    planted.store("prod", fixed())
    write("astro-token.toml", '[tokens.prod]\nref = "planted:prod"\norganization = "o2"\nworkspace = "w2"\n')
    result = program("check", "prod")
    assert 65 == result.code
    assert [
        "prod (planted:prod): the token is for organization clorg1, and the project expects o2",
        "prod (planted:prod): the token is for workspace clws1, and the project expects w2",
    ] == re.findall("^astro-token: error: (.*)", result.stderr, re.MULTILINE)


def test_where_a_row_does_not_fit_each_token_has_a_block_and_every_cell_is_whole(
    program: Program, planted: Planted
) -> None:
    name = "a-name-that-leaves-no-room-for-the-rest"
    planted.store(name, fixed())
    tokens = (f"planted:{name}", "planted:nothing")
    result = program("check", *tokens, env={"COLUMNS": "40", "NO_COLOR": "1"})
    expected = f"""{BLOCK.replace("planted:prod", f"planted:{name}")}
TOKEN    planted:nothing
BACKEND  planted
ERROR    no such secret
VERDICT  failed
"""
    assert (66, expected) == (result.code, timeless(result.stdout))
    wide = program("check", *tokens, env={"COLUMNS": "120"})
    assert 3 == len(wide.stdout.splitlines())


def test_a_long_name_has_a_line_of_its_own_and_leaves_the_others_theirs(
    program: Program, planted: Planted
) -> None:
    name = "a-name-that-leaves-no-room-for-the-rest"
    planted.store(name, fixed())
    shown = program("check", f"planted:{name}", "planted:no", env={"COLUMNS": "60"}).stdout.splitlines()
    assert ["TOKEN", f"planted:{name}", "workspace", "planted:no"] == [line.split()[0] for line in shown]
    column = shown[0].index("SCOPE")
    assert {column} == {len(line) - len(line[column:].lstrip()) for line in (shown[2], shown[3])}
    assert max(map(len, shown)) <= 60


def test_without_a_terminal_there_is_no_escape_code_and_a_row_stays_a_line(
    program: Program, planted: Planted
) -> None:
    name = "x" * 150
    planted.store(name, fixed())
    for environ in ({}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}):
        result = program("check", *[f"planted:{name}"] * 2, env=environ)
        assert (0, 3, False) == (result.code, len(result.stdout.splitlines()), "\x1b" in result.stdout)


def test_without_a_terminal_a_table_loads_no_library_for_it(program: Program, planted: Planted) -> None:
    """It would take longer than all else that is done for a table."""
    planted.store("prod", fixed())
    environ = {"PYTHONPROFILEIMPORTTIME": "1"}
    for token in ("planted:prod", "planted:denied"):
        loaded = program("check", token, "planted:prod", env=environ).stderr
        assert (False, True) == ("rich" in loaded, "astro_token.cli.table" in loaded)


@pytest.mark.parametrize(
    ("environ", "colours"), [({}, ["32", "31", "33", "31"]), ({"NO_COLOR": "1"}, []), ({"TERM": "dumb"}, [])]
)
def test_a_terminal_has_colours_that_say_what_the_words_say(
    program: Program, planted: Planted, environ: dict[str, str], colours: list[str]
) -> None:
    planted.store("prod", fixed())
    planted.store("old", fixed(exp=PAST)[:-300])
    command = [str(PROGRAM), "check", "planted:prod", "planted:old", "planted:lost"]
    environ = {**program.environment(), "TERM": "xterm", **environ}
    with Terminal(command, env=environ, cwd=program.work, size=(24, 80)) as terminal:
        assert 65 == terminal.finish()
    table = terminal.shown.partition("astro-token:")[0]
    assert colours == re.findall("\x1b\\[(?:1;)?(3[0-9])m", table)
    plain = re.sub("\x1b\\[[0-9;]*m", "", table).splitlines()
    assert ["ok", "error: expired", "warning: signature-cut", "failed"] == [
        re.split("  +", line)[-1] for line in plain[1:]
    ]
    assert max(map(len, plain)) <= 80


def test_a_silent_backend_holds_up_no_other_and_all_have_one_deadline(
    program: Program, planted: Planted
) -> None:
    planted.store("prod", fixed())
    silent = [f"planted:silent-{number}" for number in range(8)]
    tokens = [*silent, "planted:prod", "planted:lost", "planted:prod"]
    with within(3):  # one after the other they would take 24
        result = program("check", "--format", "json", "--timeout", "3", *tokens)
    found = json.loads(result.stdout)["tokens"]
    codes = [entry["error"]["exit_code"] if entry["error"] else 0 for entry in found]
    assert (66, [75] * 8 + [0, 66, 0], tokens) == (result.code, codes, [entry["ref"] for entry in found])


def test_many_are_shown_in_the_order_asked(program: Program, planted: Planted) -> None:
    names = [f"t{number}" for number in range(40)]
    for name in names:
        planted.store(name, fixed())
    result = program("check", "--format", "json", *(f"planted:{name}" for name in names))
    assert [f"planted:{name}" for name in names] == [
        entry["ref"] for entry in json.loads(result.stdout)["tokens"]
    ]


def test_what_is_no_reference_is_said_beside_the_others_and_not_repeated(
    program: Program, planted: Planted
) -> None:
    planted.store("prod", fixed())
    result = program("check", "usr:s3cr3tpassword", "planted:prod", "planted:lost")
    table = """\
TOKEN SCOPE EXPIRES VERDICT
(number 1) - - failed
planted:prod workspace 2100-01-01, in N days ok
planted:lost - - failed
"""
    assert (78, table, False) == (result.code, squeezed(result.stdout), "s3cr3t" in result.stderr)
    assert 2 == result.stderr.count("astro-token: error: ")
    found = json.loads(program("check", "--format", "json", "usr:s3cr3tpassword", "planted:prod").stdout)
    assert [(None, None, 78), ("planted:prod", "planted", 0)] == [
        (entry["ref"], entry["backend"], entry["error"]["exit_code"] if entry["error"] else 0)
        for entry in found["tokens"]
    ]


def test_where_there_is_nothing_to_show_of_a_token_the_table_is_left_out(
    program: Program, tmp_path: Path
) -> None:
    expected = (
        "astro-token: error: the token is neither a reference nor a name: no project file names a token\n"
        "astro-token: hint: a reference has the form scheme:name, such as vault:secret/astro/prod#token\n"
    )
    assert Result(64, "", expected) == program("check", "prod")
    assert program("check", "--deploy", "--path", str(tmp_path), "prod").stdout.startswith("DEPLOY ")


@pytest.mark.parametrize("name", ["::error title=x::y", " ::stop-commands::x"])
def test_no_line_begins_as_a_command_of_a_runner(program: Program, planted: Planted, name: str) -> None:
    planted.store("prod", fixed())
    (program.work / name).mkdir()
    result = program("check", "--deploy", "--path", name, "planted:prod")
    assert name.lstrip()[2:] in result.stdout
    assert [] == [line for line in result.stdout.splitlines() if line.lstrip().startswith("::")]


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_a_log_has_colours_where_they_are_asked_for(
    environ: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    show(("A", "VERDICT"), [["a", "ok"]])
    assert coloured == ("\x1b[32mok" in capsys.readouterr().out)


def test_that_astro_could_not_be_asked_is_told_beside_what_was_found_without_it() -> None:
    now = datetime.now(UTC)
    token = AstroToken.parse(SecretValue(make_token(expires_in=-5).encode()))
    expired = Verdict("expired", "error", "it is over", "create one")
    online = Online(token, (expired,), error=BackendUnavailableError("no answer"))
    _, _, (block,) = tabulate([TokenReport(None, token, (expired,), PolicyError("it is over"), online)], now)
    assert [("VERDICT", "failed"), ("", "error: expired")] == block[-2:]


@pytest.mark.parametrize(
    ("text", "columns"), [("é", 1), ("e\u0301", 1), ("日本", 4), ("❤\ufe0f", 1), ("a⃝", 1)]
)
def test_columns_stand_below_each_other_whatever_the_characters(text: str, columns: int) -> None:
    _, first, second = laid_out(("A", "B"), [[text, "x"], ["a" * 6, "x"]], (), None)
    (left, _), (right, _) = first
    assert (text + " " * (8 - columns), "x  ") == (left, right)
    assert 8 == len(second[0][0])


def test_a_terminal_has_a_bar_while_many_are_read_and_none_afterwards(
    program: Program, planted: Planted
) -> None:
    planted.store("prod", fixed())
    many = ["planted:prod"] * 4 + ["planted:silent"]
    for tokens, bars in ((many, True), (many[:2], False)):
        command = [str(PROGRAM), "check", "--timeout", "1", *tokens]
        environ = {**program.environment(), "TERM": "xterm", "COLUMNS": "100"}
        with Terminal(command, env=environ, cwd=program.work, size=(24, 100)) as terminal:
            code = terminal.finish()
        bar = "━" in terminal.shown
        assert (75 if bars else 0, bars) == (code, bar)
        # The last thing that is done to its line is to clear it.
        assert not bars or "\x1b[2K" in terminal.shown[terminal.shown.rindex("━") :]


# -- for programs -----------------------------------------------------------------------------------


def test_json_says_all_that_is_known(program: Program, planted: Planted) -> None:
    planted.store("prod", fixed())
    planted.store("lost end", fixed(deployment="cldep1", exp=PAST)[:-300])
    result = program("check", "--format", "json", "planted:prod", "planted:lost end", "planted:nothing")
    message = "planted:lost end: the token expired at 2024-03-09 16:00 UTC"
    missing = error("SecretNotFoundError", 66, "planted:nothing: no such secret", "see what there is")
    expected = {
        "tokens": [
            described("prod"),
            described(
                "lost end",
                status="failed",
                scope="deployment",
                deployment="cldep1",
                expires="2024-03-09T16:00:00Z",
                verdicts=[
                    verdict("expired", "error", "the token expired at 2024-03-09 16:00 UTC", NEW),
                    verdict("signature-cut", "warning", CUT, WHOLE),
                ],
                error=error("InvalidTokenError", 65, message, NEW),
            ),
            described("nothing", **NOTHING, status="failed", error=missing),
        ]
    }
    words = (
        f"astro-token: warning: planted:lost end: {CUT}\nastro-token: hint: {WHOLE}\n"
        f"astro-token: error: {message}\nastro-token: hint: {NEW}\n"
        "astro-token: error: planted:nothing: no such secret\nastro-token: hint: see what there is\n"
    )
    said = json.loads(result.stdout)
    assert result.stdout == json.dumps(said, indent=2) + "\n"
    assert (65, expected, words) == (result.code, untimed(said), result.stderr)
    assert [list(entry) for entry in expected["tokens"]] == [list(entry) for entry in said["tokens"]]


# -- with a project's file --------------------------------------------------------------------------

PROJECT = """\
default = "prod"

[policy]
max_scope = "workspace"
warn_validity = "14d"

[tokens.prod]
ref = "planted:prod"
workspace = "clws1"

[tokens.wide]
ref = "planted:wide"

[tokens.other]
ref = "planted:other"
organization = "clorg1"
workspace = "clws1"
"""


@pytest.fixture
def project(write: Write, planted: Planted) -> None:
    write("astro-token.toml", PROJECT)
    planted.store("prod", fixed())
    planted.store("wide", fixed(workspace=None))
    planted.store("other", fixed(workspace="clws2"))


@pytest.mark.usefixtures("project")
def test_all_tokens_of_the_file_are_checked_by_its_policy_and_expectations(program: Program) -> None:
    wide = "the token's scope is organization, and policy allows workspace at most"
    narrower = "create a token of workspace scope and store it instead"
    wrong = "the token is for workspace clws2, and the project expects clws1"
    right = "store the right token under this reference, or correct the project file"
    result = program("check", "--all", "--format", "json")
    expected = [
        described("prod", name="prod"),
        described(
            "wide",
            name="wide",
            status="failed",
            scope="organization",
            workspace=None,
            verdicts=[verdict("scope-too-wide", "error", wide, narrower)],
            error=error("PolicyError", 65, f"planted:wide: {wide}", narrower),
        ),
        described(
            "other",
            name="other",
            status="failed",
            workspace="clws2",
            verdicts=[verdict("wrong-workspace", "error", wrong, right)],
            error=error("PolicyError", 65, f"planted:other: {wrong}", right),
        ),
    ]
    words = (
        f"astro-token: error: wide (planted:wide): {wide}\nastro-token: hint: {narrower}\n"
        f"astro-token: error: other (planted:other): {wrong}\nastro-token: hint: {right}\n"
    )
    said = untimed(json.loads(result.stdout))
    assert (65, {"tokens": expected}, words) == (result.code, said, result.stderr)


@pytest.mark.usefixtures("project")
def test_what_is_wrong_is_told_with_the_name_that_the_file_has_for_the_token(
    program: Program, write: Write
) -> None:
    write(
        "astro-token.toml",
        '[tokens.lost]\nref = "planted:lost"\n[tokens.unknown]\nref = "usr:x"\n'
        '[tokens.locked]\nref = "planted:prod"\ndecrypt = "usr:x"\n',
    )
    result = program("check", "--all")
    lines = re.findall("^astro-token: error: (.*)", result.stderr, re.MULTILINE)
    assert (78, "lost (planted:lost): no such secret") == (result.code, lines[0])
    assert ["unknown:", "locked:"] == [line.split()[0] for line in lines[1:]]


@pytest.mark.usefixtures("project")
def test_the_default_and_names_of_the_file_are_found_from_below_it(program: Program) -> None:
    (program.work / ".git").mkdir()
    below = program.work / "dags" / "team"
    below.mkdir(parents=True)
    for arguments in ([], ["prod"]):
        result = program("check", *arguments, cwd=below)
        assert (0, "") == (result.code, result.stderr)
        assert ["TOKEN         prod", "REFERENCE     planted:prod"] == result.stdout.splitlines()[:2]


@pytest.mark.usefixtures("project")
def test_the_environment_can_only_tighten_what_the_file_says(program: Program, planted: Planted) -> None:
    planted.store("prod", make_token(workspace="clws1", expires_in=5 * 86400))
    assert (0, True) == verdicts(program, {}, "expires-soon")
    assert (65, True) == verdicts(program, {"ASTRO_TOKEN_POLICY_MIN_VALIDITY": "7d"}, "expires-too-soon")
    assert (0, True) == verdicts(program, {"ASTRO_TOKEN_POLICY_WARN_VALIDITY": "1d"}, "expires-soon")
    assert (65, True) == verdicts(program, {"ASTRO_TOKEN_POLICY_MAX_SCOPE": "deployment"}, "scope-too-wide")
    planted.store("prod", make_token(workspace="clws1", expires_in=None))
    assert (0, True) == verdicts(program, {"ASTRO_TOKEN_POLICY_REQUIRE_EXPIRY": "false"}, "no-expiry")
    assert (65, True) == verdicts(program, {"ASTRO_TOKEN_POLICY_REQUIRE_EXPIRY": "true"}, "no-expiry")
    planted.store("prod", make_token(workspace="clws1", issued_ago=91 * 86400))
    assert (0, False) == verdicts(program, {"ASTRO_TOKEN_POLICY_MAX_AGE": "92d"}, "too-old")
    assert (65, True) == verdicts(program, {"ASTRO_TOKEN_POLICY_MAX_AGE": "90d"}, "too-old")
    planted.store("prod", make_token(workspace="clws1", iat=None))
    assert (0, True) == verdicts(program, {"ASTRO_TOKEN_POLICY_MAX_AGE": "90d"}, "age-unproven")


def verdicts(program: Program, environ: dict[str, str], code: str) -> tuple[int, bool]:
    result = program("check", "--format", "json", "prod", env=environ)
    found = json.loads(result.stdout)["tokens"][0]["verdicts"]
    return result.code, code in [entry["code"] for entry in found]


@pytest.mark.usefixtures("project")
def test_all_and_a_token_at_once_is_a_contradiction(program: Program, planted: Planted) -> None:
    expected = (
        "astro-token: error: --all and a token are both given\nastro-token: hint: give --all or tokens\n"
    )
    assert Result(64, "", expected) == program("check", "--all", "prod")
    assert [] == planted.log


def test_all_without_a_file_is_a_mistake(program: Program) -> None:
    expected = (
        "astro-token: error: no project file names a token\n"
        "astro-token: hint: write astro-token.toml with a [tokens.NAME] table for each token\n"
    )
    assert Result(78, "", expected) == program("check", "--all")


def test_an_output_that_takes_nothing_ends_with_74(program: Program, planted: Planted) -> None:
    planted.store("prod", fixed())
    full = (
        "astro-token: error: standard output: no space left on device\n"
        "astro-token: hint: check that the output can be written and has space left\n"
    )
    for form in ("table", "json", "markdown"):
        done = subprocess.run(
            ["sh", "-c", f"{PROGRAM} check --format {form} planted:prod >/dev/full"],
            env=program.environment(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (74, full) == (done.returncode, done.stderr)
