"""Environments, claims and failures for the tests of the CI identity."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from astro_token.ci.identity import ci_identity
from astro_token.errors import AstroTokenError
from astro_token.testing import appearances, reachable_text
from tests.servers import web_tokens
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from astro_token.secret import SecretValue

AUDIENCE = "https://vault.example/team a"
# Variables whose value is a credential.
SECRETS = (
    "ASTRO_TOKEN_ID_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "BITBUCKET_STEP_OIDC_TOKEN",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
    "CIRCLE_OIDC_TOKEN_V2",
    "SYSTEM_ACCESSTOKEN",
)


def claims(token: SecretValue | None) -> dict[str, object]:
    assert token is not None
    return web_tokens.claims(token.reveal().decode())


def raised(call: Callable[[], object], canaries: Iterable[str]) -> AstroTokenError:
    """Return the error of a call, after a search for canaries in all that it refers to."""
    try:
        call()
    except AstroTokenError as caught:
        error = caught
    else:
        raise AssertionError("it did not fail")
    # Without the frames of the test itself, which knows the canaries: this one's and the call's.
    with contextlib.suppress(AttributeError):
        error = error.with_traceback(error.__traceback__.tb_next.tb_next)  # type: ignore[union-attr]
    assert (error.__cause__, error.__context__) == (None, None)
    for line in (error.message, error.hint or ""):
        assert "\n" not in line
        assert not line.endswith(".")
    assert error.hint
    text = reachable_text(error)
    for canary in canaries:
        assert appearances(canary, text) == []
    return error


def failure(
    environ: Mapping[str, str],
    *,
    audience: str | None = AUDIENCE,
    timeout: float = 5.0,
    canaries: Iterable[str] = (),
) -> AstroTokenError:
    """Return the error for this environment, which comes in time and holds none of its credentials."""
    secrets = [*canaries, *(environ[name] for name in SECRETS if environ.get(name))]
    with within(timeout):
        return raised(lambda: ci_identity(audience, environ=environ, timeout=timeout), secrets)
