"""
A stand-in for a pre-release of the Astro CLI 2.0: what that program does with its token, its projects and
the command line of a deploy, and little else.

    version                        local start
    workspace list                 dev …        (removed)
    deploy [LINK | ID] [--deployment LINK|ID] [--workspace ID] [--dags] [--output json] [--wait]

It was written from the real one's documents and source, and was not compared with a run of it.

- The token of the environment stays in the process: the home's configuration never holds it.
- A project is a pyproject.toml with [tool.astro]; one of 1.x is refused.
- Its domain names the host that gets the token.
- An error has a status, 2 for a command that is wrong; with --output json it is one object.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import SECOND_VERSION
from .api import Api
from .auth import DEFAULT_DOMAIN, parse_token
from .config import Config
from .deploy import upload
from .errors import CommandError, PanicError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

V1_LAYOUT = (
    "this project uses the Astro CLI 1.x layout (a Dockerfile and .astro/config.yaml), "
    "and Astro CLI v2 deploys only pyproject.toml projects. "
    "Convert it with astro init, or deploy it with Astro CLI 1.x"
)
NO_PROJECT = (
    "this is not an Astro project directory. "
    "Change to an Astro project directory, or run astro init to make this one an Astro project"
)
KINDS = {401: "unauthenticated", 403: "forbidden", 404: "not_found", 409: "conflict"}
SWITCHES = {"dags": "d", "force": "f", "image": "", "no-dags-base-dir": "", "prompt": "p", "wait": "w"}
VALUES = {
    "build-secret": "",
    "deployment": "",
    "description": "",
    "image-name": "i",
    "output": "",
    "wait-time": "",
    "workspace": "",
    "workspace-id": "",
}
REMOVED = {
    "dag-bundle-name": "",
    "dags-path": "",
    "deployment-name": "n",
    "env": "e",
    "parse": "",
    "pytest": "",
    "save": "s",
    "test": "t",
}
TABLE_KEYS = {
    "build-secrets", "deployments", "dockerfile", "domain", "env", "organization", "packages", "pools",
    "runtime", "target", "targets", "workspace",
}  # fmt: skip
LINK_KEYS = {"auth", "default", "deployment", "environment", "target", "url", "workspace"}


class Session(Config):
    """The configuration, with the login that the environment gives to this process only."""

    def __init__(self) -> None:
        super().__init__()
        self.login: dict[str, str] = {}

    def context(self) -> dict[str, str]:
        try:
            saved = super().context()
        except CommandError:
            if not self.login:
                raise
            domain = os.environ.get("ASTRO_DOMAIN") or DEFAULT_DOMAIN
            saved = {"domain": domain, "organization": "", "workspace": "", "token": ""}
        return {**saved, **self.login}


def usage(message: str) -> NoReturn:
    raise CommandError(message, usage=True, kind="usage")


def log_in(cfg: Session, api: Api) -> None:
    """Use the token of the environment. A saved login is not looked at then."""
    token = os.environ.get("ASTRO_API_TOKEN", "").strip()
    if not token:
        if not cfg.context()["token"].removeprefix("Bearer "):
            raise CommandError("you are not logged in", kind="unauthenticated")
        return
    claims = parse_token(token)
    if not claims.permissions:
        raise CommandError("the API token given does not appear to be an Astro API Token")
    if claims.expires is not None and claims.expires < time.time():
        raise CommandError("the API token given has expired", kind="unauthenticated")
    scopes = dict(permission.split(":", 1) for permission in claims.permissions if ":" in permission)
    cfg.login["token"] = f"Bearer {token}"
    api.organizations()
    cfg.login["organization"] = scopes.get("organizationId", "")
    if "workspaceId" in scopes:
        cfg.login["workspace"] = scopes["workspaceId"]


def manifest(folder: Path) -> dict[str, Any] | None:
    """The table [tool.astro], or None. A file that is not TOML is a project with an error."""
    try:
        text = (folder / "pyproject.toml").read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    try:
        table = tomllib.loads(text).get("tool", {}).get("astro")
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"parse pyproject.toml: {error}") from None
    return None if table is None else dict(table)


def project() -> dict[str, Any]:
    here = Path.cwd()
    table = manifest(here)
    if table is not None:
        return checked(table)
    home = os.environ.get("HOME")
    for folder in (here, *here.parents):
        if folder != here and manifest(folder) is not None:
            raise CommandError(f"this directory is inside the project at {folder}", kind="no_project")
        if (folder / "Dockerfile").exists() and (folder / ".astro").is_dir() and str(folder) != home:
            raise CommandError(V1_LAYOUT, kind="no_project")
    raise CommandError(NO_PROJECT, kind="no_project")


def checked(table: dict[str, Any]) -> dict[str, Any]:
    problems = [f"tool.astro.{key}: unknown key" for key in sorted(table.keys() - TABLE_KEYS)]
    links = table.get("deployments", {})
    for name, link in sorted(links.items()):
        where = f"tool.astro.deployments.{name}"
        problems += [f"{where}.{key}: unknown key" for key in sorted(link.keys() - LINK_KEYS)]
        if link.get("url") or link.get("target", table.get("target", "astro")) != "astro":
            continue
        if not link.get("deployment"):
            problems.append(f"{where}.deployment: required on an astro link: the Deployment id")
        if not (link.get("workspace") or table.get("workspace")):
            problems.append(f"{where}.workspace: no workspace")
    if sum(link.get("default") is True for link in links.values()) > 1:
        problems.append("tool.astro.deployments: more than one default")
    if problems:
        raise CommandError(f"invalid pyproject.toml: {'; '.join(problems)}")
    return table


def parse(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    letters = {letter: name for name, letter in {**SWITCHES, **VALUES}.items() if letter}
    removed = {*(f"--{name}" for name in REMOVED), *(f"-{x}" for x in REMOVED.values() if x)}
    args: list[str] = []
    flags: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            args.append(word)
            continue
        option, has_value, value = word.partition("=")
        name = option[2:] if option.startswith("--") else letters.get(option[1:], "")
        if option in removed:
            usage(f"{option} was removed in Astro CLI 2.0")
        if name in SWITCHES:
            flags[name] = value or "true"
        elif name not in VALUES:
            usage(f"unknown flag: {option}")
        elif not has_value and not rest:
            usage(f"flag needs an argument: {option}")
        else:
            flags[name] = value if has_value else rest.pop(0)
    return args, flags


def check_command(args: Sequence[str], flags: Mapping[str, str]) -> None:
    if len(args) > 1:
        usage(f"accepts at most 1 arg(s), received {len(args)}")
    if (output := flags.get("output", "text")) not in {"text", "json"}:
        usage(f'unknown output format "{output}" (supported: text, json)')
    if "wait-time" in flags and "wait" not in flags:
        usage("--wait-time needs --wait")
    if "dags" in flags and ("image" in flags or "image-name" in flags):
        usage("--dags deploys only your DAGs; drop --image and --image-name")
    if len({flags[name] for name in ("workspace", "workspace-id") if name in flags}) > 1:
        usage("--workspace and --workspace-id name two workspaces")


def target(cfg: Session, table: dict[str, Any], args: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """The link, the deployment and the workspace. Neither the default link nor ASTRO_DEPLOYMENT picks one."""
    links = table.get("deployments", {})
    names = list(dict.fromkeys([*args, *([flags["deployment"]] if "deployment" in flags else [])]))
    if len(names) > 1:
        raise CommandError(f'this deploy names two targets, "{names[0]}" and --deployment "{names[1]}"')
    option = flags.get("workspace") or flags.get("workspace-id")
    if not names:
        if flags.get("output") == "json" or not sys.stdin.isatty():
            raise CommandError("a deploy must name the deployment it ships to", kind="input_required")
        raise UnsupportedError("a question")
    (name,) = names
    link = links.get(name)
    if link is None:
        return ["", name, option or cfg.context()["workspace"]]
    platform = "endpoint" if link.get("url") else link.get("target", table.get("target", "astro"))
    if platform != "astro":
        raise CommandError(f'link "{name}" is {platform}, and astro deploy ships to Astro Deployments')
    return [name, link["deployment"], option or link.get("workspace") or table["workspace"]]


def deploy(words: Sequence[str]) -> None:
    args, flags = parse(words)
    check_command(args, flags)
    cfg = Session()
    api = Api(cfg)
    table = project()
    if domain := table.get("domain", "").lower():
        cfg.login["domain"] = domain  # the token of the environment is for any domain
    log_in(cfg, api)
    link, ident, workspace = target(cfg, table, args, flags)
    if "dags" not in flags:
        raise UnsupportedError("a deploy of an image")
    path = f"/organizations/{cfg.context()['organization']}/deployments/{ident}/deploys"
    api.deployment(ident)
    made = api.call("POST", path, body={"type": "DAG_ONLY", "description": flags.get("description", "")})
    bundle = upload(made["dagsUploadUrl"])
    api.call("POST", f"{path}/{made['id']}/finalize", body={"dagTarballVersion": bundle})
    result = {"deployment": ident, "link": link, "workspace": workspace, "type": "dag-only"}
    if flags.get("output") == "json":
        result["dag_bundle_version"] = bundle
        print(json.dumps({name: text for name, text in result.items() if text}))
    else:
        print(f"→ {link or ident}", file=sys.stderr)
        print(f"Deployed DAGs (version {bundle}) to {link or ident}.")


def workspace_list(_words: Sequence[str]) -> None:
    cfg = Session()
    api = Api(cfg)
    log_in(cfg, api)
    for item in api.workspaces():
        print(item["name"], item["id"])


def local_start(_words: Sequence[str]) -> None:
    project()
    print("stand-in: no Airflow is started", file=sys.stderr)


def removed(_words: Sequence[str]) -> None:
    usage("astro dev was replaced by astro local")


def version(_words: Sequence[str]) -> None:
    print(f"Astro CLI Version: {SECOND_VERSION}")


COMMANDS = {
    ("version",): version,
    ("workspace", "list"): workspace_list,
    ("deploy",): deploy,
    ("local", "start"): local_start,
    ("dev",): removed,
}


def report(failure: CommandError, words: Sequence[str]) -> int:
    code = 2 if failure.usage else 1
    kind = failure.kind
    if failure.answered:
        kind = KINDS.get(failure.answered, "api_unavailable" if failure.answered >= 500 else "")
    if "--output=json" in words or ("--output", "json") in pairwise(words):
        print(json.dumps({"error": str(failure), "code": code, **({"kind": kind} if kind else {})}))
    else:
        print(f"Error: {failure}", file=sys.stderr)
    return code


def main(argv: Sequence[str]) -> int:
    name = next((words for words in COMMANDS if tuple(argv[: len(words)]) == words), None)
    if name is None:
        print(f"stand-in: not supported: astro {' '.join(argv)}", file=sys.stderr)
        return 3
    try:
        COMMANDS[name](argv[len(name) :])
    except CommandError as failure:
        return report(failure, argv)
    except (PanicError, UnsupportedError) as reason:
        print(f"stand-in: not supported: {reason}", file=sys.stderr)
        return 3
    return 0
