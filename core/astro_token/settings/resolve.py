"""Which token, and what we expect of it: arguments, then the environment, then the project's file."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, ConfigError, InvalidRefError, UsageError, bare, named
from astro_token.policy.rules import Expectations, Policy, duration
from astro_token.secrets.ref import SecretRef, refuse_token
from astro_token.secrets.registry import check_scheme
from astro_token.secrets.schemes import BUILTIN
from astro_token.settings.project_file import Project, find_project
from astro_token.token import SCOPES
from astro_token.transport.deadline import DEFAULT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TokenSettings", "resolve", "resolve_several"]

FALLBACK = SecretRef("env", "ASTRO_API_TOKEN")
_MAX_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """
    One token, and what is expected of it.

    Attributes:
        name: its name in the project's file, or None.
        decrypt: the key, where the secret is ciphertext.
        timeout: seconds for reading it, decryption included.
    """

    ref: SecretRef
    name: str | None = None
    decrypt: SecretRef | None = None
    expected: Expectations = field(default_factory=Expectations)
    policy: Policy = field(default_factory=Policy)
    timeout: float = DEFAULT_SECONDS


def resolve(
    token: str | SecretRef | None = None,
    *,
    decrypt: str | SecretRef | None = None,
    policy: Policy | None = None,
    timeout: float | None = None,
    any_scheme: bool = False,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> TokenSettings:
    """
    Finds out which token is meant.

    Args:
        token: a reference, or a name from the project's file.
        any_scheme: the caller brings the backend, so nothing needs to serve the reference's scheme.

    Raises:
        InvalidRefError: a malformed reference.
        UnknownBackendError: nothing serves its scheme.
        UsageError: a name that the project's file does not know.
        ConfigError: a setting that is malformed, contradicts another, or is missing.
        AccessDeniedError: the project's file could have been written by someone else.
    """
    place = _place(policy, timeout, environ, directory)
    return _resolve(token, decrypt, place, any_scheme=any_scheme)


def resolve_several(
    tokens: Sequence[str | SecretRef | None] | None,
    *,
    decrypt: str | SecretRef | None = None,
    policy: Policy | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> list[TokenSettings | AstroTokenError]:
    """
    As `resolve`, for each; what is wrong with one alone stands in its place, and what is with all is raised.

    Args:
        tokens: None for every token of the project's file, in its order.
    """
    place = _place(policy, timeout, environ, directory)
    if tokens is None:
        tokens = list(place.project.tokens)
        if not tokens:
            raise ConfigError(
                "no project's file names a token",
                hint="write astro-token.toml with a [tokens.NAME] table for each",
            )
    found: list[TokenSettings | AstroTokenError] = []
    for token in tokens:
        try:
            found.append(_resolve(token, decrypt, place))
        except AstroTokenError as error:
            # A name of the file is told; anything else may be anything, pasted by mistake.
            found.append(named(error, token) if token in place.project.tokens else bare(error))
    return found


class _Place:
    """What is the same for every token."""

    def __init__(self, environ: Mapping[str, str], project: Project, base: TokenSettings) -> None:
        self.environ, self.project, self.base = environ, project, base


def _place(
    policy: Policy | None, timeout: float | None, environ: Mapping[str, str] | None, directory: Path | None
) -> _Place:
    environ = os.environ if environ is None else environ
    project = find_project(directory or Path.cwd())
    base = TokenSettings(
        FALLBACK,
        policy=(policy or Policy()).tightened(project.policy).tightened(_policy_floor(environ)),
        timeout=_timeout(timeout, environ),
    )
    return _Place(environ, project, base)


def _resolve(
    token: str | SecretRef | None,
    decrypt: str | SecretRef | None,
    place: _Place,
    *,
    any_scheme: bool = False,
) -> TokenSettings:
    environ = place.environ
    found = _which(token, place.base, environ, place.project)
    key = decrypt or environ.get("ASTRO_TOKEN_DECRYPT")
    if key:
        found = replace(found, decrypt=key if isinstance(key, SecretRef) else SecretRef.parse(key))
    if found.decrypt is not None and not _is_key(found.decrypt):
        raise InvalidRefError("what decrypts has to be a key", hint="for example vault-transit:astro")
    for ref in (found.ref, found.decrypt):
        if ref is not None and not any_scheme:
            check_scheme(ref.scheme)
    return found


def _which(
    token: str | SecretRef | None, base: TokenSettings, environ: Mapping[str, str], project: Project
) -> TokenSettings:
    if isinstance(token, SecretRef):
        return replace(base, ref=token)
    if token is not None:
        return _named_or_reference(token, base, project)
    reference, backend = environ.get("ASTRO_TOKEN_REF"), environ.get("ASTRO_TOKEN_BACKEND")
    parts = [part for part in ("NAME", "FIELD", "VERSION") if environ.get(f"ASTRO_TOKEN_{part}")]
    if reference and (backend or parts):
        raise ConfigError(
            f"ASTRO_TOKEN_REF and ASTRO_TOKEN_{'BACKEND' if backend else parts[0]} are both set",
            hint="unset one: a reference says all",
        )
    if reference:
        return _named_or_reference(reference, base, project)
    if backend or parts:
        return replace(base, ref=_assembled(backend, environ))
    if project.default is not None:
        return _of_project(project.default, base, project)
    if project.tokens:
        raise ConfigError(
            "the project's file names tokens, and none is its default",
            hint=f"name one of {', '.join(project.tokens)} on the command line, or set default in the file",
        )
    if environ.get("ASTRO_API_TOKEN"):
        return base
    raise ConfigError(
        "nothing says which token",
        hint="give one such as vault:secret/astro/prod#token, set ASTRO_TOKEN_REF, or write astro-token.toml",
    )


def _named_or_reference(text: str, base: TokenSettings, project: Project) -> TokenSettings:
    if not text:
        raise UsageError(
            "the token that is named is empty", hint="see the variable that it is from, or leave it out"
        )
    refuse_token(text)
    if ":" in text:
        return replace(base, ref=SecretRef.parse(text))
    if text in project.tokens:
        return _of_project(text, base, project)
    # The text is not repeated: it may be anything, pasted by mistake.
    if not project.tokens:
        raise UsageError(
            "neither a reference nor a name: no project's file names a token",
            hint="the form of a reference is scheme:name, such as vault:secret/astro/prod#token",
        )
    from difflib import get_close_matches

    close = get_close_matches(text, project.tokens, n=1)
    raise UsageError(
        "neither a reference nor a name in the project's file",
        hint=(f"did you mean {close[0]}? " if close else "") + f"it names {', '.join(project.tokens)}",
    )


def _of_project(name: str, base: TokenSettings, project: Project) -> TokenSettings:
    entry = project.tokens[name]
    return replace(base, ref=entry.ref, name=name, decrypt=entry.decrypt, expected=entry.expected)


def _assembled(backend: str | None, environ: Mapping[str, str]) -> SecretRef:
    name, version = environ.get("ASTRO_TOKEN_NAME"), environ.get("ASTRO_TOKEN_VERSION")
    if not backend or not name:
        missing = "ASTRO_TOKEN_NAME" if backend else "ASTRO_TOKEN_BACKEND"
        raise ConfigError(
            f"{missing} is not set",
            hint="set both ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME, or ASTRO_TOKEN_REF alone",
        )
    refuse_token(name)
    options = {}
    if version:
        scheme = BUILTIN.get(backend)
        option = scheme.version_option if scheme else "version"
        if option is None:
            raise ConfigError(f"{backend} keeps no versions", hint="unset ASTRO_TOKEN_VERSION")
        options[option] = version
    return SecretRef(backend, name, environ.get("ASTRO_TOKEN_FIELD") or None, options)


def _is_key(ref: SecretRef) -> bool:
    scheme = BUILTIN.get(ref.scheme)
    return scheme is None or scheme.key


def _timeout(given: float | None, environ: Mapping[str, str]) -> float:
    text = environ.get("ASTRO_TOKEN_TIMEOUT")
    if given is None and not text:
        return DEFAULT_SECONDS
    try:
        seconds = float(text or "") if given is None else float(given)
    except (ValueError, OverflowError):
        seconds = math.nan
    if 0 < seconds <= _MAX_TIMEOUT:
        return seconds
    if given is not None:
        raise UsageError("the timeout is no number of seconds that can be waited", hint="give 1 to 3600")
    raise ConfigError("ASTRO_TOKEN_TIMEOUT is no number of seconds", hint="set it to 1 to 3600")


def _policy_floor(environ: Mapping[str, str]) -> Policy:
    """What `ASTRO_TOKEN_POLICY_…` demand at least."""
    prefix = "ASTRO_TOKEN_POLICY_"
    given = {
        name.removeprefix(prefix): text for name, text in environ.items() if name.startswith(prefix) and text
    }
    policy = Policy()
    for name, text in given.items():
        if name == "MAX_SCOPE":
            scope = next((scope for scope in SCOPES if scope == text), None)
            if scope is None:
                raise ConfigError(f"{prefix}{name} is no scope", hint=f"set it to one of {', '.join(SCOPES)}")
            policy = replace(policy, max_scope=scope)
        elif name in {"REQUIRE_EXPIRY", "ONLINE"}:
            if text not in {"true", "false", "1", "0"}:
                raise ConfigError(f"{prefix}{name} is neither true nor false", hint="set it to true or false")
            demanded = text in {"true", "1"}
            policy = (
                replace(policy, online=demanded)
                if name == "ONLINE"
                else replace(policy, require_expiry=demanded)
            )
        elif name == "MIN_VALIDITY":
            policy = replace(policy, min_validity=duration(text, prefix + name))
        elif name == "WARN_VALIDITY":
            policy = replace(policy, warn_validity=duration(text, prefix + name))
        elif name == "MAX_AGE":
            policy = replace(policy, max_age=duration(text, prefix + name))
        elif name == "DEPLOY":
            from astro_token.policy.deploy_codes import floor

            policy = replace(policy, deploy=floor(text, prefix + name))
        else:
            raise ConfigError(
                f"there is no policy {prefix}{name}",
                hint=f"known are {', '.join(prefix + known for known in _POLICIES)}",
            )
    return policy


_POLICIES = ("MAX_SCOPE", "REQUIRE_EXPIRY", "MIN_VALIDITY", "WARN_VALIDITY", "MAX_AGE", "ONLINE", "DEPLOY")
