"""Findings about a deploy, and the verdicts that policy makes of them."""

from __future__ import annotations

from astro_token.policy.codes import DEPLOY
from astro_token.policy.rules import Verdict, errors_first
from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from astro_token.policy.rules import Policy

__all__ = ["Finding", "verdicts"]


class Finding(Record):
    """
    A finding about a deploy before policy sets its level.

    Args:
        hint: empty for the remedy of the code.
    """

    code: str
    message: str
    hint: str

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint or DEPLOY[code].hint)


def verdicts(
    findings: Iterable[Finding],
    policy: Policy,
    *,
    major: int | None = None,
    exported: bool = False,
    advice: bool = False,
) -> tuple[Verdict, ...]:
    """
    Set the levels of findings, errors first. Findings that policy turns off are left out.

    Args:
        major: of the Astro CLI; findings of another one are left out. None for all findings.
        exported: `ASTRO_API_TOKEN` is set in this environment.
        advice: most findings are errors only if policy says so.
    """
    result = []
    for finding in findings:
        code = DEPLOY[finding.code]
        if major is not None and major not in code.majors:
            continue
        usual = "warning" if advice and not code.refused else (exported and code.exported) or code.level
        fixed = code.fixed or (code.required is not None and getattr(policy, code.required))
        level = "error" if fixed else policy.deploy.get(finding.code, usual)
        if level != "off":
            result.append(Verdict(finding.code, level, finding.message, finding.hint))
    return errors_first(result)
