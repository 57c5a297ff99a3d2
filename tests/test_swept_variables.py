"""Every variable that the code reads is in a sweep of wrong values."""

from __future__ import annotations

import ast
import re

from astro_token.ci import all_systems, identity_variables
from astro_token.secrets.schemes import BUILTIN
from astro_token.settings.variables import own_variables
from tests.backends import sweep
from tests.backends import test_airflow as airflow
from tests.backends.keyring import test_secret_service as keyring
from tests.backends.vault import test_variable_sweep as vault
from tests.cli import test_variable_sweep as core
from tests.conftest import ROOT

_NAME = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|CI|HOME|PATH|ACT|TRAVIS|DRONE|BUILDKITE|CIRCLECI|COLUMNS|APPDATA"
_ROLE = r"^(ORGANIZATION|WORKSPACE|DEPLOYMENT|BILLING|OBSERVE)_"  # of Astro
# Texts in the form of a variable's name: of services and protocols, of this project's own tables,
# and variables that are only set for a child or exist on Windows only.
NOT_READ = {
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    "CONSUMER_INVALID",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "SC_OPEN_MAX",
    "SSO_OIDC",
    "SECURITY_POLICY_VIOLATED",
    "SERVICE_DISABLED",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "UNKNOWN_CA",
    "UNSUPPORTED_PROTOCOL",
    "WRONG_VERSION_NUMBER",
    "ASTRO_TOKEN",
    "GCP_KEY",  # of the files that init writes
    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",  # with the identity of Azure Pipelines
    "CURL_CA_BUNDLE",  # of the programs of `command`
    "NODE_EXTRA_CA_CERTS",
    "XDG_CACHE_HOME",
    "APPDATA",
    "GIT_ALLOW_PROTOCOL",
    "GIT_CEILING_DIRECTORIES",
    "GIT_NO_LAZY_FETCH",
    "GIT_OPTIONAL_LOCKS",
    "GIT_TERMINAL_PROMPT",
    "O_BINARY",
    "O_CLOEXEC",
    "O_NOCTTY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "PC_VDISABLE",
    "ST_NOEXEC",
}


def _texts() -> set[str]:
    """The texts of the code that have the form of a variable's name, without those that a module exports."""
    found: set[str] = set()
    for path in (*ROOT.glob("core/**/*.py"), *ROOT.glob("backends/**/*.py")):
        tree = ast.parse(path.read_text())
        exported = {
            constant
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            for constant in ast.walk(node.value)
        }
        found |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in exported
        }
    return {text for text in found if re.fullmatch(_NAME, text) and not re.search(_ROLE, text)}


def described() -> set[str]:
    """The swept variables that change something."""
    clouds = {name for scheme in ("aws", "azure", "gcp") for name in sweep.variables(scheme)}
    alone = {*vault.VARIABLES, *keyring.VARIABLES, *airflow.VARIABLES}
    return clouds | alone | (set(core.VARIABLES) - set(core.NOT_USED))


def _swept() -> set[str]:
    return described() | {*keyring.NOT_USED, *airflow.NOT_USED, *core.NOT_USED}


def test_every_variable_of_a_table_is_swept() -> None:
    declared = {name for row in BUILTIN.values() for name in (*row.credentials, *row.settings)}
    marks = {name for system in all_systems() for name in system.marks}
    assert set() == (declared | own_variables() | identity_variables() | marks) - _swept()


def test_every_variable_in_the_code_is_swept() -> None:
    swept = _swept()
    parts = {name.removeprefix(prefix) for name in swept for prefix in ("ASTRO_TOKEN_", "VAULT_")}
    assert set() == _texts() - swept - parts - NOT_READ


def test_no_exception_is_left_over() -> None:
    assert set() == NOT_READ - _texts()


def test_the_sweep_is_large() -> None:
    assert len(_swept()) > 200
