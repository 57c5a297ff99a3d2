"""`create`: the real program, with encrypted files and OpenBao, and a strict Astro API."""

from __future__ import annotations

import json
import math
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.testing import make_token
from tests.backends.vault import service
from tests.cli.token_life import TokenLife, after_requests, errors_of, id_of, lose_first, says
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, WORKSPACE, role

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background

only_file = pytest.mark.parametrize("life", ["file"], indirect=True)
only_vault = pytest.mark.parametrize("life", ["vault"], indirect=True)
DEPLOY = ["--role", "DEPLOYMENT_ADMIN", "--deployment", DEPLOYMENT]


def test_a_token_is_created_as_the_project_file_says(life: TokenLife) -> None:
    life.project(deployment=DEPLOYMENT, role="DEPLOYMENT_ADMIN", lifetime="30d", title="etl")
    result = life("create", "prod")
    assert (0, "") == (result.code, result.stdout)
    expires, stored = errors_of(result)
    assert (f"created and stored in {life.ref}", True) == (stored, "in 29 days" in expires)
    record = life.record_of(life.current())
    assert ({id_of(life.current())}, {}) == (life.others, life.rotation())
    assert ("DEPLOYMENT", 30, "etl~") == (record["scope"], record["expiryPeriodInDays"], record["name"][:4])
    assert [role("DEPLOYMENT_ADMIN", DEPLOYMENT, "DEPLOYMENT")] == record["roles"]
    assert 0 == life("check", "--online", "prod").code
    assert "rotated" in life("rotate", "--grace", "0s", "prod").stdout


@only_file
def test_options_come_before_the_project_file(life: TokenLife) -> None:
    life.project(deployment=DEPLOYMENT, role="DEPLOYMENT_ADMIN", lifetime="30d", title="etl")
    options = ["--role", "WORKSPACE_AUTHOR", "--workspace", WORKSPACE, "--title", "deploy", "--never-expires"]
    result = life("create", *options, "prod")
    assert 0 == result.code
    assert "the token never expires" in errors_of(result)
    record = life.record_of(life.current())
    assert ("WORKSPACE", False) == (record["scope"], "endAt" in record)
    assert "deploy~" == record["name"][:7]


@only_file
def test_the_default_lifetime_is_90_days(life: TokenLife) -> None:
    assert 0 == life("create", *DEPLOY, life.ref).code
    assert 90 == life.record_of(life.current())["expiryPeriodInDays"]


@only_file
def test_a_wide_role_is_a_warning(life: TokenLife) -> None:
    wide = ["--role", "ORGANIZATION_OWNER", "--organization", ORGANIZATION]
    result = life("create", *wide, life.ref)
    assert 0 == result.code
    assert "which is wider than a deploy needs" in errors_of(result)[0]


@pytest.mark.parametrize(
    ("arguments", "entries", "code", "message"),
    [
        ([], {}, 64, "create needs a role and a scope"),
        ([], {"deployment": DEPLOYMENT}, 64, "create needs a role"),
        (["--role", "DEPLOYMENT_ADMIN"], {}, 64, "create needs a scope"),
        (["--role", "a;b"], {}, 64, "--role is not the name of a role"),
        (["--role", "WORKSPACE_AUTHOR", "--deployment", DEPLOYMENT], {}, 64, "is a role of a workspace"),
        ([*DEPLOY, "--workspace", WORKSPACE], {}, 64, "--workspace and --deployment are both given"),
        (["--deployment", "a b"], {}, 64, "--deployment is not an identifier"),
        ([*DEPLOY, "--lifetime", "0d"], {}, 64, "--lifetime is not 1 to 3650 days"),
        ([*DEPLOY, "--lifetime", "3651d"], {}, 64, "--lifetime is not 1 to 3650 days"),
        ([*DEPLOY, "--lifetime", "36h"], {}, 64, "--lifetime is not 1 to 3650 days"),
        ([*DEPLOY, "--lifetime", "never"], {}, 64, "--lifetime is not a duration"),
        ([*DEPLOY, "--lifetime", "1d", "--never-expires"], {}, 64, "not allowed with argument --lifetime"),
        ([*DEPLOY, "--title", " x"], {}, 64, "--title is not a title"),
        (DEPLOY, {"lifetime": "12h"}, 78, "tokens.prod.lifetime is not 1 to 3650 days"),
        (DEPLOY, {"role": "a;b"}, 78, "tokens.prod.role is not the name of a role"),
        (DEPLOY, {"title": "caf\u00e9"}, 78, "tokens.prod.title is not a title"),
        (DEPLOY, {"deployment": "cldepother"}, 65, "and the project expects cldepother"),
        (
            ["--role", "DEPLOYMENT_KING", "--deployment", DEPLOYMENT],
            {},
            78,
            "Astro refuses to create a token",
        ),
        (["--role", "DEPLOYMENT_ADMIN", "--deployment", "clgone"], {}, 78, "Astro does not know the organ"),
        (["--role", "ORGANIZATION_MEMBER", "--organization", "clgone"], {}, 77, "Astro does not allow"),
    ],
)
@only_file
def test_bad_input_creates_nothing(
    life: TokenLife, arguments: list[str], entries: dict[str, str], code: int, message: str
) -> None:
    life.project(**entries)
    assert says(life("create", *arguments, "prod"), code, message)
    assert (set(), None, {}) == (life.others, life.store.read("prod"), life.rotation())


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("ROLES", "WORKSPACE_AUTHOR", "policy does not allow the role DEPLOYMENT_ADMIN"),
        ("MAX_LIFETIME", "30d", "policy allows a lifetime of 30 days at most, and 60 days is requested"),
        ("MAX_SCOPE", "deployment", ""),
        ("DEPLOYMENT", "cldepother", "the project file expects deployment"),
        ("MIN_VALIDITY", "61d", "the token expires at "),
        ("REF", "vault:secret/team/*", "policy does not allow the reference"),
    ],
)
@only_file
def test_whoever_edits_the_file_stays_within_policy(
    life: TokenLife, variable: str, text: str, message: str
) -> None:
    life.project(deployment=DEPLOYMENT, role="DEPLOYMENT_ADMIN", lifetime="60d")
    result = life("create", "prod", env={f"ASTRO_TOKEN_POLICY_{variable}": text})
    if message:
        assert says(result, 65, message)
        assert set() == life.others
    else:
        assert 0 == result.code


@pytest.mark.parametrize("variable", ["MAX_LIFETIME=90d", "REQUIRE_EXPIRY=true"])
@only_file
def test_policy_can_forbid_a_token_that_never_expires(life: TokenLife, variable: str) -> None:
    name, _, text = variable.partition("=")
    floor = {f"ASTRO_TOKEN_POLICY_{name}": text}
    result = life("create", *DEPLOY, "--never-expires", life.ref, env=floor)
    assert says(result, 65, "policy does not allow a token that never expires", "give --lifetime")
    assert set() == life.others


def test_a_token_that_astro_accepts_is_replaced_only_by_force(life: TokenLife) -> None:
    before = life.issue()
    result = life("create", *DEPLOY, life.ref)
    assert says(result, 73, "Astro accepts the token that is stored there", "rotate it with")
    assert (before, {id_of(before)}) == (life.current(), life.others)
    result = life("create", *DEPLOY, "--force", life.ref)
    assert 0 == result.code
    assert f"the old token, {id_of(before)}, is still valid" in result.stderr
    assert f"later run `astro-token revoke --id {id_of(before)}`\n" in result.stderr
    assert ({id_of(before), id_of(life.current())}, True) == (life.others, life.works(before))
    life.api.expel(id_of(life.current()))
    assert 0 == life("create", *DEPLOY, life.ref).code  # nothing is lost


@only_file
def test_a_new_token_that_a_part_of_astro_does_not_know_yet_is_not_replaced(life: TokenLife) -> None:
    current = life.issue(issued_ago=0)
    life.api._valid[current] = (time.monotonic() + 3, math.inf)
    assert says(life("create", *DEPLOY, life.ref), 73, "Astro accepts the token that is stored there")
    assert ({id_of(current)}, current) == (life.others, life.current())


@only_file
def test_another_secret_is_not_replaced(life: TokenLife) -> None:
    life.store.write("prod", "hvs.another-secret")
    for force in ([], ["--force"]):
        assert says(life("create", *DEPLOY, *force, life.ref), 73, "the value is not an Astro API token")
    assert ("hvs.another-secret", set(), {}) == (life.store.read("prod"), life.others, life.rotation())


@only_vault
def test_nothing_is_created_where_nothing_can_be_stored(life: TokenLife) -> None:
    bao, folder = life.store.openbao, life.store.base  # type: ignore[union-attr]
    token = service.token(bao, f'path "secret/data/{folder}/*" {{ capabilities = ["read"] }}')
    life.program.canaries.append(token)
    result = life("create", *DEPLOY, life.ref.replace("#", "?kv=2#"), env={"VAULT_TOKEN": token})
    assert says(result, 77, "Vault denies the request", "add to the policy of the Vault token")
    assert says(life("create", *DEPLOY, "env:TOKEN"), 78, "env:TOKEN")
    assert [] == life.api.requests


@pytest.mark.parametrize("asks", [True, False])
@only_vault
def test_a_value_that_cannot_be_written_leaves_no_token(life: TokenLife, asks: bool) -> None:
    """The login may write the record only. Vault says so, or it shows when the token is to be stored."""
    bao, folder = life.store.openbao, f"secret/data/{life.store.base}"  # type: ignore[union-attr]
    capabilities = 'path "sys/capabilities-self" { capabilities = ["update"] }' if asks else ""
    token = service.token(
        bao,
        f'path "{folder}/prod" {{ capabilities = ["read"] }}\n'
        f'path "{folder}/prod-rotation" {{ capabilities = ["read", "create", "update"] }}\n{capabilities}',
    )
    life.program.canaries.append(token)
    result = life("create", *DEPLOY, life.ref.replace("#", "?kv=2#"), env={"VAULT_TOKEN": token})
    assert says(result, 77, "Vault denies the request", "add to the policy of the Vault token: path")
    assert (set(), {}, None) == (life.others, life.rotation(), life.store.read("prod"))
    assert asks != any(request.method == "POST" for request in life.api.requests)


@only_file
def test_without_an_admin_nothing_is_created(life: TokenLife) -> None:
    result = life("create", *DEPLOY, life.ref, env={"ASTRO_TOKEN_ADMIN_REF": ""})
    assert says(result, 77, "no credential is named that may create tokens", "set ASTRO_TOKEN_ADMIN_REF")
    result = life("create", life.ref, env={"ASTRO_TOKEN_ADMIN_REF": ""})
    assert says(result, 64, "create needs a role and a scope", "give --role and one of")
    weak = life.api.issue(ws=None)
    life.program.canaries.append(weak)
    assert says(life("create", *DEPLOY, life.ref, env={"MANAGES": weak}), 77, "Astro does not allow the cred")
    assert (set(), {}) == (life.others - {id_of(weak)}, life.rotation())
    missing = f"{life.ref}: there is no token to rotate"
    assert says(life("rotate", life.ref), 66, missing, "run `astro-token create`, which also continues a")


@only_file
def test_a_creation_that_was_interrupted_before_a_token_existed_is_no_rotation(life: TokenLife) -> None:
    intent = {"title": "deploy~1", "owner": "somebody", "until": "2026-01-01T00:00:00Z"}
    life.store.write_record("prod", json.dumps({"format": 1, "intent": intent}))
    assert says(
        life("rotate", life.ref), 66, "there is no token to rotate", "run `astro-token create`, which"
    )
    assert 0 == life("create", *DEPLOY, life.ref).code
    assert ({id_of(life.current())}, {}) == (life.others, life.rotation())


@pytest.mark.parametrize(
    ("role", "hint"),
    [("DEPLOYMENT_ADMN", "did you mean DEPLOYMENT_ADMIN? check the title"), ("our team", "check the title")],
)
@only_file
def test_a_misspelt_role_is_corrected(life: TokenLife, role: str, hint: str) -> None:
    result = life("create", "--role", role, "--deployment", DEPLOYMENT, life.ref)
    assert says(result, 78, "Astro refuses to create a token", hint)


def test_a_lost_response_to_the_creation_leaves_no_orphan(life: TokenLife) -> None:
    lose_first(life.api, "POST")
    assert 0 == life("create", *DEPLOY, life.ref).code
    assert ({id_of(life.current())}, {}) == (life.others, life.rotation())


@only_file
def test_an_interrupted_creation_is_continued(life: TokenLife, start: Callable[..., Background]) -> None:
    runs: list[Background] = []

    def interrupt() -> None:
        runs[0].send(signal.SIGTERM)
        time.sleep(0.3)

    after_requests(life.api, "POST", interrupt)
    runs.append(start("create", *DEPLOY, life.ref))
    assert 143 == runs[0].finish().code
    life.learn_values()
    pending: dict[str, Any] = life.rotation()["pending"]
    assert (None, {pending["id"]}) == (life.store.read("prod"), life.others)
    assert says(life("create", *DEPLOY, life.ref), 75, "another run is rotating the token")
    life.store.write_record("prod", json.dumps({"format": 1, "pending": pending}))  # its lease is over
    assert 0 == life("create", *DEPLOY, life.ref).code
    assert (pending["value"], {pending["id"]}, {}) == (life.current(), life.others, life.rotation())


@only_file
def test_an_open_rotation_is_finished_first(life: TokenLife) -> None:
    life.issue()
    assert 0 == life("rotate", life.ref).code
    after = life.current()
    result = life("create", *DEPLOY, "--force", life.ref)
    assert says(result, 80, "a rotation of the token is open", "finish it first, with")
    assert after == life.current()


@only_file
def test_the_child_of_exec_gets_nothing_that_leads_to_the_admin(life: TokenLife) -> None:
    life.store.write("prod", make_token())
    result = life("exec", life.ref, "--", "sh", "-c", "echo ${MANAGES-none} ${ASTRO_TOKEN_ADMIN_REF-none}")
    assert (0, "none none\n") == (result.code, result.stdout)
