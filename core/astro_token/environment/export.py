"""The changes of an environment for the Astro CLI: variables to set, and variables to remove."""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import MappingProxyType

from astro_token.ci import identity_copies
from astro_token.environment.context import DEFAULT_DOMAIN, Context
from astro_token.record import Record
from astro_token.secrets.admin import ADMIN_VARIABLE, admin_ref
from astro_token.secrets.registry import declared_credentials
from astro_token.secrets.schemes import credential_variables
from astro_token.system.variables import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from astro_token.secret import SecretValue
    from astro_token.token import AstroToken

__all__ = ["CliEnvironment", "export", "isolated", "telemetry_host"]

TOKEN_VARIABLE = "ASTRO_API_TOKEN"
HOME_VARIABLE = "ASTRO_HOME"
# The CLI uses these if there is no token. Astro has refused them since June 2024.
DEAD_VARIABLES = frozenset({"ASTRONOMER_KEY_ID", "ASTRONOMER_KEY_SECRET"})
# Since 1.46 the CLI's telemetry sends the token to any address that the variable names,
# from a process that outlives the CLI and writes to its home.
TELEMETRY_OFF = MappingProxyType({"ASTRO_TELEMETRY_DISABLED": "1"})
TELEMETRY_ADDRESS = "ASTRO_TELEMETRY_API_URL"
_MAX_LABEL = 63


def telemetry_host(environ: Mapping[str, str]) -> str | None:
    """
    Return the host that gets the telemetry, and the token, of an `astro` that we do not start.

    Returns:
        None if telemetry is off or goes to Astronomer by https; "" if the address is malformed.
    """
    address, off = environ.get(TELEMETRY_ADDRESS, ""), environ.get("ASTRO_TELEMETRY_DISABLED", "")
    if not address or off == "1" or off.lower() == "true":
        return None
    from urllib.parse import urlsplit

    from astro_token.transport.address import split_host_port

    try:
        parts = urlsplit(address)
        host, _ = split_host_port(parts.netloc.rpartition("@")[2], 0)
    except ValueError:
        return ""
    if parts.scheme == "https" and f".{host}".endswith(".astronomer.io"):
        return None
    # No name has a longer part, and a token that was pasted here has.
    return host if max(map(len, host.split("."))) <= _MAX_LABEL else ""


class CliEnvironment(Record):
    """
    The changes of an environment in which the Astro CLI uses a token.

    Attributes:
        set: variables to set, which are secret.
        unset: variables that would compete with them, or send the token elsewhere.
        drop: variables that the child does not need and that would give it more than the token.
        context: for the private home of a child.
        public: variables to set that are not secret.
    """

    set: Mapping[str, SecretValue]
    unset: frozenset[str] = DEAD_VARIABLES
    drop: frozenset[str] = frozenset()
    context: Context = Context()
    public: Mapping[str, str] = MappingProxyType({})

    def applied(self, environ: Mapping[str, str], *, home: str | None = None) -> dict[str, str]:
        """Apply the changes, and set the private home if there is one."""
        gone = self.unset | self.drop
        # A broken caller can pass on a variable without a name, which exec refuses.
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
    List the changes of the environment for a token.

    Args:
        workspace: used if the token names none.
        keep: variables to leave as they are that would be dropped as credentials,
            or changed to turn the Astro CLI's telemetry off.

    Raises:
        InvalidRefError: `ASTRO_TOKEN_ADMIN_REF` is malformed, so that what it names cannot be removed.
        AstroTokenError: a plugin that is in use does not name its credentials.
    """
    environ = os.environ if environ is None else environ
    # Those of a chain that were not tried may hold a token too, and so may the admin's.
    refs = [ref for ref in (token.ref, *token.chain, admin_ref(environ)) if ref is not None]
    drop = credential_variables(environ) | identity_copies(environ) | {ADMIN_VARIABLE}
    drop |= declared_credentials({ref.scheme for ref in refs})
    drop |= {ref.name for ref in refs if ref.scheme == "env"}
    return CliEnvironment(
        set=MappingProxyType({TOKEN_VARIABLE: token.secret}),
        unset=DEAD_VARIABLES | {TELEMETRY_ADDRESS}.difference(keep),
        drop=drop.difference(keep),
        context=Context(
            setting(environ, "ASTRO_DOMAIN") or DEFAULT_DOMAIN,
            token.organization,
            token.workspace or workspace,
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
    Create the environment for the Astro CLI with a token, for `subprocess.run(…, env=…)`.

    It contains the token and a private `ASTRO_HOME`, which is removed at the end of the block.
    It contains no credentials that the CLI does not need, and turns the CLI's telemetry off.
    This process's environment and the user's own home are not changed.

    Args:
        workspace: the CLI's workspace if the token names none.
        environ: the environment to change; None for that of this process.
        keep: variables to keep as they are, as in `export`.

    Raises:
        ConfigError: the Astro CLI's configuration in the working folder is not understood, or not safe.
        OutputError: no folder is safe for the home.
        InputOutputError: the home cannot be created; or the working folder was removed.
    """
    from pathlib import Path

    from astro_token.environment.cli_config import refuse_unsafe
    from astro_token.environment.private_home import private_home
    from astro_token.system.os_errors import working_folder

    environ = os.environ if environ is None else environ
    refuse_unsafe(Path(working_folder()), environ)
    environment = export(token, workspace=workspace, keep=keep, environ=environ)
    with private_home(environment.context, environ) as home:
        yield environment.applied(environ, home=str(home.path))
