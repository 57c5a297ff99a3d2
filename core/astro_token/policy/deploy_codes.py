"""What can be found before a deploy: the codes, and how bad each is unless policy says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from astro_token.errors import ConfigError, PolicyError
from astro_token.policy.rules import LEVELS, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from astro_token.policy.rules import Level

__all__ = ["CODES", "Code", "Finding", "floor", "verdicts"]


class Code(NamedTuple):
    """
    Attributes:
        level: an error where the Astro CLI ends with 0 and nothing is deployed, or the wrong thing;
            or where it cannot but fail.
        kind: whose exit status an error ends with.
        exported: the level where `ASTRO_API_TOKEN` is set: the next `astro` of this environment uses it then,
            and the user's home with it. `exec` gives the command a home of its own,
            and what is wrong with the user's does no harm.
    """

    level: Literal["warning", "error"]
    kind: type[ConfigError | PolicyError] = PolicyError
    exported: Literal["warning", "error"] | None = None


CODES: Mapping[str, Code] = {
    # the folder
    "no-project": Code("error", ConfigError),
    "no-dags": Code("error"),
    "dags-ignored": Code("warning"),
    "no-dockerfile": Code("warning"),
    "requirements-clash": Code("warning"),
    # its .astro/config.yaml
    "plain-http": Code("error", ConfigError),
    "other-api": Code("error", ConfigError),
    "other-registry": Code("warning"),
    "project-deployment": Code("error"),
    "unread-workspace": Code("warning"),
    "debug-output": Code("warning"),
    "config-unread": Code("warning"),
    # its repository
    "uncommitted": Code("error"),
    "git-unknown": Code("warning"),
    # the token
    "no-workspace": Code("error"),
    "other-workspace": Code("error"),
    # the home of the Astro CLI
    "home-plain-http": Code("warning", ConfigError, "error"),
    "stale-workspace": Code("warning", PolicyError, "error"),
    "stored-domain": Code("warning", ConfigError, "error"),
    "home-in-project": Code("warning", ConfigError, "error"),
    "odd-home": Code("warning", ConfigError),
    "login-overwritten": Code("warning"),
    "token-left": Code("warning"),
    "home-locked": Code("warning"),
    # the environment
    "foreign-domain": Code("error", ConfigError),
    "local-domain": Code("warning", ConfigError),
    "dead-keys": Code("warning"),
    # programs
    "no-astro": Code("error", ConfigError),
    "old-astro": Code("warning"),
    "other-astro": Code("warning"),
    "unknown-astro": Code("warning"),
    "astro-in-project": Code("warning"),
    "no-docker": Code("warning"),
}


class Finding(NamedTuple):
    """A problem, before policy decides its level."""

    code: str
    message: str
    hint: str


def verdicts(
    findings: Iterable[Finding], levels: Mapping[str, Level], *, exported: bool = False, advice: bool = False
) -> tuple[Verdict, ...]:
    """
    What is to be said of the facts, errors first; what policy turns off is left out.

    Args:
        levels: as policy has them.
        exported: the token is in this environment.
        advice: only what policy calls an error is one.
    """
    found = []
    for finding in findings:
        code = CODES[finding.code]
        usual = "warning" if advice else (exported and code.exported) or code.level
        # `exec` starts nothing in such a project, whatever a policy says.
        level = "error" if finding.code == "plain-http" else levels.get(finding.code, usual)
        if level != "off":
            found.append(Verdict(finding.code, level, finding.message, finding.hint))
    return tuple(sorted(found, key=lambda verdict: verdict.level != "error"))


def floor(text: str, name: str) -> dict[str, Level]:
    """
    Reads the least levels as the environment gives them: `uncommitted=error,no-docker=off`.

    Raises:
        ConfigError: it is no such list; `name` says which variable it is.
    """
    levels: dict[str, Level] = {}
    for entry in text.split(","):
        code, _, wanted = (part.strip() for part in entry.partition("="))
        level = next((level for level in LEVELS if level == wanted), None)
        if code not in CODES:
            from difflib import get_close_matches

            close = get_close_matches(code, CODES, n=1)
            raise ConfigError(
                f"{name} names an unknown code",
                hint=f"did you mean {close[0]}?" if close else f"known are {', '.join(CODES)}",
            )
        if level is None:
            raise ConfigError(
                f"{name} gives {code} no level", hint=f"write {code}= and one of {', '.join(LEVELS)}"
            )
        levels[code] = level
    return levels
