"""Observe the steps from settings to a verified token, probe each service, and explain a failure."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astro_token.doctor.connectivity import probe
from astro_token.doctor.report import SERVICE_CHECKS
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    DecryptError,
    InvalidTokenError,
    SecretNotFoundError,
    with_prefix,
)
from astro_token.policy.rules import enforce
from astro_token.secrets.protocols import (
    SupportsCredentialSource,
    SupportsLogIn,
    SupportsRoute,
)
from astro_token.secrets.registry import plugins
from astro_token.secrets.schemes import BUILTIN
from astro_token.token import SCOPES
from astro_token.tokens.steps import is_local
from astro_token.transport.route import Route
from astro_token.wording import when

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astro_token.doctor.report import Report
    from astro_token.policy.rules import Verdict
    from astro_token.secrets.ref import SecretRef
    from astro_token.tokens.steps import TokenPath
    from astro_token.transport.deadline import Deadline

__all__ = ["Investigation", "probe_service", "report_chain"]

_UNSUPPORTED = "the backend does not support this check"
_AUTHORS = "report it to the backend's authors"
# These errors show that reading is permitted.
_PERMITTED = (SecretNotFoundError, DecryptError, InvalidTokenError)

_SKIP_REASONS = {
    "secret": "not logged in",
    "field": "the secret was not read",
    "decryption": "there is no ciphertext, or not logged in to the key's service",
    "token": "there is no value",
    "policy": "there is no token",
}


class Investigation:
    """An `Observer` that reports every step and, between two steps, the probes of a service."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def ended(self, step: str, path: TokenPath, error: AstroTokenError | None) -> None:
        if step == "secret":
            self._secret(path, error)
        elif step == "api":
            self._api(path, error)
        elif error is not None:
            self._report.fail(step, error)
            if step.endswith("backend"):
                prefix = step.removesuffix("backend")
                names = [prefix + name for name in SERVICE_CHECKS[1:]]
                self._report.skip(*names, why="there is no backend")
        elif step == "backend":
            if not probe_service(self._report, path.ref, path.backend, path.deadline):
                path.backend = None  # so that no secret is read
        elif step == "key-backend":
            key: Any = path.settings.decrypt  # the step exists only with a key
            if not probe_service(self._report, key, path.key_backend, path.deadline, "key-"):
                path.key_backend = None
        elif step == "policy":
            self._verdicts("policy", path.verdicts, "policy and expectations allow it")
        else:
            self._report.add(step, "ok", _DESCRIBE[step](path))

    def skipped(self, step: str, path: TokenPath) -> None:  # noqa: ARG002 (an `Observer`'s signature)
        checks = ("permission", "secret", "version") if step == "secret" else (step,)
        self._report.skip(*checks, why=_SKIP_REASONS[step])

    def _secret(self, path: TokenPath, error: AstroTokenError | None) -> None:
        report = self._report
        if isinstance(error, AccessDeniedError):
            report.fail("permission", error)
            report.skip("secret", "version", why="the secret was not read")
        elif error is not None:
            local = is_local(path.ref.scheme)
            if local and isinstance(error, SecretNotFoundError):
                report.skip("permission", why="there is nothing to read")
            elif isinstance(error, _PERMITTED):
                report.add("permission", "ok", "may read" if local else "the service answers")
            else:
                report.skip("permission", why="it was not read" if local else "the service does not answer")
            report.fail("secret", error)
            report.skip("version", why="the secret was not read")
        else:
            version = path.secret.version
            report.add("permission", "ok", "may read")
            report.add("secret", "ok", f"{path.ref.without_field()} exists")
            report.add("version", "ok" if version else "none", version or "the backend has no versions")

    def _api(self, path: TokenPath, error: AstroTokenError | None) -> None:
        if error is not None:
            self._report.fail("api", error)
        reported = {verdict.code for verdict in path.offline}
        new = [verdict for verdict in path.verdicts if verdict.code not in reported]
        if path.online and (error is None or new):
            requests = ", ".join(
                f"{request.kind} {request.status} {request.request_id or '-'}"
                for request in path.online.requests
            )
            self._verdicts("api", new, f"Astro accepts the token (requests: {requests})")

    def _verdicts(self, name: str, verdicts: Sequence[Verdict], good: str) -> None:
        """Report each verdict as a check, or one check if there is no verdict."""
        if not verdicts:
            self._report.add(name, "ok", good)
        for verdict in verdicts:
            detail = f"{verdict.code}: {verdict.message}"
            try:
                enforce((verdict,))
                self._report.add(name, "warning", detail, verdict.hint)
            except AstroTokenError as error:
                self._report.fail(name, type(error)(detail, hint=verdict.hint))


def _describe_field(path: TokenPath) -> str:
    field = path.ref.field
    return f"{field}, by the reference" if field else "token, the only field, or the secret itself"


def _describe_token(path: TokenPath) -> str:
    token, now = path.token, datetime.now(UTC)
    names = [f"{kind} {name}" for kind in SCOPES if (name := getattr(token, kind))]
    token_id = f"id {token.token_id}, " if token.token_id else ""
    expiry = "never expires"
    if token.expires:
        expiry = f"{'expires' if token.expires > now else 'expired'} at {when(token.expires, now)}"
    return f"{token_id}of {', '.join(names) or 'no known scope'}; {expiry}"


_DESCRIBE = {
    "field": _describe_field,
    "decryption": lambda path: f"with {path.settings.decrypt}",
    "token": _describe_token,
}


def report_chain(report: Report, path: TokenPath, error: AstroTokenError | None) -> None:
    """
    Report each reference of a chain; nothing for a single reference.

    Args:
        error: the reason that no reference gives a token.
    """
    if not path.is_chain:
        return
    from astro_token.tokens.chain import members

    chain = members(path, error)
    is_exhausted = all(member.status == "passed over" for member in chain)
    for member in chain:
        if member.error is None:
            report.add("chain", "ok" if member.status == "used" else "none", f"{member.ref}: {member.status}")
            continue
        failure = with_prefix(member.error, member.ref)
        if is_exhausted or member.status == "failed":
            report.fail("chain", failure)
        else:
            report.add("chain", "none", f"{failure.message} ({member.status})", failure.hint)


# -- the probes of a service ----------------------------------------------------------------------------


def probe_service(report: Report, ref: SecretRef, backend: Any, deadline: Deadline, prefix: str = "") -> bool:
    """
    Check the backend of a reference, its SDK, credential and network, and log in.

    Args:
        prefix: of the checks' names.

    Returns:
        False if a read would fail.
    """

    def check(name: str, protocol: type, call: Callable[[], str]) -> bool:
        if isinstance(backend, protocol):
            return bool(report.run(prefix + name, lambda: (True, call())))
        report.add(prefix + name, "none", "not needed" if ref.scheme in BUILTIN else _UNSUPPORTED)
        return True

    report.add(f"{prefix}backend", "ok", _describe_backend(ref.scheme))
    sdks = _installed_sdks(ref.scheme)
    report.add(f"{prefix}sdk", "ok" if sdks else "none", ", ".join(sdks) or "none of its own")
    has_credential = check(
        "credential", SupportsCredentialSource, lambda: _credential_source(ref, backend, deadline)
    )
    is_reached = check("network", SupportsRoute, lambda: _probe_route(ref, backend, deadline))
    if not (has_credential and is_reached):
        why = "there is no credential" if is_reached else "the service is not reached"
        report.skip(f"{prefix}login", why=why)
        return False
    return check("login", SupportsLogIn, lambda: _log_in(ref, backend, deadline))


def _describe_backend(scheme: str) -> str:
    builtin = BUILTIN.get(scheme)
    return f"{scheme}: {builtin.description if builtin else f'a plugin, {plugins().entries[scheme].value}'}"


def _installed_sdks(scheme: str) -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    builtin = BUILTIN.get(scheme)
    distributions = builtin.distributions if builtin else (plugins().entries[scheme].distribution,)
    installed = []
    for distribution in distributions:
        with suppress(PackageNotFoundError):
            text = version(distribution)
            is_version = re.fullmatch(r"[0-9A-Za-z.+!-]{1,64}", text)
            installed.append(f"{distribution} {text}" if is_version else distribution)
    return installed


# Each call has a deadline, even if nothing is sent: a plugin may block, and raise anything.


def _credential_source(ref: SecretRef, backend: Any, deadline: Deadline) -> str:
    source = deadline.once(lambda seconds: backend.credential_source(ref, timeout=seconds))
    if not isinstance(source, str):
        raise BackendError("the backend does not name the source of its credential", hint=_AUTHORS)
    return source


def _probe_route(ref: SecretRef, backend: Any, deadline: Deadline) -> str:
    route = deadline.once(lambda _: backend.route(ref))
    if not isinstance(route, Route):
        raise BackendError("the backend does not return a Route", hint=_AUTHORS)
    return probe(route, deadline)


def _log_in(ref: SecretRef, backend: Any, deadline: Deadline) -> str:
    deadline.once(lambda seconds: backend.log_in(ref, timeout=seconds))
    return "logged in; if no login is needed, the next check shows whether the credential is accepted"
