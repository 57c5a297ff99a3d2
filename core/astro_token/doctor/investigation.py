"""Observe the steps from settings to a verified token, probe each service, and explain a failure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astro_token.doctor.connectivity import probe
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    DecryptError,
    InvalidTokenError,
    SecretNotFoundError,
)
from astro_token.policy.rules import enforce
from astro_token.secrets.protocols import (
    SupportsCredentialSource,
    SupportsLogIn,
    SupportsRoute,
)
from astro_token.secrets.registry import plugins
from astro_token.secrets.schemes import BUILTIN
from astro_token.transport.route import Route
from astro_token.wording import when

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astro_token.doctor.report import Report
    from astro_token.policy.rules import Verdict
    from astro_token.secrets.ref import SecretRef
    from astro_token.token import AstroToken
    from astro_token.tokens.steps import TokenPath
    from astro_token.transport.deadline import Deadline

__all__ = ["Investigation", "probe_service"]

_SILENT = "the backend does not tell"
_AUTHORS = "report it to the backend's authors"
_PROBES = ("sdk", "credential", "network", "login")
# After these the permission is known to be there.
_PERMITTED = (SecretNotFoundError, DecryptError, InvalidTokenError)

# For each step the checks that are skipped with it, and the reason.
_SKIPPED = {
    "secret": (("permission", "secret", "version"), "not logged in"),
    "field": (("field",), "the secret was not read"),
    "decryption": (("decryption",), "there is no ciphertext, or not logged in to the key's service"),
    "token": (("token",), "there is no value"),
    "policy": (("policy",), "there is no token"),
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
                self._report.skip(*(f"{prefix}{name}" for name in _PROBES), why="there is no backend")
        elif step == "backend":
            if not probe_service(self._report, path.ref, path.backend, path.deadline):
                path.backend = None  # which skips the reading
        elif step == "key-backend":
            key = path.settings.decrypt
            if key and not probe_service(self._report, key, path.key_backend, path.deadline, "key-"):
                path.key_backend = None
        elif step == "policy":
            self._verdicts("policy", path.verdicts, "policy and expectations allow it")
        else:
            self._report.add(step, "ok", _DESCRIBE[step](path))

    def skipped(self, step: str, path: TokenPath) -> None:  # noqa: ARG002 (an `Observer`'s signature)
        names, why = _SKIPPED[step]
        self._report.skip(*names, why=why)

    def _secret(self, path: TokenPath, error: AstroTokenError | None) -> None:
        report = self._report
        if isinstance(error, AccessDeniedError):
            report.fail("permission", error)
            report.skip("secret", "version", why="the secret was not read")
        elif error is not None:
            if isinstance(error, _PERMITTED):
                report.add("permission", "ok", "the service answers")
            else:
                report.skip("permission", why="the service does not answer")
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

    def _verdicts(self, name: str, verdicts: Iterable[Verdict], good: str) -> None:
        """Report each verdict as a check, or one check if there is no verdict."""
        reported = False
        for verdict in verdicts:
            reported = True
            detail = f"{verdict.code}: {verdict.message}"
            if verdict.level == "warning":
                self._report.add(name, "warning", detail, verdict.hint)
                continue
            try:
                enforce((verdict,))
            except AstroTokenError as error:
                self._report.fail(name, type(error)(detail, hint=verdict.hint))
        if not reported:
            self._report.add(name, "ok", good)


def _describe_field(path: TokenPath) -> str:
    field = path.ref.field
    return f"{field}, by the reference" if field else "token, the only field, or the secret itself"


def _describe_token(path: TokenPath) -> str:
    token: AstroToken = path.token
    kinds = ("organization", "workspace", "deployment")
    names = [f"{kind} {name}" for kind in kinds if (name := getattr(token, kind))]
    token_id = f"id {token.token_id}, " if token.token_id else ""
    ends, now = "never expires", datetime.now(UTC)
    if token.expires:
        ends = f"{'expires' if token.expires > now else 'expired'} at {when(token.expires, now)}"
    return f"{token_id}of {', '.join(names) or 'no known scope'}; {ends}"


_DESCRIBE = {
    "field": _describe_field,
    "decryption": lambda path: f"with {path.settings.decrypt}",
    "token": _describe_token,
}


# -- the probes of a service ----------------------------------------------------------------------------


def probe_service(
    report: Report, ref: SecretRef, backend: object, deadline: Deadline, prefix: str = ""
) -> bool:
    """
    Check the backend of a reference, its SDK, credential and network, and log in.

    Args:
        prefix: of the checks' names.

    Returns:
        False if a read would fail.
    """
    report.add(f"{prefix}backend", "ok", _describe_backend(ref.scheme))
    _check_sdk(report, f"{prefix}sdk", ref.scheme)
    has_credential = _check_credential(report, f"{prefix}credential", ref, backend, deadline)
    is_reached = _check_network(report, f"{prefix}network", ref, backend, deadline)
    if not (has_credential and is_reached):
        why = "there is no credential" if is_reached else "the service is not reached"
        report.skip(f"{prefix}login", why=why)
        return False
    return _log_in(report, f"{prefix}login", ref, backend, deadline)


def _describe_backend(scheme: str) -> str:
    builtin = BUILTIN.get(scheme)
    return f"{scheme}: {builtin.description}" if builtin else f"{scheme}: a plugin, {plugins()[scheme].value}"


def _check_sdk(report: Report, name: str, scheme: str) -> None:
    from importlib.metadata import PackageNotFoundError, version

    builtin = BUILTIN.get(scheme)
    if builtin is None:
        plugin = plugins()[scheme].dist
        distributions: tuple[str, ...] = (plugin.name,) if plugin else ()
    else:
        distributions = builtin.distributions
    installed = []
    for distribution in distributions:
        try:
            text = version(distribution)
        except PackageNotFoundError:
            continue
        is_version = re.fullmatch(r"[0-9A-Za-z.+!-]{1,64}", text)
        installed.append(f"{distribution} {text}" if is_version else distribution)
    report.add(name, "ok" if installed else "none", ", ".join(installed) or "not needed")


def _check_credential(report: Report, name: str, ref: SecretRef, backend: object, deadline: Deadline) -> bool:
    if not isinstance(backend, SupportsCredentialSource):
        report.add(name, "none", "not needed" if ref.scheme in BUILTIN else _SILENT)
        return True

    def check() -> tuple[bool, str]:
        source = deadline.once(lambda seconds: backend.credential_source(ref, timeout=seconds))
        if not isinstance(source, str):
            raise BackendError("the backend does not name the source of its credential", hint=_AUTHORS)
        return True, source

    return bool(report.run(name, check))


def _check_network(report: Report, name: str, ref: SecretRef, backend: Any, deadline: Deadline) -> bool:
    if not isinstance(backend, SupportsRoute):
        report.add(name, "none", "not needed" if ref.scheme in BUILTIN else _SILENT)
        return True

    def check() -> tuple[bool, str]:
        # With a deadline although nothing is sent: a plugin may block, and raise anything.
        route = deadline.once(lambda _: backend.route(ref))
        if not isinstance(route, Route):
            raise BackendError("the backend does not return a Route", hint=_AUTHORS)
        return True, probe(route, deadline)

    return bool(report.run(name, check))


def _log_in(report: Report, name: str, ref: SecretRef, backend: Any, deadline: Deadline) -> bool:
    if not isinstance(backend, SupportsLogIn):
        report.add(name, "none", "not needed" if ref.scheme in BUILTIN else _SILENT)
        return True

    def check() -> tuple[bool, str]:
        deadline.once(lambda seconds: backend.log_in(ref, timeout=seconds))
        return True, "logged in, or no login is needed, which the next check shows"

    return bool(report.run(name, check))
