"""
Read and verify many tokens in parallel within one deadline, with the service's batch call if it has one.

Each backend logs in once, and each secret is read once, even if several of its fields are tokens.
The next references of chains are read in another round, after all the first ones.
The failure of one token does not affect another. Reports are in the order of the requests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    result,
    sanitized,
    with_prefix,
    worst,
)
from astro_token.log import logger
from astro_token.policy.rules import enforce
from astro_token.record import Record
from astro_token.secrets.read import secret_value
from astro_token.secrets.registry import can
from astro_token.settings.resolve import Settings, TokenSettings
from astro_token.tokens.steps import BACKEND, SECRET, SELECTION, TokenPath, is_local, steps, walk
from astro_token.transport.deadline import DEFAULT_SECONDS, Deadline, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astro_token.policy.rules import Policy, Verdict
    from astro_token.secret import SecretValue
    from astro_token.secrets.protocols import SupportsReadMany
    from astro_token.secrets.ref import SecretRef
    from astro_token.token import AstroToken
    from astro_token.tokens.chain import Member
    from astro_token.tokens.online import Online
    from astro_token.transport.deadline import Pending

    Secret = SecretValue | AstroTokenError
    _Group = list[TokenPath]  # the tokens of one secret

__all__ = ["WORKERS", "TokenReport", "read_tokens", "verify_all"]

WORKERS = 16


class TokenReport(Record):
    """
    The outcome of one request.

    Attributes:
        settings: None if the request does not name a token.
        token: None if it could not be read.
        error: the reason not to use the token; None for a usable token.
        online: Astro's responses; None without `online`.
        chain: the references of a chain with their outcomes; empty for a single reference.
    """

    settings: TokenSettings | None
    token: AstroToken | None = None
    verdicts: tuple[Verdict, ...] = ()
    error: AstroTokenError | None = None
    online: Online | None = None
    chain: tuple[Member, ...] = ()

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
    Read and verify several tokens in parallel, each as `read_token` does.

    Args:
        tokens: references, or names from astro-token.toml; None for every token of that file.
        timeout: seconds for all tokens together.

    Returns:
        the token or the error of each request, in order.

    Raises:
        ConfigError: a setting that all tokens share is invalid.
    """
    reports = verify_all(Settings(tokens, policy=policy, timeout=timeout).tokens(tokens))
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
        done: called after each token, from any thread.
        online: check each token with Astro even if policy does not require that.

    Raises:
        ConfigError: ASTRO_TOKEN_API_URL is refused.
    """
    settings = [request for request in requests if isinstance(request, TokenSettings)]
    api = None
    if online or any(token.policy.online for token in settings):
        from astro_token.astro_api import AstroApi

        api = AstroApi()
    deadline = Deadline(settings[0].timeout if settings else DEFAULT_SECONDS)
    verification = _Verification([TokenPath(token, deadline, api=api) for token in settings], deadline, done)
    try:
        reports = iter(verification.run())
    finally:
        verification.workers.cancel()  # a signal must not wait for calls that run
        if api is not None:
            api.close()
    for _ in range(len(requests) - len(settings)):
        done()
    return [
        TokenReport(None, error=request) if isinstance(request, AstroTokenError) else next(reports)
        for request in requests
    ]


class _Verification:
    """The verification of many tokens. Each worker adds the report of the token that it has verified."""

    def __init__(self, paths: list[TokenPath], deadline: Deadline, done: Callable[[], None]) -> None:
        self.paths, self.deadline, self.done = paths, deadline, done
        self.reports: dict[TokenPath, TokenReport] = {}
        self.workers = Workers(deadline, WORKERS)
        self.calls: list[Pending[None]] = []
        self.turned: list[TokenPath] = []  # to the next references of their chains
        self.secrets: dict[SecretRef, Secret] = {}  # for further rounds

    def run(self) -> list[TokenReport]:
        paths = self.paths
        while paths and self._read_round(paths):
            paths, self.turned = self.turned, []
        return [self.reports.get(path) or self._report_late(path) for path in self.paths]

    def _read_round(self, paths: list[TokenPath]) -> bool:
        """Read the current reference of each path. Return False if the deadline has passed."""
        schemes: dict[str, dict[SecretRef, _Group]] = {}
        again: list[TokenPath] = []
        for path in paths:
            path.ref = path.settings.ref.without_field()
            if path.ref in self.secrets:
                again.append(path)
                continue
            schemes.setdefault(path.ref.scheme, {}).setdefault(path.ref, []).append(path)
        # Local secrets are read in this thread, while the workers wait for services.
        for _, secrets in sorted(schemes.items(), key=lambda item: is_local(item[0])):
            self._read_scheme(list(secrets.values()))
        for path in again:
            self._verify([path], self.secrets[path.ref])
        for call in self.calls:  # the list grows: a call may start others before it ends
            outcome = call.outcome()
            if isinstance(outcome, BackendUnavailableError):
                return False
            if isinstance(outcome, AstroTokenError):
                raise outcome  # a bug
        self.calls.clear()
        return True

    def _read_scheme(self, groups: list[_Group]) -> None:
        first = groups[0][0]
        if error := walk(first, (BACKEND,)):
            for group in groups:
                self._verify(group, error)
        elif can(first.backend, "read_many") and len(groups) > 1:
            self._start(partial(self._read_batch, first.backend, groups))
        else:
            for group in groups:
                group[0].backend = first.backend
                if is_local(first.ref.scheme):
                    self._read(group)
                else:
                    self._start(partial(self._read, group))

    def _read(self, group: _Group) -> None:
        self._verify(group, walk(group[0], (SECRET,)) or group[0].secret)

    def _read_batch(self, backend: SupportsReadMany, groups: list[_Group]) -> None:
        """Read all secrets with the batch call. Repeat it for the secrets that were unavailable."""
        secrets: dict[SecretRef, Secret] = {}
        pending = [group[0].ref for group in groups]

        def attempt(seconds: float) -> Secret | None:
            nonlocal pending
            logger.debug("reading %d secrets of %s at once", len(pending), pending[0].scheme)
            returned = backend.read_many(pending, timeout=seconds)
            secrets.update({ref: _outcome(returned.get(ref)) for ref in pending})
            pending = [ref for ref in pending if isinstance(secrets[ref], BackendUnavailableError)]
            return secrets[pending[0]] if pending else None  # an error, after which the call is repeated

        try:
            self.deadline.retry(attempt)
        except AstroTokenError as error:
            secrets |= dict.fromkeys(pending, sanitized(error))
        for group in groups:
            self._verify(group, secrets[group[0].ref])

    def _verify(self, group: _Group, secret: Secret) -> None:
        self.secrets[group[0].ref] = secret
        for path in group:
            if isinstance(secret, AstroTokenError):
                self._fail(path, secret)
                continue
            path.secret = secret
            if error := walk(path, SELECTION):
                self._fail(path, error)
            elif path.settings.decrypt or path.api:
                self._start(partial(self._verify_token, path))
            else:
                self._verify_token(path)

    def _fail(self, path: TokenPath, error: AstroTokenError) -> None:
        """Report a token that was not read, unless its chain continues."""
        failure: AstroTokenError | None = error
        if path.is_chain:
            from astro_token.tokens.chain import try_next

            failure = try_next(path, error)
        if failure is None:
            self.turned.append(path)
        else:
            self._report(path, failure)

    def _verify_token(self, path: TokenPath) -> None:
        self._report(path, walk(path, steps(path.settings, online=path.api is not None)))

    def _start(self, call: Callable[[], None]) -> None:
        if len(self.paths) > 1:
            self.calls.append(self.workers.submit(call))
        else:  # starting a worker takes longer than the check
            call()

    def _report(self, path: TokenPath, error: AstroTokenError | None) -> None:
        ref = path.settings.ref
        errors = [with_prefix(error, ref)] if error else []
        try:
            enforce(path.verdicts, ref)
        except AstroTokenError as refusal:
            errors.insert(0, sanitized(refusal))
        code = worst([failure.exit_code for failure in errors])
        gravest = next((failure for failure in errors if failure.exit_code == code), None)
        chain = _members(path, gravest)
        self._add(path, TokenReport(path.settings, path.token, path.verdicts, gravest, path.online, chain))

    def _report_late(self, path: TokenPath) -> TokenReport:
        error = with_prefix(self.deadline.late(), path.settings.ref)
        return self._add(path, TokenReport(path.settings, error=error, chain=_members(path, error)))

    def _add(self, path: TokenPath, report: TokenReport) -> TokenReport:
        """Keep the first report of a token, as a worker may end after the deadline, and return it."""
        kept = self.reports.setdefault(path, report)
        if kept is report:
            self.done()
        return kept


def _members(path: TokenPath, error: AstroTokenError | None) -> tuple[Member, ...]:
    if not path.is_chain:
        return ()
    from astro_token.tokens.chain import members

    return members(path, error)


def _outcome(returned: object) -> Secret:
    try:
        return secret_value(result(returned))
    except AstroTokenError as error:
        return sanitized(error)
