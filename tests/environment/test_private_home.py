"""The private home: what is in it, who can read it, and that it does not stay."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.environment import private_home as homes
from astro_token.environment.context import Context
from astro_token.environment.private_home import PrivateHome, private_home, remove
from astro_token.errors import OutputError
from astro_token.testing import appearances
from tests.machine import only_root
from tests.rows import each_row
from tests.timing import is_running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT = Context("astronomer.io", "clorg1", "clws1")
NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder in which homes are made: nobody else's homes are in it."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def environ(place: Path, tmp_path: Path) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(place), "HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}


def settings(environ: dict[str, str], text: str, name: str = "HOME") -> None:
    """Gives the user a config.yaml."""
    folder = Path(environ[name]) / ".astro"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)


def seeded(environ: dict[str, str], context: Context = CONTEXT) -> str:
    with private_home(context, environ) as home:
        return (home.path / ".astro" / "config.yaml").read_text()


def mapping(text: str) -> dict[str, object]:
    """Reads block mappings of YAML, with double-quoted or bare scalars: all that the CLI's file has."""
    root: dict[str, object] = {}
    stack: list[tuple[int, dict[str, object]]] = [(-1, root)]
    for line in text.splitlines():
        match = re.fullmatch(r'( *)("(?:[^"\\]|\\.)*"|[^\s":#][^":]*):(?: (.*))?', line)
        assert match, f"no line of YAML: {line!r}"
        indent, key, value = len(match[1]), scalar(match[2]), match[3]
        while stack[-1][0] >= indent:
            stack.pop()
        parent = stack[-1][1]
        assert key not in parent, f"the key {key} is there twice"
        if value:
            parent[key] = scalar(value)
        else:
            child: dict[str, object] = {}
            parent[key] = child
            stack.append((indent, child))
    return root


def scalar(text: str) -> str:
    if text.startswith('"'):
        read = json.loads(text)
        assert isinstance(read, str)
        return read
    return text.strip()


# -- what is in it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (
            CONTEXT,
            {
                "context": "astronomer.io",
                "contexts": {
                    "astronomer_io": {
                        "domain": "astronomer.io",
                        "organization": "clorg1",
                        "workspace": "clws1",
                        "last_used_workspace": "clws1",
                    }
                },
            },
        ),
        (Context(), {"context": "astronomer.io", "contexts": {"astronomer_io": {"domain": "astronomer.io"}}}),
        (
            Context("a.b.example", None, "w"),
            {
                "context": "a.b.example",
                "contexts": {
                    "a_b_example": {"domain": "a.b.example", "workspace": "w", "last_used_workspace": "w"}
                },
            },
        ),
    ],
)
def test_the_context_is_what_the_cli_reads(
    environ: dict[str, str], context: Context, expected: dict[str, object]
) -> None:
    assert expected == mapping(seeded(environ, context))


@pytest.mark.parametrize(
    "domain", ['x"\ny: z', "a: b", "#", "'", "é", "x\\", "{a}", "- x", "*a", "!!x", "\u2028"]
)
def test_no_domain_breaks_out_of_its_place(environ: dict[str, str], domain: str) -> None:
    read = mapping(seeded(environ, Context(domain)))
    assert {"context": domain, "contexts": {domain.replace(".", "_"): {"domain": domain}}} == read


USERS = """\
cloud:
  api:
    port: 443
container:
  binary: podman
context: astronomer_io
contexts:
  astronomer_io:
    domain: astronomer.io
    token: Bearer {token}
    refreshtoken: {token}
    workspace: stale
telemetry:
  enabled: false
"""


def test_the_users_settings_are_carried_without_the_contexts(environ: dict[str, str], canary: str) -> None:
    settings(environ, USERS.format(token=canary))
    text = seeded(environ)
    read = mapping(text)
    expected = {
        "cloud": {"api": {"port": "443"}},
        "container": {"binary": "podman"},
        "telemetry": {"enabled": "false"},
    }
    assert expected == {key: value for key, value in read.items() if key not in {"context", "contexts"}}
    assert mapping(seeded({**environ, "HOME": "/nonexistent"})) == {
        key: read[key] for key in ("context", "contexts")
    }
    assert [] == appearances(canary, text)


def test_the_users_settings_come_from_their_own_astro_home_where_it_is_set(
    environ: dict[str, str], tmp_path: Path
) -> None:
    settings(environ, "telemetry:\n  enabled: true\n")
    environ["ASTRO_HOME"] = str(tmp_path / "other")
    settings(environ, "telemetry:\n  enabled: false\n", "ASTRO_HOME")
    assert {"enabled": "false"} == mapping(seeded(environ))["telemetry"]


@pytest.mark.parametrize(
    "text",
    [
        "{telemetry: {enabled: false}}\n",
        "telemetry: {enabled: false}\n}\n",
        "- telemetry\n",
        "'contexts':\n  x:\n    workspace: stale\n",
        '"contexts":\n  x:\n    workspace: stale\n',
        "? contexts\n: x\n",
        "\tcontexts:\n",
        "%YAML 1.2\n---\ntelemetry:\n",
        "telemetry:\n  enabled: false\n---\ncontexts:\n",
        "<<: *a\n",
        "telemetry\n",
        "custom:\n  token: x\n",
        "custom:\n  x: Bearer y\n",
        "custom:\n  x: eyJhbGciOi\n",
        "telemetry:\n  enabled: false\n" + "#" * 70_000,
    ],
)
def test_settings_of_another_shape_or_with_a_token_are_not_carried(
    environ: dict[str, str], text: str
) -> None:
    bare = seeded(environ)
    settings(environ, text)
    assert bare == seeded(environ)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"\x00"])
def test_settings_that_are_no_text_are_not_carried(environ: dict[str, str], data: bytes) -> None:
    bare = seeded(environ)
    settings(environ, "")
    (Path(environ["HOME"]) / ".astro" / "config.yaml").write_bytes(data)
    assert bare == seeded(environ)


def test_settings_that_nobody_writes_are_not_waited_for(environ: dict[str, str]) -> None:
    bare = seeded(environ)
    settings(environ, "")
    config = Path(environ["HOME"]) / ".astro" / "config.yaml"
    config.unlink()
    os.mkfifo(config)
    assert bare == seeded(environ)


def test_the_users_own_home_is_not_changed(environ: dict[str, str]) -> None:
    settings(environ, USERS.format(token="x"))
    file = Path(environ["HOME"]) / ".astro" / "config.yaml"
    before = (file.read_text(), file.stat().st_mtime_ns, sorted(Path(environ["HOME"]).rglob("*")))
    seeded(environ)
    assert before == (file.read_text(), file.stat().st_mtime_ns, sorted(Path(environ["HOME"]).rglob("*")))


# -- who can read it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_we_can_look_into_it_whatever_the_umask(environ: dict[str, str], umask: int) -> None:
    before = os.umask(umask)
    try:
        with private_home(CONTEXT, environ) as home:
            paths = [home.path, *home.path.rglob("*")]
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths if path != home.path}
            assert 0o700 == stat.S_IMODE(home.path.stat().st_mode)
            assert {".astro": 0o700, "config.yaml": 0o600, ".astro-token-lock": 0o600} == modes
    finally:
        os.umask(before)


def test_it_is_made_in_the_users_folder_in_memory(environ: dict[str, str], place: Path) -> None:
    with private_home(CONTEXT, environ) as home:
        assert place == home.path.parent


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has /dev/shm")
@pytest.mark.parametrize("folder", [None, "", "relative", "/nonexistent"])
def test_without_one_it_is_made_in_shared_memory(environ: dict[str, str], folder: str | None) -> None:
    given = {key: value for key, value in environ.items() if key != "XDG_RUNTIME_DIR"}
    with private_home(CONTEXT, given if folder is None else {**given, "XDG_RUNTIME_DIR": folder}) as home:
        assert Path("/dev/shm") == home.path.parent


# -- it does not stay ------------------------------------------------------------------------------------


def test_it_is_removed_with_all_that_the_child_put_into_it(environ: dict[str, str], place: Path) -> None:
    with private_home(CONTEXT, environ) as home:
        (home.path / "a" / "b").mkdir(parents=True)
        (home.path / "a" / "b" / "c").write_text("x")
        (home.path / ".astro" / "config.yaml").unlink()
    assert [] == list(place.iterdir())


UNWRITABLE = """
import fcntl, json, os, shutil, sys
from pathlib import Path
from astro_token.environment.context import Context
from astro_token.environment.private_home import private_home
from astro_token.errors import OutputError
place, mode, outside, user = Path(sys.argv[1]), int(sys.argv[2], 8), Path(sys.argv[3]), int(sys.argv[4])
if os.geteuid() != user:  # after the imports: the interpreter need not be where others can read
    os.setgid(user)
    os.setuid(user)
with private_home(Context(), {"XDG_RUNTIME_DIR": str(place)}) as home:
    deep = home.path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (home.path / "link").symlink_to(outside)
    for folder in (deep, deep.parent, deep.parent.parent, home.path / ".astro", home.path):
        folder.chmod(mode)
print(os.geteuid(), sorted(place.iterdir()))
"""


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder that other users can reach, as those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("mode", ["500", "000", "300", "400"])
def test_folders_that_a_child_made_unwritable_are_removed_too(anybodys: Path, mode: str) -> None:
    user = NOBODY if os.geteuid() == 0 else os.geteuid()  # root is not stopped by a mode
    place, outside = anybodys / "run", anybodys / "outside"
    for folder, permissions in ((place, 0o777), (outside, 0o555)):
        folder.mkdir()
        folder.chmod(permissions)
        if os.geteuid() == 0:
            os.chown(folder, user, -1)
    done = subprocess.run(
        [sys.executable, "-c", UNWRITABLE, str(place), mode, str(outside), str(user)],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert (f"{user} []\n", "") == (done.stdout, done.stderr)
    assert 0o555 == stat.S_IMODE(outside.stat().st_mode), "what a link points at was changed"


@each_row("mode", [0o777, 0o775, 0o757, 0o1777, 0o755, 0o700], ids=oct)
def test_a_folder_in_which_others_can_exchange_a_home_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Others can write to it, and it is not sticky: they could rename our home and put their own there."""
    folder, last = tmp_path / "run", tmp_path / "last"
    for each, permissions in ((folder, mode), (last, 0o700)):
        each.mkdir()
        each.chmod(permissions)
    monkeypatch.setattr(homes, "_parent_folders", lambda _: [folder, last])
    is_safe = mode in {0o1777, 0o755, 0o700}
    with private_home(CONTEXT, {}) as home:
        assert (folder if is_safe else last) == home.path.parent


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757], ids=oct)
def test_no_home_is_made_where_others_can_exchange_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Neither where a memory file system nor where temporary files are; what to do is said."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    monkeypatch.setattr(homes, "_parent_folders", lambda _: [tmp_path / "run", tmp_path / "none"])
    with pytest.raises(OutputError) as raised, private_home(CONTEXT, {}):
        raise AssertionError("it was made")
    assert (
        f"a private home can be created in no folder: {tmp_path}/run: other users can rename files in it; "
        f"{tmp_path}/none: no such file or directory"
    ) == raised.value.message
    assert "TMPDIR" in (raised.value.hint or "")
    assert [] == list((tmp_path / "run").iterdir())


def test_what_a_link_in_it_points_at_stays(environ: dict[str, str], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    with private_home(CONTEXT, environ) as home:
        (home.path / "link").symlink_to(outside)
        (home.path / "file").symlink_to(outside / "file")
    assert "x" == (outside / "file").read_text()


def test_a_home_that_is_gone_already_is_no_failure(environ: dict[str, str], place: Path) -> None:
    with private_home(CONTEXT, environ) as home:
        remove(home.path)
    assert [] == list(place.iterdir())


# -- homes that a kill left behind -----------------------------------------------------------------------

PARENT = """
import subprocess, sys, time
from astro_token.environment.context import Context
from astro_token.environment.private_home import private_home
from astro_token.errors import OutputError
with private_home(Context(), {"XDG_RUNTIME_DIR": sys.argv[1]}) as home:
    if sys.argv[2] == "child":
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(sleep, stdout=subprocess.DEVNULL)
        home.used_by(child.pid)
        print(home.path, child.pid, flush=True)
    else:
        print(home.path, 0, flush=True)
    time.sleep(60)
"""


class Run:
    """A run of its own, which can be killed, and its child."""

    def __init__(self, place: Path, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(place), kind], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        home, child = self.process.stdout.readline().split()
        self.home, self.child = Path(home), int(child)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_child(self) -> None:
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            wait_until(lambda: not is_running(self.child))
            self.child = 0

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.kill_child()
        self.kill()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def runs(place: Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.close()


def next_run(environ: dict[str, str]) -> None:
    with private_home(CONTEXT, environ):
        pass


def test_the_home_of_a_killed_run_is_removed_by_the_next(
    place: Path, environ: dict[str, str], runs: list[Run]
) -> None:
    runs.append(run := Run(place, "alone"))
    run.kill()
    assert run.home.is_dir()
    next_run(environ)
    assert [] == list(place.iterdir())


def test_the_home_of_a_killed_run_stays_while_its_child_lives(
    place: Path, environ: dict[str, str], runs: list[Run]
) -> None:
    runs.append(run := Run(place, "child"))
    run.kill()
    next_run(environ)
    assert [run.home] == list(place.iterdir())


def test_and_goes_when_the_child_has_ended(place: Path, environ: dict[str, str], runs: list[Run]) -> None:
    runs.append(run := Run(place, "child"))
    run.kill()
    run.kill_child()
    next_run(environ)
    assert [] == list(place.iterdir())


def test_the_home_of_a_live_run_stays(place: Path, environ: dict[str, str], runs: list[Run]) -> None:
    runs.append(run := Run(place, "alone"))
    next_run(environ)
    assert [run.home] == list(place.iterdir())


def abandoned(place: Path, name: str = "x") -> Path:
    path = place / f"astro-token-home-{os.geteuid()}-{name}"
    path.mkdir(mode=0o700)
    return path


def test_a_process_that_has_a_dead_childs_number_keeps_no_home(place: Path, environ: dict[str, str]) -> None:
    home = abandoned(place)
    (home / ".astro-token-lock").touch()
    PrivateHome(home).used_by(os.getpid())
    number, _, started = (home / ".astro-token-child").read_text().partition(" ")
    next_run(environ)
    assert home.is_dir()
    (home / ".astro-token-child").write_text(f"{number} {int(started or 0) - 1}")
    next_run(environ)
    assert not home.exists()


@pytest.mark.parametrize("note", ["", "x", "999999999 1", "-1 1", "1e3", "\xff"])
def test_a_note_that_names_no_process_keeps_no_home(place: Path, environ: dict[str, str], note: str) -> None:
    home = abandoned(place)
    (home / ".astro-token-lock").touch()
    (home / ".astro-token-child").write_bytes(note.encode("latin-1"))
    next_run(environ)
    assert not home.exists()


def test_a_home_that_a_detached_process_made_again_is_removed_by_the_next_run(
    place: Path, environ: dict[str, str]
) -> None:
    with private_home(CONTEXT, environ) as home:
        pass
    (home.path / ".astro").mkdir(parents=True)
    (home.path / ".astro" / "config.yaml").touch()
    next_run(environ)
    assert [] == list(place.iterdir())


def test_a_home_that_is_being_made_is_left_alone_for_a_minute(place: Path, environ: dict[str, str]) -> None:
    unfinished = place / f"astro-token-unfinished-{os.geteuid()}-x"
    unfinished.mkdir(mode=0o700)
    next_run(environ)
    assert unfinished.is_dir()
    os.utime(unfinished, (0, time.time() - 90))
    next_run(environ)
    assert not unfinished.exists()


def test_what_is_not_a_home_of_ours_is_left_alone(
    place: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".astro-token-lock").touch()
    link = place / f"astro-token-home-{os.geteuid()}-link"
    link.symlink_to(outside)
    file = place / f"astro-token-home-{os.geteuid()}-file"
    file.touch()
    other = place / f"astro-token-home-{os.geteuid() + 1}-x"
    other.mkdir()
    alike = place / "astro-token-homework"
    alike.mkdir()
    for path in (outside, file, other, alike):
        os.utime(path, (0, 0))
    next_run(environ)
    assert [] == [path for path in (link, outside, file, other, alike) if not path.exists()]


@only_root
def test_a_folder_of_another_user_with_our_name_on_it_is_left_alone(
    place: Path, environ: dict[str, str]
) -> None:
    home = abandoned(place)
    os.chown(home, NOBODY, -1)
    os.utime(home, (0, 0))
    next_run(environ)
    assert home.is_dir()


def test_a_lock_that_is_a_link_is_not_followed(place: Path, environ: dict[str, str], tmp_path: Path) -> None:
    home = abandoned(place)
    (home / ".astro-token-lock").symlink_to(tmp_path / "victim")
    next_run(environ)
    assert not (tmp_path / "victim").exists()


def test_many_runs_at_once_neither_fail_nor_remove_each_others_homes(place: Path) -> None:
    program = (
        "import sys, time\n"
        "from astro_token.environment.context import Context\n"
        "from astro_token.environment.private_home import private_home\n"
        "for _ in range(10):\n"
        "    with private_home(Context(), {'XDG_RUNTIME_DIR': sys.argv[1]}) as home:\n"
        "        time.sleep(0.005)\n"
        "        assert (home.path / '.astro' / 'config.yaml').is_file()\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program, str(place)], stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    assert [(0, "")] * 6 == [(run.wait(), run.communicate()[1]) for run in runs]
    assert [] == list(place.iterdir())
