"""The decisions that all files follow from, and the values that a person has to change."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from astro_token.init.remote import Remote
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BACKENDS", "EXAMPLES", "PACKAGE_SOURCE", "Backend", "Environment", "Plan", "example_plan"]

# The values of the examples. Those that `init` does not learn stay in its files, marked.
EXAMPLES = MappingProxyType(
    {
        "vault_addr": "https://vault.example.com",
        "account": "123456789012",
        "region": "eu-west-1",
        "gcp_project": "my-project",
        "gcp_number": "123456789012",
        "key_vault": "my-vault",
        "tenant": "11111111-1111-1111-1111-111111111111",
        "client": "33333333-3333-3333-3333-333333333333",
        "bitbucket_workspace": "44444444-4444-4444-4444-444444444444",
        "deployment": "cldep00000000000000000",
        "astro_cli": "1.48.0",
    }
)
PACKAGE_SOURCE = "git+https://github.com/YOUR-ORG/astro-token@COMMIT"
_LONGEST_NAME = 36  # with `astro-` and the environment at most 64, which AWS allows for a role
_LONGEST_PROVIDER = 32
# Of a path like this, on this host, the slug shows where the owner ends, and that no digest follows.
_SHORT_HOST = "github.com"
_SIMPLE = re.compile(r"[a-z0-9]+/(?![a-z0-9-]*-[0-9a-f]{8}$)[a-z0-9]+(-[a-z0-9]+)*")


class Backend(Record):
    """
    Attributes:
        service: for people.
        signs: variables that show a login of the person who runs `init`.
        variables: those whose values are taken over, by the name of the value, with the form of a value.
    """

    key: str
    service: str
    signs: tuple[str, ...] = ()
    variables: tuple[tuple[str, str, str], ...] = ()


_ID = r"[A-Za-z0-9][A-Za-z0-9-]{0,62}"
BACKENDS = MappingProxyType(
    {
        row.key: row
        for row in (
            Backend(
                "vault",
                "Vault or OpenBao",
                ("VAULT_ADDR", "BAO_ADDR"),
                tuple(
                    ("vault_addr", name, r"https://[A-Za-z0-9.-]+(:\d{1,5})?")
                    for name in ("VAULT_ADDR", "BAO_ADDR")
                ),
            ),
            Backend(
                "aws",
                "AWS Secrets Manager",
                ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_REGION", "AWS_DEFAULT_REGION"),
                tuple(
                    ("region", name, r"[a-z]{2}(-[a-z]+)+-\d")
                    for name in ("AWS_REGION", "AWS_DEFAULT_REGION")
                ),
            ),
            Backend(
                "gcp",
                "Google Cloud Secret Manager",
                ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"),
                (("gcp_project", "GOOGLE_CLOUD_PROJECT", _ID),),
            ),
            Backend(
                "azure",
                "Azure Key Vault",
                ("AZURE_TENANT_ID", "AZURE_CLIENT_ID"),
                (("tenant", "AZURE_TENANT_ID", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),),
            ),
            Backend("file", "encrypted files"),
        )
    }
)


class Environment(Record):
    """
    Attributes:
        deployment: its identifier, or the name of its link in Astro CLI 2.0; None if it is unknown.
        client: the application of Azure.
    """

    name: str
    branch: str
    deployment: str | None = None
    workspace: str | None = None
    client: str | None = None


class Plan(Record):
    """
    Attributes:
        system: the key of the CI system.
        repository_id: of the repository at GitHub, or of the project at GitLab; None if it is unknown.
        folder: of the Astro project in the repository; empty for the repository itself.
        package: what pip installs, for the extras; None for a placeholder.
        values: those of `EXAMPLES` that are known.
        nightly: the environments of the default branch, which jobs on a schedule run on.
        is_example: the files are those of `examples/ci`.
    """

    backend: str
    system: str
    environments: tuple[Environment, ...]
    remote: Remote
    repository_id: str | None = None
    owner_id: str | None = None
    folder: str = ""
    package: str | None = None
    values: Mapping[str, str] = MappingProxyType({})
    nightly: tuple[str, ...] = ()
    is_example: bool = False

    def value(self, name: str) -> str:
        return self.values.get(name, EXAMPLES[name])

    @property
    def name(self) -> str:
        """The beginning of the names of roles, policies and secrets: other repositories have others."""
        if self.is_example:
            return "astro"
        return f"astro-{self._slug(_LONGEST_NAME)}"

    @property
    def short_name(self) -> str:
        """The same, for a service whose names are short."""
        return f"at-{self._digest}"

    @property
    def provider(self) -> str:
        """The name of Google's provider. It has one condition, so that each repository needs its own."""
        if self.is_example:
            return self.system if self.system in {"github", "gitlab"} else "jobs"
        return f"at-{self._slug(_LONGEST_PROVIDER - 3)}"

    @property
    def secret(self) -> str:
        """The folder of the secrets, for services that have folders."""
        return self.name.replace("astro-", "astro/", 1)

    def _slug(self, length: int) -> str:
        """Return the repository and the folder as a name for every service, which no other repository has."""
        path = f"{self.remote.path}/{self.folder}".strip("/")
        slug = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")
        if len(slug) <= length and _SIMPLE.fullmatch(path) and self.remote.host == _SHORT_HOST:
            return slug
        return f"{slug[: length - 9].rstrip('-')}-{self._digest}"

    @property
    def _digest(self) -> str:
        from hashlib import sha256

        repository = (self.remote.host, self.remote.path, self.folder)
        return sha256("\n".join(repository).encode()).hexdigest()[:8]

    def ref(self, environment: str) -> str:
        """Return the reference of an environment's token."""
        return {
            "vault": f"vault:secret/{self.secret}/{environment}#token",
            "aws": f"aws:{self.secret}/{environment}#token",
            "gcp": f"gcp:{self.value('gcp_project')}/{self.name}-{environment}",
            "azure": f"azure:{self.value('key_vault')}/{self.name}-{environment}",
            "file": f"file:{environment}.token.age",
        }[self.backend]


def example_plan(system: str, backend: str) -> Plan:
    """Return the plan of the examples, with two environments if the system has scripts for them."""
    prod = Environment("prod", "main")
    dev = Environment("dev", "dev", "cldev00000000000000000", client="22222222-2222-2222-2222-222222222222")
    host = {"github": "github.com"}.get(system, "gitlab.example.com")
    return Plan(
        backend,
        system,
        (dev, prod) if system in {"github", "gitlab"} else (prod,),
        Remote("origin", host, "acme/dags"),
        repository_id="456789" if system == "github" else "4242",
        owner_id="123456",
        is_example=True,
    )
