"""
Makes docs/check.svg, the picture of `check` in the README: `make picture`, or `python .ci/picture.py [FILE]`.

The tokens are made up, and the day is always the same; all else is done by the code that prints the tables.
The picture names no address: what shows it fetches nothing.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from rich.console import Console

from astro_token.cli.findings import tabulate
from astro_token.cli.table import draw, laid_out
from astro_token.errors import PolicyError
from astro_token.policy.rules import CODES, Verdict
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.token import AstroToken, Scope
from astro_token.tokens.read_many import TokenReport

FILE = Path(__file__).resolve().parent.parent / "docs" / "check.svg"
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
WIDTH = 80
# The names in braces are those that rich fills in.
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>astro-token check: a line for each token, and all of one</title>
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, monospace; font-size: {char_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def token(name: str, scope: Scope, days: int | None, *codes: str) -> TokenReport:
    """One that was checked: its verdicts by their codes."""
    verdicts = tuple(Verdict(code, CODES[code].level, "", "") for code in codes)
    failed = any(verdict.level == "error" for verdict in verdicts)
    found = AstroToken(
        SecretValue(b"", "7"),
        scope,
        "clmq3yx8b000108l4c2f1d9ze",
        "clmq41r0c000308l46wq7hxku" if scope == "workspace" else None,
        token_id="clt9v5n2e000508jx3k7m1abq",  # noqa: S106 (an identifier)
        issued=NOW - timedelta(days=21),
        expires=None if days is None else NOW + timedelta(days=days, hours=3),
    )
    settings = TokenSettings(SecretRef("vault", f"secret/astro/{name}", "token"), name=name)
    return TokenReport(settings, found, verdicts, PolicyError("") if failed else None)


TOKENS = [
    token("prod", "workspace", 69),
    token("staging", "workspace", 69, "wrong-workspace"),
    token("nightly", "deployment", 12, "expires-soon"),
    token("preview", "deployment", 40, "revoked"),
    token("legacy", "organization", None, "scope-too-wide", "no-expiry"),
]


def picture() -> str:
    console = Console(
        record=True, file=StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor",
        legacy_windows=False, highlight=False, _environ={},
    )  # fmt: skip
    for start, command, findings in (("", "--all --online", TOKENS), ("\n", "prod", TOKENS[:1])):
        console.print(f"{start}$ astro-token check {command}", style="bold")
        draw(console, laid_out(*tabulate(findings, NOW), WIDTH))
    svg = console.export_svg(title="astro-token", code_format=FORMAT, unique_id="check")
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else FILE).write_text(picture(), encoding="utf-8")
