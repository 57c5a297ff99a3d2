"""
The home of the Astro CLI, with what logins and earlier jobs left there.

`exec` gives the command a home of its own: what is found here then does no harm.
An `astro` that is started in any other way uses this one, and writes the token into it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.run import outside
from astro_token.environment.cli_config import CliConfig, home_file, problems_of
from astro_token.environment.context import DEFAULT_DOMAIN
from astro_token.policy.deploy_codes import Fact
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astro_token.deploy.target import Target

__all__ = ["facts"]

_EXEC = "run it by astro-token exec, which gives the Astro CLI a home of its own"
_MANY_YEARS = "2080"  # the CLI takes a moment for a duration when it notes that a token expires


def facts(folder: Path, environ: Mapping[str, str], targets: Sequence[Target]) -> Iterator[Fact]:
    yield from _place(folder, environ)
    file = home_file(environ)
    if file is None:
        return
    config, problems = problems_of(file, environ, home=True)
    for problem in problems:
        yield Fact("home-plain-http", problem.message, problem.hint)
    if config is None:
        return
    saved = config.text("context")
    domain = environ.get("ASTRO_DOMAIN") or saved or DEFAULT_DOMAIN
    context = f"contexts.{domain.replace('.', '_').lower()}."
    if not environ.get("ASTRO_DOMAIN") and saved not in {"", DEFAULT_DOMAIN}:
        named = saved if IDENTIFIER.fullmatch(saved) else "another one"
        yield Fact(
            "stored-domain",
            f"the current context in {file} is {named}, which the Astro CLI takes, not {DEFAULT_DOMAIN}",
            f"{_EXEC}, or set ASTRO_DOMAIN to the one that is meant",
        )
    yield from _workspace(file, config.text(f"{context}workspace"), targets)
    yield from _token(file, config, context)
    if _held(file.with_name("config.yaml.lock")):
        yield Fact(
            "home-locked",
            f"another Astro CLI holds {file}: it is waited for, and after 10 seconds the token passed over",
            f"let one job at a time use this home, or {_EXEC}",
        )


def _place(folder: Path, environ: Mapping[str, str]) -> Iterator[Fact]:
    home = environ.get("ASTRO_HOME")
    if not home:
        return
    path = Path(home)
    if not path.is_absolute():
        yield Fact(
            "odd-home",
            "ASTRO_HOME is no absolute path: which home is used depends on the folder that a step is in",
            "set it to an absolute path outside the project",
        )
        path = folder / path
    elif not os.path.isdir(path) and os.path.exists(path):  # noqa: PTH110, PTH112 (see folder.py)
        yield Fact(
            "odd-home",
            "ASTRO_HOME is no folder: the Astro CLI goes on without its settings",
            "set it to a folder outside the project",
        )
    if not outside(path, folder):
        yield Fact(
            "home-in-project",
            "ASTRO_HOME lies in the project: the token is written there in clear, and deployed with the rest",
            f"set it to a folder outside the project, or {_EXEC}",
        )


def _workspace(file: Path, stale: str, targets: Sequence[Target]) -> Iterator[Fact]:
    for one in targets:
        if stale and one.known and not one.own_workspace and one.workspace not in {None, stale}:
            named = stale if IDENTIFIER.fullmatch(stale) else "another"
            yield Fact(
                "stale-workspace",
                f"{one.name} names no workspace, so the Astro CLI takes {named} from {file}, "
                f"and {one.workspace} is expected: it ends with 0 and deploys nothing",
                f"{_EXEC} with the expected workspace, or give --workspace-id",
            )


def _token(file: Path, config: CliConfig, context: str) -> Iterator[Fact]:
    if not config.text(f"{context}token"):
        return
    login = config.text(f"{context}refreshtoken") or config.text(f"{context}user_email")
    if login and config.text(f"{context}expiresin") < _MANY_YEARS:
        yield Fact(
            "login-overwritten",
            f"{file} holds a login, which the Astro CLI overwrites with the token",
            f"{_EXEC}; or log in again afterwards",
        )
    else:
        yield Fact(
            "token-left",
            f"{file} holds the token of an earlier run, which the Astro CLI uses where no other is given",
            "run astro logout there, revoke that token if others can read the file, and use astro-token exec",
        )


def _held(lock: Path) -> bool:
    """Whether a process holds the lock. The file alone means nothing: it stays afterwards."""
    if os.name != "posix":
        return False
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
