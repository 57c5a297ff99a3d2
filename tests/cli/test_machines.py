"""Commands on machines with a fault: what is at fault is named, and nothing is left half done."""

from __future__ import annotations

import importlib.util
import random
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
import pytest

from tests.cli.conftest import crossed
from tests.machine import (
    COUNTED,
    IN_CI,
    OTHER,
    TEMPORARY,
    Machine,
    Result,
    available,
    fill,
    full,
    only_root,
    read_only,
)
from tests.servers.releases import Releases

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

STARTED = 'test "$ASTRO_API_TOKEN" = "$CANARY" && echo started'
COMMANDS = {
    "exec file": ["exec", "file:token", "--", "sh", "-c", STARTED],
    "exec env": ["exec", "env:PROD", "--", "sh", "-c", STARTED],
    "exec --mask": ["exec", "--mask", "env:PROD", "--", "sh", "-c", STARTED],
    "exec age": ["exec", "file:token.age", "--", "sh", "-c", STARTED],
    "export": ["export", "file:token", "--format", "value"],
    "export --output": ["export", "env:PROD", "--format", "value", "--output", "out"],
    "check": ["check", "file:token"],
    "put": ["put", "file:token.age"],
    "put new": ["put", "file:new.age"],
    "doctor": ["doctor", "--offline", "file:token"],
}
TOKEN_FILE = "/mnt/work/token"
NO_HOME = "astro-token: error: a private home can be created in no folder: "
TMPDIR_HINT = "astro-token: hint: set TMPDIR to a folder that has space and that only you can write to\n"
SPACE = "free space there, or use another folder"
WRITABLE = "use a folder of a writable file system"
NO_SPACE, READ_ONLY = "no space left on device", "read-only file system"
PROCESSES = "raise the limits on processes and memory (ulimit -u, ulimit -v, or those of the container)"
TOML = '[tokens.prod]\nref = "env:PROD"\n'


@pytest.fixture
def machine(tmp_path: Path, canary: str) -> Machine:
    """A machine with a token, and an age key in its user's home."""
    if not available():
        assert not IN_CI, "CI must allow namespaces: run it as root with CAP_SYS_ADMIN"
        pytest.skip("needs namespaces")
    folder = tmp_path / "machine"
    identity = pyrage.x25519.Identity.generate()
    key = folder / "home" / ".config" / "astro-token" / "age-key.txt"
    key.parent.mkdir(parents=True)
    (folder / "work").mkdir()
    (folder / "tmp").mkdir()
    encrypted = pyrage.encrypt(canary.encode(), [identity.to_public()], armored=True)
    for path, data in {
        key: str(identity).encode(),
        folder / "work" / "token": canary.encode(),
        folder / "work" / "token.age": encrypted,
        folder / "home" / "saved": encrypted,
    }.items():
        path.write_bytes(data)
        path.chmod(0o600)
    return Machine(folder, canary)


@pytest.fixture
def run(machine: Machine, canary: str) -> Callable[..., Result]:
    """Run a command of `COMMANDS` or of other words, and check what holds on every machine."""

    def run(name: str, *arguments: str, left: tuple[str, ...] = (), **options: Any) -> Result:
        words = [name, *arguments] if arguments else COMMANDS[name]
        result = machine(*words, stdin=canary, **options)
        assert "Traceback" not in result.stderr
        assert canary not in result.stderr.replace(f"::add-mask::{canary}", "")
        assert words[0] == "export" or canary not in result.stdout
        assert sorted({TOKEN_FILE, *left}) == result.left
        return result

    return run


def failure(code: int, message: str, hint: str) -> tuple[int, str]:
    return code, f"astro-token: error: {message}\nastro-token: hint: {hint}\n"


def outcome(result: Result) -> tuple[int, str]:
    return result.code, result.stderr


def worked(result: Result, stdout: str = "started\n") -> bool:
    return (0, stdout, "") == (result.code, result.stdout, result.stderr)


def test_without_a_fault_every_command_works(run: Callable[..., Result], canary: str) -> None:
    """So that the other tests fail for their own reason only."""
    for name in ("exec age", "exec --mask"):
        assert worked(run(name))
    assert worked(run("export"), canary)
    for name in ("check", "put", "doctor"):
        assert 0 == run(name).code
    assert worked(run("export --output", left=("/mnt/work/out",)), "")


# -- no space, and nothing writable -----------------------------------------------------------------------


WHERE = ["exec", "env:PROD", "--", "sh", "-c", 'dirname "$ASTRO_HOME"']


@pytest.mark.parametrize(
    ("prepare", "folder"),
    [
        ("", "/dev/shm"),
        (full("/dev/shm"), "/mnt/tmp"),
        (full("/dev/shm", "/mnt/tmp"), "/tmp"),
        (full("/mnt/tmp", "/tmp", "/var/tmp"), "/dev/shm"),
        (read_only("/", "/mnt", *(each for each in TEMPORARY if each != "/mnt/tmp")), "/mnt/tmp"),
        (read_only("/", "/mnt", *(each for each in TEMPORARY if each != "/var/tmp")), "/var/tmp"),
        ("mount -t tmpfs dev /dev", "/mnt/tmp"),  # no /dev/shm, no /dev/null
        ("chmod 777 /dev/shm", "/mnt/tmp"),  # others could rename the home
        ("umount -l /proc", "/dev/shm"),
    ],
)
def test_the_private_home_is_in_the_first_folder_that_takes_it(
    run: Callable[..., Result], prepare: str, folder: str
) -> None:
    assert worked(run(*WHERE, prepare=prepare), f"{folder}\n")


@pytest.mark.parametrize("name", ["exec file", "exec --mask"])
def test_without_space_for_a_private_home_each_folder_is_named(run: Callable[..., Result], name: str) -> None:
    result = run(name, prepare=full(*TEMPORARY))
    folders = "; ".join(f"{folder}: {NO_SPACE}" for folder in TEMPORARY)
    assert (74, f"{NO_HOME}{folders}\n{TMPDIR_HINT}") == outcome(result)


def test_where_nothing_is_writable_each_folder_is_named(run: Callable[..., Result]) -> None:
    result = run("exec age", prepare=read_only())
    folders = "; ".join(f"{folder}: {READ_ONLY}" for folder in TEMPORARY)
    assert (74, f"{NO_HOME}{folders}\n{TMPDIR_HINT}") == outcome(result)


def test_where_others_could_exchange_the_home_each_folder_is_named(run: Callable[..., Result]) -> None:
    result = run("exec env", prepare=f"chmod 777 {' '.join(TEMPORARY)}", env={"TMPDIR": "tmp"})
    others = "other users can rename files in it"
    folders = f"/dev/shm: {others}; tmp: a relative path; /tmp: {others}; /var/tmp: {others}"
    assert (73, f"{NO_HOME}{folders}\n{TMPDIR_HINT}") == outcome(result)


@pytest.mark.parametrize("name", ["export", "check", "doctor"])
def test_what_writes_nothing_works_where_nothing_is_writable(run: Callable[..., Result], name: str) -> None:
    assert 0 == run(name, prepare=read_only()).code


@pytest.mark.parametrize(
    ("prepare", "reason", "hint"),
    [(fill("/mnt/work"), NO_SPACE, SPACE), (read_only("/mnt"), READ_ONLY, WRITABLE)],
    ids=["full", "read-only"],
)
def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(
    run: Callable[..., Result], prepare: str, reason: str, hint: str
) -> None:
    keep = '"$@"; code=$?; cmp token.age ../home/saved >&2; exit $code'
    expected = failure(74, f"/mnt/work/out: {reason}", hint)
    assert expected == outcome(run("export --output", prepare=prepare))
    overwrite = [*COMMANDS["export --output"][:-1], "token.age", "--force"]
    expected = failure(74, f"/mnt/work/token.age: {reason}", hint)
    assert expected == outcome(run(*overwrite, prepare=prepare, command=keep))
    for name in ("token.age", "new.age"):
        message = f"file:{name}: writing the file failed: {reason}"
        expected = failure(74, message, f"the file is unchanged; {hint}")
        assert expected == outcome(run("put", f"file:{name}", prepare=prepare, command=keep))


def test_what_a_ci_system_reads_is_appended_completely_or_not_at_all(run: Callable[..., Result]) -> None:
    """The last block of the file has space for a part of the line."""
    prepare = f"head -c 4000 /dev/zero | tr '\\0' x >env\n{fill('/mnt/work')}\nwc -c <env"
    result = run(
        *("export", "file:token", "--format", "github"),
        prepare=prepare,
        command='"$@"; code=$?; wc -c <env; exit $code',
        env={"GITHUB_ACTIONS": "true", "GITHUB_ENV": "/mnt/work/env"},
    )
    code, stderr = failure(74, f"GITHUB_ENV: /mnt/work/env cannot be written: {NO_SPACE}", SPACE)
    assert (code, "4000\n4000\n") == (result.code, result.stdout)
    assert result.stderr.endswith(stderr)


def test_an_age_key_that_cannot_be_written_is_not_created(run: Callable[..., Result]) -> None:
    key = "/mnt/home/.config/astro-token/age-key.txt"
    for prepare, reason in ((fill("/mnt/home"), NO_SPACE), (read_only("/mnt"), READ_ONLY)):
        result = run(
            *("put", "file:new.age", "--create-key"),
            prepare=f"rm -f {key}\n{prepare}",
            command='"$@"; code=$?; ls ../home/.config/astro-token new.age; exit $code',
        )
        message = f"file:new.age: {key}: the key cannot be written: {reason}"
        code, stderr = failure(73, message, "set ASTRO_TOKEN_AGE_KEY_FILE or HOME")
        assert (code, "../home/.config/astro-token:\n") == (result.code, result.stdout)
        assert result.stderr.startswith(stderr)


def test_a_release_that_does_not_fit_leaves_the_old_program_and_nothing_else(
    machine: Machine, run: Callable[..., Result], certificates: Certificates
) -> None:
    shutil.copy(certificates.ca_file, machine.folder / "home" / "ca.pem")
    for folder in (machine.folder / "home" / ".local" / "bin", machine.folder / "work" / "bin"):
        folder.mkdir(parents=True)
        (folder / "astro").write_text("old")
    cache = "/mnt/home/.cache/astro-token/astro-cli"
    no_temporary = "the folder for temporary files (TMPDIR): no such file or directory"
    with Releases(certificates.server.context()) as server:
        content = random.Random(1).randbytes(300_000)  # noqa: S311 (what does not pack)
        server.publish("1.45.0", content=content)
        environ = {"ASTRO_TOKEN_CLI_RELEASES_URL": server.url, "ASTRO_TOKEN_CA_BUNDLE": "/mnt/home/ca.pem"}
        for arguments, prepare, code, path in (
            ([], f"{fill('/mnt/home')}\n{full(*TEMPORARY)}", 74, f"{cache}: {NO_SPACE}"),
            (["--to", "bin"], f"mount --bind bin bin; {read_only()}", 74, no_temporary),
            (["--to", "bin"], fill("/mnt/work"), 74, f"/mnt/work/bin/astro: {NO_SPACE}"),
            (
                ["--to", "bin"],
                f"mount --bind /mnt/work /mnt/work; cd /mnt/work; {read_only('/mnt/work')}",
                77,
                "/mnt/work/bin cannot be written to",
            ),
        ):
            result = run(
                *("install-cli", "--version", "1.45.0", *arguments),
                prepare=prepare,
                command='"$@"; code=$?; cat bin/astro ../home/.local/bin/astro; ls bin | wc -l; exit $code',
                env=environ,
            )
            assert (code, "oldold1\n") == (result.code, result.stdout)
            assert result.stderr.startswith(f"astro-token: error: {path}")


@pytest.mark.parametrize("first", [full("/dev/shm"), ""], ids=["elsewhere", "there"])
def test_a_home_that_is_recreated_after_its_run_is_removed_by_the_next_run(
    run: Callable[..., Result], first: str
) -> None:
    """The Astro CLI's telemetry outlives the CLI, and writes the token to its home."""
    later = 'while test -d "$ASTRO_HOME"; do sleep 0.01; done; mkdir -p "$ASTRO_HOME/.astro"'
    note = 'echo "$ASTRO_API_TOKEN" >"$ASTRO_HOME/.astro/config.yaml"; mv path.new path'
    result = run(
        *("exec", "env:PROD", "--", "sh", "-c", f'({later}; {note}) >&- 2>&- & echo "$ASTRO_HOME" >path.new'),
        prepare=first,
        command='"$@"; while ! test -e path; do sleep 0.01; done; test -e "$(cat path)/.astro" || exit 9\n'
        'rm -f /dev/shm/fill; "$1" exec env:PROD -- true',
    )
    assert worked(result, "")


# -- standard streams and folders -------------------------------------------------------------------------


def test_a_closed_stream_is_named_if_it_is_used(run: Callable[..., Result]) -> None:
    prepare = "mount -t tmpfs dev /dev"  # without /dev/null
    assert worked(run("exec file", command='"$@" <&- 2>&-'))
    for streams in ("<&-", "<&- 2>&-"):
        assert worked(run("exec file", prepare=prepare, command=f'"$@" {streams}'))
    message = "file:token.age: standard input cannot be read: bad file descriptor"
    expected = failure(74, message, "pipe the token in, or run put on a terminal and paste it")
    assert expected == outcome(run("put", prepare=prepare, command='"$@" <&-'))
    hint = "check that the output can be written and has space left"
    expected = failure(74, "standard output: bad file descriptor", hint)
    assert expected == outcome(run("check", prepare=prepare, command='"$@" >&-'))
    assert (74, "") == outcome(run("check", prepare=prepare, command='"$@" <&- >&- 2>&-'))


@pytest.mark.parametrize("name", ["exec env", "export --output", "put", "doctor"])
def test_a_removed_working_folder_is_named(run: Callable[..., Result], name: str) -> None:
    result = run(name, prepare="mkdir /mnt/gone; cd /mnt/gone; rmdir /mnt/gone")
    message = "the working folder cannot be read: no such file or directory"
    if name == "doctor":
        assert f"failed       settings        {message}\n" in result.stdout
        assert 74 == result.code
    else:
        assert failure(74, message, "change to a folder that exists, then try again") == outcome(result)


@crossed(
    "script options",
    (("./tool", {}), ("tool", {"PATH": "/mnt/work:/usr/bin:/bin"})),
    ((), ("--no-isolate",)),
)
def test_a_script_on_a_file_system_without_programs_says_so(
    run: Callable[..., Result], script: tuple[str, dict[str, str]], options: tuple[str, ...]
) -> None:
    name, env = script
    prepare = "printf '#!/bin/sh\\necho started\\n' >tool; chmod +x tool; mount -o remount,bind,noexec /mnt"
    noexec = "its file system is mounted with noexec"
    hint = "copy it to another file system, or give its interpreter as the command"
    result = run("exec", *options, "env:PROD", "--", name, prepare=prepare, env=env)
    assert failure(126, f"{name}: cannot be run: {noexec}", hint) == outcome(result)
    if not options:
        assert worked(run("exec", "env:PROD", "--", "sh", "./tool", prepare=prepare))


def test_a_package_on_a_file_system_without_programs_is_not_called_missing(
    run: Callable[..., Result],
) -> None:
    spec = importlib.util.find_spec("pyrage")
    folder = str(Path(str(spec and spec.origin)).parent)
    prepare = f"mount --bind '{folder}' '{folder}'; mount -o remount,bind,noexec '{folder}'"
    result = run("check", "file:token.age", prepare=prepare)
    message = "file:token.age: an encrypted file needs the Python package pyrage, which cannot be loaded"
    assert (78, f"astro-token: error: {message}") == (result.code, result.stderr.splitlines()[0])


# -- limits -----------------------------------------------------------------------------------------------


@only_root
def test_without_a_further_process_or_thread_the_limit_is_named(run: Callable[..., Result]) -> None:
    """Root has no such limit."""
    limited = 'prlimit --nproc={} -- "$@"'
    options: dict[str, Any] = {"prepare": f"chown -R {COUNTED} /mnt", "user": COUNTED}
    result = run("exec env", command=limited.format(1), **options)
    message = "sh: cannot be run: resource temporarily unavailable"
    assert failure(126, message, PROCESSES) == outcome(result)
    for limit in (1, 2):
        result = run("exec --mask", command=limited.format(limit), **options)
        message = "no further thread can be started"
        assert failure(74, message, PROCESSES) == outcome(result)
    for name in ("put", "doctor"):
        assert 0 == run(name, command=limited.format(1), **options).code


def test_limits_on_files_are_named(run: Callable[..., Result]) -> None:
    few = 'ulimit -n 8; "$@"'
    files = failure(74, "too many open files", "raise the limit on open files (ulimit -n)")
    assert files == outcome(run("exec --mask", command=few))
    assert worked(run("exec file", command=few))
    small = 'ulimit -f 0; "$@"'
    size = "raise the limit on the size of files (ulimit -f)"
    assert failure(74, "/mnt/work/out: file too large", size) == outcome(
        run("export --output", command=small)
    )
    folders = "; ".join(f"{folder}: file too large" for folder in TEMPORARY)
    expected = f"{NO_HOME}{folders}\nastro-token: hint: {size}\n"
    assert (74, expected) == outcome(run("exec env", command=small))
    assert 0 == run("check", command=small).code


# -- other users ------------------------------------------------------------------------------------------


@only_root
def test_a_user_without_an_entry_and_a_home_needs_neither(run: Callable[..., Result]) -> None:
    options: dict[str, Any] = {"prepare": f"chown -R {OTHER} /mnt", "user": OTHER, "env": {"HOME": None}}
    assert worked(run("exec file", **options))
    assert 0 == run("doctor", **options).code
    message = "file:token.age: no usable credential: no age key is configured"
    hint = "set ASTRO_TOKEN_AGE_KEY or ASTRO_TOKEN_AGE_KEY_FILE"
    assert failure(77, message, hint) == outcome(run("exec age", **options))
    result = run("put", "file:new.age", "--create-key", **options)
    message = "file:new.age: the user has no home folder for a key"
    assert failure(73, message, "set ASTRO_TOKEN_AGE_KEY_FILE or HOME") == outcome(result)


@only_root
def test_files_of_root_serve_another_user_and_only_writing_is_denied(run: Callable[..., Result]) -> None:
    prepare = f"printf '{TOML}' >astro-token.toml; chmod -R go+rX /mnt; chown {OTHER} token; chmod 600 token"
    options: dict[str, Any] = {"prepare": prepare.replace("\n", "\\n"), "user": OTHER}
    assert worked(run("exec", "prod", "--", "sh", "-c", STARTED, **options))
    assert failure(74, "/mnt/work/out: permission denied", "correct the path or the file") == outcome(
        run("export --output", **options)
    )
    result = run("put", **options)
    message = "file:token.age: permission to write the file is denied"
    hint = "allow the current user to write to its folder"
    assert 77 == result.code
    assert result.stderr.endswith(failure(77, message, hint)[1])


@only_root
def test_logins_of_a_job_need_neither_an_entry_nor_a_home(
    machine: Machine,
    run: Callable[..., Result],
    canary: str,
    certificates: Certificates,
    issuer: Issuer,
    gcp_server: GcpServer,
    gcp_login: GcpLogin,
    azure_server: AzureServer,
) -> None:
    shutil.copy(certificates.ca_file, machine.folder / "home" / "ca.pem")
    subject, name = f"project_path:acme/{uuid.uuid4()}", f"s{uuid.uuid4().hex}"
    audience = f"https:{(trusted := gcp_login.trust(issuer, subject=subject))}"
    gcp_server.put(f"projects/p1/secrets/{name}", canary.encode())
    azure_server.trust(issuer, subject=subject, audience=audience)
    azure_server.put(name, canary)
    environ = {
        "HOME": None,
        "ASTRO_TOKEN_CA_BUNDLE": "/mnt/home/ca.pem",
        "ASTRO_TOKEN_ID_TOKEN": issuer.mint({"sub": subject, "aud": audience}),
        "ASTRO_TOKEN_GCP_ENDPOINT": gcp_server.endpoint,
        "ASTRO_TOKEN_GCP_STS_ENDPOINT": f"127.0.0.1:{gcp_login.port}",
        "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER": trusted,
        "GCE_METADATA_HOST": "127.0.0.1:9",
        "NO_GCE_CHECK": "true",
        "ASTRO_TOKEN_AZURE_AUDIENCE": audience,
        "ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{azure_server.port}",
        "AZURE_AUTHORITY_HOST": azure_server.url,
        "AZURE_TENANT_ID": azure_server.tenant,
        "AZURE_CLIENT_ID": azure_server.client_id,
    }
    for ref in (f"gcp:p1/{name}", f"azure:{azure_server.url}/secrets/{name}"):
        result = run(
            *("exec", ref, "--", "sh", "-c", STARTED),
            prepare=f"chown -R {OTHER} /mnt",
            user=OTHER,
            env=environ,
        )
        assert worked(result), result


FILES = {
    "toml": ("astro-token.toml", TOML),
    "shared": ("pyproject.toml", TOML.replace("[t", "[tool.astro-token.t")),
}
FAULTS = {
    "umask 0": (
        "chmod -R a+rwX /mnt/work",
        "chmod go-w /mnt/work {}",
        "other users can write /mnt/work and {}",
    ),
    "group": ("chmod 664 {}", "chmod go-w {}", "other users can write {}"),
    "other owner": (
        f"chown -R {OTHER} /mnt/work",
        "chown 0 /mnt/work {}",
        "/mnt/work belongs to another user, who could change {name}",
    ),
    "other owner, umask 0": (
        f"chown {OTHER} {{}}; chmod 666 {{}}",
        "chown 0 {} && chmod go-w {}",
        "{} belongs to another user, who could change {name}",
    ),
}


@only_root
@pytest.mark.parametrize(
    ("file", "fault"),
    [
        *(("toml", fault) for fault in FAULTS if fault != "group"),
        ("shared", "group"),
        pytest.param("toml", "group", marks=pytest.mark.long),
    ],
)
def test_a_checkout_of_others_stops_only_what_needs_the_project_file(
    run: Callable[..., Result], file: str, fault: str
) -> None:
    """GitLab's docker executor checks out with umask 0; a container's root gets the files of another user."""
    name, text = FILES[file]
    path = f"/mnt/work/{name}"
    spoil, hint, message = (each.format(*[path] * each.count("{}"), name=name) for each in FAULTS[fault])

    def prepare(content: str) -> str:
        return f"cat >{name} <<'END'\n{content}END\n{spoil}"

    def start(token: str, content: str = text, **options: Any) -> Result:
        return run("exec", token, "--", "sh", "-c", STARTED, prepare=prepare(content), **options)

    assert failure(77, message, hint) == outcome(start("prod"))
    assert worked(start("prod", command=f'{hint} && "$@"')), "the hint does not help"
    given = start("env:PROD")
    warning = f"astro-token: warning: {message}: {name} is ignored (to use it: {hint})\n"
    assert (0, "started\n", warning) == (given.code, given.stdout, given.stderr)
    prefix = "tool.astro-token." if file == "shared" else ""
    needed = [f'[{prefix}policy]\nmin_validity = "1h"\n']
    if fault == "group":
        needed += [f'[{prefix}astro-cli]\nversion = "1.45.0"\n', f"[{prefix}unknown]\n"]
    for table in needed:
        assert failure(77, message, hint) == outcome(start("env:PROD", text + table))


@crossed(
    "variable prepare", ("HOME", "ASTRO_HOME"), (f"chown -R {OTHER} {{}}", "chmod 666 {}/.astro/config.yaml")
)
@only_root
def test_settings_of_another_users_home_are_not_copied(
    run: Callable[..., Result], variable: str, prepare: str
) -> None:
    home = "/mnt/tmp/astro"
    settings = f"mkdir -p {home}/.astro; printf 'page_size: 7\\n' >{home}/.astro/config.yaml"
    command = [
        "exec",
        "env:PROD",
        "--",
        "sh",
        "-c",
        'grep -c page_size "$ASTRO_HOME/.astro/config.yaml"; true',
    ]
    if variable == "ASTRO_HOME" and "chmod" in prepare:
        assert worked(run(*command, prepare=settings, env={variable: home}), "1\n")
    foreign = run(*command, prepare=f"{settings}; {prepare.format(home)}", env={variable: home})
    assert (0, "0\n") == (foreign.code, foreign.stdout)
    assert foreign.stderr.startswith(f"astro-token: warning: {home}/.astro/config.yaml ")
    assert foreign.stderr.endswith(": the command gets none of your settings\n")


@only_root
def test_a_repository_of_another_user_comes_with_the_command_that_git_needs(
    run: Callable[..., Result],
) -> None:
    make = "git init -q; mkdir .astro; printf 'project:\\n  name: a\\n' >.astro/config.yaml; git add .astro"
    commit = "git -c user.name=a -c user.email=a@example.com commit -q -m a"
    check = ["check", "--deploy", "env:PROD"]
    hint = "git config --global --add safe.directory /mnt/work"
    options = {"prepare": f"test -e .git || {{ {make}; {commit}; chown -R {OTHER} /mnt/work; }}"}
    complaint = "git refuses the repository of another user\nastro-token: hint: " + hint
    assert complaint in run(*check, **options).stderr
    assert "git refuses" not in run(*check, command=f'{hint} && "$@"', **options).stderr


def test_a_checkout_with_umask_0_keeps_ciphertext_and_refuses_a_token(run: Callable[..., Result]) -> None:
    prepare = "chmod -R a+rwX /mnt/work"
    assert worked(run("exec age", prepare=prepare))
    message = "file:token: every user can write this plain file, so its token may be anybody's"
    hint = "check that the token is yours, then chmod 600 token"
    assert failure(77, message, hint) == outcome(run("exec file", prepare=prepare))


# -- everything together ----------------------------------------------------------------------------------

FAULTY: dict[str, dict[str, Any]] = {
    "none": {},
    "full": {"prepare": full(*TEMPORARY)},
    "full work": {"prepare": fill("/mnt/work")},
    "full home": {"prepare": fill("/mnt/home")},
    "read-only": {"prepare": read_only()},
    "read-only work": {"prepare": read_only("/mnt")},
    "noexec": {"prepare": "for each in /mnt /tmp /dev/shm; do mount -o remount,bind,noexec $each; done"},
    "no /dev": {"prepare": "mount -t tmpfs dev /dev"},
    "no /proc": {"prepare": "umount -l /proc"},
    "no folders": {"prepare": read_only("/tmp", "/var/tmp", "/dev/shm"), "env": {"TMPDIR": "/nonexistent"}},
    "empty home": {"env": {"HOME": ""}},
    "missing home": {"env": {"HOME": "/nonexistent"}, "prepare": read_only("/")},
    "no working folder": {"prepare": "mkdir /mnt/gone; cd /mnt/gone; rmdir /mnt/gone"},
    "no streams": {"command": '"$@" <&- >&- 2>&-'},
    "no streams, no /dev": {"command": '"$@" <&- >&- 2>&-', "prepare": "mount -t tmpfs dev /dev"},
    "full output": {"command": '"$@" >/dev/full'},
    "few files": {"command": 'ulimit -n 8; "$@"'},
    "small files": {"command": 'ulimit -f 0; "$@"'},
    "little memory": {"command": 'ulimit -v 40000; "$@"'},
    "umask 0": {"prepare": "chmod -R a+rwX /mnt/work"},
    "umask 777": {"command": 'umask 777; "$@"'},
    "another's": {"prepare": f"chown -R {OTHER} /mnt/work /mnt/home"},
    "another": {"prepare": "chmod -R a+rX /mnt", "user": OTHER},
    "nobody": {"prepare": "chmod -R a+rX /mnt", "user": OTHER, "env": {"HOME": None}},
    "one process": {
        "prepare": f"chown -R {COUNTED} /mnt",
        "user": COUNTED,
        "command": 'prlimit --nproc=1 -- "$@"',
    },
}


@pytest.mark.long
@only_root
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("fault", FAULTY)
def test_no_fault_is_called_a_bug_or_leaves_anything(
    machine: Machine, canary: str, fault: str, name: str
) -> None:
    result = machine(*COMMANDS[name], stdin=canary, **FAULTY[fault])
    assert "Traceback" not in result.stderr
    assert canary not in result.stderr
    assert name == "export" or canary not in result.stdout
    written = {"/mnt/work/out"} if name == "export --output" and result.code == 0 else set()
    assert {TOKEN_FILE, *written} == set(result.left)
    is_childs = name.startswith("exec") and result.code == 1  # it has no standard output
    assert result.code in {0, 73, 74, 77, 78, 126} or is_childs
    if result.code and not is_childs and not fault.startswith("no streams"):
        error, hint = result.stderr.splitlines()[-2:]
        assert error.startswith("astro-token: error: ")
        assert hint.startswith("astro-token: hint: ")
