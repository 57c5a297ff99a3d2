"""The two settings of Airflow that name a secrets backend, and the checks of their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError, NoStoreError
from astro_token.system.variables import setting, without_line_end
from astro_token_backends.airflow import BACKEND, KWARG, KWARGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Kwargs", "backend_class"]

# Airflow gets the arguments from these if the variable itself is not set.
_OTHER_SOURCES = (f"{KWARGS}_CMD", f"{KWARGS}_SECRET")
_LONGEST_NAME = 64


def backend_class(environ: Mapping[str, str]) -> str:
    """
    Return the class of Airflow's secrets backend.

    Raises:
        NoStoreError: none is configured.
    """
    name = setting(environ, BACKEND)
    if not name:
        raise NoStoreError(
            f"{BACKEND} is not set",
            hint=f"set {BACKEND} and {KWARGS} as in the Airflow that uses this backend",
        )
    return name


class Kwargs:
    """
    The arguments of a secrets backend. Each is taken once; one that is left is not understood.

    Raises:
        ConfigError: they are not a JSON object, which Airflow itself would ignore;
            or they come from another source, and without them another secret would be read.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        import json

        text = setting(environ, KWARGS)
        for name in _OTHER_SOURCES:
            if not text and setting(environ, name):
                raise ConfigError(
                    f"{name} is not understood", hint=f"set {KWARGS} to the arguments themselves"
                )
        try:
            content = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ConfigError(
                f"{KWARGS} is not a JSON object", hint='for example {"connections_prefix": "x"}'
            )
        self._left: dict[str, Any] = content
        for name, value in environ.items():
            if name.startswith(KWARG) and name != KWARG and (text := without_line_end(value)):
                self._left[name.removeprefix(KWARG).lower()] = text

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return a text; None if it is null, the default if it is missing."""
        value = self._left.pop(name, default)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(name, "a text")

    def texts(self, name: str, default: str) -> list[str]:
        """Return the texts of a list, or a single text; nothing if it is null."""
        value = self._left.pop(name, default)
        values = [value] if isinstance(value, str) else [] if value is None else value
        if isinstance(values, list) and all(isinstance(each, str) for each in values):
            return values
        raise self._wrong(name, "a text or a list of texts")

    def choice(self, name: str, default: Any, *values: Any) -> Any:
        value = self._left.pop(name, default)
        if any(type(value) is type(each) and value == each for each in values):
            return value
        raise self._wrong(name, f"one of {', '.join(map(_shown, values))}")

    def is_true(self, name: str) -> bool:
        """True if it is missing or true, and take it then: it is what happens anyway."""
        if self._left.get(name, True) is not True:
            return False
        self._left.pop(name, None)
        return True

    def words(self, name: str) -> dict[str, list[str]]:
        value = self._left.pop(name, None) or {}
        if isinstance(value, dict) and all(
            isinstance(words, list) and all(isinstance(word, str) for word in words)
            for words in value.values()
        ):
            return value
        raise self._wrong(name, "an object of lists of texts")

    def variable(self, name: str, variable: str, environ: Mapping[str, str]) -> None:
        """
        Take a text that our backend reads from a variable, which must have the same value.

        Raises:
            ConfigError: it has another value, or none.
        """
        value = self.text(name)
        if value and setting(environ, variable) != value:
            raise ConfigError(
                f"{name} in {KWARGS} is only accepted with the same value in {variable}",
                hint=f"set {variable} to the value of {name}",
            )

    def environment(self, names: Mapping[str, str], convert: Callable[[str, str], str]) -> dict[str, str]:
        """Return the variables that stand for arguments."""
        texts = {name: self.text(name) for name in names}
        return {names[name]: convert(name, text) for name, text in texts.items() if text}

    def finish(self) -> None:
        """
        Raises:
            ConfigError: an argument was not taken.
        """
        for name in sorted(self._left):
            shown = name if _is_name(name) else "a malformed key"
            raise ConfigError(
                f"{KWARGS}: {shown} is not understood", hint="remove it, or name the secret by its own scheme"
            )

    def _wrong(self, name: str, form: str) -> ConfigError:
        return ConfigError(f"{name} in {KWARGS} is not {form}", hint=f"correct {name}")


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and text.isascii() and text.replace("_", "a").isalnum()


def _shown(value: Any) -> str:
    import json

    return json.dumps(value)
