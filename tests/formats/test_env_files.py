"""Files of `NAME=value`, read by the installed programs and by models of the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from astro_token.ci.formats import render
from astro_token.errors import OutputError
from astro_token.formats.rendering import File, Rendering, Variables
from tests.formats import files
from tests.formats.consumers import NAME, PATH, misread, ours, there, variables
from tests.formats.sweep import faults, renderings
from tests.formats.texts import PIECES, texts
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Read = Callable[[list[str]], list[str | None]]

COUNT = 300
WORDY = [
    "a b",
    "a#b",
    "a #b",
    "a=b",
    '"q"',
    "x;y",
    "a&b",
    "~",
    "a:~/b",
    "{}",
    "*",
    "a,b",
    "!",
    "%s",
    "(x)",
    "[y]",
    "^",
]


def each(parser: Callable[[str], Mapping[str, str]], rendered: list[str]) -> list[str | None]:
    values: list[str | None] = []
    for text in rendered:
        found = parser(text)
        values.append(found[NAME] if list(found) == [NAME] else None)
    return values


@pytest.mark.parametrize("name", ["dotenv", "docker", "systemd", "gitlab-env"])
def test_every_piece_is_read_back_or_refused(name: str) -> None:
    assert [] == faults(name, [*PIECES, *WORDY, "", " ", "\\"])


# -- .env files ----------------------------------------------------------------------------------------------


def test_a_token_stands_bare_and_what_is_special_in_single_quotes(canary: str) -> None:
    assert f"{NAME}={canary}\n" == render("dotenv", variables(canary)).text
    assert f"{NAME}='a #b'\n" == render("dotenv", variables("a #b")).text


@each_row("text", ["it's", "a\\b", "$x", "${x}", "`x`", "a\nb", "é", "", " x"])
def test_what_programs_read_differently_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match=r"a \.env file cannot carry this value"):
        render("dotenv", variables(text))


def one_by_one(command: list[str], rendered: list[str]) -> list[str | None]:
    """Each in a file of its own; the command prints JSON."""
    values: list[str | None] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        for text in rendered:
            file.write_bytes(text.encode())
            done = subprocess.run(
                [part.replace("FILE", str(file)) for part in command],
                env={"PATH": PATH, "HOME": folder, "LC_ALL": "C.UTF-8"},
                capture_output=True,
            )
            values.append(json.loads(done.stdout).get(NAME) if done.returncode == 0 else None)
    return values


def numbered(command: list[str], rendered: list[str]) -> list[str | None]:
    """All in one file under names of their own; the command prints JSON."""
    text = "".join(text.replace(f"{NAME}=", f"V{number}=", 1) for number, text in enumerate(rendered))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file").write_bytes(text.encode())
        done = subprocess.run(
            [part.replace("FILE", f"{folder}/file") for part in command],
            env={"PATH": PATH, "HOME": folder, "LC_ALL": "C.UTF-8"},
            capture_output=True,
        )
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    return [found.get(f"V{number}") for number in range(len(rendered))]


IN_BASH = (
    "set -a; . FILE; python3 -c 'import json, os; print(json.dumps({k: v for k, v in os.environ.items()}))'"
)
IN_NODE = "console.log(JSON.stringify(require('util').parseEnv(require('fs').readFileSync('FILE', 'utf8'))))"
IN_PYTHON = "import json, dotenv; print(json.dumps(dotenv.dotenv_values('FILE')))"
DOTENV_READERS: dict[str, Read] = {
    **{name: partial(numbered, [name, "-c", IN_BASH]) for name in there("bash", "dash", "zsh")},
    **{name: partial(numbered, [name, "dotenv", "json", "FILE"]) for name in there("direnv")},
    **{name: partial(numbered, [name, "-e", IN_NODE]) for name in there("node", needed=False)},
    "python-dotenv": partial(numbered, [sys.executable, "-c", IN_PYTHON]),
    "model of python-dotenv": partial(each, files.python_dotenv),
    "model of Compose": partial(each, files.compose),
    "model of a shell": partial(each, files.shell_like),
}


@each_row("reader", DOTENV_READERS)
def test_programs_that_read_env_files_agree(reader: str) -> None:
    given = [*PIECES, *WORDY, *texts(COUNT, reader)]
    assert [] == misread(ours("dotenv"), DOTENV_READERS[reader], given)
    assert len(renderings("dotenv", given)[0]) > 50


def test_a_careless_env_file_is_caught() -> None:
    def bare(given: Variables) -> Rendering:
        return Rendering("".join(f"{name}={value}\n" for name, value in given.set.items()))

    def quoted(given: Variables) -> Rendering:
        return Rendering("".join(f"{name}='{value}'\n" for name, value in given.set.items()))

    assert ["a #b", "'q'"] == misread(bare, DOTENV_READERS["model of Compose"], ["plain", "a #b", "'q'"])
    assert ["${x}", "\\\\"] == misread(
        quoted, DOTENV_READERS["model of python-dotenv"], ["x", "${x}", "\\\\"]
    )


# -- docker ------------------------------------------------------------------------------------------------


def test_dockers_file_has_no_quotes(canary: str) -> None:
    assert f"{NAME}='q' # x\n" == render("docker", variables("'q' # x")).text
    assert f"{NAME}={canary}\n" == render("docker", variables(canary)).text


def test_a_line_that_docker_cannot_read_is_refused() -> None:
    assert 60_000 == len(render("docker", variables("x" * (60_000 - len(NAME) - 2))).text)
    with pytest.raises(OutputError, match="it is too long"):
        render("docker", variables("x" * 60_000))


class Daemon(BaseHTTPRequestHandler):
    """As much of docker's daemon as its client asks before it makes a container."""

    environments: ClassVar[list[list[str]]] = []

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Api-Version", "1.41")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.answer(200, {})

    def do_GET(self) -> None:
        self.answer(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.environments.append(body["Env"])
        self.answer(201, {"Id": "made", "Warnings": []})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.parametrize("docker", there("docker", needed=False))
def test_dockers_own_client_reads_each_text(docker: str, tmp_path: Path) -> None:
    carried, rendered = renderings("docker", [*PIECES, *WORDY, *texts(COUNT, "docker")])
    options = []
    for number, text in enumerate(rendered):
        (tmp_path / str(number)).write_text(text)
        options += ["--env-file", str(tmp_path / str(number))]
    Daemon.environments.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Daemon) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [docker, "create", *options, "image"],
            env={"PATH": PATH, "HOME": str(tmp_path), "DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"},
            capture_output=True,
        )
        server.shutdown()
    assert (0, [[f"{NAME}={text}" for text in carried]]) == (done.returncode, Daemon.environments)


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("A=1\n", {"A": "1"}),
        ("  A= 1 \n", {"A": " 1 "}),
        ("# x\nA='1'\r\n", {"A": "'1'"}),
        ("A\nB=\n", {"B": ""}),
    ],
)
def test_the_model_reads_as_docker_does(file: str, found: dict[str, str]) -> None:
    assert found == files.docker(file)


def test_a_careless_file_for_docker_is_caught() -> None:
    def quoted(given: Variables) -> Rendering:
        return Rendering("".join(f"{name}='{value}'\n" for name, value in given.set.items()))

    assert ["x", "a b"] == misread(quoted, partial(each, files.docker), ["x", "a b"])


# -- systemd -----------------------------------------------------------------------------------------------


def test_systemd_gets_quotes_and_the_four_escapes() -> None:
    assert f'{NAME}="a\\\\b\\"c\\$d\\`e\nf"\n' == render("systemd", variables('a\\b"c$d`e\nf')).text


@each_row("text", ["\ufdd0", "a\uffff", "\U0001fffe", "\0", "\ud800"])
def test_what_systemd_would_drop_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match="systemd cannot carry this value"):
        render("systemd", variables(text))


# It reads its files with the same parser, and then replaces `$` in the values, for which there is no escape.
GENERATOR = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "s": " "}


def generated(rendered: list[str]) -> list[str | None]:
    """What systemd's own program for environment.d makes of them."""
    text = "".join(text.replace(f"{NAME}=", f"V{number}=", 1) for number, text in enumerate(rendered))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "environment.d").mkdir()
        Path(folder, "environment.d", "x.conf").write_bytes(text.encode())
        done = subprocess.run([GENERATOR], env={"XDG_CONFIG_HOME": folder}, capture_output=True)
    found: dict[str, str] = {}
    for line in done.stdout.decode().split("\n"):
        name, _, value = line.partition("=")
        if value.startswith('"') and value.endswith('"') and len(value) > 1:
            value = re.sub(r"\\([0-7]{3}|.)", _unescaped, value[1:-1])
        found[name] = value
    return [found.get(f"V{number}") for number in range(len(rendered))]


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code, 8)) if len(code) == 3 else _ESCAPES.get(code, code)


@pytest.mark.parametrize("generator", [GENERATOR] if GENERATOR.exists() else [])
def test_systemds_own_parser_reads_each_text(generator: Path) -> None:
    # To it, a variable that is empty is none.
    given = [text for text in [*PIECES, *WORDY, *texts(2000, "systemd")] if text and "$" not in text]
    assert [] == misread(ours("systemd"), generated, given)


@each_row(
    ("file", "found"),
    [
        ("A=1\n", {"A": "1"}),
        ('A="1" "2"\n', {"A": "12"}),
        ('A="a\\\\b\\"c\\nd"\n', {"A": 'a\\b"c\\nd'}),
        ("A=a\\ b  \n", {"A": "a b"}),
        ("# x\n; y\nA='it'\n", {"A": "it"}),
        ('A="x\ny"\nB=2\n', {"A": "x\ny", "B": "2"}),
        ('A="\ufffe"\nB=2\n', {"B": "2"}),
    ],
)
def test_the_model_reads_as_systemd_does(file: str, found: dict[str, str]) -> None:
    assert found == files.systemd(file)


def test_a_careless_file_for_systemd_is_caught() -> None:
    def unescaped(given: Variables) -> Rendering:
        return Rendering("".join(f'{name}="{value}"\n' for name, value in given.set.items()))

    assert ["a\\\\b"] == misread(unescaped, partial(each, files.systemd), ["x", "a\\\\b", "a b"])


# -- GitLab ------------------------------------------------------------------------------------------------

GITLAB = {"GITLAB_ENV": "/builds/project.tmp/gitlab_runner_env", "CI_PROJECT_DIR": "/builds/project"}


def test_gitlabs_file_gets_whole_lines_even_after_an_open_one() -> None:
    rendering = render("gitlab-env", Variables({NAME: "a b"}, environ=GITLAB))
    assert isinstance(rendering.to, File)
    assert (Path(GITLAB["GITLAB_ENV"]), False) == (rendering.to.path, rendering.to.may_create)
    assert {"OPEN": "1", NAME: "a b"} == files.gitlab("OPEN=1" + rendering.text)
    assert {} == files.gitlab(f"{NAME}=lost")


@pytest.mark.parametrize("path", ["", "env", "/builds/project/env", "/builds/x/../project/env"])
def test_a_gitlab_env_that_is_not_the_runners_is_refused(path: str) -> None:
    with pytest.raises(OutputError, match="GITLAB_ENV"):
        render("gitlab-env", Variables({NAME: "x"}, environ={**GITLAB, "GITLAB_ENV": path}))
