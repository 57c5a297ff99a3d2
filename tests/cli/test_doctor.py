"""`doctor`: the real program, before a chain that holds, and before one with each link broken in turn."""

from __future__ import annotations

import json
import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import astro_token
from astro_token.doctor import CHECKS, STATES
from astro_token.settings.variables import own_variables
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, ROOT
from tests.installed import extra_hint
from tests.servers import web_tokens
from tests.servers.faults import FaultServer, refused_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Planted
    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi
    from tests.servers.certificates import Certificates
    from tests.servers.openbao import OpenBao

    Write = Callable[[str, str], Path]

STANDIN = Path(__file__).parent.parent / "programs"
SCHEMA = Path(astro_token.__file__).parent / "schemas" / "doctor.json"
WITHOUT_KEY = [name for name in CHECKS if not name.startswith("key-") and name not in {"chain", "decryption"}]


@pytest.fixture(autouse=True)
def api(program: Program, astro_api: AstroApi) -> AstroApi:
    program.environ |= {
        "ASTRO_TOKEN_API_URL": astro_api.url,
        "PATH": f"{STANDIN}:{os.environ['PATH']}",
    }
    return astro_api


@pytest.fixture
def bao(openbao: OpenBao, program: Program) -> str:
    """A role's login; the name of the secret that it may read is returned."""
    name = f"s{uuid.uuid4().hex}"
    if "approle/" not in openbao.api("GET", "sys/auth")["data"]:
        openbao.api("POST", "sys/auth/approle", {"type": "approle"})
    rules = f'path "secret/data/{name}" {{ capabilities = ["read"] }}'
    openbao.api("PUT", f"sys/policies/acl/{name}", {"policy": rules})
    openbao.api("POST", f"auth/approle/role/{name}", {"token_policies": name})
    program.environ |= {
        "VAULT_ADDR": openbao.address,
        "VAULT_ROLE_ID": openbao.api("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"],
        "VAULT_SECRET_ID": openbao.api("POST", f"auth/approle/role/{name}/secret-id", {})["data"][
            "secret_id"
        ],
    }
    program.canaries.append(program.environ["VAULT_SECRET_ID"])
    return name


@pytest.fixture
def stored(openbao: OpenBao, program: Program, bao: str, api: AstroApi) -> str:
    token = api.issue()
    program.canaries.append(token)
    openbao.api("POST", f"secret/data/{bao}", {"data": {"token": token}})
    return f"vault:secret/{bao}#token"


@pytest.fixture
def hold(program: Program) -> Callable[[str], str]:
    """Holds a value in a variable, which the returned reference means."""

    def hold(value: str) -> str:
        program.canaries.append(value)
        program.environ["HELD"] = value
        return "env:HELD"

    return hold


def examined(program: Program, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and the links by name; of one with several findings the last."""
    result = program("doctor", "--format", "json", *arguments)
    document = json.loads(result.stdout)
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    names = list(dict.fromkeys(link["link"] for link in document["links"]))
    assert [name for name in CHECKS if name in names] == names
    assert [name for name in names if name in WITHOUT_KEY] == WITHOUT_KEY
    failed = [link["link"] for link in document["links"] if link["state"] == "failed"]
    assert bool(failed) == bool(result.code) == bool(result.stderr)
    assert all(f"{name}" in result.stderr for name in failed)
    assert document["exit_code"] == result.code
    return result.code, {link["link"]: link for link in document["links"]}


def states(links: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: link["state"] for name, link in links.items()}


def first_failure(links: dict[str, dict[str, Any]]) -> tuple[str, int]:
    return next((name, link["exit_code"]) for name, link in links.items() if link["state"] == "failed")


def test_the_schema_names_every_link_and_state() -> None:
    members = json.loads(SCHEMA.read_text())["properties"]["links"]["items"]["properties"]
    assert (list(CHECKS), list(STATES)) == (members["link"]["enum"], members["state"]["enum"])


def test_every_variable_of_ours_is_known_by_name() -> None:
    """And no other: the sources are the truth, but for those that the ready parts use for themselves."""
    texts = [path.read_text() for root in ("core", "backends") for path in (ROOT / root).rglob("*.py")]
    used = {name for text in texts for name in re.findall(r"\bASTRO_TOKEN_[A-Z_]*[A-Z]\b", text)}
    assert set() == used - own_variables() - {"ASTRO_TOKEN_POLICY"}
    shown = "".join(path.read_text() for path in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md"))
    assert [] == [
        name
        for name in sorted(own_variables())
        if name not in shown and name.replace("ASTRO_TOKEN_POLICY", "…") not in shown
    ]


def test_offline_does_not_contact_astro(program: Program, stored: str, api: AstroApi) -> None:
    before = len(api.requests)
    code, links = examined(program, "--offline", stored)
    assert (0, before) == (code, len(api.requests))
    assert ("not reached", "skipped: --offline") == (links["api"]["state"], links["api"]["found"])
    assert ["ok"] * 3 == [links[name]["state"] for name in ("login", "secret", "token")]


def test_each_link_of_a_good_chain_holds(program: Program, stored: str, api: AstroApi) -> None:
    code, links = examined(program, stored)
    said = states(links)
    assert 0 == code
    assert {"ci", "identity"} == {name for name, state in said.items() if state == "none"}
    assert {"ok", "none"} == set(said.values())
    assert "VAULT_ROLE_ID" in links["credential"]["found"]
    assert program.environ["VAULT_ADDR"] in links["network"]["found"]
    assert re.match(r"hvac \d", links["sdk"]["found"])
    assert "1" == links["version"]["found"]
    assert re.match(r"1\.\d+\.\d+, /", links["astro"]["found"])
    assert 1 <= len(api.requests) <= 3


def test_people_get_a_line_for_each_link(program: Program, stored: str) -> None:
    result = program("doctor", stored)
    assert (0, "") == (result.code, result.stderr)
    heads = [line[13:29].strip() for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert WITHOUT_KEY == list(dict.fromkeys(heads))


def test_lines_are_folded_at_a_terminal(program: Program, stored: str) -> None:
    terminal = Terminal(
        [str(PROGRAM), "doctor", stored], env=program.environment({"TERM": "xterm"}), cwd=program.work
    )
    assert 0 == terminal.finish()
    assert 80 >= max(len(line) for line in terminal.shown.splitlines() if "http" not in line)
    assert not [canary for canary in program.canaries if canary in terminal.shown]


# -- each link broken ---------------------------------------------------------------------------------


def test_where_nothing_says_which_token_the_rest_is_looked_at_all_the_same(
    program: Program, write: Write
) -> None:
    code, links = examined(program)
    assert (78, ("settings", 78)) == (code, first_failure(links))
    said = states(links)
    assert {"not reached"} == {said[name] for name in WITHOUT_KEY[4:13]}
    assert ("ok", "not reached") == (said["astro"], said["api"])  # reached, and not asked
    write("astro-token.toml", 'defualt = "prod"\n')
    code, links = examined(program)
    assert (78, ("settings", 78)) == (code, first_failure(links))


def test_a_misspelt_variable_of_ours_is_noticed_and_one_of_the_users_is_not(
    program: Program, hold: Callable[[str], str], api: AstroApi
) -> None:
    ref = hold(api.issue())
    program.environ |= {
        "ASTRO_TOKEN_TIMEOTU": "3",
        **dict.fromkeys(("ASTRO_TOKEN_PROD", "ASTRO_TOKEN_CHILD_COMMAND", "ASTRO_TOKEN_SOURCE"), "x"),
    }
    result = program("doctor", ref)
    assert 0 == result.code
    warnings = [line for line in result.stdout.splitlines() if line.startswith("warning")]
    assert [f"{'warning':13}{'variables':16}ASTRO_TOKEN_TIMEOTU is unknown"] == warnings
    assert "ASTRO_TOKEN_TIMEOUT" in result.stdout


def test_a_misspelt_variable_of_the_service_is_noticed(program: Program) -> None:
    program.environ |= {"VAULT_ADR": "http://127.0.0.1:1", "VAULT_TOKEN": "x", "VAULT_FORMAT": "json"}
    shown = program("doctor", "vault:secret/x").stdout
    warnings = [line for line in shown.splitlines() if line.startswith("warning")]
    assert f"{'warning':13}{'variables':16}VAULT_ADR is unknown" == warnings[0]
    assert 1 == sum("variables" in line for line in warnings)


def test_the_project_is_told_and_its_name_of_the_token(
    program: Program, write: Write, hold: Callable[[str], str], api: AstroApi
) -> None:
    file = write("astro-token.toml", f'default = "prod"\n[tokens.prod]\nref = "{hold(api.issue())}"\n')
    code, links = examined(program)
    expected = f"prod: env:HELD, the default of astro-token.toml, the project file is {file}"
    assert (0, expected) == (code, links["settings"]["found"])


def test_the_ci_system_and_its_identity_are_named(
    program: Program, hold: Callable[[str], str], api: AstroApi
) -> None:
    ref = hold(api.issue())
    program.environ |= {"GITHUB_ACTIONS": "true"}
    links = examined(program, ref)[1]
    assert "GitHub Actions" in links["ci"]["found"]
    assert ("none", True) == (links["identity"]["state"], "id-token: write" in links["identity"]["hint"])
    secret = "s3cr3t-of-the-runner"
    program.canaries.append(secret)
    program.environ |= {
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://example.com/x",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": secret,
    }
    links = examined(program, ref)[1]
    assert ("ok", "of GitHub Actions") == (links["identity"]["state"], links["identity"]["found"])


def test_the_claims_that_services_check_are_named_and_no_other(
    program: Program, hold: Callable[[str], str], api: AstroApi
) -> None:
    """Of a token that is here; in one line, and none of them long."""
    ref = hold(api.issue())
    claims = {
        "iss": "https://ci.example.com",
        "aud": ["https://vault.example.com", "other"],
        "sub": "repo:acme/dags:environment:prod\n\x1b[31m::error::",
        "repository": "acme/dags",
        "environment": "x" * 500,
        "project_path": {"not": "text"},
        "email": "someone@example.com",
    }
    program.environ["ASTRO_TOKEN_ID_TOKEN"] = web_tokens.sign(claims, ec.generate_private_key(ec.SECP256R1()))
    link = examined(program, ref)[1]["identity"]
    assert ("ok", None) == (link["state"], link["hint"])
    assert link["found"] == (
        "of ASTRO_TOKEN_ID_TOKEN: iss https://ci.example.com, aud https://vault.example.com other, "
        "sub repo:acme/dags:environment:prod\\n\\x1b[31m::error::, repository acme/dags, "
        f"environment {'x' * 200}…"
    )
    program.environ["ASTRO_TOKEN_ID_TOKEN"] = "s3cr3t-that-is-no-token"
    program.canaries.append("s3cr3t-that-is-no-token")
    code, links = examined(program, ref)
    assert (0, "warning") == (code, links["identity"]["state"])


def test_a_missing_sdk_is_the_backends_link(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "hvac.py").write_text("raise ModuleNotFoundError('no', name='hvac')\n")
    program.environ |= {"PYTHONPATH": str(folder), "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "x"}
    code, links = examined(program, "vault:secret/x")
    assert (78, ("backend", 78)) == (code, first_failure(links))
    assert extra_hint("vault") == links["backend"]["hint"]
    assert "not reached" == links["login"]["state"]


def test_no_credential(program: Program, openbao: OpenBao) -> None:
    program.environ |= {"VAULT_ADDR": openbao.address}
    code, links = examined(program, "vault:secret/x")
    assert (77, ("credential", 77)) == (code, first_failure(links))
    said = states(links)
    # The network needs none.
    assert ("ok", "not reached", "not reached") == (said["network"], said["login"], said["secret"])


def test_no_address(program: Program) -> None:
    program.environ |= {"VAULT_TOKEN": "x"}
    code, links = examined(program, "vault:secret/x")
    assert (78, ("credential", 78), 78) == (code, first_failure(links), links["network"]["exit_code"])
    assert "VAULT_ADDR is not set" == links["network"]["found"]


def test_a_service_that_refuses_connections(program: Program) -> None:
    program.environ |= {"VAULT_ADDR": f"http://127.0.0.1:{refused_port()}", "VAULT_TOKEN": "x"}
    code, links = examined(program, "vault:secret/x")
    assert (75, ("network", 75)) == (code, first_failure(links))
    assert links["network"]["found"].startswith(f"{program.environ['VAULT_ADDR']}: ")
    assert "not reached" == links["login"]["state"]


def test_a_certificate_that_is_not_trusted(program: Program, openbao_tls: OpenBao) -> None:
    program.environ |= {"VAULT_ADDR": openbao_tls.address, "VAULT_TOKEN": "x"}
    code, links = examined(program, "vault:secret/x")
    assert (76, ("network", 76)) == (code, first_failure(links))
    assert "ASTRO_TOKEN_CA_BUNDLE" in links["network"]["hint"]


def test_an_authority_of_the_services_own_variable_is_trusted(
    program: Program, openbao_tls: OpenBao, certificates: Certificates
) -> None:
    program.environ |= {
        "VAULT_ADDR": openbao_tls.address,
        "VAULT_TOKEN": openbao_tls.root_token,
        "VAULT_CACERT": str(certificates.ca_file),
    }
    links = examined(program, "vault:secret/nothing-there")[1]
    assert "ok" == links["network"]["state"]


def test_a_login_that_is_refused(program: Program, stored: str) -> None:
    program.environ["VAULT_SECRET_ID"] = str(uuid.uuid4())
    code, links = examined(program, stored)
    assert (77, ("login", 77)) == (code, first_failure(links))
    assert ("ok", "not reached") == (links["network"]["state"], links["permission"]["state"])


def test_a_permission_that_is_missing(program: Program, bao: str) -> None:
    code, links = examined(program, f"vault:secret/{bao}-other?kv=2")
    assert (77, ("permission", 77)) == (code, first_failure(links))
    assert ("ok", "not reached") == (links["login"]["state"], links["secret"]["state"])


def test_a_secret_that_is_not_there(program: Program, bao: str) -> None:
    code, links = examined(program, f"vault:secret/{bao}#token")
    assert (66, ("secret", 66)) == (code, first_failure(links))
    assert ("ok", "not reached") == (links["permission"]["state"], links["field"]["state"])


def test_a_field_that_is_not_there(program: Program, stored: str) -> None:
    code, links = examined(program, stored.replace("#token", "#tokne"))
    assert (66, ("field", 66)) == (code, first_failure(links))
    assert ("ok", "not reached") == (links["secret"]["state"], links["token"]["state"])


def test_a_value_that_is_no_token(program: Program, hold: Callable[[str], str]) -> None:
    code, links = examined(program, hold("hunter2-and-more-of-it"))
    assert (65, ("token", 65)) == (code, first_failure(links))
    assert ("not reached", "not reached") == (links["policy"]["state"], links["api"]["state"])


def test_a_token_that_policy_does_not_allow(
    program: Program, hold: Callable[[str], str], api: AstroApi
) -> None:
    code, links = examined(program, hold(api.issue(expires_in=-60)))
    assert (65, ("policy", 65)) == (code, first_failure(links))
    assert links["policy"]["found"].startswith("expired: ")


def test_a_warning_of_policy_is_no_failure(
    program: Program, hold: Callable[[str], str], api: AstroApi
) -> None:
    code, links = examined(program, hold(api.issue(expires_in=None)))
    assert (0, "warning") == (code, links["policy"]["state"])
    assert links["policy"]["found"].startswith("no-expiry: ")


def test_the_astro_cli_missing_is_a_warning(
    program: Program, hold: Callable[[str], str], api: AstroApi
) -> None:
    ref = hold(api.issue())
    program.environ["PATH"] = str(program.temporary)
    code, links = examined(program, ref)
    assert (0, "warning") == (code, links["astro"]["state"])
    assert "install-cli" in links["astro"]["hint"]


def test_a_token_that_astro_does_not_accept(program: Program, stored: str, api: AstroApi) -> None:
    api.revoke(program.canaries[-1])
    code, links = examined(program, stored)
    assert (65, ("api", 65)) == (code, first_failure(links))
    assert links["api"]["found"].startswith("revoked: ")


def test_an_api_that_is_not_reached_is_said_also_where_there_is_no_token(
    program: Program, hold: Callable[[str], str]
) -> None:
    program.environ["ASTRO_TOKEN_API_URL"] = f"http://127.0.0.1:{refused_port()}"
    code, links = examined(program, hold("hunter2-and-more-of-it"))
    assert (65, "failed", 75) == (code, links["api"]["state"], links["api"]["exit_code"])


def test_an_api_that_is_broken(program: Program, stored: str) -> None:
    with FaultServer("html") as server:
        program.environ["ASTRO_TOKEN_API_URL"] = f"http://127.0.0.1:{server.port}"
        code, links = examined(program, stored)
    assert (76, ("api", 76)) == (code, first_failure(links))


def test_a_plugin_that_tells_nothing_of_itself_is_read_all_the_same(
    program: Program, planted: Planted, api: AstroApi
) -> None:
    token = api.issue()
    program.canaries.append(token)
    planted.store("prod", token)
    code, links = examined(program, "planted:prod")
    assert 0 == code
    silent = {name: links[name]["found"] for name in ("credential", "network", "login")}
    assert dict.fromkeys(silent, "the backend does not support this check") == silent
    assert "planted 1.0" == links["sdk"]["found"]
    assert 1 == planted.log.count("read prod")


def test_a_silent_service_is_given_up_after_one_attempt(program: Program, planted: Planted) -> None:
    code, links = examined(program, "--timeout", "1", "planted:silent")
    assert (75, ("secret", 75), 1) == (code, first_failure(links), planted.log.count("read silent"))


def test_the_key_has_a_chain_of_its_own(program: Program, openbao: OpenBao, api: AstroApi) -> None:
    mount = f"t{uuid.uuid4().hex}"
    openbao.api("POST", f"sys/mounts/{mount}", {"type": "transit"})
    openbao.api("POST", f"{mount}/keys/k", {})
    token = api.issue()
    program.canaries.append(token)
    program.environ |= {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token}
    key = f"vault-transit:{mount}/k"
    assert 0 == program("put", "--decrypt", key, "file:token.enc", stdin=token).code
    code, links = examined(program, "--decrypt", key, "file:token.enc")
    assert (0, "ok", "ok") == (code, links["decryption"]["state"], links["token"]["state"])
    assert [name for name in CHECKS if name != "chain"] == list(links)
    assert "VAULT_TOKEN" in links["key-credential"]["found"]
    code, links = examined(program, "--decrypt", f"vault-transit:{mount}/other", "file:token.enc")
    assert ("decryption", code) == first_failure(links)
    assert "not reached" == links["token"]["state"]


def test_nothing_is_written(program: Program, stored: str) -> None:
    def tree() -> list[tuple[str, int]]:
        folders = (program.home, program.work, program.temporary)
        return sorted(
            (str(path), path.stat().st_mtime_ns) for folder in folders for path in folder.rglob("*")
        )

    before = tree()
    assert 0 == program("doctor", stored).code
    assert before == tree()
