"""Several references for one token: how they are written, and which of them are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError, InvalidRefError, PolicyError, UsageError
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import Settings, resolve
from astro_token.settings.variables import misspelt_variables
from astro_token.testing import appearances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str], Path]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


def refs(text: str | None = None, **environ: str) -> list[str]:
    return [str(ref) for ref in resolve(text, environ=environ).refs]


def refused(text: str) -> InvalidRefError:
    with pytest.raises(InvalidRefError) as caught:
        resolve(text, environ={})
    assert 64 == caught.value.exit_code
    return caught.value


def test_references_are_separated_by_commas(work: Path) -> None:
    chain = ["env:A", "vault:secret/a?version=2#t", "file:/x"]
    assert chain == refs(",".join(chain))
    assert chain == refs(" , ".join(chain))
    assert chain == refs(ASTRO_TOKEN_REF=",".join(chain))
    assert ["env:A"] == refs("env:A")
    settings = resolve("env:A,env:B", environ={})
    assert (SecretRef("env", "A"), (SecretRef("env", "B"),)) == (settings.ref, settings.chain)


@pytest.mark.parametrize(
    "ref",
    [
        SecretRef("file", "/a,b"),
        SecretRef("file", "/a%2Cb"),
        SecretRef("vault", "secret/a,b", "c,d"),
        SecretRef("vault", "secret/a", "c%2Cd%2c%25%"),
        SecretRef("aws-kms", "alias/a", None, {"context.team": "a,b"}),
    ],
)
def test_a_comma_in_a_reference_is_percent_encoded(ref: SecretRef, work: Path) -> None:
    assert "," not in str(ref)
    assert ref == SecretRef.parse(str(ref))
    if ref.scheme != "aws-kms":
        assert (SecretRef("env", "A"), ref) == resolve(f"env:A,{ref}", environ={}).refs


BAD = {
    "env:A,": "reference 2 of the chain is empty",
    ",env:A": "reference 1 of the chain is empty",
    "env:A,,env:B": "reference 2 of the chain is empty",
    "file:a,b": "reference 2 of the chain is not a reference",
    "env:A,prod": "reference 2 of the chain is not a reference",
    "env:A,env:A": "reference 2 of the chain repeats reference 1",
    "vault:a/b#c,env:A,vault://a/b#c": "reference 3 of the chain repeats reference 1",
    "vault:a/b?version=2&namespace=n,vault:a/b?namespace=n&version=2": "reference 2 of the chain repeats",
    "file:/tmp/x,file:/tmp/../tmp/x": "reference 2 of the chain repeats reference 1",
    "env:A,vault-transit:k": "reference 2 of the chain names a key",
    "vault-transit:k,aws-kms:alias/a": "reference 1 of the chain names a key",
    "env:A,vault:../x": "reference 2 of the chain: not a reference of vault",
    ",".join(f"env:A{number}" for number in range(9)): "the chain has more than 8 references",
}


@pytest.mark.parametrize("text", BAD)
def test_a_malformed_chain_is_refused_in_one_line(text: str, work: Path) -> None:
    error = refused(text)
    assert error.message.startswith(BAD[text])
    assert error.hint
    with pytest.raises(InvalidRefError, match=r"^ASTRO_TOKEN_REF: "):
        resolve(environ={"ASTRO_TOKEN_REF": text})


def test_a_chain_with_a_token_in_it_is_refused_without_it(work: Path, canary: str) -> None:
    assert [] == appearances(canary, refused(f"env:A,{canary}").message)


def test_the_same_secret_with_two_fields_is_no_repetition(work: Path) -> None:
    assert 2 == len(refs("vault:a/b#c,vault:a/b#d"))


# -- the project file ----------------------------------------------------------------------------------


def test_the_project_file_lists_references(work: Path, write: Write) -> None:
    write(
        "astro-token.toml", '[tokens.prod]\nref = ["env:A", "file:a,b", "vault:secret/a#t"]\nworkspace = "w"'
    )
    expected = ["env:A", f"file:{work}/a%2Cb", "vault:secret/a#t"]
    assert expected == refs()
    assert expected == refs("prod")
    write("astro-token.toml", '[tokens.prod]\nref = ["env:A"]')
    assert ["env:A"] == refs("prod")


@pytest.mark.parametrize(
    ("value", "kind", "complaint"),
    [
        ("[]", InvalidRefError, "tokens.prod.ref: the chain is empty"),
        ('["env:A", ""]', ConfigError, "tokens.prod.ref: reference 2 is empty"),
        ('["env:A", 5]', ConfigError, "tokens.prod.ref: reference 2 is not a string"),
        ('["env:A", ["env:B"]]', ConfigError, "tokens.prod.ref: reference 2 is not a string"),
        ('{a = "env:A"}', ConfigError, "tokens.prod.ref is not a string"),
        ('["env:A", "prod"]', InvalidRefError, "tokens.prod.ref: reference 2: not a reference"),
        ('["env:A", "env:A"]', InvalidRefError, "tokens.prod.ref: reference 2 of the chain repeats"),
        ('["env:A", "aws-kms:alias/a"]', InvalidRefError, "tokens.prod.ref: reference 2 of the chain names"),
        ('"env:A,vault:a/b#c"', InvalidRefError, "tokens.prod.ref: it contains several references"),
        ('"vault:a/b, env:A"', InvalidRefError, "tokens.prod.ref: it contains several references"),
        ('["env:A,env:B"]', InvalidRefError, "tokens.prod.ref: reference 1: it contains several references"),
        ('["env:A", "vault:a/b?kv=1"]', ConfigError, "tokens.prod.ref: reference 2 sets kv=1"),
    ],
)
def test_a_malformed_list_is_refused(
    value: str, kind: type[Exception], complaint: str, work: Path, write: Write
) -> None:
    path = write("astro-token.toml", f"[tokens.prod]\nref = {value}")
    with pytest.raises(kind) as caught:
        Settings(environ={})
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_every_reference_must_be_allowed(work: Path, write: Write) -> None:
    environ = {"ASTRO_TOKEN_POLICY_REF": "env:*"}
    with pytest.raises(PolicyError, match="policy does not allow the reference vault:a/b"):
        resolve("env:A,vault:a/b", environ=environ)
    write("astro-token.toml", '[tokens.prod]\nref = ["env:A", "file:/etc/passwd"]')
    with pytest.raises(ConfigError, match=r"tokens\.prod\.ref names a file outside"):
        resolve("prod", environ={})
    allowed = {"ASTRO_TOKEN_FILE_FOLDERS": "/etc"}
    assert 2 == len(resolve("prod", environ=allowed).refs)
    with pytest.raises(ConfigError, match=r"^reference 2 of the chain: no backend serves this scheme"):
        resolve("env:A,nobody:x", environ={})
    with pytest.raises(ConfigError, match=r"^no backend serves this scheme"):
        resolve("nobody:x", environ={})


def test_a_command_that_writes_takes_one_reference(work: Path, write: Write) -> None:
    write("astro-token.toml", '[tokens.prod]\nref = ["env:A", "env:B"]\n[tokens.dev]\nref = "env:C"')
    with pytest.raises(UsageError) as caught:
        resolve("prod", environ={}, accepts_chain=False)
    assert (64, "give one of them as the argument: env:A, env:B") == (
        caught.value.exit_code,
        caught.value.hint,
    )
    prod, dev = Settings(environ={}).tokens(None, accepts_chain=False)
    assert (UsageError, "env:C") == (type(prod), str(getattr(dev, "ref", None)))
    assert "env:A" == str(resolve("env:A", environ={}, accepts_chain=False).ref)


def test_a_variable_that_any_reference_names_is_not_misspelt(
    work: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"ASTRO_TOKEN_REFF": "x"}
    assert environ.keys() == misspelt_variables(environ).keys()
    write("astro-token.toml", '[tokens.prod]\nref = ["env:A", "env:ASTRO_TOKEN_REFF"]')
    assert {} == misspelt_variables(environ)
