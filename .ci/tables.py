"""
Write the tables of the documents, and the codes of the JSON schema, from the code: `make tables`.

A test compares the files with these texts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.policy.codes import AUDIT, DEPLOY, MAJORS, ONLINE
from astro_token.policy.rules import OFFLINE, RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astro_token.policy.codes import Code

ROOT = Path(__file__).resolve().parent.parent
POLICY = ("key", "variable", "example", "meaning")
VERDICTS = ("code", "check", "level", "meaning", "what to do")
AUDITS = ("code", "level", "meaning", "what to do")
DEPLOYS = ("code", "level", "status", "meaning", "the Astro CLI")


def policy_rows() -> list[tuple[str, ...]]:
    return [(f"`{key}`", f"`{rule.variable}`", f"`{rule.example}`", rule.doc) for key, rule in RULES.items()]


def verdict_rows() -> list[tuple[str, ...]]:
    return [
        (f"`{name}`", check, level(code), meaning(code), code.remedy)
        for check, codes in (("offline", OFFLINE), ("online", ONLINE), ("deploy", DEPLOY))
        for name, code in codes.items()
    ]


def audit_rows() -> list[tuple[str, ...]]:
    return [(f"`{name}`", level(code), code.meaning, code.remedy) for name, code in AUDIT.items()]


def deploy_rows(document: str) -> list[tuple[str, ...]]:
    """Only the reaction of the Astro CLI is written by hand."""
    cells = [line.strip("|").split("|") for line in document.splitlines() if line.startswith("| `")]
    reactions = {row[0].strip(" `"): row[-1].strip() for row in cells if len(row) == len(DEPLOYS)}
    return [
        (f"`{name}`", level(code), str(code.exit_code), meaning(code), reactions.get(name, ""))
        for name, code in DEPLOY.items()
    ]


def meaning(code: Code) -> str:
    versions = "" if code.majors == MAJORS else f" (Astro CLI {', '.join(f'{n}.x' for n in code.majors)})"
    return f"{code.meaning}{versions}"


def level(code: Code) -> str:
    if code.required and code.level != "error":
        return f"{code.level}, error if `{code.required}`"
    return f"{code.level}, error if exported" if code.exported else code.level


def with_table(document: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Replace the table with this head."""
    lines = [head, *rows]
    table = "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
    first, _, rest = table.partition("\n")
    pattern = re.escape(first) + r"\n\|---.*(?:\n\|.*)*"
    text, count = re.subn(pattern, lambda _: f"{first}\n{'|---' * len(head)}|\n{rest}", document)
    if count != 1:
        raise ValueError(f"{count} tables have the head {first}")
    return text


def schema(text: str) -> str:
    """Replace the codes of `check --format json`."""
    content = json.loads(text)
    verdict, deploy = content["$defs"]["verdict"], content["$defs"]["deploy"]["properties"]
    verdict["properties"]["code"]["enum"] = [*OFFLINE, *ONLINE]
    deploy["verdicts"]["items"]["properties"]["code"]["enum"] = [*DEPLOY]
    deploy["exit_code"]["enum"] = [0, *sorted({code.exit_code for code in DEPLOY.values()})]
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def audit_schema(text: str) -> str:
    """Replace the codes of `audit --format json`."""
    content = json.loads(text)
    for part in ("verdict", "kind"):
        content["$defs"][part]["properties"]["code"]["enum"] = [*OFFLINE, *ONLINE, *AUDIT]
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def texts() -> Mapping[Path, str]:
    """Render each file with tables."""
    check, deploy, audit = (ROOT / "docs" / f"{name}.md" for name in ("check", "check-deploy", "audit"))
    schemas = ROOT / "core" / "astro_token" / "schemas"
    document, audit_document = schemas / "check.json", schemas / "audit.json"
    text, deploy_text = check.read_text(encoding="utf-8"), deploy.read_text(encoding="utf-8")
    return {
        check: with_table(with_table(text, POLICY, policy_rows()), VERDICTS, verdict_rows()),
        deploy: with_table(deploy_text, DEPLOYS, deploy_rows(deploy_text)),
        document: schema(document.read_text(encoding="utf-8")),
        audit: with_table(audit.read_text(encoding="utf-8"), AUDITS, audit_rows()),
        audit_document: audit_schema(audit_document.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for path, content in texts().items():
        path.write_text(content, encoding="utf-8")
