"""The commands and their options, with help texts that contain examples."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from astro_token.cli.output import line
from astro_token.errors import UsageError
from astro_token.log import LEVELS, logger
from astro_token.version import __version__
from astro_token.wording import closest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXAMPLE", "build", "parse"]

EXAMPLE = "astro-token exec prod -- astro deploy --dags cldep00000000000000000"

_TOKEN_HELP = (
    "a reference such as vault:secret/astro/prod#token, or a name from astro-token.toml; "
    "default: ASTRO_TOKEN_REF, else the default of astro-token.toml"
)

_MAIN = """\
Hand an Astro API token from a secrets backend to the Astro CLI, safely.

  astro-token exec vault:secret/astro/prod#token -- astro deploy --dags cldep00000000000000000
  astro-token check --format json vault:secret/astro/prod#token
  astro-token put file:prod.token.age

Each command has its own help: astro-token exec --help
"""

_EXEC = """\
Read a token, check it, and run a command with it.

The token reaches the command through its environment only. The command gets a private ASTRO_HOME: the Astro
CLI writes the token into a folder that is removed afterwards, and uses nothing from an earlier job.
Credentials of secrets backends and of the CI system are removed from its environment: docs/exec.md.
In a CI system its output shows *** in place of the token, in any encoding.
Before `astro deploy`, problems that would make it fail or do nothing are reported: docs/check-deploy.md.
The exit status is the command's own, or 128 + n if signal n ended it.

  astro-token exec -- astro deploy --dags cldep00000000000000000
  astro-token exec prod -- astro deployment list
  astro-token exec vault:secret/astro/prod#token -- make deploy
  astro-token exec --keep-env AWS_PROFILE --keep-env AWS_SHARED_CREDENTIALS_FILE prod -- ./deploy.sh
"""

_EXPORT = """\
Read a token, check it, and print or store it for a shell or a CI system.

exec is safer: an exported token can be read by every later program.

  out="$(astro-token export --format posix prod)" && eval "$out"
  astro-token export --format github prod          (for the later steps of a GitHub Actions job)
  astro-token export --format json prod | jq -r .ASTRO_API_TOKEN | …
  astro-token export --format value --output token prod
  astro-token export --explain                     (describes the export, reads no token)

The first line assigns before it evaluates, because eval "$(false)" succeeds.
auto selects the format of the CI system, and posix elsewhere. If the CI system can mask values in its log,
the mask is set first. docs/formats.md has the line for each shell and system.
"""

_CHECK = """\
Read tokens, and report their claims and whether they can be used. Shows no token.

Each token is compared with the expectations and the policy of astro-token.toml.
With --online, requests with the token show whether Astro accepts it for the expected scope.
The exit status is 0 if all tokens can be used, else that of the worst finding. Warnings count with --strict.

  astro-token check
  astro-token check --online prod
  astro-token check --deploy --path airflow prod
  astro-token check prod staging
  astro-token check --all --strict
  astro-token check --all --format json
  astro-token check --all --format markdown
"""

_PUT = """\
Read a token from standard input or a hidden prompt, check it, and store it.

Other fields of the secret stay as they are, and a concurrent change is not overwritten.
A file is encrypted with age; its key is created at a terminal, or with --create-key.

  astro-token put file:prod.token.age
  some-program | astro-token put vault:secret/astro/prod#token
"""

_CREATE = """\
Create a token at Astro with the least permission that it needs, and store it in its backend.

Role, scope, lifetime and title come from the token's table in astro-token.toml, or from options, and policy
limits them. The value is never shown. Running the same command again continues from any point; see
docs/rotate.md.

  astro-token create prod
  astro-token create --role DEPLOYMENT_ADMIN --deployment cldep00000000000000000 vault:secret/astro/prod#token
  astro-token create --lifetime 30d --title deploy-prod prod
"""

_ROTATE = """\
Replace tokens by new ones with the same roles, without an outage.

A new token is created, stored and verified before it becomes the current one. The previous token stays valid
for a grace period; a later run revokes it. Running the same command again continues from any point.
The value stays where it is. Next to it a secret is kept with the state of the rotation: docs/rotate.md.

  astro-token rotate prod
  astro-token rotate --all --if-expires-within 14d
  astro-token rotate --grace 1h prod
  astro-token rotate --finish --grace 0s prod       (revokes the previous token now)
  astro-token rotate --in-place --escrow prod.escrow.age prod
"""

_REVOKE = """\
Show a token, delete it at Astro, and verify that it is gone.

The current token of a reference, or of a token in astro-token.toml, is revoked only with --force.

  astro-token revoke --id cltk00000000000000000
  astro-token revoke --force prod
"""

_AUDIT = """\
Compare every API token of the organization with policy, and report what needs attention. Shows no token.

It reports tokens without an expiry, with a wide role or scope, unused, old, expiring or duplicate;
leftovers of rotations; tokens that no configuration holds; configured tokens that Astro does not know.
docs/audit.md lists the findings.
The credential of --admin lists the tokens. The exit status is 0; with --strict, findings end with 65.

  astro-token audit --admin vault:secret/astro/admin#token
  astro-token audit --strict
  astro-token audit --format html --output audit.html
  astro-token audit --format markdown              (also written to the job summary of a CI system)
"""

_DOCTOR = """\
Check every step from the settings to Astro, and report each result.

Each step is tried once: settings, CI system, backend, credential, network, login, permission, secret, field,
token, policy, the Astro CLI, and Astro's API, with the token. A failure does not end the report.
No credential and no token is shown: --format json can be pasted into a ticket.

  astro-token doctor
  astro-token doctor prod
  astro-token doctor --offline                  (does not contact Astro's API)
  astro-token doctor --format json vault:secret/astro/prod#token
"""

_BACKENDS = """\
List the backends: the secrets that they read, whether their SDK is installed, and further abilities.

`new` writes a distribution with a backend of your own into ./astro-token-NAME: a module, the contract as its
test, pyproject.toml and README.md. NAME is the scheme of its references. It prints the command that runs the
test, which passes: docs/plugins.md.

  astro-token backends
  astro-token backends --format json
  astro-token backends new acme
"""

_INSTALL_CLI = """\
Install the Astro CLI for you alone, without root, and print its path.

The archive is fetched over https. Its SHA-256 must equal the one in the release's checksum file, and the one
in the [astro-cli] table of astro-token.toml if that pins it. An older program is replaced in one step, or not
at all. A release that is installed or cached is not fetched again.

  astro-token install-cli
  astro-token install-cli --version 1.48.0 --to ./bin
  astro-token install-cli --lock                    (prints that table)
"""

_COMPLETION = """\
Print a script that completes commands, options, their values and token names in a shell.

For a TOKEN or a KEY the script runs `astro-token completion tokens` or `keys`, which prints the names in
astro-token.toml and the schemes, reads no secret and connects to nothing.
In tcsh the script offers the options of all commands.

  astro-token completion bash         (as ~/.local/share/bash-completion/completions/astro-token)
  astro-token completion zsh          (as _astro-token in a folder of fpath)
  astro-token completion fish         (as ~/.config/fish/completions/astro-token.fish)
  astro-token completion tcsh         (in a file that ~/.tcshrc sources)
  astro-token completion powershell   (in a file that $PROFILE sources)
"""

_INIT = """\
Write the files with which the CI jobs of this repository, and no other jobs, get their tokens.

It writes astro-token.toml, the CI system's file, a nightly check, and scripts that create the permissions
in the backend, bound to this repository and its environments. It detects the remote, the Astro project, CI
files, and a login in the environment, and sends no request. A file that exists stays: its text is printed.
At a terminal it prompts for what is not given. Lines that you have to change are marked CHANGE: docs/init.md.

  astro-token init
  astro-token init --backend vault --ci github --environment dev --environment prod
  astro-token init --backend aws --ci gitlab --environment prod=main --dry-run
"""

_LIFECYCLE_TIMEOUT = "each token (default: 120)"
_ON_COMMAND_LINE = (
    "a command line is readable by every user of the machine: replace that token, "
    "and give the new one on standard input or in a variable"
)

# argparse looks up translations of its messages in files, and imports locale for that.
vars(argparse)["_"] = str


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Check the help texts of options without measuring the terminal, which imports shutil."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"width": 80, **options})


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False, formatter_class=_Formatter)

    def format_help(self) -> str:
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

    def option_names(self) -> list[str]:
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        # argparse repeats the argument, which may be a misplaced token.
        hint = f"run {self.prog} --help for the options and examples"
        wrong = re.search(r"(.*invalid choice): (.*) \(choose from (.*)\)", message, flags=re.DOTALL)
        if wrong:
            choices = [choice.strip("' ") for choice in wrong[3].split(",")]
            message = f"{wrong[1]} (choose from {', '.join(choices)})"
            from astro_token.ci.formats import format_names

            typed = wrong[2].strip("'").lower()
            names = format_names()
            meant = names[typed] if names.get(typed) in choices else closest(typed, choices)
            hint = f"did you mean {meant}? {hint}" if meant else hint
        message = re.sub(r"(ignored explicit argument|invalid \S+ value).*", r"\1", message, flags=re.DOTALL)
        raise UsageError(message, hint=hint)


def build(only: str | None = None) -> argparse.ArgumentParser:
    """
    Build the parser for the arguments before `--`.

    Args:
        only: the only command to add; None for all.
    """
    parser = _Parser(prog="astro-token", description=_MAIN)
    _add_log_level(parser)
    version = f"astro-token {__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version")
    # Without `prog` argparse would format a usage line now.
    commands = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", required=True, parser_class=_Parser)
    for name, (summary, text, options) in _COMMANDS.items():
        if only in {None, name}:
            command = commands.add_parser(name, help=summary, description=text)
            _add_log_level(command)
            command.set_defaults(name=name)
            options(command)
    return parser


def _add_log_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default=argparse.SUPPRESS,
        help="show more on standard error: each step by its reference, never a value",
    )


def _add_token(
    command: argparse.ArgumentParser, count: str = "?", timeout: str = "reading the token (default: 30)"
) -> None:
    command.add_argument("token", nargs=count, metavar="TOKEN", help=_TOKEN_HELP)
    command.add_argument(
        "--decrypt", metavar="KEY", help="a key, such as vault-transit:astro, if the secret is ciphertext"
    )
    command.add_argument("--timeout", type=float, metavar="SECONDS", help=f"time limit for {timeout}")


def _add_admin(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--admin",
        metavar="REF",
        help="the reference of the credential that manages tokens (default: ASTRO_TOKEN_ADMIN_REF)",
    )


def _add_online(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--online",
        action="store_true",
        help="also check with Astro whether it accepts the token, and its scope",
    )


def _exec(command: argparse.ArgumentParser) -> None:
    _add_token(command)
    _add_online(command)
    command.usage = "astro-token exec [TOKEN] [OPTION…] -- COMMAND [ARG…]"
    command.add_argument(
        "--no-isolate",
        action="store_true",
        help="replace this process by the command, without a private ASTRO_HOME",
    )
    command.add_argument(
        "--keep-env",
        action="append",
        default=[],
        metavar="NAME",
        help="keep a variable that would be removed or changed",
    )
    command.add_argument(
        "--mask",
        action=argparse.BooleanOptionalAction,
        help="show *** in place of the token in the command's output (default: in a CI system)",
    )


def _export(command: argparse.ArgumentParser) -> None:
    from astro_token.ci.formats import all_formats

    formats = all_formats()
    _add_token(command)
    command.add_argument(
        "--format",
        choices=["auto", *formats],
        default="auto",
        metavar="FORMAT",
        help=f"the form of the output: auto (the default), {', '.join(formats)}",
    )
    _add_output(command)
    command.add_argument(
        "--explain", action="store_true", help="describe the export without reading the token"
    )


def _audit(command: argparse.ArgumentParser) -> None:
    _add_admin(command)
    command.add_argument("--strict", action="store_true", help="end with 65 if there is a finding")
    _add_format(command, "csv", "markdown", "html")
    _add_output(command)
    command.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="time limit for the audit (default: 120)"
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", metavar="FILE", help="write a new file that only you can read")
    command.add_argument("--force", action="store_true", help="replace the file of --output if it exists")


def _add_format(command: argparse.ArgumentParser, *others: str, note: str = "") -> None:
    choices = ["table", "json", *others]
    command.add_argument("--format", choices=choices, default="table", help=f"(default: table){note}")


def _check(command: argparse.ArgumentParser) -> None:
    _add_token(command, "*")
    _add_online(command)
    command.add_argument("--all", action="store_true", help="every token of astro-token.toml")
    command.add_argument(
        "--deploy",
        action="store_true",
        help="also check the project for problems that would make its deploy fail or do nothing",
    )
    command.add_argument(
        "--path", metavar="FOLDER", help="the project's folder, for --deploy (default: the working folder)"
    )
    command.add_argument("--strict", action="store_true", help="end with 65 if there is a warning")
    _add_format(command, "markdown", note="; markdown is also written to the job summary of a CI system")


def _doctor(command: argparse.ArgumentParser) -> None:
    _add_token(command)
    command.add_argument("--offline", action="store_true", help="do not contact Astro's API")
    _add_format(command)


def _put(command: argparse.ArgumentParser) -> None:
    _add_token(command)
    command.add_argument(
        "--create-key", action="store_true", help="create the key of an encrypted file if it is missing"
    )


def _create(command: argparse.ArgumentParser) -> None:
    _add_token(command, timeout="the creation (default: 120)")
    command.add_argument(
        "--role", metavar="R", help="the role at Astro, such as DEPLOYMENT_ADMIN, or a custom role"
    )
    lifetime = command.add_mutually_exclusive_group()
    lifetime.add_argument("--lifetime", metavar="D", help="the lifetime, 1d to 3650d (default: 90d)")
    lifetime.add_argument(
        "--never-expires",
        action="store_true",
        help="create a token without an expiry, which policy can forbid",
    )
    command.add_argument("--title", metavar="T", help="the title at Astro (default: the token's name)")
    for scope in ("organization", "workspace", "deployment"):
        command.add_argument(f"--{scope}", metavar="ID", help=f"the {scope} that the token is for")
    command.add_argument(
        "--force", action="store_true", help="replace the stored token also if Astro accepts it"
    )
    _add_admin(command)


def _rotate(command: argparse.ArgumentParser) -> None:
    _add_token(command, "*", _LIFECYCLE_TIMEOUT)
    command.add_argument("--all", action="store_true", help="every token of astro-token.toml")
    command.add_argument("--if-older-than", metavar="D", help="begin only if the token is older, such as 60d")
    command.add_argument(
        "--if-expires-within", metavar="D", help="begin only if the token expires sooner, such as 14d"
    )
    command.add_argument(
        "--grace", metavar="D", help="how long the previous token stays valid (default: 24h)"
    )
    command.add_argument("--finish", action="store_true", help="begin nothing; finish what is open")
    command.add_argument(
        "--in-place", action="store_true", help="keep the token's id; its old value is invalid at once"
    )
    command.add_argument(
        "--escrow",
        metavar="FILE",
        help="with --in-place: the encrypted file that keeps the new value meanwhile",
    )
    command.add_argument("--dry-run", action="store_true", help="show what would be done, and write nothing")
    _add_admin(command)
    _add_format(command)


def _revoke(command: argparse.ArgumentParser) -> None:
    _add_token(command, timeout="the revocation (default: 120)")
    command.add_argument("--id", metavar="ID", help="the identifier of the token at Astro")
    command.add_argument("--force", action="store_true", help="delete it also if it is a current token")
    _add_admin(command)


def _backends(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", nargs="?", choices=["new"], metavar="new", help="write a backend")
    command.add_argument("scheme", nargs="?", metavar="NAME", help="the scheme of its references")
    _add_format(command)


def _install_cli(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--version",
        metavar="X",
        help="the release, such as 1.48.0 (default: that of astro-token.toml, else the latest)",
    )
    target = command.add_mutually_exclusive_group()
    target.add_argument("--to", metavar="DIR", help="the folder of the program (default: ~/.local/bin)")
    target.add_argument(
        "--lock", action="store_true", help="install nothing; print the table that pins version and digests"
    )
    command.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="time limit for the installation (default: 600)"
    )


def _completion(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "shell",
        choices=["bash", "zsh", "fish", "tcsh", "powershell", "tokens", "keys"],
        metavar="SHELL",
        help="bash, zsh, fish, tcsh or powershell",
    )


def _init(command: argparse.ArgumentParser) -> None:
    from astro_token.init.plan import BACKENDS
    from astro_token.init.systems import SYSTEMS

    command.add_argument("--backend", choices=[*BACKENDS], help="the service that stores the tokens")
    command.add_argument(
        "--ci", choices=[*SYSTEMS], metavar="SYSTEM", help=f"the CI system: {', '.join(SYSTEMS)}"
    )
    command.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="E",
        help="an environment, such as prod, or prod=main with its branch (default: prod); may be repeated",
    )
    command.add_argument(
        "--remote",
        metavar="NAME",
        help="the remote of git (default: upstream, else origin, else the only one)",
    )
    command.add_argument(
        "--repository-id",
        metavar="N",
        help="the number of the repository at GitHub, or of the project at GitLab, which the roles then bind",
    )
    command.add_argument("--owner-id", metavar="N", help="the number of the repository's owner at GitHub")
    command.add_argument("--dry-run", action="store_true", help="print a diff, and write nothing")


_COMMANDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "init": ("write the files of a CI system and the permissions of its jobs", _INIT, _init),
    "exec": ("run a command with a token", _EXEC, _exec),
    "export": ("hand a token to a shell or a CI system", _EXPORT, _export),
    "check": ("report the claims of tokens and whether they can be used", _CHECK, _check),
    "put": ("store a token", _PUT, _put),
    "create": ("create a token and store it", _CREATE, _create),
    "rotate": ("replace tokens without an outage", _ROTATE, _rotate),
    "revoke": ("delete a token at Astro", _REVOKE, _revoke),
    "audit": ("compare all tokens of the organization with policy", _AUDIT, _audit),
    "doctor": ("check every step from the settings to Astro", _DOCTOR, _doctor),
    "backends": ("list the backends, or write a new one", _BACKENDS, _backends),
    "install-cli": ("install the Astro CLI, verified", _INSTALL_CLI, _install_cli),
    "completion": ("print a script for a shell's completion", _COMPLETION, _completion),
}


def parse(argv: list[str]) -> argparse.Namespace:
    """
    Parse the command line.

    Raises:
        UsageError: its message repeats no argument.
    """
    from astro_token.secrets.ref import refuse_token

    dashes = "--" in argv
    end = argv.index("--") if dashes else len(argv)
    own, child = argv[:end], argv[end + 1 :]
    for text in (*own, *child[:1]):  # further arguments belong to the child
        refuse_token(text, hint=_ON_COMMAND_LINE)
    only = own[0] if own and own[0] in _COMMANDS else None
    arguments, unknown = build(only).parse_known_args(own)
    takes_child = arguments.name == "exec"
    if dashes and not takes_child:
        raise UsageError("only exec takes a command after --", hint="astro-token exec --help has examples")
    if unknown and takes_child and not dashes:
        raise UsageError("the command must follow --", hint=f"for example: {EXAMPLE}")
    if unknown:
        _refuse(arguments.name, unknown, own)
    arguments.child = child
    logger.show_with(line, getattr(arguments, "log_level", "warning"))
    return arguments


def _refuse(command: str, unknown: list[str], own: list[str]) -> NoReturn:
    """Refuse unknown arguments. Only a text that cannot be a token is repeated."""
    hint = f"run astro-token {command} --help for the options and examples"
    option = next((text for text in unknown if re.fullmatch(r"--?[a-z][a-z-]{0,20}", text)), None)
    if option:
        options = _Parser()
        _add_log_level(options)
        _COMMANDS[command][2](options)
        # `--isolate` is not meant to be `--no-isolate`.
        names = [name for name in options.option_names() if name[:5] != "--no-" or option[:5] == "--no-"]
        meant = closest(option, names, alike=0.75)
        hint = f"did you mean {meant}? {hint}" if meant else hint
        raise UsageError(f"unknown option {option}", hint=hint)
    if command == "export":  # `export posix prod`
        from astro_token.ci.formats import all_formats

        meant = next((text for text in own if text in all_formats()), None)
        hint = f"give the format as --format {meant}" if meant else hint
    raise UsageError("too many or unknown arguments", hint=hint)
