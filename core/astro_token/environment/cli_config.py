"""
The Astro CLI's configuration files: `.astro/config.yaml` of the project and of the home, and for 2.0
`[tool.astro]` of the project's pyproject.toml.

The project's file takes precedence over the home's, and the CLI builds the API's address from it: anyone who
can write the file can have the token sent to any server. So a command starts only if every line of the file
was understood, every key is in a list of harmless keys, and every value is safe.

The reader accepts the part of YAML that the CLI writes and that people write: block maps of scalars, and
lists of scalars. Everything that YAML could read in another way is refused, with its line.

In pyproject.toml, a domain and the addresses of links decide where 2.0 sends the token of the environment.
Only the domain of `ASTRO_DOMAIN`, or Astro's own, is safe: the project can never move the token.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from astro_token.environment.context import DEFAULT_DOMAIN
from astro_token.errors import ConfigError, PolicyError
from astro_token.record import Record
from astro_token.system.variables import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from astro_token.environment.manifest import Manifest

    Registries = Sequence[Sequence[str]]

__all__ = [
    "CONFIG_FILE",
    "CliConfig",
    "ConfigSyntaxError",
    "Problem",
    "home_file",
    "manifest_problems",
    "manifest_problems_above",
    "parse",
    "problems_of",
    "read",
    "refuse_unsafe",
    "registry_problems",
    "unsafe",
    "user_settings",
    "warn_unsafe",
]

CONFIG_FILE = Path(".astro", "config.yaml")
KEYS_VARIABLE = "ASTRO_TOKEN_CLI_KEYS"
_MAX_BYTES = 64 * 1024
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KEY_CHARACTERS = f"{_LETTERS}{_LETTERS.upper()}0123456789_-"
# YAML reads these as something other than a text.
_NOT_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_NULLS = frozenset({"~", "null", "Null", "NULL", "{}", "[]"})

# -- keys and values ---------------------------------------------------------------------------------

ASTRO_REGISTRY = "images.astronomer.cloud"
_REGISTRIES = {"remote.base_image_registry": ("", ASTRO_REGISTRY), "remote.client_registry": ("",)}
# These decide where the token is sent: only the CLI's own defaults, which it writes itself, are safe.
_DEFAULTS = {
    "cloud.api.protocol": ("https",),
    "cloud.api.port": ("443",),
    "cloud.api.ws_protocol": ("wss",),
    "cloud.api.token": ("",),
    "context": ("",),
    "contexts": ("",),
    "local.astrohub": ("http://localhost:8871/v1",),
    "local.core": ("http://localhost:8888", "http://localhost:8888/v1", "http://localhost:8888/v1alpha1"),
    "local.houston": ("",),
    "local.platform": ("cloud",),
    "local.public_astrohub": ("http://localhost:8871/graphql",),
    "local.registry": ("localhost:5555",),
}
_SECTIONS = ("cloud", "context", "contexts", "local", "remote")
_HARMLESS = frozenset({
    "airflow.expose_port", "api-server.port", "auto_select", "container.binary", "cosmos_boost.pre_deploy",
    "deploy.git_metadata", "dev.build_secrets", "dev.mode", "disable_astro_run", "disable_env_objects",
    "duplicate_volumes", "houston.dial_timeout", "houston.skip_verify_tls", "interactive", "machine.cpu",
    "machine.memory", "otto.auto_update", "page_size", "postgres.host", "postgres.password", "postgres.port",
    "postgres.repository", "postgres.tag", "postgres.user", "project.deployment", "project.name",
    "project.workspace", "proxy.port", "ruff.image", "sha_as_tag", "show_warnings", "skip_parse",
    "telemetry.anonymous_id", "telemetry.enabled", "telemetry.notice_shown", "upgrade_message", "verbosity",
    "webserver.port",
})  # fmt: skip
_KEYS = frozenset({*_HARMLESS, *_REGISTRIES, *_DEFAULTS})
_CONTEXTS = ("context", "contexts")
# The reader keeps no value of these.
_SECRETS = ("token", "refreshtoken")


class CliConfig(Record):
    """
    The content of one file.

    Attributes:
        values: by dotted key in lower case; empty values are "", lists are tuples, and secrets are "…".
        lines: the line of each of these keys.
    """

    values: Mapping[str, str | tuple[str, ...]]
    lines: Mapping[str, int]

    def text(self, key: str) -> str:
        """Return the value of a key; "" if it is missing or a list."""
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""


class Problem(Record):
    """
    A reason not to give the Astro CLI a token with this file.

    Attributes:
        code: of the finding that `check --deploy` reports.
        message: with the file and the line.
    """

    code: str
    message: str
    hint: str


class ConfigSyntaxError(Exception):
    """
    A line is outside the part of YAML that is read.

    Attributes:
        line: its number, from 1; 0 for the file itself.
        reason: follows the line's number in a message.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line, self.reason = line, reason


# -- reading -------------------------------------------------------------------------------------------


def read(path: Path, *, own: bool = False) -> CliConfig | None:
    """
    Read a file; None if there is none.

    Args:
        own: it must belong to us or root, and nobody else may be able to write to it.

    Raises:
        ConfigSyntaxError: it cannot be read, or not all of it was understood.
    """
    from astro_token.system.files import open_regular, others_can_write, owned

    try:
        with open_regular(path) as file:
            if own and not owned(file):
                raise ConfigSyntaxError(0, "belongs to another user")
            if own and others_can_write(file):
                raise ConfigSyntaxError(0, "can be written by other users")
            data = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # the Astro CLI may be able to read it, or later
        raise ConfigSyntaxError(0, "cannot be read, or is not a regular file") from None
    if len(data) > _MAX_BYTES:
        raise ConfigSyntaxError(0, f"is longer than {_MAX_BYTES // 1024} KiB")
    return parse(data)


def parse(data: bytes) -> CliConfig:
    """
    Read the content of a file.

    Raises:
        ConfigSyntaxError: not all of it was understood.
    """
    reader = _Reader()
    for number, line in enumerate(_lines(data), 1):
        content = line.strip(" ")
        if content and content[0] != "#":
            try:
                reader.add(number, len(line) - len(line.lstrip(" ")), content)
            except ValueError as error:
                raise ConfigSyntaxError(number, str(error)) from None
    return CliConfig(reader.values, reader.lines)


def _lines(data: bytes) -> list[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigSyntaxError(data.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        # YAML takes further characters for line ends, and drops others.
        if not line.isprintable():
            raise ConfigSyntaxError(number, "has a tab, a control character or an unusual blank")
    return lines


class _Reader:
    """Reads line by line, and keeps the open keys with their indents."""

    def __init__(self) -> None:
        self.values: dict[str, str | tuple[str, ...]] = {}
        self.lines: dict[str, int] = {}
        self._keys: set[str] = set()
        self._open: list[tuple[int, str]] = []
        self._started = False
        self._empty = False  # the last key has no value yet: deeper lines may give it one
        self._items = -1  # the indent of the list that the last key has; -1 for none

    def add(self, number: int, indent: int, content: str) -> None:
        """Add a line; raise `ValueError` if it is outside the part of YAML that is read."""
        if indent == 0 and content.startswith("---") and not content[3:].partition(" #")[0].strip(" "):
            if self._started:
                raise ValueError("starts a second document")
            self._started = True
            return
        self._started = True
        if content == "-" or content.startswith("- "):
            self._item(indent, content[1:].strip(" "))
        else:
            self._key(number, indent, content)

    def _item(self, indent: int, text: str) -> None:
        if not self._empty or indent < self._open[-1][0] or self._items not in {-1, indent}:
            raise ValueError("is a list item without a key")
        self._items = indent
        name = self._open[-1][1]
        items = self.values[name] or ()
        self.values[name] = (*items, _redacted(name, _scalar(text)))

    def _key(self, number: int, indent: int, content: str) -> None:
        key, rest = _split(content)
        level = -1
        while self._open and self._open[-1][0] >= indent:
            level = self._open.pop()[0]
        if level >= 0:
            if level != indent:
                raise ValueError("has an indent that no line above it has")
        elif self._open and (not self._empty or self._items >= 0):
            raise ValueError("continues the value above it")
        parent = self._open[-1][1] if self._open else ""
        name = f"{parent}.{key}" if parent else key
        if name in self._keys:
            raise ValueError("repeats a key")
        self._keys.add(name)
        self._open.append((indent, name))
        self._empty, self._items = not rest or rest[0] == "#", -1
        self.values.pop(parent, None)  # it has keys, and no value
        self.values[name] = "" if self._empty else _redacted(name, _scalar(rest))
        self.lines[name] = number


def _split(content: str) -> tuple[str, str]:
    """Split a line into its key, in lower case as the Astro CLI compares it, and the text after the colon."""
    quoted = content[0] in "\"'"
    if quoted:
        key, _, rest = content[1:].partition(content[0])
        colon, rest = rest[:1], rest[1:]
    else:
        key, colon, rest = content.partition(":")
    if colon != ":" or (rest and rest[0] != " "):
        raise ValueError("is not `key: value`")
    # A dot separates the keys of the CLI's own paths; YAML gives the other forms a special meaning.
    if not key or key.strip(_KEY_CHARACTERS) or (not quoted and (key[0] == "-" or key.lower() in _NOT_TEXT)):
        raise ValueError("has a key that is not made of letters, digits, - and _")
    return key.lower(), rest.strip(" ")


def _scalar(text: str) -> str:
    """Parse a scalar on one line; "" for null and for an empty map or list."""
    refused = ValueError("has a value that is not one bare or quoted text")
    if not text:
        raise refused
    if text[0] in "\"'":
        value, end, rest = text[1:].partition(text[0])
        if not end or (text[0] == '"' and "\\" in value) or (rest.strip(" ") and rest.lstrip(" ")[0] != "#"):
            raise refused
        if rest and rest[0] != " ":
            raise refused
        return value
    text = text.partition(" #")[0].rstrip(" ")
    if text in _NULLS:
        return ""
    if text[0] in "?:,[]{}#&*!|<>=%@`" or ": " in text or text.endswith(":"):
        raise refused
    if text[0] == "-" and not text[1:2].isdigit():
        raise refused
    return text


def _redacted(name: str, value: str) -> str:
    return "…" if value and name.rpartition(".")[2] in _SECRETS else value


# -- problems ------------------------------------------------------------------------------------------


def home_file(environ: Mapping[str, str]) -> Path | None:
    """Return the path of the file in the user's own home of the Astro CLI."""
    home = setting(environ, "ASTRO_HOME") or setting(environ, "HOME")
    return Path(home) / CONFIG_FILE if home else None


def _is_home(folder: Path, environ: Mapping[str, str]) -> bool:
    """Test if a folder is the user's own home of the Astro CLI: by any name, because links may lead to it."""
    file = home_file(environ)
    try:
        return file is not None and folder.samefile(file.parent.parent)
    except OSError:
        return False


def unsafe(
    config: CliConfig, *, home: bool, accepted: Collection[str] = ()
) -> Iterator[tuple[str, str, str]]:
    """
    Yield the keys that keep the Astro CLI from getting a token, each with a code and a reason.

    Args:
        home: the file is the user's own: contexts belong there, and other keys are not copied.
        accepted: further keys that are harmless.
    """
    for name, value in config.values.items():
        section = name.partition(".")[0]
        if value == "" and any(key.startswith(f"{name}.") for key in _KEYS):
            continue
        if home and (section in _CONTEXTS or (name == "local.core" and _is_loopback(value))):
            continue
        if name in _DEFAULTS or section in {"cloud", "local", *_CONTEXTS}:
            if value not in _DEFAULTS.get(name, ()):
                code = "plain-http" if name == "cloud.api.protocol" else "other-api"
                yield name, code, "decides where the Astro CLI sends the token"
        elif name == "container.binary":
            if not isinstance(value, str) or (("/" in value or "\\" in value) and not home):
                yield name, "other-api", "names a program of the checkout, which would get the token"
        elif name == "dev.build_secrets":
            if "ASTRO_API_TOKEN" in str(value).upper():
                yield name, "other-api", "gives the token to the image's build"
        elif name not in _KEYS and name not in accepted and not home:
            yield name, "config-unread", "is not in the list of harmless keys"


def problems_of(
    path: Path, environ: Mapping[str, str], *, shown: Path | None = None, home: bool = False
) -> tuple[CliConfig | None, list[Problem]]:
    """
    Read a file, and list the reasons not to give the Astro CLI a token.

    Args:
        shown: the path for messages.
        home: the file is the one of the user's home.

    Raises:
        ConfigError: `ASTRO_TOKEN_CLI_KEYS` names a key that it must not.
    """
    shown = shown or path
    accepted = _accepted(environ)
    home = home or _is_home(path.parent.parent, environ)
    try:
        config = read(path, own=home)
    except ConfigSyntaxError as error:
        hint = (
            "write one `key: value` per line, indent with spaces, and use no tags, anchors, braces or escapes"
            if error.line
            else "make it a file of your own that others cannot write to, or remove it"
        )
        where = f"{shown} line {error.line}" if error.line else str(shown)
        message = f"{where} {error.reason}: the Astro CLI could send the token to another server"
        return None, [Problem("config-unread", message, hint)]
    if config is None:
        return None, []
    problems = []
    for name, code, reason in unsafe(config, home=home, accepted=accepted):
        key = name[:80]
        hint = f"remove {key} from it, and check who added it"
        if code == "config-unread":
            hint = f"correct or remove {key}; if it is harmless, add it to {KEYS_VARIABLE}"
        problems.append(Problem(code, f"{shown} line {config.lines[name]}: {key} {reason}", hint))
    return config, problems


def manifest_problems(
    manifest: Manifest, environ: Mapping[str, str], *, shown: Path | None = None
) -> list[Problem]:
    """
    List the reasons in pyproject.toml not to give Astro CLI 2.0 a token.

    `ASTRO_TOKEN_CLI_KEYS` can accept the `auth` of a link and `build-secrets`, but no other domain.

    Args:
        shown: the path for messages.

    Raises:
        ConfigError: `ASTRO_TOKEN_CLI_KEYS` names a key that it must not.
    """
    from astro_token.environment.manifest import ROOT, host_of

    shown = shown or manifest.path
    if not manifest.understood:
        message = f"{shown} is not understood, and may have [{ROOT}]"
        return [
            Problem(
                "config-unread",
                f"{message}: the Astro CLI could send the token to another server",
                "make it a regular file of valid TOML 1.0 and at most 256 KiB, with tool.astro and its keys "
                "in lower case",
            )
        ]
    problems = []
    own = host_of(setting(environ, "ASTRO_DOMAIN") or DEFAULT_DOMAIN)
    if manifest.domain is not None and host_of(manifest.domain) != own:
        problems.append(
            Problem(
                "other-api",
                f"{shown}: {ROOT}.domain decides where the Astro CLI sends the token, "
                "and is not the domain of the environment",
                "remove it, and check who added it; if it is yours, set ASTRO_DOMAIN to it",
            )
        )
    accepted = _accepted(environ)
    problems += [
        Problem(
            "other-api",
            f"{shown}: {key} {reason}",
            f"remove it, and check who added it; if it is harmless, add {key} to {KEYS_VARIABLE}",
        )
        for key, reason in manifest.exposures
        if key.lower() not in accepted
    ]
    return problems


def manifest_problems_above(folder: Path, environ: Mapping[str, str]) -> list[Problem]:
    """
    List the problems of the nearest pyproject.toml with the table, from a folder upwards.

    The Astro CLI starts at the name in PWD if it leads to the folder: above a link there are other folders.

    Raises:
        ConfigError: as `manifest_problems`.
    """
    names = [os.path.abspath(folder)]  # noqa: PTH100
    pwd = environ.get("PWD", "")
    with suppress(OSError, ValueError):
        if os.path.isabs(pwd) and os.path.samefile(pwd, folder):  # noqa: PTH117, PTH121
            names.append(os.path.normpath(pwd))
    problems: list[Problem] = []
    for name in map(Path, dict.fromkeys(names)):
        if any(os.path.exists(each / "pyproject.toml") for each in (name, *name.parents)):  # noqa: PTH110
            from astro_token.environment.manifest import find_manifest

            if manifest := find_manifest(name):
                problems += manifest_problems(manifest, environ)
    return problems


def refuse_unsafe(
    folder: Path,
    environ: Mapping[str, str],
    *,
    registry: bool = True,
    registries: Registries | None = None,
    home: bool = False,
) -> None:
    """
    Check the configuration of the project in a folder before the Astro CLI starts there with a token.

    Args:
        registry: check the registry that would get the token; remote execution needs one.
        registries: of policy; another registry is an error, and a warning without a policy.
        home: check the user's home too, which a command without a private home uses.

    Raises:
        ConfigError: a file was not understood, or it is not safe.
        PolicyError: policy does not allow the registry.
    """
    config, problems = _problems(folder, environ, home=home)
    for problem in problems:
        raise ConfigError(problem.message, hint=problem.hint)
    for problem in registry_problems(folder, config, registries) if registry else ():
        if registries is not None:
            raise PolicyError(problem.message, hint=problem.hint)
        from astro_token.log import logger

        logger.warning("%s", problem.message)


def warn_unsafe(folder: Path, environ: Mapping[str, str], registries: Registries | None = None) -> None:
    """Log the problems that `refuse_unsafe` would refuse, for a token that another program will use."""
    from astro_token.log import logger

    config, problems = _problems(folder, environ, home=True)
    for problem in (*problems, *registry_problems(folder, config, registries)):
        logger.warning("%s", problem.message)


def _problems(
    folder: Path, environ: Mapping[str, str], *, home: bool
) -> tuple[CliConfig | None, list[Problem]]:
    path = folder / CONFIG_FILE
    config, problems = problems_of(path, environ)
    problems += manifest_problems_above(folder, environ)
    file = home_file(environ)
    if home and file is not None and file != path:
        problems += problems_of(file, environ, home=True)[1]
    return config, problems


def registry_problems(
    folder: Path, config: CliConfig | None, registries: Registries | None
) -> Iterator[Problem]:
    """Yield the problem of a registry in the project's file, an error if policy lists registries."""
    if config is None or not other_registry(config, registries):
        return
    message = f"{folder / CONFIG_FILE} names a registry that the Astro CLI sends the token to"
    if registries is not None:
        message += ", and policy does not allow it"
    yield Problem("other-registry", message, "remove it, or add it to registries of policy if it is yours")


def other_registry(config: CliConfig, registries: Registries | None) -> bool:
    """
    Test if the file names a registry that is neither Astronomer's nor allowed.

    Args:
        registries: lists of names; an allowed one is in each, or below a name of each.
    """
    values = {name: config.values.get(name, "") for name in _REGISTRIES}
    return any(
        value not in _REGISTRIES[name]
        and not (registries and all(_listed(value, names) for names in registries))
        for name, value in values.items()
    )


def _listed(registry: object, names: Sequence[str]) -> bool:
    return isinstance(registry, str) and any(f"{registry}/".startswith(f"{name}/") for name in names)


def user_settings(environ: Mapping[str, str]) -> Mapping[str, str | tuple[str, ...]]:
    """
    Return the settings of the user's home for a private home, without contexts, which hold tokens.

    Nothing is copied from a file that was not understood, is not safe, or could be another user's.
    """
    from astro_token.log import logger

    path = home_file(environ)
    if path is None:
        return {}
    config, problems = problems_of(path, environ, home=True)
    for problem in problems:
        logger.warning("%s: the command gets none of your settings", problem.message)
    if config is None or problems:
        return {}
    return {
        name: value
        for name, value in config.values.items()
        if name in _KEYS and value and name.partition(".")[0] not in _CONTEXTS
    }


def _accepted(environ: Mapping[str, str]) -> frozenset[str]:
    names = [name.strip().lower() for name in setting(environ, KEYS_VARIABLE).split(",") if name.strip()]
    for name in names:
        if name.partition(".")[0] in _SECTIONS:
            raise ConfigError(
                f"{KEYS_VARIABLE} lists a key of {name.partition('.')[0]}, which can redirect the token",
                hint="remove it from the list; such keys are never accepted",
            )
    return frozenset(names)


def _is_loopback(address: object) -> bool:
    """Accept http to this machine by name or address, with one of the CLI's paths."""
    import re

    pattern = r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/(v1|v1alpha1)?)?"
    return isinstance(address, str) and re.fullmatch(pattern, address) is not None
