"""
What the setup scripts of the examples create, and which jobs get a token by it.

The programs are stubs that note their calls. `tests/backends/vault/test_jwt_roles.py`
runs those for Vault in OpenBao.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
import yaml

from astro_token.identity.web_token import SHOWN_CLAIMS
from tests.conftest import PROGRAM, ROOT
from tests.rows import each_row
from tests.servers import ci_jobs
from tests.test_examples import CI, EXAMPLES, PAIRED, SETUPS, backend_of, name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Program

    Accepts = Callable[[ci_jobs.Claims], bool]

ENVIRONMENTS = ("dev", "prod")
# Prints what the script needs of an answer.
STUB = """\
#!/bin/bash
(printf '%s\\0' "${0##*/}" "$@"; printf '\\n\\0') >>"$CALLS"
case "${0##*/} $*" in
*"--input -"* | "vault write"*" -" | "vault policy"*) (cat; printf '\\0') >>"$CALLS.documents" ;;
"vault write auth/"*/config*) echo "${4#*=}" >"$CALLS.issuer" ;;
"vault read -field=bound_issuer"*) cat "$CALLS.issuer" ;;
"vault read"*) echo "No value found at $2" >&2; exit 2 ;;
"az keyvault show"*) echo /vaults/my-vault ;;
"az keyvault secret list"*)
  if [ -e "$CALLS.denied" ]; then echo denied >&2; exit 3; fi
  cat "$CALLS.stored" 2>/dev/null || true ;;
"gh api --paginate"*) cat "$CALLS.state" 2>/dev/null || true ;;
"az ad app create"*) echo "client of ${5}" ;;
"az ad sp create"*) echo "principal of ${5}" ;;
"aws iam get-open-id-connect-provider"*) exit 254 ;;
esac
"""


def run(path: Path, folder: Path, *, code: int = 0) -> tuple[list[list[str]], list[str]]:
    """The calls of a script, and the documents that it gives by standard input."""
    stubs = folder / "stubs"
    stubs.mkdir()
    (stubs / "stub").write_text(STUB)
    (stubs / "stub").chmod(0o755)
    for program in ("aws", "az", "gcloud", "gh", "vault"):
        (stubs / program).symlink_to("stub")
    calls = folder / "calls"
    (folder / "calls.documents").touch()
    environ = {"PATH": f"{stubs}:/usr/bin:/bin", "CALLS": str(calls), "HOME": str(folder)}
    done = subprocess.run([path], env=environ, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (code, code == 0) == (done.returncode, done.stderr == ""), done.stderr
    return (
        [call.split("\0")[:-1] for call in calls.read_text().split("\n\0")[:-1]],
        (folder / "calls.documents").read_text().split("\0")[:-1],
    )


def option(call: list[str], key: str) -> str:
    """The value of an option, after a blank or an equals sign."""
    (value,) = [
        call[number + 1] if text == key else text.removeprefix(f"{key}=")
        for number, text in enumerate(call)
        if text == key or text.startswith(f"{key}=")
    ]
    return value


# -- which identities each service accepts ----------------------------------------------------------------

AUDIENCES = {"aws": "sts.amazonaws.com", "azure": "api://AzureADTokenExchange"}


def aws(calls: list[list[str]], environment: str) -> Accepts:
    (role,) = [
        call for call in calls if call[:3] == ["aws", "iam", "create-role"] and f"astro-{environment}" in call
    ]
    (statement,) = json.loads(option(role, "--assume-role-policy-document"))["Statement"]
    assert ["Effect", "Action", "Principal", "Condition"] == list(statement)
    (kind,) = statement["Condition"]
    assert kind == "StringEquals"
    provider = statement["Principal"]["Federated"].partition("oidc-provider/")[2]
    bound = {key.removeprefix(f"{provider}:"): value for key, value in statement["Condition"][kind].items()}
    assert {"aud", "sub"} == bound.keys()
    return lambda claims: all(
        claims[key] in (value if isinstance(value, list) else [value]) for key, value in bound.items()
    )


def azure(calls: list[list[str]], environment: str) -> Accepts:
    credentials = [
        json.loads(option(call, "--parameters"))
        for call in calls
        if "federated-credential" in call and option(call, "--id") == f"client of astro-{environment}"
    ]
    assert credentials
    return lambda claims: any(
        claims["sub"] == each["subject"] and claims["aud"] in each["audiences"] for each in credentials
    )


def gcp(calls: list[list[str]], environment: str) -> Accepts:
    """The condition in Google's language, of which Python understands what the scripts use."""
    (provider,) = [call for call in calls if "create-oidc" in call]
    pool = option(provider, "--workload-identity-pool")
    (binding,) = [
        call for call in calls if call[1:4] == ["secrets", "add-iam-policy-binding", f"astro-{environment}"]
    ]
    assert option(binding, "--role") == "roles/secretmanager.secretAccessor"
    member = option(binding, "--member")
    mapping = dict(pair.split("=", 1) for pair in option(provider, "--attribute-mapping").split(","))
    path = f"//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/{pool}"
    audience = f"https:{path}/providers/{provider[5]}"

    def value(expression: str, claims: ci_jobs.Claims) -> Any:
        text = " ".join(expression.replace("&&", " and ").replace("||", " or ").split())
        code = re.sub(r"assertion\.(\w+)", r"claims['\1']", text)
        return eval(code, {}, {"claims": claims})  # noqa: S307 (the example's own text)

    def accepts(claims: ci_jobs.Claims) -> bool:
        try:
            is_met = value(option(provider, "--attribute-condition"), claims)
            job = value(mapping["attribute.job"], claims)
        except KeyError:  # an error there is a refusal
            return False
        return is_met and claims["aud"] == audience and member == f"principalSet:{path}/attribute.job/{job}"

    AUDIENCES["gcp"] = audience
    return accepts


READERS = {"aws": aws, "azure": azure, "gcp": gcp}
# What AWS and Azure do not see: their scripts say that the environment or the branch has to be protected.
UNSEEN = {
    "github": {
        "a pull request that names the environment",
        "another branch that names the environment",
        "a tag named main",
    },
    "gitlab": {
        "a branch that everyone may push to",
        "a job without an environment",
        "a merge request of a fork's branch main",
    },
}


@each_row("system", PAIRED)
@each_row("service", READERS)
def test_only_jobs_of_the_environment_get_its_token(service: str, system: str, tmp_path: Path) -> None:
    path = CI / system / f"{service}-setup.sh"
    calls, _ = run(path, tmp_path)
    readers = {environment: READERS[service](calls, environment) for environment in ENVIRONMENTS}
    job = {"github": ci_jobs.github, "gitlab": ci_jobs.gitlab}[system]
    strangers = {"github": ci_jobs.github_strangers, "gitlab": ci_jobs.gitlab_strangers}[system]()
    audience = {"aud": AUDIENCES[service]}
    for environment, accepts in readers.items():
        assert accepts({**job(environment), **audience})
        assert not accepts({**job({"dev": "prod", "prod": "dev"}[environment]), **audience})
        assert not accepts({**job(environment), "aud": "https://another"})
    if system == "github":
        assert readers["prod"]({**ci_jobs.github("prod", immutable=True), **audience})
    accepted = {name for name, claims in strangers.items() if readers["prod"]({**claims, **audience})}
    assert accepted == (set() if service == "gcp" else UNSEEN[system])
    said = {"github": "Run environments-setup.sh too", "gitlab": "protect each branch in GitLab"}[system]
    assert (said in path.read_text()) is bool(accepted)


@pytest.mark.parametrize("system", PAIRED)
def test_each_environment_reads_its_own_secret_only(system: str, tmp_path: Path) -> None:
    folders = {service: tmp_path / service for service in ("aws", "azure", "vault")}
    for folder in folders.values():
        folder.mkdir()
    calls, _ = run(CI / system / "aws-setup.sh", folders["aws"])
    policies = [call for call in calls if "put-role-policy" in call]
    for environment, call in zip(ENVIRONMENTS, policies, strict=True):
        (statement,) = json.loads(option(call, "--policy-document"))["Statement"]
        assert option(call, "--role-name") == f"astro-{environment}"
        assert statement == {
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro/{environment}-??????",
        }
    calls, _ = run(CI / system / "azure-setup.sh", folders["azure"])
    assert [
        (f"principal of client of astro-{environment}", f"/vaults/my-vault/secrets/astro-{environment}")
        for environment in ENVIRONMENTS
    ] == [
        (option(call, "--assignee-object-id"), option(call, "--scope"))
        for call in calls
        if call[1:4] == ["role", "assignment", "create"]
        and option(call, "--role") == "Key Vault Secrets User"
    ]
    created = [option(call, "--name") for call in calls if call[1:4] == ["keyvault", "secret", "set"]]
    assert ["astro-dev", "astro-prod"] == created
    _, documents = run(CI / system / "vault-setup.sh", folders["vault"])
    assert [
        f'path "secret/data/astro/{environment}" {{ capabilities = ["read"] }}\n'
        for environment in ENVIRONMENTS
    ] == documents[::2]


@pytest.mark.parametrize("system", PAIRED)
def test_no_placeholder_replaces_a_token_that_is_stored(system: str, tmp_path: Path) -> None:
    (tmp_path / "calls.stored").write_text("astro\n")
    calls, _ = run(CI / system / "azure-setup.sh", tmp_path)
    assert [] == [call for call in calls if call[1:4] == ["keyvault", "secret", "set"]]
    for environment in ENVIRONMENTS:
        assert any(f"[?name=='astro-{environment}'].name" in call for call in calls)
    assert 2 == len([call for call in calls if call[1:4] == ["role", "assignment", "create"]])


@pytest.mark.parametrize("system", PAIRED)
def test_no_placeholder_is_stored_if_nobody_knows_what_is(system: str, tmp_path: Path) -> None:
    """Somebody who may write secrets and not read them."""
    (tmp_path / "calls.denied").touch()
    calls, _ = run(CI / system / "azure-setup.sh", tmp_path, code=3)
    assert [] == [call for call in calls if call[1:4] == ["keyvault", "secret", "set"]]


@pytest.mark.parametrize("system", PAIRED)
def test_doctor_shows_each_claim_that_a_role_binds(system: str, tmp_path: Path) -> None:
    folders = [tmp_path / service for service in ("vault", "gcp")]
    for folder in folders:
        folder.mkdir()
    _, documents = run(CI / system / "vault-setup.sh", folders[0])
    calls, _ = run(CI / system / "gcp-setup.sh", folders[1])
    (provider,) = [call for call in calls if "create-oidc" in call]
    bound = {claim for text in documents[1::2] for claim in json.loads(text)["bound_claims"]}
    assert bound == set(re.findall(r"assertion\.(\w+)", option(provider, "--attribute-condition")))
    assert bound <= set(SHOWN_CLAIMS)
    for page in ("SECURITY.md", "docs/doctor.md"):
        lines = [set(re.findall(r"`(\w+)`", line)) for line in (ROOT / page).read_text().splitlines()]
        assert [line for line in lines if {"iss", "aud", "sub"} <= line and set(SHOWN_CLAIMS) <= line], page


def test_the_environments_of_github_admit_one_branch_each(tmp_path: Path) -> None:
    calls, documents = run(CI / "github" / "environments-setup.sh", tmp_path)
    rules = {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}}
    assert [rules, rules] == [json.loads(text) for text in documents]
    changed = [call for call in calls if "--method" in call]
    assert ["dev", "dev", "prod", "prod"] == [call[4].split("/")[4] for call in changed]
    assert [["name=dev", "type=branch"], ["name=main", "type=branch"]] == [
        [text for text in call if "=" in text] for call in calls if "POST" in call
    ]


@pytest.mark.parametrize(("state", "code", "methods"), [("branches", 0, ["POST", "POST"]), ("rules", 1, [])])
def test_an_environment_of_github_keeps_its_reviewers(
    state: str, code: int, methods: list[str], tmp_path: Path
) -> None:
    (tmp_path / "calls.state").write_text(f"{state}\n")
    calls, documents = run(CI / "github" / "environments-setup.sh", tmp_path, code=code)
    assert (methods, []) == ([call[3] for call in calls if "--method" in call], documents)


@pytest.mark.parametrize("system", PAIRED)
def test_each_environment_has_a_key_that_opens_its_own_file_only(
    program: Program, canary: str, system: str, tmp_path: Path
) -> None:
    """With the real program, and a pipe in place of the prompt."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    identities = [str(pyrage.x25519.Identity.generate()) for _ in ENVIRONMENTS]
    (stubs / "keys").write_text("".join(f"{text}\n" for text in identities))
    scripts = {
        "age-keygen": f'(umask 077; echo "# created"; head -n1 {stubs}/keys) >"$2"; sed -i 1d {stubs}/keys',
        "astro-token": f'exec {PROGRAM} "$@" <{stubs}/token',
        "gh": f'(echo "$@"; cat) >>{stubs}/stored',
        "glab": f'(echo "$@"; cat) >>{stubs}/stored',
    }
    for title, text in scripts.items():
        (stubs / title).write_text(f"#!/bin/sh\n{text}\n")
        (stubs / title).chmod(0o755)
    (stubs / "token").write_text(canary)
    program.environ["PATH"] = f"{stubs}:{os.environ['PATH']}"
    # An operator may repeat it, for example after a failure of the network: the keys stay.
    for _ in range(2):
        done = subprocess.run(
            [CI / system / "file-setup.sh"],
            env=program.environment(), cwd=program.work, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        stored = (stubs / "stored").read_text().splitlines()
        (stubs / "stored").unlink()
        assert identities == stored[1::2]
        assert [re.search(r"--(?:env|scope) (\w+)", line)[1] for line in stored[::2]] == list(ENVIRONMENTS)  # type: ignore[index]
    for environment, key in zip(ENVIRONMENTS, identities, strict=True):
        for of in ENVIRONMENTS:
            result = program("exec", f"file:{of}.token.age", "--", "true", env={"ASTRO_TOKEN_AGE_KEY": key})
            assert (result.code == 0) is (of == environment), result.stderr


# -- a login's audience is the one that the role accepts ---------------------------------------------------


def requested(path: Path) -> set[str]:
    """The audiences for which the jobs of a file request their identities."""
    text = path.read_text()
    found = yaml.safe_load(text)
    audiences = set(re.findall(r"ASTRO_TOKEN_VAULT_AUDIENCE: ([^\s,}]+)", text))
    if backend_of(path) == "gcp":
        providers = set(re.findall(r"ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER: (\S+)", text))
        audiences |= {f"https://iam.googleapis.com/{provider}" for provider in providers}
    if backend_of(path) in {"aws", "azure"}:
        audiences.add(AUDIENCES[backend_of(path)])
    return audiences | {
        token["aud"]
        for job in found.values()
        if isinstance(job, dict)
        for token in job.get("id_tokens", {}).values()
    }


@each_row("path", [path for path in EXAMPLES if path.parent.name in PAIRED and path.stem != "file"], ids=name)
def test_a_job_requests_the_audience_that_its_role_accepts(path: Path, tmp_path: Path) -> None:
    backend = backend_of(path)
    calls, documents = run(path.with_name(f"{backend}-setup.sh"), tmp_path)
    if backend == "vault":
        accepted = {json.loads(text)["bound_audiences"] for text in documents[1::2]}
        # And the roles have the names that the jobs use.
        roles = {f"auth/jwt/role/{role}" for role in re.findall(r"VAULT_ROLE: (\S+)", path.read_text())}
        assert roles <= {call[2] for call in calls if call[1] == "write"}
    elif backend == "aws":
        trusts = [json.loads(option(c, "--assume-role-policy-document")) for c in calls if "create-role" in c]
        conditions = [role["Statement"][0]["Condition"]["StringEquals"] for role in trusts]
        accepted = {text for each in conditions for key, text in each.items() if key.endswith(":aud")}
    elif backend == "azure":
        credentials = [json.loads(option(c, "--parameters")) for c in calls if "federated-credential" in c]
        accepted = {text for each in credentials for text in each["audiences"]}
    else:
        gcp(calls, "prod")
        accepted = {AUDIENCES["gcp"]}
    assert accepted == requested(path)
    assert len(accepted) == 1


def test_the_documentation_requests_what_its_roles_accept() -> None:
    """Each page alone; README and docs/ci.md have the login of docs/vault.md."""
    pages = {page: (ROOT / page).read_text() for page in ("README.md", "docs/ci.md", "docs/vault.md")}
    logins = {
        page: [
            audience
            for text in re.findall(r"^```\w+\n(.*?)^```", content, re.DOTALL | re.MULTILINE)
            if "ASTRO_TOKEN_VAULT_AUTH" not in text
            for audience in re.findall(r"ASTRO_TOKEN_VAULT_AUDIENCE: ([^\s,}]+)", text)
        ]
        for page, content in pages.items()
    }
    bound = set(re.findall(r'"bound_audiences": "([^"]+)"', pages["docs/vault.md"]))
    assert (
        {audience for found in logins.values() for audience in found}
        == bound
        == {"https://vault.example.com"}
    )
    assert (len(logins["docs/vault.md"]), len(logins["docs/ci.md"]) > 0) == (2, True)
    azure = (ROOT / "docs" / "azure.md").read_text()
    assert {AUDIENCES["azure"]} == set(re.findall(r'(?:"audiences": \["|aud: )([^"\s]+)', azure))
    aws = (ROOT / "docs" / "aws.md").read_text()
    assert {AUDIENCES["aws"]} == set(re.findall(r'(?::aud": "|aud: |--client-id-list )([^"\s]+)', aws))


# -- names to change -----------------------------------------------------------------------------------

# Everything in the examples that is somebody's own: these are the names to change, and each has one spelling.
PLACEHOLDERS = {
    "https://vault.example.com", "gitlab.example.com", "acme", "acme/dags", "123456", "456789", "4242",
    "eu-west-1", "123456789012", "my-project", "my-vault",
    "cldev00000000000000000", "cldep00000000000000000",
    "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222",
    "33333333-3333-3333-3333-333333333333", "44444444-4444-4444-4444-444444444444",
    "astro/dev", "astro/prod", "astro-dev", "astro-prod",
    "projects/123456789012/locations/global/workloadIdentityPools/ci/providers/github",
    "projects/123456789012/locations/global/workloadIdentityPools/ci/providers/gitlab",
    "projects/123456789012/locations/global/workloadIdentityPools/ci/providers/jobs",
}  # fmt: skip
KINDS = (
    r"(?:https://vault|gitlab)\.example\.com",
    r"(?<![\w.-])\d{4,}(?![\w.-])",
    r"\b(?:cl[a-z0-9]{19,23}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b",
    r"\bastro[/-](?:dev|prod|staging|deploy)\b|\bmy-\w+|\beu-\w+-\d\b",
    r"\b(?:acme|team|your-org|my-org)(?:/dags)?\b",
    r"\bprojects/\d[\w/-]*",
)


def placeholders(text: str) -> set[str]:
    return {match for pattern in KINDS for match in re.findall(pattern, text)}


SCHEDULES = [CI / system / file for system in PAIRED for file in ("rotate.yml", "rotate-setup.sh")]
FILES = [*EXAMPLES, *SETUPS, *SCHEDULES, CI / "github" / "environments-setup.sh"]


def test_each_placeholder_is_used() -> None:
    assert {text for path in FILES for text in placeholders(path.read_text())} >= PLACEHOLDERS


@each_row("path", FILES, ids=name)
def test_placeholders_are_the_same_in_all_files(path: Path) -> None:
    text = re.sub(
        r"# v\d.*$|@[0-9a-f]{40}|15 July 2026|docker:2376| @ git\+https://github\.com/YOUR-ORG/astro-token@COMMIT",
        "",
        path.read_text(),
        flags=re.MULTILINE,
    )
    found = placeholders(text)
    assert found <= PLACEHOLDERS, found - PLACEHOLDERS
    assert found, "there is nothing to change"
    # No other host, except those of the services themselves.
    hosts = set(re.findall(r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|io)\b", text))
    services = r"(?:.*\.)?(?:amazonaws|googleapis|githubusercontent|gserviceaccount)\.com|age-encryption\.org"
    assert {host for host in hosts if not re.fullmatch(services, host)} <= {
        "vault.example.com", "gitlab.example.com", "iam.gserviceaccount.com",
    }  # fmt: skip
