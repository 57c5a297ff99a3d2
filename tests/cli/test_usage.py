"""What is wrong with a call or its input: the status, one line of error, one of hint, and nothing echoed."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pyrage
import pytest

from astro_token.cli.parser import build, parse
from astro_token.testing import make_token
from tests.conftest import PROGRAM, ROOT, Result
from tests.installed import extra_hint
from tests.servers.astro_api import Grant, deployment, organization, role, workspace
from tests.servers.astro_requests import claims_of, utc_now
from tests.servers.releases import Releases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi
    from tests.servers.certificates import Certificates
    from tests.servers.openbao import OpenBao

    Write = Callable[[str, str], Path]


def failure(code: int, message: str, hint: str) -> Result:
    return Result(code, "", f"astro-token: error: {message}\nastro-token: hint: {hint}\n")


# -- the command line -------------------------------------------------------------------------------

HELP = "--help for the options and examples"
AFTER = "for example: astro-token exec prod -- astro deploy --dags cldep00000000000000000"
MANY = "too many or unknown arguments"
NO_TOKEN_HINT = (
    "give a reference such as vault:secret/astro/prod#token, set ASTRO_TOKEN_REF, or write astro-token.toml"
)
NO_NAME = "the token is neither a reference nor a name: no project file names a token"
FORM = "a reference has the form scheme:name, such as vault:secret/astro/prod#token"


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("", "the following arguments are required: COMMAND", f"run astro-token {HELP}"),
        ("--frobnicate", "the following arguments are required: COMMAND", f"run astro-token {HELP}"),
        ("-- true", "the following arguments are required: COMMAND", f"run astro-token {HELP}"),
        ("exec", "exec requires a command after --", AFTER),
        ("exec env:X", "exec requires a command after --", AFTER),
        ("exec env:X --", "exec requires a command after --", AFTER),
        ("exec env:X astro deploy --dags", "the command must follow --", AFTER),
        ("exec env:X env:Y -- true", MANY, f"run astro-token exec {HELP}"),
        ("exec --isolate env:X -- true", "unknown option --isolate", f"run astro-token exec {HELP}"),
        ("exec --keep-env", "argument --keep-env: expected one argument", f"run astro-token exec {HELP}"),
        (
            "exec --timeout soon -- true",
            "argument --timeout: invalid float value",
            f"run astro-token exec {HELP}",
        ),
        (
            "rotate --dryrun x",
            "unknown option --dryrun",
            f"did you mean --dry-run? run astro-token rotate {HELP}",
        ),
        ("check --frobnicate", "unknown option --frobnicate", f"run astro-token check {HELP}"),
        ("check --all=yes", "argument --all: ignored explicit argument", f"run astro-token check {HELP}"),
        ("check -- env:X", "only exec takes a command after --", "astro-token exec --help has examples"),
        ("check exec -- true", "only exec takes a command after --", "astro-token exec --help has examples"),
        ("export env:X env:Y", MANY, f"run astro-token export {HELP}"),
        (
            "export --form json env:X",
            "unknown option --form",
            f"did you mean --format? run astro-token export {HELP}",
        ),
        ("check --p4ssw0rd", MANY, f"run astro-token check {HELP}"),
        (
            "backends env:X",
            "argument new: invalid choice (choose from new)",
            f"run astro-token backends {HELP}",
        ),
        ("backends new a b", MANY, f"run astro-token backends {HELP}"),
        ("check prod", NO_NAME, FORM),
        (
            "check ''",
            "the token argument is empty",
            "check the shell variable in the command, or omit the argument",
        ),
        ("exec prod -- true", NO_NAME, FORM),
    ],
)
def test_a_call_that_makes_no_sense(program: Program, line: str, message: str, hint: str) -> None:
    assert failure(64, message, hint) == program(*shlex.split(line))


@pytest.mark.parametrize("line", ["frobnicate", "export --format xml env:X", "check --log-level all"])
def test_a_choice_that_there_is_not(program: Program, line: str) -> None:
    """How the choices are quoted differs between versions of Python."""
    result = program(*line.split())
    lines = result.stderr.splitlines()
    assert (64, "", 2) == (result.code, result.stdout, len(lines))
    assert re.fullmatch(r"astro-token: error: argument \S+: invalid choice \(choose from .*\)", lines[0])
    assert lines[1].endswith(HELP)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("exprot env:X", "export"),
        ("export --format posx env:X", "posix"),
        ("export --format bash env:X", "posix"),
        ("export --format POSIX env:X", "posix"),
        ("export --format azure env:X", "azure-pipelines"),
        ("check --format jsn", "json"),
    ],
)
def test_a_choice_that_is_nearly_one(program: Program, line: str, meant: str) -> None:
    result = program(*line.split())
    assert (64, "", True) == (result.code, result.stdout, f"hint: did you mean {meant}? " in result.stderr)


def test_a_format_without_its_option(program: Program) -> None:
    expected = failure(64, MANY, "give the format as --format posix")
    assert expected == program("export", "posix", "env:X")


# -- references -------------------------------------------------------------------------------------

VAULT = "the form is MOUNT/PATH, for example vault:secret/astro/prod#token"
ANY = "the form is scheme:name[?option=value…][#field]"


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        ("vault:secret/../sys/health", " of vault: its path contains a . or .. segment", VAULT),
        ("vault:secret/a/..", " of vault: its path contains a . or .. segment", VAULT),
        ("vault:secret/%2e%2e/sys/health", " of vault: its path contains a . or .. segment", VAULT),
        ("vault:sys/policies", " of vault: its name is malformed", VAULT),
        ("vault:secret//a", " of vault: a part of its path is empty", VAULT),
        ("vault:", " of vault: a part of it is empty", VAULT),
        (
            "vault:secret/a?verison=3",
            " of vault: it has an unknown option",
            "did you mean version? vault takes kv, namespace, version",
        ),
        ("vault:secret/a?version=x", " of vault: its option version is malformed", VAULT),
        ("vault:secret/a?version=1&version=2", ": an option is given twice", ANY),
        ("vault:secret/a?address=https://evil.example", " of vault: it has an unknown option", None),
        (
            "vault://user:hunter2@vault.example/secret/a",
            ": it contains a user or a password",
            "a reference only names a secret; credentials come from the environment",
        ),
        ("vault:secret/a#", ": the field after # is empty", ANY),
        ("vault:secret/a\x1b[2J", " of vault: it contains a control character", VAULT),
        ("azure:https://user@vault.example/secrets/a", " of azure: its name is malformed", None),
        ("gcp:project/secret/../other", " of gcp: its path contains a . or .. segment", None),
        ("aws:arn:aws:s3:::bucket", " of aws: its name is malformed", None),
    ],
)
def test_a_reference_that_is_none(program: Program, ref: str, message: str, hint: str | None) -> None:
    for command in (["check", ref], ["exec", ref, "--", "true"]):
        result = program(*command)
        lines = result.stderr.splitlines()
        assert (64, "", f"astro-token: error: not a reference{message}") == (
            result.code,
            result.stdout,
            lines[0],
        )
        assert len(lines) == 2
        assert (
            lines[1] == f"astro-token: hint: {hint}" if hint else lines[1].startswith("astro-token: hint: ")
        )
        assert not any(text in result.stderr for text in ("hunter2", "evil", "verison", "\x1b"))


def test_a_scheme_that_nothing_serves(program: Program) -> None:
    known = (
        "the schemes are airflow, aws, aws-kms, aws-ssm, azure, azure-keys, command, env, file, gcp, "
        "gcp-kms, gcp-pm, keyring, vault, vault-transit"
    )
    for ref, message, hint in (
        (
            "valut:secret/a",
            "no backend serves this scheme (the part before the colon)",
            f"did you mean vault? {known}; ASTRO_TOKEN_PLUGINS must name a plugin's distribution",
        ),
        (
            "vault-transit:astro",
            "vault-transit:astro: the backend vault-transit has keys, not secrets",
            "`astro-token backends` lists the operations of each backend",
        ),
    ):
        assert failure(78, message, hint) == program("export", ref)


# -- secrets ----------------------------------------------------------------------------------------

SHOWN = "store the token as Astro showed it when it was created, or create a new one"
NEW = "create a new token with astro-token create, or in Astro, and store it instead"


def test_a_secret_that_holds_no_usable_token(program: Program, planted: Planted, canary: str) -> None:
    head, claims, signature = canary.split(".")
    form = "it does not consist of three parts of letters, digits, - and _ with dots between them"
    login = "it has no permissions, like the token of a person's login"
    none = "the value is not an Astro API token: "
    field = "correct the part of the reference after #"
    name = "name the field after # in the reference, as in vault:secret/astro/prod#token"
    damaged = f"{none}its second part is damaged or cut off"
    two = json.dumps({"one": canary, "two": canary})
    unnamed = "and the reference does not name a field"
    for text, fragment, code, message, hint in (
        ("", "", 65, f"{none}it is empty", SHOWN),
        (" \r\n", "", 65, f"{none}it is empty", SHOWN),
        (f"{head}.{claims}", "", 65, none + form, SHOWN),
        (f"{head}.{claims[:-9]}.{signature}", "", 65, damaged, SHOWN),
        (f"{canary};$(touch pwned)", "", 65, none + form, SHOWN),
        (f"{canary}\n::set-env name=PATH::x", "", 65, none + form, SHOWN),
        ("hvs.CAESIJ", "", 65, none + form, SHOWN),
        (make_token(permissions=[]), "", 65, none + login, SHOWN),
        (make_token(exp=1_700_000_000), "", 65, "the token expired at 2023-11-14 22:13 UTC", NEW),
        (two, "", 66, f"the secret has 2 fields, {unnamed}", name),
        ("{}", "", 66, f"the secret has no fields, {unnamed}", name),
        (two, "#three", 66, "the secret has no field three; it has 2 fields", field),
        (
            json.dumps({"token": {"value": canary}}),
            "",
            65,
            "the selected field is not text",
            "name another field after # in the reference",
        ),
        (
            canary,
            "#token",
            66,
            "the secret has no fields: it is not a JSON object",
            "remove #field from the reference, or store a JSON object",
        ),
    ):
        planted.store("prod", text)
        ref = f"planted:prod{fragment}"
        assert failure(code, f"{ref}: {message}", hint) == program("export", ref)
    assert not (program.work / "pwned").exists()


def test_a_variable_that_is_empty_is_missing(program: Program) -> None:
    """CI systems give a job an empty one where it may not have the secret."""
    expected = failure(
        66,
        "env:TOKEN: the variable is not set, or is empty",
        "set it, or name another one; in a CI system make the secret available to this job",
    )
    assert [expected, expected] == [program("export", "env:TOKEN", env=e) for e in ({}, {"TOKEN": ""})]


# -- settings ---------------------------------------------------------------------------------------

ONLY = "addresses, credentials and commands come from the environment only"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            'defualt = "prod"\n',
            "defualt is unknown",
            f"did you mean default? the keys are default, policy, tokens, astro-cli; {ONLY}",
        ),
        (
            'vault_addr = "https://evil.example"\n',
            "vault_addr is unknown",
            f"the keys are default, policy, tokens, astro-cli; {ONLY}",
        ),
        (
            '[tokens.prod]\nref = "env:X"\naddress = "https://evil.example"\n',
            "tokens.prod.address is unknown",
            f"the keys are ref, decrypt, organization, workspace, deployment, role, lifetime, title; {ONLY}",
        ),
        (
            '[policy]\nmax_scope = "galaxy"\n',
            "policy.max_scope is not a scope",
            "use one of organization, workspace, deployment",
        ),
        (
            '[policy]\nmin_validity = "soon"\n',
            "policy.min_validity is not a duration",
            'write a number and one of s, m, h, d, w, such as "14d"',
        ),
        ("[policy\n", "TOML", "correct the file; https://toml.io has the rules"),
        (
            'default = "prod"\n',
            "default names no token of the file",
            "the tokens are none",
        ),
    ],
)
def test_a_projects_file_that_says_what_it_must_not(
    program: Program, write: Write, text: str, message: str, hint: str
) -> None:
    path = write("astro-token.toml", text)
    result = program("check", "--all")
    error, shown = result.stderr.splitlines()
    assert (78, "", f"astro-token: hint: {hint}") == (result.code, result.stdout, shown)
    assert error.startswith(f"astro-token: error: {path}")
    assert message in error
    assert "evil" not in result.stderr


def test_a_projects_file_that_others_can_write_is_not_read(
    program: Program, write: Write, canary: str
) -> None:
    path = write("astro-token.toml", '[tokens.prod]\nref = "env:TOKEN"\n')
    path.chmod(0o666)
    message = f"other users can write {path}"
    assert failure(77, message, f"chmod go-w {path}") == program("check", "prod", env={"TOKEN": canary})


@pytest.mark.parametrize(
    ("environ", "message", "hint"),
    [
        (
            {},
            "no token is configured",
            NO_TOKEN_HINT,
        ),
        (
            {"ASTRO_TOKEN_REF": "env:X", "ASTRO_TOKEN_NAME": "X"},
            "ASTRO_TOKEN_REF and ASTRO_TOKEN_NAME are both set",
            "unset one of them: a reference contains everything",
        ),
        (
            {"ASTRO_TOKEN_BACKEND": "vault"},
            "ASTRO_TOKEN_NAME is not set",
            "set both ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME, or only ASTRO_TOKEN_REF",
        ),
        (
            {"ASTRO_TOKEN_REF": "env:X", "ASTRO_TOKEN_POLICY_MAX_SCOPE": "x"},
            "ASTRO_TOKEN_POLICY_MAX_SCOPE is not a scope",
            "use one of organization, workspace, deployment",
        ),
    ],
)
def test_an_environment_that_contradicts_itself(
    program: Program, environ: dict[str, str], message: str, hint: str
) -> None:
    assert failure(78, message, hint) == program("export", env=environ)


@pytest.mark.parametrize(
    ("ref", "package", "extra"),
    [
        ("vault:secret/a", "hvac", "vault"),
        ("aws:astro/prod?region=eu-west-1", "botocore", "aws"),
        ("gcp:project/astro", "google-cloud-secret-manager", "gcp"),
        ("azure:my-vault/astro", "azure-keyvault-secrets", "azure"),
    ],
)
def test_a_missing_extra_is_named_with_its_installation(
    program: Program, ref: str, package: str, extra: str
) -> None:
    """In the environment that has the core's own dependencies alone."""
    environ = program.environment({"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "x"})
    done = subprocess.run(
        [ROOT / ".venv-core" / "bin" / "astro-token", "export", ref],
        env=environ,
        cwd=program.work,
        capture_output=True,
        text=True,
        check=False,
    )
    message = f"{ref}: {ref.partition(':')[0]} needs the Python package {package}, which is not installed"
    expected = failure(78, message, extra_hint(extra))
    assert expected == Result(done.returncode, done.stdout, done.stderr)


# -- a token in a wrong place -----------------------------------------------------------------------

PASTED = failure(
    64,
    "a token was given where its reference or name is wanted",
    "a command line is readable by every user of the machine: replace that token, "
    "and give the new one on standard input or in a variable",
)
POSITIONS = (
    "TOKEN",
    "--TOKEN",
    "--log-level TOKEN",
    "exec TOKEN -- true",
    "exec --decrypt TOKEN env:X -- true",
    "exec --keep-env TOKEN env:X -- true",
    "exec --keep-env=TOKEN env:X -- true",
    "exec --timeout TOKEN env:X -- true",
    "exec env:X TOKEN -- true",
    "exec env:X -- TOKEN",
    "exec vault:TOKEN/a -- true",
    "exec vault:secret/a?version=TOKEN -- true",
    "exec vault:secret/a#TOKEN -- true",
    "exec TOKEN",
    "export --format TOKEN",
    "export --format=TOKEN env:X",
    "export --output TOKEN env:X",
    "export --output=out/TOKEN env:X",
    "check env:X TOKEN",
    "check --all=TOKEN",
    "check --format TOKEN",
    "check -TOKEN",
    "put TOKEN",
    "put --create-key=TOKEN file:a",
    "put -- TOKEN",
    "backends TOKEN",
    "backends --format TOKEN",
)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_token_on_the_command_line_is_not_repeated(program: Program, canary: str, position: str) -> None:
    assert PASTED == program(*position.replace("TOKEN", canary).split(), env={"X": canary})
    assert [] == list(program.work.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "ASTRO_TOKEN_REF",
        "ASTRO_TOKEN_BACKEND",
        "ASTRO_TOKEN_DECRYPT",
        "ASTRO_TOKEN_TIMEOUT",
        "ASTRO_TOKEN_POLICY_MAX_SCOPE",
        "ASTRO_TOKEN_POLICY_MIN_VALIDITY",
        "ASTRO_TOKEN_PLUGINS",
        "ASTRO_TOKEN_NAME ASTRO_TOKEN_BACKEND",
        "ASTRO_TOKEN_FIELD ASTRO_TOKEN_BACKEND",
        "ASTRO_TOKEN_VERSION ASTRO_TOKEN_BACKEND",
    ],
)
def test_a_token_in_a_wrong_variable_is_not_repeated(program: Program, canary: str, name: str) -> None:
    name, _, backend = name.partition(" ")
    environ = {"ASTRO_TOKEN_BACKEND": "vault", "ASTRO_TOKEN_NAME": "secret/a"} if backend else {}
    result = program(
        "export", *([] if backend or name.endswith("REF") else ["a:b"]), env={**environ, name: canary}
    )
    lines = result.stderr.splitlines()
    assert (True, "", 2) == (result.code in {64, 78}, result.stdout, len(lines))
    assert (True, True) == (
        lines[0].startswith("astro-token: error: "),
        lines[1].startswith("astro-token: hint: "),
    )


# -- help -------------------------------------------------------------------------------------------


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (
        action.choices for action in build()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(choices)


def examples(text: str) -> list[str]:
    """The lines of a help text that call the program."""
    return [
        re.sub(r"\s{3,}\(.*\)$", "", line).strip()
        for line in text.splitlines()
        if re.match(r"  \S", line) and "astro-token " in line
    ]


LIFECYCLE = ["create", "rotate", "revoke"]
HELPS = [
    "", "init", "exec", "export", "check", "put", *LIFECYCLE, "audit", "doctor", "backends",
    "install-cli", "completion",
]  # fmt: skip


@pytest.mark.usefixtures("started_each_time")
@pytest.mark.parametrize("command", HELPS)
def test_help_is_on_standard_output_and_has_examples(program: Program, command: str) -> None:
    result = program(*command.split(), "--help")
    assert (0, "") == (result.code, result.stderr)
    assert len(examples(result.stdout)) >= 2
    assert max(len(line) for line in result.stdout.splitlines()) <= 110
    if not result.stdout.isascii():
        ascii_only = program(*command.split(), "--help", env={"PYTHONIOENCODING": "ascii"})
        assert (0, "", True) == (ascii_only.code, ascii_only.stderr, ascii_only.stdout.isascii())


def test_every_command_has_a_help_text_that_is_looked_at() -> None:
    assert HELPS[1:] == list(commands())


def own_words(example: str) -> list[list[str]]:
    """The argument lists of each call of the program in a line of shell."""
    example = re.sub(r'^out="\$\((.*)\)" && .*', r"\1", example)
    calls = [part.strip() for part in example.split(" | ")]
    return [shlex.split(call)[1:] for call in calls if call.startswith("astro-token ")]


@pytest.mark.parametrize("command", HELPS)
def test_every_example_parses(program: Program, command: str) -> None:
    for example in examples(program(*command.split(), "--help").stdout):
        calls = own_words(example)
        assert len(calls) == 1, example
        assert parse(calls[0]).name in HELPS


def tool(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def releases(certificates: Certificates) -> Iterator[dict[str, str]]:
    """Leads to releases of the Astro CLI."""
    with Releases(certificates.server.context()) as server:
        server.publish("1.48.0")
        yield {
            "ASTRO_TOKEN_CLI_RELEASES_URL": server.url,
            "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
        }


@pytest.mark.parametrize("command", [command for command in HELPS if command not in {*LIFECYCLE, "init"}])
def test_every_example_works(
    program: Program,
    openbao: OpenBao,
    astro_api: AstroApi,
    releases: dict[str, str],
    write: Write,
    canary: str,
    command: str,
) -> None:
    """In a project with these tokens, with these programs on PATH."""
    org, ws, dep = "clorg0000000000000000", "clws00000000000000000", "cldep00000000000000000"
    astro_api.organizations, astro_api.workspaces = [organization(org)], [workspace(ws, org=org)]
    astro_api.deployments = [deployment(dep, ws=ws, org=org)]
    astro_api.accept(canary, Grant(org))
    admin = astro_api.issue(org=org, ws=None, grant=Grant(org, reads_tokens=True))
    program.canaries.append(admin)
    for record in astro_api.tokens.values():  # no finding for `audit --strict`
        record |= {"createdAt": utc_now(), "endAt": utc_now(60 * 86400)}
    for name, value in (("prod", canary), ("admin", admin)):
        openbao.api("POST", f"secret/data/astro/{name}", {"data": {"token": value}})
    write(
        "astro-token.toml",
        'default = "prod"\n[tokens.prod]\nref = "vault:secret/astro/prod#token"\n'
        f'deployment = "{dep}"\n'
        '[tokens.staging]\nref = "env:STAGING"\n',
    )
    tools = program.folder / "tools"
    for name in ("astro", "make"):
        tool(tools, name, 'test -n "$ASTRO_API_TOKEN" && test -d "$ASTRO_HOME/.astro" && test $# -gt 0')
    (tools / "astro").write_text(
        '#!/bin/sh\nif test "$1" = version; then echo Astro CLI Version: 1.45.0; exit; fi\n'
        + (tools / "astro").read_text().partition("\n")[2]
    )
    tool(tools, "docker", "exit 1")
    for file in (".astro/config.yaml", "Dockerfile", "dags/etl.py"):
        write(f"airflow/{file}", "# for check --deploy\n")
    tool(program.work, "deploy.sh", 'test -n "$ASTRO_API_TOKEN" && test "$AWS_PROFILE" = team')
    tool(tools, "some-program", 'printf %s "$STAGING"')
    tool(tools, "jq", "grep -o eyJ.*[^}]")
    github = program.folder / "set_env"
    github.touch()
    environ = program.environment(
        {
            "PATH": f"{tools}:{PROGRAM.parent}:{os.environ['PATH']}",
            **releases,
            "VAULT_ADDR": openbao.address,
            "VAULT_TOKEN": openbao.root_token,
            "ASTRO_TOKEN_API_URL": astro_api.url,
            "ASTRO_TOKEN_ADMIN_REF": "vault:secret/astro/admin#token",
            "STAGING": canary,
            "AWS_PROFILE": "team",
            "GITHUB_ENV": str(github),
            "XDG_CONFIG_HOME": str(program.folder / "configuration"),
        }
    )
    for example in examples(program(*command.split(), "--help").stdout):
        line = example.replace("| …", "| grep -q eyJ")
        if "put file:" in line:
            line = f"some-program | {line} --create-key"  # at a terminal it would ask for both
        (program.work / "token").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            env=environ | ({"GITHUB_ACTIONS": "true"} if "github" in line else {}),
            cwd=program.work,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (
            done.returncode,
            re.sub(
                r"(?m)^(::add-mask::|astro-token: (created|stored|ASTRO_API_TOKEN is set|"
                r"the token expires|installed|replace the request in |add this|warning: another astro|"
                r"wrote|[0-9]+ tokens of)).*\n",
                "",
                done.stderr.lstrip("\n"),
            ),
        ), line


@pytest.mark.parametrize("command", LIFECYCLE)
def test_every_example_of_the_lifecycle_works(
    program: Program, openbao: OpenBao, astro_api: AstroApi, write: Write, command: str
) -> None:
    """Each with a token that is stored and a stray one, and with nothing that an earlier one has left."""
    org, ws, dep = "clorg0000000000000000", "clws00000000000000000", "cldep00000000000000000"
    astro_api.organizations, astro_api.workspaces = [organization(org)], [workspace(ws, org=org)]
    astro_api.deployments = [deployment(dep, ws=ws, org=org)]
    write(
        "astro-token.toml",
        '[tokens.prod]\nref = "vault:secret/astro/prod#token"\n'
        f'deployment = "{dep}"\nrole = "DEPLOYMENT_ADMIN"\n',
    )
    admin = astro_api.issue(org=org, ws=None, grant=Grant(org, manages_tokens=True))
    program.canaries.append(admin)
    program.environ |= {
        "VAULT_ADDR": openbao.address,
        "VAULT_TOKEN": openbao.root_token,
        "ASTRO_TOKEN_API_URL": astro_api.url,
        "ASTRO_TOKEN_ADMIN_REF": "env:MANAGES",
        "MANAGES": admin,
        "ASTRO_TOKEN_AGE_KEY": str(pyrage.x25519.Identity.generate()),
    }
    lines = examples(program(command, "--help").stdout)
    assert len(lines) > 1
    for line in lines:
        value = make_token(organization=org, workspace=ws, deployment=dep)
        stray = make_token(organization=org, token_id="cltk00000000000000000")
        for token in (value, stray):
            ident = claims_of(astro_api.accept(token, Grant(org)))["apiTokenId"]
            astro_api.tokens[ident]["roles"] = [role("DEPLOYMENT_ADMIN", dep, "DEPLOYMENT")]
        openbao.api("DELETE", "secret/metadata/astro/prod-rotation")
        if command == "create":
            openbao.api("DELETE", "secret/metadata/astro/prod")
        else:
            openbao.api("POST", "secret/data/astro/prod", {"data": {"token": value}})
        result = program(*own_words(line)[0])
        assert 0 == result.code, (line, result.stderr)
