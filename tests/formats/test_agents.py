"""The formats for the agents of Azure Pipelines and TeamCity, read by models of them."""

from __future__ import annotations

import pytest

from astro_token.ci.formats import masks, render
from astro_token.errors import OutputError
from astro_token.formats.rendering import Rendering, Variables
from tests.formats.agents import AzureAgent, TeamCityAgent
from tests.formats.consumers import NAME, variables
from tests.formats.sweep import faults
from tests.formats.texts import PIECES
from tests.rows import each_row


def azure(text: str, *, decode_percents: bool = True) -> AzureAgent:
    agent = AzureAgent(decode_percents)
    agent.output(text)
    return agent


def test_azures_variable_is_secret_and_alone(canary: str) -> None:
    agent = azure(render("azure-pipelines", variables(canary)).text)
    assert ({NAME: canary}, {NAME}, []) == (agent.variables, agent.secret, agent.log)
    assert "a *** b" == agent.masked(f"a {canary} b")
    assert f"env: {NAME}: $({NAME})" in render("azure-pipelines", variables(canary)).then


@pytest.mark.parametrize("name", ["azure-pipelines", "teamcity"])
def test_every_piece_is_read_back_or_refused(name: str) -> None:
    assert [] == faults(name, [*PIECES, *(f"x{piece}y" for piece in PIECES), "", " "])


@each_row("text", ["a\nb", "50%", "%0A", "%AZP25", "$(Build.SourcesDirectory)", " x", "é", ""])
def test_what_azures_agent_could_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match="the Azure Pipelines agent cannot carry this value"):
        render("azure-pipelines", variables(text))


def test_azures_masks_are_commands_of_one_line_each_that_it_keeps_out_of_the_log() -> None:
    agent = azure(masks("azure-pipelines", ("first line\nsecond line\n100% third",)).text)
    assert [] == agent.log
    assert {"first line", "second line", "100% third"} <= agent.masks


def azure_careless(given: Variables) -> Rendering:
    return Rendering("".join(f"##vso[task.setvariable variable={k}]{v}\n" for k, v in given.set.items()))


def test_the_model_of_azures_agent_catches_what_is_careless(canary: str) -> None:
    evil = f"{canary}\n##vso[task.setvariable variable=PATH]/evil"
    agent = azure(azure_careless(variables(evil)).text)
    assert ({NAME: canary, "PATH": "/evil"}, set()) == (agent.variables, agent.secret)
    assert canary in agent.masked(canary)
    both = [azure("##vso[task.setvariable variable=A]a%AZP25b\n", decode_percents=on) for on in (True, False)]
    assert ["a%b", "a%AZP25b"] == [agent.variables["A"] for agent in both]
    several = azure(f"##vso[task.setsecret]{canary}%0Ax\n")
    assert any(canary in line for line in several.log)
    macro = azure("##vso[task.setvariable variable=A]x$(B)\n##vso[task.setvariable variable=B]y\n")
    assert "xy" == macro.value("A")


@each_row(
    ("line", "variables"),
    [
        ("##vso[task.setvariable variable=A]1", {"A": "1"}),
        ("text ##vso[task.setvariable variable=A]1]2", {"A": "1]2"}),
        ("##vso[task.setvariable variable=a;issecret=true]x;y", {"A": "x;y"}),
        ("##vso[task.setvariable variable=A]a%0Ab%3B", {"A": "a\nb;"}),
        ("##vso[task.setvariable]1", {}),
        ("##vso[setvariable variable=A]1", {}),
        ("##vso [task.setvariable variable=A]1", {}),
    ],
)
def test_the_model_obeys_commands_as_azures_agent_does(line: str, variables: dict[str, str]) -> None:
    assert variables == azure(line).variables


# -- TeamCity ----------------------------------------------------------------------------------------------


def teamcity(text: str) -> TeamCityAgent:
    agent = TeamCityAgent(frozenset({f"env.{NAME}"}))
    agent.output(text)
    return agent


def test_teamcitys_parameter_reaches_the_next_steps_environment(canary: str) -> None:
    agent = teamcity("an open line" + render("teamcity", variables(canary)).text)
    assert {f"env.{NAME}": canary} == agent.parameters
    assert ["an open line", f"parameter env.{NAME} set to ***"] == agent.log


def test_teamcitys_escapes_are_those_of_its_documentation() -> None:
    line = f"##teamcity[setParameter name='env.{NAME}' value='a||b|'c|[d|]e']"
    assert f"\n{line}\n" == render("teamcity", variables("a|b'c[d]e")).text


def test_a_parameter_that_is_not_declared_is_refused_since_the_log_would_show_it() -> None:
    with pytest.raises(OutputError, match=f"the parameter env.{NAME} is not declared") as caught:
        render("teamcity", Variables({NAME: "x"}, environ={"TEAMCITY_VERSION": "2026.1"}))
    assert f"declare env.{NAME} with the type password" in str(caught.value.hint)


@each_row("text", ["%env.PATH%", "50%", "a\nb", "é", ""])
def test_what_teamcity_could_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match="TeamCity cannot carry this value"):
        render("teamcity", variables(text))


@each_row(
    ("line", "parameters"),
    [
        ("##teamcity[setParameter name='a' value='1']", {"a": "1"}),
        ("##teamcity[setParameter name='a' value='|'|n|||0x00e9']", {"a": "'\n|é"}),
        ("##teamcity[setParameter value='1' name='a']", {"a": "1"}),
        ("##teamcity[setParameter name='a' value='x'y']", {}),
        ("##teamcity[setParameter name='a' value='x]']", {}),
        ("text ##teamcity[setParameter name='a' value='1']", {}),
    ],
)
def test_the_model_reads_messages_as_teamcity_does(line: str, parameters: dict[str, str]) -> None:
    assert parameters == teamcity(line).parameters


def test_the_model_of_teamcity_catches_what_is_careless() -> None:
    evil = "x']\n##teamcity[setParameter name='env.PATH' value='/evil"
    assert {f"env.{NAME}": "x", "env.PATH": "/evil"} == teamcity(
        f"##teamcity[setParameter name='env.{NAME}' value='{evil}']\n"
    ).parameters
    agent = teamcity(
        "##teamcity[setParameter name='a' value='%b%']\n##teamcity[setParameter name='b' value='1']"
    )
    assert "1" == agent.value("a")
    assert ["parameter a set to %b%", "parameter b set to 1"] == agent.log
