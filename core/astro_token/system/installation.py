"""
Name the source of this copy of astro-token, so that a hint installs an extra from the same one.

Installers record it next to the package, in `direct_url.json` (PEP 610).
A copy without that record came from an index.
"""

from __future__ import annotations

import os
import sys

from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import Distribution
    from typing import Any

__all__ = ["Source", "install_hint", "install_requirement", "installed_from", "package_hint"]

_NAME = "astro-token"
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120
_REMOTE = {"https", "http", "ssh", "git"}
_DIGITS = frozenset("0123456789abcdef")
_SHA256_LENGTH = 64


class Source(Record):
    """
    Source of an installed copy.

    Attributes:
        kind: "folder", "editable", "git", "archive", "index", "zipapp", or "unknown".
        address: the path of a folder, or what follows `git+` or `@` in a requirement; it holds no credential.
        commit: of git.
        fragment: what follows `#` in a requirement: a digest, or a folder of the repository.
    """

    kind: str
    address: str = ""
    commit: str = ""
    fragment: str = ""

    def requirement(self, *extras: str) -> str:
        """Return the argument of `pip install` for this source; the name alone if it is unknown."""
        names = f"[{','.join(sorted(set(extras)))}]" if extras else ""
        if self.kind in {"folder", "editable"}:
            return self.address + names
        if self.kind == "git":
            return f"{_NAME}{names} @ git+{self.address}@{self.commit}{self.fragment}"
        if self.kind == "archive":
            return f"{_NAME}{names} @ {self.address}{self.fragment}"
        return _NAME + names


def installed_from() -> Source:
    """Return the source of the running copy."""
    from zipimport import zipimporter

    loader: object = __spec__.loader
    if isinstance(loader, zipimporter):
        return Source("zipapp")
    distribution = _distribution()
    if distribution is not None:
        return _source(_direct_url(distribution))
    # A checkout that runs without an installation, by PYTHONPATH.
    folder = os.path.dirname(_ROOT)  # noqa: PTH120
    if os.path.isfile(os.path.join(folder, "pyproject.toml")):  # noqa: PTH113, PTH118
        return Source("folder", folder)
    return Source("unknown")


def install_requirement(*extras: str) -> str:
    """Return the argument of `pip install` that adds extras to this copy, from its own source."""
    return installed_from().requirement(*extras)


def install_hint(*extras: str) -> str:
    """Return the command that adds extras to this copy, or what to do if no command can."""
    source = installed_from()
    named = ",".join(extras)
    if source.kind == "zipapp":
        packages = " ".join(_packages(extras))
        return f"a zipapp has no extras: install the wheel with [{named}]" + (
            f", or these packages for this Python: {packages}" if packages else ""
        )
    if source.kind == "unknown":
        return f"install the extra {named} from the source of this copy of {_NAME}"
    if source.kind in {"folder", "editable"} and not os.path.isdir(source.address):  # noqa: PTH112
        return (
            f"clone the repository of {_NAME} again, and pip install {_quoted(f'FOLDER[{named}]')}: "
            f"the folder {source.address} is gone"
        )
    option = "--editable " if source.kind == "editable" else ""
    # Both make the environment anew, and so need the extras that it has.
    if (present := _pipx_extras()) is not None:
        return f"pipx install --force {option}{_quoted(source.requirement(*present, *extras))}"
    if (present := _uv_tool_extras()) is not None:
        return f"uv tool install --force {option}{_quoted(source.requirement(*present, *extras))}"
    return f"{_pip()} install {option}{_quoted(source.requirement(*extras))}"


def install_beside(*arguments: str) -> str:
    """Return the arguments of `pip install` for this copy, from its own source, and for others beside it."""
    source = installed_from()
    option = ("--editable",) if source.kind == "editable" else ()
    return " ".join((*option, _quoted(source.requirement()), *arguments))


def package_hint(package: str) -> str:
    """Return the command that adds a package of somebody else to the environment of this copy."""
    if _pipx_extras() is not None:
        return f"pipx inject {_NAME} {package}"
    if _uv_tool_extras() is not None:
        return f"uv tool install --with {package} {_quoted(install_requirement())}"
    return f"{_pip()} install {package}"


def _distribution() -> Distribution | None:
    """Return the record of the running copy, and not that of another one on `sys.path`."""
    from importlib.metadata import distributions

    for distribution in distributions(name=_NAME, path=[_ROOT]):
        return distribution
    for distribution in distributions(name=_NAME):
        source = _source(_direct_url(distribution))
        if source.kind == "editable" and _ROOT.startswith(os.path.join(os.path.realpath(source.address), "")):  # noqa: PTH118
            return distribution
    return None


def _direct_url(distribution: Distribution) -> Any:
    import json

    text = distribution.read_text("direct_url.json")
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _source(record: Any) -> Source:
    """Return the source that a `direct_url.json` states; None stands for no such file."""
    if record is None:
        return Source("index")
    if not isinstance(record, dict) or not isinstance(record.get("url"), str):
        return Source("unknown")
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(record["url"])
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return Source("unknown")
    address = ""
    if parts.scheme == "file" and host in {"", "localhost"}:
        address = f"file://{host}{parts.path}"
    elif parts.scheme in _REMOTE and host:
        # A user name is a credential, except the account that serves git.
        user = "git@" if parts.scheme == "ssh" and parts.username == "git" else ""
        host = f"[{host}]" if ":" in host else host
        # A query may be a credential too.
        address = f"{parts.scheme}://{user}{host}{f':{port}' if port else ''}{parts.path}"
    if not address.isprintable() or " " in address or not address:
        return Source("unknown")
    return _kind(record, address)


def _kind(record: Mapping[str, Any], address: str) -> Source:
    folder = record.get("subdirectory")
    fragment = f"#subdirectory={folder}" if isinstance(folder, str) and folder else ""
    if isinstance(details := record.get("dir_info"), dict) and address.startswith("file:"):
        return Source("editable" if details.get("editable") is True else "folder", _path(address))
    if isinstance(details := record.get("vcs_info"), dict) and details.get("vcs") == "git":
        commit = details.get("commit_id")
        if isinstance(commit, str) and commit and _DIGITS.issuperset(commit):
            return Source("git", address, commit, fragment)
    if isinstance(details := record.get("archive_info"), dict):
        hashes = details.get("hashes")
        digest = hashes.get("sha256") if isinstance(hashes, dict) else None
        if isinstance(digest, str) and len(digest) == _SHA256_LENGTH and _DIGITS.issuperset(digest):
            fragment = f"#sha256={digest}" + fragment.replace("#", "&")
        return Source("archive", address, fragment=fragment)
    return Source("unknown")


def _path(address: str) -> str:
    from urllib.parse import unquote

    path = unquote(address.removeprefix("file://").removeprefix("localhost"))
    return path.lstrip("/").replace("/", "\\") if os.name == "nt" else path


def _packages(extras: tuple[str, ...]) -> list[str]:
    """Return the requirements of extras, without conditions, as the packaged metadata lists them."""
    from importlib.metadata import distributions

    listed = [
        text.partition(";")
        for ours in distributions(name=_NAME, path=[_ROOT])
        for text in ours.requires or ()
    ]
    return sorted(
        {
            text.strip()
            for text, _, condition in listed
            if any(condition.replace('"', "'").strip() == f"extra == '{extra}'" for extra in extras)
        }
    )


def _pipx_extras() -> list[str] | None:
    """Return the extras in the environment that pipx has made for us; None in another environment."""
    import json

    text = _read("pipx_metadata.json")
    if text is None:
        return None
    try:
        installed = json.loads(text)["main_package"]["package_or_url"]
    except (ValueError, TypeError, LookupError):
        return []
    return _extras(installed) if isinstance(installed, str) else []


def _uv_tool_extras() -> list[str] | None:
    """Return the extras in the environment that `uv tool` has made for us; None in another environment."""
    import tomllib

    text = _read("uv-receipt.toml")
    if text is None:
        return None
    try:
        requirements = tomllib.loads(text)["tool"]["requirements"]
        return [extra for row in requirements if row["name"] == _NAME for extra in row.get("extras", ())]
    except (ValueError, TypeError, LookupError, AttributeError):
        return []


def _read(name: str) -> str | None:
    try:
        with open(os.path.join(sys.prefix, name), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            return file.read()
    except (OSError, ValueError):
        return None


def _extras(requirement: str) -> list[str]:
    """Return the extras of `name[a,b] @ …` or `/path[a,b]`."""
    text = requirement.partition(" @ ")[0].rstrip()
    if not text.endswith("]"):
        return []
    names = text[:-1].rpartition("[")[2].split(",")
    return [name.strip() for name in names if name.strip().replace("-", "").isalnum()]


def _pip() -> str:
    from importlib.util import find_spec

    distribution = _distribution()
    installer = distribution.read_text("INSTALLER") if distribution else None
    return "uv pip" if (installer or "").strip() == "uv" and find_spec("pip") is None else "pip"


def _quoted(argument: str) -> str:
    if os.name == "nt":
        return f'"{argument}"'
    from shlex import quote

    return quote(argument)
