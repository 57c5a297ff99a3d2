"""`astro deploy`: every way in which it ends with 0, deployed or not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .api import exchange
from .auth import DEFAULT_DOMAIN, parse_token
from .commands import find_workspace, select_deployment
from .config import look_up
from .errors import CommandError

if TYPE_CHECKING:
    from .commands import Call

BOTH = (
    "Both a Deployment ID and Deployment name have been supplied. "
    "The Deployment ID {} will be used for the Deploy"
)
DIRTY = "Project directory has uncommitted changes, use `astro deploy [deployment-id] -f` to force deploy."
DAGS_DONE = (
    "\nSuccessfully uploaded DAGs with version {} to Astro. "
    "Navigate to the Airflow UI to confirm that your deploy was successful. "
    "The Airflow UI takes about 1 minute to update."
)
DAGS_OFF = (
    "DAG-only deploys are not enabled for this Deployment. "
    "Run 'astro deployment update {} --dag-deploy enable' to enable DAG-only deploys"
)
ENFORCED = (
    "cannot deploy since ci/cd enforcement is enabled for the deployment {}. Please use API Tokens instead"
)
IMAGE_DONE = (
    "Successfully pushed image to Astronomer registry. "
    "Navigate to the Astronomer UI for confirmation that your deploy was successful. "
    "To deploy dags only run astro deploy --dags."
)
NO_DAGS = (
    "Warning: No DAGs found. This will delete any existing DAGs. Are you sure you want to deploy? (y/n) "
)


def deploy(call: Call) -> None:
    ws = find_workspace(call)
    force, only_dags = "force" in call.flags, "dags" in call.flags
    if not force and is_dirty():
        print(DIRTY)
        return
    context = call.cfg.context()
    domain, token = context["domain"], context["token"]
    print(f"Authenticated to {'Astro' if domain == DEFAULT_DOMAIN else domain} \n")
    item = call.api.deployment(find_target(call, ws))
    ident, dag_deploy = item["id"], item["isDagDeployEnabled"]
    if item["isCicdEnforced"] and not may_deploy(token):
        raise CommandError(ENFORCED.format(item["name"]))
    if ws != item["workspaceId"]:
        print(f"Invalid workspace id {ws} was provided through the --workspace-id flag")
        return

    path = f"/organizations/{context['organization']}/deployments/{ident}/deploys"
    kind = "DAG_ONLY" if only_dags else "IMAGE_AND_DAG"
    made = call.api.call("POST", path, body={"type": kind, "description": ""})
    dags = sorted(Path("dags").rglob("*.py"))
    if not dags and (only_dags or dag_deploy) and not force:
        print(f"{NO_DAGS}Canceling deploy...")
        return
    if only_dags and not dag_deploy:
        raise CommandError(DAGS_OFF.format(ident))
    if only_dags:
        print(f"Initiating DAG deploy for: {ident}")
    else:
        push_image(token.removeprefix("Bearer "))
    bundle = upload(made["dagsUploadUrl"]) if dag_deploy and (dags or only_dags) else None
    body = {} if bundle is None else {"dagTarballVersion": bundle}
    done = call.api.call("POST", f"{path}/{made['id']}/finalize", body=body)
    if "dagTarballVersion" in done:
        print(f"Deployed DAG bundle:  {done['dagTarballVersion']}")
    print(DAGS_DONE.format(bundle) if only_dags else IMAGE_DONE)
    site = "localhost:5000" if domain == "localhost" else f"cloud.{domain}"
    print("\n Access your Deployment:\n")
    print(f" Deployment View: {site}/{ws}/deployments/{ident}\n Airflow UI: {item['webServerUrl']}\n")


def find_target(call: Call, ws: str) -> str:
    """A name counts only where neither the command line nor the project's configuration has an identifier."""
    name, ident = call.flags.get("deployment-name", ""), next(iter(call.args), "")
    if not ident and (configured := look_up(call.cfg.project, "project.deployment")):
        print("Deployment ID found in the config file. This Deployment ID will be used for the deploy")
        ident = str(configured)
    if ident and name:
        print(BOTH.format(ident))
    return ident or str(select_deployment(call, ws, "", name)["id"])


def git(*args: str) -> bool:
    import subprocess

    try:
        return subprocess.run(["git", *args], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def is_dirty() -> bool:
    """Of tracked files only; a repository without a commit is dirty too."""
    return git("rev-parse", "--is-inside-work-tree") and not git("diff", "--quiet", "HEAD")


def may_deploy(token: str) -> bool:
    """To a deployment for CI/CD only: a token with permissions is taken to belong to such a system."""
    try:
        return bool(parse_token(token.split(" ")[1]).permissions)
    except CommandError:
        print("Unable to Parse Token")
        return False


def push_image(token: str) -> None:
    """
    Inferred from the real one's source, for it was not seen to push:
    bash gets the token in its command line, and so would carry out `$(…)` and backticks in it.
    """
    print("Building image...\nPushing image to Astronomer registry")
    print("stand-in: no image is built or pushed", file=sys.stderr)
    if os.environ.get("STANDIN_REGISTRY_LOGIN") == "1":
        import subprocess

        subprocess.run(["bash", "-c", f'echo "{token}" | cat >/dev/null'], check=True)


def upload(url: str) -> str:
    import io
    import tarfile

    if not Path("dags").is_dir():
        missing = Path.cwd() / "dags"
        raise CommandError(f"bundle validation failed: lstat {missing}: no such file or directory")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for file in sorted(Path("dags").rglob("*")):
            tar.add(file, recursive=False)
    headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
    status, answer, _ = exchange("PUT", url, headers, packed.getvalue())
    if status != 201:
        raise CommandError(f"the upload was answered with {status}")
    return answer["x-ms-version-id"]
