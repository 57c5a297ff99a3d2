"""The project's own `.astro/config.yaml`, which goes before the user's: where it would lead a deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.config import settings_of, text_of
from astro_token.environment.checkout import REGISTRY, in_clear_text
from astro_token.policy.deploy_codes import Fact
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astro_token.deploy.target import Target

__all__ = ["facts"]

_CONFIG = Path(".astro", "config.yaml")
_REGISTRY = "images.astronomer.cloud"
_LOUD = {"debug", "trace"}


def facts(
    folder: Path, shown: Path, domain: str, targets: Sequence[Target], *, named: str | None = None
) -> Iterator[Fact]:
    """
    Args:
        domain: the one that the Astro CLI will talk to.
        targets: what the tokens are for.
        named: the deployment on the command line, where one is known.
    """
    file = shown / _CONFIG
    text = text_of(folder / _CONFIG)
    if text is None:
        yield _unread(file)
        return
    values, whole = settings_of(text)
    if not whole:
        yield _unread(file)
    # Searched as well as read: a form that is not read here may be one that the CLI reads.
    if in_clear_text(text) or values.get("cloud.api.protocol", "https").lower() != "https":
        yield Fact(
            "plain-http",
            f"{file} makes the Astro CLI send the token over plain http",
            "take cloud.api.protocol out of it, and see who put it there",
        )
    if "localhost" in domain and ("local.core" in values or "local.platform" in values):
        yield Fact(
            "other-api",
            f"{file} says where the Astro CLI sends the token, because the domain is {domain}",
            "take local.core and local.platform out of it, and see who put them there",
        )
    registry = values.get("remote.base_image_registry")
    if registry != _REGISTRY and (registry or (not whole and REGISTRY.search(text))):
        yield Fact(
            "other-registry",
            f"{file} names a registry of its own, which astro remote deploy sends the token to",
            "take remote.base_image_registry out of it unless that registry is Astronomer's or yours",
        )
    yield from _deployment(file, values.get("project.deployment"), named, targets)
    if "project.workspace" in values:
        yield Fact(
            "unread-workspace",
            f"{file} names a workspace, which the Astro CLI never reads",
            "take project.workspace out of it; workspace in astro-token.toml is what exec hands on",
        )
    if values.get("verbosity", "").lower() in _LOUD:
        yield Fact(
            "debug-output",
            f"{file} makes the Astro CLI print what it does, and the token with it when it pushes an image",
            "take verbosity out of it",
        )


def _deployment(
    file: Path, configured: str | None, named: str | None, targets: Sequence[Target]
) -> Iterator[Fact]:
    """Where a deploy goes: to what the command line names, else to what the file names."""
    goes = named or configured
    for target in targets:
        if goes is None or target.deployment in {None, goes}:
            continue
        shown = goes if IDENTIFIER.fullmatch(goes) else "another"
        correct = f"name {target.deployment} on the command line"
        yield Fact(
            "project-deployment",
            f"astro deploy goes to deployment {shown}, which {'the command' if named else file} names, "
            f"and {target.name} is for {target.deployment}",
            f"{correct}, or use the token of the deployment that is named"
            if named
            else f"{correct} and take project.deployment out of the file",
        )


def _unread(file: Path) -> Fact:
    return Fact(
        "config-unread",
        f"{file} is not, or not all, in the form that the Astro CLI writes, and was not read in whole",
        "write one `key: value` a line, indented by spaces, without anchors, lists and braces",
    )
