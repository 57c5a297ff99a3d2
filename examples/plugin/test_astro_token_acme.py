"""The contract that every backend passes, against a service in memory: replace it by yours."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from astro_token_acme import AcmeBackend

from astro_token.testing import BackendContract, Harness


class Service(ThreadingHTTPServer):
    """Has one secret, `prod`. Its number of versions grows with each value that is stored."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.values: list[str] = []
        self.status = 200
        self.seconds = 0.0

    def answer(self, path: str, credential: str | None) -> tuple[int, dict[str, object]]:
        time.sleep(self.seconds)
        version = path.rpartition("/")[2]
        number = len(self.values) if version == "latest" else int(version) if version.isdecimal() else 0
        if self.status != 200:
            return self.status, {}
        if credential != "Bearer right":
            return 403, {}
        if path != f"/v1/secrets/prod/{version}" or not 0 < number <= len(self.values):
            return 404, {}
        return 200, {"value": self.values[number - 1], "version": number}


class Answer(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        status, content = self.server.answer(self.path, self.headers["Authorization"])
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class TestAcme(BackendContract):
    @pytest.fixture
    def harness(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
        @contextmanager
        def denied() -> Iterator[None]:
            monkeypatch.setenv("ACME_TOKEN", "wrong")
            yield
            monkeypatch.setenv("ACME_TOKEN", "right")

        @contextmanager
        def without_credential() -> Iterator[None]:
            monkeypatch.delenv("ACME_TOKEN")
            yield
            monkeypatch.setenv("ACME_TOKEN", "right")

        @contextmanager
        def unavailable() -> Iterator[None]:
            service.status = 503
            yield
            service.status = 200

        @contextmanager
        def silent() -> Iterator[None]:
            service.seconds = 3.0
            yield
            service.seconds = 0.0

        with Service() as service:
            threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
            monkeypatch.setenv("ACME_ADDR", f"http://127.0.0.1:{service.server_port}")
            monkeypatch.setenv("ACME_TOKEN", "right")
            yield Harness(
                AcmeBackend(),
                store=lambda value: service.values.append(value.decode()),
                present="acme:prod",
                missing="acme:nothing",
                denied=denied,
                without_credential=without_credential,
                unavailable=unavailable,
                silent=silent,
            )
            service.shutdown()
