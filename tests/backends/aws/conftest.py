"""AWS for the tests of its three backends; each test logs in anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token_backends.aws.client import shared
from tests.backends.aws.service import new_session, sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token_backends.aws.client import Session
    from tests.servers.ministack import MiniStack


@pytest.fixture(autouse=True)
def _logged_out() -> Iterator[None]:
    yield
    for session in (shared(), *sessions):
        session.close()
    sessions.clear()


@pytest.fixture
def environment(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> MiniStack:
    for name, value in ministack.environment().items():
        monkeypatch.setenv(name, value)
    return ministack


@pytest.fixture
def session(environment: MiniStack) -> Session:
    return new_session()
