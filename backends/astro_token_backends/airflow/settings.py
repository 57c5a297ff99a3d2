"""The settings of Airflow that name a secrets backend, and the checks of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError, NoStoreError
from astro_token.secret import SecretValue
from astro_token.system.files import open_regular
from astro_token.system.variables import expanded, path_setting, setting, without_line_end
from astro_token.wording import did_you_mean
from astro_token_backends.airflow import SECRETS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from configparser import RawConfigParser

__all__ = ["Kwargs", "is_multi_team", "is_name", "read_settings"]

_MULTI_TEAM = "AIRFLOW__CORE__MULTI_TEAM"
_LONGEST_NAME = 64
_FILE_LIMIT = 4 << 20
_TRUE, _FALSE = ("t", "true", "1"), ("", "f", "false", "0")
# What to do instead of the arguments that people try, and that are not understood.
_INSTEAD = {
    "external_id": 'use assume_role_kwargs: {"ExternalId": "…"}, as Airflow does',
    "proxies": "set HTTPS_PROXY",
    "session": "Airflow itself takes no session from a setting",
}


def read_settings(environ: Mapping[str, str]) -> tuple[str, Kwargs]:
    """
    Return the class of Airflow's secrets backend and its arguments: those of its workers, as in a task.

    Raises:
        NoStoreError: none is configured.
        ConfigError: the arguments are malformed, or come from a source that is not read.
            Without them another secret would be read.
    """
    for section, (backend, kwargs, kwarg) in (("workers", WORKERS), ("secrets", SECRETS)):
        if name := setting(environ, backend):
            return name, Kwargs(_arguments(environ, section, kwargs, kwarg), kwargs)
        _refuse_other_sources(environ, section, backend)
    backend, kwargs, _ = SECRETS
    raise NoStoreError(
        f"{backend} is not set", hint=f"set {backend} and {kwargs} as in the Airflow that uses this backend"
    )


def is_multi_team(environ: Mapping[str, str]) -> bool:
    """
    Raises:
        ConfigError: the setting is neither true nor false.
    """
    text = setting(environ, _MULTI_TEAM).lower()
    if text not in {*_TRUE, *_FALSE}:
        raise ConfigError(f"{_MULTI_TEAM} is neither true nor false", hint="use True or False, or unset it")
    return text in _TRUE


def _arguments(environ: Mapping[str, str], section: str, kwargs: str, kwarg: str) -> dict[str, Any]:
    import json

    text = setting(environ, kwargs)
    if not text:
        _refuse_other_sources(environ, section, kwargs)
    try:
        content = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{kwargs} is not a JSON object",
            hint='write names and texts in double quotes, as in {"NAME": "text"}',
        )
    for name, value in environ.items():
        if name.startswith(kwarg) and name != kwarg and (argument := without_line_end(value)):
            content[name.removeprefix(kwarg).lower()] = argument
    try:
        json.dumps(content, ensure_ascii=False).encode()
        return content
    except UnicodeEncodeError:  # it contains the text, which may be a secret
        pass
    raise ConfigError(
        f"{kwargs} has a character that is not valid Unicode",
        hint="remove \\ud800 to \\udfff, and bytes that are not UTF-8",
    )


def _refuse_other_sources(environ: Mapping[str, str], section: str, variable: str) -> None:
    """
    Raises:
        ConfigError: Airflow gets a setting from a command, from a secret, or from its file.
    """
    for name in (f"{variable}_CMD", f"{variable}_SECRET"):
        if setting(environ, name):
            raise ConfigError(f"{name} is not understood", hint=f"set {variable} itself")
    option = variable.removeprefix(f"AIRFLOW__{section.upper()}__").lower()
    parser = _file(environ)
    for each in (option, f"{option}_cmd", f"{option}_secret"):
        if parser is not None and parser.get(section, each, fallback="").strip():
            raise ConfigError(
                f"{each} of [{section}] in airflow.cfg is not read",
                hint=f"set {variable} to the same value",
            )


def _file(environ: Mapping[str, str]) -> RawConfigParser | None:
    """
    Read airflow.cfg; None without one that Airflow starts with.

    Raises:
        ConfigError: it cannot be read.
    """
    home = path_setting(environ, "AIRFLOW_HOME") or expanded("~/airflow")
    path = path_setting(environ, "AIRFLOW_CONFIG") or f"{home}/airflow.cfg"
    try:
        with open_regular(path) as file:
            data = file.read(_FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None  # Airflow would create it with its defaults, which name no secrets backend
    except (OSError, ValueError):
        data = None
    if data is None or len(data) > _FILE_LIMIT:
        raise ConfigError(
            "airflow.cfg cannot be read, or is longer than 4 MiB, and it may name another secrets backend",
            hint="make it readable, or correct AIRFLOW_HOME or AIRFLOW_CONFIG, which lead to it",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None  # Airflow does not start with it
    from configparser import Error, RawConfigParser

    parser = RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except Error:
        return None  # Airflow does not start with it
    return parser


class Kwargs:
    """
    The arguments of a secrets backend. Each is taken once; one that is left is not understood.

    Attributes:
        variable: the name of their variable, for messages.
        taken: the names of the arguments that were asked for, whether they are set or not.
    """

    def __init__(self, content: dict[str, Any], variable: str) -> None:
        self.variable = variable
        self.taken: set[str] = set()
        self._left = content

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return a text; None if it is null, the default if it is missing."""
        value = self._take(name, default)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "a text")

    def secret(self, name: str) -> SecretValue | None:
        """Return a text that is a secret; None if it is empty."""
        text = self.text(name)
        return SecretValue(text.encode("utf-8", errors="surrogatepass")) if text else None

    def texts(self, name: str, default: str | None = None) -> list[str]:
        """Return the texts of a list, or a single text; nothing if it is null."""
        value = self._take(name, default)
        values = [value] if isinstance(value, str) else [] if value is None else value
        if isinstance(values, list) and all(isinstance(each, str) for each in values):
            return values
        raise self.wrong(name, "a text or a list of texts")

    def choice(self, name: str, default: Any, *values: Any) -> Any:
        value = self._take(name, default)
        if any(type(value) is type(each) and value == each for each in values):
            return value
        import json

        raise self.wrong(name, f"one of {', '.join(map(json.dumps, values))}")

    def ca_file(self, name: str = "verify") -> str:
        """Return the path of a CA. It is empty for true: certificates are verified anyway."""
        value = self._take(name, None)
        if value is None or value is True or isinstance(value, str):
            return value if isinstance(value, str) else ""
        raise ConfigError(
            f"{name} in {self.variable} is not the path of a CA's certificate, or true",
            hint=f"certificates are always verified: set {name} to the file of your CA",
        )

    def number(self, name: str) -> None:
        """Take a number that makes no difference here."""
        value = self._take(name, None)
        if value is not None and type(value) not in {int, float}:
            raise self.wrong(name, "a number")

    def object(self, name: str, *keys: str) -> dict[str, Any]:
        """
        Return an object, empty if it is null.

        Args:
            keys: those that it may have; any, if none is named.
        """
        value = self._take(name, None) or {}
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        for key in value if keys else ():
            if key not in keys:
                shown = key if is_name(key) else "a malformed key"
                raise ConfigError(
                    f"{self.variable}: {shown} in {name} is not understood",
                    hint=f"remove it; {name} may have {', '.join(keys)}",
                )
        return value

    def keys_of(self, name: str, *keys: str) -> dict[str, SecretValue | None]:
        """Return the texts of an object, which are secrets."""
        value = self.object(name, *keys)
        if any(text is not None and not isinstance(text, str) for text in value.values()):
            raise self.wrong(name, "an object of texts")
        return {key: SecretValue(value[key].encode()) if value.get(key) else None for key in keys}

    def text_or_object(self, name: str) -> str | dict[str, Any]:
        value = self._take(name, None) or ""
        if isinstance(value, str | dict):
            return value
        raise self.wrong(name, "a text or an object")

    def words(self, name: str, *keys: str) -> dict[str, list[str]]:
        value = self.object(name, *keys)
        if all(
            isinstance(words, list) and all(isinstance(word, str) for word in words)
            for words in value.values()
        ):
            return value
        raise self.wrong(name, "an object of lists of texts")

    def finish(self) -> None:
        """
        Raises:
            ConfigError: an argument was not taken.
        """
        for name in sorted(self._left):
            shown = name if is_name(name) else "a malformed key"
            raise ConfigError(
                f"{self.variable}: {shown} is not understood",
                hint=_INSTEAD.get(name)
                or did_you_mean(name, sorted(self.taken)) + "remove it, or name the secret by its own scheme",
            )

    def wrong(self, name: str, form: str) -> ConfigError:
        return ConfigError(f"{name} in {self.variable} is not {form}", hint=f"correct {name}")

    def missing(self, name: str, hint: str) -> ConfigError:
        return ConfigError(f"{name} is missing in {self.variable}", hint=hint)

    def _take(self, name: str, default: Any) -> Any:
        self.taken.add(name)
        return self._left.pop(name, default)


def is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and text.isascii() and text.replace("_", "a").isalnum()
