"""
What GitHub's runner does with a file of environment variables, with commands in the log, and with masks.

Written after the runner's own parts: FileCommandManager, ActionCommand, ActionCommandManager,
AddMask, SecretMasker and its value encoders. On Linux, unless told otherwise.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from urllib.parse import quote

KNOWN_COMMANDS = frozenset(
    [
        "add-mask",
        "add-matcher",
        "add-path",
        "debug",
        "echo",
        "endgroup",
        "error",
        "group",
        "internal-set-repo-path",
        "notice",
        "remove-matcher",
        "save-state",
        "set-env",
        "set-output",
        "stop-commands",
        "warning",
    ]
)
DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))  # in this order
LEGACY = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))


class RefusedFileError(Exception):
    """The step fails, and this text is in its log."""


@dataclass
class Runner:
    """
    Attributes:
        environment: of the steps after this one.
        masks: what it hides in the log from now on.
        log: what can be read of the step, masks applied.
    """

    windows: bool = False
    debug: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    masks: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    _stopped: str | None = None

    # -- the log and its commands ---------------------------------------------------------------------------

    def output(self, text: str) -> None:
        """What the step writes to standard output or error. The runner reads it by lines of any kind."""
        for line in re.split(r"\r\n|\r|\n", text.removesuffix("\n")):
            if not self._command(line):
                self._show(line)

    def _command(self, line: str) -> bool:
        parsed = _parse_v2(line) or _parse_legacy(line)
        if parsed is None:
            return self._stopped is not None and line.strip() == f"::{self._stopped}::" and self._resume()
        name, data = parsed
        if self._stopped is not None:
            return False
        if name == "stop-commands":
            self._stopped = data
        elif name == "add-mask":
            self._mask(data)
        elif name in {"set-env", "add-path"}:
            self._show(f"Error: the {name} command is disabled")
        else:
            self._show(data)
        return True

    def _resume(self) -> bool:
        self._stopped = None
        return True

    def _mask(self, data: str) -> None:
        if not data.strip():
            self._show("Warning: Can't add secret mask for empty string in ##[add-mask] command.")
            return
        self.masks.add(data)
        for line in re.split(r"[\r\n]", data):
            if line.strip():
                self.masks.add(line.strip())

    def _show(self, line: str) -> None:
        self.log.append(self.masked(line))

    def masked(self, text: str) -> str:
        """A text as the log shows it: each secret and its known encodings replaced, overlaps at once."""
        spans = []
        for secret in {form for mask in self.masks for form in _encoded(mask)}:
            start = text.find(secret)
            while start >= 0:
                spans.append((start, start + len(secret)))
                start = text.find(secret, start + 1)
        shown, end = "", 0
        for start, stop in _merged(spans):
            shown += text[end:start] + "***"
            end = stop
        return shown + text[end:]

    # -- the file -------------------------------------------------------------------------------------------

    def end_step(self, file: bytes) -> None:
        """
        Reads the file of GITHUB_ENV.

        Raises:
            RefusedFileError: a line is malformed; it is in the log.
        """
        try:
            for name, value in self._pairs(file.decode("utf-8-sig", errors="replace")):
                if name.upper() == "NODE_OPTIONS":
                    self._show(
                        "Error: Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command."
                    )
                    continue
                self.environment[name] = value
                if self.debug:
                    for line in f"##[debug]{name}='{value}'".split("\n"):
                        self._show(line)
        except RefusedFileError as error:
            for line in str(error).split("\n"):
                self._show(f"Error: {line}")
            raise

    def _pairs(self, text: str) -> list[tuple[str, str]]:
        pairs, place = [], 0
        while place < len(text):
            line, end, place = self._line(text, place)
            if not line:
                continue
            equals, heredoc = line.find("="), line.find("<<")
            if equals >= 0 and (heredoc < 0 or equals < heredoc):
                name, _, value = line.partition("=")
                if not name:
                    raise RefusedFileError(f"Invalid format '{line}'. Name must not be empty")
                pairs.append((name, value))
            elif heredoc >= 0:
                name, _, delimiter = line.partition("<<")
                if not name or not delimiter:
                    raise RefusedFileError(f"Invalid format '{line}'. Name and delimiter must not be empty")
                start = stop = place
                while True:
                    if place >= len(text):
                        raise RefusedFileError(f"Invalid value. Matching delimiter not found '{delimiter}'")
                    line, end, place = self._line(text, place)
                    if line == delimiter:
                        break
                    if not end:
                        raise RefusedFileError("Invalid value. EOF marker missing new line.")
                    stop = place - len(end)
                pairs.append((name, text[start:stop] if stop > start else ""))
            else:
                raise RefusedFileError(f"Invalid format '{line}'")
        return pairs

    def _line(self, text: str, place: int) -> tuple[str, str, int]:
        """A line, its end, and where the next begins."""
        feed = text.find("\n", place)
        if feed < 0:
            return text[place:], "", len(text)
        if self.windows and text[place:feed].endswith("\r"):
            return text[place : feed - 1], "\r\n", feed + 1
        return text[place:feed], "\n", feed + 1


def _parse_v2(line: str) -> tuple[str, str] | None:
    line = line.lstrip()
    if not line.startswith("::"):
        return None
    information, colons, data = line[2:].partition("::")
    name = information.partition(" ")[0]
    return (name.lower(), _unescape(data, DATA)) if colons and name.lower() in KNOWN_COMMANDS else None


def _parse_legacy(line: str) -> tuple[str, str] | None:
    information, bracket, data = line.partition("##[")[2].partition("]")
    name = information.partition(" ")[0]
    return (name.lower(), _unescape(data, LEGACY)) if bracket and name.lower() in KNOWN_COMMANDS else None


def _unescape(text: str, mapping: tuple[tuple[str, str], ...]) -> str:
    for escaped, plain in mapping:
        text = text.replace(escaped, plain)
    return text


def _encoded(secret: str) -> set[str]:
    """The secret and the encodings of it that the runner hides too."""
    data = secret.encode("utf-8", errors="replace")
    forms = {secret, json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="", errors="replace")}
    forms |= {secret.replace('"', '\\"'), secret.strip('"')}
    forms |= {base64.b64encode(data[offset:]).decode() for offset in range(3)}
    return {form for form in forms if form}


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
