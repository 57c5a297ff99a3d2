"""A connection of Airflow as a JSON object with one text for each field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from astro_token.errors import AstroTokenError, InvalidTokenError, SecretNotFoundError
from astro_token.secret import SecretValue

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["connection"]

_FORMS = (
    'store a URI, in Vault as the field conn_uri, or JSON such as {"conn_type": "generic", "password": "…"}'
)
_FIELDS = ("conn_type", "login", "password", "host", "port", "schema")
# The names that the provider of AWS Secrets Manager accepts.
_ALIASES = {
    "login": ["login", "user", "username", "user_name"],
    "password": ["password", "pass", "key"],
    "host": ["host", "remote_host", "server"],
    "port": ["port"],
    "schema": ["database", "schema"],
    "conn_type": ["conn_type", "conn_id", "connection_type", "engine"],
    "extra": ["extra"],
}
_ALLOWED = {*_FIELDS, "extra", "description"}
_EXTRA = "__extra__"


def connection(
    secret: SecretValue, *, words: Mapping[str, list[str]] | None = None, may_be_field: bool = False
) -> SecretValue | AstroTokenError:
    """
    Return the fields of a connection, which is a URI or a JSON object.

    The field `token` is the password, so that it is read by default; `extra.KEY` is a part of extra.

    Args:
        words: further names of fields, if they may have other names at all; else None.
        may_be_field: the secret is an object of Vault, whose field `conn_uri` may be the connection.
    """
    try:
        text = secret.reveal().decode()
        uri = json.loads(text).get("conn_uri") if may_be_field else None
        text = uri if isinstance(uri, str) and uri else text
        if not text:
            return SecretNotFoundError("the connection is empty", hint=_FORMS)
        is_object = text.strip().startswith("{")
        fields = _from_object(json.loads(text), words) if is_object else _from_uri(text.strip())
    except (AttributeError, TypeError, ValueError, RecursionError):
        fields = None
    if fields is None:
        return InvalidTokenError("the connection is neither a URI nor a JSON object of Airflow", hint=_FORMS)
    named = {name: str(fields[name]) for name in _FIELDS if fields.get(name) not in {None, ""}}
    if "password" in named:
        named["token"] = named["password"]
    named |= {
        f"extra.{key}": part for key, part in _extra(fields.get("extra")).items() if isinstance(part, str)
    }
    return SecretValue(json.dumps(named).encode(), secret.version)


def _from_object(content: Any, words: Mapping[str, list[str]] | None) -> dict[str, Any] | None:
    if not isinstance(content, dict) or any(isinstance(content.get(name), dict | list) for name in _FIELDS):
        return None
    if words is None:
        return _checked(content) if content.keys() <= _ALLOWED else None
    names = {field: [*aliases] for field, aliases in _ALIASES.items()}
    for field, further in words.items():
        names.setdefault("login" if field == "user" else field, []).extend(further)
    return _checked(
        {
            field: next((value for key, value in content.items() if key in aliases), None)
            for field, aliases in names.items()
        }
    )


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as Airflow takes them: a number for the port, and its own spelling of the type."""
    kind, port = fields.get("conn_type"), fields.get("port")
    return {**fields, "conn_type": _kind(kind) if kind else None, "port": int(port) if port else None}


def _kind(name: str) -> str:
    return "postgres" if name == "postgresql" else name.replace("-", "_")


def _from_uri(uri: str) -> dict[str, Any] | None:
    """Parse a URI of Airflow, whose host may have a scheme of its own."""
    count = uri.count("://")
    kind = urlsplit(uri).scheme
    if count not in {1, 2} or not kind:
        return None
    rest = uri.replace(f"{kind}://", "" if count > 1 else "//")
    if count > 1 and any(mark in rest.partition("://")[0] for mark in "@:"):
        return None
    parts = urlsplit(rest)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = unquote(parts.hostname or "")
    if "/" in host:  # a path, whose letters keep their case
        host = unquote(parts.netloc.rpartition("@")[2].partition(":")[0])
    return {
        "conn_type": _kind(kind),
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "host": f"{parts.scheme}://{host}" if count > 1 and host else host,
        "port": parts.port,
        "schema": unquote(parts.path[1:]),
        "extra": query.get(_EXTRA, query),
    }


def _extra(extra: Any) -> dict[str, Any]:
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            extra = None
    return extra if isinstance(extra, dict) else {}
