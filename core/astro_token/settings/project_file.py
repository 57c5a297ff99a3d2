"""
The project's file: `astro-token.toml`, or `[tool.astro-token]` in `pyproject.toml`.

It is untrusted input, because whoever may open a pull request may write it.
It names secrets, expectations and policy, and which release of the Astro CLI is wanted, and nothing else:
an address, a credential or a command in it would let its author send our credential elsewhere.
It is read only if nobody but its owner can write it, and the owner is us or root.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn

from astro_token.errors import AccessDeniedError, ConfigError, InvalidRefError
from astro_token.policy.rules import LEVELS, Expectations, Policy, duration
from astro_token.secrets.ref import SecretRef
from astro_token.settings.astro_cli_pin import DIGEST, PLATFORMS, VERSION, Lock
from astro_token.system.files import open_regular, others_can_write, owned
from astro_token.token import IDENTIFIER, SCOPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astro_token.policy.rules import Level

__all__ = ["Project", "ProjectToken", "find_project"]

FILE = "astro-token.toml"
_MAX_BYTES = 4 * 1024 * 1024
_TOP = ("default", "policy", "tokens", "astro-cli")
_POLICY = ("max_scope", "require_expiry", "min_validity", "warn_validity", "max_age", "online", "deploy")
_TOKEN = ("ref", "decrypt", *SCOPES)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class ProjectToken(NamedTuple):
    """One table of `[tokens]`."""

    ref: SecretRef
    decrypt: SecretRef | None = None
    expected: Expectations = Expectations()


class Project(NamedTuple):
    """
    Attributes:
        path: the file; None where there is none.
        default: the name of the token that is meant where none is named.
        astro_cli: which release of the Astro CLI is wanted; None where that is not said.
    """

    path: Path | None = None
    default: str | None = None
    policy: Policy = Policy()
    tokens: Mapping[str, ProjectToken] = MappingProxyType({})
    astro_cli: Lock | None = None


def find_project(directory: Path) -> Project:
    """
    Reads the project's file of a folder: the nearest one, up to the repository's root.

    Outside a repository only the folder itself is looked at, and nothing above the home folder ever.

    Raises:
        ConfigError: the file is malformed, or says what it must not.
        AccessDeniedError: somebody else could have written it.
    """
    for folder in _folders(directory):
        own, shared = _own(folder / FILE), _shared(folder / "pyproject.toml")
        if own and shared:
            raise ConfigError(
                f"{folder} has both {FILE} and [tool.astro-token] in pyproject.toml", hint="keep one of them"
            )
        if found := own or shared:
            return found
    return Project()


def _folders(directory: Path) -> list[Path]:
    directory = directory.absolute()
    home = Path(os.environ.get("HOME", "/nonexistent"))
    folders = []
    for folder in (directory, *directory.parents):
        folders.append(folder)
        if (folder / ".git").exists():
            return folders
        if folder == home:
            break
    return [directory]


def _own(path: Path) -> Project | None:
    """astro-token.toml, which has to be ours to read."""
    file = _opened(path)
    if file is None:
        return None
    with file:
        _trust(path, file)
        return _Reader(path).project(_toml(path, _whole(path, file)))


def _shared(path: Path) -> Project | None:
    """
    `[tool.astro-token]` of a pyproject.toml, which is parsed only if the words stand in it.

    Whose file it is matters only if the table is there: most have nothing to do with us.
    """
    file = _opened(path, follow=True)
    if file is None:
        return None
    with file:
        data = _whole(path, file)
        tool = _toml(path, data).get("tool") if b"astro-token" in data else None
        if not isinstance(tool, dict) or "astro-token" not in tool:
            return None
        if path.is_symlink():
            raise _link(path)
        _trust(path, file)
    reader = _Reader(path)
    return reader.project(reader.dictionary(tool, "astro-token", "tool.astro-token"))


def _opened(path: Path, *, follow: bool = False) -> IO[bytes] | None:
    """
    The file, or None where there is none.

    What is there and cannot be read is an error: a policy in it would be passed over.
    """
    try:
        if follow or not path.is_symlink():
            return open_regular(path)
        raise _link(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        complaint, hint = "is no regular file", "remove it, or put a regular file in its place"
    except PermissionError:
        complaint, hint = "may not be read", "let the user who runs astro-token read it, and its folder"
    raise ConfigError(f"{path} {complaint}", hint=hint)


def _link(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is a link", hint="put the file itself there: what a link points at can change"
    )


def _whole(path: Path, file: IO[bytes]) -> bytes:
    data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path} is longer than {_MAX_BYTES // 1024} KiB", hint="shorten it")
    return data


def _trust(path: Path, file: IO[bytes]) -> None:
    """Refuses a file that anybody but its owner can have written, or whose owner is neither we nor root."""
    if not owned(file):
        raise AccessDeniedError(
            f"{path} belongs to another user, who could change what is read",
            hint="chown it to the user that runs astro-token, or remove it and set ASTRO_TOKEN_REF",
        )
    if others_can_write(file):
        raise AccessDeniedError(
            f"{path} can be written by other users, who could change what is read",
            hint=f"chmod go-w {path}",
        )


def _toml(path: Path, data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except RecursionError:
        place = None
    except ValueError as error:  # its text may repeat what stands in the file: only the place is shown
        place = re.search(r"at line \d+, column \d+", str(error))
    raise ConfigError(
        f"{path} is no TOML" + (f" ({place[0]})" if place else ""),
        hint="correct the file; https://toml.io has the rules",
    )


class _Reader:
    """Reads the tables of one file, whose path is in every complaint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def project(self, table: dict[str, Any]) -> Project:
        self.only(table, _TOP, "")
        tokens = {
            name: self.token(name, entry)
            for name, entry in self.dictionary(table, "tokens", "tokens").items()
        }
        default = table.get("default")
        if default is not None and (not isinstance(default, str) or default not in tokens):
            self.refuse("default names no token of the file", f"it has {', '.join(tokens) or 'none'}")
        policy = self.policy(self.dictionary(table, "policy", "policy"))
        astro_cli = (
            self.lock(self.dictionary(table, "astro-cli", "astro-cli")) if "astro-cli" in table else None
        )
        return Project(self.path, default, policy, MappingProxyType(tokens), astro_cli)

    def token(self, name: str, entry: object) -> ProjectToken:
        where = f"tokens.{name}"
        if not _NAME.fullmatch(name):
            self.refuse(
                "a name under [tokens] is malformed", "use letters, digits, - and _, as in [tokens.prod]"
            )
        if not isinstance(entry, dict):
            self.refuse(f"{where} is no table", f'write [{where}] and under it ref = "…"')
        self.only(entry, _TOKEN, where)
        texts = {key: self.text(value, f"{where}.{key}") for key, value in entry.items()}
        for scope in SCOPES:  # these are shown, in logs that obey commands too
            if scope in texts and not IDENTIFIER.fullmatch(texts[scope]):
                self.refuse(f"{where}.{scope} is no identifier", "copy it from Astro, as in clws0123456789")
        if "ref" not in texts:
            self.refuse(f"{where} has no ref", f'write ref = "vault:secret/astro/{name}#token" under it')
        decrypt = self.reference(texts["decrypt"], f"{where}.decrypt") if "decrypt" in texts else None
        return ProjectToken(
            ref=self.reference(texts["ref"], f"{where}.ref"),
            decrypt=decrypt,
            expected=Expectations(**{scope: texts[scope] for scope in SCOPES if scope in texts}),
        )

    def reference(self, text: str, where: str) -> SecretRef:
        try:
            ref = SecretRef.parse(text)
        except InvalidRefError as error:
            complaint, hint = error.message, error.hint
        else:
            if ref.options.get("kv") == "1":
                # Unasked, any engine of Vault would be read, and some make what they are asked for.
                self.refuse(f"{where} says kv=1", "leave it out: which KV a mount has is asked")
            # A path is relative to the file it stands in.
            return replace(ref, name=str(self.path.parent / ref.name)) if ref.scheme == "file" else ref
        raise InvalidRefError(f"{self.path}: {where}: {complaint}", hint=hint)

    def policy(self, table: dict[str, Any]) -> Policy:
        self.only(table, _POLICY, "policy")
        policy = Policy()
        if "max_scope" in table:
            if table["max_scope"] not in SCOPES:
                self.refuse("policy.max_scope is no scope", f"write one of {', '.join(SCOPES)}")
            policy = replace(policy, max_scope=table["max_scope"])
        for key in ("require_expiry", "online"):
            if not isinstance(table.get(key, False), bool):
                self.refuse(f"policy.{key} is neither true nor false", "write true or false, without quotes")
        policy = replace(
            policy, require_expiry=table.get("require_expiry", False), online=table.get("online", False)
        )
        if "min_validity" in table:
            policy = replace(
                policy, min_validity=duration(table["min_validity"], f"{self.path}: policy.min_validity")
            )
        if "warn_validity" in table:
            policy = replace(
                policy, warn_validity=duration(table["warn_validity"], f"{self.path}: policy.warn_validity")
            )
        if "max_age" in table:
            policy = replace(policy, max_age=duration(table["max_age"], f"{self.path}: policy.max_age"))
        if "deploy" in table:
            policy = replace(policy, deploy=self.levels(self.dictionary(table, "deploy", "policy.deploy")))
        return policy

    def levels(self, table: dict[str, Any]) -> Mapping[str, Level]:
        from astro_token.policy.deploy_codes import CODES

        self.only(table, CODES, "policy.deploy")
        for code, level in table.items():
            if level not in LEVELS:
                self.refuse(
                    f"policy.deploy.{code} is no level", f"write one of {', '.join(LEVELS)}, in quotes"
                )
        return MappingProxyType(table)

    def lock(self, table: dict[str, Any]) -> Lock:
        self.only(table, Lock._fields, "astro-cli")
        version = table.get("version")
        if not isinstance(version, str) or not VERSION.fullmatch(version):
            self.refuse("astro-cli.version is no version", 'write it in quotes, as in version = "1.45.0"')
        digests = self.dictionary(table, "sha256", "astro-cli.sha256")
        self.only(digests, PLATFORMS, "astro-cli.sha256")
        for platform, digest in digests.items():
            if not isinstance(digest, str) or not DIGEST.fullmatch(digest.lower()):
                self.refuse(
                    f"astro-cli.sha256.{platform} is no SHA-256 digest",
                    "copy the table that astro-token install-cli --lock prints",
                )
        return Lock(version, MappingProxyType({name: text.lower() for name, text in digests.items()}))

    def dictionary(self, table: dict[str, Any], key: str, where: str) -> dict[str, Any]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            self.refuse(f"{where} is no table", f"write [{where}]")
        return value

    def text(self, value: object, where: str) -> str:
        if value == "":
            self.refuse(f"{where} is empty", "fill it in, or take it out")
        if not isinstance(value, str):
            self.refuse(f"{where} is no text", 'write it in quotes, as in "…"')
        return value

    def only(self, table: dict[str, Any], known: Iterable[str], where: str) -> None:
        from difflib import get_close_matches

        known = list(known)
        for key in table:
            if key in known:
                continue
            # A key is shown only if it can be nothing but a key.
            shown = f"{where}.{key}".lstrip(".") if re.fullmatch(r"[A-Za-z_-]{1,32}", key) else "a key"
            close = get_close_matches(key, known, n=1)
            self.refuse(
                f"{shown} is unknown",
                (f"did you mean {close[0]}? " if close else "") + f"known are {', '.join(known)}; "
                "addresses, credentials and commands come from the environment only",
            )

    def refuse(self, complaint: str, hint: str) -> NoReturn:
        raise ConfigError(f"{self.path}: {complaint}", hint=hint)
