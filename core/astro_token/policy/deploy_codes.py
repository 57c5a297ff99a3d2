"""Facts about a deploy, and the verdicts that policy makes of them."""

from __future__ import annotations

from astro_token.policy.codes import DEPLOY
from astro_token.policy.rules import Verdict, errors_first
from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from astro_token.policy.codes import Level

__all__ = ["Finding", "verdicts"]


class Finding(Record):
    """A finding about a deploy before policy sets its level."""

    code: str
    message: str
    hint: str


def verdicts(
    findings: Iterable[Finding], levels: Mapping[str, Level], *, exported: bool = False, advice: bool = False
) -> tuple[Verdict, ...]:
    """
    Set the levels of findings, errors first. Findings that policy turns off are left out.

    Args:
        levels: of the policy.
        exported: `ASTRO_API_TOKEN` is set in this environment.
        advice: a finding is an error only if policy calls it one.
    """

    def judged() -> Iterator[Verdict]:
        for finding in findings:
            code = DEPLOY[finding.code]
            usual = "warning" if advice else (exported and code.exported) or code.level
            level = "error" if code.fixed else levels.get(finding.code, usual)
            if level != "off":
                yield Verdict(finding.code, level, finding.message, finding.hint)

    return errors_first(judged())
