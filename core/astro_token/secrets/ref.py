"""References: the name of a secret, safe to log."""

from __future__ import annotations

import re
from types import MappingProxyType

from astro_token.errors import InvalidRefError
from astro_token.record import Record, replace
from astro_token.secrets.schemes import BUILTIN, Scheme
from astro_token.wording import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SecretRef", "contains_token", "decoded_name", "refuse_token"]

_FORM = "scheme:name[?option=value…][#field]"
_MAX = 2048
# C0, DEL, C1, line and paragraph separators, bidirectional and invisible characters, lone surrogates:
# they could forge a line of a log or make a reference look like another.
_UNPRINTABLE = (
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_TOKEN_SHAPE = r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
_NOT_A_REFERENCE = (
    "replace that token if others saw it, store it with `astro-token put`, and give its reference"
)
_ENCODED = r"%[0-9A-Fa-f]{2}"
# Segments that could leave a service's path: `..;` does in some gateways.
_ESCAPES = r"(?:^|[/\\])\.\.?(?:$|[/\\;])"
# No expression is compiled before it is needed: that takes longer than the rest of a simple reference.


def _has_unprintable(text: str) -> bool:
    return not (text.isascii() and text.isprintable()) and re.search(_UNPRINTABLE, text) is not None


def contains_token(text: str) -> bool:
    """True if a part of the text looks like a token."""
    return "eyJ" in text and re.search(_TOKEN_SHAPE, text) is not None


def refuse_token(text: str, *, hint: str = _NOT_A_REFERENCE) -> None:
    """
    Refuse text that looks like a token.

    Raises:
        InvalidRefError: without the text, because messages are often logged.
    """
    if contains_token(text):
        raise InvalidRefError("a token was given where its reference or name is wanted", hint=hint)


class SecretRef(Record):
    """
    Reference to a secret, `scheme:name[?option=value…][#field]`; `scheme://name` means the same.

    Text gives several references separated by commas, so that a comma in one is written as %2C.
    It contains neither a credential nor the address of a service
    (except for an Azure secret's own URL, and the backend checks its host).
    `parse(str(ref))` equals `ref`.

    Attributes:
        scheme: selects the backend.
        name: in the grammar of that backend's service, decoded: in the text, a character that the grammar
            does not allow is percent-encoded.
        field: field of a secret that is a JSON object or a map; None for the default one.
        options: in the order given.

    Raises:
        InvalidRefError: the reference does not match the grammar.
            The message does not repeat the text, which may contain a misplaced secret.
    """

    scheme: str
    name: str
    field: str | None = None
    options: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, scheme: str, name: str, field: str | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(scheme, name, field, MappingProxyType(dict(options or {})))
        if scheme not in BUILTIN and not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", scheme):
            raise InvalidRefError(
                "not a reference: the scheme is missing or malformed", hint=f"the form is {_FORM}"
            )
        texts = [name, *self.options, *self.options.values()]
        if field is not None:
            texts.append(field)
        if not all(texts):
            raise self._invalid("a part of it is empty")
        if any(map(_has_unprintable, texts)):
            raise self._invalid("it contains a control character")
        for text in texts:
            refuse_token(text)
        if len(str(self)) > _MAX:
            raise self._invalid(f"it is longer than {_MAX} characters")
        builtin = BUILTIN.get(scheme)
        if builtin is not None:
            self._check(builtin)
        elif "@" in name.partition("/")[0] or _escapes(name):
            raise self._invalid("it contains a user, or a . or .. segment")

    def __hash__(self) -> int:  # a mapping proxy has no hash before Python 3.12
        return hash((self.scheme, self.name, self.field))

    def _check(self, scheme: Scheme) -> None:
        if not scheme.local:
            if _escapes(self.name):
                raise self._invalid("its path contains a . or .. segment")
            if not scheme.opaque and "//" in self.name.removeprefix("https://"):
                raise self._invalid("a part of its path is empty")
        if not any(re.fullmatch(form, self._encoded_name, re.ASCII) for form in scheme.grammar):
            raise self._invalid("its name is malformed")
        for name, value in self.options.items():
            prefix = f"{name.partition('.')[0]}."
            option = prefix if name.startswith(prefix) and name != prefix else name
            if option not in scheme.options or name == prefix:
                raise self._invalid("it has an unknown option", hint=self._options_hint(name, scheme))
            if not re.fullmatch(scheme.options[option], value, re.ASCII):
                raise self._invalid(f"its option {option} is malformed")
        if scheme.key and self.field is not None:
            raise self._invalid("it names a key, which has no fields")
        if scheme.pins and scheme.version_option in self.options and re.search(scheme.pins, self.name):
            raise self._invalid("its version is given twice")

    def _options_hint(self, name: str, scheme: Scheme) -> str:
        options = sorted(option + ("NAME" if option.endswith(".") else "") for option in scheme.options)
        if not options:
            return f"{self.scheme} takes no options"
        return f"{did_you_mean(name, options)}{self.scheme} takes {', '.join(options)}"

    def _invalid(self, complaint: str, *, hint: str | None = None) -> InvalidRefError:
        scheme = BUILTIN.get(self.scheme)
        form = (
            f"the form is {scheme.form}, for example {scheme.example}" if scheme else f"the form is {_FORM}"
        )
        # Text before a colon that is not a scheme may be a part of a password.
        of = f" of {self.scheme}" if scheme else ""
        return InvalidRefError(f"not a reference{of}: {complaint}", hint=hint or form)

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """
        Parse a reference.

        Raises:
            InvalidRefError: the text does not match the grammar.
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
        if "?" in field and re.search(r"\?[a-z_.]+=", field):
            raise InvalidRefError(
                "not a reference: its options stand after the field", hint=f"the form is {_FORM}"
            )
        if hash_mark and not field:
            raise InvalidRefError("not a reference: the field after # is empty", hint=f"the form is {_FORM}")
        name = decoded_name(scheme, name)
        options = _options(query) if question_mark else {}
        return cls(scheme, name, _decoded_field(field) if hash_mark else None, options)

    def __str__(self) -> str:
        query = "&".join(f"{_quote(name)}={_quote(value)}" for name, value in self.options.items())
        # A name that begins with // would lose it to the other spelling, `scheme://name`.
        slashes = "//" if self.name.startswith("//") else ""
        return (
            f"{self.scheme}:{slashes}{self._encoded_name.replace(',', '%2C')}"
            + (f"?{query}" if query else "")
            + (f"#{_encoded_field(self.field)}" if self.field is not None else "")
        )

    @property
    def _encoded_name(self) -> str:
        builtin = BUILTIN.get(self.scheme)
        return _quoted(self.name, builtin.encoded if builtin else "")

    @property
    def pinned(self) -> bool:
        """True if the reference selects one version, and so cannot be written."""
        scheme = BUILTIN.get(self.scheme)
        if scheme is None:
            return "version" in self.options
        options = not self.options.keys().isdisjoint(scheme.pinning_options)
        if options and self.options.get("version") != "latest":
            return True
        return bool(scheme.pins and re.search(scheme.pins, self.name))

    def without_field(self) -> SecretRef:
        return self if self.field is None else replace(self, field=None)


def decoded_name(scheme: str, text: str) -> str:
    """
    Decode a name as a reference writes it.

    Raises:
        InvalidRefError: it contains a character that must be percent-encoded.
    """
    builtin = BUILTIN.get(scheme)
    if "?" in text or "#" in text:
        raise InvalidRefError(
            "not a reference: its name contains ? or #", hint="write ? as %3F and # as %23 in a name"
        )
    if _has_unprintable(text):
        return text  # refused with the rest of the reference
    if builtin and builtin.encoded and re.search(builtin.encoded, re.sub(_ENCODED, "", text)):
        raise InvalidRefError(
            f"not a reference of {scheme}: its name is malformed",
            hint=f"the form is {builtin.form}; write other characters percent-encoded, a blank as %20",
        )
    if "%" not in text:
        return text
    if not (builtin and (builtin.local or builtin.opaque)) and "%2f" in text.lower():
        raise InvalidRefError("not a reference: its name contains an encoded slash", hint="write /")
    from urllib.parse import unquote

    return unquote(text, errors="surrogateescape")


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
    """True for a name that could leave its service's path, however often it is percent-encoded."""
    if "%" in name:
        from urllib.parse import unquote

        while (decoded := unquote(name)) != name:
            name = decoded
    if not name.isascii():
        from unicodedata import normalize  # some letters look like dots

        name = normalize("NFKC", name)
    return re.search(_ESCAPES, name) is not None


def _quoted(name: str, encoded: str) -> str:
    """Encode the characters of a name that a reference cannot contain, or that this expression matches."""
    if not encoded and not {"%", "?", "#"}.intersection(name):
        return name
    pattern = f"[%?#]|{encoded}" if encoded else "[%?#]"
    return re.sub(pattern, lambda letter: "".join(f"%{byte:02X}" for byte in letter[0].encode()), name)


def _quote(value: str) -> str:
    return "".join(f"%{ord(letter):02X}" if letter in "%&#?+ =," else letter for letter in value)


# A field is written as it is, apart from a comma, and the percent sign where it would be read as an encoding.


def _encoded_field(field: str) -> str:
    if "," in field or "%2" in field:
        field = re.sub("%(?=2[5Cc])", "%25", field).replace(",", "%2C")
    return field


def _decoded_field(text: str) -> str:
    return re.sub("%2([5Cc])", lambda code: "%" if code[1] == "5" else ",", text) if "%2" in text else text
