"""
Read and verify many tokens: side by side within one deadline, and by the service's batch call if it has one.

One login per backend, and one read per secret, even if several of its fields are tokens.
The failure of one token does not affect another, and the reports come in the order of the requests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, BackendError, BackendUnavailableError, bare, named, worst
from astro_token.log import logger
from astro_token.policy.rules import enforce
from astro_token.record import Record
from astro_token.secrets.protocols import SupportsReadMany, SupportsRoute
from astro_token.secrets.read import secret_value
from astro_token.secrets.registry import can
from astro_token.settings.resolve import Settings, TokenSettings
from astro_token.tokens.steps import BACKEND, SECRET, TokenPath, is_local, steps, walk
from astro_token.transport.deadline import DEFAULT_SECONDS, Deadline, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from astro_token.astro_api import AstroApi
    from astro_token.policy.rules import Policy, Verdict
    from astro_token.secret import SecretValue
    from astro_token.secrets.protocols import SupportsReadMany
    from astro_token.secrets.ref import SecretRef
    from astro_token.token import AstroToken
    from astro_token.tokens.online import Online
    from astro_token.transport.deadline import Pending

    Secret = SecretValue | AstroTokenError
    _Group = list[tuple[int, TokenPath]]  # the tokens of one secret, with the indexes of their requests

__all__ = ["WORKERS", "TokenReport", "read_tokens", "verify_all"]

WORKERS = 16


class TokenReport(Record):
    """
    The outcome of one request.

    Attributes:
        settings: None if the request does not name a token.
        token: None if it could not be read.
        error: the reason not to use the token; None if there is none.
        online: Astro's responses; None without `online`.
    """

    settings: TokenSettings | None
    token: AstroToken | None = None
    verdicts: tuple[Verdict, ...] = ()
    error: AstroTokenError | None = None
    online: Online | None = None

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error else 0

    @property
    def status(self) -> str:
        if self.error is not None:
            return "failed"
        return "warning" if self.verdicts else "ok"


def read_tokens(
    tokens: Sequence[str | SecretRef] | None = None,
    *,
    policy: Policy | None = None,
    timeout: float | None = None,
) -> list[AstroToken | AstroTokenError]:
    """
    Read and verify several tokens at the same time, each as `read_token` does.

    Args:
        tokens: references, or names from astro-token.toml; None for every token of that file.
        timeout: seconds for all of them together.

    Returns:
        for each request, in its order, the token or the error.

    Raises:
        ConfigError: settings that concern all of them.
    """
    reports = verify_all(Settings(policy=policy, timeout=timeout).tokens(tokens))
    return [report.error or report.token or BackendError("nothing was read") for report in reports]


def verify_all(
    requests: Sequence[TokenSettings | AstroTokenError],
    *,
    done: Callable[[], None] = lambda: None,
    online: bool = False,
) -> list[TokenReport]:
    """
    Read and verify tokens within one deadline.

    Args:
        requests: as `Settings.tokens` returns them.
        done: is called after each token, from any thread.
        online: ask Astro about each token, as policy may require anyway.

    Raises:
        ConfigError: ASTRO_TOKEN_API_URL is refused.
    """
    settings = [request for request in requests if isinstance(request, TokenSettings)]
    api = None
    if online or any(token.policy.online for token in settings):
        from astro_token.astro_api import AstroApi

        api = AstroApi()
    verification = _Verification(requests, settings[0].timeout if settings else DEFAULT_SECONDS, done, api)
    try:
        return verification.run()
    finally:
        verification.workers.cancel()  # a signal must not wait for calls that run
        if api is not None:
            api.close()


class _Verification:
    """The reports of many requests, each written by the worker that completes it."""

    def __init__(
        self,
        requests: Sequence[TokenSettings | AstroTokenError],
        seconds: float,
        done: Callable[[], None],
        api: AstroApi | None,
    ) -> None:
        self.requests, self.done, self.api = requests, done, api
        self.reports: list[TokenReport | None] = [None] * len(requests)
        self.deadline = Deadline(seconds)
        self.workers = Workers(self.deadline, WORKERS)
        self.calls: list[Pending[None]] = []

    def run(self) -> list[TokenReport]:
        schemes: dict[str, dict[SecretRef, _Group]] = {}
        for index, request in enumerate(self.requests):
            if isinstance(request, AstroTokenError):
                self._report(index, TokenReport(None, error=request))
                continue
            path = TokenPath(request, self.deadline, api=self.api, host=_host)
            path.ref = request.ref.without_field()
            schemes.setdefault(path.ref.scheme, {}).setdefault(path.ref, []).append((index, path))
        # Local secrets are read in this thread, while the workers wait for services.
        for _, secrets in sorted(schemes.items(), key=lambda item: is_local(item[0])):
            self._read_scheme(list(secrets.values()))
        for call in self.calls:  # which grows meanwhile: a call may start others before it ends
            outcome = call.outcome()
            if isinstance(outcome, BackendUnavailableError):
                break  # the deadline has passed
            if isinstance(outcome, AstroTokenError):
                raise outcome  # a bug
        return [
            report or self._report(index, _late(self.requests[index], self.deadline))
            for index, report in enumerate(list(self.reports))
        ]

    def _read_scheme(self, groups: list[_Group]) -> None:
        _, first = groups[0][0]
        if error := walk(first, (BACKEND,)):
            for group in groups:
                self._verify(group, error)
        elif can(first.backend, "read_many") and len(groups) > 1:
            self._start(lambda: self._read_batch(first.backend, groups))
        else:
            for group in groups:
                group[0][1].backend = first.backend
                if is_local(first.ref.scheme):
                    self._read(group)
                else:
                    self._start(partial(self._read, group))

    def _read(self, group: _Group) -> None:
        _, first = group[0]
        self._verify(group, walk(first, (SECRET,)) or first.secret)

    def _read_batch(self, backend: SupportsReadMany, groups: list[_Group]) -> None:
        secrets = _read_batch(backend, [group[0][1].ref for group in groups], self.deadline)
        for group, secret in zip(groups, secrets, strict=True):
            self._verify(group, secret)

    def _verify(self, group: _Group, secret: Secret) -> None:
        for index, path in group:
            if isinstance(secret, AstroTokenError):
                self._report(index, _report_of(path, secret))
                continue
            path.secret = secret
            if path.settings.decrypt or self.api:
                self._start(partial(self._verify_token, index, path))
            else:
                self._verify_token(index, path)

    def _verify_token(self, index: int, path: TokenPath) -> None:
        error = walk(path, steps(path.settings, online=self.api is not None))
        self._report(index, _report_of(path, error))

    def _start(self, call: Callable[[], None]) -> None:
        if len(self.requests) > 1:
            self.calls.append(self.workers.submit(call))
        else:  # a worker would take longer than the whole check
            call()

    def _report(self, index: int, report: TokenReport) -> TokenReport:
        self.reports[index] = report
        self.done()
        return report


def _report_of(path: TokenPath, error: AstroTokenError | None) -> TokenReport:
    ref = path.settings.ref
    errors = [named(error, ref)] if error else []
    try:
        enforce(path.verdicts, ref)
    except AstroTokenError as refusal:
        errors.insert(0, bare(refusal))
    code = worst([failure.exit_code for failure in errors])
    gravest = next((failure for failure in errors if failure.exit_code == code), None)
    return TokenReport(path.settings, path.token, path.verdicts, gravest, path.online)


def _late(request: TokenSettings | AstroTokenError, deadline: Deadline) -> TokenReport:
    settings = request if isinstance(request, TokenSettings) else None
    return TokenReport(settings, error=named(deadline.late(), settings.ref if settings else ""))


def _host(backend: object, ref: SecretRef) -> Hashable:
    """Name the host that a backend contacts: its address if it tells one, else the scheme."""
    try:
        address = backend.route(ref).address.origin if isinstance(backend, SupportsRoute) else ""
        return f"{ref.scheme} {address}"
    except Exception:  # noqa: BLE001 (a plugin may raise anything; reading reports what is wrong)
        return ref.scheme


def _read_batch(backend: SupportsReadMany, refs: list[SecretRef], deadline: Deadline) -> list[Secret]:
    """Read all with the batch call, and repeat it for those that the service was too busy for."""
    secrets: dict[SecretRef, Secret] = {}
    pending = refs

    def attempt(seconds: float) -> Secret | None:
        nonlocal pending
        logger.debug("reading %d secrets of %s at once", len(pending), pending[0].scheme)
        answer = backend.read_many(pending, timeout=seconds)
        secrets.update({ref: _outcome(answer.get(ref)) for ref in pending})
        pending = [ref for ref in pending if isinstance(secrets[ref], BackendUnavailableError)]
        return secrets[pending[0]] if pending else None  # an error, after which the call is repeated

    try:
        deadline.retry(attempt)
    except AstroTokenError as error:
        secrets |= dict.fromkeys(pending, bare(error))  # the last failure stands for each that is missing
    return [secrets[ref] for ref in refs]


def _outcome(answer: object) -> Secret:
    if isinstance(answer, AstroTokenError):
        return bare(answer)
    try:
        return secret_value(answer)
    except AstroTokenError as error:
        return bare(error)
