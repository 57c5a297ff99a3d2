"""One cell: a subject meets a fault, and what comes of it is held against what should."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError
from astro_token.secrets.registry import close_backends, open_backend
from astro_token.testing import appearances, reachable_text
from astro_token.transport.deadline import Deadline
from tests.matrix.faults import BY_NAME, Given
from tests.matrix.front import Relay, opened
from tests.matrix.surroundings import debugging, environment, peak, printed, recorded, resolver, strayed
from tests.timing import SLACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.matrix.faults import Fault
    from tests.matrix.front import Front, Trust
    from tests.matrix.subjects import Subject

__all__ = ["Cell", "Good", "applies", "meet", "prove"]

SECONDS = 5.0  # for what ends by itself, with room for a busy machine
SLOW = 1.0  # for what lasts until the deadline
MEMORY = 150 << 20
_LONG = re.compile(r"[A-Za-z0-9._~+=-]{40,}")


@dataclass(frozen=True)
class Cell:
    """
    Attributes:
        code: the exit code, or the name of an exception that is none of ours.
        wrong: what is wrong, empty where all is well.
    """

    subject: str
    fault: str
    code: int | str
    seconds: float
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Good:
    """
    What a subject does where nothing is at fault.

    Attributes:
        requests: how many it makes.
        body: of the answer that the faults are made of.
        ciphertext: for a key to decrypt.
    """

    requests: int
    body: bytes = field(repr=False)
    ciphertext: bytes = field(default=b"", repr=False)

    @property
    def words(self) -> list[str]:
        """Long ones of the answer, such as the tokens in a login's."""
        return _LONG.findall(self.body.decode("latin-1"))[:9]


@dataclass
class _Seen:
    outcome: object = None
    error: Exception | None = None
    seconds: float = 0.0
    growth: int = 0
    requests: int = 0
    records: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    strayed: set[str] = field(default_factory=set)


def applies(subject: Subject, fault: Fault) -> bool:
    if fault.before_requests and subject.later:
        return False
    if subject.grpc:
        return bool(fault.grpc or fault.place or fault.name.startswith("handshake"))
    return bool(fault.http or fault.place)


def prove(subject: Subject, trust: Trust) -> Good:
    """
    What the subject does with its service, which shows that it works at all.

    Raises:
        AssertionError: it does not.
    """
    if subject.grpc:
        ciphertext = _ciphertext(subject, trust, subject.upstream)
        _proved(subject, trust, Good(0, b"", ciphertext), subject.upstream)
        return Good(subject.requests, subject.answer, ciphertext)
    fault = BY_NAME["none"]
    with Relay(subject.upstream, trust) as relay:
        with opened(fault, Given(b"", ""), trust, grpc=False, ahead=0, upstream=relay.url) as front:
            ciphertext = _ciphertext(subject, trust, front.address)
        relay.answers.clear()
        with opened(fault, Given(b"", ""), trust, grpc=False, ahead=0, upstream=relay.url) as front:
            seen = _proved(subject, trust, Good(0, b"", ciphertext), front.address, front)
            bodies = relay.bodies()[: seen.requests]
    assert bodies, f"{subject.name}: asks for nothing"
    if not subject.later:
        return Good(len(bodies), bodies[0] or b"{}", ciphertext)
    assert len(bodies) > 1, f"{subject.name}: makes one request only, so there is no later one"
    return Good(len(bodies), bodies[-1], ciphertext)


def _proved(subject: Subject, trust: Trust, good: Good, address: str, front: Front | None = None) -> _Seen:
    seen = _run(subject, trust, good, address, seconds=20.0, front=front)
    assert seen.error is None, f"{subject.name}: {seen.error!r} {getattr(seen.error, 'hint', None)}"
    return seen


def _ciphertext(subject: Subject, trust: Trust, address: str) -> bytes:
    if subject.call != "decrypt" or subject.ciphertext:
        return subject.ciphertext
    seen = _run(subject, trust, Good(0, b""), address, call="encrypt", seconds=20.0)
    assert isinstance(seen.outcome, bytes), f"{subject.name}: {seen.error!r}"
    return seen.outcome


def meet(subject: Subject, fault: Fault, good: Good, trust: Trust) -> Cell:
    """Once more where the time ran out, as it may on a busy machine, or the fault was not met."""
    seconds = SLOW if fault.slow else SECONDS
    cell = _meet(subject, fault, good, trust, seconds)
    # What an SDK remembers of an address that had the same port saves a request, and the fault waits in vain.
    missed = subject.later and cell.code == 0 != subject.code_after(fault)
    again = cell.wrong and (cell.seconds >= seconds or missed)
    return _meet(subject, fault, good, trust, 3 * seconds) if again else cell


def _meet(subject: Subject, fault: Fault, good: Good, trust: Trust, seconds: float) -> Cell:
    ahead = good.requests - 1 if subject.later else 0
    with ExitStack() as stack:
        relay = None if subject.grpc else stack.enter_context(Relay(subject.upstream, trust))
        given = Given(good.body, subject.canary)
        upstream = relay.url if relay else subject.upstream
        front = stack.enter_context(
            opened(fault, given, trust, grpc=subject.grpc, ahead=ahead, upstream=upstream)
        )
        seen = _run(subject, trust, good, front.address, seconds=seconds, fault=fault, front=front)
        ports = front.ports | subject.ports | ({relay.port} if relay else set())
        strayed = {place for place in seen.strayed if place.rpartition(":")[2] not in map(str, ports)}
        led = front.elsewhere.connections if front.elsewhere else 0
    expected = subject.code_after(fault)
    code = getattr(seen.error, "exit_code", type(seen.error).__name__) if seen.error else 0
    wrong = [
        f"exit code {code} in place of {expected}" if code != expected else "",
        f"took {seen.seconds:.2f} s" if seen.seconds > seconds + SLACK else "",
        f"went to {sorted(strayed)}" if strayed else "",
        f"{led} connections to the other host" if led else "",
        _about_requests(subject, fault, good, seen.requests),
        f"memory grew by {seen.growth >> 20} MB" if fault.heavy and seen.growth > MEMORY else "",
        _about_waiting(fault, seen.error, subject),
        *_leaks({"value": [subject.canary], "credential": subject.secrets, "answer": good.words}, seen),
        *_form(seen.error),
    ]
    return Cell(subject.name, fault.name, code, seen.seconds, tuple(filter(None, wrong)))


def _about_requests(subject: Subject, fault: Fault, good: Good, made: int) -> str:
    """One attempt, which gets as far as the fault and no further."""
    if subject.grpc and not fault.code:
        return ""  # they are made of the service itself
    least = most = good.requests if subject.later or not fault.code else 1
    if fault.before_requests:
        least = most = 0
    elif subject.grpc:  # one that parses the answer may ask for more
        most = good.requests
    elif subject.renews and fault.code == 77:
        most = 2 * good.requests
    elif subject.later and fault.name in {"end before", "reset before"}:
        most += 1  # a connection that is used again and ends is replaced once, for reads
    return "" if least <= made <= most else f"{made} requests in place of {most}"


def _about_waiting(fault: Fault, error: Exception | None, subject: Subject) -> str:
    said = getattr(error, "retry_after", None)
    # What a proxy says in a header is out of a gRPC client's reach.
    expected = None if subject.grpc and fault.name.endswith("HTML") else fault.retry_after
    return "" if said == expected else f"retry_after {said} in place of {expected}"


def _form(error: Exception | None) -> Iterator[str]:
    if not isinstance(error, AstroTokenError):
        return
    if "\n" in error.message + (error.hint or ""):
        yield "more than one line"
    if not error.hint:
        yield "no hint"
    if error.__cause__ is not None or error.__context__ is not None:
        yield "keeps another exception"


def _leaks(secrets: Mapping[str, Sequence[str]], seen: _Seen) -> Iterator[str]:
    error = seen.error
    texts = {"the log": "\n".join(seen.records), "what was printed": "".join(seen.printed)}
    if error is not None:
        texts["the message"] = f"{error} {getattr(error, 'message', '')} {getattr(error, 'hint', '')}"
        texts["the exception's graph"] = reachable_text(error.with_traceback(_beyond_here(error)))
    for where, text in texts.items():
        for what, ones in secrets.items():
            if any(appearances(one, text) for one in ones):
                yield f"{what} in {where}"


def _beyond_here(error: Exception) -> Any:
    """The frames of the code under test: those of ours hold what is looked for."""
    frame = error.__traceback__
    while frame is not None and Path(frame.tb_frame.f_code.co_filename).parent == Path(__file__).parent:
        frame = frame.tb_next
    return frame


# -- running it ---------------------------------------------------------------------------------------


def _run(
    subject: Subject,
    trust: Trust,
    good: Good,
    address: str,
    *,
    seconds: float,
    call: str | None = None,
    fault: Fault | None = None,
    front: Front | None = None,
) -> _Seen:
    seen = _Seen()
    with ExitStack() as stack:
        stack.enter_context(environment({**subject.at(address), "ASTRO_TOKEN_CA_BUNDLE": str(trust.ca_file)}))
        stack.enter_context(resolver())
        stack.enter_context(recorded(seen.records))
        stack.enter_context(printed(seen.printed))
        if fault and fault.debug:
            stack.enter_context(debugging())
        stack.callback(close_backends)
        act = subject.action(open_backend(subject.scheme), call or subject.call, address, good.ciphertext)
        stack.enter_context(strayed(seen.strayed))
        before = peak() if fault and fault.heavy else 0
        started = time.monotonic()
        try:
            # Where something drips as the rest of the program calls it, which has a thread for that;
            # directly elsewhere, so that the frames of the backend are there to be searched.
            seen.outcome = Deadline(seconds).once(act) if fault and fault.drip else act(seconds)
        except Exception as error:
            seen.error = error
        seen.seconds = time.monotonic() - started
        seen.growth = peak(again=False) - before if before else 0
        if front:
            seen.requests = front.requests
            if front.server:
                front.server.close()  # first, so that nobody waits for it when a login is given back
    return seen
