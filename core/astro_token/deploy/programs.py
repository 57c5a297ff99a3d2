"""The programs that a deploy needs: which are there, and which `astro` it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from astro_token.deploy.run import ask, outside, program, safe_path
from astro_token.environment.context import Context
from astro_token.environment.private_home import private_home
from astro_token.errors import OutputError
from astro_token.policy.deploy_codes import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from astro_token.deploy.target import Target
    from astro_token.settings.astro_cli_pin import Lock

__all__ = ["Astro", "astro", "facts"]

# Since then a token without an expiry is taken as one that never expires, and an expired one is named;
# before, both were passed over and another failure was shown.
_LEAST = (1, 27, 1)
# Since then --workspace-id counts for an organization's token (astronomer/astro-cli#1635).
_LEAST_FOR_ORGANIZATIONS = (1, 44, 0)
_VERSION = re.compile(rb"Astro CLI Version: *v?([0-9A-Za-z][0-9A-Za-z.+-]{0,63})\s")
_RENEW = "run astro-token install-cli, and put its folder first on PATH"
_INSTALL = "install it by astro-token install-cli, and put its folder on PATH"


class Astro(NamedTuple):
    """
    Attributes:
        path: of the one on PATH; None where there is none.
        version: None where it was not asked, or does not tell.
        facts: what is wrong with it.
    """

    path: Path | None
    version: str | None
    facts: tuple[Fact, ...]


def facts(
    top: Path | None, environ: Mapping[str, str], lock: Lock | None, targets: Sequence[Target]
) -> Iterator[Fact]:
    """As `astro`, and of what builds the image."""
    yield from astro(top, environ, lock, targets).facts
    if not any(program(name, environ) for name in ("docker", "podman")):
        yield Fact(
            "no-docker",
            "neither docker nor podman is on PATH: only astro deploy --dags can work",
            "install one of them, or deploy DAGs only",
        )


def astro(
    top: Path | None, environ: Mapping[str, str], lock: Lock | None, targets: Sequence[Target]
) -> Astro:
    """
    Args:
        top: what lies in this folder is a checkout's, and is not run; None where there is none.
    """
    path = program("astro", environ)
    if path is None:
        return Astro(None, None, (Fact("no-astro", "astro is not on PATH", _INSTALL),))
    if top is not None and not outside(path, top):
        fact = Fact(
            "astro-in-project",
            "the astro on PATH lies in the repository: it was not run here, and may be deployed",
            "install it outside, by astro-token install-cli",
        )
        return Astro(path, None, (fact,))
    try:
        version = _version_of(path, environ, top)
        complaint = "does not say its version as the Astro CLI does, and may be another program"
    except (OSError, OutputError):
        version, complaint = None, "was not asked for its version: there is no safe place for a home"
    if version is None:
        return Astro(path, None, (Fact("unknown-astro", f"the astro on PATH {complaint}", _INSTALL),))
    return Astro(path, version, tuple(_wrong(version, lock, targets)))


def _wrong(version: str, lock: Lock | None, targets: Sequence[Target]) -> Iterator[Fact]:
    if lock is not None and version != lock.version:
        yield Fact(
            "other-astro",
            f"the astro on PATH is {version}, and the project's file wants {lock.version}",
            _RENEW,
        )
    parts = re.match(r"([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})", version)
    number = tuple(map(int, parts.groups())) if parts else None  # a build of one's own has none
    if number and number < _LEAST:
        yield _old(version, _LEAST, "an expired token reads as a missing workspace")
    elif (
        number and number < _LEAST_FOR_ORGANIZATIONS and any(t.known and not t.own_workspace for t in targets)
    ):
        yield _old(
            version,
            _LEAST_FOR_ORGANIZATIONS,
            "a token without a workspace makes --workspace-id count for nothing",
        )


def _old(version: str, least: tuple[int, ...], why: str) -> Fact:
    return Fact(
        "old-astro",
        f"the astro on PATH is {version}, and before {'.'.join(map(str, least))} {why}",
        _RENEW,
    )


def _version_of(astro: Path, environ: Mapping[str, str], top: Path | None) -> str | None:
    """
    What the program says of itself, in an environment without the token and with a home that is thrown away.

    Args:
        top: the checkout, of which it is to start nothing.

    Raises:
        OSError, OutputError: no place for the home.
    """
    with private_home(Context(), {**environ, "ASTRO_HOME": "", "HOME": ""}) as home:
        # Else it asks for a newer release, and waits for the answer.
        (home.path / ".astro" / "config.yaml").write_text('upgrade_message: "false"\n')
        answer = ask(
            [str(astro), "version"],
            {
                "PATH": safe_path(environ, top),
                "HOME": str(home.path),
                "ASTRO_HOME": str(home.path),
                "ASTRO_TELEMETRY_DISABLED": "1",
                "LC_ALL": "C",
            },
            home.path,
        )
    match = _VERSION.search(answer.output) if answer and answer.code == 0 else None
    return match[1].decode("ascii") if match else None
