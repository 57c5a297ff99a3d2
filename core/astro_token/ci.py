"""Which CI system this process runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ci_system", "in_ci"]


def ci_system(environ: Mapping[str, str]) -> str | None:
    """
    The CI system whose own hand-over is known here, or None.

    Gitea, Forgejo and act set GitHub's variable too, and take its files and commands.
    """
    return "github" if environ.get("GITHUB_ACTIONS") == "true" else None


def in_ci(environ: Mapping[str, str]) -> bool:
    """True in any CI system: nearly all set CI, and `CI=false` is how a person says no."""
    return bool(ci_system(environ)) or environ.get("CI", "").lower() not in {"", "0", "false", "no"}
