"""What the environment of the Astro CLI has to hold, and what it must not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from astro_token.environment.context import Context
from astro_token.environment.export import CliEnvironment, export, isolated
from astro_token.errors import ConfigError, InvalidRefError
from astro_token.record import replace
from astro_token.secret import SecretValue
from astro_token.secrets import registry
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import credential_variables
from astro_token.testing import appearances, make_token
from astro_token.token import AstroToken
from astro_token.tokens.read import read_token
from astro_token.tokens.read_many import read_tokens
from tests.rows import each_row

CREDENTIALS = sorted(credential_variables())
KEPT = {
    "PATH": "/bin",
    "HOME": "/h",
    "VAULT_ADDR": "https://v",
    "AWS_REGION": "eu-west-1",
    "ASTRO_DOMAIN": "astronomer.io",
}


def token(ref: str | None = None, **claims: Any) -> AstroToken:
    made = AstroToken.parse(SecretValue(make_token(**claims).encode()))
    return replace(made, ref=SecretRef.parse(ref) if ref else None)


OFF = {"ASTRO_TELEMETRY_DISABLED": "1"}


def test_the_token_is_set_and_the_dead_variables_are_unset() -> None:
    made = token()
    environment = export(made, environ={})
    assert {"ASTRO_API_TOKEN": made.secret} == dict(environment.set)
    assert {"ASTRONOMER_KEY_ID", "ASTRONOMER_KEY_SECRET", "ASTRO_TELEMETRY_API_URL"} == environment.unset


@pytest.mark.parametrize(
    "telemetry", [{}, {"ASTRO_TELEMETRY_DISABLED": "0"}, {"ASTRO_TELEMETRY_DISABLED": ""}]
)
def test_the_telemetry_that_would_send_the_token_is_turned_off(telemetry: dict[str, str]) -> None:
    made = token()
    given = telemetry | {"ASTRO_TELEMETRY_API_URL": "http://listener"}
    assert OFF | {"ASTRO_API_TOKEN": made.reveal()} == export(made, environ=given).applied(given)
    for name in ("ASTRO_TELEMETRY_DISABLED", "ASTRO_TELEMETRY_API_URL"):
        child = export(made, keep=[name], environ=given).applied(given)
        assert given.get(name) == child.get(name)


def test_a_childs_environment_has_the_token_and_no_credential_and_all_else() -> None:
    made = token()
    given = KEPT | dict.fromkeys((*CREDENTIALS, "ASTRONOMER_KEY_ID", "ASTRONOMER_KEY_SECRET"), "secret")
    expected = KEPT | OFF | {"ASTRO_API_TOKEN": made.reveal()}
    assert expected == export(made, environ=given).applied(given)


def test_the_private_home_is_set_where_there_is_one() -> None:
    assert (
        "/private"
        == export(token(), environ={}).applied({"ASTRO_HOME": "/mine"}, home="/private")["ASTRO_HOME"]
    )
    assert "/mine" == export(token(), environ={}).applied({"ASTRO_HOME": "/mine"})["ASTRO_HOME"]


def test_an_old_token_in_the_environment_is_replaced() -> None:
    made = token()
    assert made.reveal() == export(made, environ={}).applied({"ASTRO_API_TOKEN": "old"})["ASTRO_API_TOKEN"]


def test_the_variable_that_the_token_came_from_is_dropped() -> None:
    given = {"MY_TOKEN": "x", "OTHER": "y"}
    child = export(token("env:MY_TOKEN"), environ=given).applied(given)
    assert {"OTHER", "ASTRO_API_TOKEN", *OFF} == set(child)


def test_a_token_that_came_from_the_variable_of_the_cli_is_still_set() -> None:
    made = token("env:ASTRO_API_TOKEN")
    given = {"ASTRO_API_TOKEN": f" {made.reveal()}\n"}
    assert OFF | {"ASTRO_API_TOKEN": made.reveal()} == export(made, environ=given).applied(given)


def test_the_name_in_another_schemes_reference_is_no_variable() -> None:
    assert {"PATH", "ASTRO_API_TOKEN", *OFF} == set(
        export(token("file:PATH"), environ={}).applied({"PATH": "/bin"})
    )


def test_a_variable_to_keep_is_kept() -> None:
    given = {"VAULT_TOKEN": "x", "AWS_PROFILE": "y", "MINE": "z"}
    environment = export(token("env:MINE"), keep=["VAULT_TOKEN", "MINE"], environ=given)
    assert {"VAULT_TOKEN", "MINE", "ASTRO_API_TOKEN", *OFF} == set(environment.applied(given))


def test_the_credentials_of_plugins_are_dropped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plugin:
        def credential_variables(self) -> list[str]:
            return ["MY_KEY"]

    given = {"MY_KEY": "x"}
    assert {"ASTRO_API_TOKEN", "MY_KEY", *OFF} == set(export(token(), environ={}).applied(given))
    monkeypatch.setitem(registry._open, "plugin", Plugin())
    assert {"ASTRO_API_TOKEN", *OFF} == set(export(token(), environ={}).applied(given))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("env:MANAGES", {"MANAGES"}),
        ("env://MANAGES#token", {"MANAGES"}),
        ("vault:secret/astro/admin", set()),
    ],
)
def test_what_leads_to_the_credential_that_manages_tokens_is_dropped(text: str, names: set[str]) -> None:
    drop = export(token(), environ={"ASTRO_TOKEN_ADMIN_REF": text}).drop
    assert {"ASTRO_TOKEN_ADMIN_REF", *names} == drop - set(CREDENTIALS)


@pytest.mark.parametrize("text", ["env:A,env:B", "env:", "nonsense"])
def test_a_malformed_reference_of_that_credential_is_refused(text: str) -> None:
    """It may be meant to name a variable, which the child would get."""
    with pytest.raises(InvalidRefError, match="ASTRO_TOKEN_ADMIN_REF"):
        export(token(), environ={"ASTRO_TOKEN_ADMIN_REF": text, "A": "x", "B": "y"})


def test_a_variable_without_a_name_is_left_out() -> None:
    assert {"ASTRO_API_TOKEN", *OFF} == set(export(token(), environ={}).applied({"": "x=1"}))


@each_row(
    ("claims", "workspace", "environ", "context"),
    [
        ({}, None, {}, Context("astronomer.io", "clorg0000000000000000", "clws00000000000000000")),
        ({"organization": "o1", "workspace": "w1"}, None, {}, Context("astronomer.io", "o1", "w1")),
        ({"workspace": None}, None, {}, Context("astronomer.io", "clorg0000000000000000", None)),
        (
            {"workspace": None},
            "w2",
            {},
            Context("astronomer.io", "clorg0000000000000000", "w2"),
        ),
        (
            {"workspace": "w1"},
            "w2",
            {},
            Context("astronomer.io", "clorg0000000000000000", "w1"),
        ),
        (
            {"organization": None, "workspace": "w1"},
            None,
            {"ASTRO_DOMAIN": "astronomer-dev.io"},
            Context("astronomer-dev.io", None, "w1"),
        ),
        (
            {"organization": "o1", "workspace": None},
            None,
            {"ASTRO_DOMAIN": ""},
            Context("astronomer.io", "o1", None),
        ),
    ],
)
def test_the_context_is_what_the_token_says(
    claims: dict[str, Any], workspace: str | None, environ: dict[str, str], context: Context
) -> None:
    assert context == export(token(**claims), workspace=workspace, environ=environ).context


def test_its_text_shows_no_token(canary: str) -> None:
    environment = CliEnvironment({"ASTRO_API_TOKEN": SecretValue(canary.encode())})
    assert [] == appearances(canary, f"{environment} {environment!r}")


def test_applying_leaves_the_given_environment_as_it_was() -> None:
    given = {"VAULT_TOKEN": "x", "ASTRO_API_TOKEN": "old"}
    export(token(), environ=given).applied(given, home="/private")
    assert {"VAULT_TOKEN": "x", "ASTRO_API_TOKEN": "old"} == given


# -- for a library's user --------------------------------------------------------------------------------


def test_in_isolation_a_child_sees_the_token_and_a_home_that_is_gone_afterwards() -> None:
    made = token()
    with isolated(made) as environ:
        shown = subprocess.run(
            [
                sys.executable,
                "-c",
                "import os; print(os.environ['ASTRO_API_TOKEN'], os.environ['ASTRO_HOME'])",
            ],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        home = Path(environ["ASTRO_HOME"])
        assert [made.reveal(), str(home)] == shown
        assert (home / ".astro" / "config.yaml").is_file()
    assert not home.exists()


def test_the_home_is_gone_after_a_failure_too() -> None:
    homes: list[Path] = []

    def fail() -> None:
        with isolated(token()) as environ:
            homes.append(Path(environ["ASTRO_HOME"]))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [False] == [home.exists() for home in homes]


def test_this_process_and_its_home_are_not_touched(canary: str, tmp_path: Path) -> None:
    before = dict(os.environ)
    with isolated(AstroToken.parse(SecretValue(canary.encode()))):
        assert before == dict(os.environ)
        assert [] == list((tmp_path / "home").iterdir())
        assert [] == appearances(
            canary, Path("/proc/self/environ").read_text() if Path("/proc").is_dir() else ""
        )
    assert before == dict(os.environ)


def test_isolation_takes_the_environment_it_is_given_and_keeps_what_is_to_be_kept() -> None:
    given = {"VAULT_TOKEN": "x", "AWS_PROFILE": "y", "A": "b"}
    with isolated(token(), keep=["VAULT_TOKEN"], environ=given) as environ:
        assert {"VAULT_TOKEN", "A", "ASTRO_API_TOKEN", "ASTRO_HOME", *OFF} == set(environ)


def test_the_variables_of_a_chain_are_dropped_whichever_reference_was_used(
    canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"EARLIER": "", "USED": canary, "LATER": make_token()}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    (many,) = read_tokens(["env:EARLIER,env:USED,env:LATER"])
    assert isinstance(many, AstroToken)
    for made in (read_token("env:EARLIER,env:USED,env:LATER"), many):
        assert "env:USED" == str(made.ref)
        assert [] == [name for name in export(made, environ=given).applied(given) if name in given]
        with isolated(made) as environ:
            assert set() == set(given) & set(environ)


def test_copies_of_the_identity_and_gitlabs_own_names_for_it_are_dropped() -> None:
    given = {"ASTRO_TOKEN_ID_TOKEN": "jwt", "COPY": "jwt", "VAULT_ID_TOKEN": "other", "KEPT": "x"}
    assert {"ASTRO_API_TOKEN", "KEPT", "VAULT_ID_TOKEN", *OFF} == set(
        export(token(), environ=given).applied(given)
    )
    given["GITLAB_CI"] = "true"
    assert {"ASTRO_API_TOKEN", "KEPT", "GITLAB_CI", *OFF} == set(
        export(token(), environ=given).applied(given)
    )
    kept = export(token(), keep=["VAULT_ID_TOKEN"], environ=given).applied(given)
    assert "other" == kept["VAULT_ID_TOKEN"]


def test_isolation_is_refused_where_the_project_would_send_the_token_in_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".astro").mkdir()
    (tmp_path / ".astro" / "config.yaml").write_text("cloud:\n  api:\n    protocol: http\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"cloud\.api\.protocol decides where"), isolated(token()):
        pass
