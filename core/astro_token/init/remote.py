"""
The repository of the remote: from the git configuration, without starting git or sending a request.

Of several remotes, `upstream` comes before `origin`: in a fork, jobs that may read a token run in the
repository that it was forked from.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, UsageError
from astro_token.record import Record
from astro_token.system.files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Remote", "choose", "default_branch", "git_folder", "parse", "remotes"]

_MAX_BYTES = 1024 * 1024
_SECTION = re.compile(r'\[\s*remote\s+"(\w[\w./-]*)"\s*\]\s*(?:[#;].*)?', re.IGNORECASE)
_URL = re.compile(r"url\s*=\s*\"?([^\"\s]+)\"?\s*(?:[#;].*)?", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?:(?P<protocol>https?|ssh|git\+ssh|ssh\+git|git)://(?:[^/@]*@)?(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?/"
    r"|(?:[^/@:]*@)?(?P<scp>[A-Za-z0-9.-]+):(?!//)/?)"
    r"(?P<path>[A-Za-z0-9._~%/-]+)"
)
# Hosts for ssh on the port of https.
_ALIASES = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
_PREFERRED = ("upstream", "origin")


class Remote(Record):
    """
    Attributes:
        host: of the website, with its port if that is not the usual one.
        path: of the repository: owner and name, or groups, subgroups and name.
        is_alias: the host is perhaps a name of ssh's or of git's configuration, and not that of a server.
    """

    name: str
    host: str
    path: str
    is_alias: bool = False

    @property
    def owner(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def repository(self) -> str:
        return self.path.rpartition("/")[2]


def parse(name: str, address: str) -> Remote | None:
    """Parse a remote's address; None for a folder, or a form that names no host and path. No user is kept."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return None
    path = match["path"].strip("/").removesuffix(".git").rstrip("/")
    first, *parts = path.split("/")
    host = (match["host"] or match["scp"]).lower()
    if (
        not parts
        or {"", ".", ".."} & {first, *parts}
        or not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", host)
    ):
        return None
    host = _ALIASES.get(host, host)
    # The port of ssh is not that of the website.
    usual = {"https": "443", "http": "80"}.get(match["protocol"] or "")
    port = match["port"]
    is_alias = "." not in host and not usual
    return Remote(name, f"{host}:{port}" if usual and port and port != usual else host, path, is_alias)


def git_folder(root: Path) -> Path:
    """Return the folder with the configuration; a linked working tree and a submodule name it in a file."""
    entry = root / ".git"
    if entry.is_dir():
        return entry
    link = _text(entry).strip()
    folder = root / link.removeprefix("gitdir:").strip()
    common = _text(folder / "commondir").strip()
    return folder / common if common else folder


def remotes(root: Path) -> dict[str, str]:
    """Return the addresses of the remotes by name."""
    addresses: dict[str, str] = {}
    name = ""
    for line in _text(git_folder(root) / "config").splitlines():
        text = line.strip()
        if text.startswith("["):
            section = _SECTION.fullmatch(text)
            name = section[1] if section else ""
        elif name and (match := _URL.fullmatch(text)):
            addresses.setdefault(name, match[1])
    return addresses


def choose(root: Path, wanted: str | None) -> Remote:
    """
    Choose the remote.

    Raises:
        UsageError: there are several, and no option names one; or the option names none of them.
        ConfigError: there is none, or its address names no repository of a server.
    """
    addresses = remotes(root)
    listed = ", ".join(sorted(addresses))
    if wanted is not None and wanted not in addresses:
        raise UsageError(
            "--remote names no remote", hint=f"the remotes are {listed}" if listed else "add one first"
        )
    if not addresses:
        raise ConfigError(
            "the repository has no remote, and roles are bound to it", hint="git remote add origin ADDRESS"
        )
    name = wanted or next((name for name in _PREFERRED if name in addresses), None)
    if name is None and len(addresses) > 1:
        raise UsageError(f"the repository has several remotes: {listed}", hint="choose one with --remote")
    name = name or next(iter(addresses))
    remote = parse(name, addresses[name])
    if remote is None:
        raise ConfigError(
            f"the address of the remote {name} names no repository of a server",
            hint="use a form such as https://github.com/acme/dags or git@github.com:acme/dags.git",
        )
    return remote


def default_branch(root: Path, remote: str) -> str:
    """Return the branch that the remote's HEAD names, if git knows it; else main."""
    head = _text(git_folder(root) / "refs" / "remotes" / remote / "HEAD").strip()
    prefix = f"ref: refs/remotes/{remote}/"
    return head.removeprefix(prefix) if head.startswith(prefix) else "main"


def _text(path: Path) -> str:
    """Read a file of git's; empty if there is none."""
    try:
        with open_regular(os.fspath(path)) as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
