"""Several references for one token: handed over, checked, diagnosed, and not written."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from astro_token.testing import make_token
from tests.cli.conftest import child
from tests.cli.test_check_document import CHECK
from tests.cli.test_doctor import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.conftest import Program
    from tests.servers.openbao import OpenBao

    Write = Callable[[str, str], Path]


def test_exec_passes_over_what_is_absent_and_withholds_every_variable_of_the_chain(
    program: Program, planted: Planted, canary: str
) -> None:
    other = make_token()
    program.canaries.append(other)
    planted.store("prod", canary)
    program.environ |= {"BACKUP": other, "ASTRO_TOKEN_REF": "env:NONE,planted:lost,planted:prod,env:BACKUP"}
    command = 'test -z "$BACKUP" && printf %s "$ASTRO_API_TOKEN" | tail -c 8'
    result = program("--log-level", "debug", "exec", "--", "sh", "-c", command)
    assert (0, canary[-8:]) == (result.code, result.stdout)
    assert "env:NONE is passed over (SecretNotFoundError); trying planted:lost" in result.stderr
    assert "planted:lost is passed over (SecretNotFoundError); trying planted:prod" in result.stderr
    kept = program("exec", "--keep-env", "BACKUP", "--", "sh", "-c", 'test -n "$BACKUP"')
    assert (0, "", "") == (kept.code, kept.stdout, kept.stderr)


def test_exec_stops_at_a_denial(program: Program, planted: Planted, canary: str) -> None:
    planted.store("prod", canary)
    result = program("exec", "env:NONE,planted:denied,planted:prod", "--", *child("dump"))
    assert (77, "") == (result.code, result.stdout)
    assert "astro-token: error: planted:denied: not for you\nastro-token: hint: ask\n" == result.stderr
    assert "read prod" not in planted.log


def test_exec_of_a_chain_without_a_token_gives_every_reason(program: Program) -> None:
    result = program("exec", "vault:secret/a,env:NONE", "--", "true")
    assert (78, "") == (result.code, result.stdout)
    first, second = result.stderr.splitlines()
    assert first == (
        "astro-token: error: no reference of the chain gives a token: "
        "vault:secret/a: VAULT_ADDR is not set; env:NONE: the variable is not set, or is empty"
    )
    assert second.startswith("astro-token: hint: for vault:secret/a: set it to the address of Vault")
    assert "; for env:NONE: " in second


def test_check_tells_which_reference_is_used_and_why_the_others_are_not(
    program: Program, planted: Planted, write: Write, canary: str
) -> None:
    planted.store("prod", canary)
    write(
        "astro-token.toml",
        '[tokens.prod]\nref = ["env:NONE", "planted:prod", "env:LAST"]\n'
        '[tokens.dev]\nref = "planted:prod"\n'
        '[tokens.denied]\nref = ["planted:denied", "planted:prod"]\n'
        '[tokens.none]\nref = ["env:NONE", "planted:lost"]\n',
    )
    result = program("check", "--all", "--format", "json")
    document = json.loads(result.stdout)
    CHECK.validate(document)
    prod, dev, denied, none = document["tokens"]
    assert ("planted:prod", "planted", "ok") == (prod["ref"], prod["backend"], prod["status"])
    assert [("env:NONE", "passed over"), ("planted:prod", "used"), ("env:LAST", "not tried")] == [
        (member["ref"], member["status"]) for member in prod["chain"]
    ]
    assert ("SecretNotFoundError", 66) == tuple(
        prod["chain"][0]["error"][name] for name in ("type", "exit_code")
    )
    assert ([], "ok") == (dev["chain"], dev["status"])
    assert ["failed", "not tried"] == [member["status"] for member in denied["chain"]]
    assert ("planted:denied: not for you", 77) == (denied["error"]["message"], denied["error"]["exit_code"])
    assert ["passed over", "passed over"] == [member["status"] for member in none["chain"]]
    assert (77, 1) == (result.code, planted.log.count("read prod"))

    table = program("check", "prod")
    lines = [line.split(None, 1) for line in table.stdout.splitlines()]
    assert ["CHAIN", "env:NONE: passed over (the variable is not set, or is empty)"] in lines
    assert ["planted:prod:", "used"] in lines
    markdown = program("check", "--format", "markdown", "prod").stdout
    assert "| `prod` | `env:NONE: passed over (the variable is not set, or is empty)` |" in markdown
    assert "| `prod` | `planted:prod: used` |" in markdown


def test_doctor_examines_the_reference_that_is_used(
    program: Program, openbao: OpenBao, canary: str, write: Write
) -> None:
    name = f"s{uuid.uuid4().hex}"
    openbao.api("POST", f"secret/data/{name}", {"data": {"token": canary}})
    program.environ |= {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token}
    program.canaries.append(openbao.root_token)

    def doctor(chain: str) -> tuple[int, str, list[tuple[str, str, str, int]]]:
        result = program("doctor", "--offline", "--format", "json", chain)
        document = json.loads(result.stdout)
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
        keys = ("link", "state", "found", "exit_code")
        return result.code, document["ref"], [tuple(link[key] for key in keys) for link in document["links"]]

    lost, held = f"vault:secret/{name}-lost", f"vault:secret/{name}"
    code, ref, links = doctor(f"{lost},{held},env:LAST")
    assert (0, held) == (code, ref)
    assert [
        ("chain", "none", f"{lost}: the secret does not exist (passed over)", 0),
        ("chain", "ok", f"{held}: used", 0),
        ("chain", "none", "env:LAST: not tried", 0),
    ] == [link for link in links if link[0] == "chain"]
    assert [("secret", "ok", f"{held} exists", 0)] == [link for link in links if link[0] == "secret"]

    code, ref, links = doctor(f"env:NONE,vault:nowhere/{name},{held}")
    assert (77, f"vault:nowhere/{name}") == (code, ref)
    assert ["none", "failed", "none"] == [state for link, state, _, _ in links if link == "chain"]
    assert {77} == {status for _, state, _, status in links if state == "failed"}

    code, ref, links = doctor(f"env:NONE,{lost}")
    assert 66 == code
    assert [("failed", 66), ("failed", 66)] == [
        (state, status) for link, state, _, status in links if link == "chain"
    ]


def test_vault_refuses_and_vault_is_absent(
    program: Program, openbao: OpenBao, canary: str, write: Write
) -> None:
    """The same chain on a laptop, in a job, and in a job whose token has expired."""
    kept = write("prod.token", canary)
    chain = f"vault:secret/s{uuid.uuid4().hex},file:{kept}"
    command = ("exec", chain, "--", "sh", "-c", 'printf %s "$ASTRO_API_TOKEN" | tail -c 8')
    vault = {"VAULT_ADDR": openbao.address}
    for environ in ({}, vault, {**vault, "VAULT_TOKEN": openbao.root_token}):
        result = program(*command, env=environ, allowed=[kept])
        assert (0, canary[-8:], "") == (result.code, result.stdout, result.stderr)
    denied = program(*command, env={**vault, "VAULT_TOKEN": "s.expired"}, allowed=[kept])
    assert (77, "") == (denied.code, denied.stdout)
    assert denied.stderr.startswith(
        f"astro-token: error: {chain.partition(',')[0]}: Vault denies the request"
    )


@pytest.mark.parametrize(
    "command",
    [("put",), ("create", "--role", "WORKSPACE_MEMBER"), ("rotate",), ("revoke",)],
    ids=lambda command: command[0],
)
def test_a_command_that_writes_takes_one_reference(
    command: tuple[str, ...], program: Program, planted: Planted, canary: str
) -> None:
    planted.store("a", canary)
    result = program(command[0], "planted:a,planted:b", *command[1:], stdin=canary)
    assert (64, []) == (result.code, planted.log)
    assert "the token has a chain of references" in result.stderr
    assert "hint: give one of them as the argument: planted:a, planted:b" in result.stderr
