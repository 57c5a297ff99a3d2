"""The shared exporter: what the environment of the Astro CLI has to hold, and what it must not."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from astro_token.environment.context import DEFAULT_DOMAIN, Context
from astro_token.secrets.registry import declared_credentials
from astro_token.secrets.schemes import CI_IDENTITY_VARIABLES, credential_variables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from astro_token.secret import SecretValue
    from astro_token.token import AstroToken

__all__ = ["CliEnvironment", "export", "isolated"]

TOKEN_VARIABLE = "ASTRO_API_TOKEN"
HOME_VARIABLE = "ASTRO_HOME"
# The CLI takes these where there is no token; Astro has refused them since June 2024.
DEAD_VARIABLES = frozenset({"ASTRONOMER_KEY_ID", "ASTRONOMER_KEY_SECRET"})
# Since 1.46 the CLI's telemetry sends the token, from a process that outlives the CLI, writes to its home,
# and posts to any address that the variable names.
TELEMETRY_OFF = MappingProxyType({"ASTRO_TELEMETRY_DISABLED": "1"})
TELEMETRY_ADDRESS = "ASTRO_TELEMETRY_API_URL"


@dataclass(frozen=True, slots=True)
class CliEnvironment:
    """
    What a token asks of the Astro CLI's environment.

    Attributes:
        set: variables to set, which are secret.
        unset: variables that would compete with them, or send the token elsewhere.
        drop: variables that a child needs not, and that could get it more than the token.
        context: for the private home of a child.
        public: variables to set that are not secret.
    """

    set: Mapping[str, SecretValue]
    unset: frozenset[str] = DEAD_VARIABLES
    drop: frozenset[str] = frozenset()
    context: Context = field(default_factory=Context)
    public: Mapping[str, str] = field(default_factory=dict)

    def applied(self, environ: Mapping[str, str], *, home: str | None = None) -> dict[str, str]:
        """A child's environment: the given one with these changes, and the private home if there is one."""
        gone = self.unset | self.drop
        # A variable without a name is inherited from a broken caller, and exec refuses it.
        child = {name: value for name, value in environ.items() if name and name not in gone}
        child |= self.public
        child |= {name: secret.reveal().decode("ascii") for name, secret in self.set.items()}
        if home is not None:
            child[HOME_VARIABLE] = home
        return child


def export(
    token: AstroToken,
    *,
    workspace: str | None = None,
    keep: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> CliEnvironment:
    """
    Turns a token into what the Astro CLI's environment has to be.

    Args:
        workspace: stands in where the token names none.
        keep: variables to leave as they are that would be dropped as credentials,
            or changed to turn the Astro CLI's telemetry off.
    """
    environ = os.environ if environ is None else environ
    drop = credential_variables() | declared_credentials() | _identities(environ)
    if token.ref is not None and token.ref.scheme == "env":
        drop |= {token.ref.name}
    return CliEnvironment(
        set=MappingProxyType({TOKEN_VARIABLE: token.secret}),
        unset=DEAD_VARIABLES | {TELEMETRY_ADDRESS}.difference(keep),
        drop=drop.difference(keep),
        context=Context(
            environ.get("ASTRO_DOMAIN") or DEFAULT_DOMAIN, token.organization, token.workspace or workspace
        ),
        public={name: value for name, value in TELEMETRY_OFF.items() if name not in keep},
    )


@contextmanager
def isolated(
    token: AstroToken,
    *,
    workspace: str | None = None,
    keep: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[dict[str, str]]:
    """
    The environment in which to run the Astro CLI with a token, for `subprocess.run(…, env=…)`.

    It is the environment given (None: this process's own) without credentials that the CLI does not need,
    with the token, without the Astro CLI's telemetry, and with a private `ASTRO_HOME`
    that is removed at the end of the block.
    This process's environment and the user's own home are not touched.

    Args:
        workspace: the one to work in, for a token of a whole organization.
        keep: variables to keep as they are, as in `export`.

    Raises:
        ConfigError: the Astro CLI's configuration in the working folder is not understood, or not safe.
        OSError: there is no place for the home.
    """
    from astro_token.environment.cli_config import refuse_unsafe
    from astro_token.environment.private_home import private_home

    environ = os.environ if environ is None else environ
    refuse_unsafe(Path.cwd(), environ)
    environment = export(token, workspace=workspace, keep=keep, environ=environ)
    with private_home(environment.context, environ) as home:
        yield environment.applied(environ, home=str(home.path))


def _identities(environ: Mapping[str, str]) -> frozenset[str]:
    """
    Variables of the user's own naming that hold the CI system's identity.

    GitLab hands it over in such, and what we take of it is often a copy of another.
    """
    copies = {environ[name] for name in CI_IDENTITY_VARIABLES if environ.get(name)}
    gitlab = environ.get("GITLAB_CI") == "true"
    return frozenset(
        name for name, value in environ.items() if value in copies or (gitlab and name.endswith("_ID_TOKEN"))
    )
