"""`revoke`: the real program, and a strict Astro API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.testing import make_token
from tests.cli.token_life import ADMIN, errors_of, id_of, lose_first, says
from tests.servers.astro_api import ORGANIZATION, WORKSPACE, Grant

if TYPE_CHECKING:
    from tests.cli.token_life import TokenLife
    from tests.conftest import Result

pytestmark = pytest.mark.parametrize("life", ["file"], indirect=True)


def refused(result: Result, code: int, message: str, hint: str) -> bool:
    """True if the two lines about the token come first, and then this error."""
    lines = errors_of(result)
    assert (code, "", 4) == (result.code, result.stdout, len(lines)), result.stderr
    assert (f"error: {message}", True) == (lines[2], hint in lines[3])
    return True


def test_a_token_that_nobody_holds_is_revoked(life: TokenLife) -> None:
    current = life.issue()
    life.project()
    stray = life.issue("stray")
    life.record_of(stray)["lastUsedAt"] = "2026-02-03T04:05:06Z"
    life.record_of(stray)["endAt"] = "2030-02-03T04:05:06Z"
    life.record_of(stray)["name"] = "##vso[task.setvariable]"
    result = life("revoke", "--id", id_of(stray))
    shown, held, done = errors_of(result)
    assert (0, "") == (result.code, result.stdout)
    assert shown.startswith(f"token {id_of(stray)}: scope deployment, created at 2026-01-02 03:04 UTC, ")
    assert "last used at 2026-02-03 04:05 UTC, " in shown
    assert "expires at 2030-02-03 04:05 UTC, " in shown
    assert "it is the current token of no configured reference" == held
    assert f"revoked {id_of(stray)}; Astro does not have it any more" == done
    assert ({id_of(current)}, False) == (life.others, life.works(stray))
    again = life("revoke", "--id", id_of(stray))
    assert says(again, 66, f"Astro does not have a token {id_of(stray)}", "it was revoked already")


def test_a_current_token_is_revoked_only_by_force(life: TokenLife) -> None:
    current = life.issue()
    life.project()
    hint = "replace it first, with `astro-token rotate`; or add --force"
    for arguments in (["prod"], ["--id", id_of(current)]):
        result = life("revoke", *arguments)
        assert refused(result, 73, f"the token {id_of(current)} is the current token of prod", hint)
    (life.program.work / "astro-token.toml").unlink()
    result = life("revoke", life.ref)
    assert refused(result, 73, f"the token {id_of(current)} is the current token of {life.ref}", hint)
    assert life.works(current)
    assert 0 == life("revoke", "--force", life.ref).code
    assert (set(), False) == (life.others, life.works(current))


def test_a_reference_that_cannot_be_read_may_hold_it(life: TokenLife) -> None:
    stray = life.issue("stray")
    text = '[tokens.prod]\nref = "vault:secret/x"\n[tokens.none]\nref = "env:NONE"\n'
    (life.program.work / "astro-token.toml").write_text(text)
    result = life("revoke", "--id", id_of(stray))
    message = f"prod could not be read, and may hold the token {id_of(stray)}"
    assert refused(result, 73, message, "run `astro-token check --all` for the reason; or add --force")
    assert 0 == life("revoke", "--force", "--id", id_of(stray)).code
    assert set() == life.others


def test_the_admins_credential_is_not_revoked_by_mistake(life: TokenLife) -> None:
    life.record_of(life.admin)["roles"] = []
    result = life("revoke", "--id", id_of(life.admin))
    assert refused(
        result, 73, f"the token {id_of(life.admin)} is the current token of env:MANAGES", "--force"
    )
    assert life.works(life.admin)


def test_a_token_can_revoke_itself_if_it_may_manage_tokens(life: TokenLife) -> None:
    own = life.issue()
    none = {"ASTRO_TOKEN_ADMIN_REF": ""}
    result = life("revoke", "--force", life.ref, env=none)
    assert says(result, 77, "the token may not manage itself, and no other credential is named")
    assert says(life("revoke", "--id", id_of(own), env=none), 77, "no credential is named that may revoke")
    life.api.accept(own, Grant(workspaces=frozenset({WORKSPACE}), manages_tokens=True))
    assert 0 == life("revoke", "--force", life.ref, env=none).code
    assert not life.works(own)


def test_a_value_that_astro_does_not_accept_names_no_token(life: TokenLife) -> None:
    victim = life.issue("victim")
    forged = make_token(workspace=WORKSPACE, organization=ORGANIZATION, token_id=id_of(victim))
    life.program.canaries.append(forged)
    life.store.write("prod", forged)
    message = f"nothing proves that it is the token {id_of(victim)}"
    assert says(life("revoke", "--force", life.ref), 65, message, "find the token with `astro-token audit`")
    assert life.works(victim)


def test_the_token_of_the_environment_is_revoked_only_by_force(life: TokenLife) -> None:
    current = life.issue()
    result = life("revoke", "--id", id_of(current), env={"ASTRO_TOKEN_REF": life.ref})
    assert refused(result, 73, f"the token {id_of(current)} is the current token of {life.ref}", "--force")
    assert life.works(current)


def test_a_lost_response_is_not_a_failure(life: TokenLife) -> None:
    stray = life.issue("stray")
    lose_first(life.api, "DELETE")
    assert 0 == life("revoke", "--id", id_of(stray)).code
    assert not life.works(stray)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 64, "revoke takes either a token or --id"),
        (["prod", "--id", "cltk1"], 64, "revoke takes either a token or --id"),
        (["--id", "a b"], 64, "--id is not an identifier"),
        (["--id", "../x"], 64, "--id is not an identifier"),
        (["nobody"], 64, "the token is neither a reference nor a name"),
    ],
)
def test_usage(life: TokenLife, arguments: list[str], code: int, message: str) -> None:
    assert says(life("revoke", *arguments), code, message)


def test_an_admin_of_another_organization_revokes_nothing(life: TokenLife) -> None:
    stray = life.issue("stray")
    other = make_token(organization="clother", workspace=None)
    life.api.accept(other, ADMIN)
    life.program.canaries.append(other)
    result = life("revoke", "--id", id_of(stray), env={"MANAGES": other})
    assert says(result, 77, "Astro does not allow the credential that manages tokens to read tokens")
    assert life.works(stray)
