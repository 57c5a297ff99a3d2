"""What `init` writes for each backend and CI system: its form, and whom the permissions admit."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from astro_token.errors import ConfigError, UsageError
from astro_token.init.decide import decide
from astro_token.init.detect import AstroProject
from astro_token.init.files import MARK, files
from astro_token.init.plan import BACKENDS, EXAMPLES, PACKAGE_SOURCE, Environment, Plan
from astro_token.init.remote import Remote
from astro_token.init.systems import SYSTEMS, own
from astro_token.init.template import fill
from astro_token.init.write import changes, write
from astro_token.record import replace
from astro_token.settings.project_file import find_project
from astro_token.system.installation import Source
from astro_token.version import __version__
from tests import test_example_scripts as scripts
from tests import test_example_setup as setup
from tests.rows import each_row
from tests.schemas import assert_schema
from tests.servers import ci_jobs
from tests.test_examples import BIN, PAIRED
from tests.test_examples import SYSTEMS as SCHEMAS
from tests.test_examples import run as run_program

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = {"gitlab": "gitlab.example.com", "bitbucket": "bitbucket.org", "azure-pipelines": "dev.azure.com"}
BOTH = (("dev", None), ("prod", None))


def plan(
    tmp_path: Path, system: str, backend: str, host: str = "", path: str = "acme/dags", **options: Any
) -> Plan:
    remote = Remote("origin", host or HOSTS.get(system, "github.com"), path)
    given = {"environments": BOTH if system in PAIRED else BOTH[1:], **options}
    project = given.pop("project", AstroProject())
    environ = given.pop("environ", {})
    return decide(tmp_path, remote, project, environ, backend=backend, system=system, **given)


def backends_of(system: str) -> list[str]:
    return [backend for backend in BACKENDS if backend != "file" or system in PAIRED]


def without_marks(text: str) -> str:
    return re.sub(rf"  (?:#|//) {MARK}$", "", text, flags=re.MULTILINE)


@each_row("system", SYSTEMS)
def test_every_value_to_change_is_marked_and_a_mark_changes_nothing(tmp_path: Path, system: str) -> None:
    values = {value for name, value in EXAMPLES.items() if name != "astro_cli"} | {PACKAGE_SOURCE}
    values.add("vault.example.com")  # Vault's server ID
    for backend in backends_of(system):
        made = files(plan(tmp_path, system, backend))
        for name, text in made.items():
            for line in text.splitlines():
                is_comment = line.lstrip().startswith(("#", "//"))
                has_value = any(value in line for value in values)
                assert line.endswith(f" {MARK}") is (has_value and not is_comment), (name, line)
                assert not re.search(rf"\\\s+# {MARK}$", line)
            if name.endswith(".yml"):
                assert yaml.safe_load(text) == yaml.safe_load(without_marks(text))
            assert not re.search(r"@[a-z_]+@|@(?:if|each|end|lines)\b", text)
        scripts_of = [text for name, text in made.items() if name.endswith(".sh")]
        done = subprocess.run(["sh", "-n"], input="\n".join(scripts_of), text=True, capture_output=True)
        assert (0, "") == (done.returncode, done.stderr)


@each_row("backend", ["vault", "aws", "gcp", "azure"])
@each_row("name", ["my-project", "my-vault"])
def test_a_repository_with_the_name_of_a_placeholder(tmp_path: Path, name: str, backend: str) -> None:
    """A mark in a document, or after a line that continues, would break it."""
    for system in PAIRED:
        usual = files(plan(tmp_path, system, backend, path="acme/other"))
        made = files(plan(tmp_path, system, backend, path=f"acme/{name}"))
        for file, text in usual.items():
            marks = [line.endswith(f" {MARK}") for line in text.splitlines()]
            assert marks == [line.endswith(f" {MARK}") for line in made[file].splitlines()], (system, file)


@each_row("system", SYSTEMS)
def test_the_project_file_has_the_tokens_that_the_jobs_name(tmp_path: Path, system: str) -> None:
    for backend in backends_of(system):
        root = tmp_path / backend
        (root / ".git").mkdir(parents=True)
        made = plan(root, system, backend)
        write(root, changes(root, files(made)).new)
        tokens = find_project(root).tokens
        assert {each.name for each in made.environments} == tokens.keys()
        assert {backend} == {token.ref.scheme for token in tokens.values()}
        text = (root / SYSTEMS[system].file).read_text()
        named = set(re.findall(r"\bREF(?:: | = ')(\w+)", text) + re.findall(r"exec '(\w+)' --", text))
        assert named == tokens.keys()


@pytest.mark.long  # the examples are such files, and keep to it in each run
@pytest.mark.parametrize("system", PAIRED)
def test_the_files_keep_to_the_schema_of_their_system(tmp_path: Path, system: str) -> None:
    paths = []
    for backend in BACKENDS:
        for number, environments in enumerate((BOTH, BOTH[1:], (("prod", "1.0"),))):
            folder = tmp_path / f"{backend}-{number}"
            made = plan(tmp_path, system, backend, environments=environments, repository_id="1", owner_id="2")
            new = {name: text for name, text in files(made).items() if name.endswith(".yml")}
            write(folder, new)
            paths += [folder / name for name in new]
    assert_schema(str(SCHEMAS[system]), *paths)
    if system == "github":
        done = run_program(BIN / "zizmor", "--offline", "--no-progress", "--min-severity", "medium", *paths)
        assert (0, True) == (done.returncode, "No findings" in done.stdout + done.stderr), done.stdout


@each_row("system", SYSTEMS)
def test_a_branch_is_a_text_for_yaml(tmp_path: Path, system: str) -> None:
    """Unquoted, 1.10 is the number 1.1, and a job of the branch 1.1 would deploy."""
    made = files(plan(tmp_path, system, "vault", environments=(("prod", "1.10"),)))
    text = made[SYSTEMS[system].file]
    if system == "codebuild":  # its project names the branch
        return
    assert re.search(r"""["'](?:refs/heads/)?1\.10["']""", text), text
    if system != "jenkins":
        assert "1.1" not in scalars(yaml.safe_load(text))


def scalars(node: Any) -> list[str]:
    """All keys and values of a document, as texts."""
    if isinstance(node, dict):
        return [text for pair in node.items() for each in pair for text in scalars(each)]
    return [text for each in node for text in scalars(each)] if isinstance(node, list) else [str(node)]


def test_the_jobs_of_gitlab_have_names_of_their_own(tmp_path: Path) -> None:
    environments = (("dev", None), ("check-dev", None))
    text = files(plan(tmp_path, "gitlab", "vault", environments=environments))[".gitlab-ci.yml"]
    names = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert len(names) == len(set(names)) == 6, names  # with `variables` and `.deploy`


def created(tmp_path: Path, made: Plan) -> tuple[list[list[str]], list[str]]:
    """The calls of the script for the backend, and its documents."""
    script = tmp_path / "setup.sh"
    script.write_text(files(made)[f"astro-token-setup/{made.backend}.sh"])
    script.chmod(0o755)
    return setup.run(script, tmp_path)


@each_row("is_bound", [True, False], ids=["identifiers", "names"])
@each_row("system", PAIRED)
@each_row("service", setup.READERS)
def test_only_jobs_of_the_repository_and_environment_get_its_token(
    tmp_path: Path, service: str, system: str, *, is_bound: bool
) -> None:
    number = {"github": "456789", "gitlab": "4242"}[system]
    given = {"repository_id": number, "owner_id": "123456"} if is_bound else {}
    made = plan(tmp_path, system, service, **given)
    calls, _ = created(tmp_path, made)
    names = {name: f"{made.name}-{name}".removeprefix("astro-") for name in ("dev", "prod")}
    readers = {name: setup.READERS[service](calls, text) for name, text in names.items()}
    audience = {"aud": setup.AUDIENCES[service]}
    job = {"github": ci_jobs.github, "gitlab": ci_jobs.gitlab}[system]
    strangers = {"github": ci_jobs.github_strangers, "gitlab": ci_jobs.gitlab_strangers}[system]()
    for name, accepts in readers.items():
        assert accepts({**job(name), **audience})
        assert not accepts({**job({"dev": "prod", "prod": "dev"}[name]), **audience})
    if system == "gitlab":  # the nightly check
        assert readers["prod"]({**ci_jobs.gitlab("prod", pipeline_source="schedule"), **audience})
    elif is_bound or service == "gcp":
        assert readers["prod"]({**ci_jobs.github("prod", immutable=True), **audience})
    accepted = {name for name, claims in strangers.items() if readers["prod"]({**claims, **audience})}
    unseen = set() if service == "gcp" else setup.UNSEEN[system]
    # Only a number tells a repository from a later one of its name.
    renamed = {"a repository that took the name"} if service == "gcp" and system == "github" else set()
    assert accepted == (unseen if is_bound else unseen | renamed)


@pytest.mark.parametrize(
    ("host", "path", "issuer"),
    [
        ("github.com", "acme/dags", "https://token.actions.githubusercontent.com"),
        ("acme.ghe.com", "acme/dags", "https://token.actions.acme.ghe.com"),
        ("git.acme.io:8443", "acme/dags", "https://git.acme.io:8443/_services/token"),
    ],
)
def test_a_self_managed_github(tmp_path: Path, host: str, path: str, issuer: str) -> None:
    made = files(plan(tmp_path, "github", "vault", host, path))
    assert f"\nISSUER={issuer}\n" in made["astro-token-setup/vault.sh"]
    is_own = host != "github.com"
    assert (f"\nexport GH_HOST={host}\n" in made["astro-token-setup/environments.sh"]) is is_own


def test_a_self_managed_gitlab_with_subgroups(tmp_path: Path) -> None:
    made = files(plan(tmp_path, "gitlab", "vault", "git.acme.io:8443", "data/team.x/dags"))
    script = made["astro-token-setup/vault.sh"]
    assert "\nGITLAB=git.acme.io:8443\nPROJECT=data/team.x/dags\n" in script
    assert '"project_path": "$PROJECT"' in script
    assert "\nexport GITLAB_HOST=git.acme.io:8443\n" in made["astro-token-setup/schedule.sh"]


def test_names_of_other_repositories_differ() -> None:
    paths = [
        "a/b",
        "a-b/c",
        "a/b-c",
        "A/b",
        "data/team.x/dags",
        "data/team-x/dags",
        f"acme/{'x' * 80}",
        f"acme/{'x' * 81}",
    ]
    folders = ["", "x", "y"]
    hosts = ["github.com", "gitlab.com", "git.acme.io", "git.acme.io:8443"]
    plans = [
        Plan("aws", "github", (Environment("prod", "main"),), Remote("origin", host, path), folder=folder)
        for host in hosts
        for path in paths
        for folder in folders
    ]
    assert len(plans) == len({each.name for each in plans}) == len({each.provider for each in plans})
    assert all(len(each.name) <= 42 and re.fullmatch(r"[a-z0-9-]+", each.name) for each in plans)
    assert all(4 <= len(each.provider) <= 32 for each in plans)
    rows = [
        own(replace(each, backend="gcp", system="jenkins"), Environment("e" * 18, "main")) for each in plans
    ]
    accounts = [value.partition("@")[0] for ((_, value),) in rows]
    assert (len(plans), 30) == (len(set(accounts)), max(map(len, accounts)))


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="AWS accepts no issuer with a port"):
        plan(tmp_path, "gitlab", "aws", "git.acme.io:8443")
    with pytest.raises(ConfigError, match="not an owner and a repository"):
        plan(tmp_path, "github", "vault", "ghe.acme.io", "a/b/c")
    alias = Remote("origin", "github-work", "acme/dags", is_alias=True)  # of ~/.ssh/config
    with pytest.raises(ConfigError, match="the host github-work of the remote origin is an alias"):
        decide(tmp_path, alias, AstroProject(), {}, backend="vault", system="github", environments=BOTH)
    for path in ("~root/dags", "acme/my%20dags"):
        with pytest.raises(ConfigError, match="the path of the remote origin is none of GitLab CI"):
            plan(tmp_path, "gitlab", "aws", path=path)
        assert "azure-pipelines.yml" in files(plan(tmp_path, "azure-pipelines", "aws", path=path))
    with pytest.raises(ConfigError, match="Bitbucket Pipelines does not run jobs of github"):
        plan(tmp_path, "bitbucket", "vault", "github.com")
    with pytest.raises(UsageError, match="no files for CircleCI with encrypted files"):
        plan(tmp_path, "circleci", "file")


def test_what_pip_installs_is_this_copy_s_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://git.acme.io/platform/astro-token"
    archive = "https://git.acme.io/astro_token-1-py3-none-any.whl"
    for source, expected in (
        (Source("git", address, "0123456789abcdef"), f"astro-token[vault] @ git+{address}@0123456789abcdef"),
        (Source("archive", archive, fragment="#sha256=00"), f"astro-token[vault] @ {archive}#sha256=00"),
        (Source("index"), f"astro-token[vault]=={__version__}"),
        *(
            (source, f"astro-token[vault] @ {PACKAGE_SOURCE}")
            for source in (
                Source("folder", "/home/me/astro-token"),
                Source("editable", "/home/me/astro-token"),
                Source("git", "ssh://git@git.acme.io/astro-token", "0123456789abcdef"),
                Source("archive", "https://x/y'; touch z"),
                Source("zipapp"),
                Source("unknown"),
            )
        ),
    ):
        monkeypatch.setattr("astro_token.init.decide.installed_from", lambda source=source: source)
        for system in ("github", "gitlab"):
            file = yaml.safe_load(files(plan(tmp_path, system, "vault"))[SYSTEMS[system].file])
            assert expected == file.get("env", file.get("variables"))["PACKAGE"]


@each_row(
    ("system", "backend"), [(system, "vault") for system in SYSTEMS] + [(system, "file") for system in PAIRED]
)
def test_a_job_deploys_the_project_of_a_folder_with_its_token(
    tmp_path: Path, system: str, backend: str
) -> None:
    """Every job of a file, as its CI system runs it."""
    made = plan(tmp_path, system, backend, project=AstroProject("airflow/a", 1, None, "cldep1"))
    path = tmp_path / system / "file"
    path.parent.mkdir()
    path.write_text(files(made)[SYSTEMS[system].file])
    for environment in made.environments:
        folder = tmp_path / environment.name
        (folder / "work" / "airflow" / "a").mkdir(parents=True)
        ran = scripts.run(path, folder, environment.name)
        deployment = "cldep1" if len(made.environments) == 1 else EXAMPLES["deployment"]
        deploy = ["exec", environment.name, "--", "astro", "deploy", "--dags", deployment]
        assert deploy == [call[1:] for call in ran.calls if call[0] == "astro-token"][-1]
        assert str(ran.work / "airflow" / "a") == ran.seen["PWD"]


def test_a_template() -> None:
    text = "@each rows\n- @name@\n@if more\n  @lines own\n@end\n@end\n@unless more\nnone\n@end\n"
    values = {"rows": [{"name": "a", "own": ["x", "y"]}, {"name": "b", "own": []}], "more": True}
    assert "- a\n  x\n  y\n- b\n" == fill(text, values)
    assert "- a\n- b\nnone\n" == fill(text, {**values, "more": False})
    with pytest.raises(KeyError):
        fill("@absent@\n", values)
