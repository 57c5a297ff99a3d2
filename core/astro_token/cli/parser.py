"""The commands and their options, with help that teaches."""

from __future__ import annotations

import argparse
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from astro_token.cli.output import line
from astro_token.errors import UsageError
from astro_token.log import LEVELS, logger
from astro_token.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.child.hardening import SavedLimits

__all__ = ["EXAMPLE", "build", "parse"]

EXAMPLE = "astro-token exec prod -- astro deploy --dags"

_TOKEN_HELP = (
    "a reference such as vault:secret/astro/prod#token, or a name from astro-token.toml; "
    "left out, ASTRO_TOKEN_REF or the file's default is taken"
)

_MAIN = """\
Gets an Astro API token out of a secrets backend and into the Astro CLI, safely.

  astro-token exec vault:secret/astro/prod#token -- astro deploy --dags
  astro-token check --format json vault:secret/astro/prod#token
  astro-token put file:prod.token.age

Each command has help of its own: astro-token exec --help
"""

_EXEC = """\
Reads a token, checks it, and runs a command with it.

The token reaches the command by its environment and by nothing else. The command gets a private ASTRO_HOME,
so that the Astro CLI writes the token into a folder that is removed afterwards and takes nothing from an
earlier job. Credentials of secrets backends and of the CI system are kept from it: docs/exec.md lists them.
In a CI system the token is *** in what the command prints, whatever encoding it is in.
What would make an `astro deploy` do nothing, or the wrong thing, is told first: docs/check-deploy.md.
The exit status is the command's own, 128 + n where signal n ended it.

  astro-token exec -- astro deploy --dags
  astro-token exec prod -- astro deployment list
  astro-token exec vault:secret/astro/prod#token -- make deploy
  astro-token exec --keep-env AWS_PROFILE --keep-env AWS_SHARED_CREDENTIALS_FILE prod -- ./deploy.sh
"""

_EXPORT = """\
Reads a token, checks it, and prints or stores it for a shell or a CI system.

exec is safer: what is exported can be read by everything that runs later.

  out="$(astro-token export --format posix prod)" && eval "$out"
  astro-token export --format github prod          (for the later steps of a GitHub Actions job)
  astro-token export --format json prod | jq -r .ASTRO_API_TOKEN | …
  astro-token export --format value --output token prod
  astro-token export --explain                     (what would be done here, and reads no token)

The first line assigns before it evaluates, because eval "$(false)" succeeds.
auto takes the CI system's own form where one is known, and posix elsewhere. Where the log of the CI system
can be told what to hide, it is told first. docs/formats.md has the line for each shell and system.
"""

_CHECK = """\
Reads tokens and says what they are and whether they can be used. Shows no token.

Each is read from its backend and compared with the expectations and the policy of astro-token.toml.
With --online Astro is asked, with the token itself: whether it accepts it, and shows it what is expected.
The exit status is 0 if all can be used, else that of the worst finding.

  astro-token check
  astro-token check --online prod
  astro-token check --deploy --path airflow prod
  astro-token check prod staging
  astro-token check --all --format json
  astro-token check --all --format markdown
"""

_PUT = """\
Reads a token from standard input or a hidden prompt, checks it, and stores it.

Fields of the secret beside the token stay as they are, and nothing that somebody else wrote meanwhile is
overwritten. A file is encrypted with age; its key is made at a terminal, or with --create-key.

  astro-token put file:prod.token.age
  some-program | astro-token put vault:secret/astro/prod#token
"""

_DOCTOR = """\
Looks at every link of the chain from the settings to Astro, and says of each whether it holds.

Each is tried once: settings, CI system, backend, credential, network, login, permission, secret, field,
token, policy, the Astro CLI, and Astro's API, which is asked with the token. A failure does not end the look.
No credential and no token is shown: --format json can be pasted into a ticket.

  astro-token doctor
  astro-token doctor prod
  astro-token doctor --format json vault:secret/astro/prod#token
"""

_BACKENDS = """\
Lists the backends: what they read, whether their SDK is installed, and what else they can do.

  astro-token backends
  astro-token backends --format json
"""

_INSTALL_CLI = """\
Installs the Astro CLI for you alone, without root, and prints where it is.

The archive of the release is fetched over https and has to have the SHA-256 of the release's checksum file,
and the one of the [astro-cli] table of astro-token.toml where that pins it. The program takes the place of an
old one in one step, or not at all. What is there already, or in the cache, is not fetched again.

  astro-token install-cli
  astro-token install-cli --version 1.45.0 --to ./bin
  astro-token install-cli --lock                    (prints that table)
"""

_COMPLETION = """\
Prints a script that completes commands, options, their values and token names in a shell.

For a TOKEN or a KEY the script runs `astro-token completion tokens` or `keys`, which prints the names in
astro-token.toml and the schemes, reads no secret and connects to nothing.
tcsh does not tell commands apart: it offers the options of all.

  astro-token completion bash         (as ~/.local/share/bash-completion/completions/astro-token)
  astro-token completion zsh          (as _astro-token in a folder of fpath)
  astro-token completion fish         (as ~/.config/fish/completions/astro-token.fish)
  astro-token completion tcsh         (in a file that ~/.tcshrc sources)
  astro-token completion powershell   (in a file that $PROFILE sources)
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """For checks of options: the usual one measures the terminal, which imports shutil."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"width": 80, **options})


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False, formatter_class=_Formatter)

    def format_help(self) -> str:
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        # argparse repeats what was typed, which may be a token in a wrong place.
        hint = f"{self.prog} --help shows what can be given, with examples"
        wrong = re.search(r"(.*invalid choice): (.*) \(choose from (.*)\)", message, flags=re.DOTALL)
        if wrong:
            choices = [choice.strip("' ") for choice in wrong[3].split(",")]
            message = f"{wrong[1]} (choose from {', '.join(choices)})"
            meant = _meant(wrong[2].strip("'"), choices)
            hint = f"did you mean {meant}? {hint}" if meant else hint
        message = re.sub(r"(ignored explicit argument|invalid \S+ value).*", r"\1", message, flags=re.DOTALL)
        raise UsageError(message, hint=hint)


# What people call the formats that have another name here.
_ALSO = {
    **dict.fromkeys(("sh", "bash", "zsh", "ksh", "dash", "shell"), "posix"),
    **dict.fromkeys(("pwsh", "ps1"), "powershell"),
    "nu": "nushell",
    "env": "dotenv",
    "azure": "azure-pipelines",
    "github-actions": "github",
}


def _meant(typed: str, choices: list[str]) -> str | None:
    from difflib import get_close_matches

    if _ALSO.get(typed.lower()) in choices:
        return _ALSO[typed.lower()]
    return next(iter(get_close_matches(typed.lower(), choices, n=1)), None)


def build(asked: str | None = None) -> argparse.ArgumentParser:
    """
    The parser of everything but what stands after `--`.

    Args:
        asked: the command; then the others get no options, which saves the time to make them.
    """
    parser = _Parser(prog="astro-token", description=_MAIN)
    _options_of_all(parser)
    parser.add_argument("--version", action="version", version=f"astro-token {__version__}")
    # With a prog of its own argparse need not format a usage line now.
    commands = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", required=True, parser_class=_Parser)
    for name, (summary, text, options) in _COMMANDS.items():
        if asked in {None, name}:
            command = commands.add_parser(name, help=summary, description=text)
            _options_of_all(command)
            command.set_defaults(name=name, command=_command(name), takes_child=name == "exec")
            options(command)
    return parser


def _options_of_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default=argparse.SUPPRESS,
        help="show more on standard error: each step by its reference, never a value",
    )


def _reads(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--decrypt", metavar="KEY", help="a key, such as vault-transit:astro, if the secret is ciphertext"
    )
    command.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="for reading the token (default: 30)"
    )


def _asks(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--online", action="store_true", help="ask Astro too whether it accepts the token, and for what"
    )


def _exec(command: argparse.ArgumentParser) -> None:
    _reads(command)
    _asks(command)
    command.usage = "astro-token exec [TOKEN] [OPTION…] -- COMMAND [ARG…]"
    command.add_argument("token", nargs="?", metavar="TOKEN", help=_TOKEN_HELP)
    command.add_argument(
        "--no-isolate", action="store_true", help="become the command, and leave ASTRO_HOME as it is"
    )
    command.add_argument(
        "--keep-env",
        action="append",
        default=[],
        metavar="NAME",
        help="a credential that the command needs after all",
    )
    command.add_argument(
        "--mask",
        action=argparse.BooleanOptionalAction,
        help="replace the token by *** in what the command prints (default: in a CI system)",
    )


def _export(command: argparse.ArgumentParser) -> None:
    from astro_token.formats import FORMATS

    _reads(command)
    command.add_argument("token", nargs="?", metavar="TOKEN", help=_TOKEN_HELP)
    command.add_argument(
        "--format",
        choices=["auto", *FORMATS],
        default="auto",
        metavar="FORMAT",
        help=f"the form of the output: auto (the default), {', '.join(FORMATS)}",
    )
    command.add_argument("--output", metavar="FILE", help="write a new file that only you can read")
    command.add_argument("--force", action="store_true", help="replace the file of --output if it exists")
    command.add_argument(
        "--explain", action="store_true", help="say what would be done here, without reading the token"
    )


def _check(command: argparse.ArgumentParser) -> None:
    _reads(command)
    _asks(command)
    command.add_argument("token", nargs="*", metavar="TOKEN", help=_TOKEN_HELP)
    command.add_argument("--all", action="store_true", help="every token of astro-token.toml")
    command.add_argument(
        "--deploy",
        action="store_true",
        help="look at the project too: what would spoil its deploy",
    )
    command.add_argument("--path", metavar="FOLDER", help="the project's, for --deploy (default: this one)")
    command.add_argument(
        "--format",
        choices=["table", "json", "markdown"],
        default="table",
        help="(default: table); markdown is for the job's summary of a CI system too",
    )


def _doctor(command: argparse.ArgumentParser) -> None:
    _reads(command)
    command.add_argument("token", nargs="?", metavar="TOKEN", help=_TOKEN_HELP)
    command.add_argument("--format", choices=["table", "json"], default="table", help="(default: table)")


def _put(command: argparse.ArgumentParser) -> None:
    _reads(command)
    command.add_argument("token", nargs="?", metavar="TOKEN", help=_TOKEN_HELP)
    command.add_argument(
        "--create-key", action="store_true", help="make the key of an encrypted file if there is none"
    )


def _backends(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=["table", "json"], default="table", help="(default: table)")


def _install_cli(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--version", metavar="X", help="such as 1.45.0 (default: that of astro-token.toml, else the latest)"
    )
    aim = command.add_mutually_exclusive_group()
    aim.add_argument("--to", metavar="DIR", help="the folder of the program (default: ~/.local/bin)")
    aim.add_argument(
        "--lock", action="store_true", help="install nothing; print the table that pins version and digests"
    )
    command.add_argument("--timeout", type=float, metavar="SECONDS", help="for all of it (default: 600)")


def _completion(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "shell",
        choices=["bash", "zsh", "fish", "tcsh", "powershell", "tokens", "keys"],
        metavar="SHELL",
        help="bash, zsh, fish, tcsh or powershell",
    )


_COMMANDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "exec": ("run a command with a token", _EXEC, _exec),
    "export": ("hand a token to a shell or a CI system", _EXPORT, _export),
    "check": ("say what tokens are and whether they can be used", _CHECK, _check),
    "put": ("store a token", _PUT, _put),
    "doctor": ("look at each link of the chain, and say what to mend", _DOCTOR, _doctor),
    "backends": ("list the backends", _BACKENDS, _backends),
    "install-cli": ("install the Astro CLI, verified", _INSTALL_CLI, _install_cli),
    "completion": ("print a script for a shell's completion", _COMPLETION, _completion),
}


def parse(argv: list[str]) -> argparse.Namespace:
    """
    Reads the command line.

    Raises:
        UsageError: without what was typed.
    """
    from astro_token.secrets.ref import refuse_token

    own, dashes, child = _split(argv)
    for text in (*own, *child[:1]):  # the child's arguments are its own
        refuse_token(text)
    # Where the first argument is a command, no other can be meant.
    asked = own[0] if own and own[0] in _COMMANDS else None
    arguments, unknown = build(asked).parse_known_args(own)
    if dashes and not arguments.takes_child:
        raise UsageError("only exec takes a command after --", hint="astro-token exec --help has examples")
    if unknown and arguments.takes_child and not dashes:
        raise UsageError("the command has to stand after --", hint=f"for example: {EXAMPLE}")
    if unknown:
        # Only what can be nothing but an option is repeated.
        option = next((text for text in unknown if re.fullmatch(r"--?[a-z][a-z-]{0,20}", text)), None)
        raise UsageError(
            f"there is no option {option}" if option else "there are too many arguments, or unknown ones",
            hint=(None if option else _format_meant(arguments, own))
            or f"astro-token {arguments.name} --help shows what can be given, with examples",
        )
    arguments.child = child
    logger.show_with(line, getattr(arguments, "log_level", "warning"))
    return arguments


def _format_meant(arguments: argparse.Namespace, own: list[str]) -> str | None:
    """Of `export posix prod`, which reads well and is not the form."""
    if arguments.name != "export":
        return None
    from astro_token.formats import FORMATS

    return next((f"a format is given as --format {text}" for text in own if text in FORMATS), None)


def _split(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in argv:
        return argv, False, []
    at = argv.index("--")
    return argv[:at], True, argv[at + 1 :]


def _command(name: str) -> Callable[[argparse.Namespace, SavedLimits], int]:
    """The command's function, whose module is imported when it is called."""

    def call(arguments: argparse.Namespace, limits: SavedLimits) -> int:
        function: Callable[[argparse.Namespace, SavedLimits], int] = import_module(
            f"astro_token.cli.{name.replace('-', '_')}"
        ).run
        return function(arguments, limits)

    return call
