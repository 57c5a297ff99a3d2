"""The effect of the project's own `.astro/config.yaml`, which takes precedence over the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.config import settings_of, text_of
from astro_token.environment.checkout import REGISTRY, in_clear_text
from astro_token.policy.deploy_codes import Finding
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astro_token.deploy.destination import Destination

__all__ = ["findings"]

_CONFIG = Path(".astro", "config.yaml")
_REGISTRY = "images.astronomer.cloud"
_LOUD = {"debug", "trace"}


def findings(
    folder: Path, shown: Path, domain: str, destinations: Sequence[Destination], *, named: str | None = None
) -> Iterator[Finding]:
    """
    Examine the settings that change where the token or the deploy goes.

    Args:
        domain: that the Astro CLI will use.
        named: the deployment that the command line names, if it does.
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
        yield Finding(
            "plain-http",
            f"{file} makes the Astro CLI send the token over plain http",
            "remove cloud.api.protocol from it, and find out who put it there",
        )
    if "localhost" in domain and ("local.core" in values or "local.platform" in values):
        yield Finding(
            "other-api",
            f"{file} decides where the Astro CLI sends the token, because the domain is {domain}",
            "remove local.core and local.platform from it, and find out who put them there",
        )
    registry = values.get("remote.base_image_registry")
    if registry != _REGISTRY and (registry or (not whole and REGISTRY.search(text))):
        yield Finding(
            "other-registry",
            f"{file} names a registry, and astro remote deploy sends the token to it",
            "remove remote.base_image_registry from it unless that registry is Astronomer's or yours",
        )
    yield from _deployment(file, values.get("project.deployment"), named, destinations)
    if "project.workspace" in values:
        yield Finding(
            "unread-workspace",
            f"{file} names a workspace, which the Astro CLI never reads",
            "remove project.workspace from it; exec hands on the workspace in astro-token.toml",
        )
    if values.get("verbosity", "").lower() in _LOUD:
        yield Finding(
            "debug-output",
            f"{file} makes the Astro CLI print what it does, and the token with it when it pushes an image",
            "remove verbosity from it",
        )


def _deployment(
    file: Path, configured: str | None, named: str | None, destinations: Sequence[Destination]
) -> Iterator[Finding]:
    """Compare the deployment of the command line, else that of the file, with each destination."""
    goes = named or configured
    for each in destinations:
        if goes is None or each.deployment in {None, goes}:
            continue
        shown = goes if IDENTIFIER.fullmatch(goes) else "another"
        correct = f"name {each.deployment} on the command line"
        yield Finding(
            "project-deployment",
            f"astro deploy goes to deployment {shown}, which {'the command' if named else file} names, "
            f"and {each.name} is for {each.deployment}",
            f"{correct}, or use the token of the deployment that is named"
            if named
            else f"{correct} and remove project.deployment from the file",
        )


def _unread(file: Path) -> Finding:
    return Finding(
        "config-unread",
        f"{file} is not completely in the form that the Astro CLI writes, and was not read completely",
        "write one `key: value` per line, indented by spaces, without anchors, lists and braces",
    )
