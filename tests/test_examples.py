"""The examples and the ready parts: their schemas, their commands, and the scripts in them, run."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from astro_token.cli.parser import parse
from astro_token.init.backend import example_backend
from astro_token.init.files import example_files
from astro_token.init.plan import PACKAGE_SOURCE
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import credential_variables
from astro_token.settings.variables import own_variables
from tests.conftest import PROGRAM, ROOT
from tests.machine import IN_CI
from tests.rows import each_row
from tests.schemas import assert_schema

if TYPE_CHECKING:
    from tests.conftest import Program

CI = ROOT / "examples" / "ci"
BACKENDS = ("vault", "aws", "gcp", "azure")
# The CI systems of Astronomer's documentation, and one more.
SYSTEMS = {
    "github": "vendor.github-workflows",
    "gitlab": "vendor.gitlab-ci",
    "circleci": "vendor.circle-ci",
    "azure-pipelines": "vendor.azure-pipelines",
    "bitbucket": "vendor.bitbucket-pipelines",
    "buildkite": "vendor.buildkite",
    "drone": "vendor.drone-ci",
    "woodpecker": "vendor.woodpecker-ci",
    "codebuild": None,  # has no schema that is published with a licence
    "jenkins": None,  # is no YAML
}
FILES = sorted(path for path in CI.rglob("*") if path.is_file() and path.suffix != ".pyc")
# With two environments, and scripts that create what each of them may read.
PAIRED = ("github", "gitlab")
EXAMPLES = [
    CI / system / (f"{backend}.Jenkinsfile" if system == "jenkins" else f"{backend}.yml")
    for system in SYSTEMS
    for backend in (*BACKENDS, *(("file", "vault-image") if system in PAIRED else ()))
]
SETUPS = [CI / system / f"{backend}-setup.sh" for system in PAIRED for backend in (*BACKENDS, "file")]
BIN = Path(sys.executable).parent


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


def name(path: Path) -> str:
    return str(path.relative_to(CI))


def backend_of(path: Path) -> str:
    return path.stem.partition("-")[0]


def test_there_is_one_for_each_system_and_backend_and_no_file_that_nobody_tests() -> None:
    parts = {
        "gitlab/component/templates/astro-token.yml", "circleci/orb.yml", "azure-pipelines/template.yml",
        "buildkite/plugin/plugin.yml", "buildkite/plugin/hooks/command", "buildkite/plugin/hooks/pre-command",
        "buildkite/plugin/hooks/pre-exit", "buildkite/plugin/install.sh", "jenkins/vars/astroToken.groovy",
        "bitbucket/pipe/pipe.sh", "bitbucket/pipe/pipe.yml",
    }  # fmt: skip
    actions = {f"github/{backend}-deploy-action.yml" for backend in BACKENDS}
    scripts = {*(name(path) for path in SETUPS), "github/environments-setup.sh"}
    schedules = {f"{system}/{file}" for system in PAIRED for file in ("rotate.yml", "rotate-setup.sh")}
    schedules.add("rotation_issue.py")
    expected = {*(name(path) for path in EXAMPLES), *parts, *actions, *scripts, *schedules}
    assert {name(path) for path in FILES} == expected


@each_row("system", [system for system, schema in SYSTEMS.items() if schema])
def test_they_keep_to_the_schema_of_their_system(system: str) -> None:
    files = [
        path
        for path in FILES
        if path.parent == CI / system
        and path.suffix != ".sh"
        and path.name not in {"orb.yml", "template.yml"}
    ]
    assert_schema(str(SYSTEMS[system]), *files)


def test_the_parts_keep_to_their_schemas() -> None:
    for schema, file in (
        ("github-actions", ROOT / "action.yml"),
        ("azure-pipelines", CI / "azure-pipelines" / "template.yml"),
        ("circle-ci", CI / "circleci" / "orb.yml"),
    ):
        if schema == "circle-ci":
            orb = yaml.safe_load(file.read_text())
            assert {"version", "description", "commands", "jobs"} == orb.keys()
            continue
        assert_schema(f"vendor.{schema}", file)
    for file in CI.rglob("*.yml"):
        assert list(yaml.safe_load_all(file.read_text())), file


def test_an_auditor_finds_nothing_in_the_action_and_the_workflows() -> None:
    files = [ROOT / "action.yml", *sorted((CI / "github").glob("*.yml"))]
    for file in files:
        done = run(BIN / "zizmor", "--offline", "--no-progress", "--min-severity", "medium", file)
        assert (0, True) == (done.returncode, "No findings" in done.stdout + done.stderr), done.stdout


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        assert not IN_CI, "CI must have Go"
        pytest.skip("Go is not installed")
    folder = tmp_path_factory.mktemp("actionlint")
    # Where the machine has its caches, as for the judge of the Astro CLI's configuration.
    environ = {"HOME": str(Path.home()), **os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
    command = ["go", "install", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"]
    subprocess.run(command, env=environ, check=True)
    return folder / "actionlint"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_workflows_pass_actionlint(actionlint: Path, tmp_path: Path) -> None:
    files = sorted((CI / "github").glob("*.yml"))
    # Its shell checker may not be on this machine, and other tests run the scripts.
    command = (actionlint, "-no-color", "-shellcheck=", "-pyflakes=")
    done = run(*command, *files)
    assert (0, "") == (done.returncode, done.stdout)
    planted = tmp_path / "rotate.yml"
    planted.write_text((CI / "github" / "rotate.yml").read_text().replace("steps.rotate.", "steps.other."))
    assert 1 == run(*command, planted).returncode


def test_an_auditor_would_find_something(tmp_path: Path) -> None:
    text = (CI / "github" / "vault.yml").read_text()
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    planted = tmp_path / ".github" / "workflows" / "deploy.yml"
    planted.write_text(text.replace('"$DEPLOYMENT"', "${{ github.event.head_commit.message }}"))
    assert run(BIN / "zizmor", "--offline", "--no-progress", planted).returncode != 0


@functools.cache
def all_code() -> str:
    return "\n".join(
        file.read_text() for root in ("core", "backends") for file in (ROOT / root).rglob("*.py")
    )


@each_row("path", EXAMPLES, ids=name)
def test_an_example_names_what_is_there(path: Path) -> None:
    text = path.read_text()
    backend = backend_of(path)
    # References.
    refs = re.findall(rf"\b{backend}:[a-z-]+[/.][^\s'\"]+", text)
    assert refs
    assert {SecretRef.parse(ref).scheme for ref in refs} == {backend}
    # Commands.
    commands = re.findall(r"astro-token\"? ((?:exec|export|install-cli)\b[^\n]*)", text)
    assert commands
    for command in commands:
        # Where a script stands in quotes of its own, the last one is theirs.
        own = command[:-1] if path.suffix == ".Jenkinsfile" else command
        parse([re.sub(r"^\$+(\w+)$", r"\1", word) for word in shlex.split(own)])
    # Extras, and the source, in one variable.
    extra = "astro-token" if backend == "file" else rf"astro-token\[[a-z,]*{backend}[a-z,]*\]"
    source = re.escape(" @ git+https://github.com/YOUR-ORG/astro-token@COMMIT")
    assert len(re.findall(rf"\bPACKAGE\W+{extra}{source}['\n]", text)) == 1
    assert len(re.findall(r"astro-token(?:\[[a-z,]+\])? @ ", text)) == 1
    # One version of the Astro CLI, in one variable.
    assert "ASTRO_CLI_VERSION" in text
    assert len(re.findall(r"\b1\.\d\d\.\d\b", text)) == 1
    # Variables of ours.
    code = all_code()
    for variable in set(re.findall(r"\b(?:ASTRO_TOKEN|VAULT)_[A-Z_]+\b", text)):
        assert variable in code or variable in {"ASTRO_TOKEN_REFERENCE", "ASTRO_TOKEN_CHILD_COMMAND"}, (
            variable
        )


def test_nothing_installs_us_by_name() -> None:
    """Whoever copies a file and nothing else would install a stranger's package beside the job's identity."""
    actions = {CI / "github" / f"{backend}-deploy-action.yml" for backend in BACKENDS}
    installs = re.compile(r"""\bpip"? install "\$?\$PACKAGE\"""")
    schedules = {CI / system / "rotate.yml" for system in PAIRED}
    copied = {*EXAMPLES, *actions, *schedules}
    assert copied == {path for path in FILES if installs.search(path.read_text())}
    assert [] == [name(path) for path in copied if PACKAGE_SOURCE not in path.read_text()]
    parts = [path for path in FILES if path not in copied and re.search(r"-m pip install", path.read_text())]
    assert len(parts) == 4
    source = re.compile(r'"astro-token\[\$\{?\w+(?::-)?\}?\] @ \$\{?\w+_SOURCE\b')
    assert [] == [name(path) for path in parts if not source.search(path.read_text())]
    assert [] == [name(path) for path in parts if PACKAGE_SOURCE not in path.read_text()]


def test_the_examples_are_those_of_the_templates_of_init() -> None:
    """`make examples` writes them, so that the tests of the examples run what init writes."""
    made = example_files()
    written = {name: (CI / name).read_text() for name in made}
    assert made == written
    assert {*EXAMPLES, *SETUPS} - {CI / name for name in made} == {
        CI / system / "vault-image.yml" for system in PAIRED
    }


def test_the_example_of_a_plugin_is_what_backends_new_writes() -> None:
    """`make examples` writes it, too; the tests of plugins run what the command writes."""
    folder = CI.parent / "plugin"
    assert example_backend() == {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_all_examples_pin_one_version_of_the_astro_cli() -> None:
    pins = {pin for path in EXAMPLES for pin in re.findall(r"CLI_VERSION\W+(\d[\d.]+)", path.read_text())}
    assert len(pins) == 1


@each_row("path", FILES, ids=name)
def test_nothing_secret_stands_in_a_file(path: Path) -> None:
    text = re.sub(r"^ *#.*$", "", path.read_text(), flags=re.MULTILINE)
    allowed: tuple[str, ...] = ("from_secret", "/tmp/key.json", "${{ secrets.ASTRO_TOKEN_AGE_KEY }}")
    if path.suffix == ".sh":  # stores a key that it has just made
        allowed = ("| gh secret set ", "| glab variable set ", "unset ", 'KEY_FILE="$key"')
    for variable in credential_variables() - {"ASTRO_TOKEN_ID_TOKEN", "SYSTEM_ACCESSTOKEN"}:
        for line in re.findall(rf"^.*\b{variable}\b.*$", text, re.MULTILINE):
            following = text[text.index(line) + len(line) :].lstrip()
            assert any(word in line or following.startswith(word) for word in allowed), line


def test_what_exports_the_token_is_masked_by_its_ci_system() -> None:
    """Only GitHub's files export it, with the action's format, whose mask is tested below."""
    exporting = {name(path) for path in FILES if re.search(r"\bastro-token export\b", path.read_text())}
    assert exporting == {f"github/{backend}-deploy-action.yml" for backend in BACKENDS}


def test_a_login_by_the_identity_names_its_audience_in_every_snippet() -> None:
    """The roles and the mount of AWS in docs/vault.md require it; few CI systems request it themselves."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    snippets = {
        f"{page.name} {number}": text
        for page in pages
        for number, text in enumerate(
            re.findall(r"^```\w+\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        )
    } | {name(path): path.read_text() for path in FILES}
    logins = {
        title: "ASTRO_TOKEN_VAULT_AUDIENCE" in text
        for title, text in snippets.items()
        if re.search(r"ASTRO_TOKEN_VAULT_ROLE\b", text)
        and re.findall(r"ASTRO_TOKEN_VAULT_AUTH\W+(\w+)", text) in ([], ["aws"])
    }
    assert "codebuild/vault.yml" in logins
    assert len(logins) > len(("github", "gitlab", "ci.md", "vault.md"))
    assert [] == [title for title, names_audience in logins.items() if not names_audience]


def test_no_variable_of_a_part_is_taken_for_a_misspelt_one(program: Program, canary: str) -> None:
    texts = [path.read_text() for path in FILES]
    names = {name for text in texts for name in re.findall(r"\bASTRO_TOKEN_[A-Z_]*[A-Z]\b", text)}
    assert names >= {
        "ASTRO_TOKEN_REFERENCE",
        "ASTRO_TOKEN_CHILD_COMMAND",
        "ASTRO_TOKEN_FOLDER",
    }
    names -= own_variables()
    result = program("exec", "env:SECRET", "--", "true", env={**dict.fromkeys(names, "x"), "SECRET": canary})
    assert (0, "") == (result.code, result.stderr)


# -- the hooks and the parts --------------------------------------------------------------------------


def plant_modules(program: Program) -> None:
    """A job that sets PYTHONPATH, and modules that the checkout has for it."""
    program.environ["PYTHONPATH"] = "."
    for module in ("sitecustomize", "usercustomize", "astro_token"):
        (program.work / f"{module}.py").write_text("open('run', 'w').close()")


def test_planted_modules_would_be_run(program: Program) -> None:
    plant_modules(program)
    subprocess.run([PROGRAM, "--version"], cwd=program.work, env=program.environment(), capture_output=True)
    assert (program.work / "run").exists()


@pytest.mark.parametrize(
    "hook", yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()), ids=itemgetter("id")
)
def test_a_hook_runs_no_module_of_the_checkout(program: Program, canary: str, hook: dict[str, str]) -> None:
    plant_modules(program)
    project = program.work / "astro-token.toml"
    project.write_text('[tokens.prod]\nref = "env:SECRET"\n')
    project.chmod(0o600)
    program.environ |= {"SECRET": canary, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        shlex.split(hook["entry"]),
        cwd=program.work,
        env=program.environment(),
        capture_output=True,
        text=True,
    )
    assert (0, False) == (done.returncode, (program.work / "run").exists()), done.stdout + done.stderr


@each_row(
    "path",
    [
        ".pre-commit-hooks.yaml",
        "examples/container/Containerfile",
        "examples/ci/azure-pipelines/template.yml",
        "examples/ci/buildkite/plugin/hooks/command",
        "examples/ci/buildkite/plugin/hooks/pre-command",
        "examples/ci/circleci/orb.yml",
        "examples/ci/gitlab/component/templates/astro-token.yml",
    ],
)
def test_a_part_that_installs_us_isolates_the_interpreter(path: str) -> None:
    """The others find us on PATH, perhaps installed by `pip --user`, which -I would not see."""
    code = re.sub(r"^ *#.*$", "", (ROOT / path).read_text(), flags=re.MULTILINE).replace('", "', " ")
    assert re.search(r"python\"? -I -m astro_token\b", code)
    assert not re.search(r"astro-token\"? (?:exec|export|check|install-cli)\b", code)
    assert not re.search(
        r"python3?\"? (?!-I -m |-m hatchling|-m venv --without-pip)-|(?<!-m )\bpip install \"astro", code
    )


def test_the_pipe_of_bitbucket_runs_a_command_with_the_token(program: Program, canary: str) -> None:
    program.environ |= {
        "SECRET": canary,
        "TOKEN": "env:SECRET",
        "COMMAND": 'echo "${#ASTRO_API_TOKEN}"',
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
    }
    script = CI / "bitbucket" / "pipe" / "pipe.sh"
    done = subprocess.run(
        [script], env=program.environment(), cwd=program.work, capture_output=True, text=True
    )
    assert (0, f"{len(canary)}\n") == (done.returncode, done.stdout), done.stderr
    without = {name: text for name, text in program.environment().items() if name != "TOKEN"}
    assert subprocess.run([script], env=without, cwd=program.work, capture_output=True).returncode != 0


def test_scripts_are_shell() -> None:
    for script in (CI / "bitbucket/pipe/pipe.sh", *(CI / "buildkite/plugin/hooks").iterdir()):
        assert (0, True) == (run("bash", "-n", script).returncode, os.access(script, os.X_OK))


# -- pre-commit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "read"), [(None, ["dev", "prod"]), (["dev"], ["dev"])])
def test_the_check_hook_reads_the_tokens_of_its_args(
    program: Program, canary: str, args: list[str] | None, read: list[str]
) -> None:
    (hook,) = (
        hook
        for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
        if hook["id"] == "astro-token-check"
    )
    hook |= {"language": "system", "verbose": True, **({"args": args} if args else {})}
    work = program.work
    config = {"repos": [{"repo": "local", "hooks": [hook]}]}
    (work / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    project = work / "astro-token.toml"
    project.write_text('[tokens.dev]\nref = "env:DEV"\n[tokens.prod]\nref = "env:PROD"\n')
    project.chmod(0o600)
    program.environ |= {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(program.home / "pre-commit"),
        "DEV": canary,
    }
    subprocess.run(["git", "init", "-q"], cwd=work, env=program.environment(), check=True)
    done = subprocess.run(
        [BIN / "pre-commit", "run", "--hook-stage", "pre-push", "--all-files"],
        cwd=work, env=program.environment(), capture_output=True, text=True,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert read == [name for name in ("dev", "prod") if name in output.split()], output
    assert ("prod" in read) == bool(done.returncode)  # PROD is not set
    assert canary not in output


def test_pre_commit_runs_the_hooks(program: Program, canary: str) -> None:
    """The hooks as they are published, with the entries of this environment in place of an installed one."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    local = [{**hook, "language": "system"} for hook in hooks]
    work = program.work
    (work / ".pre-commit-config.yaml").write_text(
        yaml.safe_dump({"repos": [{"repo": "local", "hooks": local}]})
    )
    program.environ |= {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(program.home / "pre-commit"),
        **{
            f"GIT_{who}_{what}": "tests@example.com"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-c", "init.defaultBranch=main", *arguments],
            cwd=work, env=program.environment(), capture_output=True, text=True,
        )  # fmt: skip

    assert git("init", "-q").returncode == 0
    assert (
        subprocess.run([BIN / "pre-commit", "install"], cwd=work, env=program.environment()).returncode == 0
    )
    project = work / "astro-token.toml"
    project.write_text('[tokens.prod]\nref = "env:SECRET"\n')
    project.chmod(0o600)
    git("add", ".")
    good = git("commit", "-qm", "good")
    assert good.returncode == 0, good.stdout + good.stderr
    (work / "notes.txt").write_text(f"token: {canary}\n")
    git("add", ".")
    leaking = git("commit", "-qm", "leaking")
    assert (1, True) == (
        leaking.returncode,
        "notes.txt:1 contains an Astro API token" in leaking.stdout + leaking.stderr,
    )
    assert canary not in leaking.stdout + leaking.stderr
    # What is staged is what is looked at, and not what stands in the folder now.
    (work / "notes.txt").write_text("nothing\n")
    assert git("commit", "-qm", "still leaking").returncode == 1
    assert git("add", ".").returncode == 0
    (work / "notes.txt").write_text(f"{canary}\n")
    clean = git("commit", "-qm", "clean")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    for name in ("of\ntwo lines", "ünïcode ☃"):
        (work / name).write_text(canary)
        git("add", name)
        assert git("commit", "-qm", "leaking").returncode == 1
        git("rm", "-q", "--cached", name)
        (work / name).unlink()
    (work / "notes.txt").unlink()
    project.write_text('[tokens.prod]\nreff = "env:SECRET"\n')
    git("add", "-A")
    assert git("commit", "-qm", "broken").returncode == 1
