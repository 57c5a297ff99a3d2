"""The command that adds an extra to an environment of `make`, which installs this folder as editable."""

from __future__ import annotations

import shlex

from tests.conftest import ROOT


def extra_hint(*extras: str) -> str:
    requirement = f"{ROOT}[{','.join(extras)}]"
    return f"pip install --editable {shlex.quote(requirement)}"
