"""AWS for the tests of its three backends; each test logs in anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token_backends.aws.session import Session, shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.ministack import MiniStack


@pytest.fixture(autouse=True)
def _logged_out() -> Iterator[None]:
    yield
    shared().close()


@pytest.fixture
def environment(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> MiniStack:
    for name, value in ministack.environment().items():
        monkeypatch.setenv(name, value)
    return ministack


@pytest.fixture
def session(environment: MiniStack) -> Iterator[Session]:
    made = Session()
    yield made
    made.close()
