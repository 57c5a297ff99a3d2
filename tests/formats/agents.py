"""
What the agents of Azure Pipelines and TeamCity do with what a step prints.

Azure's is written after its agent's Command, WorkerCommandManager and TaskCommandExtension;
TeamCity's after its documentation of service messages and of parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class AzureAgent:
    """
    Attributes:
        decode_percents: its setting of that name.
        variables: of the steps after this one.
        secret: the names of those that are secret, which no step gets in its environment by itself.
        masks: what it hides in the log from now on.
        log: what can be read of the step, masks applied.
    """

    decode_percents: bool = True
    variables: dict[str, str] = field(default_factory=dict)
    secret: set[str] = field(default_factory=set)
    masks: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def output(self, text: str) -> None:
        """What the step writes to standard output or error."""
        for line in re.split(r"\r\n|\r|\n", text.removesuffix("\n")):
            if not self._command(line):
                self.log.append(self.masked(line))

    def value(self, name: str) -> str:
        """What a step gets that has `env: NAME: $(NAME)`: macros in the value are replaced too."""
        return re.sub(
            r"\$\(([^)]+)\)",
            lambda match: self.variables.get(match[1].upper(), match[0]),
            self.variables[name],
        )

    def masked(self, text: str) -> str:
        for mask in sorted(self.masks, key=len, reverse=True):
            text = text.replace(mask, "***")
        return text

    def _command(self, line: str) -> bool:
        _, prefix, rest = line.partition("##vso[")
        information, bracket, data = rest.partition("]")
        name, _, listed = information.partition(" ")
        if not prefix or not bracket or len([part for part in name.split(".") if part]) != 2:
            return False
        pairs = [pair.split("=", 1) for pair in listed.split(";") if pair]
        properties = {pair[0].lower(): self._unescaped(pair[1]) for pair in pairs if len(pair) == 2}
        value = self._unescaped(data)
        if name.lower() == "task.setsecret":
            self._mask(value, line)
        elif name.lower() == "task.setvariable" and properties.get("variable"):
            if properties.get("issecret", "").lower() == "true":
                self._mask(value, line)
                self.secret.add(properties["variable"].upper())
            self.variables[properties["variable"].upper()] = value
        else:
            self.log.append(self.masked(f"##[warning]{name} is no command"))
        return True

    def _mask(self, value: str, line: str) -> None:
        if "\n" in value or "\r" in value:
            self.log.append(f"##[error]Secrets cannot contain multiple lines: {line}")
        elif value:
            self.masks.add(value)

    def _unescaped(self, text: str) -> str:
        for escaped, plain in (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]")):
            text = text.replace(escaped, plain)
        return text.replace("%AZP25", "%") if self.decode_percents else text


@dataclass
class TeamCityAgent:
    """
    Attributes:
        passwords: parameters that are declared as such.
        parameters: what the steps after this one are given.
        log: what can be read of the step.
    """

    passwords: frozenset[str] = frozenset()
    parameters: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def output(self, text: str) -> None:
        for line in re.split(r"\r\n|\r|\n", text.removesuffix("\n")):
            self._line(line)

    def value(self, name: str) -> str:
        """What a step gets: what stands between two % is another parameter's value, and %% is a %."""
        return re.sub(
            r"%([^%]*)%",
            lambda match: self.parameters.get(match[1], "") if match[1] else "%",
            self.parameters[name],
        )

    def _line(self, line: str) -> None:
        match = re.match(r"\s*##teamcity\[(\w+)((?:\s+[\w.]+\s*=\s*'(?:[^'|\[\]]|\|.)*')*)\s*\]\s*$", line)
        if match is None:
            self.log.append(line)
            return
        pairs = re.findall(r"([\w.]+)\s*=\s*'((?:[^'|\[\]]|\|.)*)'", match[2])
        attributes = {name: re.sub(r"\|(0x[0-9a-fA-F]{4}|.)", _teamcity, value) for name, value in pairs}
        if match[1] == "setParameter" and attributes.keys() == {"name", "value"}:
            self.parameters[attributes["name"]] = attributes["value"]
            shown = "***" if attributes["name"] in self.passwords else attributes["value"]
            self.log.append(f"parameter {attributes['name']} set to {shown}")
        else:
            self.log.append(line)


def _teamcity(match: re.Match[str]) -> str:
    escaped = match[1]
    if len(escaped) > 1:
        return chr(int(escaped.removeprefix("0x"), base=16))
    return {"n": "\n", "r": "\r", "x": "\x85", "l": "\u2028", "p": "\u2029"}.get(escaped, escaped)
