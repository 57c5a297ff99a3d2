"""`export`: where the token goes, what is said beside it, and what is refused."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import masks
from astro_token.errors import OutputError
from astro_token.formats.delivery import refuse_destination
from astro_token.formats.rendering import File, Rendering
from astro_token.testing import appearances, make_token
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, SHARED_MEMORY, Result
from tests.formats.agents import AzureAgent, TeamCityAgent
from tests.machine import only_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background, Planted
    from tests.conftest import Program


def failure(code: int, message: str, hint: str) -> Result:
    return Result(code, "", f"astro-token: error: {message}\nastro-token: hint: {hint}\n")


OFF = {"ASTRO_TELEMETRY_DISABLED": "1"}


def posix(token: str) -> str:
    return f"export ASTRO_API_TOKEN='{token}'\nexport ASTRO_TELEMETRY_DISABLED='1'\n"


# -- to standard output -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("posix", "export ASTRO_API_TOKEN='{}'\nexport ASTRO_TELEMETRY_DISABLED='1'\n"),
        ("auto", "export ASTRO_API_TOKEN='{}'\nexport ASTRO_TELEMETRY_DISABLED='1'\n"),
        ("json", '{{"ASTRO_API_TOKEN": "{}", "ASTRO_TELEMETRY_DISABLED": "1"}}\n'),
        ("value", "{}"),
    ],
)
def test_it_prints_the_form_asked_for_and_nothing_else(
    program: Program, prod: str, canary: str, form: str, expected: str
) -> None:
    result = program("export", "--format", form, prod, allowed=["stdout"])
    assert Result(0, expected.format(canary), "") == result


def test_a_shell_loses_the_dead_keys_and_keeps_its_home(program: Program, prod: str, canary: str) -> None:
    dead = {"ASTRONOMER_KEY_ID": "a", "ASTRONOMER_KEY_SECRET": "b", "ASTRO_HOME": "/some/where"}
    script = (
        f'out="$({PROGRAM} export {prod})" && eval "$out" && '
        'echo "${ASTRONOMER_KEY_ID-none} ${ASTRONOMER_KEY_SECRET-none} $ASTRO_HOME $ASTRO_API_TOKEN"'
    )
    done = subprocess.run(
        ["sh", "-c", script], env=program.environment(dead), capture_output=True, text=True, check=False
    )
    assert (0, f"none none /some/where {canary}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_what_the_token_is_not_stops_it(program: Program, planted: Planted) -> None:
    planted.store("expired", make_token(exp=1_700_000_000))
    hint = "create a new token with astro-token create, or in Astro, and store it instead"
    assert failure(65, "planted:expired: the token expired at 2023-11-14 22:13 UTC", hint) == program(
        "export", "planted:expired"
    )


FULL = "check that the output can be written and has space left"


@pytest.mark.parametrize("form", ["posix", "json", "value"])
@pytest.mark.parametrize(
    ("redirect", "message", "hint"),
    [
        (">/dev/full", "standard output: no space left on device", FULL),
        (">&-", "standard output: bad file descriptor", FULL),
        ("| true", "the output was closed before everything was written", "check why its reader ended early"),
    ],
)
def test_an_output_that_takes_nothing_ends_with_74(
    program: Program, prod: str, form: str, redirect: str, message: str, hint: str
) -> None:
    line = f'{{ sleep 0.05; "{PROGRAM}" export --format {form} {prod}; echo $? >&3; }} {redirect}'
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1; {line}"],
        env=program.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"astro-token: error: {message}\nastro-token: hint: {hint}\n"
    assert ("74\n", expected) == (done.stdout, done.stderr)


# -- to a file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_file_is_made_for_us_alone_whatever_the_umask(
    program: Program, prod: str, canary: str, umask: int
) -> None:
    file = program.work / "token"
    done = subprocess.run(
        [PROGRAM, "export", "--format", "value", "--output", "token", prod],
        env=program.environment(),
        cwd=program.work,
        umask=umask,
        capture_output=True,
        check=False,
    )
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
    assert (canary, 0o600) == (file.read_text(), stat.S_IMODE(file.stat().st_mode))
    assert [file] == list(program.work.iterdir())


def test_what_it_writes_can_be_sourced_or_mounted_and_read_again(
    program: Program, prod: str, canary: str
) -> None:
    file = program.work / "environment"
    assert Result(0, "", "") == program("export", "--output", str(file), prod, allowed=[file])
    script = f'. "{file}" && printf %s "$ASTRO_API_TOKEN"'
    assert canary == subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    file.unlink()
    assert Result(0, "", "") == program(
        "export", "--format", "value", "--output", str(file), prod, allowed=[file]
    )
    result = program("export", "--format", "value", f"file:{file}", allowed=["stdout", file])
    assert Result(0, canary, "") == result


def test_a_file_that_exists_is_replaced_only_by_force(program: Program, prod: str, canary: str) -> None:
    file = program.work / "token"
    file.write_text("precious")
    file.chmod(0o644)
    expected = failure(73, f"{file} exists", "remove it, or give --force to replace it")
    assert expected == program("export", "--output", str(file), prod)
    assert "precious" == file.read_text()
    result = program("export", "--format", "value", "--force", "--output", str(file), prod, allowed=[file])
    assert Result(0, "", "") == result
    assert (canary, 0o600) == (file.read_text(), stat.S_IMODE(file.stat().st_mode))


LINK = "name the file itself: the target of a link can change"
REGULAR = "name a regular file"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_what_is_no_file_of_ours_is_refused_before_a_read(
    program: Program, prod: str, planted: Planted, force: list[str]
) -> None:
    work = program.work
    target = work / "target"
    target.write_text("precious")
    (work / "link").symlink_to(target)
    (work / "dangling").symlink_to(work / "nothing")
    (work / "folder").mkdir()
    os.mkfifo(work / "fifo")
    before = sorted(work.iterdir())
    for path, message, hint in (
        ("link", "link is a link", LINK),
        ("dangling", "dangling is a link", LINK),
        ("folder", "folder is not a regular file", REGULAR),
        ("fifo", "fifo is not a regular file", REGULAR),
        ("/dev/full", "/dev/full is not a regular file", REGULAR),
        ("/dev/stdout", "/dev/stdout is a link", LINK),
        ("none/token", f"{work}/none is not a folder", "create the folder first"),
        ("target/token", f"{work}/target is not a folder", "create the folder first"),
    ):
        assert failure(73, message, hint) == program("export", *force, "--output", path, prod)
    assert ([], before, "precious") == (planted.log, sorted(work.iterdir()), target.read_text())


def test_a_folder_that_takes_no_file_ends_with_74(program: Program, prod: str) -> None:
    """Of the kernel's own folders not even root can write the first."""
    folder = Path("/proc/self/fd") if sys.platform == "linux" else program.work / "locked"
    if sys.platform != "linux":
        folder.mkdir(mode=0o500)
    result = program("export", "--output", str(folder / "token"), prod)
    lines = result.stderr.splitlines()
    assert (74, "", 2) == (result.code, result.stdout, len(lines))
    assert lines[0].startswith(f"astro-token: error: {folder}/")
    assert "astro-token: hint: correct the path or the file" == lines[1]


def test_an_output_without_a_name_is_not_standard_output(
    program: Program, prod: str, planted: Planted
) -> None:
    """As `--output "$FILE"` with a variable that is not set."""
    expected = failure(64, "--output names no file", "give the path of a file, or leave --output out")
    assert expected == program("export", "--output", "", prod)
    assert [] == planted.log


# -- in GitHub Actions ------------------------------------------------------------------------------


@pytest.fixture
def github(program: Program) -> Path:
    """The file of a step's environment, in which an earlier line left something."""
    file = program.folder / "runner" / "set_env_1"
    file.parent.mkdir()
    file.write_text("EARLIER=1\n")
    program.environ |= {
        "GITHUB_ACTIONS": "true",
        "CI": "true",
        "GITHUB_ENV": str(file),
        "RUNNER_TEMP": str(file.parent),
    }
    return file


def masked(token: str) -> str:
    """What makes GitHub's runner hide a token."""
    return masks("github", (token,)).text


def runner_reads(text: str) -> dict[str, str]:
    """As actions/runner reads the file: NAME=value, or NAME<<DELIMITER and lines up to the delimiter."""
    read, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        if "<<" in line and ("=" not in line or line.index("<<") < line.index("=")):
            name, _, delimiter = line.partition("<<")
            value: list[str] = []
            for inner in lines:
                if inner == delimiter:
                    break
                value.append(inner)
            else:
                raise AssertionError("the delimiter is missing")
            read[name] = "\n".join(value)
        else:
            name, equals, rest = line.partition("=")
            assert equals, f"the runner would print {line!r}"
            read[name] = rest
    return read


SET = "astro-token: ASTRO_API_TOKEN is set for the steps after this one\n"


@pytest.mark.parametrize("form", [[], ["--format", "github"]])
def test_the_runner_gets_the_variable_in_its_file_and_the_mask_in_its_log(
    program: Program, prod: str, canary: str, github: Path, form: list[str]
) -> None:
    result = program("export", *form, prod, allowed=["stderr"])
    assert Result(0, "", f"{masked(canary)}{SET}") == result
    assert {"EARLIER": "1", "ASTRO_API_TOKEN": canary, **OFF} == runner_reads(github.read_text())
    delimiter = re.search("<<(.*)", github.read_text())
    assert delimiter
    program("export", *form, prod, allowed=["stderr"])
    assert 2 == github.read_text().count(delimiter[1])  # the second run has one of its own


def test_the_mask_is_out_before_the_file_is_written(
    program: Program, prod: str, canary: str, github: Path, start: Callable[..., Background]
) -> None:
    """The file is locked against it meanwhile, as it locks it itself."""
    with github.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        running = start("export", prod)
        assert running.process.stderr
        ready, _, _ = select.select([running.process.stderr], [], [], 10)
        assert ready
        mask = os.read(running.process.stderr.fileno(), 65536)
        assert (masked(canary).encode(), "EARLIER=1\n") == (mask, github.read_text())
    assert Result(0, "", SET) == running.finish()
    assert canary == runner_reads(github.read_text())["ASTRO_API_TOKEN"]


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b" " * 4096)
    os.set_blocking(pipe, True)


@pytest.mark.parametrize("form", ["posix", "json", "value"])
def test_the_mask_is_out_before_the_value_in_any_form(
    program: Program, prod: str, canary: str, github: Path, form: str
) -> None:
    reading, writing = os.pipe()
    fill(writing)  # so that nothing can follow until it is read
    with subprocess.Popen(
        [PROGRAM, "export", "--format", form, prod],
        env=program.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        assert process.stderr
        said = process.stderr.read(len(masked(canary)))
        assert masked(canary).encode() == said
        with os.fdopen(reading, "rb") as pipe:
            assert canary in pipe.read().decode()
        assert (0, b"") == (process.wait(60), process.stderr.read())
    assert "EARLIER=1\n" == github.read_text()


@pytest.mark.parametrize("form", ["auto", "github"])
def test_a_runner_whose_file_cannot_be_trusted_gets_nothing(
    program: Program, prod: str, planted: Planted, github: Path, form: str
) -> None:
    folder = github.parent
    (folder / "link").symlink_to(github)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "twice").write_text("")
    os.link(folder / "twice", folder / "second name")
    (program.work / "elsewhere").write_text("")
    before = github.read_text()
    for path, message in {
        "": "GITHUB_ENV is not set, so the value has no destination",
        folder / "link": f"GITHUB_ENV: {folder}/link is a link",
        folder / "folder": f"GITHUB_ENV: {folder}/folder is not a regular file",
        folder / "fifo": f"GITHUB_ENV: {folder}/fifo is not a regular file",
        folder / "nothing": f"GITHUB_ENV: {folder}/nothing does not exist",
        folder / "none/file": f"GITHUB_ENV: {folder}/none/file does not exist",
        folder / "twice": f"GITHUB_ENV: {folder}/twice has a second name",
        program.work / "elsewhere": f"GITHUB_ENV names {program.work}/elsewhere, "
        "but the runner keeps no such file there",
        Path("set_env_1"): "GITHUB_ENV names set_env_1, but the runner keeps no such file there",
    }.items():
        # Neither a mask nor a value may go out, nor a secret be read.
        result = program("export", "--format", form, prod, env={"GITHUB_ENV": str(path)})
        shown = result.stderr.splitlines()
        assert (73, "", f"astro-token: error: {message}") == (result.code, result.stdout, shown[0])
        assert (2, True) == (len(shown), shown[1].startswith("astro-token: hint: "))
    assert (before, "", []) == (github.read_text(), (folder / "twice").read_text(), planted.log)


@only_root
def test_a_file_of_somebody_else_is_refused() -> None:
    """Root writes to any; so root gives a file away, and another looks at it. Nobody else can try that."""
    file = SHARED_MEMORY / f"astro-token-test-{os.getpid()}"
    file.write_text("")
    file.chmod(0o666)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        with suppress(BaseException):
            os.setgid(65534)
            os.setuid(65534)
            try:
                refuse_destination(Rendering("", File(file)), {})
            except OutputError as error:
                os.write(writing, error.message.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        assert f"{file} belongs to another user" == pipe.read()
    file.unlink()


def test_a_system_that_is_not_there_for_sure_is_told_no_mask(
    program: Program, prod: str, canary: str, github: Path
) -> None:
    """Where the variable lies, something else may read the log, and would show the commands."""
    github.unlink()
    (github.parent / "file").touch()
    word = (
        "astro-token: the log of GitHub Actions does not hide the token: make sure that nothing prints it\n"
    )
    # Not there, not set, below a file, in the checkout, too long to be a name.
    for place in (github, "", github.parent / "file" / "x", program.work / "x", "/" + "x" * 5000):
        result = program(
            "export", "--format", "posix", prod, env={"GITHUB_ENV": str(place)}, allowed=["stdout"]
        )
        assert Result(0, posix(canary), word) == result
    del program.environ["GITHUB_ENV"]
    result = program("export", "--format", "posix", prod, allowed=["stdout"])
    assert Result(0, posix(canary), word) == result


def test_an_output_is_set_for_later_steps(program: Program, prod: str, canary: str, github: Path) -> None:
    file = github.with_name("set_output_1")
    file.write_text("")
    result = program(
        "export", "--format", "github-output", prod, env={"GITHUB_OUTPUT": str(file)}, allowed=["stderr"]
    )
    assert (0, "", True) == (result.code, result.stdout, result.stderr.startswith(masked(canary)))
    assert ({"ASTRO_API_TOKEN": canary}, "EARLIER=1\n") == (
        runner_reads(file.read_text()),
        github.read_text(),
    )


def test_a_full_disk_leaves_a_runners_file_as_it_was(program: Program, prod: str, github: Path) -> None:
    """A limit on the size of files ends a write in its middle, as a full disk does."""
    github.write_text("EARLIER=1\n" + "#" * 800 + "\n")
    before = github.read_text()
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; exec '{PROGRAM}' export {prod}"],
        env=program.environment({"PYTHONDONTWRITEBYTECODE": "1"}),  # a cut .pyc file would stay
        capture_output=True,
        text=True,
        check=False,
    )
    shown = [line for line in done.stderr.splitlines() if line.startswith("astro-token:")]
    assert (74, "", 2) == (done.returncode, done.stdout, len(shown))
    assert before == github.read_text()


OF_SYSTEMS = {
    "github": {"GITHUB_ACTIONS": "true"},
    "github-output": {"GITHUB_ACTIONS": "true"},
    "gitlab-env": {"GITLAB_CI": "true"},
    "circleci": {"CIRCLECI": "true"},
    "azure-pipelines": {"TF_BUILD": "True"},
    "buildkite": {"BUILDKITE": "true"},
    "teamcity": {"TEAMCITY_VERSION": "2026.1"},
}


def test_a_systems_own_place_leaves_no_room_for_another(
    program: Program, prod: str, github: Path, planted: Planted
) -> None:
    result = program("export", "--output", "token", prod)
    assert failure(64, "the github format has its own destination", "omit --output") == result
    assert [] == planted.log


@pytest.mark.parametrize("form", OF_SYSTEMS)
def test_a_systems_own_form_is_refused_anywhere_else(
    program: Program, prod: str, planted: Planted, form: str
) -> None:
    others = {name: value for other, environ in OF_SYSTEMS.items() for name, value in environ.items()}
    for environ in ({}, {"CI": "true"}, {k: v for k, v in others.items() if k not in OF_SYSTEMS[form]}):
        result = program("export", "--format", form, prod, env=environ)
        assert (73, "") == (result.code, result.stdout)
        assert f"astro-token: error: the {form} format is only for jobs of " in result.stderr
    assert [] == planted.log


# -- in other CI systems ----------------------------------------------------------------------------

UNHIDDEN = "astro-token: the log of {} does not hide the token: make sure that nothing prints it\n"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"GITLAB_CI": "true"}, "GitLab CI"),
        ({"BITBUCKET_BUILD_NUMBER": "1"}, "Bitbucket Pipelines"),
        ({"CODEBUILD_BUILD_ARN": "arn"}, "AWS CodeBuild"),
        ({"JENKINS_URL": "http://jenkins/", "BUILD_ID": "1"}, "Jenkins"),
        ({"TEAMCITY_VERSION": "2026.1"}, "TeamCity"),
        ({"DRONE": "true"}, "Drone"),
        ({"HARNESS_BUILD_ID": "1", "DRONE": "true"}, "Harness CI"),
        ({"CI": "woodpecker"}, "Woodpecker"),
        ({"BUILDER_OUTPUT": "/builder/outputs"}, "Google Cloud Build"),
        ({"TRAVIS": "true"}, "Travis CI"),
    ],
)
def test_where_steps_share_a_shell_it_gets_a_shells_form_and_a_word_on_the_log(
    program: Program, prod: str, canary: str, environ: dict[str, str], name: str
) -> None:
    expected = posix(canary)
    result = program("export", prod, env={"CI": "true", **environ}, allowed=["stdout"])
    assert Result(0, expected, UNHIDDEN.format(name)) == result


def test_circleci_gets_its_file_which_is_made_if_need_be(program: Program, prod: str, canary: str) -> None:
    file = program.folder / "bash_env"
    environ = {"CIRCLECI": "true", "CI": "true", "BASH_ENV": str(file)}
    then = (
        'astro-token: ASTRO_API_TOKEN is set for the steps after this one; in this one: source "$BASH_ENV"\n'
    )
    for _ in range(2):
        assert Result(0, "", UNHIDDEN.format("CircleCI") + then) == program("export", prod, env=environ)
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    done = subprocess.run(
        ["bash", "-c", 'printf %s "$ASTRO_API_TOKEN"'],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert canary == done.stdout


def test_circlecis_file_is_refused_where_it_cannot_be_trusted(
    program: Program, prod: str, planted: Planted
) -> None:
    folder = program.folder
    (folder / "link").symlink_to(folder / "nothing")
    os.mkfifo(folder / "fifo")
    for path, message in {
        "": "BASH_ENV is not set, so the value has no destination",
        "relative": "BASH_ENV names relative, but CircleCI keeps no such file there",
        f"{folder}/link": f"BASH_ENV: {folder}/link is a link",
        f"{folder}/fifo": f"BASH_ENV: {folder}/fifo is not a regular file",
        f"{folder}": f"BASH_ENV: {folder} is not a regular file",
        f"{folder}/none/file": f"BASH_ENV: {folder}/none/file does not exist",
        "/dev/full": "BASH_ENV: /dev/full is not a regular file",
    }.items():
        result = program("export", prod, env={"CIRCLECI": "true", "BASH_ENV": path})
        assert (73, "", f"astro-token: error: {message}") == (
            result.code,
            result.stdout,
            result.stderr.splitlines()[0],
        )
    assert [] == planted.log
    assert not (folder / "nothing").exists()


def test_a_full_disk_leaves_no_file_of_circleci_behind(program: Program, canary: str) -> None:
    file = program.folder / "bash_env"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 0; exec '{PROGRAM}' export env:KEPT"],
        env=program.environment(
            {"CIRCLECI": "true", "BASH_ENV": str(file), "KEPT": canary, "PYTHONDONTWRITEBYTECODE": "1"}
        ),
        capture_output=True,
        check=False,
    )
    assert (74, b"", []) == (done.returncode, done.stdout, list(program.folder.glob("*bash_env*")))


def test_gitlabs_file_gets_a_whole_line(program: Program, prod: str, canary: str) -> None:
    file = program.folder / "gitlab_runner_env"
    file.write_text("OPEN=1")
    environ = {"GITLAB_CI": "true", "GITLAB_ENV": str(file), "CI_PROJECT_DIR": str(program.work)}
    result = program("export", "--format", "gitlab-env", prod, env=environ)
    assert (0, "") == (result.code, result.stdout)
    assert f"OPEN=1\nASTRO_API_TOKEN={canary}\nASTRO_TELEMETRY_DISABLED=1\n" == file.read_text()


def test_azures_agent_gets_masks_first_and_a_secret_variable(
    program: Program, prod: str, canary: str
) -> None:
    """Both on standard output: the agent reads the two by a thread each, which keep no order."""
    result = program("export", prod, env={"TF_BUILD": "True"}, allowed=["stdout"])
    masks_, command, variable = result.stdout.partition("##vso[task.setvariable")
    assert ("", "##vso[task.setvariable") == (result.stderr, command)
    agent = AzureAgent()
    agent.output(masks_)
    assert "x *** y" == agent.masked(f"x {canary} y")
    agent.output(command + variable)
    assert ({"ASTRO_API_TOKEN": canary, **OFF}, {"ASTRO_API_TOKEN"}, []) == (
        agent.variables,
        agent.secret,
        agent.log,
    )


def test_a_shells_form_in_azure_is_masked_too(program: Program, prod: str, canary: str) -> None:
    result = program(
        "export", "--format", "json", prod, env={"TF_BUILD": "True"}, allowed=["stdout", "stderr"]
    )
    agent = AzureAgent()
    agent.output(result.stderr)
    assert (f'{{"ASTRO_API_TOKEN": "{canary}", "ASTRO_TELEMETRY_DISABLED": "1"}}\n', []) == (
        result.stdout,
        agent.log,
    )
    assert canary in agent.masks


def test_teamcity_gets_a_parameter_if_it_is_declared(program: Program, prod: str, canary: str) -> None:
    environ = {"TEAMCITY_VERSION": "2026.1"}
    refused = program("export", "--format", "teamcity", prod, env=environ)
    assert (
        failure(
            73,
            "TeamCity would show the value in its log: the parameter env.ASTRO_API_TOKEN is not declared",
            "declare env.ASTRO_API_TOKEN with the type password in the build configuration, or use exec",
        )
        == refused
    )
    environ["ASTRO_API_TOKEN"] = ""
    result = program("export", "--format", "teamcity", prod, env=environ, allowed=["stdout"])
    agent = TeamCityAgent(frozenset({"env.ASTRO_API_TOKEN"}))
    agent.output(result.stdout)
    assert (0, "", {"env.ASTRO_API_TOKEN": canary, "env.ASTRO_TELEMETRY_DISABLED": "1"}) == (
        result.code,
        result.stderr,
        agent.parameters,
    )
    assert canary not in "".join(agent.log)


@pytest.mark.parametrize(
    "form", ["cloudbuild", "jenkins", "tekton", "woodpecker", "drone", "harness", "direnv"]
)
def test_a_system_without_a_safe_place_is_refused_before_a_read(
    program: Program, prod: str, planted: Planted, form: str
) -> None:
    result = program("export", "--format", form, prod)
    assert (73, "", True) == (result.code, result.stdout, "astro-token exec -- astro deploy" in result.stderr)
    assert [] == planted.log


AGENT = """#!{python} -IS
import json, os, sys
with open({log!r}, "a") as log:
    text = sys.stdin.read()
    log.write(json.dumps([sys.argv[1:], text]) + chr(10))
print(text)
print(text, file=sys.stderr)
if sys.argv[1] == "env":
    print(json.dumps({{"added": ["ASTRO_API_TOKEN"]}}))
sys.exit({code})
"""


@pytest.fixture
def buildkite(program: Program) -> Callable[[int], Path]:
    """A job of Buildkite whose agent notes what it is told, and ends as it is told to."""
    folder = program.folder / "agent"
    folder.mkdir()
    log, agent = folder / "log", folder / "buildkite-agent"
    program.environ |= {
        "BUILDKITE": "true",
        "BUILDKITE_AGENT_JOB_API_SOCKET": str(folder),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }

    def make(code: int) -> Path:
        agent.write_text(AGENT.format(python=sys.executable, log=str(log), code=code))
        agent.chmod(0o755)
        return log

    return make


def test_buildkites_agent_gets_the_masks_first_by_standard_input(
    program: Program, prod: str, canary: str, buildkite: Callable[[int], Path]
) -> None:
    log = buildkite(0)
    result = program("export", prod)
    then = "astro-token: ASTRO_API_TOKEN is set for the hooks and the command after this one\n"
    assert Result(0, "", then) == result
    masked, set_ = [json.loads(line) for line in log.read_text().splitlines()]
    assert ["redactor", "add", "--format=json"] == masked[0]
    assert canary in json.loads(masked[1]).values()
    assert ["env", "set", "--input-format=json", "--output-format=json", "-"] == set_[0]
    assert {"ASTRO_API_TOKEN": canary, **OFF} == json.loads(set_[1])
    assert canary not in result.argv


def test_a_shells_form_in_buildkite_is_masked_too(
    program: Program, prod: str, canary: str, buildkite: Callable[[int], Path]
) -> None:
    log = buildkite(0)
    result = program("export", "--format", "posix", prod, allowed=["stdout"])
    assert Result(0, posix(canary), "") == result
    assert 1 == len(log.read_text().splitlines())


@pytest.mark.parametrize("form", ["auto", "posix"])
def test_what_the_agent_does_not_mask_is_not_handed_over(
    program: Program, prod: str, buildkite: Callable[[int], Path], form: str
) -> None:
    log = buildkite(1)
    hint = "check that it is the CI system's own program and belongs to this job, or use exec"
    message = "buildkite-agent redactor add did not take the value"
    assert failure(73, message, hint) == program("export", "--format", form, prod)
    assert 1 == len(log.read_text().splitlines())


def test_a_job_without_its_agent_gets_nothing(program: Program, prod: str, planted: Planted) -> None:
    result = program("export", prod, env={"BUILDKITE": "true"})
    hint = "run astro-token where the CI system's own program is, or use exec"
    assert failure(73, "buildkite-agent takes the value, and is not on PATH", hint) == result
    assert [] == planted.log


def test_a_shell_without_the_agent_gets_it_with_a_word(program: Program, prod: str, canary: str) -> None:
    result = program("export", "--format", "posix", prod, env={"BUILDKITE": "true"}, allowed=["stdout"])
    assert Result(0, posix(canary), UNHIDDEN.format("Buildkite")) == result


def test_an_agent_that_does_not_say_that_it_has_set_the_variable_is_an_error(
    program: Program, prod: str, buildkite: Callable[[int], Path]
) -> None:
    """It ends with 0 where the job's socket answers with an error."""
    agent = buildkite(0).with_name("buildkite-agent")
    agent.write_text("#!/bin/sh\ncat >/dev/null\necho '{}'\n")
    hint = "check that it is the CI system's own program and belongs to this job, or use exec"
    assert failure(73, "buildkite-agent env set did not take the value", hint) == program("export", prod)


def test_an_agent_of_no_job_is_told_no_mask(
    program: Program, prod: str, canary: str, buildkite: Callable[[int], Path]
) -> None:
    log = buildkite(0)
    env = {"BUILDKITE_AGENT_JOB_API_SOCKET": ""}
    result = program("export", "--format", "posix", prod, env=env, allowed=["stdout"])
    assert Result(0, posix(canary), UNHIDDEN.format("Buildkite")) == result
    assert not log.exists()


# -- at a terminal ----------------------------------------------------------------------------------

IS_A_TERMINAL = "astro-token: error: standard output is a terminal, which would show the token\n"


def at_terminal(program: Program, *arguments: str, redirect: str = "") -> tuple[int, str]:
    """What a person sees of `export`, or what a job's log has where jobs have a terminal."""
    words = " ".join(f"'{word}'" for word in (str(PROGRAM), "export", *arguments))
    command = ("sh", "-c", f"{words} {redirect}")
    with Terminal(command, env=program.environment(), cwd=program.work) as terminal:
        return terminal.finish(), terminal.shown


def test_in_buildkite_jobs_have_a_terminal(
    program: Program, prod: str, canary: str, buildkite: Callable[[int], Path]
) -> None:
    log = buildkite(0)
    then = "astro-token: ASTRO_API_TOKEN is set for the hooks and the command after this one\n"
    assert (0, then) == at_terminal(program, prod)
    assert ["redactor", "env"] == [json.loads(line)[0][0] for line in log.read_text().splitlines()]
    # A shell in a hook takes the token, and the agent hides it, as without one.
    out = program.folder / "out"
    assert (0, "") == at_terminal(program, "--format", "posix", prod, redirect=f">'{out}'")
    assert (posix(canary), 3) == (out.read_text(), len(log.read_text().splitlines()))


def test_in_circleci_jobs_have_a_terminal(program: Program, prod: str, canary: str) -> None:
    file = program.folder / "bash_env"
    program.environ |= {"CIRCLECI": "true", "CI": "true", "BASH_ENV": str(file)}
    code, shown = at_terminal(program, prod)
    assert (0, UNHIDDEN.format("CircleCI")) == (code, shown[: len(UNHIDDEN.format("CircleCI"))])
    assert f"\n{posix(canary)}" == file.read_text()


@pytest.mark.parametrize("form", ["github", "azure-pipelines", "teamcity"])
def test_where_jobs_have_none_a_terminal_is_a_persons_who_is_shown_no_command(
    program: Program, prod: str, canary: str, planted: Planted, github: Path, form: str
) -> None:
    if form != "github":
        program.environ = {name: value for name, value in program.environ.items() if "GITHUB" not in name}
    program.environ |= {**OF_SYSTEMS[form], "ASTRO_API_TOKEN": ""}
    code, shown = at_terminal(program, "--format", form, prod)
    assert (73, True) == (code, f"the {form} format is only for jobs of" in shown)
    # And in a shell's form there is no mask for anybody to read.
    out = program.folder / "out"
    assert (0, "") == at_terminal(program, "--format", "posix", prod, redirect=f">'{out}'")
    assert posix(canary) == out.read_text()
    assert ("EARLIER=1\n", ["read prod", "close"]) == (github.read_text(), planted.log)


@pytest.mark.parametrize(
    ("form", "environ"),
    [
        ("posix", {}),
        ("value", {}),
        ("json", {"CI": "true"}),
        ("auto", {"GITLAB_CI": "true"}),
        ("auto", {"TRAVIS": "true"}),
        ("azure-pipelines", {"TF_BUILD": "True"}),
        ("teamcity", {"TEAMCITY_VERSION": "2026.1", "ASTRO_API_TOKEN": ""}),
    ],
)
def test_no_form_is_printed_on_a_terminal(
    program: Program, prod: str, canary: str, planted: Planted, form: str, environ: dict[str, str]
) -> None:
    program.environ |= environ
    error = program.folder / "error"
    code, shown = at_terminal(program, "--format", form, prod, redirect=f"2>'{error}'")
    assert (73, "", []) == (code, shown, planted.log)
    assert IS_A_TERMINAL == error.read_text().splitlines(keepends=True)[0]


@pytest.mark.parametrize("environ", [{"GITLAB_CI": "true"}, {"CI": "true"}, {"DRONE": "true"}])
def test_what_nobody_takes_is_not_printed_where_messages_go(
    program: Program, prod: str, canary: str, planted: Planted, environ: dict[str, str]
) -> None:
    """A line without `$(…)` around it: both streams of a job are its log, which hides nothing."""
    expected = (
        "astro-token: error: standard output is the log, which would show the token\n"
        f'astro-token: hint: use exec, or evaluate it: out="$(astro-token export {prod})" && eval "$out"'
    )
    log = program.folder / "job.log"
    env = program.environment(environ)
    for how in ("pipe", "file"):
        with log.open("wb") as file:
            done = subprocess.run(
                [PROGRAM, "export", prod],
                env=env,
                stdout=subprocess.PIPE if how == "pipe" else file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        shown = (done.stdout or log.read_bytes()).decode()
        assert (73, expected, 2) == (done.returncode, shown[: len(expected)], shown.count("\n"))
    assert [] == planted.log
    # A place where nobody reads is no log, and taking the output is all that was asked for.
    done = subprocess.run(
        [PROGRAM, "export", prod], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    assert 0 == done.returncode
    line = f'out="$({PROGRAM} export {prod})" && eval "$out" && echo "${{#ASTRO_API_TOKEN}}"'
    done = subprocess.run(
        ["sh", "-c", line], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert (0, [str(len(canary)).encode()]) == (done.returncode, done.stdout.splitlines()[-1:])
    assert [] == appearances(canary, done.stdout.decode())


def test_nested_systems_are_told(program: Program, prod: str, canary: str, github: Path) -> None:
    environ = {"JENKINS_URL": "http://jenkins/", "BUILD_ID": "1"}
    result = program("export", prod, env=environ, allowed=["stderr"])
    word = "astro-token: the environment also shows Jenkins; this export is for GitHub Actions\n"
    assert Result(0, "", word + masked(canary) + SET) == result
    github.unlink()
    result = program("export", prod, env=environ, allowed=["stdout"])
    words = (
        "astro-token: the environment also shows GitHub Actions; this export is for Jenkins\n"
        + UNHIDDEN.format("Jenkins")
    )
    assert Result(0, posix(canary), words) == result


def test_another_ci_system_gets_a_shells_form_and_a_word(program: Program, prod: str, canary: str) -> None:
    note = "astro-token: unknown CI system: the output is for a POSIX shell, and the log hides nothing\n"
    expected = posix(canary)
    result = program("export", prod, env={"CI": "true"}, allowed=["stdout"])
    assert Result(0, expected, note) == result
    for environ, form in (({"CI": "true"}, "posix"), ({"CI": "false"}, "auto"), ({"CI": ""}, "auto")):
        result = program("export", "--format", form, prod, env=environ, allowed=["stdout"])
        assert Result(0, expected, "") == result


# -- what it would do -------------------------------------------------------------------------------


def explained(result: Result) -> dict[str, str]:
    return {
        name: text.strip() for name, _, text in (line.partition(":") for line in result.stdout.splitlines())
    }


def test_it_explains_what_it_would_do_and_reads_nothing(
    program: Program, prod: str, planted: Planted, github: Path
) -> None:
    before = github.read_text()
    result = program("export", "--explain", prod)
    assert {
        "system": "GitHub Actions, detected by GITHUB_ACTIONS",
        "format": "github",
        "goes to": f"the end of {github}",
        "masks": "go first, to standard error",
        "then": "ASTRO_API_TOKEN is set for the steps after this one",
    } == explained(result)
    assert (0, "", [], before) == (result.code, result.stderr, planted.log, github.read_text())


@pytest.mark.parametrize(
    ("environ", "options", "expected"),
    [
        (
            {},
            [],
            {
                "system": "no CI system detected",
                "format": "posix",
                "goes to": "standard output",
                "masks": "none",
                "then": 'evaluate it: out="$(astro-token export)" && eval "$out"',
            },
        ),
        (
            {"CI": "true"},
            [],
            {"note": "unknown CI system: the output is for a POSIX shell, and the log hides nothing"},
        ),
        ({}, ["--output", "/tmp/it", "--format", "value"], {"goes to": "/tmp/it", "format": "value"}),
        ({}, ["--output", "/tmp/it"], {"goes to": "/tmp/it", "then": "read it: . /tmp/it"}),
        ({}, ["--format", "fish", "--output", "/tmp/a b"], {"then": "read it: source '/tmp/a b'"}),
        (
            {},
            ["--format", "fish", "env:X"],
            {"then": 'evaluate it: set -l out "$(astro-token export --format fish env:X)"; and eval $out'},
        ),
        ({"GITLAB_CI": "true"}, [], {"format": "gitlab", "masks": "none"}),
        (
            {"TF_BUILD": "True"},
            ["--format", "json"],
            {"format": "json", "masks": "go first, to standard error", "goes to": "standard output"},
        ),
        (
            {"CI": "true", "GITLAB_CI": "true", "JENKINS_URL": "x", "BUILD_ID": "1"},
            [],
            {"also": "Jenkins, detected by JENKINS_URL and BUILD_ID"},
        ),
    ],
)
def test_it_explains_any_place(
    program: Program, planted: Planted, environ: dict[str, str], options: list[str], expected: dict[str, str]
) -> None:
    result = program("export", "--explain", *options, env=environ)
    assert expected.items() <= explained(result).items()
    assert (0, "", []) == (result.code, result.stderr, planted.log)


def test_it_explains_no_token_that_there_is_not_and_no_file_that_would_be_refused(
    program: Program, write: Callable[[str, str], Path]
) -> None:
    write("astro-token.toml", '[tokens.prod]\nref = "env:X"\n')
    result = program("export", "--explain", "prd")
    assert (64, "", True) == (result.code, result.stdout, "did you mean prod?" in result.stderr)
    there = write("there", "")
    result = program("export", "--explain", "--output", str(there))
    assert (73, f"{there} exists") == (result.code, result.stderr.splitlines()[0].partition("error: ")[2])
    assert "posix" == explained(result)["format"]


def test_it_explains_why_it_would_refuse(program: Program, planted: Planted, github: Path) -> None:
    github.unlink()
    result = program("export", "--explain")
    hint = "the CI system creates it: do not set its variable yourself"
    assert failure(73, f"GITHUB_ENV: {github} does not exist", hint).stderr == result.stderr
    assert (73, "github", []) == (result.code, explained(result)["format"], planted.log)


@pytest.mark.parametrize("command", [["check", "REF"], ["exec", "REF", "--", "true"]])
def test_other_commands_load_no_format(program: Program, prod: str, command: list[str]) -> None:
    script = (
        "import sys; from astro_token.cli import main\n"
        "main(sys.argv[1:])\n"
        "loaded = {name for name in sys.modules if name.startswith('astro_token.formats.')}\n"
        "print(loaded - {'astro_token.formats.rendering'})"  # the records of input and output
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *[part.replace("REF", prod) for part in command]],
        env=program.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "set()" == done.stdout.splitlines()[-1]
