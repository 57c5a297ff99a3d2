"""Which token: arguments, then the environment, then the project's file."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AstroTokenError,
    ConfigError,
    InvalidRefError,
    PolicyError,
    UnknownBackendError,
    UsageError,
)
from astro_token.policy.rules import Expectations, Policy
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import Settings, TokenSettings, resolve
from astro_token.testing import make_token
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str], Path]

FILE = """
default = "prod"
[policy]
max_scope = "workspace"
min_validity = "1h"
[tokens.prod]
ref = "env:PROD"
workspace = "clws1"
[tokens.dev]
ref = "env:DEV"
decrypt = "vault-transit:dev"
"""
BARE = {"ASTRO_API_TOKEN": "x"}
REF = {"ASTRO_TOKEN_REF": "env:FROM_REF"}
PARTS = {"ASTRO_TOKEN_BACKEND": "env", "ASTRO_TOKEN_NAME": "FROM_PARTS"}


@pytest.fixture
def folder(write: Write) -> Path:
    """A folder with a project's file."""
    return write("astro-token.toml", FILE).parent


def found(
    folder: Path, token: Any = None, environ: dict[str, str] | None = None, **more: Any
) -> TokenSettings:
    return resolve(token, environ=environ or {}, directory=folder, **more)


def failure(
    folder: Path, token: Any = None, environ: dict[str, str] | None = None, **more: Any
) -> AstroTokenError:
    try:
        found(folder, token, environ, **more)
    except AstroTokenError as error:
        return error
    raise AssertionError("it was resolved")


@pytest.mark.parametrize(
    ("token", "environ", "ref"),
    [
        ("env:FROM_ARGUMENT", {**REF, **BARE}, "env:FROM_ARGUMENT"),
        (SecretRef("env", "FROM_ARGUMENT"), REF, "env:FROM_ARGUMENT"),
        ("dev", REF, "env:DEV"),
        (None, {**REF, **BARE}, "env:FROM_REF"),
        (None, {"ASTRO_TOKEN_REF": "dev"}, "env:DEV"),
        (None, {**PARTS, **BARE}, "env:FROM_PARTS"),
        (None, BARE, "env:PROD"),
        (None, {}, "env:PROD"),
        (None, {"ASTRO_TOKEN_REF": ""}, "env:PROD"),
        (None, {"ASTRO_TOKEN_BACKEND": "", "ASTRO_TOKEN_NAME": ""}, "env:PROD"),
    ],
)
def test_arguments_come_before_the_environment_and_that_before_the_file(
    folder: Path, token: Any, environ: dict[str, str], ref: str
) -> None:
    assert ref == str(found(folder, token, environ).ref)


def test_a_bare_token_in_the_environment_is_what_is_left_without_anything_else(tmp_path: Path) -> None:
    assert "env:ASTRO_API_TOKEN" == str(found(tmp_path, None, BARE).ref)


@pytest.mark.parametrize("environ", [{}, {"ASTRO_API_TOKEN": ""}])
def test_nothing_at_all_is_a_configuration_error(tmp_path: Path, environ: dict[str, str]) -> None:
    error = failure(tmp_path, None, environ)
    assert (ConfigError, "no token is configured") == (type(error), error.message)


def test_a_bare_token_is_not_used_if_the_file_names_several_tokens_and_no_default(
    write: Write,
) -> None:
    folder = write("astro-token.toml", FILE.replace('default = "prod"', "")).parent
    error = failure(folder, None, BARE)
    assert "none of them is the default" in error.message
    assert "prod, dev" in (error.hint or "")


def test_a_name_brings_all_that_the_file_says_of_it(folder: Path) -> None:
    expected = TokenSettings(
        SecretRef("env", "PROD"),
        name="prod",
        expected=Expectations(workspace="clws1"),
        policy=Policy("workspace", min_validity=timedelta(hours=1)),
        source="given as an argument",
        project_file=folder / "astro-token.toml",
    )
    assert expected == found(folder, "prod")


@pytest.mark.parametrize(
    ("token", "environ", "source"),
    [
        ("prod", REF, "given as an argument"),
        (SecretRef("env", "X"), REF, "given as an argument"),
        (None, {**REF, **BARE}, "from ASTRO_TOKEN_REF"),
        (None, PARTS, "from ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME"),
        (None, BARE, "the default of astro-token.toml"),
    ],
)
def test_the_settings_tell_their_source(
    folder: Path, token: Any, environ: dict[str, str], source: str
) -> None:
    settings = found(folder, token, environ)
    assert (source, folder / "astro-token.toml") == (settings.source, settings.project_file)


def test_the_only_token_of_the_file_needs_no_default(write: Write) -> None:
    text = '[tokens.only]\nref = "env:ONLY"\nworkspace = "clws1"\n'
    folder = write("astro-token.toml", text).parent
    settings = found(folder, None, BARE)
    assert ("env:ONLY", "only", "the only token of astro-token.toml", Expectations(workspace="clws1")) == (
        str(settings.ref),
        settings.name,
        settings.source,
        settings.expected,
    )
    assert "env:FROM_REF" == str(found(folder, None, REF).ref)


def test_a_bare_token_without_a_file_tells_its_variable(tmp_path: Path) -> None:
    settings = found(tmp_path, None, BARE)
    assert ("from ASTRO_API_TOKEN", None) == (settings.source, settings.project_file)


def test_the_file_is_read_once_for_all_tokens_of_a_command(folder: Path) -> None:
    settings = Settings(environ={}, directory=folder)
    (folder / "astro-token.toml").unlink()
    assert ["env:PROD", "env:DEV", "env:PROD"] == [
        str(one.ref) if isinstance(one, TokenSettings) else ""
        for one in settings.tokens(["prod", "dev", None])
    ]
    assert ("prod", "workspace") == (settings.project.default, settings.policy.max_scope)


def test_a_reference_brings_the_policy_and_no_expectations(folder: Path) -> None:
    assert (Expectations(), "workspace", None) == (
        (settings := found(folder, "env:X")).expected,
        settings.policy.max_scope,
        settings.name,
    )


@each_row(
    ("environ", "ref"),
    [
        ({"ASTRO_TOKEN_BACKEND": "vault", "ASTRO_TOKEN_NAME": "secret/a"}, "vault:secret/a"),
        (
            {
                "ASTRO_TOKEN_BACKEND": "vault",
                "ASTRO_TOKEN_NAME": "secret/a",
                "ASTRO_TOKEN_FIELD": "f",
                "ASTRO_TOKEN_VERSION": "3",
            },
            "vault:secret/a?version=3#f",
        ),
        (
            {"ASTRO_TOKEN_BACKEND": "aws", "ASTRO_TOKEN_NAME": "a", "ASTRO_TOKEN_VERSION": "0" * 32},
            f"aws:a?version_id={'0' * 32}",
        ),
        (
            {"ASTRO_TOKEN_BACKEND": "gcp", "ASTRO_TOKEN_NAME": "p1/a", "ASTRO_TOKEN_VERSION": "latest"},
            "gcp:p1/a?version=latest",
        ),
        (
            {"ASTRO_TOKEN_BACKEND": "sqlite", "ASTRO_TOKEN_NAME": "a", "ASTRO_TOKEN_VERSION": "x"},
            "sqlite:a?version=x",
        ),
        ({"ASTRO_TOKEN_BACKEND": "file", "ASTRO_TOKEN_NAME": "/a b", "ASTRO_TOKEN_FIELD": ""}, "file:/a b"),
    ],
)
def test_the_parts_in_the_environment_make_a_reference(
    tmp_path: Path, environ: dict[str, str], ref: str
) -> None:
    assert ref == str(found(tmp_path, None, environ, any_scheme=True).ref)


@pytest.mark.parametrize(
    ("environ", "error", "complaint"),
    [
        ({**REF, **PARTS}, ConfigError, "ASTRO_TOKEN_REF and ASTRO_TOKEN_BACKEND are both set"),
        ({**REF, "ASTRO_TOKEN_NAME": "x"}, ConfigError, "ASTRO_TOKEN_REF and ASTRO_TOKEN_NAME are both set"),
        (
            {**REF, "ASTRO_TOKEN_FIELD": "x"},
            ConfigError,
            "ASTRO_TOKEN_REF and ASTRO_TOKEN_FIELD are both set",
        ),
        (
            {**REF, "ASTRO_TOKEN_VERSION": "x"},
            ConfigError,
            "ASTRO_TOKEN_REF and ASTRO_TOKEN_VERSION are both set",
        ),
        ({"ASTRO_TOKEN_BACKEND": "env"}, ConfigError, "ASTRO_TOKEN_NAME is not set"),
        ({"ASTRO_TOKEN_NAME": "x"}, ConfigError, "ASTRO_TOKEN_BACKEND is not set"),
        ({"ASTRO_TOKEN_FIELD": "x"}, ConfigError, "ASTRO_TOKEN_BACKEND is not set"),
        ({"ASTRO_TOKEN_VERSION": "3"}, ConfigError, "ASTRO_TOKEN_BACKEND is not set"),
        ({**PARTS, "ASTRO_TOKEN_VERSION": "3"}, ConfigError, "env has no versions"),
        (
            {"ASTRO_TOKEN_BACKEND": "vault", "ASTRO_TOKEN_NAME": "../x"},
            InvalidRefError,
            "not a reference of vault",
        ),
        (
            {"ASTRO_TOKEN_BACKEND": "vault", "ASTRO_TOKEN_NAME": "s/a?kv=1"},
            InvalidRefError,
            "its name contains ? or #",
        ),
        (
            {"ASTRO_TOKEN_BACKEND": "Vault", "ASTRO_TOKEN_NAME": "s/a"},
            InvalidRefError,
            "the scheme is missing or malformed",
        ),
        ({"ASTRO_TOKEN_REF": "vault:x"}, InvalidRefError, "not a reference of vault"),
        ({"ASTRO_TOKEN_REF": "nope"}, UsageError, "neither a reference nor a name"),
    ],
)
def test_an_environment_that_contradicts_itself_or_is_malformed_is_told(
    folder: Path, environ: dict[str, str], error: type[AstroTokenError], complaint: str
) -> None:
    told = failure(folder, None, environ)
    assert error is type(told)
    assert complaint in told.message


def test_an_unknown_name_is_answered_with_the_nearest_and_not_repeated(folder: Path) -> None:
    error = failure(folder, "prodd")
    assert UsageError is type(error)
    assert "did you mean prod? the names are prod, dev" == error.hint
    assert "prodd" not in error.message


def test_a_name_without_a_file_is_told(tmp_path: Path) -> None:
    assert "no project file names a token" in failure(tmp_path, "hunter2").message


@pytest.mark.parametrize(
    "given",
    [
        {"token": "TOKEN"},
        {"environ": {"ASTRO_TOKEN_REF": "TOKEN"}},
        {"environ": {"ASTRO_TOKEN_REF": "vault:secret/TOKEN"}},
        {"environ": {"ASTRO_TOKEN_BACKEND": "file", "ASTRO_TOKEN_NAME": "TOKEN"}},
        {"environ": {**PARTS, "ASTRO_TOKEN_FIELD": "TOKEN"}},
        {
            "environ": {
                "ASTRO_TOKEN_BACKEND": "sqlite",
                "ASTRO_TOKEN_NAME": "x",
                "ASTRO_TOKEN_VERSION": "TOKEN",
            }
        },
        {"token": "env:X", "decrypt": "TOKEN"},
        {"token": "env:X", "environ": {"ASTRO_TOKEN_DECRYPT": "TOKEN"}},
    ],
)
def test_a_token_where_its_name_is_wanted_is_refused_and_not_repeated(
    folder: Path, given: dict[str, Any]
) -> None:
    token = make_token()
    filled: dict[str, Any] = {
        key: {
            name: text.replace("TOKEN", token) if name.startswith("ASTRO") else text
            for name, text in value.items()
        }
        if isinstance(value, dict)
        else value.replace("TOKEN", token)
        for key, value in given.items()
    }
    error = failure(folder, **filled)
    assert InvalidRefError is type(error)
    assert "eyJ" not in f"{error.message} {error.hint}"


# -- the key that decrypts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "decrypt", "environ", "key"),
    [
        ("dev", None, {}, "vault-transit:dev"),
        ("dev", None, {"ASTRO_TOKEN_DECRYPT": "vault-transit:env"}, "vault-transit:env"),
        (
            "dev",
            "vault-transit:argument",
            {"ASTRO_TOKEN_DECRYPT": "vault-transit:env"},
            "vault-transit:argument",
        ),
        ("dev", SecretRef("aws-kms", "alias/x"), {}, "aws-kms:alias/x"),
        ("env:X", None, {"ASTRO_TOKEN_DECRYPT": "plugin:x"}, "plugin:x"),
        ("env:X", None, {"ASTRO_TOKEN_DECRYPT": ""}, None),
        ("prod", None, {}, None),
    ],
)
def test_the_key_comes_from_the_argument_then_the_environment_then_the_file(
    folder: Path, token: str, decrypt: Any, environ: dict[str, str], key: str | None
) -> None:
    ref = found(folder, token, environ, decrypt=decrypt, any_scheme=True).decrypt
    assert key == (str(ref) if ref else None)


@pytest.mark.parametrize("decrypt", ["env:KEY", "file:key", "vault:secret/key"])
def test_what_decrypts_has_to_be_a_key(folder: Path, decrypt: str) -> None:
    assert "--decrypt takes a key reference" == failure(folder, "prod", decrypt=decrypt).message
    error = failure(folder, "prod", {"ASTRO_TOKEN_DECRYPT": decrypt})
    assert "ASTRO_TOKEN_DECRYPT takes a key reference" == error.message


# -- the timeout -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text", "seconds"),
    [
        (None, None, 30.0),
        (None, "", 30.0),
        (None, "5", 5.0),
        (None, "0.5", 0.5),
        (7, "5", 7.0),
        (3600, None, 3600.0),
        (None, "3600", 3600.0),
    ],
)
def test_the_timeout_is_read(folder: Path, given: float | None, text: str | None, seconds: float) -> None:
    environ = {} if text is None else {"ASTRO_TOKEN_TIMEOUT": text}
    assert seconds == found(folder, "prod", environ, timeout=given).timeout


@pytest.mark.parametrize("text", ["0", "-1", "3601", "nan", "inf", "1e9", "5s", "x", " "])
def test_a_timeout_that_is_none_is_told(folder: Path, text: str) -> None:
    assert (
        "ASTRO_TOKEN_TIMEOUT is not a number of seconds"
        == failure(folder, "prod", {"ASTRO_TOKEN_TIMEOUT": text}).message
    )


@pytest.mark.parametrize("given", [0, -1, 3601, float("nan"), float("inf"), pytest.param(10**400, id="huge")])
def test_a_timeout_given_that_is_none_is_told(folder: Path, given: float) -> None:
    error = failure(folder, "prod", timeout=given)
    assert ("the timeout is not between 0 and 3600 seconds", 64) == (error.message, error.exit_code)


@pytest.mark.parametrize(
    ("token", "decrypt"), [("usr:s3cr3tpassword", None), ("env:X", "usr:s3cr3tpassword")]
)
def test_what_no_backend_serves_is_refused_and_not_repeated(
    folder: Path, token: str, decrypt: str | None
) -> None:
    error = failure(folder, token, decrypt=decrypt)
    assert UnknownBackendError is type(error)
    assert "no backend serves this scheme (the part before the colon)" == error.message
    assert "s3cr3t" not in f"{error.hint}"
    assert "usr:" not in f"{error.hint}"


# -- the floor -------------------------------------------------------------------------------------------

FLOOR = "ASTRO_TOKEN_POLICY_"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("environ", "policy"),
    [
        ({}, Policy("workspace", min_validity=HOUR)),
        ({"MAX_SCOPE": "organization"}, Policy("workspace", min_validity=HOUR)),
        ({"MAX_SCOPE": "workspace"}, Policy("workspace", min_validity=HOUR)),
        ({"MAX_SCOPE": "deployment"}, Policy("deployment", min_validity=HOUR)),
        ({"MIN_VALIDITY": "1m"}, Policy("workspace", min_validity=HOUR)),
        ({"MIN_VALIDITY": "1d"}, Policy("workspace", min_validity=DAY)),
        ({"WARN_VALIDITY": "1d"}, Policy("workspace", min_validity=HOUR, warn_validity=DAY)),
        ({"REQUIRE_EXPIRY": "true"}, Policy("workspace", require_expiry=True, min_validity=HOUR)),
        ({"REQUIRE_EXPIRY": "1"}, Policy("workspace", require_expiry=True, min_validity=HOUR)),
        ({"REQUIRE_EXPIRY": "false"}, Policy("workspace", min_validity=HOUR)),
        ({"MAX_SCOPE": "", "REQUIRE_EXPIRY": ""}, Policy("workspace", min_validity=HOUR)),
        ({"ONLINE": "true"}, Policy("workspace", min_validity=HOUR, online=True)),
        ({"ONLINE": "0"}, Policy("workspace", min_validity=HOUR)),
        ({"MAX_AGE": "1d"}, Policy("workspace", min_validity=HOUR, max_age=DAY)),
    ],
)
@pytest.mark.parametrize("token", ["prod", "env:X", None])
def test_the_environments_policy_only_tightens_the_files(
    folder: Path, token: str | None, environ: dict[str, str], policy: Policy
) -> None:
    assert policy == found(folder, token, {FLOOR + name: text for name, text in environ.items()}).policy


def test_a_files_policy_cannot_loosen_the_environments(write: Write) -> None:
    loose = (
        '[policy]\nmax_scope = "organization"\nrequire_expiry = false\nmin_validity = "0s"\nonline = false\n'
        'max_age = "52w"\n'
    )
    folder = write("astro-token.toml", loose).parent
    floor = {
        FLOOR + "MAX_SCOPE": "deployment",
        FLOOR + "REQUIRE_EXPIRY": "true",
        FLOOR + "MIN_VALIDITY": "1d",
        FLOOR + "ONLINE": "true",
        FLOOR + "MAX_AGE": "1d",
    }
    demanded = Policy("deployment", require_expiry=True, min_validity=DAY, online=True, max_age=DAY)
    assert demanded == found(folder, "env:X", floor).policy


def test_an_arguments_policy_only_tightens_too(folder: Path) -> None:
    assert (
        Policy("workspace", min_validity=HOUR) == found(folder, "prod", policy=Policy("organization")).policy
    )
    assert (
        Policy("deployment", min_validity=DAY)
        == found(folder, "prod", policy=Policy("deployment", min_validity=DAY)).policy
    )


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("MAX_SCOPE", "world", "ASTRO_TOKEN_POLICY_MAX_SCOPE is not a scope"),
        ("MAX_SCOPE", "Workspace", "ASTRO_TOKEN_POLICY_MAX_SCOPE is not a scope"),
        ("REQUIRE_EXPIRY", "yes", "ASTRO_TOKEN_POLICY_REQUIRE_EXPIRY is not true or false"),
        ("ONLINE", "yes", "ASTRO_TOKEN_POLICY_ONLINE is not true or false"),
        ("MIN_VALIDITY", "3600", "ASTRO_TOKEN_POLICY_MIN_VALIDITY is not a duration"),
        ("WARN_VALIDITY", "2 weeks", "ASTRO_TOKEN_POLICY_WARN_VALIDITY is not a duration"),
        ("MAX_AGE", "90", "ASTRO_TOKEN_POLICY_MAX_AGE is not a duration"),
        ("WORKSPACE", "a b", "ASTRO_TOKEN_POLICY_WORKSPACE is not an identifier"),
        ("REF", "hunter2", "ASTRO_TOKEN_POLICY_REF contains a malformed reference"),
        ("REF", "env:A,", "ASTRO_TOKEN_POLICY_REF contains a malformed reference"),
        ("REF", "file:a/*", "ASTRO_TOKEN_POLICY_REF contains a relative path"),
        ("CLI_LOCK", "yes", "ASTRO_TOKEN_POLICY_CLI_LOCK is not true or false"),
        ("MAX_SCOP", "workspace", "ASTRO_TOKEN_POLICY_MAX_SCOP is not a policy variable"),
        ("max_scope", "workspace", "ASTRO_TOKEN_POLICY_max_scope is not a policy variable"),
    ],
)
def test_a_malformed_floor_is_an_error_and_not_no_floor(
    folder: Path, name: str, text: str, complaint: str
) -> None:
    error = failure(folder, "prod", {FLOOR + name: text})
    assert (ConfigError, complaint) == (type(error), error.message)


def test_a_file_of_the_project_file_stays_in_the_repository(write: Write) -> None:
    outside = write("outside/token", "")
    folder = write("repo/a/astro-token.toml", "").parent
    root = folder.parent

    def use(ref: str, **environ: str) -> AstroTokenError | None:
        write("repo/a/astro-token.toml", f"[tokens.prod]\nref = 'file:{ref}'\n")
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(outside.parent)
        try:
            found(folder, "prod", environ)
        except AstroTokenError as error:
            return error
        return None

    names = ("t", "b/../t", "../t", "../../outside/token", "link/token", str(outside))
    # Without a repository, only the folder of the file counts.
    assert [None, None, *[ConfigError] * 4] == [use(name) and type(use(name)) for name in names]
    (root / ".git").mkdir()
    assert [None, None, None, *[ConfigError] * 3] == [use(name) and type(use(name)) for name in names]
    error = use("link/token")
    assert error is not None
    assert f"{folder}/astro-token.toml: tokens.prod.ref names a file outside {root}" == error.message
    assert "move the file there, or list its folder in ASTRO_TOKEN_FILE_FOLDERS" == error.hint
    allowed = {"ASTRO_TOKEN_FILE_FOLDERS": os.pathsep.join(("/nowhere", str(outside.parent)))}
    assert [None] * 6 == [use(name, **allowed) for name in names]
    assert use("../../outsider", **allowed) is not None
    relative = use(str(outside), ASTRO_TOKEN_FILE_FOLDERS="outside")
    assert relative is not None
    assert "ASTRO_TOKEN_FILE_FOLDERS contains a relative folder" == relative.message
    # An argument and a variable come from the user.
    assert str(outside) == found(folder, f"file:{outside}").ref.name
    assert str(outside) == found(folder, None, {"ASTRO_TOKEN_REF": f"file:{outside}"}).ref.name


IDENTIFIERS = "workspace = 'clws1'\n"


def test_an_expectation_comes_from_the_floor_and_may_not_contradict_it(write: Write) -> None:
    folder = write("astro-token.toml", f"[tokens.prod]\nref = 'env:X'\n{IDENTIFIERS}").parent
    floor = {FLOOR + "ORGANIZATION": "clorg1", FLOOR + "WORKSPACE": "clws1"}
    assert Expectations("clorg1", "clws1") == found(folder, "prod", floor).expected
    assert Expectations("clorg1", "clws1") == found(folder, "env:X", floor).expected
    error = failure(folder, "prod", {FLOOR + "WORKSPACE": "clws2"})
    assert (PolicyError, "the project file expects workspace clws1, and policy requires clws2") == (
        type(error),
        error.message,
    )
    write("astro-token.toml", f"[policy]\n{IDENTIFIERS}")
    assert "clws1" == found(folder, "env:X", {FLOOR + "WORKSPACE": "clws1"}).policy.workspace
    error = failure(folder, "env:X", {FLOOR + "WORKSPACE": "clws2"})
    assert (PolicyError, "policy requires both clws1 and clws2, and nothing can be for both") == (
        type(error),
        error.message,
    )


def test_a_reference_outside_of_the_floor_is_refused_whatever_names_it(write: Write) -> None:
    folder = write("astro-token.toml", "[tokens.a]\nref = 'env:A'\n[tokens.b]\nref = 'env:B'\n").parent
    floor = {FLOOR + "REF": "env:A, vault:secret/team/*"}
    for token in ("a", "env:A", "env://A", "vault:secret/team/x"):
        assert str(found(folder, token, floor).ref).removeprefix("env:") in {"A", token}
    for refused, environ in (("b", {}), ("env:B", {}), (None, {"ASTRO_TOKEN_REF": "env:B"})):
        error = failure(folder, refused, {**floor, **environ})
        assert (PolicyError, "policy does not allow the reference env:B") == (type(error), error.message)
        assert error.hint is not None
        assert "env:A, vault:secret/team/*" in error.hint
    many = Settings(environ=floor, directory=folder).tokens(None)
    assert [TokenSettings, PolicyError] == [type(one) for one in many]
    write("astro-token.toml", "[policy]\nref = 'env:*'\n[tokens.a]\nref = 'env:A'\n")
    assert "env:A" == str(found(folder, "a", floor).ref)
    error = failure(folder, "vault:secret/team/x", floor)  # allowed by one of them only
    assert PolicyError is type(error)


def test_a_key_outside_of_the_floor_is_refused_whatever_names_it(write: Write) -> None:
    keys = "[tokens.a]\nref = 'env:A'\ndecrypt = 'vault-transit:{}'\n"
    folder = write("astro-token.toml", keys.format("mine")).parent
    floor = {FLOOR + "DECRYPT": "vault-transit:astro, aws-kms:alias/astro"}
    message = "policy does not allow the key vault-transit:mine"
    for environ in ({}, {"ASTRO_TOKEN_DECRYPT": "vault-transit:mine"}):
        error = failure(folder, "a", {**floor, **environ})
        assert (PolicyError, message) == (type(error), error.message)
    assert "vault-transit:astro, aws-kms:alias/astro" in str(error.hint)
    with pytest.raises(PolicyError, match=message):
        resolve("env:A", decrypt="vault-transit:mine", environ=floor, directory=folder)
    assert "vault-transit:astro" == str(
        found(folder, "a", {**floor, "ASTRO_TOKEN_DECRYPT": "vault-transit:astro"}).decrypt
    )
    write("astro-token.toml", keys.format("astro"))
    assert "vault-transit:astro" == str(found(folder, "a", floor).decrypt)


# -- all of them -----------------------------------------------------------------------------------------


def test_all_tokens_of_the_file_come_in_its_order(folder: Path) -> None:
    settings = Settings(environ={**REF, FLOOR + "REQUIRE_EXPIRY": "true"}, directory=folder)
    assert [("prod", True), ("dev", True)] == [
        (settings.name, settings.policy.require_expiry)
        for settings in settings.tokens(None)
        if isinstance(settings, TokenSettings)
    ]


def test_what_is_wrong_with_one_stands_in_its_place(folder: Path) -> None:
    found = Settings(environ={}, directory=folder).tokens(["dev", "env:", "prod", "nope"])
    assert [TokenSettings, InvalidRefError, TokenSettings, UsageError] == [type(one) for one in found]


def test_what_is_wrong_with_all_is_raised(folder: Path) -> None:
    with pytest.raises(ConfigError):
        Settings(environ={"ASTRO_TOKEN_TIMEOUT": "soon"}, directory=folder)


def test_all_of_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no project file names a token"):
        Settings(environ=REF, directory=tmp_path).tokens(None)


def test_this_process_and_its_folder_are_what_counts_where_none_is_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASTRO_TOKEN_REF", "dev")
    assert "env:DEV" == str(resolve().ref)
