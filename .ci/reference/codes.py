"""Pages of exit codes, verdicts and errors."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from astro_token import errors
from astro_token.errors import AstroTokenError, CommandError, RotationError
from astro_token.policy.codes import AUDIT, DEPLOY, ONLINE
from astro_token.policy.rules import OFFLINE
from reference.markdown import Docstring, code, page, table
from tables import level, meaning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.policy.codes import Code

__all__ = ["ERRORS", "codes_of", "error_tree", "exit_codes", "exit_rows", "verdicts"]

# In the order of the source, so that each class follows its base.
ERRORS: tuple[type[AstroTokenError], ...] = tuple(
    kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, AstroTokenError)
)


def codes_of(kind: type[AstroTokenError]) -> tuple[int, ...]:
    """Return each status that an error of a class can have."""
    if kind is RotationError:
        return RotationError.exit_code, RotationError.PERSON_NEEDED
    return (126, 127) if kind is CommandError else (kind.exit_code,)


def exit_rows() -> list[tuple[tuple[int, ...], str, str, list[str]]]:
    """Return for each status its meaning, the remedy, and the names of its errors."""
    rows: dict[tuple[int, ...], list[type[AstroTokenError]]] = {}
    for kind in sorted(ERRORS, key=lambda kind: (codes_of(kind), len(kind.__mro__))):
        rows.setdefault(codes_of(kind), []).append(kind)
    return [((0,), "Done.", "", []), *(_row(codes, kinds) for codes, kinds in rows.items())]


def _row(
    codes: tuple[int, ...], kinds: list[type[AstroTokenError]]
) -> tuple[tuple[int, ...], str, str, list[str]]:
    docs = [Docstring(kind) for kind in kinds]
    meanings = [doc.summary for doc in docs]
    remedies = dict.fromkeys(doc.entry("Remedy") for doc in docs)
    if len(codes) > 1 and (details := docs[0].entry("Attributes", "exit_code")):
        meanings.append(f"The status is {details}")
    return codes, " ".join(meanings), "; ".join(remedies), [kind.__name__ for kind in kinds]


def _order() -> str:
    """List the statuses by severity, the worst first."""
    severity = {kind.exit_code: kind.severity for kind in ERRORS if kind is not CommandError}
    codes = sorted(severity, key=lambda status: -severity[status])
    return ", ".join(map(str, (RotationError.PERSON_NEEDED, *codes)))


def exit_codes() -> str:
    return page(
        "# Exit codes",
        "Each status has one meaning in every command, so a pipeline can act on it: repeat the command after 75 and 80, and stop after all others.",
        table(
            ("status", "meaning", "remedy", "errors"),
            [
                (", ".join(map(str, codes)), text, remedy, ", ".join(map(_linked, names)))
                for codes, text, remedy, names in exit_rows()
            ],
        ),
        "`exec` ends with the status of its command, or 128 + n if signal n ended it. A signal that ends `astro-token` itself gives 128 + n too.\n"
        "With `--strict`, `check` and `audit` end with 65 if there are only warnings.",
        f"Of several failures, the worst sets the status, in this order: {_order()}.",
    )


def _linked(name: str) -> str:
    return f"[{code(name)}](errors.md#{name.lower()})"


def verdicts() -> str:
    def rows(codes: Mapping[str, Code]) -> list[tuple[str, ...]]:
        return [
            (code(name), level(row), str(row.exit_code), meaning(row), row.remedy)
            for name, row in codes.items()
        ]

    head = ("code", "level", "status", "meaning", "what to do")
    return page(
        "# Verdicts",
        "A verdict is a finding about a token, a project or an organization. Its code is stable. An error keeps the token from being used, and a\n"
        "warning does not. The status is that of an error with this code; `[policy.deploy]` sets the levels of the findings about a deploy.\n"
        "`exported` means that `ASTRO_API_TOKEN` is set.",
        "## Of a token, offline",
        "`check`, `exec`, `export`, `put` and the library.",
        table(head, rows(OFFLINE)),
        "## Of a token, with Astro",
        "`check --online`, `exec --online`, and everything if policy has `online`. [online.md](../online.md) explains the requests.",
        table(head, rows(ONLINE)),
        "## Of a deploy",
        "`check --deploy`, and `exec -- astro deploy`. [check-deploy.md](../check-deploy.md) compares them with the reaction of the Astro CLI.",
        table(head, rows(DEPLOY)),
        "## Of an organization",
        "`audit`, in addition to those of each token. [audit.md](../audit.md) explains them.",
        table(head, rows(AUDIT)),
    )


def error_tree() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    blocks = [
        "# Errors",
        (
            "Every error of the library is an `AstroTokenError`, and the command line ends with its `exit_code`. Its `message` and its `hint` are one line\n"
            "each, and contain nothing from the response of a service. An error has no cause and no context that could lead to a secret."
        ),
        f"```text\n{inspect.cleandoc(tree)}\n```",
    ]
    for kind in sorted(ERRORS, key=lambda kind: (codes_of(kind), len(kind.__mro__))):
        doc = Docstring(kind)
        base = kind.__bases__[0].__name__
        facts = [f"- Status: {', '.join(map(str, codes_of(kind)))}", f"- Base: `{base}`"]
        if remedy := doc.entry("Remedy"):
            facts.append(f"- Remedy: {remedy}")
        facts += [f"- `{name}`: {text}" for name, text in doc.sections.get("Attributes", {}).items()]
        blocks += [f"## {kind.__name__}", doc.summary, "\n".join(facts)]
    return page(*blocks)
