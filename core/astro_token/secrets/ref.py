"""References: the name of a secret, safe to log."""

from __future__ import annotations

import dataclasses
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from astro_token.errors import InvalidRefError
from astro_token.secrets.schemes import BUILTIN, Scheme
from astro_token.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SecretRef", "refuse_token"]

_FORM = "scheme:name[?option=value…][#field]"
_MAX = 2048
# C0, DEL, C1, line and paragraph separators, bidirectional and invisible characters, lone surrogates:
# what could forge a line of a log or make a reference look like another.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_TOKEN_SHAPE = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
# For schemes whose grammar is not known here: userinfo, and what could walk out of a service's path.
_ESCAPES = re.compile(r"^[^/]*@|(?:^|[/\\])\.\.?(?:$|[/\\])")
_UNSAFE_IN_OPTION = re.compile(r"[%&#?+ =]")


def refuse_token(text: str) -> None:
    """
    Refuses text that looks like a token where a name is wanted.

    Raises:
        InvalidRefError: without the text, which is in the process list already and need not be in a log too.
    """
    if _TOKEN_SHAPE.search(text):
        raise InvalidRefError(
            "a token was given where its reference or name is wanted",
            hint="a command line is readable by every user of the machine: replace that token, "
            "and give the new one on standard input or in a variable",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class SecretRef:
    """
    A reference, `scheme:name[?option=value…][#field]`; `scheme://name` means the same.

    It only names a secret: no credential and no address of a service can be part of it
    (an Azure secret's own URL apart, whose host the backend checks).
    `str()` gives the text from which `parse` makes an equal reference.

    Attributes:
        scheme: which backend reads it.
        name: in the grammar of that backend's service.
        field: which field of the secret, where it is a JSON object or a map; None for the usual one.
        options: in the order given.

    Raises:
        InvalidRefError: it is not in the grammar.
            The message does not repeat the text, which may hold a secret in a wrong place.
    """

    scheme: str
    name: str
    field: str | None = None
    # A mapping proxy has no hash before Python 3.12; equality still compares the options.
    options: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", self.scheme):
            raise InvalidRefError(
                "not a reference: the scheme is missing or malformed", hint=f"the form is {_FORM}"
            )
        texts = [self.name, *self.options, *self.options.values()]
        if self.field is not None:
            texts.append(self.field)
        if any(not text for text in texts):
            raise self._invalid("a part of it is empty")
        if any(_UNPRINTABLE.search(text) for text in texts):
            raise self._invalid("it contains a control character")
        for text in texts:
            refuse_token(text)
        if len(str(self)) > _MAX:
            raise self._invalid(f"it is longer than {_MAX} characters")
        if "?" in self.name or "#" in self.name:
            raise self._invalid("its name contains ? or #")
        scheme = BUILTIN.get(self.scheme)
        if scheme is not None:
            self._check(scheme)
        elif _escapes(self.name):
            raise self._invalid("it contains a user, or a . or .. segment")

    def _check(self, scheme: Scheme) -> None:
        if self.scheme != "file" and any(part in {".", ".."} for part in self.name.split("/")):
            raise self._invalid("its path contains a . or .. segment")
        if self.scheme != "file" and "//" in self.name.removeprefix("https://"):
            raise self._invalid("a part of its path is empty")
        if not any(re.fullmatch(form, self.name, re.ASCII) for form in scheme.names):
            raise self._invalid("its name is malformed")
        for name, value in self.options.items():
            option = "context." if name.startswith("context.") else name
            form = scheme.options.get(option) if name != "context." else None
            if form is None:
                raise self._invalid("it has an unknown option", hint=self._known_options(name, scheme))
            if not re.fullmatch(form, value, re.ASCII):
                raise self._invalid(f"its option {option} is malformed")
        if scheme.key and self.field is not None:
            raise self._invalid("it names a key, which has no fields")
        if scheme.pins and scheme.version_option in self.options and re.search(scheme.pins, self.name):
            raise self._invalid("its version is given twice")
        if self.scheme == "vault" and any(
            part in {".", ".."} for part in self.options.get("namespace", "").split("/")
        ):
            raise self._invalid("its namespace contains a . or .. segment")

    def _known_options(self, name: str, scheme: Scheme) -> str:
        known = sorted(option + ("NAME" if option.endswith(".") else "") for option in scheme.options)
        if not known:
            return f"{self.scheme} takes no options"
        return f"{did_you_mean(name, known)}{self.scheme} takes {', '.join(known)}"

    def _invalid(self, complaint: str, *, hint: str | None = None) -> InvalidRefError:
        scheme = BUILTIN.get(self.scheme)
        form = (
            f"the form is {scheme.form}, for example {scheme.example}" if scheme else f"the form is {_FORM}"
        )
        # What stands where a scheme should may be a part of a password.
        of = f" of {self.scheme}" if scheme else ""
        return InvalidRefError(f"not a reference{of}: {complaint}", hint=hint or form)

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """
        Reads a reference.

        Raises:
            InvalidRefError: it is not in the grammar.
        """
        refuse_token(text)
        scheme, colon, rest = text.partition(":")
        if not colon:
            raise InvalidRefError("not a reference: the scheme is missing", hint=f"the form is {_FORM}")
        rest, hash_mark, field = rest.partition("#")
        name, question_mark, query = rest.partition("?")
        if name.startswith("//"):
            name = name[2:]
            if "@" in name.partition("/")[0]:
                raise InvalidRefError(
                    "not a reference: it contains a user or a password",
                    hint="a reference only names a secret; credentials come from the environment",
                )
        if re.search(r"\?[a-z_.]+=", field):
            raise InvalidRefError(
                "not a reference: its options stand after the field", hint=f"the form is {_FORM}"
            )
        if hash_mark and not field:
            raise InvalidRefError("not a reference: the field after # is empty", hint=f"the form is {_FORM}")
        return cls(scheme, name, field if hash_mark else None, _options(query) if question_mark else {})

    def __str__(self) -> str:
        query = "&".join(f"{_quote(name)}={_quote(value)}" for name, value in self.options.items())
        # A name that begins with // would lose it to the other spelling, `scheme://name`.
        slashes = "//" if self.name.startswith("//") else ""
        return (
            f"{self.scheme}:{slashes}{self.name}"
            + (f"?{query}" if query else "")
            + (f"#{self.field}" if self.field is not None else "")
        )

    @property
    def pinned(self) -> bool:
        """True if it names one version for good, and so cannot be written."""
        scheme = BUILTIN.get(self.scheme)
        if scheme is None:
            return "version" in self.options
        pinning = {"version", "version_id", "stage", "label"}.intersection(self.options)
        if pinning and self.options.get("version") != "latest":
            return True
        return bool(scheme.pins and re.search(scheme.pins, self.name))

    def without_field(self) -> SecretRef:
        return dataclasses.replace(self, field=None)


def _options(query: str) -> dict[str, str]:
    from urllib.parse import unquote

    options: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = (unquote(part, errors="surrogateescape") for part in pair.partition("="))
        if not name or not value:
            raise InvalidRefError("not a reference: an option is empty", hint=f"the form is {_FORM}")
        if name in options:
            raise InvalidRefError("not a reference: an option is given twice", hint=f"the form is {_FORM}")
        options[name] = value
    return options


def _escapes(name: str) -> bool:
    """True for a name that could walk out of its service's path, however often it is percent-encoded."""
    if "%" in name:
        from urllib.parse import unquote

        while (decoded := unquote(name)) != name:
            name = decoded
    return _ESCAPES.search(name) is not None


def _quote(value: str) -> str:
    return _UNSAFE_IN_OPTION.sub(lambda match: f"%{ord(match[0]):02X}", value)
