"""
The project file: `astro-token.toml`, or `[tool.astro-token]` in `pyproject.toml`.

It is untrusted input, because anyone who may open a pull request may write it.
It names secrets, expectations, policy and the release of the Astro CLI, and nothing else:
with an address, a credential or a command in it, its author could have our credential sent to another server.
It is used only if nobody but its owner can write it or its folder, and the owner of both is us or root.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from types import MappingProxyType

from astro_token.errors import AccessDeniedError, AstroTokenError, ConfigError, InvalidRefError
from astro_token.log import logger
from astro_token.policy.parsers import lifetime, role, title, unknown_key
from astro_token.policy.rules import Expectations, Policy, policy_from_table
from astro_token.record import Record
from astro_token.secrets.ref import SecretRef, contains_token
from astro_token.secrets.schemes import BUILTIN
from astro_token.system.files import open_regular, others_can_rename_in, others_can_write, owned
from astro_token.system.os_errors import working_folder
from astro_token.system.toml import MAX_BYTES, parse_toml
from astro_token.system.variables import setting
from astro_token.token import SCOPES, is_identifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path
    from typing import IO, Any, NoReturn

    from astro_token.settings.astro_cli_pin import Lock

__all__ = [
    "FILE",
    "LOCK_KEYS",
    "MAX_NAME",
    "SHARED_FILE",
    "TOKEN_KEYS",
    "TOP_KEYS",
    "Project",
    "ProjectToken",
    "TokenRequest",
    "check_file_ref",
    "find_project",
]

FILE = "astro-token.toml"
SHARED_FILE = "pyproject.toml"
FILE_FOLDERS = "ASTRO_TOKEN_FILE_FOLDERS"
_MAX_SHARED_BYTES = 4 * 1024 * 1024
TOP_KEYS = ("default", "policy", "tokens", "astro-cli")
_REQUEST: Mapping[str, Callable[[object, str], Any]] = {"role": role, "lifetime": lifetime, "title": title}
TOKEN_KEYS = ("ref", "decrypt", *SCOPES, *_REQUEST)
LOCK_KEYS = ("version", "sha256")
MAX_NAME = 64


class TokenRequest(Record):
    """
    Properties that a new token should have; None for the default. Policy limits them.

    Attributes:
        role: role of a token that `create` makes: of Astro, or a custom one. `rotate` keeps the roles,
            and this one can only narrow them.
        lifetime: lifetime of a new token, 1 to 3650 days; 90 days if it is not given.
        title: title of a new token at Astro; the token's name if it is not given. A unique part is added.
    """

    role: str | None = None
    lifetime: timedelta | None = None
    title: str | None = None


class ProjectToken(Record):
    """
    A table of `[tokens]`.

    Attributes:
        ref: reference of the secret, or a list of references that are tried in order.
            A path after `file:` is relative to the project file.
        decrypt: reference of the key, if the secret is ciphertext.
        chain: the references after `ref`, if there are several.
    """

    ref: SecretRef
    decrypt: SecretRef | None = None
    expected: Expectations = Expectations()
    request: TokenRequest = TokenRequest()
    chain: tuple[SecretRef, ...] = ()

    @property
    def refs(self) -> tuple[SecretRef, ...]:
        return (self.ref, *self.chain)


class Project(Record):
    """
    The content of the project file.

    Attributes:
        path: of the file; None if there is no file.
        default: name of the token that a command without an argument uses. The only token needs no default.
        policy: rules for every token of the project. Policy in the environment is a floor.
        tokens: tokens by name. A name has up to 64 letters, digits, `.`, `-` and `_`.
        astro_cli: release of the Astro CLI that `install-cli` installs; without it, the latest one.
    """

    path: Path | None = None
    default: str | None = None
    policy: Policy = Policy()
    tokens: Mapping[str, ProjectToken] = MappingProxyType({})
    astro_cli: Lock | None = None


def find_project(directory: Path | None = None, *, is_needed: bool = True) -> Project:
    """
    Read the nearest project file that is not ignored, from a folder up to the root of its repository.

    Outside a repository only the folder itself counts, and never a folder above the home folder.

    Args:
        directory: None for the current folder.
        is_needed: False if no token comes from the file. Then it is ignored, with a warning,
            if another user could have written it and it contains neither policy nor a lock.

    Raises:
        ConfigError: the file is malformed, or sets something that it must not.
        AccessDeniedError: another user could have written it.
        InputOutputError: the current folder was removed.
    """
    for folder in _folders(os.path.abspath(directory or working_folder())):  # noqa: PTH100 (pathlib is imported only for a file)
        own = _own(os.path.join(folder, FILE), is_needed=is_needed)  # noqa: PTH118
        shared = _shared(os.path.join(folder, SHARED_FILE), is_needed=is_needed)  # noqa: PTH118
        if own and shared:
            raise ConfigError(
                f"{folder} has both {FILE} and [tool.astro-token] in {SHARED_FILE}", hint="keep one of them"
            )
        if project := own or shared:
            return project
    return Project()


def check_file_ref(project: Project, name: str, environ: Mapping[str, str]) -> None:
    """
    Refuse a `file:` reference that leaves the repository, or without one the folder of the project file.

    Links are resolved first. The file itself could otherwise select any file that the user can read.

    Raises:
        ConfigError: neither the repository nor ASTRO_TOKEN_FILE_FOLDERS contains the file.
    """
    files = [ref.name for ref in project.tokens[name].refs if ref.scheme == "file"]
    if not files or project.path is None:
        return
    from pathlib import Path

    from astro_token.system.programs import listed_folders

    root = _folders(str(project.path.parent))[-1]
    folders = [os.path.realpath(folder) for folder in (root, *listed_folders(environ, FILE_FOLDERS))]
    for file in files:
        if not any(Path(os.path.realpath(file)).is_relative_to(folder) for folder in folders):
            raise ConfigError(
                f"{project.path}: tokens.{name}.ref names a file outside {root}",
                hint=f"move the file there, or list its folder in {FILE_FOLDERS}",
            )


def _folders(directory: str) -> list[str]:
    home = os.path.normpath(setting(os.environ, "HOME") or "/nonexistent")
    folders, folder = [directory], directory
    while not os.path.exists(os.path.join(folder, ".git")):  # noqa: PTH110, PTH118
        parent = os.path.dirname(folder)  # noqa: PTH120
        if folder in (home, parent):
            return [directory]
        folders.append(folder := parent)
    return folders


def _own(name: str, *, is_needed: bool) -> Project | None:
    """Read astro-token.toml."""
    opened = _opened(name)
    if opened is None:
        return None
    path, file = opened
    with file:
        return _trusted(
            path,
            file,
            lambda: _Reader(path).project(parse_toml(path, file.read(MAX_BYTES + 1))),
            is_needed=is_needed,
        )


def _shared(name: str, *, is_needed: bool) -> Project | None:
    """
    Read `[tool.astro-token]` of pyproject.toml, which is parsed only if it contains these words.

    The owner of the file matters only if the table exists: most of these files do not concern us.
    """
    opened = _opened(name, follow=True)
    if opened is None:
        return None
    path, file = opened
    with file:
        data = file.read(_MAX_SHARED_BYTES + 1)
        if b"astro-token" not in data and len(data) <= _MAX_SHARED_BYTES:
            return None
        tool = parse_toml(path, data, shorten=f"move [tool.astro-token] to {FILE}").get("tool")
        if not isinstance(tool, dict) or "astro-token" not in tool:
            return None
        if path.is_symlink():
            raise _link(path)
        reader = _Reader(path)
        return _trusted(
            path,
            file,
            lambda: reader.project(reader.table(tool, "astro-token", "tool.astro-token")),
            is_needed=is_needed,
        )


def _opened(name: str, *, follow: bool = False) -> tuple[Path, IO[bytes]] | None:
    """
    Open the file; None if it does not exist.

    An existing file that cannot be read is an error: its policy would be ignored.
    """
    try:
        link = stat.S_ISLNK(os.lstat(name).st_mode)
        from pathlib import Path  # most commands have no such file

        path = Path(name)
        if link and not follow:
            raise _link(path)
        return path, open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        complaint, hint = "is not a regular file", "remove it, or replace it by a regular file"
    except PermissionError:
        complaint, hint = "is not readable", "let the user who runs astro-token read it, and its folder"
    raise ConfigError(f"{name} {complaint}", hint=hint)


def _link(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is a link", hint="replace it by the file itself: the target of a link can change"
    )


def _trusted(path: Path, file: IO[bytes], read: Callable[[], Project], *, is_needed: bool) -> Project | None:
    """
    Read a file, unless others could have written it, or could move it away together with its policy.

    Return None for a file that is ignored. It must not hide another one above it, which may have policy.
    """
    folder = path.parent
    writable = {folder: others_can_rename_in(folder), path: others_can_write(file)}
    foreign = {folder: not owned(folder), path: not owned(file)}
    if not any((*writable.values(), *foreign.values())):
        return read()
    from shlex import join

    hints, complaint = [], ""
    if names := [str(each) for each, is_foreign in foreign.items() if is_foreign]:
        complaint = f"{names[0]} belongs to another user, who could change {path.name}"
        hints.append(join(["chown", str(os.geteuid()), *names]))
    if names := [str(each) for each, is_writable in writable.items() if is_writable]:
        complaint = complaint or f"other users can write {' and '.join(names)}"
        hints.append(join(["chmod", "go-w", *names]))
    hint = " && ".join(hints)
    with suppress(AstroTokenError):
        if not is_needed and (project := read()).policy == Policy() and project.astro_cli is None:
            logger.warning("%s: %s is ignored (to use it: %s)", complaint, path.name, hint)
            return None
    raise AccessDeniedError(complaint, hint=hint)


class _Reader:
    """Reads the tables of a file, and names the file in every message."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def project(self, content: dict[str, Any]) -> Project:
        if contains_token(repr(content)):  # before any message, which could repeat a key
            raise InvalidRefError(
                f"{self.path} contains a token, and everybody who can read the file can use it",
                hint="revoke it in Astro, store a new one with `astro-token put`, and write its reference",
            )
        self.check_keys(content, TOP_KEYS, "")
        tokens = {
            name: self.token(name, entry) for name, entry in self.table(content, "tokens", "tokens").items()
        }
        default = content.get("default")
        if default is not None and (not isinstance(default, str) or default not in tokens):
            self.refuse("default names no token of the file", f"the tokens are {', '.join(tokens) or 'none'}")
        policy = policy_from_table(self.table(content, "policy", "policy"), f"{self.path}: policy")
        lock = self.lock(self.table(content, "astro-cli", "astro-cli")) if "astro-cli" in content else None
        return Project(self.path, default, policy, MappingProxyType(tokens), lock)

    def token(self, name: str, entry: object) -> ProjectToken:
        where = f"tokens.{name}"
        if not _is_name(name):
            self.refuse(
                "a name in [tokens] is malformed", "use letters, digits, - and _, as in [tokens.prod]"
            )
        if not isinstance(entry, dict):
            self.refuse(f"{where} is not a table", f'write [{where}] and below it ref = "…"')
        self.check_keys(entry, TOKEN_KEYS, where)
        texts = {key: self.text(value, f"{where}.{key}") for key, value in entry.items() if key != "ref"}
        for scope in SCOPES:  # these are shown, also in logs of CI systems that obey commands
            if scope in texts and not is_identifier(texts[scope]):
                self.refuse(
                    f"{where}.{scope} is not an identifier", "copy it from Astro, as in clws0123456789"
                )
        if "ref" not in entry:
            self.refuse(f"{where} has no ref", f'write ref = "vault:secret/astro/{name}#token" below it')
        decrypt = self.reference(texts["decrypt"], f"{where}.decrypt") if "decrypt" in texts else None
        ref, *chain = self.references(entry["ref"], f"{where}.ref")
        return ProjectToken(
            ref=ref,
            chain=tuple(chain),
            decrypt=decrypt,
            expected=Expectations(**{scope: texts[scope] for scope in SCOPES if scope in texts}),
            request=TokenRequest(
                **{
                    key: parse(texts[key], f"{self.path}: {where}.{key}")
                    for key, parse in _REQUEST.items()
                    if key in texts
                }
            ),
        )

    def references(self, value: object, where: str) -> list[SecretRef]:
        if not isinstance(value, list):
            return [self.reference(self.text(value, where), where)]
        from astro_token.settings.chain import check_chain

        refs = []
        for number, each in enumerate(value, 1):
            name = f"{where}: reference {number}"
            refs.append(self.reference(self.text(each, name), name))
        try:
            check_chain(refs)
            return refs
        except InvalidRefError as error:
            failure = InvalidRefError(f"{self.path}: {where}: {error.message}", hint=error.hint)
        raise failure

    def reference(self, text: str, where: str) -> SecretRef:
        schemes = tuple(f"{scheme}:" for scheme in BUILTIN)
        if any(part.lstrip().startswith(schemes) for part in text.split(",")[1:]):
            raise InvalidRefError(
                f"{self.path}: {where}: it contains several references",
                hint='write a chain as a list, as in ["env:NAME", "vault:secret/astro/prod#token"], '
                "and a comma that belongs to a name as %2C",
            )
        try:
            ref = SecretRef.parse(text)
        except InvalidRefError as error:
            complaint, hint = error.message, error.hint
        else:
            if ref.options.get("kv") == "1":
                # Without detection, any engine of Vault would be read; reading some engines creates secrets.
                self.refuse(f"{where} sets kv=1", "remove it: the KV version of a mount is detected")
            # A path is relative to the project file.
            name = str(self.path.parent / ref.name) if ref.scheme == "file" else ref.name
            return SecretRef(ref.scheme, name, ref.field, ref.options)
        raise InvalidRefError(f"{self.path}: {where}: {complaint}", hint=hint)

    def lock(self, table: dict[str, Any]) -> Lock:
        from astro_token.settings.astro_cli_pin import DIGEST, PLATFORMS, VERSION, Lock

        self.check_keys(table, LOCK_KEYS, "astro-cli")
        version = table.get("version")
        if not isinstance(version, str) or not VERSION.fullmatch(version):
            self.refuse("astro-cli.version is not a version", 'write it in quotes, as in version = "1.48.0"')
        digests = self.table(table, "sha256", "astro-cli.sha256")
        if "sha256" in table and not digests:
            self.refuse(
                "astro-cli.sha256 is empty, so that it pins nothing",
                "copy the table that astro-token install-cli --lock prints, or remove this one",
            )
        self.check_keys(digests, PLATFORMS, "astro-cli.sha256")
        for platform, digest in digests.items():
            if not isinstance(digest, str) or not DIGEST.fullmatch(digest.lower()):
                self.refuse(
                    f"astro-cli.sha256.{platform} is not a SHA-256 digest",
                    "copy the table that astro-token install-cli --lock prints",
                )
        return Lock(version, MappingProxyType({name: text.lower() for name, text in digests.items()}))

    def table(self, table: dict[str, Any], key: str, where: str) -> dict[str, Any]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            self.refuse(f"{where} is not a table", f"write [{where}]")
        return value

    def text(self, value: object, where: str) -> str:
        if value == "":
            self.refuse(f"{where} is empty", "set it, or remove it")
        if not isinstance(value, str):
            self.refuse(f"{where} is not a string", 'write it in quotes, as in "…"')
        return value

    def check_keys(self, table: dict[str, Any], keys: Iterable[str], where: str) -> None:
        for key in table:
            if key not in keys:
                raise unknown_key(key, keys, f"{self.path}: {where}")

    def refuse(self, complaint: str, hint: str) -> NoReturn:
        raise ConfigError(f"{self.path}: {complaint}", hint=hint)


def _is_name(name: str) -> bool:
    """Accept the characters of an identifier, also with `_` in front, up to 64 of them."""
    return len(name) <= MAX_NAME and name[:1] not in ("", "-", ".") and is_identifier(f"x{name}")
