"""
What works on Windows: `export`, `check` and the library, without anything that only POSIX has.

    python tests/portable.py            on Windows, in CI
    python tests/portable.py --hidden   elsewhere: the names that Windows lacks are hidden first

It needs the installed package alone, and prints one line for each success.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Modules, and names of os and signal, that Python does not have on Windows.
MODULES = (
    *(
        "_posixsubprocess",
        "_posixshmem",
        "crypt",
        "fcntl",
        "grp",
        "nis",
        "ossaudiodev",
        "posix",
        "pty",
        "pwd",
    ),
    *("readline", "resource", "spwd", "syslog", "termios", "tty"),
)
OF_OS = re.compile(
    r"(fork|posix_|register_at_fork|[gs]et(e|res|re)?[ug]id|getgroups|initgroups|[gs]etpg|[gs]etsid|getpgrp|tc[gs]etpgrp|"
    r"fch|lch|chown|chroot|killpg|mkfifo|mknod|openpty|login_tty|forkpty|uname|sched_|memfd|pipe2|waitid|wait[34]?$|"
    r"W[A-Z]|nice|sysconf|f?pathconf|confstr|ttyname|ctermid|getloadavg|statvfs|fstatvfs|[gs]etpriority|sync|fdatasync|"
    r"[gslr]\w*xattr|pread|pwrite|readv|writev|sendfile|splice|eventfd|timerfd|pidfd|unshare|setns|O_NOFOLLOW|O_CLOEXEC|"
    r"O_NOCTTY|O_NONBLOCK|O_DIRECTORY|O_SYNC|O_DSYNC|O_ASYNC|O_PATH|O_TMPFILE|O_NOATIME|EX_|P_|F_|RTLD_|SCHED_|"
    r"copy_file_range|getrandom|minor|major|makedev|lockf|plock|ctermid)"
)
OF_SIGNAL = re.compile(
    r"(SIG(HUP|QUIT|KILL|PIPE|ALRM|USR|CHLD|CLD|CONT|STOP|TSTP|TT|URG|XCPU|XFSZ|VTALRM|PROF|WINCH|IO|POLL|PWR|SYS|TRAP|"
    r"BUS|RT|STKFLT)|pthread_|sig(wait|pending|timed)|alarm|[gs]etitimer|pause|ITIMER|siginterrupt|SIG_(BLOCK|UNBLOCK|SETMASK))"
)


def hide() -> None:
    """
    Remove the names that Windows lacks.

    The standard library and the dependencies keep a copy of `os` from before: here they are those of POSIX.
    """
    import signal
    import types

    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, pattern in ((os, OF_OS), (signal, OF_SIGNAL)):
        copy = types.ModuleType(module.__name__)
        vars(copy).update(vars(module))
        for other in [
            other for other in sys.modules.values() if other not in {None, module, sys.modules["__main__"]}
        ]:
            for attribute in [a for a, value in vars(other).items() if value is module]:
                setattr(other, attribute, copy)
        for name in [name for name in dir(module) if pattern.match(name)]:
            delattr(module, name)
    os.supports_dir_fd.clear()
    os.supports_follow_symlinks.clear()
    os.name = "nt"
    sys.platform = "win32"
    os.environ.setdefault("PATHEXT", ".EXE")


class Outcome:
    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr

    def __repr__(self) -> str:
        return f"{self.code}\n{self.stdout}\n{self.stderr}"


def hidden(*arguments: str) -> Outcome:
    """Run the program in this process, whose names are hidden."""
    from astro_token.cli import main

    code = 0
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            code = main(list(arguments)) or 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    texts = [stream.buffer.getvalue().decode() for stream in (stdout, stderr)]
    return Outcome(code, texts[0], texts[1])


def real(*arguments: str) -> Outcome:
    """Run the installed program."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "astro_token", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def main(*, is_hidden: bool) -> None:
    if is_hidden:
        prepare()
        hide()
    run = hidden if is_hidden else real
    for name in [name for name in os.environ if re.match(r"(ASTRO|GITHUB|RUNNER|CI$|VAULT|AWS|AZURE)", name)]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["HOME"] = os.environ["USERPROFILE"] = folder
        try:
            scenarios(run, folder)
        finally:
            os.chdir("/")


def prepare() -> None:
    """
    Import the standard library and the dependencies that astro-token may import, while they still see POSIX.

    The names are hidden from astro-token alone: its own modules are imported afterwards.
    """
    from importlib import import_module

    spec = find_spec("astro_token")
    assert spec is not None
    assert spec.origin is not None
    wanted = {
        "rich.console",
        "rich.table",
        "rich.text",
        "rich.progress",
        "platformdirs",
        "pyrage",
        "tenacity",
    }
    backends = find_spec("astro_token_backends")
    for each in (spec, backends):
        assert each is not None
        assert each.origin is not None
        for path in Path(each.origin).parent.rglob("*.py"):
            wanted |= set(
                re.findall(r"^\s*(?:import|from) ([a-z][\w.]*)", path.read_text("utf-8"), re.MULTILINE)
            )
    for name in sorted(wanted):
        root = name.partition(".")[0]
        third_party = root in {"rich", "platformdirs", "pyrage", "tenacity"}
        if (third_party or root in sys.stdlib_module_names) and root not in {*MODULES, "__future__"}:
            import_module(name)


def scenarios(run: Any, folder: str) -> None:
    import pyrage

    from astro_token.testing import make_token

    token = make_token(token_id=f"canary{secrets.token_hex(6)}")
    os.environ["T"] = token
    passed = 0

    def expect(name: str, outcome: Outcome, code: int, *parts: str, leaks: str = "") -> None:
        nonlocal passed
        problems = [f"exit status {outcome.code}, not {code}"] if outcome.code != code else []
        problems += [f"{part!r} is missing" for part in parts if part not in outcome.stdout + outcome.stderr]
        if token in outcome.stderr and "stderr" not in leaks:
            problems.append("the token is on standard error")
        if token in outcome.stdout and "stdout" not in leaks:
            problems.append("the token is on standard output")
        if problems:
            sys.exit(f"{name}: {'; '.join(problems)}\n{outcome!r}".replace(token, "TOKEN"))
        passed += 1
        print(f"ok  {name}")

    expect("version", run("--version"), 0, "astro-token ")
    outcome = run("export", "--format", "powershell", "env:T")
    expect("PowerShell", outcome, 0, f"$env:ASTRO_API_TOKEN = '{token}'\n", leaks="stdout")
    outcome = run("export", "--format", "cmd", "env:T")
    expect("cmd", outcome, 0, f'set "ASTRO_API_TOKEN={token}"', leaks="stdout")
    outcome = run("export", "--format", "json", "--output", "t.json", "env:T")
    expect("a file", outcome, 0)
    assert json.loads(Path("t.json").read_text("utf-8"))["ASTRO_API_TOKEN"] == token
    expect("a file that exists", run("export", "--format", "json", "--output", "t.json", "env:T"), 73)

    expect("check", run("check", "env:T"), 0, "env:T")
    outcome = run("check", "--format", "json", "env:T")
    expect("check as JSON", outcome, 0)
    assert [row["ref"] for row in json.loads(outcome.stdout)["tokens"]] == ["env:T"], outcome
    os.environ["OLD"] = make_token(expires_in=-60)
    expect("an expired token", run("check", "env:OLD"), 65, "expired")
    expect("no token", run("check", "env:NONE"), 66, "NONE")

    key = pyrage.x25519.Identity.generate()
    Path("t.age").write_bytes(pyrage.encrypt(token.encode(), [key.to_public()]))
    os.environ["ASTRO_TOKEN_AGE_KEY"] = str(key)
    expect("an encrypted file", run("check", "file:t.age"), 0, "file:t.age")
    outcome = run("export", "--format", "powershell", "file:t.age")
    expect("an encrypted file, exported", outcome, 0, token, leaks="stdout")
    os.environ["ASTRO_TOKEN_AGE_KEY"] = str(pyrage.x25519.Identity.generate())
    expect("another key", run("check", "file:t.age"), 65)
    del os.environ["ASTRO_TOKEN_AGE_KEY"]
    Path("key.txt").write_text(f"{key}\n", "utf-8")
    os.environ["ASTRO_TOKEN_AGE_KEY_FILE"] = str(Path("key.txt").resolve())
    expect("a file with the key", run("check", "file:t.age"), 0)
    Path("astro-token.toml").write_text('[tokens.prod]\nref = "file:t.age"\n', "utf-8")
    expect("a project file", run("check", "prod"), 0, "prod")

    temporary = Path(folder, "runner")
    temporary.mkdir()
    job = temporary / "env"
    job.touch()
    os.environ |= {"GITHUB_ACTIONS": "true", "GITHUB_ENV": str(job), "RUNNER_TEMP": str(temporary)}
    outcome = run("export", "env:T")
    masks = "stdout stderr"
    expect("GitHub", outcome, 0, f"::add-mask::{token}", leaks=masks)
    lines = job.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("ASTRO_API_TOKEN<<"))
    assert lines[start + 1 : start + 3] == [token, lines[start].removeprefix("ASTRO_API_TOKEN<<")], (
        "GITHUB_ENV"
    )
    for name in ("GITHUB_ACTIONS", "GITHUB_ENV", "RUNNER_TEMP"):
        del os.environ[name]

    # Nothing listens at this port, so that routes, sockets and deadlines are used, and no answer is needed.
    # https also loads the system's certificates, for which Python has no function of Windows elsewhere.
    address = f"{'http' if run is hidden else 'https'}://127.0.0.1:9"
    os.environ["ASTRO_TOKEN_API_URL"] = os.environ["VAULT_ADDR"] = address
    expect(
        "Astro is not reached", run("check", "--online", "--timeout", "2", "env:T"), 75, "ASTRO_TOKEN_API_URL"
    )
    if find_spec("hvac"):
        os.environ["VAULT_TOKEN"] = "a"
        outcome = run("export", "--timeout", "2", "vault:secret/astro/prod#token")
        expect("Vault is not reached", outcome, 75, "VAULT_ADDR")
    for name in ("ASTRO_TOKEN_API_URL", "VAULT_ADDR", "VAULT_TOKEN"):
        os.environ.pop(name, None)

    if os.name == "nt":
        expect("exec is refused", run("exec", "env:T", "--", "cmd", "/c", "ver"), 78, "exec", "export")

    import astro_token

    read = astro_token.read_token("env:T")
    assert astro_token.export(read).applied({"A": "b"})["ASTRO_API_TOKEN"] == token
    astro_token.enforce(astro_token.judge(read, astro_token.Policy(), astro_token.Expectations()))
    print(f"ok  library\n{passed + 1} passed")


if __name__ == "__main__":
    main(is_hidden="--hidden" in sys.argv)
