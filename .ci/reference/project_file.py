"""The keys of the project file: a page for people, and a JSON schema for editors."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from astro_token.policy import parsers
from astro_token.policy.codes import DEPLOY, LEVELS
from astro_token.policy.references import references
from astro_token.policy.rules import RULES, Expectations
from astro_token.settings.astro_cli_pin import DIGEST, PLATFORMS, VERSION, Lock
from astro_token.settings.chain import MAX_CHAIN
from astro_token.settings.project_file import (
    LOCK_KEYS,
    MAX_NAME,
    TOKEN_KEYS,
    TOP_KEYS,
    Project,
    ProjectToken,
    TokenRequest,
)
from astro_token.token import SCOPES
from reference.markdown import Docstring, code, heading_link, page, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["KEYS", "project_file", "schema"]

_EXAMPLES = {
    "default": '"prod"',
    "ref": '"vault:secret/astro/prod#token"',
    "decrypt": '"aws-kms:alias/astro"',
    "organization": '"clorg00000000000000000"',
    "workspace": '"clws00000000000000000"',
    "deployment": '"cldep00000000000000000"',
    "role": '"DEPLOYMENT_ADMIN"',
    "lifetime": '"90d"',
    "title": '"deploy-prod"',
    "version": '"1.48.0"',
}
_DIGEST_EXAMPLE = f'"{"0" * 6}…"'

# The values that each parser accepts. `$` is the end of the text, as in JavaScript.
_SIGNS = r"!#%&()*+./0-9:<=>?@A-Z\[\\\]^_a-z{|}~-"  # printable, without what a role must not contain
_ROLE = rf"[{_SIGNS}](?:[ {_SIGNS}]{{0,126}}[{_SIGNS}])?"
_IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_DURATION = r"[0-9]{1,6}[smhdw]"
# 1 to 3650 days, or 1 to 521 weeks. Only the parser knows which numbers of hours, minutes and seconds are days.
_DAYS = r"[1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|36[0-4][0-9]|3650"
_WEEKS = r"[1-9][0-9]?|[1-4][0-9]{2}|5[01][0-9]|52[01]"
_LIFETIME = rf"(?=.{{2,7}}$)0*(?:(?:{_DAYS})d|(?:{_WEEKS})w)|[0-9]{{1,6}}[smh]"
_REFERENCE = r"[a-z][a-z0-9-]{0,31}:[^\x00-\x1f\x7f]+"


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def _list(pattern: str) -> dict[str, Any]:
    return _text(rf"\s*{pattern}\s*(?:,\s*{pattern}\s*)*")


_VALUES: Mapping[Callable[..., object], dict[str, Any]] = {
    parsers.scope: {"enum": [*SCOPES]},
    parsers.flag: {"type": "boolean"},
    parsers.duration: _text(_DURATION),
    parsers.lifetime: _text(_LIFETIME),
    parsers.identifier: _text(_IDENTIFIER),
    parsers.role: _text(_ROLE),
    parsers.roles: _list(_ROLE),
    parsers.title: _text(r"[!-~](?:[ -~]{0,126}[!-~])?"),
    parsers.registries: _list(parsers.REGISTRY.pattern),
    parsers.levels: {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"enum": [*LEVELS]} for name in DEPLOY},
    },
    references: {"type": "string", "pattern": ":"},
}
_TOKEN_VALUES: Mapping[str, dict[str, Any]] = {
    "ref": {
        **_text(_REFERENCE),
        "type": ["string", "array"],
        "items": _text(_REFERENCE),
        "minItems": 1,
        "maxItems": MAX_CHAIN,
        "uniqueItems": True,
    },
    "decrypt": _text(_REFERENCE),
    **dict.fromkeys(SCOPES, _VALUES[parsers.identifier]),
    "role": _VALUES[parsers.role],
    "lifetime": _VALUES[parsers.lifetime],
    "title": _VALUES[parsers.title],
}
_TOP, _LOCK = Docstring(Project), Docstring(Lock)


def _top(key: str) -> str:
    return _TOP.entry("Attributes", key.replace("-", "_"))


def _token(key: str) -> str:
    for record in (ProjectToken, Expectations, TokenRequest):
        if text := Docstring(record).entry("Attributes", key):
            return text
    return ""


def _ended(text: str) -> str:
    """Leave out the full stop of a single sentence, as in other tables."""
    return text if ". " in text else text.removesuffix(".")


# Every key with its description, by table.
KEYS: Mapping[str, Mapping[str, str]] = {
    "": {key: _ended(_top(key)) for key in TOP_KEYS},
    "tokens.NAME": {key: _ended(_token(key)) for key in TOKEN_KEYS},
    "policy": {key: rule.doc for key, rule in RULES.items()},
    "astro-cli": {key: _ended(_LOCK.entry("Attributes", key)) for key in LOCK_KEYS},
    "astro-cli.sha256": {key: f"digest of the archive for {key.replace('-', ' on ')}" for key in PLATFORMS},
}


def project_file() -> str:
    """Write the page of the project file."""
    tables = {
        "policy": "policy",
        "tokens": "tokensname",
        "astro-cli": "astro-cli",
        "sha256": "astro-clisha256",
    }
    top = [
        (f"[`{key}`](#{tables[key]})" if key in tables else code(key), _EXAMPLES.get(key, "a table"), text)
        for key, text in KEYS[""].items()
    ]
    policy = [
        (
            code(key),
            code(rule.example),
            heading_link(code(rule.variable), "Policy", "variables.md"),
            _upwards(rule.doc),
        )
        for key, rule in RULES.items()
    ]
    lock = [
        (code(key), code(_EXAMPLES[key]) if key in _EXAMPLES else "a table", text)
        for key, text in KEYS["astro-cli"].items()
    ]
    return page(
        "# The project file",
        "`astro-token.toml`, or the table `[tool.astro-token]` of `pyproject.toml`, in the current folder or, in a git repository, in a\n"
        "folder above it. It names tokens, expectations, policy and the release of the Astro CLI, and nothing else: it cannot set an address,\n"
        "a credential or a command. An unknown key is an error. An editor that reads JSON schemas can use\n"
        "[astro-token.schema.json](astro-token.schema.json), for example with this first line:",
        "```toml\n#:schema ./astro-token.schema.json\n```",
        "## Keys",
        table(
            ("key", "example", "meaning"), [(k, code(e) if e.startswith('"') else e, m) for k, e, m in top]
        ),
        "## tokens.NAME",
        "Only `ref` is required.",
        table(
            ("key", "example", "meaning"),
            [(code(key), code(_EXAMPLES[key]), text) for key, text in KEYS["tokens.NAME"].items()],
        ),
        "## policy",
        "A rule that is not set allows everything. The variable sets a floor, which the file can only tighten.\n"
        "A duration is a number and one of `s`, `m`, `h`, `d`, `w`. [check.md](../check.md#policy) explains the rules.",
        table(("key", "example", "variable", "meaning"), policy),
        "## astro-cli",
        "`astro-token install-cli --lock` prints this table.",
        table(("key", "example", "meaning"), lock),
        "## astro-cli.sha256",
        table(
            ("key", "example", "meaning"),
            [(code(key), code(_DIGEST_EXAMPLE), text) for key, text in KEYS["astro-cli.sha256"].items()],
        ),
    )


def _upwards(text: str) -> str:
    """Correct the links of a text that is written for pages in `docs`."""
    return text.replace("](", "](../")


def schema() -> str:
    """
    Write the schema of the file.

    It is for editors: what only the parser can know is not in it, such as the grammar of each scheme.
    """
    policy = {key: _described(_VALUES[rule.parse], rule.doc) for key, rule in RULES.items()}
    digests = {
        key: _described(_text(DIGEST.pattern.replace("a-f", "A-Fa-f")), text)
        for key, text in KEYS["astro-cli.sha256"].items()
    }
    lock = {
        "version": _described(_text(VERSION.pattern), KEYS["astro-cli"]["version"]),
        "sha256": {**_table(digests, KEYS["astro-cli"]["sha256"]), "minProperties": 1},
    }
    token = {key: _described(_TOKEN_VALUES[key], text) for key, text in KEYS["tokens.NAME"].items()}
    tokens = {
        "type": "object",
        "description": _unmarked(_top("tokens")),
        "propertyNames": {"pattern": f"^[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}$"},
        "additionalProperties": {**_table(token, Docstring(ProjectToken).summary), "required": ["ref"]},
    }
    content = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "astro-token.toml",
        **_table(
            {
                "default": _described({"type": "string"}, _top("default")),
                "policy": _table(policy, _top("policy")),
                "tokens": tokens,
                "astro-cli": {**_table(lock, _top("astro-cli")), "required": ["version"]},
            },
            "The project file of astro-token, or its table in pyproject.toml.",
        ),
    }
    return json.dumps(content, indent=2, ensure_ascii=True) + "\n"


def _table(properties: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": _unmarked(description),
        "additionalProperties": False,
        "properties": properties,
    }


def _described(values: dict[str, Any], text: str) -> dict[str, Any]:
    return {"description": _unmarked(text), **values}


def _unmarked(text: str) -> str:
    return re.sub(r" \(\[.*?\]\(.*?\)\)", "", text).replace("`", "")
