"""
Verdict codes, each with its level, its exit status, its meaning and its remedy.

The codes of a policy rule are in the rule's own row (`policy.rules`); all others are here.
Meaning and remedy are the rows of the table in docs/check.md; the messages add names and times.
"""

from __future__ import annotations

from types import MappingProxyType

from astro_token.errors import ConfigError, InvalidTokenError, PolicyError
from astro_token.record import Record
from astro_token.token import SCOPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Level = Literal["off", "warning", "error"]
    _Level = Literal["warning", "error"]
else:
    Level = str  # typing is not imported at run time

__all__ = ["AUDIT", "DEPLOY", "LEVELS", "MAJORS", "ONLINE", "TOKEN", "Code", "Level"]

MAJORS = (1, 2)  # of the Astro CLI, which differ in their projects, flags and faults
LEVELS: tuple[Level, ...] = ("off", "warning", "error")


class Code(Record):
    """
    A kind of finding.

    Attributes:
        level: an error keeps the token from being used; for a deploy, an error means that the Astro CLI
            ends with 0 although nothing or the wrong thing is deployed, or that it must fail.
        meaning: the finding, in one clause about the token or the project.
        remedy: the instruction for the user, and the hint of findings that have no better one.
        error: the class with the exit status of an error.
        exported: the level if `ASTRO_API_TOKEN` is set: the next `astro` command then uses it together with
            the user's home. `exec` gives the command its own home, so defects of the user's do no harm.
        required: the policy key that turns the warning into an error, and that keeps policy from lowering it.
        fixed: an error whatever policy says, because `exec` starts nothing in such a project.
        refused: an error also for `exec`, which otherwise only warns and starts the deploy.
        majors: the major versions of the Astro CLI that a finding about a deploy applies to.
    """

    level: _Level
    meaning: str
    remedy: str
    error: type[ConfigError | InvalidTokenError | PolicyError] = PolicyError
    exported: _Level | None = None
    required: str | None = None
    fixed: bool = False
    refused: bool = False
    majors: tuple[int, ...] = MAJORS

    @property
    def exit_code(self) -> int:
        return self.error.exit_code

    @property
    def hint(self) -> str:
        """The remedy for a terminal."""
        return self.remedy.replace("`", "")


LEAST_ROLE = (
    "use a custom role of one deployment with the permissions `deployment.get`, `deployment.deploys.get` and "
    "`deployment.deploys.create`"
)
NEW = "rotate it with `astro-token rotate`, or create a new token in Astro and store it instead"
_CHECK_FILE = "check whether it was deleted, and the project file"
_INSTALL = "install it with `astro-token install-cli`, and put its folder on `PATH`"
_RENEW = "run `astro-token install-cli`, and put its folder first on `PATH`"
_EXEC = "use `astro-token exec`, which gives the Astro CLI a home of its own"
_REMOVE = "remove it, and find out who added it"
_REVOKE = "revoke it if nobody needs it"

_V1, _V2 = (1,), (2,)

# One row per code: level and meaning, below them the remedy and what is special.
# fmt: off
TOKEN: Mapping[str, Code] = MappingProxyType({
    "expired": Code("error", "it has expired",
        "create a new token with `astro-token create`, or in Astro, and store it instead", InvalidTokenError),
    "not-yet-valid": Code("error", "it is not valid yet",
        "wait until it is, or check this machine's clock"),
    **{f"wrong-{scope}": Code("error",
        f"it is for another {scope} than the project expects or policy requires",
        "store the right token under this reference, or correct the project file")
        for scope in SCOPES},
    "organization-unproven": Code("warning", "it names no organization, and the project expects one",
        "use a token that names its organization, or check it with `--online`", required="organization"),
    "workspace-unproven": Code("warning", "it names no workspace, and the project expects one",
        "use a token of workspace scope, or check it with `--online`", required="workspace"),
    # A workspace's token names its workspace only, and covers the deployments in it.
    "deployment-unproven": Code("warning", "it names neither a deployment nor a workspace, and the project "
        "expects a deployment; or it names no deployment, and policy requires one",
        "use a token of deployment scope, or check it with `--online`", required="deployment"),
    "signature-cut": Code("warning", "its signature is too short for its algorithm, probably cut off",
        "store the complete token as Astro showed it when it was created"),
})

ONLINE: Mapping[str, Code] = MappingProxyType({
    "revoked": Code("error",
        "Astro does not accept it: it was revoked or rotated, or belongs to another Astro domain",
        "store its replacement, or create a new token", InvalidTokenError),
    "forbidden": Code("error", "Astro denies every request",
        "check the organization's list of allowed IP addresses, and the token's roles"),
    "organization-missing": Code("error",
        "Astro does not show it the organization, or shows it none; the Astro CLI crashes on the latter",
        "check the token's roles, and the identifier in the project file"),
    "workspace-missing": Code("error", "the workspace does not exist, or Astro hides it",
        _CHECK_FILE),
    "workspace-forbidden": Code("error", "it may not see the expected workspace",
        "give it a role in the workspace, or store the right token"),
    "deployment-missing": Code("error", "the deployment does not exist, or Astro hides it",
        _CHECK_FILE),
    "deployment-forbidden": Code("error", "it may not see the deployment",
        "give it a role in the deployment, or store the right token"),
    "deployment-elsewhere": Code("error",
        "the deployment is in another workspace than the expected one, or than the token's: "
        "the Astro CLI would deploy nothing and end with 0",
        "correct the project file, or store the right token"),
    "organization-unready": Code("warning", "the organization has no product, which crashes the Astro CLI",
        "contact Astronomer's support"),
    "direct-access": Code("error",
        "it is a direct-access token, which is for the Airflow API of a deployment: it cannot deploy",
        "create a standard token, and store it instead"),
    "token-missing": Code("warning", "Astro does not find it by its id, or does not show it",
        "search for it in the organization's list of tokens"),
    "role-too-wide": Code("warning", "a role administers, is for something the project does not expect, "
        "or is wider than policy or the expectations need",
        f"{LEAST_ROLE}, or `DEPLOYMENT_ADMIN` of the deployment, or `WORKSPACE_AUTHOR` of its workspace"),
    "unverified": Code("warning", "it may not read its own workspace",
        "name the expected deployment in the project file"),
    "clock-skew": Code("warning", "this machine's clock and Astro's differ by more than two minutes",
        "set this machine's clock"),
})

DEPLOY: Mapping[str, Code] = MappingProxyType({
    # the folder
    "no-project": Code("error", "there is neither `.astro/config.yaml` nor a `pyproject.toml` with "
        "`[tool.astro]`, or the folder is the home folder",
        "name the project's folder with `--path`, or move the project out of the home folder", ConfigError),
    "no-dags": Code("error", "`dags` contains no Python file, is a link, or is missing",
        "put the DAGs there; if an earlier step creates or downloads them, check that it ran"),
    "dags-ignored": Code("warning", "a line of `dags/.airflowignore` matches every file",
        "remove the line; Airflow 3 reads globs there, and Airflow 2 regular expressions"),
    "no-dockerfile": Code("warning", "there is no `Dockerfile`",
        "add one that begins with `FROM` and an image of Astro Runtime, or deploy only DAGs, with `--dags`",
        majors=_V1),
    "requirements-clash": Code("warning", "`requirements.txt` pins one package to two versions",
        "keep one of them", majors=_V1),
    # its .astro/config.yaml
    "plain-http": Code("error",
        "the project's `.astro/config.yaml` sets `cloud.api.protocol` to anything but `https`",
        _REMOVE, ConfigError, fixed=True),
    "other-api": Code("error", "it changes a setting of `cloud`, `context`, `contexts` or `local`, "
        "`container.binary` has a path, or `dev.build_secrets` names the token; or `[tool.astro]` of "
        "`pyproject.toml` names another domain, or gives the token to another server or program",
        _REMOVE, ConfigError, fixed=True),
    "other-registry": Code("warning",
        "it sets `remote.base_image_registry` or `remote.client_registry` to a registry that is not "
        "Astronomer's, nor in `registries` of policy",
        "remove it unless the registry is yours; `registries` of policy lists those", required="registries"),
    "project-deployment": Code("error", "its `project.deployment` is not the token's deployment; "
        "with `exec`, nor the one on the command line",
        "correct the file, the command, or the token", refused=True, required="deployment"),
    "unnamed-deployment": Code("warning", "neither the token, nor its table in `astro-token.toml`, nor "
        "`project.deployment`, nor a link with the token's name names a deployment; with `exec`, the command "
        "does not name the expected one, or names none and Astro CLI 2.0 cannot ask",
        "name it in the command, and as `deployment` in the token's table, so that `exec` refuses another",
        required="deployment"),
    "unread-workspace": Code("warning", "it sets `project.workspace`",
        "remove `project.workspace`; `exec` passes on `workspace` of `astro-token.toml`", majors=_V1),
    "debug-output": Code("warning", "it sets `verbosity` to debug",
        "remove `verbosity`"),
    "config-unread": Code("error", "a line of it is not understood, a key is unknown, or it cannot be read; "
        "or `pyproject.toml` is not understood",
        "write one `key: value` per line, without tags, anchors, braces and escapes; "
        "add a harmless key to `ASTRO_TOKEN_CLI_KEYS`", ConfigError, fixed=True),
    # its pyproject.toml
    "manifest-invalid": Code("error", "`[tool.astro]` of `pyproject.toml` has a key or a value that "
        "Astro CLI 2.0 refuses",
        "correct the key that the message names", ConfigError, majors=_V2),
    # its repository
    "uncommitted": Code("error", "tracked files have changed, or there is no commit",
        "commit or restore them (`git status` lists them), or deploy with `--force`", majors=_V1),
    "git-unknown": Code("warning",
        "git is missing, refuses, is too slow, or needs the repository's own filters",
        "run `git status` there and correct its complaint, because the Astro CLI runs the same command",
        majors=_V1),
    # the token
    "no-workspace": Code("error", "the token names no workspace, and the project expects none",
        "set `workspace` in the token's table of `astro-token.toml`, which `exec` passes on, "
        "or give `--workspace-id` (`--workspace` with 2.0)"),
    "other-workspace": Code("error",
        "`exec` runs a deploy with a `--workspace-id` or `--workspace` that is not the token's workspace",
        "leave the option out, which `exec` makes unnecessary, or use the token of that workspace",
        required="workspace"),
    "refused-command": Code("error",
        "`exec` runs a deploy that this version of the Astro CLI refuses: a flag of the other version, "
        "two deployments or workspaces, flags that exclude each other, or a link to another platform",
        "correct the command"),
    # the home of the Astro CLI
    "home-plain-http": Code("warning",
        "the home's `config.yaml` is not understood or not safe, or another user can change it",
        "correct the line that the message names", ConfigError, "error"),
    "stale-workspace": Code("warning",
        "the home has another workspace than the expected one, and the token names none",
        "use `astro-token exec`, which passes on the expected workspace, or give `--workspace-id`",
        PolicyError, "error", majors=_V1),
    "stored-domain": Code("warning", "the home's context is another domain",
        f"{_EXEC}, or set `ASTRO_DOMAIN` to the domain that you mean", ConfigError, "error"),
    "home-in-project": Code("warning", "`ASTRO_HOME` is inside the project",
        f"set it to a folder outside the project, or {_EXEC}", ConfigError, "error", majors=_V1),
    "odd-home": Code("warning", "`ASTRO_HOME` is relative, or not a folder",
        "set it to the absolute path of a folder outside the project", ConfigError),
    "login-overwritten": Code("warning", "the home holds a person's login",
        f"{_EXEC}, or log in again afterwards", majors=_V1),
    "token-left": Code("warning", "the home holds the token of an earlier run",
        "run `astro logout` with this home, revoke that token if others can read the file, "
        "and use `astro-token exec`", majors=_V1),
    "home-locked": Code("warning", "another Astro CLI is writing to the home",
        f"run one job at a time with this home, or {_EXEC}", majors=_V1),
    # the environment
    "foreign-domain": Code("error", "`ASTRO_DOMAIN` is not a domain of Astro",
        "unset it, or set it to `astronomer.io`, without a scheme and a path", ConfigError),
    "local-domain": Code("warning", "`ASTRO_DOMAIN` is `localhost`",
        "unset it, unless this is a test", ConfigError),
    "telemetry-address": Code("warning",
        "`ASTRO_TELEMETRY_API_URL` is not an https address of Astronomer, and telemetry is on",
        "unset it, or run `astro` with `exec`, which turns telemetry off", ConfigError),
    "dead-keys": Code("warning", "`ASTRONOMER_KEY_ID` or `ASTRONOMER_KEY_SECRET` is set",
        "remove them from the job, and revoke them if they are still listed"),
    # programs
    "no-astro": Code("error", "`astro` is not on `PATH`",
        _INSTALL, ConfigError),
    "old-astro": Code("warning", "it is older than 1.27.1, or than 1.44.0 and the token names no workspace",
        _RENEW),
    "unfit-astro": Code("error", "it is 1.x and the project is one of 2.0, or the other way round",
        "install a release of the project's version, with `astro-token install-cli`", ConfigError),
    "other-astro": Code("warning", "it is not the version in `[astro-cli]` of `astro-token.toml`",
        _RENEW, required="cli_lock"),
    "no-lock": Code("error",
        "policy requires a lock of the Astro CLI (`cli_lock`), and the project file has none",
        "add the table that `astro-token install-cli --lock` prints to `astro-token.toml`",
        ConfigError, fixed=True),
    "unknown-astro": Code("warning", "it does not print its version as the Astro CLI does",
        _INSTALL),
    "astro-in-project": Code("warning", "it is inside the repository, and was not run",
        "install it outside, with `astro-token install-cli`, "
        "or list its folder in `ASTRO_TOKEN_PROGRAM_FOLDERS`"),
    "no-docker": Code("warning", "neither `docker` nor `podman` is on `PATH`",
        "install one of them, or deploy only DAGs"),
})

# Findings about all tokens of an organization, in addition to those about one token.
AUDIT: Mapping[str, Code] = MappingProxyType({
    "organization-scope": Code("warning", "it is of organization scope, and policy has no `max_scope`",
        "use a token of one workspace or deployment, or set `max_scope`"),
    "unused": Code("warning", "it was last used more than 90 days ago, "
        "or was never used since it was created more than 7 days ago",
        _REVOKE),
    "not-rotated": Code("warning", "it was created, or last rotated, more than 90 days ago, "
        "and policy has no `max_age`",
        "rotate it with `astro-token rotate`"),
    "duplicate": Code("warning", "another token has the same scope, roles and title, "
        "apart from the unique part that a rotation adds",
        "keep one of them, and revoke the others"),
    "leftover": Code("warning", "an interrupted rotation left it: its title ends with a unique part, "
        "it is older than 24 hours, and no configuration holds it",
        "finish the rotation, or revoke it if no other project holds it"),
    "unconfigured": Code("warning", "no configuration holds it",
        f"name it in a project file, or {_REVOKE}"),
    "terraform": Code("warning", "Terraform's files in the repository contain it; or its title, its "
        "description or the title of the token that created it mentions Terraform, "
        "whose state then probably contains its value",
        "protect the state, and rotate it with Terraform; or remove it from the state and create it here"),
    # about a configuration
    "token-unknown": Code("error", "a configuration holds a token that is not in Astro's list",
        "store its replacement, or create a new one with `astro-token create`"),
    "other-organization": Code("warning", "a configuration holds a token of another organization",
        "audit that organization with a credential of its own"),
    "not-compared": Code("warning", "a configured token cannot be read, or does not contain its id",
        "correct the reference, or give the audit access to it"),
})
# fmt: on
