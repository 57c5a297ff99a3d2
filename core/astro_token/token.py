"""
The grammar of an Astro API token, and its claims.

An Astro API token is a JWT that Astro signs and verifies; here only its form is checked.
The form matters, because the Astro CLI puts it into an HTTP header, a YAML file and a bash command line:
nothing but `[A-Za-z0-9_-]` and two dots gets past this module.
"""

from __future__ import annotations

from datetime import UTC, datetime

from astro_token.errors import InvalidTokenError
from astro_token.record import Record
from astro_token.secret import SecretValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal, NoReturn, Protocol

    Scope = Literal["organization", "workspace", "deployment"]

    class Reference(Protocol):
        """Name of a secret: `secrets.ref.SecretRef`, which is not imported by a base type."""

        @property
        def scheme(self) -> str: ...
        @property
        def name(self) -> str: ...
        @property
        def field(self) -> str | None: ...
        @property
        def options(self) -> Mapping[str, str]: ...

else:
    Scope = str  # typing is not imported at run time

__all__ = [
    "MAX_TOKEN_BYTES",
    "SCOPES",
    "AstroToken",
    "Scope",
    "decode_part",
    "is_identifier",
    "is_jwt",
    "normalise",
    "unquoted",
]

SCOPES: tuple[Scope, ...] = ("organization", "workspace", "deployment")  # from wide to narrow

# An environment variable of 128 KiB fails in exec; real tokens have about 1 KiB.
MAX_TOKEN_BYTES = 16 * 1024
_MAX_IDENTIFIER = 128
_BASE64URL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_BLANK = b" \t\r\n"


def is_jwt(data: bytes) -> bool:
    """Accept the form of a signed JWT: three parts of base64url without padding, with dots between them."""
    parts = data.split(b".")
    return len(parts) == 3 and all(part and not part.translate(None, _BASE64URL) for part in parts)  # noqa: PLR2004


def decode_part(part: bytes) -> dict[str, Any] | None:
    """Decode the header or the claims of a JWT; None if the part is not a JSON object."""
    import json
    from base64 import urlsafe_b64decode

    try:
        text = urlsafe_b64decode(part + b"=" * (-len(part) % 4)).decode()
        decoded = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity are not JSON


def is_identifier(text: object) -> bool:
    """Accept Astro's identifiers, which go into a YAML file and onto terminals."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= _MAX_IDENTIFIER
        and text.isascii()
        and text[0].isalnum()
        and not text.encode().translate(None, _BASE64URL + b".")
    )


class AstroToken(Record):
    """
    An Astro API token and its claims, which are proven only when Astro has accepted the token.

    Attributes:
        secret: the token's text, and the version of its secret.
        scope: the narrowest kind of identifier among its permissions.
        organization, workspace, deployment: these identifiers; None if it names none.
            If it names several of a kind, the last one counts, as in the Astro CLI.
        token_id: Astro's identifier of the token, for looking it up.
        issued, not_before, expires: aware times in UTC; None if the claim is missing.
        doubts: verdict codes of defects that make Astro unlikely to accept it; most tokens have none.
        ref: its reference (`SecretRef`); None if it was not read by reference.
        chain: all references of the chain that `ref` is one of; empty without a chain.
    """

    secret: SecretValue
    scope: Scope
    organization: str | None = None
    workspace: str | None = None
    deployment: str | None = None
    token_id: str | None = None
    issued: datetime | None = None
    not_before: datetime | None = None
    expires: datetime | None = None
    doubts: tuple[str, ...] = ()
    ref: Reference | None = None
    chain: tuple[Reference, ...] = ()

    @classmethod
    def parse(cls, value: SecretValue) -> AstroToken:
        """
        Parse a value, expired or not.

        Line ends and blanks around it, a byte-order mark, one matched pair of quotes and a `Bearer ` prefix
        are removed first: backends and people add them, and each of them breaks the Astro CLI obscurely.

        Raises:
            InvalidTokenError: it is not an Astro API token. The message contains only the kind of defect.
        """
        secret = normalise(value)
        parsed = _parse(secret)
        if isinstance(parsed, AstroToken):
            return parsed
        raise InvalidTokenError(
            f"the value is not an Astro API token: {parsed}",
            hint="store the token as Astro showed it when it was created, or create a new one",
        )

    def reveal(self) -> str:
        """Return the token's text."""
        return self.secret.reveal().decode("ascii")


def normalise(value: SecretValue) -> SecretValue:
    """Remove the additions of backends and people around a token."""
    data = unquoted(value.reveal())
    if data[:7].lower() == b"bearer ":
        data = unquoted(data[7:])
    return SecretValue(data, value.version)


def unquoted(data: bytes) -> bytes:
    """Remove a byte-order mark, line ends and blanks around a text, and one matched pair of quotes."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as PowerShell writes files
        data = data.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    data = data.removeprefix(b"\xef\xbb\xbf").strip(_BLANK)
    if len(data) > 1 and data[:1] == data[-1:] and data[:1] in {b'"', b"'"}:
        data = data[1:-1].strip(_BLANK)
    return data


# The functions below return their complaint instead of raising it,
# so that no frame with a part of the value is ever in a traceback.


def _parse(secret: SecretValue) -> AstroToken | str:
    data = secret.reveal()
    if not data:
        return "it is empty"
    if len(data) > MAX_TOKEN_BYTES:
        return f"it is longer than {MAX_TOKEN_BYTES} bytes"
    if not is_jwt(data):
        return "it does not consist of three parts of letters, digits, - and _ with dots between them"
    header_text, claims_text, signature = data.split(b".")
    header, claims = decode_part(header_text), decode_part(claims_text)
    if header is None or not isinstance(header.get("alg"), str):
        return "its first part is damaged or cut off"
    if claims is None:
        return "its second part is damaged or cut off"
    issued, not_before, expires = times = [_time(claims.get(name)) for name in ("iat", "nbf", "exp")]
    if False in times:
        return "its iat, nbf or exp is not a number"
    names = _names(claims.get("permissions"))
    if isinstance(names, str):
        return names
    token_id = claims.get("apiTokenId")
    if token_id is not None and not is_identifier(token_id):
        return "its apiTokenId is malformed"
    return AstroToken(
        secret=secret,
        scope=next((scope for scope in reversed(SCOPES) if scope in names), "organization"),
        organization=names.get("organization"),
        workspace=names.get("workspace"),
        deployment=names.get("deployment"),
        token_id=token_id,
        issued=issued or None,
        not_before=not_before or None,
        expires=expires or None,
        doubts=_doubts(header["alg"], len(signature)),
    )


def _names(permissions: object) -> dict[str, str] | str:
    """Collect the identifiers among the permissions, as in `workspaceId:clx…`; or return a complaint."""
    if permissions is None or permissions == []:
        return "it has no permissions, like the token of a person's login"
    if not isinstance(permissions, list) or not all(isinstance(entry, str) for entry in permissions):
        return "its permissions are malformed"
    names: dict[str, str] = {}
    for entry in permissions:
        kind, colon, name = entry.partition(":")
        if not colon:  # the Astro CLI panics on it
            return "one of its permissions has no colon"
        if kind.endswith("Id") and kind.removesuffix("Id") in SCOPES:
            if not is_identifier(name):
                return "one of its permissions is malformed"
            names[kind.removesuffix("Id")] = name
    return names


def _time(seconds: object) -> datetime | Literal[False] | None:
    """Convert seconds since 1970; None if the claim is missing, False if it is not a number."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return False
    if seconds < 0:
        return datetime.fromtimestamp(0, UTC)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _END_OF_TIME


# The shortest signature of each family in bytes (RFC 7518), to detect a token with its end cut off.
_SHORTEST: Mapping[str, int] = {"RS": 256, "PS": 256, "ES": 64}


def _doubts(algorithm: str, signature_length: int) -> tuple[str, ...]:
    size = signature_length * 3 // 4
    complete = signature_length % 4 != 1 and size >= _SHORTEST.get(algorithm[:2], 0)
    return () if complete else ("signature-cut",)
