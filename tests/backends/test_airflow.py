"""
Variables and connections of Airflow, compared with its real secrets backends.

`airflow_names.json` holds the names that the real backends request for each case;
the long test makes them again.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AstroTokenError, ConfigError, NoStoreError, SecretNotFoundError
from astro_token.secret import SecretValue
from astro_token.secrets.fields import select_field
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import credential_variables
from astro_token.testing import BackendContract, Harness, appearances, reachable_text
from astro_token_backends.airflow import SCHEMES, SECRETS
from astro_token_backends.airflow.client import Airflow
from astro_token_backends.airflow.connection import connection
from astro_token_backends.airflow.lookup import SERVICES, Lookup, Question, look_up
from astro_token_backends.airflow.settings import Kwargs
from tests.backends.sweep import Outcome, reader, wrong_results
from tests.backends.vault import test_variable_sweep as vault
from tests.conftest import ROOT
from tests.rows import each_row
from tests.servers.faults import refused_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Program
    from tests.servers.openbao import OpenBao

HERE = Path(__file__).parent
GOLDEN = HERE / "airflow_names.json"
PROVIDERS = ROOT / ".venv-airflow"
CLASSES = {
    "vault": "airflow.providers.hashicorp.secrets.vault.VaultBackend",
    "aws": "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend",
    "aws-ssm": "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend",
    "gcp": "airflow.providers.google.cloud.secrets.secret_manager.CloudSecretManagerBackend",
    "azure": "airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend",
}
VARIABLES = (*SCHEMES["airflow"].credentials, *SCHEMES["airflow"].settings)
# Of Airflow: with arguments in the variable itself, none of them matters.
NOT_USED = (
    *(f"{name}_{source}" for name in SECRETS[:2] for source in ("CMD", "SECRET")),
    *("AIRFLOW__SECRETS__USE_CACHE", "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_ASTRO", "AIRFLOW_VAR_ASTRO"),
)
Case = dict[str, Any]
LEFT_OUT = object()


def products(base: dict[str, Any], **values: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    for chosen in itertools.product(*values.values()):
        more = {key: value for key, value in zip(values, chosen, strict=True) if value is not LEFT_OUT}
        yield {**base, **more}


def cases() -> Iterator[Case]:
    """Settings by service, kind and name."""
    for kind in ("variable", "connection"):
        prefix, path, pattern = f"{kind}s_prefix", f"{kind}s_path", f"{kind}s_lookup_pattern"
        settings: dict[str, list[dict[str, Any]]] = {
            "vault": [
                *products(
                    {"url": "http://127.0.0.1:1", "token": "t"},
                    **{
                        path: (LEFT_OUT, "x", "x/y/", "", None, ["a", "b/"]),
                        "mount_point": (LEFT_OUT, "kv", "kv/airflow", None, ""),
                        "kv_engine_version": (LEFT_OUT, 1, 2),
                    },
                ),
                *products(
                    {"url": "http://127.0.0.1:1", "auth_type": "approle", "role_id": "r", "secret_id": "s"},
                    **{
                        "global_secrets_path": ("common", "common/x/"),
                        path: (LEFT_OUT, None),
                        "use_team_secrets_path": (LEFT_OUT, False),
                    },
                ),
            ],
            "aws": [
                *products(
                    {},
                    **{
                        prefix: (LEFT_OUT, "x", "x/y/", "", None, "x--"),
                        "sep": (LEFT_OUT, "-", "--"),
                        pattern: (LEFT_OUT, "^astro", "ASTRO_P", "other"),
                    },
                ),
                *products({"region_name": "eu-west-1"}, full_url_mode=(LEFT_OUT, True, False)),
            ],
            "aws-ssm": list(
                products(
                    {},
                    **{
                        prefix: (LEFT_OUT, "x", "/x/y/", "", None, "/"),
                        pattern: (LEFT_OUT, "^astro", "ASTRO_P", "other"),
                    },
                )
            ),
            "gcp": list(
                products(
                    {"project_id": "my-project"},
                    **{prefix: (LEFT_OUT, "x", "x-", None), "sep": (LEFT_OUT, "_", "--")},
                )
            ),
            "azure": list(
                products(
                    {"vault_url": "https://my-vault.vault.azure.net/"},
                    **{prefix: (LEFT_OUT, "x", "x-", "x_y", "", None), "sep": (LEFT_OUT, "--", "_")},
                )
            ),
        }
        for service, each in settings.items():
            for kwargs in each:
                for name in ("astro_prod", "astro/prod") if service == "vault" else ("astro_prod",):
                    yield {"class": CLASSES[service], "kwargs": kwargs, "kind": kind, "name": name}


def environ(case: Case) -> dict[str, str]:
    return {
        "AIRFLOW__SECRETS__BACKEND": case["class"],
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(case["kwargs"]),
    }


def names(case: Case) -> list[str]:
    """The names that we request, in the form of the service."""
    try:
        lookup = look_up(case["kind"], case["name"], environ(case))
    except SecretNotFoundError:
        return []
    return [_requested(lookup, case, number) for number in range(len(lookup.refs))]


def _requested(lookup: Lookup, case: Case, number: int) -> str:
    ref = lookup.refs[number]
    if ref.scheme == "azure":
        return ref.name.rpartition("/")[2]
    if ref.scheme != "vault":
        return ref.name
    mount = case["kwargs"].get("mount_point", "secret") or ref.name.partition("/")[0]
    assert ref.options.get("kv", None if "/" in mount else "") == (
        None if "/" in mount else str(case["kwargs"].get("kv_engine_version", 2))
    )
    between = "/data/" if case["kwargs"].get("kv_engine_version", 2) == 2 else "/"
    return f"/v1/{mount}{between}{ref.name.removeprefix(f'{mount}/')}"


def test_the_names_are_those_of_the_real_backends() -> None:
    golden = json.loads(GOLDEN.read_text())
    expected = list(cases())
    assert [case for case, _ in golden] == json.loads(json.dumps(expected))
    assert len(golden) >= 200
    assert {len(requested) for _, requested in golden} == {0, 1, 2}
    different = [(case, requested, names(case)) for case, requested in golden if names(case) != requested]
    assert [] == different


def real_names(folder: Path) -> list[list[Any]]:
    """Each case with what the real backend requests."""
    every = list(cases())
    return [[case, found] for case, found in zip(every, real_answers("names", every, folder), strict=True)]


def real_answers(what: str, every: list[Case], folder: Path, **variables: str) -> list[Any]:
    """Return the answers of the real backends, from an environment that has them."""
    done = subprocess.run(
        [PROVIDERS / "bin" / "python", HERE / "airflow_providers.py", what],
        env={"AIRFLOW_HOME": str(folder), "PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        input=json.dumps(every),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def require_providers() -> None:
    if not PROVIDERS.exists():
        if os.environ.get("CI"):
            pytest.fail("`make test-long` makes this environment")
        pytest.skip("the environment of Airflow's providers is missing")


@pytest.mark.long
def test_the_real_backends_request_the_same_names(tmp_path: Path) -> None:
    """`python -m tests.backends.test_airflow` writes the file again."""
    require_providers()
    assert json.loads(GOLDEN.read_text()) == real_names(tmp_path)


# -- settings -----------------------------------------------------------------------------------------


def refusal(kwargs: object, service: str = "aws", kind: str = "variable", **more: str) -> AstroTokenError:
    text = kwargs if isinstance(kwargs, str) else json.dumps(kwargs)
    given = {
        "AIRFLOW__SECRETS__BACKEND": CLASSES.get(service, service),
        "AIRFLOW__SECRETS__BACKEND_KWARGS": text,
    }
    with pytest.raises(AstroTokenError) as raised:
        look_up(kind, "n", {**given, **more})
    return raised.value


@each_row(
    ("service", "kwargs", "message"),
    [
        ("aws", "{", "AIRFLOW__SECRETS__BACKEND_KWARGS is not a JSON object"),
        ("aws", "[" * 100_000, "AIRFLOW__SECRETS__BACKEND_KWARGS is not a JSON object"),
        ("aws", ["x"], "AIRFLOW__SECRETS__BACKEND_KWARGS is not a JSON object"),
        ("my.own.Backend", {}, "AIRFLOW__SECRETS__BACKEND names a class that is not understood"),
        ("", {}, "AIRFLOW__SECRETS__BACKEND is not set"),
        ("aws", {"prefix": "x"}, "AIRFLOW__SECRETS__BACKEND_KWARGS: prefix is not understood"),
        ("aws", {"a b\n": "x"}, "AIRFLOW__SECRETS__BACKEND_KWARGS: a malformed key is not understood"),
        (
            "aws",
            {"variables_prefix": 1},
            "variables_prefix in AIRFLOW__SECRETS__BACKEND_KWARGS is not a text",
        ),
        ("aws", {"variables_lookup_pattern": "("}, "is not a regular expression"),
        ("aws", {"profile_name": 5}, "profile_name in AIRFLOW__SECRETS__BACKEND_KWARGS is not a text"),
        ("aws", {"aws_access_key_id": "k"}, "has only a part of the keys of AWS"),
        (
            "aws",
            {"session_kwargs": {"profile_name": "k"}},
            "profile_name in session_kwargs is not understood",
        ),
        ("aws", {"role_arn": "me"}, "role_arn in AIRFLOW__SECRETS__BACKEND_KWARGS is not the ARN of a role"),
        ("aws", {"assume_role_method": "assume_role_with_saml"}, "assume_role_method in"),
        ("aws", {"assume_role_with_web_identity_federation": "google"}, "with_web_identity_federation in"),
        ("aws", {"assume_role_kwargs": {"TokenCode": "1"}}, "TokenCode in assume_role_kwargs is not"),
        ("aws", {"external_id": "x"}, "external_id is not understood"),
        ("aws", {"endpoint_url": "http://aws.example.com"}, "endpoint_url"),
        ("aws", {"service_config": {"sts": {"region": "x"}}}, "service_config in"),
        ("aws", {"config_kwargs": {"proxies": {}}}, "proxies in config_kwargs is not understood"),
        ("aws", {"use_ssl": False}, "use_ssl in"),
        ("aws", {"are_secret_values_urlencoded": True}, "are_secret_values_urlencoded in"),
        ("aws", {"verify": False}, "verify in AIRFLOW__SECRETS__BACKEND_KWARGS is not the path of a CA"),
        ("aws", {"extra_conn_words": {"password": "x"}}, "extra_conn_words in"),
        ("vault", {"kv_engine_version": 3}, "kv_engine_version in"),
        ("vault", {"kv_engine_version": True}, "kv_engine_version in"),
        ("vault", {"auth_type": "radius"}, "auth_type in"),
        ("vault", {"auth_type": "github", "token": "t"}, "auth_type in"),
        ("vault", {"auth_type": "approle"}, "role_id is missing in"),
        ("vault", {"auth_type": "jwt", "jwt_role": "r"}, "the file of jwt_token_path in"),
        ("vault", {"token": "t", "proxies": {}}, "proxies is not understood"),
        ("vault", {"token_path": "/nowhere/token"}, "the file of token_path in"),
        ("vault", {"verify": False}, "verify in"),
        ("gcp", {}, "project_id is missing in"),
        ("gcp", {"gcp_keyfile_dict": "x"}, "gcp_keyfile_dict in AIRFLOW__SECRETS__BACKEND_KWARGS is not an"),
        ("gcp", {"gcp_keyfile_dict": {"a": 1}, "gcp_key_path": "b"}, "has gcp_key_path and gcp_keyfile_dict"),
        ("gcp", {"impersonation_chain": "a@b,c@d"}, "impersonation_chain in"),
        ("azure", {}, "vault_url is missing in"),
        ("azure", {"vault_url": "http://v.vault.azure.net"}, "do not give the name of a secret"),
    ],
)
def test_what_is_not_understood_is_named(service: str, kwargs: object, message: str) -> None:
    error = refusal(kwargs, service)
    assert (78, True) == (error.exit_code, message in error.message), error.message


@each_row(
    ("service", "kwargs", "hint"),
    [
        ("vault", {"conections_path": "x"}, "did you mean connections_path? remove it"),
        ("vault", {"tokn": "x"}, "did you mean token? remove it"),
        ("aws", {"variable_prefix": "x"}, "did you mean variables_prefix? remove it"),
        ("vault", {"token": "t", "frobnicate": 1}, "remove it"),
        (f"{CLASSES['vault']}s", {}, f"did you mean {CLASSES['vault']}? it must be"),
        ("my.own.Backend", {}, "it must be one of the official classes"),
    ],
)
def test_a_misspelled_setting_is_corrected(service: str, kwargs: dict[str, Any], hint: str) -> None:
    error = refusal(kwargs, service)
    assert (78, True) == (error.exit_code, (error.hint or "").startswith(hint)), error.hint


def test_the_documentation_names_the_classes_that_are_understood() -> None:
    text = (ROOT / "docs" / "airflow-secrets.md").read_text()
    assert [] == [name for name in CLASSES.values() if f"`{name}`" not in text]


@pytest.mark.parametrize("source", ["CMD", "SECRET"])
def test_arguments_from_another_source_are_refused(source: str) -> None:
    name = f"AIRFLOW__SECRETS__BACKEND_KWARGS_{source}"
    given = environ({"class": CLASSES["aws"], "kwargs": {"region_name": "eu-west-1"}})
    assert look_up("variable", "n", given | {name: "x"}).refs  # as in Airflow, the variable itself wins
    del given["AIRFLOW__SECRETS__BACKEND_KWARGS"]
    with pytest.raises(ConfigError, match=f"^{name} is not understood$"):
        look_up("variable", "n", given | {name: "x"})


def test_without_a_backend_of_airflow_a_chain_continues() -> None:
    with pytest.raises(NoStoreError):
        look_up("variable", "n", {})


def test_the_arguments_are_withheld_whether_they_are_used_or_not() -> None:
    names = {"AIRFLOW__SECRETS__BACKEND_KWARGS", "AIRFLOW__SECRETS__BACKEND_KWARG__SECRET_ID"}
    assert names <= credential_variables(dict.fromkeys(names, "x"))


def test_a_name_that_the_settings_exclude_is_not_found() -> None:
    for kwargs in ({"variables_prefix": None}, {"variables_lookup_pattern": "^m"}):
        assert 66 == refusal(kwargs).exit_code
    assert 66 == refusal({"variables_path": None, "token": "t"}, "vault").exit_code


def test_arguments_of_a_login_become_variables_of_vault(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    kwargs = {
        "url": "https://v",
        "auth_type": "approle",
        "role_id": "r",
        "secret_id": "s",
        "auth_mount_point": "ci",
        "namespace": "team",
        "verify": "/ca.pem",
    }
    given = environ({"class": CLASSES["vault"], "kwargs": kwargs})
    given |= {"VAULT_ADDR": "https://other", "AIRFLOW__SECRETS__BACKEND_KWARG__ROLE_ID": "of its own"}
    overlay = look_up("variable", "n", given).environ
    expected = {
        "VAULT_ADDR": "https://v",
        "ASTRO_TOKEN_VAULT_AUTH": "approle",
        "VAULT_ROLE_ID": "of its own",
        "VAULT_SECRET_ID": "s",
        "ASTRO_TOKEN_VAULT_MOUNT": "ci",
        "VAULT_NAMESPACE": "team",
        "VAULT_CACERT": "/ca.pem",
    }
    assert expected == {name: overlay[name] for name in expected}
    # The real backend takes a namespace from its arguments only.
    other = environ({"class": CLASSES["vault"], "kwargs": {"token": "t"}}) | {"VAULT_NAMESPACE": "team"}
    assert "" == look_up("variable", "n", other).environ["VAULT_NAMESPACE"]
    token = environ({"class": CLASSES["vault"], "kwargs": {"token_path": str(tmp_path / "token")}})
    assert "from a file" == look_up("variable", "n", token).environ["VAULT_TOKEN"]


def test_a_variable_of_one_argument_is_read_as_every_variable_is() -> None:
    given = environ({"class": CLASSES["vault"], "kwargs": {"url": "https://v", "token": "t"}})
    name = "AIRFLOW__SECRETS__BACKEND_KWARG__URL"
    for value, address in {"": "https://v", "\n": "https://v", "https://w\r\n": "https://w"}.items():
        assert address == look_up("variable", "n", given | {name: value}).environ["VAULT_ADDR"]
    with pytest.raises(ConfigError, match="x is not understood"):
        look_up("variable", "n", given | {"AIRFLOW__SECRETS__BACKEND_KWARG__X": "1"})


def options(**kwargs: Any) -> Any:
    lookup = look_up("variable", "n", environ({"class": CLASSES["aws"], "kwargs": kwargs}))
    return lookup.aws


def test_arguments_of_a_login_to_aws_become_options() -> None:
    assert options(region_name="eu-west-1", verify=True, profile_name=None) is None
    role = "arn:aws:iam::123456789012:role/x"
    secret = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    found = options(
        role_arn=role,
        endpoint_url="https://vpce.example.com",
        verify="/ca.pem",
        assume_role_kwargs={"ExternalId": "e"},
        **secret,
    )
    session = {"RoleSessionName": "airflow_secretsmanagerbackend__connection", "ExternalId": "e"}
    assert (role, session) == (found.role, found.role_arguments)
    assert ("https://vpce.example.com", "/ca.pem", "") == (
        found.endpoint,
        found.ca_bundle,
        found.sts_endpoint,
    )
    assert [b"k", b"s"] == [key.reveal() for key in found.keys]
    assert found.keys == options(session_kwargs=secret).keys


def test_a_region_of_boto3_comes_before_that_of_newer_sdks() -> None:
    given = environ({"class": CLASSES["aws"], "kwargs": {}})
    lookup = look_up("variable", "n", given | {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "us-east-1"})
    assert ["aws:airflow/variables/n?region=eu-west-1"] == [str(ref) for ref in lookup.refs]
    assert ["aws:airflow/variables/n"] == [str(ref) for ref in look_up("variable", "n", given).refs]


def test_the_project_is_that_of_the_credential(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"project_id": "of-file"}')
    key = {"project_id": "of-key", "private_key": "a\\nb"}

    def name(kwargs: dict[str, Any], **more: str) -> str:
        given = environ({"class": CLASSES["gcp"], "kwargs": kwargs})
        return look_up("variable", "n", given | more).refs[0].name.partition("/")[0]

    assert "of-key" == name({"gcp_keyfile_dict": key}, GOOGLE_CLOUD_PROJECT="env")
    assert "of-file" == name({"gcp_key_path": str(tmp_path / "key.json")})
    assert "env" == name({}, GOOGLE_CLOUD_PROJECT="env")
    assert "of-file" == name({}, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "key.json"))
    assert "of-account" == name({"impersonation_chain": ["a@b.c", "x@of-account.iam.gserviceaccount.com"]})
    lookup = look_up("variable", "n", environ({"class": CLASSES["gcp"], "kwargs": {"gcp_keyfile_dict": key}}))
    content = json.loads(lookup.environ["GOOGLE_APPLICATION_CREDENTIALS"])
    assert ("service_account", "a\nb") == (content["type"], content["private_key"])


def test_the_settings_of_workers_come_first() -> None:
    given = {
        f"{name.replace('SECRETS__', 'WORKERS__SECRETS_')}": text
        for name, text in environ({"class": CLASSES["aws"], "kwargs": {"variables_prefix": "w"}}).items()
    }
    other = environ({"class": CLASSES["aws-ssm"], "kwargs": {"variables_prefix": "s"}})
    assert ["aws:w/n"] == [str(ref) for ref in look_up("variable", "n", given | other).refs]
    more = {"AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__SEP": "-", "AIRFLOW__SECRETS__BACKEND_KWARG__SEP": "+"}
    assert ["aws:w-n"] == [str(ref) for ref in look_up("variable", "n", given | other | more).refs]
    with pytest.raises(ConfigError, match="AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS is not a JSON object"):
        look_up("variable", "n", given | {"AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": "x"})


@pytest.mark.parametrize("suffix", ["CMD", "SECRET"])
@pytest.mark.parametrize("name", ["AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"])
def test_a_class_from_another_source_is_refused(name: str, suffix: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}_{suffix} is not understood$"):
        look_up("variable", "n", {f"{name}_{suffix}": "x"})


@each_row(
    ("content", "given", "message"),
    [
        ("[secrets]\nbackend = x\n", {}, r"backend of \[secrets\] in airflow.cfg is not read"),
        (
            "[workers]\nsecrets_backend = x\n",
            {},
            r"secrets_backend of \[workers\] in airflow.cfg is not read",
        ),
        (
            "[secrets]\nbackend_kwargs = {}\n",
            {"AIRFLOW__SECRETS__BACKEND": CLASSES["aws"]},
            "backend_kwargs of",
        ),
        (
            "[secrets]\nbackend_kwargs_cmd = x\n",
            {"AIRFLOW__SECRETS__BACKEND": CLASSES["aws"]},
            "kwargs_cmd of",
        ),
        ("[secrets]\nbackend =\n", {}, "AIRFLOW__SECRETS__BACKEND is not set"),
        ("no file of settings", {}, "AIRFLOW__SECRETS__BACKEND is not set"),
    ],
)
def test_settings_in_airflows_file_are_refused(
    content: str, given: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "airflow.cfg").write_text(content)
    for more in ({"AIRFLOW_HOME": str(tmp_path)}, {"AIRFLOW_CONFIG": str(tmp_path / "airflow.cfg")}):
        with pytest.raises(ConfigError, match=message):
            look_up("variable", "n", given | more)


@pytest.mark.parametrize("kind", ["FIFO", "folder", "endless"])
def test_a_file_of_airflow_that_cannot_be_read_is_refused(kind: str, tmp_path: Path) -> None:
    """It may name another secrets backend, and a FIFO may never end."""
    file = tmp_path / "airflow.cfg"
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        with file.open("wb") as made:
            made.truncate(1 << 40)
    with pytest.raises(ConfigError, match=r"airflow\.cfg cannot be read"):
        look_up("variable", "n", {"AIRFLOW_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("service", "kwargs"),
    [
        ("aws", {"session_kwargs": {"aws_access_key_id": "a", "aws_secret_access_key": "\ud800b"}}),
        ("aws", {"aws_access_key_id": "a", "aws_secret_access_key": "\ud800b"}),
        ("vault", {"auth_type": "aws_iam", "role_id": "r", "key_id": "k", "secret_id": "\ud800b"}),
        ("vault", {"\ud800": "a"}),
    ],
)
def test_arguments_that_are_not_unicode_are_one_error_without_the_text(
    service: str, kwargs: dict[str, Any]
) -> None:
    given = environ({"class": CLASSES[service], "kwargs": kwargs})
    with pytest.raises(ConfigError, match="has a character that is not valid Unicode") as caught:
        look_up("variable", "n", given)
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)


@pytest.mark.parametrize(
    ("service", "kwargs", "message"),
    [
        ("vault", {"token": "t", "verify": "/no/ca"}, "the file that verify names cannot be read"),
        ("vault", {"token": "t", "cert": ["/no/c", "/no/k"]}, "cert names a file that cannot be read"),
        (
            "aws",
            {"aws_access_key_id": "a", "aws_secret_access_key": "b", "verify": "/no/ca"},
            "the file that verify names cannot be read",
        ),
    ],
)
def test_a_missing_certificate_names_its_argument(
    service: str, kwargs: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = {"vault": "url", "aws": "endpoint_url"}[service]
    given = {**kwargs, address: "https://127.0.0.1:9"} | (
        {"region_name": "eu-west-1"} if service == "aws" else {}
    )
    for name, value in environ({"class": CLASSES[service], "kwargs": given}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        Airflow().read(SecretRef("airflow", "variable/n"), timeout=20)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("kind", ["FIFO", "missing", "empty"])
def test_a_web_identity_that_cannot_be_read_names_its_argument(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "identity"
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "empty":
        file.touch()
    kwargs = {
        "region_name": "eu-west-1",
        "role_arn": "arn:aws:iam::123456789012:role/x",
        "assume_role_method": "assume_role_with_web_identity",
        "assume_role_with_web_identity_token_file": str(file),
    }
    for name, value in environ({"class": CLASSES["aws"], "kwargs": kwargs}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        Airflow().read(SecretRef("airflow", "variable/n"), timeout=20)
    assert caught.value.message.startswith("the file of the web identity cannot be read, or is empty")
    assert "assume_role_with_web_identity_token_file" in (caught.value.hint or "")


@each_row(
    ("service", "kwargs", "name", "other"),
    [
        ("aws", {}, "a--b", "a-b"),
        ("aws-ssm", {}, "a--b", "a-b"),
        ("gcp", {"project_id": "p1"}, "a--b", "a-b"),
        ("azure", {"vault_url": "https://v.vault.azure.net"}, "a__b", "a_b"),
        ("vault", {"token": "t"}, "a/b", "a-b"),
    ],
)
def test_with_several_teams_a_name_of_a_team_is_not_found(
    service: str, kwargs: dict[str, Any], name: str, other: str
) -> None:
    given = environ({"class": CLASSES[service], "kwargs": kwargs})
    teams = {"AIRFLOW__CORE__MULTI_TEAM": "True"}
    assert look_up("variable", name, given).refs
    assert look_up("variable", other, given | teams).refs
    with pytest.raises(SecretNotFoundError, match="MULTI_TEAM"):
        look_up("variable", name, given | teams)
    with pytest.raises(ConfigError, match="MULTI_TEAM is neither true nor false"):
        look_up("variable", name, given | {"AIRFLOW__CORE__MULTI_TEAM": "maybe"})


def test_the_documentation_names_the_arguments_that_are_understood() -> None:
    text = (ROOT / "docs" / "airflow-secrets.md").read_text()
    rows = dict(re.findall(r"^\| ([A-Za-z ]+) \| (`.*) \|$", text, re.MULTILINE))
    documented = {service: set(re.findall(r"`(\w+)`", row)) for service, row in rows.items()}
    needed = {
        "vault": {"token": "t"},
        "gcp": {"project_id": "p"},
        "azure": {"vault_url": "https://v.vault.azure.net"},
    }
    titles = dict(
        zip(
            CLASSES,
            ("Vault", "Secrets Manager", "Parameter Store", "Secret Manager", "Key Vault"),
            strict=True,
        )
    )
    for service, title in titles.items():
        taken: set[str] = set()
        for kind in ("variable", "connection"):
            kwargs = Kwargs(dict(needed.get(service, {})), "X")
            module, _, function = SERVICES[CLASSES[service]].partition(":")
            of_service = importlib.import_module(f"astro_token_backends.airflow.{module}")
            getattr(of_service, function)(Question(kind, "n", kwargs, {}))
            taken |= kwargs.taken
        expected = documented[title] | (documented["login to AWS"] if service.startswith("aws") else set())
        assert taken == expected, title


def test_an_error_names_the_argument_in_place_of_our_variable(
    openbao: OpenBao, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = f"airflow-{os.urandom(4).hex()}"
    openbao.api("POST", f"sys/auth/{mount}", {"type": "approle"})
    kwargs = {"url": openbao.address, "auth_type": "approle", "role_id": "r", "secret_id": canary}
    kwargs["auth_mount_point"] = mount
    for name, value in environ({"class": CLASSES["vault"], "kwargs": kwargs}).items():
        monkeypatch.setenv(name, value)
    backend = Airflow()
    with pytest.raises(AstroTokenError) as raised:
        backend.read(SecretRef.parse("airflow:variable/x"), timeout=10)
    backend.close()
    error = raised.value
    hint = (
        f"check role_id, secret_id, and that auth/{mount} is the mount (auth_mount_point); "
        "these are arguments of Airflow's secrets backend"
    )
    assert (77, "Vault refuses the login by approle", hint) == (error.exit_code, error.message, error.hint)
    assert [] == appearances(canary, reachable_text(error.with_traceback(None)))
    assert canary not in str(os.environ.get("VAULT_SECRET_ID"))


# -- connections --------------------------------------------------------------------------------------


def fields(text: str, **words: Any) -> dict[str, str]:
    value = connection(SecretValue(text.encode()), **words)
    assert isinstance(value, SecretValue)
    content: dict[str, str] = json.loads(value.reveal())
    return content


def test_the_default_of_a_connection_is_its_password(canary: str) -> None:
    for text, words in (
        (f"http://:{canary}@api.astronomer.io", None),
        (f"astro-cloud://https://me:{canary}@api.astronomer.io:8443/s?org=x&n=1", None),
        (json.dumps({"conn_type": "http", "password": canary, "extra": {"org": "x"}}), None),
        (json.dumps({"conn_type": "http", "password": canary, "extra": '{"org": "x"}'}), {}),
        (json.dumps({"engine": "http", "pass": canary, "user": "me"}), {}),
        (json.dumps({"secret": canary}), {"password": ["secret"]}),
    ):
        value = connection(SecretValue(text.encode()), words=words)
        assert isinstance(value, SecretValue)
        assert canary.encode() == select_field(value, None).reveal()


def test_other_fields_of_a_connection_have_names() -> None:
    shown = fields("my-type://https://me%40x:p%2Fq@h.example:8443/s%20t?org=x&__y=1")
    assert {
        "conn_type": "my_type",
        "login": "me@x",
        "password": "p/q",
        "token": "p/q",
        "host": "https://h.example",
        "port": "8443",
        "schema": "s t",
        "extra.org": "x",
        "extra.__y": "1",
    } == shown
    assert "z" == fields("http://h?__extra__=%7B%22org%22%3A%20%22z%22%7D")["extra.org"]
    assert {"login": "u", "password": "p", "token": "p"} == fields(
        json.dumps({"who": "u", "key": "p"}), words={"user": ["who"]}
    )


@each_row("text", ["no uri", "{", "[]", "a://b://c://d", "a://u:p@b://c", '{"password": {}}'])
def test_what_is_no_connection_is_refused(text: str, canary: str) -> None:
    for content in (text, f"{text}{canary}"):
        error = connection(SecretValue(content.encode()))
        assert isinstance(error, AstroTokenError)
        assert (65, []) == (error.exit_code, appearances(canary, reachable_text(error)))


# -- reading ------------------------------------------------------------------------------------------


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, openbao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
        base = f"airflow-{os.urandom(4).hex()}"
        kwargs = {"url": openbao.address, "token": openbao.root_token, "variables_path": ["none", base]}
        for name, value in environ({"class": CLASSES["vault"], "kwargs": kwargs}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("VAULT_TOKEN", raising=False)

        def store(value: bytes) -> None:
            openbao.api("POST", f"secret/data/{base}/prod", {"data": {"value": value.decode()}})

        backend = Airflow()
        yield Harness(backend, store, present="airflow:variable/prod", missing="airflow:variable/nothing")
        backend.close()


@pytest.mark.parametrize(
    "variable",
    [
        *(*VARIABLES, *NOT_USED),
        *(
            pytest.param(name, marks=() if name in vault.ORDINARY else pytest.mark.long)
            for name in vault.VARIABLES
        ),
    ],
)
def test_a_wrong_value_names_its_variable(
    variable: str, openbao: OpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = os.urandom(4).hex()
    openbao.api("POST", f"secret/data/variables/{name}", {"data": {"value": "x"}})
    kwargs = {"url": openbao.address, "token": openbao.root_token}
    given = environ({"class": CLASSES["vault"], "kwargs": kwargs})
    found = []

    def read(environ: dict[str, str]) -> Outcome:
        found.append(outcome := reader(f"airflow:variable/{name}", monkeypatch)(environ))
        return outcome

    every = {"Vault": given}
    assert [] == wrong_results(read, every, variable, tmp_path, everywhere=every)
    if variable in NOT_USED:
        assert {(0, "", "")} == set(found)


@pytest.mark.parametrize("more", [{}, {"kv_engine_version": 3}, {"variables_path": None}, {"url": ""}])
def test_an_error_leads_to_no_argument(
    more: dict[str, Any], canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kwargs = {"url": f"http://127.0.0.1:{refused_port()}", "token": canary, **more}
    for name, value in environ({"class": CLASSES["vault"], "kwargs": kwargs}).items():
        monkeypatch.setenv(name, value)
    backend = Airflow()
    for _ in range(2):
        with pytest.raises(AstroTokenError) as raised:
            backend.read(SecretRef.parse("airflow:variable/n"), timeout=5)
        assert [] == appearances(canary, reachable_text(raised.value.with_traceback(raised.tb.tb_next)))


def test_the_command_line_hands_over_a_connection_and_withholds_the_arguments(
    program: Program, openbao: OpenBao, canary: str
) -> None:
    base = f"airflow-{os.urandom(4).hex()}"
    content = {"conn_type": "http", "password": canary}
    openbao.api("POST", f"secret/data/{base}/astro", {"data": content})
    kwargs = {"connections_path": base, "token": openbao.root_token}
    given = environ({"class": CLASSES["vault"], "kwargs": kwargs})
    given["AIRFLOW__SECRETS__BACKEND_KWARG__URL"] = openbao.address
    shown = "import os; print(os.environ['ASTRO_API_TOKEN'][-8:], *[n for n in os.environ if 'AIRFLOW' in n])"
    done = program("exec", "airflow:connection/astro", "--", sys.executable, "-c", shown, env=given)
    assert (0, f"{canary[-8:]} AIRFLOW__SECRETS__BACKEND\n", "") == (done.code, done.stdout, done.stderr)
    given["AIRFLOW__SECRETS__BACKEND_KWARGS"] = "x"
    done = program("export", "--format", "value", "airflow:connection/astro", env=given)
    assert (78, "") == (done.code, done.stdout)
    assert [
        "astro-token: error: airflow:connection/astro: AIRFLOW__SECRETS__BACKEND_KWARGS is not a JSON object",
        'astro-token: hint: write names and texts in double quotes, as in {"NAME": "text"}',
    ] == done.stderr.splitlines()


def test_doctor_checks_the_service_that_holds_the_secret(
    program: Program, openbao: OpenBao, canary: str
) -> None:
    base = f"airflow-{os.urandom(4).hex()}"
    openbao.api("POST", f"secret/data/{base}/astro", {"data": {"conn_type": "http", "password": canary}})
    complete = {"connections_path": base, "token": openbao.root_token, "url": openbao.address}

    def checks(more: dict[str, str], *missing: str) -> dict[str, tuple[str, str]]:
        kwargs = {name: value for name, value in complete.items() if name not in missing}
        given = environ({"class": CLASSES["vault"], "kwargs": kwargs})
        done = program("doctor", "--format", "json", "airflow:connection/astro", env=given | more)
        return {each["link"]: (each["state"], each["found"]) for each in json.loads(done.stdout)["links"]}

    found = checks({})
    assert ("ok", "that of vault: token: the argument token") == found["credential"]
    assert ("ok", f"{openbao.address} can be reached") == found["network"]
    assert "ok" == found["login"][0]
    assert ("ok", "that of vault: token: VAULT_TOKEN") == checks(
        {"VAULT_TOKEN": openbao.root_token}, "token"
    )["credential"]
    assert ("failed", "url is not set") == checks({}, "url")["network"]
    assert "ok" == checks({"VAULT_ADDR": openbao.address}, "url")["network"][0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        lines = ",\n".join(json.dumps(pair) for pair in real_names(Path(made)))
    GOLDEN.write_text(f"[\n{lines}\n]\n")
