"""The source that this copy of astro-token was installed from."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution

from astro_token.version import __version__

__all__ = ["install_requirement"]


def install_requirement(extra: str) -> str:
    """Return what `pip install` takes for this copy with an extra; for several, separated by commas."""
    name = f"astro-token[{extra}]" if extra else "astro-token"
    try:
        text = distribution("astro-token").read_text("direct_url.json")
        origin = json.loads(text) if text else None
    except (PackageNotFoundError, ValueError):
        return name
    if origin is None:
        return f"{name}=={__version__}"
    if "vcs_info" in origin:
        return f"{name} @ {origin['vcs_info']['vcs']}+{origin['url']}@{origin['vcs_info']['commit_id']}"
    return f"{name} @ {origin['url']}"
