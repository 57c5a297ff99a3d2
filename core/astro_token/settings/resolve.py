"""Settings of a token: arguments, then the environment, then the project file."""

from __future__ import annotations

import os

from astro_token.errors import (
    AstroTokenError,
    ConfigError,
    InvalidRefError,
    UsageError,
    sanitized,
    with_prefix,
)
from astro_token.policy.rules import Expectations, Policy, policy_from_environ
from astro_token.record import Record
from astro_token.secrets.ref import SecretRef, decoded_name, refuse_token
from astro_token.secrets.registry import check_scheme
from astro_token.secrets.schemes import BUILTIN
from astro_token.settings.project_file import SHARED_FILE, TokenRequest, check_file_ref, find_project
from astro_token.system.variables import secret_setting, setting
from astro_token.token import is_identifier
from astro_token.transport.deadline import DEFAULT_SECONDS
from astro_token.wording import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from astro_token.settings.astro_cli_pin import Lock
    from astro_token.settings.project_file import Project

    _T = TypeVar("_T")

__all__ = ["Settings", "TokenSettings", "checked_timeout", "resolve"]

FALLBACK = SecretRef("env", "ASTRO_API_TOKEN")
_MAX_TIMEOUT = 3600.0


class TokenSettings(Record):
    """
    The settings of one token.

    Attributes:
        ref: the reference; of a chain the first, and after reading the one that was used.
        name: the token's name in the project file, or None.
        decrypt: the key, if the secret is ciphertext.
        timeout: seconds for reading it, decryption included.
        source: the setting that named the token: "given as an argument", "from ASTRO_TOKEN_REF",
            "from ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME", "the default of astro-token.toml",
            "the only token of astro-token.toml", "from ASTRO_API_TOKEN".
        project_file: the project file in effect; None if there is none.
        request: for `create` and `rotate`.
        astro_cli: the release of the Astro CLI that the project file pins; None for any.
        chain: the references to try after `ref`.
    """

    ref: SecretRef
    name: str | None = None
    decrypt: SecretRef | None = None
    expected: Expectations = Expectations()
    policy: Policy = Policy()
    timeout: float = DEFAULT_SECONDS
    source: str = "given as an argument"
    project_file: Path | None = None
    request: TokenRequest = TokenRequest()
    astro_cli: Lock | None = None
    chain: tuple[SecretRef, ...] = ()

    @property
    def refs(self) -> tuple[SecretRef, ...]:
        return (self.ref, *self.chain)


class Settings:
    """
    The settings of a command that all its tokens share. The environment and the project file are read once.

    Args:
        tokens: the tokens that `token` or `tokens` will resolve; None for every token of the project file.
        policy: is tightened by the project file and the environment.
        timeout: seconds per token; None for `ASTRO_TOKEN_TIMEOUT`, else the default.
        default_timeout: the default of the command.
        environ: None for the environment of this process.
        directory: the folder in which the search for the project file begins; None for the current one.

    Attributes:
        project: the content of the project file.
        policy: of the argument, the project file and the environment together.

    Raises:
        ConfigError: a setting is malformed.
        UsageError: the timeout is out of range.
        AccessDeniedError: another user could have written the project file.
    """

    def __init__(
        self,
        tokens: Sequence[str | SecretRef | None] | None = None,
        *,
        policy: Policy | None = None,
        timeout: float | None = None,
        default_timeout: float = DEFAULT_SECONDS,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        is_needed = tokens is None or not all(_is_given(token, self.environ) for token in tokens)
        self.project: Project = find_project(directory, is_needed=is_needed)
        floor = policy_from_environ(self.environ)
        self.policy = (policy or Policy()).tightened(self.project.policy).tightened(floor)
        self.timeout = _timeout(timeout, self.environ, default_timeout)

    def token(
        self,
        token: str | SecretRef | None = None,
        *,
        decrypt: str | SecretRef | None = None,
        any_scheme: bool = False,
        accepts_chain: bool = True,
    ) -> TokenSettings:
        """Resolve one token, as `resolve` does."""
        refs, name, source = self._choose(token)
        if len(refs) > 1 and not accepts_chain:
            raise UsageError(
                "the token has a chain of references, and this command changes the secret of one of them",
                hint=f"give one of them as the argument: {', '.join(map(str, refs))}",
            )
        for ref in refs:
            self.policy.check_ref(ref)
        entry = self.project.tokens[name] if name is not None else None
        if name is not None:
            check_file_ref(self.project, name, self.environ)
        from_environ = setting(self.environ, "ASTRO_TOKEN_DECRYPT")
        key = decrypt or from_environ or (entry.decrypt if entry else None)
        if isinstance(key, str):
            text = key
            key = _named("" if decrypt else "ASTRO_TOKEN_DECRYPT", lambda: SecretRef.parse(text))
        if key is not None and not _is_key(key):
            origin = "--decrypt" if decrypt else "ASTRO_TOKEN_DECRYPT" if from_environ else f"{name}: decrypt"
            raise InvalidRefError(f"{origin} takes a key reference", hint="for example vault-transit:astro")
        if key is not None:
            self.policy.check_key(key)
        if not any_scheme:
            for number, ref in enumerate(refs, 1):
                try:
                    check_scheme(ref.scheme)
                    continue
                except AstroTokenError as error:
                    failure = with_prefix(error, f"reference {number} of the chain") if refs[1:] else error
                raise failure
            if key is not None:
                check_scheme(key.scheme)
        return TokenSettings(
            refs[0],
            chain=refs[1:],
            name=name,
            decrypt=key,
            expected=self.policy.expectations(self._expected(name)),
            policy=self.policy,
            timeout=self.timeout,
            source=source,
            project_file=self.project.path,
            request=entry.request if entry else TokenRequest(),
            astro_cli=self.project.astro_cli,
        )

    def _expected(self, name: str | None) -> Expectations:
        """
        Return what the project file expects of a token; what it leaves out, the link of the same name gives.

        Raises:
            ConfigError: the two contradict each other.
        """
        path = self.project.path
        if name is None or path is None:
            return Expectations()
        expected = self.project.tokens[name].expected
        if not os.path.exists(path.parent / SHARED_FILE):  # noqa: PTH110
            return expected
        from astro_token.environment.manifest import read_manifest

        manifest = read_manifest(path.parent)
        link = manifest.links.get(name) if manifest else None
        if manifest is None or link is None or not link.is_astro:
            return expected
        names = {}
        for scope, linked in (("workspace", link.workspace), ("deployment", link.deployment)):
            given = getattr(expected, scope)
            if given and linked and given != linked:
                raise ConfigError(
                    f"{path} and the link in {manifest.path} name different {scope}s for {name}",
                    hint=f"correct {scope} in one of the files, or give the token another name than the link",
                )
            names[scope] = given or (linked if is_identifier(linked) else None)
        return Expectations(expected.organization, names["workspace"], names["deployment"])

    def tokens(
        self,
        tokens: Sequence[str | SecretRef | None] | None,
        *,
        decrypt: str | SecretRef | None = None,
        accepts_chain: bool = True,
    ) -> list[TokenSettings | AstroTokenError]:
        """
        Resolve several tokens. An error about one of them is returned in its position.

        Args:
            tokens: None for every token of the project file, in its order.
            accepts_chain: as in `resolve`.
        """
        if tokens is None:
            tokens = list(self.project.tokens)
            if not tokens:
                raise ConfigError(
                    "no project file names a token",
                    hint="write astro-token.toml with a [tokens.NAME] table for each token",
                )
        result: list[TokenSettings | AstroTokenError] = []
        for token in tokens:
            try:
                result.append(self.token(token, decrypt=decrypt, accepts_chain=accepts_chain))
            except AstroTokenError as error:
                # A name of the file is safe to show; any other text may be a secret, pasted by mistake.
                result.append(with_prefix(error, token) if token in self.project.tokens else sanitized(error))
        return result

    def _choose(self, token: str | SecretRef | None) -> tuple[tuple[SecretRef, ...], str | None, str]:
        """Choose the references. Return their name in the project file and the words for the source too."""
        environ, project = self.environ, self.project
        if isinstance(token, SecretRef):
            return (token,), None, "given as an argument"
        if token is not None:
            return (*self._lookup(token), "given as an argument")
        reference, backend = setting(environ, "ASTRO_TOKEN_REF"), setting(environ, "ASTRO_TOKEN_BACKEND")
        parts = [part for part in ("NAME", "FIELD", "VERSION") if setting(environ, f"ASTRO_TOKEN_{part}")]
        if reference and (backend or parts):
            raise ConfigError(
                f"ASTRO_TOKEN_REF and ASTRO_TOKEN_{'BACKEND' if backend else parts[0]} are both set",
                hint="unset one of them: a reference contains everything",
            )
        if reference:
            return (*_named("ASTRO_TOKEN_REF", lambda: self._lookup(reference)), "from ASTRO_TOKEN_REF")
        if backend or parts:
            source = "ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME"
            if not backend or "NAME" not in parts:
                raise ConfigError(
                    f"ASTRO_TOKEN_{'NAME' if backend else 'BACKEND'} is not set",
                    hint="set both ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME, or only ASTRO_TOKEN_REF",
                )
            variables = " and ".join(f"ASTRO_TOKEN_{part}" for part in ("BACKEND", *parts))
            return (_named(variables, lambda: _assembled(backend, environ)),), None, f"from {source}"
        if project.tokens and project.path:
            name, source = project.default, "the default"
            if name is None and len(project.tokens) == 1:
                name, source = next(iter(project.tokens)), "the only token"
            if name is None:
                raise ConfigError(
                    "the project file names several tokens, and none of them is the default",
                    hint=f"give one of {', '.join(project.tokens)} as the argument, or set default",
                )
            return project.tokens[name].refs, name, f"{source} of {project.path.name}"
        if setting(environ, "ASTRO_API_TOKEN"):
            return (FALLBACK,), None, "from ASTRO_API_TOKEN"
        raise ConfigError(
            "no token is configured",
            hint="give a reference such as vault:secret/astro/prod#token, set ASTRO_TOKEN_REF, "
            "or write astro-token.toml",
        )

    def _lookup(self, text: str) -> tuple[tuple[SecretRef, ...], str | None]:
        """Parse a reference or a chain, or look up a name of the project file."""
        if not text:
            raise UsageError(
                "the token argument is empty",
                hint="check the shell variable in the command, or omit the argument",
            )
        refuse_token(text)
        if ":" in text:
            if "," not in text:
                return (SecretRef.parse(text),), None
            from astro_token.settings.chain import parse_chain

            return parse_chain(text), None
        names = self.project.tokens
        if text in names:
            return names[text].refs, text
        # The text is not repeated: it may be a secret, pasted by mistake.
        if not names:
            raise UsageError(
                "the token is neither a reference nor a name: no project file names a token",
                hint="a reference has the form scheme:name, such as vault:secret/astro/prod#token",
            )
        raise UsageError(
            "the token is neither a reference nor a name in the project file",
            hint=did_you_mean(text, names) + f"the names are {', '.join(names)}",
        )


def resolve(
    token: str | SecretRef | None = None,
    *,
    decrypt: str | SecretRef | None = None,
    policy: Policy | None = None,
    timeout: float | None = None,
    any_scheme: bool = False,
    accepts_chain: bool = True,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> TokenSettings:
    """
    Resolve the settings of one token.

    Args:
        token: a reference, a chain of references separated by commas, or a name of the project file.
        decrypt: a key reference, if the secret is ciphertext.
        policy, timeout, environ, directory: as `Settings`.
        any_scheme: accept a scheme without a backend, because the caller brings the backend.
        accepts_chain: False for a command that writes the secret.

    Raises:
        InvalidRefError: a reference is malformed.
        UnknownBackendError: no backend serves the scheme.
        UsageError: the project file has no such name, or a chain is not accepted.
        ConfigError: a setting is malformed, contradicts another, or is missing.
        PolicyError: policy does not allow the reference, or what the project expects of the token.
        AccessDeniedError: another user could have written the project file.
    """
    settings = Settings([token], policy=policy, timeout=timeout, environ=environ, directory=directory)
    return settings.token(token, decrypt=decrypt, any_scheme=any_scheme, accepts_chain=accepts_chain)


def _named(variables: str, parsed: Callable[[], _T]) -> _T:
    """Name the variables in the error about their values."""
    try:
        return parsed()
    except AstroTokenError as raised:
        error = with_prefix(raised, variables) if variables else raised
    raise error


def _is_given(token: str | SecretRef | None, environ: Mapping[str, str]) -> bool:
    """Tell whether a token's reference is an argument or in the environment, and not in the project file."""
    if token is None:
        token = setting(environ, "ASTRO_TOKEN_REF") or (
            ":" if setting(environ, "ASTRO_TOKEN_BACKEND") else ""
        )
    return isinstance(token, SecretRef) or ":" in token


def _assembled(backend: str, environ: Mapping[str, str]) -> SecretRef:
    """Assemble the reference of `ASTRO_TOKEN_BACKEND`, `…_NAME`, `…_FIELD` and `…_VERSION`."""
    name, version = setting(environ, "ASTRO_TOKEN_NAME"), setting(environ, "ASTRO_TOKEN_VERSION")
    refuse_token(name)
    options = {}
    if version:
        scheme = BUILTIN.get(backend)
        option = scheme.version_option if scheme else "version"
        if option is None:
            raise ConfigError(f"{backend} has no versions", hint="unset ASTRO_TOKEN_VERSION")
        options[option] = version
    name = decoded_name(backend, name)
    return SecretRef(backend, name, setting(environ, "ASTRO_TOKEN_FIELD") or None, options)


def _is_key(ref: SecretRef) -> bool:
    scheme = BUILTIN.get(ref.scheme)
    return scheme is None or scheme.key


def checked_timeout(seconds: float) -> float:
    """
    Check a timeout that is given as an argument.

    Raises:
        UsageError: it is out of range.
    """
    if 0 < seconds <= _MAX_TIMEOUT:
        return float(seconds)
    raise UsageError("the timeout is not between 0 and 3600 seconds", hint="give 1 to 3600")


def _timeout(given: float | None, environ: Mapping[str, str], default: float) -> float:
    text = secret_setting(environ, "ASTRO_TOKEN_TIMEOUT")
    if given is not None:
        return checked_timeout(given)
    if not text:
        return default
    try:
        return checked_timeout(float(text))
    except (ValueError, UsageError):
        refusal = ConfigError("ASTRO_TOKEN_TIMEOUT is not a number of seconds", hint="set it to 1 to 3600")
    raise refusal
