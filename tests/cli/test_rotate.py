"""`rotate`: the real program, with encrypted files and OpenBao, and a strict Astro API."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
from jsonschema import Draft202012Validator

import astro_token
from astro_token.testing import make_token
from tests.backends.vault import service
from tests.cli.token_life import ADMIN, TokenLife, after_requests, errors_of, id_of, lose_first, says
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, OTHER_DEPLOYMENT, WORKSPACE, Grant, role
from tests.servers.faults import FaultServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background

SCHEMA = json.loads((Path(astro_token.__file__).parent / "schemas" / "rotate.json").read_text())
MEMBER = role("WORKSPACE_MEMBER", WORKSPACE, "WORKSPACE")
DEPLOYER = role("DEPLOYMENT_ADMIN", DEPLOYMENT, "DEPLOYMENT")
only_vault = pytest.mark.parametrize("life", ["vault"], indirect=True)
LIFETIME = 90 * 86400
only_file = pytest.mark.parametrize("life", ["file"], indirect=True)


def document(life: TokenLife, *arguments: str, code: int = 0, **options: Any) -> dict[str, Any]:
    """The only token of the document of `rotate --format json`."""
    result = life("rotate", "--format", "json", *arguments, **options)
    assert code == result.code, result.stderr
    content: dict[str, Any] = json.loads(result.stdout)
    Draft202012Validator(SCHEMA).validate(content)
    assert code == content["exit_code"]
    assert 1 == len(content["tokens"])
    token: dict[str, Any] = content["tokens"][0]
    return token


# -- the rotation -----------------------------------------------------------------------------------


def test_the_previous_token_is_kept_for_a_day_and_revoked_by_a_later_run(life: TokenLife) -> None:
    before = life.issue(title="deploy~00000000-0000-4000-8000-000000000000")
    result = life("rotate", life.ref)
    after = life.current()
    assert (0, "") == (result.code, result.stderr)
    head, row = result.stdout.splitlines()
    assert ["TOKEN", "OUTCOME", "EXPIRES", "PREVIOUS", "TOKEN"] == head.split()
    assert row.startswith(f"{life.ref}  rotated  20")
    assert "in 89 days  valid until 20" in row
    assert "in 23 hours" in row
    assert (True, True, False) == (life.works(before), life.works(after), before == after)
    new, old = life.record_of(after), life.record_of(before)
    assert (old["roles"], old["scope"], 90) == (new["roles"], new["scope"], new["expiryPeriodInDays"])
    base, _, unique = new["name"].partition("~")
    assert ("deploy", 36) == (base, len(unique))
    assert {"previous", "promoted", "revoke_after", "intent"} == life.rotation().keys()
    assert {"id": id_of(before), "value": before} == life.rotation()["previous"]

    waiting = document(life, life.ref)
    assert ("waiting", after) == (waiting["outcome"], life.current())
    assert 86000 < seconds_until(waiting["previous_until"]) <= 86400
    assert LIFETIME - 60 < waiting["expires_in"] <= LIFETIME

    finished = document(life, "--grace", "0s", life.ref)
    assert ("finished", None, after) == (finished["outcome"], finished["previous_until"], life.current())
    assert ({id_of(after)}, {}) == (life.others, life.rotation())
    assert not life.works(before)


def seconds_until(time: str) -> float:
    return (datetime.fromisoformat(time) - datetime.now(UTC)).total_seconds()


def test_without_a_grace_period_one_run_does_everything(life: TokenLife) -> None:
    before = life.issue()
    token = document(life, "--grace", "0s", life.ref)
    assert 10 == len(life.api.requests)
    assert ("rotated", None, None) == (token["outcome"], token["previous_until"], token["error"])
    assert ({id_of(life.current())}, {}, False) == (life.others, life.rotation(), life.works(before))


@only_file
def test_all_roles_are_kept(life: TokenLife) -> None:
    life.api.custom_roles.add("Release team")
    roles = [
        role("Release team", DEPLOYMENT, "DEPLOYMENT"),
        {**role("DAG_AUTHOR", "my dag", "DAG"), "deploymentId": DEPLOYMENT},
    ]
    life.issue("prod", *roles)
    assert 0 == life("rotate", life.ref).code
    assert roles == life.record_of(life.current())["roles"]


def test_a_role_of_the_file_only_narrows(life: TokenLife) -> None:
    before = life.issue("prod", DEPLOYER, {**role("DAG_AUTHOR", "d", "DAG"), "deploymentId": DEPLOYMENT})
    life.project(role="WORKSPACE_AUTHOR")
    result = life("rotate", "prod")
    wider = "the current token does not have the role WORKSPACE_AUTHOR, and a rotation never widens"
    assert says(result, 65, f"{life.ref}: {wider}", "remove role from the token's table, or create a token")
    assert before == life.current()
    assert {id_of(before)} == life.others

    life.project(role="DEPLOYMENT_ADMIN", lifetime="30d", title="etl")
    assert 0 == life("rotate", "prod").code
    new = life.record_of(life.current())
    assert ([DEPLOYER], 30, "etl") == (new["roles"], new["expiryPeriodInDays"], new["name"][:3])


@only_file
def test_policy_limits_the_role_and_the_lifetime(life: TokenLife) -> None:
    before = life.issue()
    life.project(lifetime="90d")
    for variable, text, message in (
        ("MAX_LIFETIME", "30d", "policy allows a lifetime of 30 days at most, and 90 days is requested"),
        ("ROLES", "WORKSPACE_AUTHOR, DAG_AUTHOR", "policy does not allow the role DEPLOYMENT_ADMIN"),
        ("MAX_LIFETIME", "4000d", "ASTRO_TOKEN_POLICY_MAX_LIFETIME is not 1 to 3650 days"),
        ("ROLES", "a;b", "ASTRO_TOKEN_POLICY_ROLES is not the name of a role"),
    ):
        result = life("rotate", "prod", env={f"ASTRO_TOKEN_POLICY_{variable}": text})
        assert (78 if message.startswith("ASTRO") else 65) == result.code
        assert message in errors_of(result)[0]
    assert ({id_of(before)}, {}) == (life.others, life.rotation())
    life.project()  # without a lifetime, the default is not longer than policy allows
    assert 0 == life("rotate", "prod", env={"ASTRO_TOKEN_POLICY_MAX_LIFETIME": "30d"}).code
    assert 30 == life.record_of(life.current())["expiryPeriodInDays"]


@pytest.mark.parametrize(
    ("record", "entries", "days"),
    [
        ({"expiryPeriodInDays": 7}, {}, 7),
        ({"expiryPeriodInDays": 365}, {}, 90),
        ({"createdAt": "2026-01-01T00:00:00Z", "endAt": "2026-01-08T00:00:01Z"}, {}, 7),
        ({"createdAt": "2026-01-01T00:00:00Z", "endAt": "2026-01-01T01:00:00Z"}, {}, 1),
        ({"expiryPeriodInDays": 7}, {"lifetime": "30d"}, 30),
    ],
)
@only_file
def test_a_short_lifetime_is_kept(
    life: TokenLife, record: dict[str, Any], entries: dict[str, str], days: int
) -> None:
    life.record_of(life.issue()).update(record)
    life.project(**entries)
    assert 0 == life("rotate", "prod").code
    assert days == life.record_of(life.current())["expiryPeriodInDays"]


@only_file
def test_a_token_that_is_not_due_is_left_alone(life: TokenLife) -> None:
    before = life.issue()
    life.record_of(before)["createdAt"] = utc(-10 * 86400)
    for options, outcome in (
        (["--if-older-than", "11d"], "idle"),
        (["--if-expires-within", "89d"], "idle"),
        (["--if-older-than", "11d", "--if-expires-within", "89d"], "idle"),
        (["--finish"], "idle"),
        (["--dry-run", "--if-older-than", "9d"], "planned"),
    ):
        assert outcome == document(life, *options, life.ref)["outcome"]
    assert (before, {}, {id_of(before)}) == (life.current(), life.rotation(), life.others)
    assert (
        "rotated" == document(life, "--if-older-than", "9d", "--if-expires-within", "1d", life.ref)["outcome"]
    )
    # An open rotation is finished although the token is not due.
    finished = document(life, "--if-older-than", "9d", "--grace", "0s", life.ref)
    assert ("finished", {}, 1) == (finished["outcome"], life.rotation(), len(life.others))


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@only_file
def test_a_previous_token_that_was_used_is_kept(life: TokenLife) -> None:
    before = life.issue()
    assert 0 == life("rotate", "--grace", "1s", life.ref).code
    life.record_of(before)["lastUsedAt"] = utc(150)
    time.sleep(1)
    result = life("rotate", life.ref)
    used = "the previous token was used after the new one became the current one, and is kept"
    assert says(
        result, 80, f"{life.ref}: {used}", "let its consumer read the token again, then wait; or revoke"
    )
    assert life.works(before)
    assert 80 == life("rotate", "--finish", life.ref).code
    assert 0 == life("rotate", "--finish", "--grace", "0s", life.ref).code
    assert ({}, {id_of(life.current())}) == (life.rotation(), life.others)


@only_file
def test_a_previous_token_that_was_used_a_day_ago_is_revoked(life: TokenLife) -> None:
    before = life.issue()
    assert 0 == life("rotate", life.ref).code
    record = life.rotation() | {"promoted": utc(-200_000), "revoke_after": utc(-100_000), "format": 1}
    del record["intent"]
    life.store.write_record("prod", json.dumps(record))
    life.record_of(before)["lastUsedAt"] = utc(-80_000)  # after the promotion, and in the last grace period
    assert 80 == life("rotate", life.ref).code
    life.record_of(before)["lastUsedAt"] = utc(-110_000)
    record["intent"] = None
    record = {name: value for name, value in record.items() if name != "intent"}
    life.store.write_record("prod", json.dumps(record))
    assert "finished" == document(life, life.ref)["outcome"]
    assert not life.works(before)


@only_file
def test_policy_about_the_next_token_does_not_keep_a_rotation_open(life: TokenLife) -> None:
    before = life.issue()
    life.project()
    assert 0 == life("rotate", "prod").code
    life.project(lifetime="90d", role="WORKSPACE_AUTHOR")
    floor = {"ASTRO_TOKEN_POLICY_MAX_LIFETIME": "30d", "ASTRO_TOKEN_POLICY_ROLES": "WORKSPACE_AUTHOR"}
    elsewhere = {**floor, "ASTRO_TOKEN_POLICY_REF": "vault:secret/*"}
    assert 65 == life("rotate", "--finish", "--grace", "0s", "prod", env=elsewhere).code
    assert life.works(before)
    after = life.current()
    assert "finished" == document(life, "--grace", "0s", "prod", env=floor)["outcome"]
    assert (False, after, {}) == (life.works(before), life.current(), life.rotation())
    assert 65 == life("rotate", "prod", env=floor).code
    assert {id_of(after)} == life.others


@only_file
def test_a_token_of_terraform_is_rotated_with_a_warning(life: TokenLife) -> None:
    life.issue()
    text = 'resource "astro_api_token" "ci" {\n  name = "deploy"\n}\n'
    (life.program.work / "main.tf").write_text(text)
    result = life("rotate", life.ref)
    assert 0 == result.code
    assert f"warning: {life.ref}: Terraform manages the token, and will create it again" in result.stderr


# -- in place ---------------------------------------------------------------------------------------


def test_a_rotation_in_place_keeps_the_identifier(life: TokenLife) -> None:
    before = life.issue()
    key = pyrage.x25519.Identity.generate()
    env = {} if life.store.scheme == "file" else {"ASTRO_TOKEN_AGE_KEY": str(key)}
    token = document(life, "--in-place", "--escrow", "prod.escrow.age", life.ref, env=env)
    after = life.current()
    assert ("rotated", None, None) == (token["outcome"], token["previous_until"], token["error"])
    assert (id_of(before), True, False) == (id_of(after), life.works(after), life.works(before))
    assert ({id_of(after)}, {}) == (life.others, life.rotation())
    assert not (life.program.work / "prod.escrow.age").exists()


@only_file
def test_without_an_admin_or_an_escrow_file_nothing_is_rotated_in_place(life: TokenLife) -> None:
    before = life.issue()
    life.api.accept(before, ADMIN)
    escrow = ["--in-place", "--escrow", "prod.escrow.age"]
    for admin in ("", life.ref):
        result = life("rotate", *escrow, life.ref, env={"ASTRO_TOKEN_ADMIN_REF": admin})
        assert says(result, 77, "no credential is named that may rotate this token in place", "set ASTRO_")
    assert (before, True, {}) == (life.current(), life.works(before), life.rotation())
    for folder in ("missing", "/proc"):
        result = life("rotate", "--in-place", "--escrow", f"{folder}/prod.escrow.age", life.ref)
        assert 73 == result.code
    # The configured key could not read the file.
    key = str(pyrage.x25519.Identity.generate())
    (life.program.work / "recipients").write_text(str(pyrage.x25519.Identity.from_str(key).to_public()))
    other = {"ASTRO_TOKEN_AGE_RECIPIENTS_FILE": str(life.program.work / "recipients")}
    (life.program.work / "recipients").chmod(0o600)
    assert 78 == life("rotate", *escrow, life.ref, env=other).code
    assert (before, True) == (life.current(), life.works(before))
    assert not (life.program.work / "prod.escrow.age").exists()


# -- the credential ---------------------------------------------------------------------------------


@only_file
def test_without_an_admin_a_token_can_manage_itself_if_it_may(life: TokenLife) -> None:
    before = life.issue("prod", role("WORKSPACE_OWNER", WORKSPACE, "WORKSPACE"))
    life.record_of(before)["scope"] = "WORKSPACE"
    none = {"ASTRO_TOKEN_ADMIN_REF": ""}
    result = life("rotate", life.ref, env=none)
    message = f"{life.ref}: the token may not manage itself, and no other credential is named"
    assert says(
        result, 77, message, "set ASTRO_TOKEN_ADMIN_REF to the reference of a credential that manages"
    )
    assert before == life.current()
    life.api.accept(before, Grant(workspaces=frozenset({WORKSPACE}), manages_tokens=True))
    result = life("rotate", "--grace", "0s", life.ref, env=none)
    assert 0 == result.code
    assert (
        f"warning: {life.ref}: no credential that manages tokens is named, so the token manages itself"
        in (errors_of(result))
    )
    assert ({id_of(life.current())}, {}) == (life.others, life.rotation())


@only_file
def test_the_admins_credential_comes_from_the_environment_or_an_option(life: TokenLife) -> None:
    before = life.issue()
    expired = life.api.issue(ws=None, grant=ADMIN, expires_in=-60)
    weak, unknown = life.api.issue(ws=None), make_token(organization=ORGANIZATION)
    life.program.canaries += [expired, weak, unknown]
    for reference, value, code, message in (
        ("prod", "", 64, "--admin: not a reference: the scheme is missing"),
        ("env:OTHER", "", 66, "env:OTHER"),
        ("env:OTHER", "hvs.secret", 65, "the credential that manages tokens, env:OTHER: the value is not an"),
        ("env:OTHER", expired, 65, "env:OTHER: the credential that manages tokens expired at "),
        ("env:OTHER", weak, 77, "Astro does not allow the credential that manages tokens to read tokens"),
        ("env:OTHER", unknown, 77, "Astro does not accept the credential that manages tokens"),
    ):
        life.project()
        result = life("rotate", "--admin", reference, "prod", env={"OTHER": value})
        assert (code, 2) == (result.code, len(errors_of(result)))
        assert message in errors_of(result)[0]
    assert (before, {}) == (life.current(), life.rotation())
    good = {"OTHER": life.admin, "ASTRO_TOKEN_ADMIN_REF": "env:NOTHING"}
    assert 0 == life("rotate", "--admin", "env:OTHER", "prod", env=good).code


@only_file
def test_a_project_file_cannot_name_the_admin(life: TokenLife) -> None:
    life.issue()
    life.project(admin="env:MANAGES")
    result = life("rotate", "prod")
    assert 78 == result.code
    assert "tokens.prod.admin is unknown" in errors_of(result)[0]


@only_file
def test_the_admins_own_credential_is_rotated_only_by_name_and_last(life: TokenLife) -> None:
    life.issue()
    admin = life.issue("admin", role("ORGANIZATION_OWNER", ORGANIZATION, "ORGANIZATION"))
    life.record_of(admin)["scope"] = "ORGANIZATION"
    life.api.accept(admin, ADMIN)
    file = life.program.work / "astro-token.toml"
    file.write_text(f'[tokens.admin]\nref = "{life.store.ref("admin")}"\n[tokens.prod]\nref = "{life.ref}"\n')
    by_file = {"ASTRO_TOKEN_ADMIN_REF": life.store.ref("admin")}
    result = life("rotate", "--all", "--format", "json", env=by_file)
    outcomes = [token["outcome"] for token in json.loads(result.stdout)["tokens"]]
    assert (0, ["skipped", "rotated"]) == (result.code, outcomes)
    assert admin == life.current("admin")
    life.api.requests.clear()
    result = life("rotate", "--grace", "0s", "admin", "prod", env=by_file)
    assert 0 == result.code
    assert admin != life.current("admin")
    deleted = [request.path.rpartition("/")[2] for request in life.api.requests if request.method == "DELETE"]
    assert id_of(admin) == deleted[-1]


@only_file
def test_the_admins_own_credential_is_spared_under_another_reference(life: TokenLife) -> None:
    life.issue()
    life.store.write("copy", life.admin)
    life.record_of(life.admin)["roles"] = [role("ORGANIZATION_OWNER", ORGANIZATION, "ORGANIZATION")]
    file = life.program.work / "astro-token.toml"
    file.write_text(f'[tokens.copy]\nref = "{life.store.ref("copy")}"\n[tokens.prod]\nref = "{life.ref}"\n')
    due = ["--if-expires-within", "3650d"]
    result = life("rotate", "--all", "--grace", "0s", *due, "--format", "json")
    outcomes = [token["outcome"] for token in json.loads(result.stdout)["tokens"]]
    assert (0, ["skipped", "rotated"]) == (result.code, outcomes)
    assert (life.admin, True) == (life.current("copy"), life.works(life.admin))
    life.api.requests.clear()
    assert 0 == life("rotate", "--grace", "0s", "copy", "prod").code
    deleted = [request.path.rpartition("/")[2] for request in life.api.requests if request.method == "DELETE"]
    assert id_of(life.admin) == deleted[-1]
    assert not life.works(life.admin)


# -- failures ---------------------------------------------------------------------------------------


@only_vault
def test_nothing_is_created_if_the_record_cannot_be_written(life: TokenLife) -> None:
    before = life.issue()
    bao, folder = life.store.openbao, f"secret/data/{life.store.base}"  # type: ignore[union-attr]
    token = service.token(
        bao,
        f'path "{folder}/prod" {{ capabilities = ["read", "update"] }}\n'
        f'path "{folder}/prod-rotation" {{ capabilities = ["read"] }}',
    )
    life.program.canaries.append(token)
    result = life("rotate", life.ref.replace("#", "?kv=2#"), env={"VAULT_TOKEN": token})
    assert says(result, 77, "Vault denies the request", "add to the policy of the Vault token: path")
    assert "prod-rotation" in errors_of(result)[1]
    assert ({id_of(before)}, before, {}) == (life.others, life.current(), life.rotation())
    assert not [request for request in life.api.requests if request.method != "GET"]


@only_file
def test_a_refused_creation_leaves_nothing_open(life: TokenLife) -> None:
    """A role that was removed from Astro meanwhile."""
    before = life.issue("prod", role("Release team", DEPLOYMENT, "DEPLOYMENT"))
    result = life("rotate", life.ref)
    assert (78, before, {}) == (result.code, life.current(), life.rotation())
    assert f"error: {life.ref}: Astro refuses to create a token" == errors_of(result)[0]
    life.api.custom_roles.add("Release team")
    assert 0 == life("rotate", life.ref).code


def test_a_lost_response_to_the_creation_leaves_no_orphan(life: TokenLife) -> None:
    before = life.issue()
    lose_first(life.api, "POST")
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    assert ({id_of(life.current())}, before == life.current()) == (life.others, False)


@only_file
def test_another_run_is_not_disturbed(life: TokenLife) -> None:
    before = life.issue()
    intent = {"title": "deploy~1", "owner": "somebody", "until": utc(20)}
    life.store.write_record("prod", json.dumps({"format": 1, "intent": intent}))
    result = life("rotate", life.ref)
    assert says(
        result, 75, f"{life.ref}: another run is rotating the token", "wait for its end, or 30 seconds"
    )
    assert (before, {id_of(before)}) == (life.current(), life.others)


@pytest.mark.parametrize(
    ("record", "code", "message"),
    [
        ({"format": 2}, 78, "a newer version of astro-token wrote the rotation record"),
        ({"format": 1, "note": "mine"}, 81, "the rotation record is not one that astro-token wrote"),
    ],
)
@only_file
def test_a_record_of_somebody_else_is_left_alone(
    life: TokenLife, record: dict[str, Any], code: int, message: str
) -> None:
    before = life.issue()
    life.store.write_record("prod", json.dumps(record))
    result = life("rotate", life.ref)
    assert (code, before, {id_of(before)}) == (result.code, life.current(), life.others)
    assert f"{life.ref}.rotation: {message}" in errors_of(result)[0]
    assert record == json.loads(life.store.record("prod") or "")


def forged(life: TokenLife, victim: str) -> dict[str, str]:
    """The identifier of another token of the same deployment, with a value that Astro has not signed."""
    value = make_token(organization=ORGANIZATION, deployment=DEPLOYMENT, token_id=id_of(victim))
    life.program.canaries.append(value)
    return {"id": id_of(victim), "value": value}


@only_file
def test_a_record_deletes_no_token_whose_value_is_not_in_it(life: TokenLife) -> None:
    current, victim = life.issue(), life.issue("victim", title="ci")
    life.record_of(victim)["lastUsedAt"] = utc(-86400)
    times = {"promoted": utc(-7200), "revoke_after": utc(-3600)}
    life.store.write_record("prod", json.dumps({"format": 1, "previous": forged(life, victim), **times}))
    result = life("rotate", "--finish", life.ref)
    assert (81, True) == (result.code, life.works(victim))
    message, hint = errors_of(result)
    assert f"Astro does not accept the value in the rotation record of the token {id_of(victim)}" in message
    assert (
        "find the token with `astro-token audit`, and revoke it only if nobody uses it; then delete" in hint
    )

    intent = {"title": "ci", "owner": "x", "until": utc(-3600)}
    life.store.write_record("prod", json.dumps({"format": 1, "intent": intent}))
    assert 0 == life("rotate", "--finish", life.ref).code
    assert ({}, {id_of(current), id_of(victim)}) == (life.rotation(), life.others)


@pytest.mark.parametrize("is_rotated", [False, True])
@only_file
def test_a_record_with_the_true_token_of_another_secret_deletes_nothing(
    life: TokenLife, is_rotated: bool
) -> None:
    """Whoever can write the record has copied a value there that Astro accepts, and that nobody has used."""
    life.issue()
    victim = life.issue("victim")
    if is_rotated:
        assert 0 == life("rotate", "--grace", "0s", life.store.ref("victim")).code
        assert 0 == life("rotate", "--grace", "0s", life.ref).code
        victim = life.current("victim")
    life.record_of(victim)["lastUsedAt"] = utc(-86400 * 9)
    slot = {"id": id_of(victim), "value": victim}
    times = {"promoted": utc(-7200), "revoke_after": utc(-3600)}
    life.store.write_record("prod", json.dumps({"format": 1, "previous": slot, **times}))
    result = life("rotate", "--finish", life.ref)
    message = f"the rotation record contains {id_of(victim)}, which the current token was not created to re"
    assert says(result, 81, message, "find the token with `astro-token audit`")
    assert (True, victim) == (life.works(victim), life.current("victim"))

    # The same as the new token: it is not revoked as the previous one of another, and neither is that.
    current = life.current()
    life.store.write_record("prod", json.dumps({"format": 1, "pending": slot}))
    assert 81 == life("rotate", "--grace", "0s", life.ref).code
    assert (True, True) == (life.works(victim), life.works(current))


@only_file
def test_an_intent_with_the_title_of_another_secrets_new_token_deletes_nothing(life: TokenLife) -> None:
    """Nobody has used the token since its rotation, as that of a weekly job. Members can list the titles."""
    life.issue()
    life.issue("victim")
    assert 0 == life("rotate", "--grace", "0s", life.store.ref("victim")).code
    victim = life.current("victim")
    life.record_of(victim)["lastUsedAt"] = None
    intent = {"title": life.record_of(victim)["name"], "owner": "x", "until": utc(-3600)}
    life.store.write_record("prod", json.dumps({"format": 1, "intent": intent}))
    result = life("rotate", "--finish", life.ref)
    assert (0, True) == (result.code, life.works(victim)), result.stderr


@only_file
def test_a_forged_value_that_a_record_replaces_deletes_no_token(life: TokenLife) -> None:
    victim, pending = life.issue("victim"), life.issue()
    life.store.write("prod", forged(life, victim)["value"])
    slot = {"id": id_of(pending), "value": pending}
    life.store.write_record("prod", json.dumps({"format": 1, "pending": slot}))
    result = life("rotate", "--grace", "0s", life.ref)
    assert (81, True) == (result.code, life.works(victim))


@only_file
def test_a_previous_token_that_has_expired_is_deleted(life: TokenLife) -> None:
    current, previous = life.issue(), life.issue("previous", expires_in=-60)
    life.record_of(previous)["endAt"] = utc(-60)
    slot = {"id": id_of(previous), "value": previous}
    times = {"promoted": utc(-7200), "revoke_after": utc(-3600)}
    life.store.write_record("prod", json.dumps({"format": 1, "previous": slot, **times}))
    assert 0 == life("rotate", "--finish", life.ref).code
    assert ({}, {id_of(current)}) == (life.rotation(), life.others)


@only_file
def test_a_person_is_needed_if_somebody_replaced_the_value_in_the_middle(life: TokenLife) -> None:
    previous, pending, current = (life.issue() for _ in range(3))
    slots = {
        "previous": {"id": id_of(previous), "value": previous},
        "pending": {"id": id_of(pending), "value": pending},
    }
    record = {"format": 1, **slots, "promoted": utc(-5), "revoke_after": utc(60)}
    life.store.write_record("prod", json.dumps(record))
    result = life("rotate", life.ref)
    assert (81, current, 3) == (result.code, life.current(), len(life.others))
    assert f"revoke {id_of(previous)} and {id_of(pending)} in Astro" in errors_of(result)[1]


@only_file
def test_what_cannot_be_rotated(life: TokenLife) -> None:
    missing = life.store.ref("missing")
    assert 66 == life("rotate", missing).code
    gone = life.issue("gone")
    del life.api.tokens[id_of(gone)]
    result = life("rotate", life.store.ref("gone"))
    assert 65 == result.code
    assert "Astro does not accept the token" in errors_of(result)[0]
    direct = life.issue("direct")
    life.record_of(direct)["kind"] = "DIRECT_ACCESS"
    assert 65 == life("rotate", life.store.ref("direct")).code
    both = json.dumps({"first": make_token(), "second": make_token()})
    life.store.write("both", both)
    result = life("rotate", f"{life.store.ref('both')}#first")
    assert (78, 2) == (result.code, len(errors_of(result)))
    life.issue()
    life.project(deployment=OTHER_DEPLOYMENT)
    result = life("rotate", "prod")
    assert 65 == result.code
    assert f"the project expects {OTHER_DEPLOYMENT}" in errors_of(result)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--all", "prod"], "--all and a token are both given"),
        (["--grace", "1", "prod"], "--grace is not a duration"),
        (["--grace", "9999w", "prod"], "--grace is longer than 3650 days"),
        (["--if-older-than", "soon", "prod"], "--if-older-than is not a duration"),
        (["--finish", "--if-older-than", "1d"], "--finish starts no rotation"),
        (["--all", "--grace", "0s"], "--all with so short a --grace needs a condition"),
        (["--admin", "", "prod"], "--admin: not a reference"),
        (["--in-place", "prod"], "--in-place and --escrow are not given together"),
        (["--escrow", "e.age", "prod"], "--in-place and --escrow are not given together"),
        (["--in-place", "--escrow", "e.age", "--all"], "--in-place and --all are both given"),
        (["--in-place", "--escrow", "e.age", "--finish", "prod"], "--in-place and --finish are both given"),
        (["--in-place", "--escrow", "e.age", "--grace", "0s", "prod"], "--in-place and --grace are both"),
        (["--in-place", "--escrow", "e.age", "prod", "prod"], "--in-place needs one token"),
        (["--in-place", "--escrow", "e.age"], "--in-place needs one token"),
        (["--in-place", "--escrow", "", "prod"], "--escrow is empty"),
    ],
)
@only_file
def test_usage(life: TokenLife, arguments: list[str], message: str) -> None:
    life.issue()
    life.project()
    result = life("rotate", *arguments)
    assert (64, "", 2) == (result.code, result.stdout, len(errors_of(result)))
    assert message in errors_of(result)[0]


# -- several tokens ---------------------------------------------------------------------------------


@only_file
def test_all_tokens_are_rotated_each_once(life: TokenLife) -> None:
    names = [f"t{number}" for number in range(6)]
    before = {name: life.issue(name) for name in names}
    life.store.write("broken", "no token")
    tables = [f'[tokens.{name}]\nref = "{life.store.ref(name)}"' for name in (*names, "broken")]
    tables.append(f'[tokens.again]\nref = "{life.store.ref("t0")}"')
    (life.program.work / "astro-token.toml").write_text("\n".join(tables))
    result = life("rotate", "--all", "--grace", "0s", "--if-expires-within", "3650d")
    assert 65 == result.code
    assert "7 rotated, 1 failed" == errors_of(result)[-1]
    after = {name: life.current(name) for name in names}
    assert set() == set(before.values()) & set(after.values())
    assert {id_of(value) for value in after.values()} == life.others


@only_file
def test_a_token_under_several_spellings_is_rotated_once(life: TokenLife) -> None:
    before = life.issue()
    path = life.store.folder / "prod.age"  # type: ignore[union-attr]
    other = path.parent.parent / "linked"
    other.symlink_to(path.parent)
    relative = Path(os.path.relpath(path, life.program.work))
    spellings = [life.ref, f"{life.ref}#token", f"file:{relative}", f"file:{other}/prod.age"]
    result = life("rotate", "--grace", "0s", "--format", "json", *spellings)
    assert 0 == result.code
    tokens = json.loads(result.stdout)["tokens"]
    assert [(ref, "rotated") for ref in spellings] == [(each["ref"], each["outcome"]) for each in tokens]
    assert ({id_of(life.current())}, False) == (life.others, life.works(before))
    assert 1 == sum(request.method == "POST" for request in life.api.requests)


@only_vault
def test_a_token_under_two_names_that_only_the_service_unites_is_rotated_once(life: TokenLife) -> None:
    """The secret has one field, which needs no name."""
    life.issue()
    life.store._write("prod", {"value": life.current()})  # type: ignore[union-attr]
    bare = life.ref.removesuffix("#token")
    for grace in ("0s", "1h"):
        life.api.requests.clear()
        result = life("rotate", "--grace", grace, "--format", "json", bare, f"{bare}#value")
        tokens = json.loads(result.stdout)["tokens"]
        assert (0, ["rotated"] * 2) == (result.code, [each["outcome"] for each in tokens])
        assert 1 == sum(request.method == "POST" for request in life.api.requests)


# -- signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@only_file
def test_a_signal_during_the_creation_waits_until_the_token_is_staged(
    life: TokenLife, number: signal.Signals, start: Callable[..., Background]
) -> None:
    before = life.issue()
    runs: list[Background] = []

    def interrupt() -> None:
        runs[0].send(number)
        time.sleep(0.3)

    after_requests(life.api, "POST", interrupt)
    runs.append(start("rotate", life.ref))
    result = runs[0].finish()
    assert (128 + number, "", "") == (result.code, result.stdout, result.stderr)
    life.learn_values()
    staged = life.rotation()["pending"]
    assert {id_of(before), staged["id"]} == life.others
    life.store.write_record("prod", json.dumps({"format": 1, "pending": staged}))  # its lease is over
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    assert (staged["value"], {staged["id"]}) == (life.current(), life.others)


# -- unfinished -------------------------------------------------------------------------------------


@only_file
def test_the_lease_ends_with_a_run_that_cannot_reach_astro(life: TokenLife) -> None:
    life.issue()
    with FaultServer("pass", upstream=life.api.url) as proxy:
        after_requests(life.api, "GET", lambda: proxy.close() if life.rotation().get("intent") else None)
        env = {"ASTRO_TOKEN_API_URL": proxy.url}
        result = life("rotate", "--timeout", "16", life.ref, env=env)
    assert 75 == result.code
    assert "Astro's API" in errors_of(result)[0]
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    assert ({id_of(life.current())}, {}) == (life.others, life.rotation())


@only_vault
def test_an_unfinished_rotation_says_that_the_token_works_and_is_completed_by_another_run(
    life: TokenLife,
) -> None:
    """The login may write the record, and not the value."""
    before = life.issue()
    bao, folder = life.store.openbao, f"secret/data/{life.store.base}"  # type: ignore[union-attr]
    token = service.token(
        bao,
        f'path "{folder}/prod" {{ capabilities = ["read"] }}\n'
        f'path "{folder}/prod-rotation" {{ capabilities = ["read", "create", "update"] }}',
    )
    life.program.canaries.append(token)
    result = life("rotate", "--format", "json", life.ref.replace("#", "?kv=2#"), env={"VAULT_TOKEN": token})
    assert 80 == result.code
    error, hint = errors_of(result)
    assert "the rotation is not finished, and the old token still works: " in error
    assert hint.endswith("; then run the same command again")
    described = json.loads(result.stdout)["tokens"][0]["error"]
    assert ("RotationError", 80) == (described["type"], described["exit_code"])
    assert (before, True, 2) == (life.current(), life.works(before), len(life.others))
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    assert ({id_of(life.current())}, {}) == (life.others, life.rotation())


@only_file
def test_in_a_git_repository_nothing_is_revoked_before_a_person_says_so(life: TokenLife) -> None:
    before = life.issue()
    (life.store.folder / ".git").mkdir()  # type: ignore[union-attr]
    assert "rotated" == document(life, life.ref)["outcome"]
    record = life.rotation()
    record |= {"promoted": utc(-90000), "revoke_after": utc(-3600), "format": 1}
    del record["intent"]
    life.record_of(before)["lastUsedAt"] = utc(-90000)
    life.store.write_record("prod", json.dumps(record))
    assert "waiting" == document(life, life.ref)["outcome"]
    assert life.works(before)
    assert "finished" == document(life, "--finish", life.ref)["outcome"]
    assert not life.works(before)


@only_file
def test_the_title_of_another_reference_is_left_alone(life: TokenLife) -> None:
    """Two references with the same title; their tokens are older than a leftover has to be."""
    first, second = life.issue("first"), life.issue("second")
    for name in ("first", "second"):
        assert 0 == life("rotate", "--grace", "0s", life.store.ref(name)).code
    assert {first, second}.isdisjoint({life.current("first"), life.current("second")})
    for record in life.api.tokens.values():
        record["createdAt"] = "2020-01-01T00:00:00Z"
    assert 0 == life("rotate", "--grace", "0s", life.store.ref("first")).code
    assert {id_of(life.current(name)) for name in ("first", "second")} == life.others


@only_file
def test_a_leftover_of_this_reference_is_deleted(life: TokenLife) -> None:
    life.issue()
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    title = life.record_of(life.current())["name"]
    stray = life.issue("stray", title=title[:-4] + "0000")
    young = life.issue("young", title=title[:-4] + "0001")
    life.record_of(stray)["createdAt"] = life.record_of(life.current())["createdAt"] = utc(-2 * 86400)
    life.record_of(young)["createdAt"] = utc(-3600)
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    assert {id_of(life.current()), id_of(young)} == life.others


@only_file
def test_a_token_that_was_used_is_no_leftover(life: TokenLife) -> None:
    """It can be the current token of another project, whose file has the same path in a container."""
    life.issue()
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    theirs = life.issue("theirs", title=life.record_of(life.current())["name"][:-4] + "0000")
    life.record_of(theirs).update(createdAt=utc(-9 * 86400), lastUsedAt=utc(-7 * 86400))
    assert 0 == life("rotate", "--grace", "0s", life.ref).code
    assert {id_of(life.current()), id_of(theirs)} == life.others


# -- wrong clocks -----------------------------------------------------------------------------------


@only_file
def test_the_grace_period_is_measured_by_astros_clock_if_ours_is_wrong(life: TokenLife) -> None:
    before = life.issue()
    life.api.ahead = -2 * 86400
    assert "rotated" == document(life, life.ref)["outcome"]
    assert -86460 < seconds_until(life.rotation()["revoke_after"]) < -86340
    assert "waiting" == document(life, life.ref)["outcome"]
    assert life.works(before)
    life.api.ahead = 0
    assert "finished" == document(life, life.ref)["outcome"]


@only_file
def test_a_lease_of_a_wrong_clock_does_not_last_for_days(life: TokenLife) -> None:
    life.issue()
    intent = {"title": "deploy~1", "owner": "somebody", "until": utc(86400)}
    life.store.write_record("prod", json.dumps({"format": 1, "intent": intent}))
    assert 0 == life("rotate", life.ref).code


# -- whoever can write the secret -------------------------------------------------------------------


def owner_of(life: TokenLife) -> str:
    """A token of another team, which may do more than the one that is rotated."""
    owner = life.issue("owner", role("ORGANIZATION_OWNER", ORGANIZATION, "ORGANIZATION"))
    life.record_of(owner)["scope"] = "ORGANIZATION"
    return owner


@only_file
def test_a_value_that_astro_does_not_accept_names_no_roles_to_copy(life: TokenLife) -> None:
    owner = owner_of(life)
    forged = make_token(organization=ORGANIZATION, workspace=WORKSPACE, token_id=id_of(owner))
    life.store.write("prod", forged)
    assert says(
        life("rotate", life.ref),
        65,
        f"{life.ref}: Astro does not accept the token, so that its roles cannot be copied",
        "create a new token with `astro-token create`",
    )
    assert (forged, {id_of(owner)}, {}) == (life.current(), life.others, life.rotation())


@only_file
def test_a_token_that_another_run_rotates_meanwhile_is_no_token_that_astro_refuses(life: TokenLife) -> None:
    life.issue()
    life.issue("next")
    later = life.store.read("next")
    old = make_token(organization=ORGANIZATION, workspace=WORKSPACE, token_id="cltkold")
    life.store.write("prod", old)
    after_requests(life.api, "GET", lambda: life.store.write("prod", str(later)))
    busy = f"{life.ref}: another run is rotating the token"
    assert says(life("rotate", life.ref), 75, busy, "wait for its end, or 30 seconds")
    assert later == life.current()


@only_file
def test_a_record_with_the_identifier_of_another_token_deletes_and_copies_nothing(life: TokenLife) -> None:
    owner, before = owner_of(life), life.issue()
    forged = make_token(organization=ORGANIZATION, token_id=id_of(owner))
    times = {"promoted": utc(-86400), "revoke_after": utc(-3600)}
    for slot, value in (("previous", forged), ("previous", before), ("pending", before)):
        record = {"format": 1, slot: {"id": id_of(owner), "value": value}, **times}
        life.store.write_record("prod", json.dumps(record))
        result = life("rotate", life.ref)
        assert (slot, 2) == (slot, len(errors_of(result)))
        assert 81 == result.code
        assert (before, {id_of(owner), id_of(before)}) == (life.current(), life.others)


@only_file
def test_an_admin_of_another_organization_is_told_apart(life: TokenLife) -> None:
    before = life.issue()
    other = "clorgother00000000000001"
    admin = make_token(organization=other, workspace=None)
    life.program.canaries.append(admin)
    token = document(life, life.ref, code=77, env={"MANAGES": admin})
    message = (
        f"the token is of the organization {ORGANIZATION}, and the credential that manages tokens of {other}"
    )
    assert ("failed", f"{life.ref}: {message}") == (token["outcome"], token["error"]["message"])
    assert (before, {}) == (life.current(), life.rotation())
