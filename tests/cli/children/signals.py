"""Writes each signal it gets, and from whom, to a file; USR2 right after TERM ends it with 7."""

import os
import signal
import sys
from pathlib import Path

TAKEN = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT")
numbers = {getattr(signal, name) for name in TAKEN}
numbers = {number for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
with Path(sys.argv[1]).open("a", buffering=1) as log:
    log.write(f"ready {os.getpid()} of {os.getppid()}\n")
    seen = [0]
    while seen[-2:] != [signal.SIGTERM, signal.SIGUSR2]:
        got = signal.sigwaitinfo(numbers)
        sender = {os.getppid(): "parent", 0: "terminal"}.get(got.si_pid, "other")
        log.write(f"{signal.Signals(got.si_signo).name} {sender}\n")
        seen.append(got.si_signo)
sys.exit(7)
