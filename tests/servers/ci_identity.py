"""
The places where CI systems give a job its identity token, strict:

    github            GET  …//idtoken/PLAN/JOB?api-version=2.0[&audience=A]    bearer of the job
    azure-pipelines   POST …/oidctoken?api-version=7.1[&serviceConnectionId=]  bearer of the job
    google            GET  …/default/identity?audience=A[&format=full]         Metadata-Flavor, plain HTTP
    buildkite         POST …/jobs/JOB/oidc/tokens                              what `buildkite-agent` asks
    circleci          POST …/circleci/oidc                                     our own: theirs is not public

    with CiIdentity(issuer) as server:
        ci_identity("openbao", environ=server.environment("github"), timeout=5)

The last two are asked by the programs of `ci_programs`.
The tokens are those of an issuer, so that a service can check them.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import uuid
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.jwks import Issuer

SYSTEMS = ("github", "azure-pipelines", "google", "buildkite", "circleci")
AZURE_AUDIENCE = "api://AzureADTokenExchange"
GITHUB_AUDIENCE = "https://github.com/acme"
BUILDKITE_AUDIENCE = "https://buildkite.com/acme"
_FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
_METADATA = "/computeMetadata/v1/instance/service-accounts/default/identity"


class CiIdentity(HttpServer):
    """
    Args:
        issuer: signs the tokens.
        tls: for all but Google's, which is plain.

    Attributes:
        secret: the job's credential, with which it asks.
        organization: CircleCI's, which is the audience of its first token.
        connection: the id of the service connection in Azure Pipelines.
        issued: all tokens so far.
        claims: put over those of the tokens to come, for tokens that have to be refused.
        requests: what was asked.
    """

    def __init__(self, issuer: Issuer, *, tls: ssl.SSLContext | None = None) -> None:
        self._issuer = issuer
        self.secret = f"job-{secrets.token_urlsafe(48)}"
        self.organization = str(uuid.uuid4())
        self.connection = str(uuid.uuid4())
        self.issued: list[str] = []
        self.claims: dict[str, object] = {}
        self._job = str(uuid.uuid4())
        self._github = f"/10//idtoken/{uuid.uuid4()}/{self._job}"
        self._azure = (
            f"/acme/{uuid.uuid4()}/_apis/distributedtask/hubs/build"
            f"/plans/{uuid.uuid4()}/jobs/{self._job}/oidctoken"
        )
        self._buildkite = f"/v3/jobs/{self._job}/oidc/tokens"
        self._places: dict[str, Callable[[Request], Answer]] = {
            self._github: self._for_github,
            self._azure: self._for_azure,
            _METADATA: self._for_google,
            self._buildkite: self._for_buildkite,
            "/circleci/oidc": self._for_circleci,
        }
        super().__init__(self._answer, tls=tls)

    def environment(self, system: str, programs: Path | None = None) -> dict[str, str]:
        """
        The variables that lead a job of that system here.

        Args:
            programs: the folder of `ci_programs`.
        """
        path = os.pathsep.join([*([str(programs)] if programs else []), os.environ.get("PATH", "")])
        return {
            "github": {
                "GITHUB_ACTIONS": "true",
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}{self._github}?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.secret,
            },
            "azure-pipelines": {
                "TF_BUILD": "True",
                "SYSTEM_OIDCREQUESTURI": f"{self.url}{self._azure}",
                "SYSTEM_ACCESSTOKEN": self.secret,
                "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": self.connection,
            },
            "google": {"BUILDER_OUTPUT": "/builder/outputs", "GCE_METADATA_HOST": f"127.0.0.1:{self.port}"},
            "buildkite": {
                "BUILDKITE": "true",
                "BUILDKITE_JOB_ID": self._job,
                "BUILDKITE_AGENT_ACCESS_TOKEN": self.secret,
                "BUILDKITE_AGENT_ENDPOINT": f"{self.url}/v3",
                "PATH": path,
            },
            "circleci": {
                "CIRCLECI": "true",
                "CIRCLE_OIDC_TOKEN_V2": self.mint("org/acme", self.organization),
                "TEST_CIRCLECI_ADDRESS": f"{self.url}/circleci/oidc",
                "TEST_CIRCLECI_SECRET": self.secret,
                "PATH": path,
            },
        }[system]

    def mint(self, subject: str, audience: str) -> str:
        self.issued.append(self._issuer.mint({"sub": subject, "aud": audience, **self.claims}))
        return self.issued[-1]

    # -- each system's place -----------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        place = self._places.get(request.path)
        return place(request) if place else Answer.json({"message": "Not found"}, 404)

    def _for_github(self, request: Request) -> Answer:
        query = _query(request, {"api-version", "audience"})
        if request.method != "GET":
            return Answer.json({"message": "Method not allowed"}, 405)
        if not self._knows(request.bearer):
            return Answer.json({"message": "Unauthorized"}, 401)
        if query is None or query.get("api-version") != "2.0" or query.get("audience") == "":
            return Answer.json({"message": "Bad request"}, 400)
        token = self.mint("repo:acme/dags:ref:refs/heads/main", query.get("audience", GITHUB_AUDIENCE))
        return Answer.json({"count": len(token), "value": token})

    def _for_azure(self, request: Request) -> Answer:
        query = _query(request, {"api-version", "serviceConnectionId"})
        if request.method != "POST" or "content-length" not in request.headers:
            return Answer.json({"message": "The request is not a POST with a length."}, 405)
        if not self._knows(request.bearer):
            if request.headers.get("x-tfs-fedauthredirect") != "Suppress":
                return Answer(
                    302, b"<html>Object moved</html>", {"Location": f"{self.url}/_signin"}, "text/html"
                )
            return Answer.json({"message": "TF400813: The user is not authorized."}, 401)
        if query is None or query.get("api-version") not in {"7.1", "7.1-preview.1"}:
            return Answer.json({"message": "VSS: no api-version of the request is supported."}, 400)
        if query.get("serviceConnectionId", self.connection) != self.connection:
            return Answer.json({"message": "The service connection does not exist."}, 404)
        subject = "sc://acme/dags/cloud" if "serviceConnectionId" in query else "p://acme/dags/deploy"
        return Answer.json({"oidcToken": self.mint(subject, AZURE_AUDIENCE)})

    def _for_google(self, request: Request) -> Answer:
        query = _query(request, {"audience", "format", "licenses"})
        if request.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in request.headers:
            return Answer(403, b"Missing Metadata-Flavor:Google header.", _FLAVOR, "text/html")
        if request.method != "GET" or query is None or not query.get("audience"):
            return Answer(400, b"non-empty audience parameter required", _FLAVOR, "text/html")
        if query.get("format", "standard") not in {"standard", "full"}:
            return Answer(400, b"unknown format", _FLAVOR, "text/html")
        return Answer(
            200, self.mint("10769150350006150715113082367", query["audience"]).encode(), _FLAVOR, "text/html"
        )

    def _for_buildkite(self, request: Request) -> Answer:
        body = _json(request)
        if request.method != "POST" or body is None or body.keys() - {"audience"}:
            return Answer.json({"message": "Bad request"}, 400)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Token" or not self._knows(token):
            return Answer.json({"message": "Unauthorized"}, 401)
        audience = str(body.get("audience", BUILDKITE_AUDIENCE))
        return Answer.json({"token": self.mint("organization:acme:pipeline:dags", audience)})

    def _for_circleci(self, request: Request) -> Answer:
        body = _json(request)
        if not self._knows(request.bearer) or body is None or body.keys() != {"aud"}:
            return Answer.json({"message": "no"}, 403)
        return Answer.json({"token": self.mint("org/acme", str(body["aud"]))})

    def _knows(self, credential: str) -> bool:
        return hmac.compare_digest(credential.encode(), self.secret.encode())


def _query(request: Request, allowed: set[str]) -> dict[str, str] | None:
    """The parameters; None where one is unknown or said twice."""
    pairs = parse_qsl(request.target.partition("?")[2], keep_blank_values=True)
    query = dict(pairs)
    return query if len(query) == len(pairs) and query.keys() <= allowed else None


def _json(request: Request) -> dict[str, object] | None:
    try:
        body = json.loads(request.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def main() -> None:
    import argparse
    import tempfile
    from pathlib import Path

    from tests.servers import by_hand, ci_jobs, ci_programs
    from tests.servers.jwks import Issuer

    parser = argparse.ArgumentParser(description="Give a job its identity token, as a CI system does.")
    parser.add_argument("system", nargs="?", choices=SYSTEMS, default="github")
    parser.add_argument(
        "--job", choices=ci_jobs.BRANCHES, help="with the claims of GitHub's job of this environment"
    )
    options = parser.parse_args()
    system = options.system
    with tempfile.TemporaryDirectory() as folder, Issuer() as issuer, CiIdentity(issuer) as server:
        programs = ci_programs.install(Path(folder))
        server.claims = ci_jobs.github(options.job) if options.job else {}
        by_hand.serve(
            f"a job of {system}",
            server.environment(system, programs),
            f"issuer: {issuer.name}",
            f"keys: {issuer.jwks_url}",
        )


if __name__ == "__main__":
    main()
