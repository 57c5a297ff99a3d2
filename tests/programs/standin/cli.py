"""The command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from . import commands
from .api import Api
from .auth import set_up
from .commands import Call
from .config import Config, is_cloud
from .deploy import deploy
from .errors import CommandError, PanicError, UnsupportedError
from .telemetry import SEND, send, track

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NOT_GLOBAL = (
    "You are attempting to {0} [setting-name] a project config outside of a project directory\n"
    " To {0} [setting-name] a global config try\n"
    "astro config {0} [setting-name] {1} -g\n"
)
NO_PROJECT = (
    "this is not an Astro project directory.\n"
    "Change to another directory or run astro dev init to turn your working directory into an Astro project\n"
)


class Command(NamedTuple):
    """
    Attributes:
        usage: what follows `astro` in the usage line.
        flags: name to one letter, or to "" for none; with `=` at its end the name takes a value.
        auth: whether the token is looked at before it runs.
        quiet: whether that goes without a line on standard output.
        local: whether a domain that is not Astro's makes no difference.
        project: whether it runs in a project only.
        most: how many arguments it takes; None where the real one counts them later, or never.
    """

    run: Callable[[Call], None]
    usage: str
    flags: Mapping[str, str] = {}
    auth: bool = True
    quiet: bool = False
    local: bool = False
    project: bool = False
    most: int | None = None


_WS = {"workspace-id=": ""}
COMMANDS = {
    ("version",): Command(commands.version, "version", auth=False, local=True),
    ("context", "list"): Command(commands.context_list, "context list", auth=False, local=True),
    ("auth", "token"): Command(commands.auth_token, "auth token", local=True, most=0),
    ("organization", "list"): Command(commands.organization_list, "organization list"),
    ("workspace", "list"): Command(commands.workspace_list, "workspace list"),
    ("deployment", "list"): Command(commands.deployment_list, "deployment list", {"all": "a", **_WS}),
    ("deployment", "inspect"): Command(
        commands.deployment_inspect,
        "deployment inspect",
        {"key=": "k", "clean-output": "c", **_WS},
        quiet=True,
        most=1,
    ),
    ("deploy",): Command(
        deploy,
        "deploy DEPLOYMENT-ID",
        {"dags": "d", "force": "f", "deployment-name=": "n", **_WS},
        project=True,
        most=1,
    ),
    ("dev", "start"): Command(
        commands.dev_start,
        "dev start",
        {"deployment-id=": "", "standalone": "", **_WS},
        auth=False,
        project=True,
    ),
    ("config", "get"): Command(
        commands.config_get, "config get [setting-name]", {"global": "g"}, auth=False, local=True
    ),
    ("config", "set"): Command(
        commands.config_set, "config set [setting-name]", {"global": "g"}, auth=False, local=True
    ),
}


def split(words: Sequence[str], known: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    args: list[str] = []
    flags: dict[str, str] = {}
    names = {f"--{name.rstrip('=')}": name for name in known}
    names |= {f"-{letter}": name for name, letter in known.items() if letter}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            args.append(word)
            continue
        option, has_value, value = word.partition("=")
        if option not in names:
            kind = (
                "flag: " + option if option.startswith("--") else f"shorthand flag: {option[1:2]!r} in {word}"
            )
            raise CommandError(f"unknown {kind}", usage=True)
        if names[option].endswith("=") and not has_value:
            if not rest:
                raise CommandError(f"flag needs an argument: {word}", usage=True)
            value = rest.pop(0)
        flags[names[option].rstrip("=")] = value
    return tuple(args), flags


def perform(name: tuple[str, ...], command: Command, words: Sequence[str]) -> None:
    cfg = Config()
    api = Api(cfg)
    args, flags = split(words, command.flags)
    if command.most is not None and len(args) > command.most:
        raise CommandError(f"accepts at most {command.most} arg(s), received {len(args)}", usage=True)
    if name[0] == "config" and not cfg.in_project and "global" not in flags:
        raise CommandError(NOT_GLOBAL.format(name[1], "".join(args[:1])), usage=True)
    if is_cloud(cfg):
        if command.auth:
            set_up(cfg, api, quiet=command.quiet)
    elif not command.local:
        raise UnsupportedError("a domain that is not Astro's")
    if name[0] != "config":
        track(cfg, " ".join(name))
    if command.project and not cfg.in_project:
        raise CommandError(NO_PROJECT, usage=True)
    command.run(Call(cfg, api, args, flags))


def main(argv: Sequence[str]) -> int:
    if list(argv) == [SEND]:
        try:
            send()
        except CommandError:
            return 1
        return 0
    name = next((words for words in COMMANDS if tuple(argv[: len(words)]) == words), None)
    if name is None:
        print(f"stand-in: not supported: astro {' '.join(argv)}", file=sys.stderr)
        return 3
    status = 0
    try:
        perform(name, COMMANDS[name], argv[len(name) :])
    except CommandError as failure:
        print(f"Error: {failure}", file=sys.stderr)
        if failure.usage:
            print(f"Usage:\n  astro {COMMANDS[name].usage} [flags]\n", file=sys.stderr)
        status = 1
    except PanicError as panic:
        print(f"panic: runtime error: {panic}\n\ngoroutine 1 [running]:", file=sys.stderr)
        status = 2
    except UnsupportedError as reason:
        print(f"stand-in: not supported: {reason}", file=sys.stderr)
        status = 3
    sys.stdout.flush()
    return status
