"""A link of the chain from the settings to Astro, and how each is looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from astro_token.errors import AstroTokenError, InputOutputError, bare, worst

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LINKS", "STATES", "Chain", "Link", "State"]

_T = TypeVar("_T")

State = Literal["ok", "none", "warning", "failed", "not reached"]
STATES: tuple[State, ...] = ("ok", "none", "warning", "failed", "not reached")

# All there are, in their order. Those of a key are there where a key decrypts.
LINKS = (
    "settings",
    "variables",
    "ci",
    "identity",
    "backend",
    "sdk",
    "credential",
    "network",
    "login",
    "permission",
    "secret",
    "version",
    "field",
    "key-backend",
    "key-sdk",
    "key-credential",
    "key-network",
    "key-login",
    "decryption",
    "token",
    "policy",
    "astro",
    "api",
)


@dataclass(frozen=True, slots=True)
class Link:
    """
    Attributes:
        name: one of `LINKS`; one with several findings comes several times.
        state: `none` is nothing to find, and nothing wrong by itself.
        found: what was found, or what is wrong. No value, no part of one, nothing that a service answered.
        hint: what to do, where something is wrong.
        exit_code: of a failed one, what a command would end with.
    """

    name: str
    state: State
    found: str
    hint: str | None = None
    exit_code: int = 0


@dataclass
class Chain:
    """What was found so far. A look at a link either returns what the next ones need, or fails."""

    links: list[Link] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return worst([link.exit_code for link in self.links])

    def add(self, name: str, state: State, found: str, hint: str | None = None) -> None:
        self.links.append(Link(name, state, found, hint))

    def fail(self, name: str, error: AstroTokenError) -> None:
        self.links.append(Link(name, "failed", error.message, error.hint, error.exit_code))

    def look(self, name: str, call: Callable[[], tuple[_T, str]]) -> _T | None:
        """What the call found, with words for it; None where it failed, which the link then says."""
        try:
            found, words = call()
        except AstroTokenError as error:
            self.fail(name, bare(error))
            return None
        except OSError as error:  # of the working folder: what is named is looked at with more care
            reason = os.strerror(error.errno or 5).lower()
            self.fail(
                name,
                InputOutputError(
                    f"the working folder cannot be looked at: {reason}", hint="change to one that is there"
                ),
            )
            return None
        self.add(name, "ok", words)
        return found

    def leave(self, *names: str, why: str) -> None:
        for name in names:
            self.add(name, "not reached", why)
