"""The files of a distribution with a backend of somebody else, for `backends new`."""

from __future__ import annotations

import re
from pkgutil import get_data

from astro_token.errors import UsageError
from astro_token.init.plan import PACKAGE_SOURCE
from astro_token.init.template import fill
from astro_token.secrets.schemes import RESERVED
from astro_token.system.installation import install_beside

__all__ = ["backend_files", "command", "distribution_of", "example_backend", "module_of"]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST = 32
# Its variables would begin as those of astro-token and of the Astro CLI do.
_OURS = "astro"
_OTHERS = "--editable . pytest"


def distribution_of(scheme: str) -> str:
    """
    Return the name of the distribution for a scheme.

    Raises:
        UsageError: it cannot be a scheme and a part of that name, or it is reserved.
    """
    if scheme in RESERVED or scheme.partition("-")[0] == _OURS:
        raise UsageError(f"the name {scheme} is reserved", hint="choose the name of your service")
    if not _NAME.fullmatch(scheme) or len(scheme) > _LONGEST:
        raise UsageError(
            "`backends new` needs the name of a backend"
            if not scheme
            else "the name cannot be the scheme of references",
            hint="give 1 to 32 lower-case letters, digits and -, such as acme; the first one is a letter",
        )
    return f"astro-token-{scheme}"


def module_of(distribution: str) -> str:
    return distribution.replace("-", "_")


def command() -> str:
    """Return the command that installs the distribution of the working folder and runs its test."""
    return _command(install_beside(_OTHERS))


def _command(arguments: str) -> str:
    # The environment's own pip: that of the system may refuse to install.
    return (
        f"python3 -m venv .venv && .venv/bin/python -m pip install --quiet {arguments} "
        "&& .venv/bin/python -m pytest"
    )


def backend_files(scheme: str) -> dict[str, str]:
    """
    Return the texts by path, which is relative to the distribution.

    Raises:
        UsageError: as `distribution_of`.
    """
    return _files(scheme, command())


def example_backend() -> dict[str, str]:
    """Return the generated files of `examples/plugin/`."""
    return _files("acme", _command(f"'astro-token @ {PACKAGE_SOURCE}' {_OTHERS}"))


def _files(scheme: str, install: str) -> dict[str, str]:
    name = distribution_of(scheme)
    module = module_of(name)
    values = {
        "scheme": scheme,
        "distribution": name,
        "module": module,
        "title": "".join(word.capitalize() for word in scheme.split("-")),
        "variable": scheme.replace("-", "_").upper(),
        "command": install,
    }
    templates = {
        "pyproject.toml": "pyproject.toml",
        f"{module}.py": "module.py",
        f"test_{module}.py": "test.py",
        "README.md": "README.md",
    }
    return {file: fill(_template(template), values) for file, template in templates.items()}


def _template(name: str) -> str:
    return (get_data("astro_token.init", f"templates/backend-{name}.in") or b"").decode()
