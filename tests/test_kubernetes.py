"""The CronJob that rotates tokens: Kubernetes' schemas, its rules for exit codes, and its command, run."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from astro_token import errors
from tests.backends.vault import service
from tests.cli.token_life import TokenLife, VaultStore
from tests.conftest import ROOT
from tests.machine import IN_CI, Machine, available, only_root, read_only
from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi
    from tests.servers.certificates import Certificates
    from tests.servers.http1 import Request
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao

FILE = ROOT / "examples" / "kubernetes" / "rotate-cronjob.yml"
AUDIENCE = "https://vault.example.com"
VERSIONS = ("1.31", "1.37")
SUBJECT = "system:serviceaccount:astro-token:astro-token-rotate"


@cache
def documents() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(FILE.read_text())}


def job() -> dict[str, Any]:
    return documents()["CronJob"]["spec"]["jobTemplate"]["spec"]  # type: ignore[no-any-return]


def pod() -> dict[str, Any]:
    return job()["template"]["spec"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_keep_to_the_schemas_of_kubernetes(version: str) -> None:
    for document in documents().values():
        kubernetes_validate.validate(document, version, strict=True)
    planted = json.loads(json.dumps(documents()["CronJob"]))
    planted["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] = "rotate"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(planted, version, strict=True)


def test_the_job_may_nothing() -> None:
    """The profile `restricted` of Kubernetes, a read-only file system, and no access to the cluster's API."""
    assert {"Namespace", "ServiceAccount", "ConfigMap", "CronJob"} == documents().keys()
    (container,) = pod()["containers"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    context = pod()["securityContext"]
    assert (True, 10001, "RuntimeDefault") == (
        context["runAsNonRoot"], context["runAsUser"], context["seccompProfile"]["type"],
    )  # fmt: skip
    assert not pod().keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    tokens = [documents()["ServiceAccount"], pod()]
    assert [False, False] == [each["automountServiceAccountToken"] for each in tokens]
    kinds = {kind for volume in pod()["volumes"] for kind in volume if kind != "name"}
    assert {"configMap", "projected", "emptyDir"} == kinds
    (source,) = next(each["projected"]["sources"] for each in pod()["volumes"] if "projected" in each)
    assert (AUDIENCE, 600) == (
        source["serviceAccountToken"]["audience"], source["serviceAccountToken"]["expirationSeconds"],
    )  # fmt: skip
    assert "Secret" not in FILE.read_text().replace("no Secret", "")
    assert {"cpu", "memory", "ephemeral-storage"} == container["resources"]["limits"].keys()
    # The image runs as this user too.
    assert "useradd --create-home --uid 10001" in (ROOT / "examples/container/Containerfile").read_text()


def action(code: int) -> str:
    """The policy for a pod whose container ended with this status: the first rule that matches."""
    for rule in job()["podFailurePolicy"]["rules"]:
        if codes := rule.get("onExitCodes"):
            assert codes["containerName"] == pod()["containers"][0]["name"]
            if (code in codes["values"]) is (codes["operator"] == "In"):
                return str(rule["action"])
    return "Count"


def test_only_what_a_second_run_can_finish_is_tried_again() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in classes if issubclass(each, errors.AstroTokenError)}
    codes |= {errors.RotationError.PERSON_NEEDED, 1, 2, 126, 127}
    assert {75, 80} == {code for code in codes if action(code) == "Count"}
    assert {"FailJob"} == {action(code) for code in codes - {75, 80}}
    assert ("Forbid", "Never") == (
        documents()["CronJob"]["spec"]["concurrencyPolicy"],
        pod()["restartPolicy"],
    )
    assert 0 < job()["backoffLimit"] < 6
    (ignored,) = [rule for rule in job()["podFailurePolicy"]["rules"] if rule["action"] == "Ignore"]
    assert [{"type": "DisruptionTarget", "status": "True"}] == ignored["onPodConditions"]


@only_root
def test_the_command_rotates_in_a_read_only_file_system_as_another_user(
    program: Program,
    canary: str,
    openbao: OpenBao,
    astro_api: AstroApi,
    issuer: Issuer,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    if not available():
        assert not IN_CI, "CI must allow namespaces: run it as root with CAP_SYS_ADMIN"
        pytest.skip("needs namespaces")
    store = VaultStore(program, openbao)
    life = TokenLife(program, astro_api, store)
    store.write("admin", life.admin)
    old = {name: life.issue(name, expires_in=86400) for name in ("dev", "prod")}
    account = {"namespace": "astro-token", "serviceaccount": {"name": "astro-token-rotate", "uid": "u-1"}}
    token = issuer.mint({"sub": SUBJECT, "aud": [AUDIENCE], "kubernetes.io": account})

    def review(request: Request) -> Answer:
        body = json.loads(request.body)
        spec = body["spec"]
        is_valid = request.bearer == "reviewer" and spec == {"token": token, "audiences": [AUDIENCE]}
        user = {"username": SUBJECT, "uid": "u-1", "groups": []}
        status = {"authenticated": True, "user": user, "audiences": [AUDIENCE]} if is_valid else {}
        return Answer.json({**body, "status": {"authenticated": False, **status}}, 201)

    # Vault's side, as in docs/schedule.md.
    mount, policy = service.unique("kubernetes"), service.unique("rotate")
    openbao.api("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
    paths = [f"secret/data/{store.base}/{name}{end}" for name in old for end in ("", "-rotation")]
    rules = [f'path "{path}" {{ capabilities = ["read", "create", "update"] }}' for path in paths]
    rules.append(f'path "secret/data/{store.base}/admin" {{ capabilities = ["read"] }}')
    openbao.api("PUT", f"sys/policies/acl/{policy}", {"policy": "\n".join(rules)})
    role = {
        "bound_service_account_names": "astro-token-rotate",
        "bound_service_account_namespaces": "astro-token",
        "audience": AUDIENCE,
        "token_policies": policy,
    }
    openbao.api("POST", f"auth/{mount}/role/astro-rotate", role)
    folder = tmp_path / "machine"
    for name in ("home", "work", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "home" / "token").write_text(token)
    text = documents()["ConfigMap"]["data"]["astro-token.toml"].replace("astro/", f"{store.base}/")
    project = folder / "work" / "astro-token.toml"
    project.write_text(text)
    project.chmod(0o444)
    (container,) = pod()["containers"]
    environ = {each["name"]: each["value"].replace("astro/", f"{store.base}/") for each in container["env"]}
    environ |= {
        "VAULT_ADDR": openbao.address,
        "ASTRO_TOKEN_VAULT_MOUNT": mount,
        "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE": "/mnt/home/token",
        "ASTRO_TOKEN_API_URL": astro_api.url,
        "TMPDIR": "/tmp",
    }
    with HttpServer(review) as cluster:
        config = {
            "kubernetes_host": cluster.url,
            "token_reviewer_jwt": "reviewer",
            "kubernetes_ca_cert": certificates.ca_file.read_text(),
        }
        openbao.api("POST", f"auth/{mount}/config", config)
        result = Machine(folder, canary)(
            *container["args"],
            env=environ,
            user=pod()["securityContext"]["runAsUser"],
            prepare=read_only("/", "/mnt", "/dev/shm", "/var/tmp", "/mnt/tmp"),
        )
    assert (0, []) == (result.code, result.left), result.stderr
    assert ["rotated", "rotated"] == [each["outcome"] for each in json.loads(result.stdout)["tokens"]]
    for name, value in old.items():
        assert life.current(name) != value
        assert life.works(life.current(name))
    life.learn_values()
    assert [] == [text for text in (*program.canaries, token) if text in result.stdout + result.stderr]
