"""The commands that ask or tell; `deploy` has a module of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import VERSION
from .block_yaml import write_yaml
from .config import DEFAULTS, WITHOUT_DEFAULT, Config, look_up, put
from .errors import CommandError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .api import Api

CANNOT_CONNECT = (
    "cannot connect to Astronomer. Try to log in with astro login or check your internet connection "
    "and user permissions. If you are using an API Key or Token make sure your context is correct.\n\nDetails"
)
NO_WORKSPACE = (
    "failed to find a valid workspace: failed to get current Workspace: current workspace context not set, "
    "you can switch to a workspace with \n\tastro workspace switch WORKSPACEID"
)
NOT_IN_WORKSPACE = (
    "the Deployment specified was not found in this workspace. "
    "Your account or API Key may not have access to the deployment specified"
)


class Call(NamedTuple):
    cfg: Config
    api: Api
    args: tuple[str, ...]
    flags: Mapping[str, str]


def table(head: Sequence[str], rows: Iterable[tuple[Sequence[str], bool]], width: int | None = None) -> None:
    listed = list(rows)
    widths = [
        width or max(len(row[i]) for row in [head, *(cells for cells, _ in listed)]) + 5
        for i in range(len(head))
    ]

    def line(cells: Sequence[str]) -> str:
        return " " + "".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True))

    print(line(head))
    for cells, current in listed:
        print(f"\x1b[1;32m{line(cells)}\x1b[0m" if current else line(cells))


def version(_call: Call) -> None:
    print(f"Astro CLI Version: {VERSION}")


def context_list(call: Call) -> None:
    current = call.cfg.context()["domain"]
    contexts = call.cfg.tree.get("contexts") or {}
    names = [
        str((fields or {}).get("domain") or key.replace("_", ".")) for key, fields in sorted(contexts.items())
    ]
    table(["NAME"], [([name], name == current) for name in names], 44)


def auth_token(call: Call) -> None:
    token = call.cfg.context()["token"]
    if not token:
        raise CommandError("no token found. Please run 'astro login' to authenticate")
    print(token.removeprefix("Bearer "))


def organization_list(call: Call) -> None:
    current = call.cfg.context()["organization"]
    try:
        items = call.api.organizations()
    except CommandError as failure:
        raise CommandError(f"{CANNOT_CONNECT}{failure}") from None
    table(["NAME", "ID"], [([item["name"], item["id"]], item["id"] == current) for item in items])


def workspace_list(call: Call) -> None:
    current = call.cfg.context()["workspace"]
    items = call.api.workspaces()
    table(["NAME", "ID"], [([item["name"], item["id"]], item["id"] == current) for item in items])


def find_workspace(call: Call) -> str:
    if flag := call.flags.get("workspace-id"):
        return flag
    if found := call.cfg.context()["workspace"]:
        return found
    raise CommandError(NO_WORKSPACE, usage=True)


def deployment_list(call: Call) -> None:
    ws = find_workspace(call)
    everywhere = "all" in call.flags
    items = call.api.deployments("" if everywhere else ws)
    if not items and not everywhere:
        print(f"no Deployments found in workspace {ws}")
        return
    # The real table has more columns.
    head = ["NAME", "NAMESPACE", "DEPLOYMENT ID"]
    rows = [[item["name"], item["namespace"], item["id"]] for item in items]
    table(head, [(row, False) for row in sorted(rows, reverse=True)])


def select_deployment(call: Call, ws: str, ident: str, name: str = "") -> dict[str, Any]:
    try:
        items = call.api.deployments(ws)
    except CommandError as failure:
        raise CommandError(f"{NOT_IN_WORKSPACE}: {failure}") from None
    if name and not ident:
        ident = next((item["id"] for item in items if item["name"] == name), "")
        if not ident:
            print(f"No Deployment with the name {name} was found")
            raise CommandError(NOT_IN_WORKSPACE)
    if not ident:
        if not items:
            raise UnsupportedError("making a deployment")
        keys = ("ASTRO_API_TOKEN", "ASTRONOMER_KEY_ID", "ASTRONOMER_KEY_SECRET")
        if len(items) > 1 or not (any(map(os.environ.get, keys)) or call.cfg.get("auto_select") == "true"):
            print("Select a Deployment")
            raise CommandError("invalid Deployment selected")  # nobody is there to choose
        ident = items[0]["id"]
        if "clean-output" not in call.flags:
            print("Only one Deployment was found. Using the following Deployment by default: \n")
            print(f" Deployment Name: {items[0]['name']}\n Deployment ID: {ident}\n")
    if all(item["id"] != ident for item in items):
        raise CommandError(NOT_IN_WORKSPACE)
    return call.api.deployment(ident)


def deployment_inspect(call: Call) -> None:
    item = select_deployment(call, find_workspace(call), call.args[0] if call.args else "")
    known = {
        "metadata.deployment_id": item["id"],
        "metadata.workspace_id": item["workspaceId"],
        "metadata.status": item["status"],
        "configuration.name": item["name"],
        "configuration.ci_cd_enforcement": str(item["isCicdEnforced"]).lower(),
        "configuration.dag_deploy_enabled": str(item["isDagDeployEnabled"]).lower(),
    }
    key = call.flags.get("key", "")
    if key not in known:
        raise UnsupportedError(f"deployment inspect without --key, or with another than {', '.join(known)}")
    print(known[key])


def dev_start(call: Call) -> None:
    """The API is asked about a workspace or deployment only, and with the stored token."""
    for flag, name in (("deployment-id", "deploymentId"), ("workspace-id", "workspaceId")):
        if scope := call.flags.get(flag):
            path = f"/organizations/{call.cfg.context()['organization']}/environment-objects"
            wanted = {"objectType": "CONNECTION", "resolveLinked": "true", "showSecrets": "true", name: scope}
            call.api.collect("environmentObjects", path, 1000, **wanted)
            break
    print("stand-in: no container is started", file=sys.stderr)


def config_get(call: Call) -> None:
    if len(call.args) != 1:
        raise CommandError(f"accepts 1 arg(s), received {len(call.args)}", usage=True)
    key = checked_key(call.args[0])
    print(f"{key}: {call.cfg.home(key) if 'global' in call.flags else look_up(call.cfg.project, key) or ''}")


def config_set(call: Call) -> None:
    if len(call.args) != 2:
        raise CommandError("must specify exactly two arguments (key value) when setting a config", usage=True)
    key, value = checked_key(call.args[0]), call.args[1]
    if "global" in call.flags:
        put(call.cfg.tree, key, value)
        call.cfg.save()
    else:
        put(call.cfg.project, key, value)
        (Path(".astro") / "config.yaml").write_text(write_yaml(call.cfg.project), "utf-8")
    print(f"Setting {key} to {value} successfully\n")


def checked_key(key: str) -> str:
    if key not in DEFAULTS and key not in WITHOUT_DEFAULT:
        raise CommandError("config does not exist, check your config key", usage=True)
    return key
