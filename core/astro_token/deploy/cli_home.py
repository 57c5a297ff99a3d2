"""
The Astro CLI's variables, and its home, with settings and tokens that logins and earlier jobs left there.

`exec` gives the command a home of its own, so that the user's does no harm.
An `astro` that is started without `exec` uses the user's, and writes the token into it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.destination import shown
from astro_token.environment.cli_config import CliConfig, home_file, problems_of
from astro_token.environment.context import DEFAULT_DOMAIN
from astro_token.environment.export import DEAD_VARIABLES
from astro_token.policy.deploy_codes import Finding
from astro_token.system.programs import lies_in
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from astro_token.deploy.destination import Destination

__all__ = ["findings"]

_MANY_YEARS = "2080"  # the CLI writes a duration where it means a time, which puts the expiry far away
# The domains that the CLI accepts as Astro's, except forms with a scheme or a path, on which it fails later.
_ASTRO = re.compile(r"(?:pr[0-9]{4,6}\.)?(?:cloud\.)?astronomer(?:-(?:dev|stage|perf))?\.io")


def findings(
    folder: Path, environ: Mapping[str, str], destinations: Sequence[Destination]
) -> Iterator[Finding]:
    """Examine the variables, and the home with its configuration."""
    yield from _variables(environ)
    yield from _location(folder, environ)
    file = home_file(environ)
    if file is None:
        return
    config, problems = problems_of(file, environ, home=True)
    for problem in problems:
        yield Finding("home-plain-http", problem.message, problem.hint)
    if config is None:
        return
    saved = config.text("context")
    domain = environ.get("ASTRO_DOMAIN") or saved or DEFAULT_DOMAIN
    context = f"contexts.{domain.replace('.', '_').lower()}."
    if not environ.get("ASTRO_DOMAIN") and saved not in {"", DEFAULT_DOMAIN}:
        yield Finding(
            "stored-domain",
            f"the current context in {file} is {shown(saved)}, "
            f"which the Astro CLI uses, not {DEFAULT_DOMAIN}",
        )
    yield from _workspace(file, config.text(f"{context}workspace"), destinations)
    yield from _token(file, config, context)
    if _held(file.with_name("config.yaml.lock")):
        yield Finding(
            "home-locked",
            f"another Astro CLI holds {file}: yours waits 10 seconds, and then ignores the token",
        )


def _variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    domain = environ.get("ASTRO_DOMAIN", "")
    if domain == "localhost":
        yield Finding(
            "local-domain",
            "ASTRO_DOMAIN is localhost: the Astro CLI sends the token over plain http to this machine",
        )
    elif domain and not _ASTRO.fullmatch(domain):
        named = f", {domain}," if is_identifier(domain) else ""
        yield Finding(
            "foreign-domain",
            f"ASTRO_DOMAIN{named} is not a domain of Astro: the Astro CLI does not use the token there",
        )
    dead = sorted(name for name in DEAD_VARIABLES if environ.get(name))
    if dead:
        yield Finding(
            "dead-keys",
            f"{' and '.join(dead)} {'is' if len(dead) == 1 else 'are'} set: "
            "Astro no longer accepts such keys, and the Astro CLI uses them if there is no token",
        )


def _location(folder: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    home = environ.get("ASTRO_HOME")
    if not home:
        return
    path = Path(home)
    if not path.is_absolute():
        yield Finding(
            "odd-home", "ASTRO_HOME is a relative path: the home depends on the working folder of each step"
        )
        path = folder / path
    elif not os.path.isdir(path) and os.path.exists(path):  # noqa: PTH110, PTH112 (see project_layout.py)
        yield Finding("odd-home", "ASTRO_HOME is not a folder: the Astro CLI continues without its settings")
    if lies_in(path, [folder]):
        yield Finding(
            "home-in-project",
            "ASTRO_HOME lies in the project: the token is written there in clear, and deployed with the rest",
        )


def _workspace(file: Path, stale: str, destinations: Sequence[Destination]) -> Iterator[Finding]:
    for each in destinations:
        if stale and each.token_read and not each.token_workspace and each.workspace not in {None, stale}:
            yield Finding(
                "stale-workspace",
                f"{each.name} names no workspace, so the Astro CLI uses {shown(stale)} from {file}, "
                f"and {each.workspace} is expected: it ends with 0 and deploys nothing",
            )


def _token(file: Path, config: CliConfig, context: str) -> Iterator[Finding]:
    if not config.text(f"{context}token"):
        return
    login = config.text(f"{context}refreshtoken") or config.text(f"{context}user_email")
    if login and config.text(f"{context}expiresin") < _MANY_YEARS:
        yield Finding(
            "login-overwritten", f"{file} holds a login, which the Astro CLI overwrites with the token"
        )
    else:
        yield Finding(
            "token-left",
            f"{file} holds the token of an earlier run, which the Astro CLI uses if no other is given",
        )


def _held(lock: Path) -> bool:
    """Test the lock for a process that holds it. The file alone means nothing: it is never removed."""
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
