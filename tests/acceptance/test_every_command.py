"""Every command with made-up arguments: it answers or refuses, and whatever escapes it fails the test."""

from __future__ import annotations

from typing import Any

import pytest

from stackledger.cli.lazy import LazyGroup
from stackledger.cli.reference import commands
from stackledger.domain.component_types import ComponentType
from tests.support.program import stackledger

pytestmark = pytest.mark.usefixtures("home")

# Groups of component types are alike: one with components and one without stand for all.
ALIKE = {kind.group for kind in ComponentType} - {"artifact-store", "alerter"}
COMMANDS = {
    name: command
    for name, command in commands()
    if not isinstance(command, LazyGroup)
    and name.split()[1] not in ALIKE
    and "install" not in name
    and "pipeline runs" not in name
}
NOT_IN_A_FRESH_HOME = {"alerter", "coordinator", "worker", "dead-letter"}
"""Groups that have nothing to answer about there."""

VERY_HOSTILE = ["x" * 10_000, "\x1b[31m\u202e[red]{{", "@nowhere", "-", ""]
HOSTILE = ["nowhere", "default", "\x1b[31m\u202e", "../..", "{{a.b}}", "-"]


def _arguments(name: str, command: Any, value: str) -> list[str]:
    options = [
        part
        for parameter in command.params
        if parameter.required and parameter.param_type_name == "option"
        for part in (parameter.opts[0], value)
    ]
    arguments = [
        value for parameter in command.params if parameter.param_type_name == "argument" and parameter.required
    ]
    return [*name.split()[1:], *options, "--", *arguments]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_answers_or_refuses_whatever_it_is_given(name: str) -> None:
    for value in HOSTILE:
        done = stackledger(*_arguments(name, COMMANDS[name], value), env={"STACKLEDGER_OUTPUT": "json"})
        assert done.status in {0, 1, 2}, done
        assert done.status == 0 or done.err, done
        assert not {"\x1b", "\u202e"} & set(done.out + done.err), done


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_takes_or_refuses_hostile_text_and_a_refusal_changes_nothing(name: str) -> None:
    command = COMMANDS[name]
    head = _head()
    for parameter in command.params:
        if parameter.name == "help" or getattr(parameter, "is_flag", False):
            continue
        for value in VERY_HOSTILE:
            # What is not looked at here is what refers to the default stack, or else to the first position.
            given = {
                each.name: value
                if each is parameter
                else "1"
                if each.name in {"start", "as_of", "position"}
                else "default"
                for each in command.params
                if each.required or each is parameter
            }
            options = [
                f"{each.opts[0]}={given[each.name]}"
                for each in command.params
                if each.param_type_name == "option" and each.name in given
            ]
            arguments = [
                given.get(each.name, "default")
                for each in command.params
                if each.param_type_name == "argument" and (each.required or each is parameter)
            ]
            done = stackledger(*name.split()[1:], *options, "--", *arguments)
            assert done.status in {0, 1, 2}, done
            assert done.status == 0 or ("Error: " in done.err and done.out == ""), done
            if done.status == 0:
                head = _head()
            assert not {"\x1b", "\u202e"} & set(done.out + done.err), done
            assert len(done.err) < 3_000, done
        assert _head() == head, parameter.name


def _head() -> int:
    return int(stackledger("log", "stats", "--output=json").json["position"])


@pytest.mark.parametrize("output", ["table", "json", "yaml", "csv", "tsv"])
def test_a_query_answers_in_every_format(output: str) -> None:
    for name, command in COMMANDS.items():
        taken = {option for parameter in command.params for option in parameter.opts}
        needs = [parameter for parameter in command.params if parameter.required]
        if (
            "--output" in taken
            and "--dry-run" not in taken
            and not needs
            and name.split()[1] not in NOT_IN_A_FRESH_HOME
        ):
            done = stackledger(*name.split()[1:], "--output", output)
            assert done.status == 0, (name, done)
