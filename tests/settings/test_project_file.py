"""The project's file: untrusted input that names secrets and expectations, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import AccessDeniedError, AstroTokenError, ConfigError, InvalidRefError
from astro_token.policy.rules import Expectations, Policy
from astro_token.secrets.ref import SecretRef
from astro_token.settings.astro_cli_pin import Lock
from astro_token.settings.project_file import Project, ProjectToken, find_project
from astro_token.testing import appearances

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[str, str], Path]

ONE = '[tokens.prod]\nref = "vault:secret/astro/prod#token"\n'
SHARED = '[tool.astro-token.tokens.prod]\nref = "vault:secret/astro/prod#token"\n'
FULL = """
default = "prod"

[policy]
max_scope = "workspace"
require_expiry = true
min_validity = "1h"
warn_validity = "14d"
max_age = "90d"

[tokens.prod]
ref = "vault:secret/astro/prod#token"
decrypt = "vault-transit:astro"
organization = "clorg1"
workspace = "clws1"
deployment = "cldep1"

[tokens.dev]
ref = "env:DEV_TOKEN"
"""
VAULT = SecretRef.parse("vault:secret/astro/prod#token")


def failure(folder: Path) -> AstroTokenError:
    try:
        find_project(folder)
    except AstroTokenError as error:
        return error
    raise AssertionError("it was read")


def refused(write: Write, text: str) -> AstroTokenError:
    return failure(write("astro-token.toml", text).parent)


@pytest.mark.parametrize(
    "text",
    [
        '[tokens.dev]\nref = "TOKEN"\n',
        '[tokens.dev]\nref = "vault:TOKEN/a"\n',
        '[tokens.dev]\nref = "env:X"\ndecrypt = "TOKEN"\n',
        '[tokens.dev]\ntoken = "TOKEN"\n',
        '[tokens.dev]\nref = "env:X"\nworkspace = "TOKEN"\n',
        '[tokens]\ndev = "TOKEN"\n',
        'default = "TOKEN"\n',
        'tokens = ["TOKEN"]\n',
        '"TOKEN" = 1\n',
        '[tokens."TOKEN"]\nref = "env:X"\n',
    ],
)
def test_a_token_in_the_file_is_named_as_such_and_not_repeated(write: Write, canary: str, text: str) -> None:
    error = refused(write, text.replace("TOKEN", canary))
    shown = f"{error.message} {error.hint}"
    assert (InvalidRefError, True) == (type(error), "astro-token.toml contains a token" in error.message)
    assert ([], False) == (appearances(canary, shown), "command line" in shown)


def test_everything_that_it_may_say_is_read(write: Write) -> None:
    path = write("astro-token.toml", FULL)
    prod = ProjectToken(
        VAULT, SecretRef.parse("vault-transit:astro"), Expectations("clorg1", "clws1", "cldep1")
    )
    expected = Project(
        path,
        "prod",
        Policy(
            "workspace",
            require_expiry=True,
            min_validity=timedelta(hours=1),
            warn_validity=timedelta(days=14),
            max_age=timedelta(days=90),
        ),
        {"prod": prod, "dev": ProjectToken(SecretRef("env", "DEV_TOKEN"))},
    )
    assert expected == find_project(path.parent)
    assert ["prod", "dev"] == list(find_project(path.parent).tokens)


def test_a_table_of_pyproject_is_the_same(write: Write) -> None:
    path = write("astro-token.toml", FULL)
    own = find_project(path.parent)
    path.unlink()
    text = FULL.replace("default", "[tool.astro-token]\ndefault").replace(
        "[policy]", "[tool.astro-token.policy]"
    )
    shared = write("pyproject.toml", text.replace("[tokens.", "[tool.astro-token.tokens."))
    found = find_project(shared.parent)
    assert (own.default, own.policy, own.tokens, shared) == (
        found.default,
        found.policy,
        found.tokens,
        found.path,
    )


def test_a_byte_order_mark_is_accepted(write: Write) -> None:
    folder = write("astro-token.toml", f"\ufeff{ONE}").parent
    assert VAULT == find_project(folder).tokens["prod"].ref


def test_a_file_beside_it_is_found_in_any_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write("build #7?/100% ü/astro-token.toml", '[tokens.prod]\nref = "file:t"\n').parent
    monkeypatch.chdir(folder)
    ref = find_project().tokens["prod"].ref
    assert (str(folder / "t"), ref) == (ref.name, SecretRef.parse(str(ref)))


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert Project() == find_project(tmp_path)


def test_an_empty_file_is_a_project_that_names_nothing(write: Write) -> None:
    path = write("astro-token.toml", "")
    assert Project(path) == find_project(path.parent)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[tool.ruff]\nline-length = 110\n",
        '[project]\ndependencies = ["astro-token"]\n',
        "# astro-token\n",
        "tool = 3 # astro-token",
    ],
)
def test_a_pyproject_without_the_table_says_nothing_whoever_may_write_it(write: Write, text: str) -> None:
    path = write("pyproject.toml", text)
    path.chmod(0o666)
    assert Project() == find_project(path.parent)


def test_a_malformed_pyproject_that_does_not_concern_us_is_passed_over(write: Write) -> None:
    assert Project() == find_project(write("pyproject.toml", "[[[").parent)


def test_both_files_in_one_folder_are_an_error(write: Write) -> None:
    write("astro-token.toml", ONE)
    error = failure(write("pyproject.toml", SHARED).parent)
    assert ConfigError is type(error)
    assert "has both astro-token.toml and [tool.astro-token] in pyproject.toml" in error.message


# -- where it is looked for ------------------------------------------------------------------------------


def test_the_nearest_file_counts_up_to_the_repositorys_root(write: Write, tmp_path: Path) -> None:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    top = write("astro-token.toml", ONE)
    (top.parent / "a" / "b").mkdir(parents=True)
    assert top == find_project(top.parent / "a" / "b").path
    near = write("a/astro-token.toml", ONE)
    assert near == find_project(top.parent / "a" / "b").path


def test_nothing_above_the_repositorys_root_is_looked_at(write: Write) -> None:
    inner = write("astro-token.toml", ONE).parent / "repository" / "a"
    (inner.parent / ".git").mkdir(parents=True)
    inner.mkdir()
    assert Project() == find_project(inner)


def test_a_worktrees_git_file_marks_a_root_too(write: Write) -> None:
    inner = write("astro-token.toml", ONE).parent / "worktree"
    inner.mkdir()
    (inner / ".git").write_text("gitdir: elsewhere\n")
    assert Project() == find_project(inner)


def test_outside_a_repository_only_the_folder_itself_is_looked_at(write: Write) -> None:
    inner = write("astro-token.toml", ONE).parent / "a"
    inner.mkdir()
    assert Project() == find_project(inner)


def test_nothing_above_the_home_folder_is_looked_at(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    home = write("astro-token.toml", ONE).parent / "home"
    (home / "a").mkdir(parents=True)
    assert (tmp_path / "work" / "astro-token.toml") == find_project(home / "a").path
    monkeypatch.setenv("HOME", str(home))
    assert Project() == find_project(home / "a")


def test_a_home_that_is_a_repository_is_looked_at(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("astro-token.toml", ONE)
    (path.parent / ".git").mkdir()
    (path.parent / "a").mkdir()
    monkeypatch.setenv("HOME", str(path.parent))
    assert path == find_project(path.parent / "a").path


def test_a_relative_folder_is_looked_at_like_an_absolute_one(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("astro-token.toml", ONE)
    monkeypatch.chdir(path.parent)
    assert path == find_project(Path()).path


# -- who may have written it -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o664, 0o777])
@pytest.mark.parametrize("name", ["astro-token.toml", "pyproject.toml"])
def test_a_file_that_others_can_write_is_refused(write: Write, name: str, mode: int) -> None:
    path = write(name, ONE if name == "astro-token.toml" else SHARED)
    path.chmod(mode)
    error = failure(path.parent)
    assert (AccessDeniedError, f"chmod go-w {path}") == (type(error), error.hint)


@pytest.mark.parametrize("name", ["astro-token.toml", "pyproject.toml"])
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o770])
def test_a_file_in_a_folder_that_others_can_write_is_refused(write: Write, name: str, mode: int) -> None:
    path = write(name, ONE if name == "astro-token.toml" else SHARED)
    path.parent.chmod(mode)
    error = failure(path.parent)
    assert (AccessDeniedError, f"chmod go-w {path.parent}") == (type(error), error.hint)
    assert f"other users can write {path.parent}" == error.message
    path.chmod(0o666)
    assert f"chmod go-w {path.parent} {path}" == failure(path.parent).hint
    subprocess.run((failure(path.parent).hint or "").split(), check=True)
    assert path == find_project(path.parent).path


@pytest.mark.parametrize("name", ["astro-token.toml", "pyproject.toml"])
def test_an_ignored_file_hides_no_policy_above_it(write: Write, name: str) -> None:
    """Otherwise whoever can write one folder of the repository could switch the policy off there."""
    root = write("astro-token.toml", ONE + "[policy]\nrequire_expiry = true\n")
    (root.parent / ".git").mkdir()
    folder = root.parent / "shared"
    folder.mkdir()
    spoilt = folder / name
    spoilt.write_text(ONE if name == "astro-token.toml" else SHARED)
    spoilt.chmod(0o666)
    assert AccessDeniedError is type(failure(folder))
    assert root == find_project(folder, is_needed=False).path
    (folder / "astro-token.toml").write_text(ONE)
    (folder / "astro-token.toml").chmod(0o666)
    (folder / "pyproject.toml").write_text("")
    assert find_project(folder, is_needed=False).policy.require_expiry


def test_a_folder_in_which_only_owners_rename_is_accepted(write: Write) -> None:
    path = write("astro-token.toml", ONE)
    path.parent.chmod(0o1777)
    assert path == find_project(path.parent).path


def test_a_writable_folder_without_our_table_does_not_matter(write: Write) -> None:
    path = write("pyproject.toml", "[tool.ruff]\n")
    path.parent.chmod(0o777)
    assert Project() == find_project(path.parent)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o755])
def test_a_file_that_others_can_only_read_is_read(write: Write, mode: int) -> None:
    path = write("astro-token.toml", ONE)
    path.chmod(mode)
    assert path == find_project(path.parent).path


@pytest.mark.parametrize("name", ["astro-token.toml", "pyproject.toml"])
def test_a_file_of_another_user_is_refused(write: Write, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(name, ONE if name == "astro-token.toml" else SHARED)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    error = failure(path.parent)
    assert AccessDeniedError is type(error)
    assert "belongs to another user" in error.message


def test_a_file_in_a_folder_of_another_user_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("astro-token.toml", ONE)
    if os.geteuid() != 0:
        # Owned by us, and not by the user that we appear to be: the file is refused first.
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    else:
        os.chown(path.parent, 12345, -1)
    error = failure(path.parent)
    assert AccessDeniedError is type(error)
    assert "belongs to another user, who could change" in error.message


def test_a_file_of_root_is_read_by_any_user(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("astro-token.toml", ONE)
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert path == find_project(path.parent).path


@pytest.mark.parametrize(
    ("name", "text"),
    [("astro-token.toml", ONE), ("astro-token.toml", None), ("pyproject.toml", "[tool.astro-token]\n")],
)
def test_a_link_is_refused_because_paths_would_be_taken_from_beside_it(
    write: Write, name: str, text: str | None
) -> None:
    target = write("elsewhere/real.toml", text or "")
    link = target.parent.parent / name
    link.symlink_to(target.parent / "nothing" if text is None else target)
    error = failure(link.parent)
    assert (ConfigError, f"{link} is a link") == (type(error), error.message)


def test_a_linked_pyproject_without_our_table_is_nobodys_business(write: Write) -> None:
    target = write("elsewhere/real.toml", '[project]\ndependencies = ["astro-token"]\n')
    link = target.parent.parent / "pyproject.toml"
    link.symlink_to(target)
    assert Project() == find_project(link.parent)
    target.unlink()
    assert Project() == find_project(link.parent)


@pytest.mark.parametrize("name", ["astro-token.toml", "pyproject.toml"])
def test_a_fifo_holds_nothing_up(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name, 0o600)
    look = (
        "from pathlib import Path; from astro_token.settings.project_file import *; "
        f"find_project(Path({str(tmp_path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, timeout=60)
    assert b"is not a regular file" in done.stderr


def test_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "astro-token.toml").mkdir()
    assert "is not a regular file" in failure(tmp_path).message


def test_a_long_file_is_refused_and_one_of_the_greatest_length_is_read(write: Write) -> None:
    text = ONE + "#" * (64 * 1024 - len(ONE))
    path = write("astro-token.toml", text)
    assert path == find_project(path.parent).path
    assert "is longer than 64 KiB" in refused(write, text + "#").message


def test_a_long_pyproject_is_refused_only_if_it_may_concern_us(write: Write) -> None:
    comment = "#" * 256 * 1024 + "\n"
    path = write("pyproject.toml", comment + "[tool.ruff]\n")
    assert Project() == find_project(path.parent)
    error = failure(write("pyproject.toml", comment + SHARED).parent)
    assert (f"{path} is longer than 64 KiB", "move [tool.astro-token] to astro-token.toml") == (
        error.message,
        error.hint,
    )


@pytest.mark.parametrize(
    "line", ["a" + ".a" * 10_000 + " = 1", "[" + "a." * 10_000 + "a]", "x = {" + "'a'. " * 10_000 + "a = 1}"]
)
def test_a_key_of_many_parts_is_refused_before_it_is_parsed(write: Write, line: str) -> None:
    error = refused(write, f"{ONE}{line}\n")
    assert ConfigError is type(error)
    assert error.message.endswith("astro-token.toml: line 3 has more than 200 dots")


def test_the_costliest_key_that_is_accepted_is_parsed_in_bounded_time(write: Write) -> None:
    keys = "".join(f"k{number} = 1\n" for number in range(6_000))
    start = time.process_time()
    assert "a is unknown" in refused(write, "[" + "a." * 200 + "a]\n" + keys).message
    assert time.process_time() - start < 5


def test_a_comment_may_have_any_number_of_dots(write: Write) -> None:
    path = write("astro-token.toml", f"# {'.' * 1000}\n{ONE}")
    assert path == find_project(path.parent).path


def test_a_malformed_line_is_named(write: Write) -> None:
    assert refused(write, f"{ONE}hunter2\n").message.endswith("astro-token.toml is not valid TOML (line 3)")


# -- the release of the Astro CLI ------------------------------------------------------------------------

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("table", ["sha256 = {}", "[astro-cli.sha256]"])
def test_a_lock_without_digests_is_refused(write: Write, table: str) -> None:
    error = refused(write, f'[astro-cli]\nversion = "1.45.0"\n{table}\n')
    assert ConfigError is type(error)
    assert error.message.endswith("astro-token.toml: astro-cli.sha256 is empty, so that it pins nothing")


def test_a_lock_names_a_release_and_the_digests_of_its_archives(write: Write) -> None:
    text = f'[astro-cli]\nversion = "1.45.0"\nsha256 = {{ linux-amd64 = "{DIGEST.upper()}" }}\n'
    path = write("astro-token.toml", text)
    assert Lock("1.45.0", {"linux-amd64": DIGEST}) == find_project(path.parent).astro_cli
    path.write_text('[astro-cli]\nversion = "1.46.0-rc.1"\n')
    assert Lock("1.46.0-rc.1") == find_project(path.parent).astro_cli


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("astro-cli = '1.45.0'", "astro-cli is not a table"),
        ("[astro-cli]\n", "astro-cli.version is not a version"),
        ("[astro-cli]\nversion = 1.45", "astro-cli.version is not a version"),
        ("[astro-cli]\nversion = ''", "astro-cli.version is not a version"),
        ("[astro-cli]\nversion = 'v1.45.0'", "astro-cli.version is not a version"),
        ("[astro-cli]\nversion = 'latest'", "astro-cli.version is not a version"),
        ("[astro-cli]\nversion = '1.45.0/../..'", "astro-cli.version is not a version"),
        ('[astro-cli]\nversion = "1.45.0\\n"', "astro-cli.version is not a version"),
        ("[astro-cli]\nverison = '1.45.0'", "astro-cli.verison is unknown"),
        ("[astro-cli]\nurl = 'https://evil.example'\nversion = '1.45.0'", "astro-cli.url is unknown"),
        (f"[astro-cli]\nversion = '1.45.0'\nsha256 = '{DIGEST}'", "astro-cli.sha256 is not a table"),
        (
            f"[astro-cli]\nversion = '1.45.0'\nsha256.plan-nine = '{DIGEST}'",
            "astro-cli.sha256.plan-nine is unknown",
        ),
        (
            f"[astro-cli]\nversion = '1.45.0'\nsha256.linux-386 = '{DIGEST[1:]}'",
            "astro-cli.sha256.linux-386 is not a SHA-256 digest",
        ),
        (
            "[astro-cli]\nversion = '1.45.0'\nsha256.linux-386 = 3",
            "astro-cli.sha256.linux-386 is not a SHA-256 digest",
        ),
    ],
)
def test_a_lock_that_is_none_is_told_with_its_place(write: Write, text: str, complaint: str) -> None:
    error = refused(write, text)
    assert ConfigError is type(error)
    assert error.message.endswith(f"astro-token.toml: {complaint}")
    assert "evil.example" not in f"{error.message} {error.hint}"


# -- what it must not say --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("defualt = 'x'", "defualt is unknown", "did you mean default?"),
        ("[polcy]\nx = 1", "polcy is unknown", "did you mean policy?"),
        ("[policy]\nmin_valdity = '1h'", "policy.min_valdity is unknown", "did you mean min_validity?"),
        ("[policy]\nmax_scop = 'workspace'", "policy.max_scop is unknown", "did you mean max_scope?"),
        (ONE + "worksapce = 'w'", "tokens.prod.worksapce is unknown", "did you mean workspace?"),
        (
            ONE + "address = 'https://evil.example'",
            "tokens.prod.address is unknown",
            "come from the environment only",
        ),
        (
            ONE + "vault_addr = 'https://evil.example'",
            "tokens.prod.vault_addr is unknown",
            "come from the environment only",
        ),
        (ONE + "command = 'rm -rf /'", "tokens.prod.command is unknown", "come from the environment only"),
        (ONE + "token = 'x'", "tokens.prod.token is unknown", "come from the environment only"),
        ("VAULT_ADDR = 'https://evil.example'", "VAULT_ADDR is unknown", "come from the environment only"),
        (
            "[vault]\naddress = 'https://evil.example'",
            "vault is unknown",
            "the keys are default, policy, tokens",
        ),
        ("[env]\nHTTPS_PROXY = 'http://evil.example'", "env is unknown", "come from the environment only"),
        ("plugins = ['evil']", "plugins is unknown", "come from the environment only"),
        ("timeout = 3", "timeout is unknown", "the keys are default, policy, tokens"),
        ('"\\u001b[31m" = 1', "a key is unknown", "the keys are"),
        ('"::error::x" = 1', "a key is unknown", "the keys are"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest_known_one(
    write: Write, text: str, complaint: str, hint: str
) -> None:
    error = refused(write, text)
    assert (ConfigError, f"{complaint}") == (type(error), error.message.rpartition(": ")[2])
    assert hint in (error.hint or "")
    assert "evil.example" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("default = 'nope'\n" + ONE, "default names no token of the file"),
        ("default = []\n" + ONE, "default names no token of the file"),
        ("default = {}\n" + ONE, "default names no token of the file"),
        ("default = 3\n" + ONE, "default names no token of the file"),
        ("tokens = 3", "tokens is not a table"),
        ("tokens = ['a']", "tokens is not a table"),
        ("policy = 'strict'", "policy is not a table"),
        ("[tokens]\nprod = 'vault:secret/a'", "tokens.prod is not a table"),
        ("[[tokens.prod]]\nref = 'env:X'", "tokens.prod is not a table"),
        ("[tokens.'a b']\nref = 'env:X'", "a name in [tokens] is malformed"),
        ("[tokens.'']\nref = 'env:X'", "a name in [tokens] is malformed"),
        ("[tokens.'vault:x']\nref = 'env:X'", "a name in [tokens] is malformed"),
        ("[tokens.prod]\nworkspace = 'w'", "tokens.prod has no ref"),
        ("[tokens.prod]\nref = 3", "tokens.prod.ref is not a string"),
        ("[tokens.prod]\nref = ''", "tokens.prod.ref is empty"),
        ("[tokens.prod]\nref = {a = 'env:X'}", "tokens.prod.ref is not a string"),
        ("[tokens.prod]\nref = 'vault:secret/a?kv=1'", "tokens.prod.ref sets kv=1"),
        (ONE + "decrypt = true", "tokens.prod.decrypt is not a string"),
        (ONE + "workspace = 7", "tokens.prod.workspace is not a string"),
        (ONE + "workspace = 'a b'", "tokens.prod.workspace is not an identifier"),
        (ONE + 'organization = "x\\n::error::forged"', "tokens.prod.organization is not an identifier"),
        (ONE + 'deployment = "\\u001b[31m"', "tokens.prod.deployment is not an identifier"),
        ("[policy]\nmax_scope = 'world'", "policy.max_scope is not a scope"),
        ("[policy]\nmax_scope = ['workspace']", "policy.max_scope is not a scope"),
        ("[policy]\nrequire_expiry = 'yes'", "policy.require_expiry is not true or false"),
        ("[policy]\nrequire_expiry = 1", "policy.require_expiry is not true or false"),
        ("[policy]\nonline = 'true'", "policy.online is not true or false"),
        ("[policy]\nmin_validity = 3600", "policy.min_validity is not a duration"),
        ("[policy]\nmax_age = 90", "policy.max_age is not a duration"),
        ("[policy]\nwarn_validity = '2 weeks'", "policy.warn_validity is not a duration"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(write: Write, text: str, complaint: str) -> None:
    error = refused(write, text)
    assert ConfigError is type(error)
    assert error.message.endswith(f"astro-token.toml: {complaint}")
    assert 1 == len(f"{error.message} {error.hint}".splitlines())


def test_a_table_of_pyproject_that_is_none_is_told(write: Write) -> None:
    error = failure(write("pyproject.toml", "[tool]\nastro-token = 'x'\n").parent)
    assert "tool.astro-token is not a table" in error.message


@pytest.mark.parametrize("key", ["ref", "decrypt"])
@pytest.mark.parametrize(
    "ref", ["vault:secret/../hunter2", "hunter2", "https://hunter2@x/y", "vault:secret/x?addr=hunter2"]
)
def test_a_malformed_reference_is_told_with_its_place_and_not_repeated(
    write: Write, key: str, ref: str
) -> None:
    text = f"[tokens.prod]\nref = '{ref}'\n" if key == "ref" else f"{ONE}decrypt = '{ref}'\n"
    error = refused(write, text)
    assert InvalidRefError is type(error)
    assert f"astro-token.toml: tokens.prod.{key}: not a reference" in error.message
    assert "hunter2" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    "text",
    [
        "token = hunter2",
        'a = "hunter2',
        "hunter2",
        "[hunter2\n",
        "a = 1\na = 'hunter2'",
        "\x00hunter2",
        "a = " + "9" * 5000,
    ],
)
def test_a_malformed_file_is_told_with_the_place_and_not_repeated(write: Write, text: str) -> None:
    error = refused(write, text)
    assert ConfigError is type(error)
    assert "is not valid TOML" in error.message
    assert "hunter2" not in f"{error.message} {error.hint} {error.__context__} {error.__cause__}"


def test_a_file_in_another_encoding_is_no_toml(write: Write) -> None:
    path = write("astro-token.toml", "")
    path.write_bytes("x = 'é'".encode("latin-1"))
    error = failure(path.parent)
    assert f"{path} is not valid TOML" == error.message
    assert error.__context__ is None


def test_a_deeply_nested_file_is_no_toml(write: Write) -> None:
    assert "is not valid TOML" in refused(write, "a = " + "[" * 20_000).message


# -- paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("file:prod.age", "{}/prod.age"),
        ("file:../prod.age", "{}/../prod.age"),
        ("file:/run/secrets/prod", "/run/secrets/prod"),
        ("file:///run/secrets/prod", "/run/secrets/prod"),
    ],
)
def test_a_path_is_relative_to_the_file_it_stands_in(write: Write, ref: str, name: str) -> None:
    path = write("sub/astro-token.toml", f'[tokens.prod]\nref = "{ref}#f"\n')
    assert SecretRef("file", name.format(path.parent), "f") == find_project(path.parent).tokens["prod"].ref
