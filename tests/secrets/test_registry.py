"""From a scheme to its backend, loaded when it is first asked for."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
import zipfile
from importlib import import_module
from importlib.metadata import distribution
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    ConfigError,
    MissingDependencyError,
    UnknownBackendError,
    UnsupportedOperationError,
)
from astro_token.secret import SecretValue
from astro_token.secrets import registry
from astro_token.secrets.plugins import Entry, entries_of
from astro_token.secrets.registry import (
    check_scheme,
    close_backends,
    declared_credentials,
    open_backend,
    plugins,
    require,
)
from astro_token.secrets.schemes import BUILTIN, RESERVED, credential_variables
from astro_token.settings.variables import misspelt_variables
from astro_token.testing import appearances, reachable_text
from astro_token_backends import MODULES
from tests.installed import extra_hint
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DISTRIBUTION = """Metadata-Version: 2.1
Name: {name}
Version: 1.0
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a distribution that offers backends, and can be found like an installed one."""
    monkeypatch.syspath_prepend(tmp_path / "site")

    def make(name: str, entry_points: str, module: str | None = None, text: str = "") -> None:
        folder = tmp_path / "site" / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(DISTRIBUTION.format(name=name))
        (folder / "entry_points.txt").write_text(
            f"[astro_token.backends]\n{entry_points}\n" if entry_points else ""
        )
        if module:
            (tmp_path / "site" / f"{module}.py").write_text(text)

    return make


def failure(call: Callable[[], object]) -> AstroTokenError:
    try:
        call()
    except AstroTokenError as error:
        return error
    raise AssertionError("it did not fail")


class Simple:
    def __init__(self) -> None:
        self.closed = 0

    def read(self, ref: object, *, timeout: float) -> SecretValue:
        return SecretValue(b"")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def simple(monkeypatch: pytest.MonkeyPatch) -> list[Simple]:
    """The backends that were made, each of the class above, whatever the scheme."""
    made: list[Simple] = []

    def factory() -> Simple:
        made.append(Simple())
        return made[-1]

    monkeypatch.setattr(
        registry, "import_module", lambda _: SimpleNamespace(Environment=factory, AgeFile=factory)
    )
    return made


def test_a_backend_is_made_once_a_process(simple: list[Simple]) -> None:
    assert open_backend("env") is open_backend("env")
    assert open_backend("file") is not open_backend("env")
    assert 2 == len(simple)


def test_threads_get_the_same_one(simple: list[Simple]) -> None:
    import threading

    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(open_backend("env"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (1, 1) == (len({id(backend) for backend in got}), len(simple))


def test_closing_gives_back_each_once_and_the_next_is_new(simple: list[Simple]) -> None:
    first = open_backend("env")
    close_backends()
    close_backends()
    assert 1 == first.closed
    assert open_backend("env") is not first


def test_a_backend_that_serves_two_schemes_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Simple()
    module = SimpleNamespace(Environment=lambda: both, AgeFile=lambda: both)
    monkeypatch.setattr(registry, "import_module", lambda _: module)
    assert open_backend("env") is open_backend("file")
    close_backends()
    assert 1 == both.closed


def test_a_backend_that_fails_to_close_keeps_no_other_from_it(
    simple: list[Simple], canary: str, caplog: Any
) -> None:
    bad, good = open_backend("env"), open_backend("file")

    def fail() -> None:
        raise ValueError(canary)

    bad.close = fail
    with caplog.at_level(logging.DEBUG):
        close_backends()
    assert 1 == good.closed
    assert "closing a backend failed with ValueError" in caplog.text
    assert [] == appearances(canary, caplog.text)


def test_a_backend_that_is_being_opened_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def make(_: str) -> Simple:
        opening.set()
        go_on.wait(60)
        return Simple()

    monkeypatch.setattr(registry, "_make", make)
    thread = threading.Thread(target=open_backend, args=("env",), daemon=True)
    thread.start()
    assert opening.wait(10)
    try:
        start = time.monotonic()
        close_backends(within=0.1)
        assert time.monotonic() - start < 10
    finally:
        go_on.set()
        thread.join(10)
        close_backends()


def test_backends_are_closed_at_the_end_of_a_process() -> None:
    program = (
        "from astro_token.secrets import registry\n"
        "class B:\n"
        "    def read(self, ref, *, timeout): ...\n"
        "    def close(self): print('closed')\n"
        "registry._make = lambda scheme: B()\n"
        "registry.open_backend('env')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ("closed\n", "") == (done.stdout, done.stderr)


def test_an_unknown_scheme_is_answered_with_the_nearest_known_one() -> None:
    error = failure(lambda: open_backend("vualt"))
    assert UnknownBackendError is type(error)
    assert (error.hint or "").startswith("did you mean vault? the schemes are airflow, aws, aws-kms, ")


@each_row(
    ("scheme", "package", "extra"),
    [
        ("vault", "hvac", "vault"),
        ("aws", "boto3", "aws"),
        ("gcp", "google-cloud-secret-manager", "gcp"),
        ("gcp-pm", "google-cloud-parametermanager", "gcp"),
        ("azure", "azure-keyvault-secrets", "azure"),
    ],
)
def test_a_missing_sdk_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    def missing(_: str) -> object:
        raise ModuleNotFoundError("No module", name=BUILTIN[scheme].sdk)

    monkeypatch.setattr(registry, "import_module", missing)
    error = failure(lambda: open_backend(scheme))
    assert (MissingDependencyError, extra_hint(extra)) == (type(error), error.hint)
    assert f"{scheme} needs the Python package {package}, which is not installed" == error.message
    assert error.__context__ is None


def test_nothing_of_what_a_factory_raised_is_left_on_the_error(
    monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    secret = SecretValue(canary.encode())

    def wrapped(_: str) -> object:
        body = secret.reveal().decode()
        try:
            raise ValueError(body)
        except ValueError as error:
            raise ConfigError("bad") from error

    def raw(_: str) -> object:
        raise ValueError(secret.reveal().decode())

    for broken, kind in ((wrapped, ConfigError), (raw, BackendError)):
        monkeypatch.setattr(registry, "import_module", broken)
        error = failure(lambda: open_backend("env"))
        assert kind is type(error)
        assert [] == appearances(canary, reachable_text(error))
        assert (None, None) == (error.__cause__, error.__context__)


@each_row(
    ("scheme", "child"),
    [
        ("vault", "hvac.adapters"),
        ("vault-transit", "urllib3.connectionpool"),
        ("aws", "botocore.parsers"),
        ("aws-kms", "boto3.resources"),
        ("gcp", "google.auth.transport"),
        ("gcp-kms", "grpc._channel"),
        ("azure", "azure.identity._internal"),
        ("azure-keys", "msal.token_cache"),
    ],
)
def test_the_loggers_of_an_sdk_are_silent_once_its_backend_is_open(
    monkeypatch: pytest.MonkeyPatch, scheme: str, child: str
) -> None:
    attribute = BUILTIN[scheme].backend.partition(":")[2]
    monkeypatch.setattr(registry, "import_module", lambda _: SimpleNamespace(**{attribute: Simple}))
    noisy = logging.getLogger(child)
    noisy.setLevel(logging.DEBUG)
    open_backend(scheme)
    assert not noisy.isEnabledFor(logging.CRITICAL)
    assert not logging.getLogger(child.partition(".")[0]).propagate
    assert logging.getLogger("astro_token").isEnabledFor(logging.WARNING)


def test_a_plugin_silences_the_loggers_of_every_sdk(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("my-plugin", "my = my_plugin_silent:B", "my_plugin_silent", GOOD)
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "my-plugin")
    noisy = logging.getLogger("botocore.parsers")
    noisy.setLevel(logging.DEBUG)
    open_backend("my")
    assert not noisy.isEnabledFor(logging.CRITICAL)


def test_a_capability_that_is_missing_is_told() -> None:
    error = failure(lambda: require(object(), "read", "memory", "cannot be read"))
    assert (UnsupportedOperationError, "the backend memory cannot be read") == (type(error), error.message)
    made = Simple()
    assert made is require(made, "read", "memory", "cannot be read")


# -- plugins ---------------------------------------------------------------------------------------------

GOOD = """
class B:
    def read(self, ref, *, timeout):
        return b"read"
    def credential_variables(self):
        return ["MY_KEY"]
"""


def test_a_plugin_that_is_not_named_is_not_used_and_not_imported(plugin: Callable[..., None]) -> None:
    plugin("my-plugin", "my = my_plugin:B", "my_plugin", GOOD)
    assert UnknownBackendError is type(failure(lambda: open_backend("my")))
    assert "my_plugin" not in sys.modules


@pytest.mark.parametrize("named", ["my-plugin", "My_Plugin", " my.plugin , ", "my-plugin,my_plugin"])
def test_a_plugin_that_is_named_is_used_however_its_name_is_written(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    plugin("my-plugin", "my = my_plugin_used:B", "my_plugin_used", GOOD)
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", named)
    assert b"read" == open_backend("my").read(None, timeout=1)
    assert {"MY_KEY"} == declared_credentials()


def test_a_plugin_in_an_archive_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "plugins.zip", "w") as archive:
        archive.writestr("zipped-1.0.dist-info/METADATA", DISTRIBUTION.format(name="zipped"))
        archive.writestr("zipped-1.0.dist-info/entry_points.txt", "[astro_token.backends]\nmy = zipped:B\n")
        archive.writestr("zipped.py", GOOD)
    monkeypatch.syspath_prepend(tmp_path / "plugins.zip")
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "zipped")
    assert b"read" == open_backend("my").read(None, timeout=60)


ENTRY_POINTS = """# [astro_token.backends]
[console_scripts]
other = my_plugin:main

[astro_token.backends]
# no = my_plugin:No
my = my_plugin:Made.by [extra]
  second=my_plugin : B

[another.group]
third = my_plugin:C
"""


@pytest.mark.parametrize("name", ["My.Plugin", "my_plugin"])
def test_plugins_are_those_that_importlib_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for place, text in (("first", ENTRY_POINTS), ("second", "[astro_token.backends]\nlate = x:y\n")):
        folder = tmp_path / place / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(DISTRIBUTION.format(name=name))
        (folder / "entry_points.txt").write_text(text)
        (tmp_path / place / "my_plugin_other-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / each) for each in ("nothing", "first", "second")])
    found = distribution("my-plugin").entry_points.select(group="astro_token.backends")
    assert [("my", "my_plugin:Made.by [extra]"), ("second", "my_plugin : B")] == [
        (entry.name, entry.value) for entry in found
    ]
    expected = [Entry(entry.name, entry.value, "my-plugin") for entry in found]
    assert expected == entries_of("my-plugin")
    module = SimpleNamespace(Made=SimpleNamespace(by="made"), B="B")
    monkeypatch.setitem(sys.modules, "my_plugin", module)
    assert ["made", "B"] == [each.load() for each in expected] == [entry.load() for entry in found]


def test_listing_the_plugins_imports_none(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("my-plugin", "my = my_plugin_listed:B", "my_plugin_listed", "raise AssertionError")
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "my-plugin")
    assert ["my"] == list(plugins().entries)


@pytest.mark.parametrize("scheme", sorted(RESERVED))
def test_a_plugin_cannot_claim_a_reserved_scheme(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    plugin("my-plugin", f"{scheme} = nothing:B\nmy = nothing:B")
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "my-plugin")
    message = f"a plugin claims the reserved scheme {scheme}, which stays that of the built-in backend"
    assert [message] == [problem.message for problem in plugins().problems]
    assert ["my"] == list(plugins().entries)
    check_scheme(scheme)


def test_a_built_in_backend_serves_its_scheme_though_a_plugin_claims_it(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("my-plugin", "env = my_plugin_env:B", "my_plugin_env", GOOD)
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "my-plugin")
    assert "astro_token_backends.env" == type(open_backend("env")).__module__
    assert "my_plugin_env" not in sys.modules


def test_two_plugins_cannot_claim_one_scheme(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("one-plugin", "my = nothing:A\none = nothing:A")
    plugin("two-plugin", "my = nothing:B\ntwo = nothing:B")
    plugin("three-plugin", "my = nothing:C")
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "one-plugin,two-plugin,three-plugin")
    error = failure(lambda: open_backend("my"))
    assert (ConfigError, "two plugins claim the scheme my") == (type(error), error.message)
    assert (["one", "two"], ["my"]) == (sorted(plugins().entries), list(plugins().refused))
    check_scheme("one")


@pytest.mark.parametrize("named", ["nothing-installed", "pytest", "../evil", "a b", "-"])
def test_a_distribution_that_offers_no_backend_is_told_and_the_others_work(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    plugin("my-plugin", "my = nothing:B")
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", f"{named},my-plugin")
    for scheme in ("env", "my"):
        check_scheme(scheme)
    error = failure(lambda: check_scheme("other"))
    assert ConfigError is type(error)
    assert error.message.startswith("ASTRO_TOKEN_PLUGINS names a distribution that is not installed")
    assert 1 == len(plugins().problems)


@pytest.mark.parametrize("result", ["'MY_KEY'", "None", "[3]", "1 / 0"])
def test_a_plugin_that_does_not_name_its_credentials_stops_its_use_only(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    """Else its command would see them: the letters of a text are no names."""
    module = f"my_plugin_names_{abs(hash(result))}"
    plugin("my-plugin", f"my = {module}:B", module, GOOD.replace('["MY_KEY"]', result))
    other = f"{module}_other"
    plugin("other-plugin", f"other = {other}:B", other, GOOD.replace("MY_KEY", "OTHER_KEY"))
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "my-plugin,other-plugin")
    open_backend("other")
    assert {"OTHER_KEY"} == declared_credentials()
    open_backend("my")
    error = failure(lambda: declared_credentials(set()))
    message = "the plugin for my does not name its credential variables"
    assert (BackendError, message, None) == (type(error), error.message, error.__context__)
    variables = {"ASTRO_TOKEN_REG": "x", "ASTRO_TOKEN_TIMEOUTS": "x"}
    assert variables.keys() == misspelt_variables(variables).keys()


def test_a_plugin_that_is_no_backend_is_told(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("my-plugin", "my = my_plugin_wrong:B", "my_plugin_wrong", "class B: ...")
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "my-plugin")
    error = failure(lambda: open_backend("my"))
    assert (BackendError, "the plugin for my has no method `read`") == (type(error), error.message)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("import nothing_like_this", MissingDependencyError),
        ("1 / 0", BackendError),
        ("def B(): 1 / 0", BackendError),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_told(
    plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, text: str, kind: type[AstroTokenError]
) -> None:
    module = f"my_plugin_broken_{abs(hash(text))}"
    plugin("my-plugin", f"my = {module}:B", module, text)
    monkeypatch.setenv("ASTRO_TOKEN_PLUGINS", "my-plugin")
    error = failure(lambda: open_backend("my"))
    assert (kind, None) == (type(error), error.__context__)


# -- the table -------------------------------------------------------------------------------------------


def test_every_module_defines_the_schemes_that_it_is_listed_with() -> None:
    for module, schemes in MODULES.items():
        assert schemes == tuple(import_module(f"astro_token_backends.{module}").SCHEMES)


def test_every_scheme_with_an_extra_has_an_sdk_whose_loggers_are_silenced() -> None:
    for row in BUILTIN.values():
        assert bool(row.extra) == bool(row.sdk) == bool(row.loggers)
        assert row.extra is None or row.distributions
        # A logger of our own would go silent, too.
        assert not any("astro_token".startswith(name) for name in row.loggers)


def test_a_scheme_is_read_without_the_others_and_without_an_sdk() -> None:
    code = """
import sys
from astro_token.secrets.schemes import BUILTIN, credential_variables
assert "aws-kms" in BUILTIN and BUILTIN["env"].form == "VARIABLE"
print(sorted(name for name in sys.modules if name.startswith("astro_token_backends.")))
credential_variables()
print(sorted(name for name in sys.modules if name.startswith("astro_token_backends.")))
print({"hvac", "botocore", "grpc", "google", "azure", "requests", "pyrage", "ssl"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    every = [f"astro_token_backends.{module}" for module in sorted(MODULES)]
    assert f"['astro_token_backends.env']\n{every}\nset()\n" == done.stdout, done.stderr


def test_the_credentials_of_every_backend_and_of_ci_identities_are_known() -> None:
    expected = {
        "VAULT_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AZURE_CLIENT_SECRET",
    }
    expected |= {
        "ASTRO_TOKEN_AGE_KEY",
        "ASTRO_TOKEN_ID_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "SYSTEM_ACCESSTOKEN",
    }
    assert expected <= credential_variables()


@each_row("scheme", BUILTIN)
def test_a_variable_that_names_a_file_with_a_credential_is_a_credential(scheme: str) -> None:
    row = BUILTIN[scheme]
    assert set() == set(row.credentials) & set(row.settings)
    # Public keys and certificates, the name of a login, a flag, a folder with the SDK's own data,
    # a file that is not read for a login, and that Airflow's own commands need.
    harmless = {
        "AIRFLOW_CONFIG",
        "ASTRO_TOKEN_AGE_RECIPIENTS_FILE",
        "AWS_DATA_PATH",
        "AZURE_TOKEN_CREDENTIALS",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    }
    ends = "(FILE|PATH|DIR|DIRECTORY|CONFIG|CREDENTIALS?|CERT|KEY|TOKEN|SECRET|PASSWORD|PROFILE)"
    assert set() == {name for name in row.settings if re.search(rf"_{ends}$", name)} - harmless


def test_a_credential_of_vault_has_its_name_in_openbao() -> None:
    names = {name.partition("_")[2]: name for name in BUILTIN["vault"].credentials}
    assert {f"{prefix}_{name}" for name in names for prefix in ("VAULT", "BAO")} == set(
        BUILTIN["vault"].credentials
    )


def test_addresses_and_regions_are_no_credentials() -> None:
    kept = {
        "VAULT_ADDR",
        "VAULT_NAMESPACE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AZURE_AUTHORITY_HOST",
        "PATH",
        "HOME",
    }
    assert set() == kept & credential_variables()


def test_a_forked_child_opens_backends_though_a_thread_of_its_parent_was_opening_one() -> None:
    code = """
import os, threading, time
from astro_token.secrets import registry
slow = threading.Event()
def make(scheme):
    slow.set(); time.sleep(2)
registry._make, real = make, registry._make
threading.Thread(target=registry.open_backend, args=("file",), daemon=True).start()
slow.wait()
child = os.fork()
if not child:
    registry._make = real
    registry.open_backend("env")
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-Wignore", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert "7\n" == done.stdout, done.stderr
